"""The backward pass as source: every sample and many programs are written out, run, and held against the engine."""

from __future__ import annotations

import ast
import math
import operator
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, ours, randn
from hypothesis import given
from hypothesis import strategies as st
from test_programs import each_program
from test_rules import FLOATS, Run, for_each_call, name_of

import tapegrad
from tapegrad.source.program import STYLES, Program

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
]


def execute(text: str) -> dict[str, Any]:
    """The functions of a source, in a namespace without tapegrad."""
    assert "tapegrad" not in text
    namespace: dict[str, Any] = {}
    exec(compile(text, "<source>", "exec"), namespace)
    return namespace


def assert_written(outputs: Any, names: dict[str, Any], style: str) -> str:
    """Write the pass out, with its forward and without, run both, and compare every gradient with the engine's.

    Returns:
        The source with its forward.
    """
    outputs = outputs if isinstance(outputs, list) else [outputs]
    called = [next((n for n, t in names.items() if t is out), f"out{k}") for k, out in enumerate(outputs)]
    scope = {**names, **dict(zip(called, outputs, strict=True))}
    tape = tapegrad.tape(*outputs, names=scope)
    alone = len(outputs) == 1 and outputs[0].data.numel() == 1
    generator = torch.Generator().manual_seed(7)
    v = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs]
    v = [torch.ones_like(o.data) for o in outputs] if alone else v
    wanted = {name: t for name, t in names.items() if isinstance(t, tapegrad.Tensor) and t.requires_grad}
    grads = tapegrad.grad(outputs, list(wanted.values()), v, retain_graph=True, allow_unused=True)
    text = tape.source(names=scope, style=style)
    cotangents = {} if alone else {f"d{name}": c for name, c in zip(called, v, strict=True)}
    results = [execute(text)["backward"](**tape.bindings(names=scope, style=style), **cotangents)]
    text = tape.source(names=scope, style=style, forward=True)
    program = execute(text)
    *values, saved = program["forward"](**tape.bindings(names=scope, style=style, forward=True))
    assert_same(values, [o.data for o in outputs], "output")
    results.append(program["backward"](**saved, **cotangents))
    for result in results:
        mine = [result.get(name) for name in wanted]
        if style == "exact":
            assert_same(mine, list(grads), "gradient")
        elif outputs[0].dtype == torch.float64:
            assert_same(mine, list(grads), "gradient", rtol=1e-12, atol=1e-12)
    return text


def assert_formatted(texts: dict[str, str], folder: Any) -> None:
    """ruff has nothing to say, and nothing to change."""
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    for command in (["check", "--output-format=concise"], ["format", "--diff"]):
        run = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(folder)]
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


# --- every rule ---


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nothing(style, dtype):
    """A tape without records."""
    x = ours(randn(dtype=dtype))
    assert_written(x, {"x": x}, style)


def sources_of(function: Any, call: Any) -> dict[str, str]:
    texts = {}
    for dtype in FLOATS:
        run = Run(function, call, ours, dtype)
        outputs = [o for o in run.outputs if isinstance(o, tapegrad.Tensor) and not o.is_leaf]
        if outputs:
            names = {f"x{k}": x for k, x in enumerate(run.leaves)}
            for style in STYLES:
                texts[f"{style}_{str(dtype)[6:]}"] = assert_written(outputs, names, style)
    return texts


@for_each_call
def test_every_sample(function, call):
    """Both styles run and agree, and what they need is on the tape: rules make no tensors out of sight."""
    for text in sources_of(function, call).values():
        assert not re.search(r"\bconstant(_\d+)?\b", text)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_sample_is_formatted(dtype, tmp_path):
    from samples import SAMPLES

    texts = {}
    for f, calls in SAMPLES.items():
        for k, call in enumerate(calls):
            run = Run(f, call, ours, dtype)
            outputs = [o for o in run.outputs if isinstance(o, tapegrad.Tensor) and not o.is_leaf]
            if outputs:
                style = STYLES[k % 2]
                scope = {f"x{k}": x for k, x in enumerate(run.leaves)}
                text = Program(tapegrad.tape(*outputs, names=scope), scope, style).text(forward=True)
                texts[f"{re.sub(r'[^a-z0-9_]', '_', name_of(f).lower())}_{k}"] = text
    assert_formatted(texts, tmp_path)


# --- programs ---


@each_program
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_program(parameters, loss_of, style, dtype, tmp_path):
    leaves = {name: ours(value.to(dtype)) for name, value in parameters().items()}
    text = assert_written(loss_of(leaves), leaves, style)
    assert_formatted({"program": text}, tmp_path)


UNARY = [torch.tanh, torch.exp, torch.neg, lambda x: x**2, lambda x: 1 / (x * x + 1), lambda x: 2 * x - 1]
BINARY = [operator.add, operator.sub, operator.mul, torch.maximum, lambda x, y: x / (y * y + 1)]
MOVING = [
    lambda x: x.T,
    lambda x: x.reshape(-1)[:6].view(3, 2).T,
    lambda x: x[[0, 0, 1]][:2],
    lambda x: x - x.max(1, keepdim=True).values,
    lambda x: x.sum(0, keepdim=True).expand(2, 3),
    lambda x: torch.cat([x, x * x])[1:3],
    lambda x: x.softmax(1),
    lambda x: torch.where(x.detach().data > 0, x, 0.5),
]


@st.composite
def programs(draw):
    """A list of steps: an op, the positions of its operands, and whether the result gets a name."""
    steps = []
    for k in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["unary", "binary", "moving", "written", "added"]))
        pick = st.integers(0, 2 + k)
        op = draw(st.integers(0, {"unary": len(UNARY), "binary": len(BINARY), "moving": len(MOVING)}.get(kind, 1) - 1))
        steps.append((kind, op, draw(pick), draw(pick), draw(st.booleans())))
    return steps


@given(programs(), st.sampled_from(STYLES), st.sampled_from(FLOATS), st.booleans())
def test_random_programs(steps, style, dtype, several):
    leaves = {"a": ours(randn(2, 3, dtype=dtype, seed=1)), "b": ours(randn(3, dtype=dtype, seed=2))}
    leaves["c"] = ours(randn(dtype=dtype, seed=3))
    made = list(leaves.values())
    names = dict(leaves)
    for number, (kind, op, i, j, named) in enumerate(steps):
        x, y = made[i] + torch.zeros(2, 3, dtype=dtype), made[j]  # every operand of one shape
        if kind == "unary":
            out = UNARY[op](x)
        elif kind == "binary":
            out = BINARY[op](x, y)
        elif kind == "moving":
            out = MOVING[op](x)
            out = out.T if out.shape == (3, 2) else out
        else:
            out = x.clone()
            if kind == "written":
                out[0] = y[0] if y.ndim == 2 else y
            else:
                out += y
        made.append(out)
        if named:
            names[f"t{number}"] = out
    outputs = [made[-1], made[-2] * 2] if several else made[-1].sum()
    assert_written(outputs, names, style)


def makemore() -> dict[str, Any]:
    """The lecture's pass, by its names."""
    sys.path.insert(0, ".")
    from examples.makemore.model import forward, init_parameters

    g = torch.Generator().manual_seed(2147483647)
    parameters = [ours(p) for p in init_parameters(27, 64, g, torch.float32)]
    Xb, Yb = torch.randint(27, (32, 3), generator=g), torch.randint(27, (32,), generator=g)
    v = vars(forward(parameters, Xb, Yb))
    return {name: v[name] for name in v if name != "parameters"}


@pytest.mark.parametrize("style", STYLES)
def test_makemore(style, tmp_path):
    v = makemore()
    tape = tapegrad.tape(v["loss"], names=v)
    text = tape.source(names=v, style=style)
    assert_formatted({"backward": text}, tmp_path)
    names = {name: t for name, t in v.items() if isinstance(t, tapegrad.Tensor)}
    assert len(names) == 27
    for name in names:
        assert len(re.findall(rf"^    d{name} = ", text, re.MULTILINE)) == 1, name
    body = ast.parse(text).body[-1]
    assert isinstance(body, ast.FunctionDef)
    assert body.end_lineno - body.body[0].lineno + 1 <= 60
    assert "tmp" not in text
    assert set(tape.bindings(names=v, style=style)) <= v.keys() | {"logit_maxes_indices"}

    got = execute(text)["backward"](**tape.bindings(names=v, style=style))
    wanted = tapegrad.grad(v["loss"], list(names.values()), retain_graph=True)
    for name, g in zip(names, wanted, strict=True):
        assert (got[name] - g).abs().max() <= (0 if style == "exact" else 1e-8), name
        assert torch.allclose(got[name], g)
    assert_written(v["loss"], v, style)


def test_lines_read_like_the_lecture():
    text = tapegrad.tape((v := makemore())["loss"], names=v).source(names=v)
    for line in """
    dlogprobs = torch.zeros(32, 27)
    dlogprobs[torch.arange(32), Yb] = -1 / 32  # (32, 27)
    dprobs = dlogprobs / probs  # (32, 27), logprobs = probs.log()
    dcounts_sum = dcounts_sum_inv * -(counts_sum**-2)  # (32, 1)
    dcounts = dprobs * counts_sum_inv + dcounts_sum  # (32, 27)
    dW2 = h.T @ dlogits  # (64, 27), logits = h @ W2 + b2
    dhpreact = dh * (1 - h * h)  # (32, 64), h = hpreact.tanh()
    dbnvar = dbnvar_inv * (-0.5 * (bnvar + 1e-05) ** -1.5)  # (1, 64)
    dC = torch.zeros(27, 10).index_put((Xb,), demb, accumulate=True)  # (27, 10)
""".strip("\n").splitlines():
        assert line in text.splitlines()


def test_a_scalar_expression():
    a, b = tapegrad.tensor(-4.0, requires_grad=True), tapegrad.tensor(2.0, requires_grad=True)
    c = a + b
    d = a * b + b**3
    L = c * d.tanh() + 3 * c
    names = {"a": a, "b": b, "c": c, "d": d, "L": L}
    assert tapegrad.tape(L, names=names).source(names=names, forward=True) == SCALARS
    for style in STYLES:
        assert_written(L, names, style)


SCALARS = """\
import torch


def forward(a, b):
    c = a + b
    d = a * b + b**3
    L = c * d.tanh() + 3 * c
    saved = {"a": a, "b": b, "c": c, "d": d}
    return L, saved


def backward(a, b, c, d):
    dL = torch.tensor(1.0)
    tanh = d.tanh()
    dd = c * (1 - tanh * tanh)  # L = c * d.tanh() + 3 * c
    dc = 3.0 + tanh  # L = c * d.tanh() + 3 * c
    da = dd * b + dc  # d = a * b + b**3, c = a + b
    db = dd * (3 * b**2) + dd * a + dc  # d = a * b + b**3, c = a + b
    return {"L": dL, "d": dd, "c": dc, "a": da, "b": db}
"""


@pytest.mark.parametrize("style", STYLES)
def test_views_writes_repeated_indices_and_several_outputs(style):
    x, w = ours(randn(4, 6)), ours(randn(3, seed=1))
    y = x.tanh()
    y[1] = w.repeat(2)
    y = y * 2
    y[:, ::2] = x[:, 1::2]
    z = y.view(2, 12).T
    picked = z[[0, 0, 5]]
    picked += picked
    rows = x.narrow(0, 1, 2).unfold(1, 3, 2).sum(1)
    assert_written([picked, rows, z.sum()], {"x": x, "w": w, "z": z, "picked": picked}, style)


def test_an_output_that_leads_to_another():
    x = ours(randn(3))
    y = x.exp()
    z = y * y
    for style in STYLES:
        text = assert_written([y, z], {"x": x}, style)
        assert "dout0_2 = " in text


def test_a_long_chain():
    """Nothing recurses along the tape."""
    x = ours(randn(3))
    y = x
    for _ in range(1200):
        y = y * 1.0001 + x
    for style in STYLES:
        assert_written(y.sum(), {"x": x}, style)


# --- what is shared is bound, what is plain is folded ---


def source(loss: Any, **names: Any) -> str:
    """The lines of the body, without the result."""
    scope = {**names, "loss": loss}
    lines = tapegrad.tape(loss, names=scope).source(names=scope).splitlines()
    start = next(k for k, line in enumerate(lines) if line.endswith("):"))
    end = next(k for k, line in enumerate(lines) if line.startswith("    return"))
    return "\n".join(line.strip() for line in lines[start + 1 : end])


def test_ones_and_zeros_vanish():
    x = ours(randn(3))
    assert source((x * 1 + 0).sum(), x=x).endswith("\ndx = torch.ones(3, dtype=torch.float64)")


def test_what_is_used_twice_is_bound_once():
    x = ours(randn(2, 3))
    loss = (torch.nn.functional.silu(x)).sum()
    assert source(loss, x=x).count("sigmoid()") == 1


def test_broadcast_becomes_a_sum_and_a_sum_a_broadcast():
    x, b = ours(randn(2, 3)), ours(randn(1, 3))
    y = x * b
    text = source((y * y).mean(), x=x, b=b, y=y)
    assert "db = (dy * x).sum(0, keepdim=True)" in text


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, 1e-300, 0.1, 1 / 3, -7.0, 123456789.125])
def test_numbers(value):
    x = ours(randn(3))
    for style in STYLES:
        assert_written((x * value).sum(), {"x": x}, style)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_dtypes(dtype):
    x = ours(randn(3, dtype=torch.float32).to(dtype))
    for style in STYLES:
        assert_written((x.tanh() * x).sum(), {"x": x}, style)


def test_meta_tensors():
    x = tapegrad.tensor(torch.empty(3, 4, device="meta"), requires_grad=True)
    tape = tapegrad.tape((x.max(1).values * 2).sum(), names={"x": x})
    text = tape.source(names={"x": x}, forward=True)
    assert 'device="meta"' in text
    assert "dx = " in text


# --- names ---


def test_names_that_python_or_the_source_needs():
    values = {name: ours(randn(3, seed=k)) for k, name in enumerate(["lambda", "torch", "backward", "len", "l", "F"])}
    names: dict[str, Any] = {**values, "x": {"lambda": ours(randn(3, seed=9))}}
    loss = names["x"]["lambda"].tanh().sum()
    for x in values.values():
        loss = loss + (x * x.exp()).sum()
    scope = {**names, "loss": loss}
    tape = tapegrad.tape(loss, names=scope)
    text = tape.source(names=scope)
    got = execute(text)["backward"](**tape.bindings(names=scope))
    for name, x in values.items():
        assert torch.allclose(got[name], x.data.exp() * (1 + x.data))
    assert_same(got["x['lambda']"], 1 - names["x"]["lambda"].data.tanh() ** 2, "gradient", rtol=1e-12)


def test_names_that_clash_as_variables():
    layers = [{"weight": ours(randn(3))}, {"weight": ours(randn(3, seed=1))}]
    layers_0_weight = ours(randn(3, seed=2))
    dx, x = ours(randn(3, seed=3)), ours(randn(3, seed=4))
    out = layers[0]["weight"] * layers[1]["weight"] * layers_0_weight * dx * x
    names = {"layers": layers, "layers_0_weight": layers_0_weight, "dx": dx, "x": x}
    tape = tapegrad.tape(loss := out.sum(), names=names)
    got = execute(tape.source(names=names))["backward"](**tape.bindings(names=names))
    leaves = {"layers[0]['weight']": layers[0]["weight"], "layers_0_weight": layers_0_weight, "dx": dx, "x": x}
    for name, wanted in zip(leaves, tapegrad.grad(loss, list(leaves.values())), strict=True):
        assert_same(got[name], wanted, "gradient", rtol=1e-12)


def test_names_come_from_the_caller():
    weight = ours(randn(3))
    shift = torch.randn(3, dtype=torch.float64)
    loss = (weight * shift * weight).sum()
    tape = tapegrad.tape(loss)
    assert "def backward(weight, shift" in tape.source()
    assert tape.bindings()["shift"] is shift
    assert tape.bindings()["weight"] is weight.data


def test_leaves_without_a_name():
    x = ours(randn(3))
    assert '"leaf_0"' in tapegrad.tape((x * x).sum(), names={}).source(names={})


# --- it only reads ---


def test_the_tape_is_as_it_was():
    x, running = ours(randn(5, 3)), torch.zeros(3, dtype=torch.float64)
    y = F.dropout(F.batch_norm(x, running, torch.ones(3, dtype=torch.float64), training=True), 0.5)
    loss = (y * y).sum()
    before, state = running.clone(), torch.get_rng_state()
    tape = tapegrad.tape(loss)
    saved = [record.saved for record in tape]
    for style in STYLES:
        tape.source(style=style, forward=True)
        tape.bindings(style=style, forward=True)
    assert torch.equal(running, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(record.saved is s for record, s in zip(tape, saved, strict=True))
    loss.backward()
    assert x.grad is not None


def test_a_freed_tape_cannot_be_written():
    x = ours(randn(3))
    loss = (x * x).sum()
    tape = tapegrad.tape(loss)
    loss.backward()
    with pytest.raises(tapegrad.FreedTape):
        tape.source()


def test_unknown_style():
    x = ours(randn(3))
    with pytest.raises(ValueError, match="plain, exact"):
        tapegrad.tape((x * x).sum()).source(style="terse")


def test_a_rule_of_the_users():
    @tapegrad.rule(x=lambda g, x: g * 3 * x**2)
    def cube(x):
        return x**3

    x = ours(randn(3))
    text = assert_written(cube(x).sum(), {"x": x}, "exact")
    assert "x**3" in text


def test_a_rule_that_writes_through_a_view():
    def gradient(g, x):
        out = torch.zeros_like(x)
        rows = out.view(-1)
        rows[1:3] = g
        rows[2:] += g[0]
        rows.mul_(2)
        return out

    @tapegrad.rule(x=gradient)
    def middle(x):
        return x.reshape(-1)[1:3] * 1

    x = ours(randn(2, 3))
    for style in STYLES:
        assert_written(middle(x), {"x": x}, style)


def test_a_rule_with_a_constant_out_of_sight():
    """It is passed in, like the constants on the tape."""
    hidden = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)

    @tapegrad.rule(x=lambda g: g * hidden)
    def weighted(x):
        return x * hidden

    x = ours(randn(3))
    for style in STYLES:
        assert "constant" in assert_written(weighted(x), {"x": x}, style)
