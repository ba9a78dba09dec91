"""Above the backward lines stand the user's own forward lines; what is in them never becomes code."""

from __future__ import annotations

import ast
import io
import linecache
import tokenize

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from examples.makemore.model import forward, init_parameters
from tapegrad.source.layout import LINE
from tests.helpers import assert_same, ours, randn
from tests.source.checks import assert_formatted, execute

STYLES = ("plain", "exact", "closed")


def comments(text):
    return [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT]


def quotes(text):
    """The comments on lines of their own, but for what only closed forms say."""
    lines = [line.strip() for line in text.splitlines()]
    return [line[2:] for line in lines if line.startswith("# ") and not line.startswith("# closed forms")]


def test_a_line_is_quoted_as_it_was_written():
    y, Wo = ours(randn(2, 4, 8)), ours(randn(8, 8, seed=1))
    # fmt: off
    out = y  @  Wo  # the comment is not a part of it
    # fmt: on
    loss = F.cross_entropy(out.view(8, 8), torch.arange(8))
    text = tapegrad.tape(loss).source()
    assert quotes(text) == ["loss = F.cross_entropy(out.view(8, 8), torch.arange(8))", "out = y  @  Wo"]
    assert "reshape(8, 8) @ Wo" not in text


def test_a_line_that_made_several_records_is_quoted_once():
    a, b = ours(randn(3)), ours(randn(3, seed=1))
    c = torch.tanh(a * b + b) * torch.exp(-a)
    text = tapegrad.tape(c.sum()).source()
    assert quotes(text) == ["c = torch.tanh(a * b + b) * torch.exp(-a)"]
    lines = [line.strip() for line in text.splitlines()]
    assert lines.index("# c = torch.tanh(a * b + b) * torch.exp(-a)") < min(
        lines.index(line) for line in lines if line.startswith(("da = ", "db = "))
    )


def test_a_line_is_quoted_again_where_another_came_between():
    x, y, z = ours(randn(3)), ours(randn(3, seed=1)), ours(randn(3, seed=2))
    a = x * y
    b = a * z
    c = a.exp() * b
    text = tapegrad.tape(c.sum()).source()
    lines = text.splitlines()
    for name, undone in (("db", "c = a.exp() * b"), ("dz", "b = a * z"), ("dx", "a = x * y")):
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{name} = "))
        above = next(line.strip() for line in reversed(lines[:at]) if line.strip().startswith("# "))
        assert above == f"# {undone}"


def test_each_round_of_a_loop_is_quoted():
    x, W = ours(randn(4, 3)), ours(randn(3, 3, seed=1))
    h = x
    for _ in range(3):
        h = torch.tanh(h @ W)
    text = tapegrad.tape(h.sum()).source()
    assert quotes(text) == ["h = torch.tanh(h @ W)"] * 3
    assert_same(
        execute(text)["backward"](**tapegrad.tape(h.sum()).bindings())["W"], tapegrad.grad(h.sum(), [W])[0], "dW",
        rtol=1e-12,
    )  # fmt: skip


def test_a_comprehension_is_quoted_once():
    W = ours(randn(3))
    hs = [torch.exp(W * k) for k in range(1, 4)]
    out = torch.stack(hs)
    text = tapegrad.tape(out.sum()).source()
    assert quotes(text).count("hs = [torch.exp(W * k) for k in range(1, 4)]") == 1


def test_long_lines_and_lines_of_several():
    x = ours(randn(3))
    # fmt: off
    y = (
        x * 2
        + x.exp()  # a comment inside
    )
    z = y * 1.25 + y.sin() * 3.5 + y.cos() * 4.5 + y.tanh() * 5.5 + y.exp() * 6.5 + (y * y).sin() * 7.5 + y * 8.5
    # fmt: on
    text = tapegrad.tape(z.sum()).source()
    found = quotes(text)
    assert found[0].startswith("z = y * 1.25 + y.sin()")
    assert found[-1] == "y = x * 2 + x.exp()"
    assert max(map(len, text.splitlines())) <= LINE
    assert all(word in " ".join(found) for word in ("6.5", "8.5"))


def test_what_has_no_text_is_made_up():
    scope = {"tapegrad": tapegrad, "x": ours(randn(3))}
    exec("y = x * 2\nz = y.exp().sum()\ntext = tapegrad.tape(z).source()", scope)
    assert quotes(scope["text"]) == []
    assert "# (3,), z = y.exp().sum()" in scope["text"]


HOSTILE = {
    "newline in a string": 'y = x * len("a\\nimport os")',
    "lines in a string": 'y = x * len("""a\nimport os\n""")',
    "form feed": 'y = x * len("a\x0cimport os")',
    "vertical tab": 'y = x * len("a\x0bimport os")',
    "carriage return": 'y = x * len("a\\\rimport os")',
    "unicode line ends": 'y = x * len("a\u2028import os\u0085import sys\u2029")',
    "turned around": 'y = x * len("\u202e)so tropmi\u202c")',
    "null": 'y = x * len("a\\x00b")',
    "quotes": "y = x * len('\"\"\"' \"'''\")",
    "like a comment": 'y = x * len("# -*- coding: utf-7 -*-")',
    "letters": 'é = x * len("ünï 𝒳 日本")\ny = é * 2',
    "wide": f'y = x * len("{"import os;" * 60}")',
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
def test_no_text_becomes_code(code, style, tmp_path):
    """The code is what it is without any quotes, and each comment stays on its line."""
    name = f"<hostile {abs(hash(code))}>"
    code = f"{code}\nloss = y.sum()\ntape = tapegrad.tape(loss)\ntext = tape.source(style=style, explain=True)\n"
    linecache.cache[name] = (len(code), None, list(io.StringIO(code, newline=None)), name)
    scope = {"tapegrad": tapegrad, "x": ours(randn(3)), "style": style, "torch": torch}
    exec(compile(code, name, "exec"), scope)
    text = scope["text"]
    assert any("y = x * len(" in c or "= x * len(" in c for c in comments(text))
    names = {k: scope[k] for k in ("x", "é", "y", "loss") if k in scope}
    bare = tapegrad.tape(scope["loss"], names=names).source(style=style, names=names)
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(bare))
    for line in text.splitlines():
        assert line.isprintable()
        assert len(line) <= LINE
    assert_formatted({"written": text}, tmp_path)


# --- with reasons ---


def lecture():
    g = torch.Generator().manual_seed(1)
    parameters = [tapegrad.tensor(p, requires_grad=True) for p in init_parameters(27, 64, g, torch.float64)]
    X, Y = torch.randint(27, (32, 3), generator=g), torch.randint(27, (32,), generator=g)
    return {k: v for k, v in vars(forward(parameters, X, Y)).items() if k != "parameters"}


@pytest.mark.parametrize("style", STYLES)
def test_the_lecture_explained(style, tmp_path):
    names = lecture()
    tape = tapegrad.tape(names["loss"], names=names, code=forward)
    text, short = (tape.source(names=names, style=style, explain=explain) for explain in (True, False))
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(short))
    for sentence in (
        "A broadcast becomes a sum: counts_sum_inv, of shape (32, 1)",
        "A sum becomes a broadcast",
        "An index scatters",
        "the gradient is routed to that place in logits",
        "counts is used 2 times, and its gradients add up",
        "The sign was turned",
    ):
        assert sentence in " ".join(line.strip(" #") for line in text.splitlines())
    got = execute(text)["backward"](**tape.bindings(names=names, style=style))
    for name, wanted in zip(got, tapegrad.grad(names["loss"], [names[n] for n in got], retain_graph=True), strict=True):
        assert_same(got[name], wanted, name, **({} if style == "exact" else {"rtol": 1e-9, "atol": 1e-12}))
    assert_formatted({style: text}, tmp_path)


@pytest.mark.parametrize("style", ["plain", "exact"])
def test_each_line_of_the_lecture_has_a_reason(style):
    names = lecture()
    text = tapegrad.tape(names["loss"], names=names, code=forward).source(names=names, style=style, explain=True)
    lines = text[: text.index("    return {")].splitlines()
    got = {f"d{name}" for name in names}
    for name in names:
        if any(line.startswith(f"    d{name} = ") for line in lines) and name != "loss":
            at = next(i for i, line in enumerate(lines) if line.startswith(f"    d{name} = "))
            above = next(i for i in range(at, 0, -1) if lines[i].startswith("    #   "))
            assert not any(line.startswith("    d") and line.split()[0] in got for line in lines[above:at]), name
    assert "rule of" not in text


def test_several_outputs_explained():
    x = ours(randn(2, 3))
    y, z = x.exp(), x.sum(0)
    tape = tapegrad.tape(y, z)
    text = tape.source(explain=True)
    assert "x is used 2 times, and its gradients add up." in text
    cotangents = {"dy": torch.ones(2, 3, dtype=torch.float64), "dz": torch.ones(3, dtype=torch.float64)}
    assert_same(execute(text)["backward"](**tape.bindings(), **cotangents)["x"], x.data.exp() + 1, "x", rtol=1e-12)


def test_a_long_chain_is_explained_in_linear_time():
    x = ours(randn(2))
    y = x
    for _ in range(2000):
        y = y * 1.0001 + x
    text = tapegrad.tape(y.sum(), names={"x": x}).source(names={"x": x}, explain=True)
    assert "x is used 2001 times" in text
