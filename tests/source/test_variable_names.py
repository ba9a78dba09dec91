"""Names that Python takes for one another, or for something else, or not at all: each gradient goes by its own name."""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from random import Random
from typing import Any

import pytest
import torch

import tapegrad
from tapegrad.source.variables import RESERVED, Variables, identifier
from tests.helpers import assert_same, ours, randn

TRICKY = [
    *["x", "𝐱", "𝑥", "ｘ", "x²", "x2", "x_2", "x 2", "x-2", "x.2", "²", "½", "2x", "ﬁ", "fi"],
    *["ﬁnally", "finally", "ℌ", "H", "é", "e\u0301", "K", "\u212a", "Å", "\u212b", "ſ", "s", "ª"],
    *["a", "·", "x·", "\u0301", "ⅷ", "viii", "一", "x\u200b", "", " ", "\n", "'", '"', "\\", "#"],
    *["x\ny", "{x}", "x = 1", "lambda", "𝐥ambda", "None", "True", "ｄｅｆ", "ef", "el", "match", "case"],
    *["type", "print", "len", "slice", "range", "complex", "float", "torch", "ｔorch", "F", "𝐅"],
    *["forward", "backward", "saved", "out", "dout", "dx", "d𝐱", "dd", "d", "l", "O", "I", "ｌ"],
    *["sum_", "sum", "mul", "add_", "leaf_0", "leaf_1", "mul_0", "mul_other", "constant"],
    *["constant_0", "constant_2", "layers[0].weight", "layers_0_weight", "self", "np", "tensor"],
    *["x__y", "x_", "dx_", "d_x", "\ud800", "🔥", "x🔥", "\u0661", "x\u0661", "١٢", "µ", "μ"],
]  # fmt: skip


def test_the_names_are_as_tricky_as_they_should_be():
    assert len(set(TRICKY)) == len(TRICKY)
    assert len({unicodedata.normalize("NFKC", name) for name in TRICKY}) < len(TRICKY) - 10


@pytest.mark.parametrize("name", [*TRICKY, *keyword.kwlist, *dir(builtins)])
def test_an_identifier_is_one(name):
    """Python takes it, as it stands, and linters do."""
    made = identifier(name)
    assert made.isidentifier()
    assert not keyword.iskeyword(made)
    assert unicodedata.normalize("NFKC", made) == made
    assert identifier(made) == made
    namespace: dict[str, Any] = {}
    exec(f"{made} = 7", namespace)
    assert namespace[made] == 7


def test_variables_are_given_out_once():
    variables = Variables(RESERVED)
    made = [variables.fresh(name) for name in (*TRICKY, *RESERVED, *TRICKY)]
    assert len(set(made)) == len(made)
    assert not set(made) & set(RESERVED)


def program(leaves: list[tapegrad.Tensor], constants: list[torch.Tensor], hidden: torch.Tensor) -> Any:
    """A tensor computed from all of them, each in another way, and intermediates."""

    @tapegrad.rule(x=lambda g: g * hidden)
    def weighted(x):
        return x * hidden

    computed = [leaf * constant for leaf, constant in zip(leaves, constants, strict=True)]
    out = sum((k + 1) * (c * c.tanh()) for k, c in enumerate(computed))
    return weighted(out), computed


def written(tape: Any, names: dict[str, Any], style: str, cotangent: torch.Tensor, out: str) -> dict[str, torch.Tensor]:
    """What the whole program of a tape gives, by the keys of its result."""
    functions: dict[str, Any] = {}
    text = tape.source(names=names, style=style, forward=True)
    exec(compile(text, "<source>", "exec"), functions)
    _, saved = functions["forward"](**tape.bindings(names=names, style=style, forward=True))
    given = {identifier(f"d{identifier(out)}"): cotangent}
    extra = [n for n in functions["backward"].__code__.co_varnames[:1] if n not in given]
    return functions["backward"](cotangent, **saved) if extra else functions["backward"](**given, **saved)


@pytest.mark.parametrize("seed", range(60))
def test_each_gradient_goes_by_its_own_name(seed):
    """Leaves, constants, intermediates and the output, with names drawn from the tricky ones; some have none."""
    random = Random(seed)
    chosen = random.sample(TRICKY, 10)
    leaves = [ours(randn(2, seed=k)) for k in range(3)]
    constants = [randn(2, seed=10 + k) for k in range(3)]
    out, computed = program(leaves, constants, randn(2, seed=20))
    things = [*leaves, *constants, *computed[:2], out]
    names = {name: t for name, t in zip(chosen, things, strict=False) if random.random() < 0.8 or t is out}
    cotangent = randn(2, seed=30)
    wanted = {n: t for n, t in names.items() if isinstance(t, tapegrad.Tensor)}
    grads = tapegrad.grad(out, list(wanted.values()), cotangent, retain_graph=True)
    earlier = {name: t for name, t in zip(random.sample(TRICKY, 3), leaves, strict=True) if random.random() < 0.5}
    tape = tapegrad.tape(out, names=random.choice([names, {}, earlier]))
    for style in ("plain", "exact"):
        got = written(tape, names, style, cotangent, next(n for n, t in names.items() if t is out))
        for name, g in zip(wanted, grads, strict=True):
            assert_same(got[name], g, name, rtol=1e-12, atol=1e-14)
        unnamed = [leaf for leaf in leaves if not any(leaf is t for t in names.values())]
        others = [g for name, g in got.items() if name not in names]
        assert len(others) == len(unnamed)
        for leaf in unnamed:
            (theirs,) = tapegrad.grad(out, leaf, cotangent, retain_graph=True)
            assert any(torch.allclose(g, theirs, rtol=1e-12, atol=1e-14) for g in others)


def test_names_equal_after_normalization():
    """In Python, the mathematical bold x is an x."""
    x, bold = ours(randn(3)), ours(randn(3, seed=1))
    names = {"x": x, "𝐱": bold}
    tape = tapegrad.tape((x * x * bold).sum(), names=names)
    functions: dict[str, Any] = {}
    exec(tape.source(names=names), functions)
    got = functions["backward"](**tape.bindings(names=names))
    assert_same(got["x"], 2 * x.data * bold.data, "x", rtol=1e-12)
    assert_same(got["𝐱"], x.data**2, "bold x", rtol=1e-12)


def test_a_name_that_the_tape_has_for_another_tensor():
    """The names given to source() count."""
    a, b = ours(randn(3)), ours(randn(3, seed=1))
    tape = tapegrad.tape((a * b * b).sum(), names={"x": a})
    functions: dict[str, Any] = {}
    exec(tape.source(names={"x": b}), functions)
    got = functions["backward"](**tape.bindings(names={"x": b}))
    assert_same(got["x"], 2 * a.data * b.data, "x", rtol=1e-12)
    assert set(got) == {"x", "x_2"}
    assert_same(got["x_2"], b.data**2, "the other", rtol=1e-12)


@pytest.mark.parametrize("call", ["tape", "source", "bindings"])
def test_a_name_that_is_no_string(call):
    x = ours(randn(3))
    loss = (x * x).sum()
    with pytest.raises(TypeError, match="a name must be a string, not 1, a int"):
        tapegrad.tape(loss, names={1: x}) if call == "tape" else getattr(tapegrad.tape(loss), call)(names={1: x})
