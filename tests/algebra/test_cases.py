"""Gradients that people derive by hand, found, checked, run: each as it stands in the docs, and in other words."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from docs.derivations import CASES, Case

NAMES = [re.sub(r"\W+", "-", case.title.lower()).strip("-") for case in CASES]


def found(case: Case) -> tapegrad.Derivation:
    """Derive a case, hold it to the engine's gradient, and return it."""
    generator = torch.Generator().manual_seed(7)
    variables = case.run(generator)
    began = time.process_time()
    derivation = case.derive(variables)
    assert time.process_time() - began < 5  # a second on an idle machine
    assert derivation.check()
    loss, x = variables[case.loss], variables[case.of]
    space: dict[str, object] = {}
    exec(derivation.source(), space)
    bindings = derivation.bindings()
    if loss.shape.numel() == 1:
        (theirs,) = tapegrad.grad(loss, [x], retain_graph=True)
    else:
        start = variables[derivation.given]
        g = torch.randn(start.shape, generator=generator)
        (theirs,) = tapegrad.grad(start, [x], g, retain_graph=True)
        if f"gradient(d{derivation.given}" in derivation.source():
            bindings[f"d{derivation.given}"] = g
    ours = space["gradient"](**bindings)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs.data if isinstance(theirs, tapegrad.Tensor) else theirs)
    return derivation


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_formula_is_the_textbooks(case):
    assert found(case).formula == case.formula


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_it_is_no_dearer_than_the_lines(case):
    before, after = found(case).passes
    assert after <= before


def renamed(case: Case) -> Case:
    """The same with names that say nothing, in the opposite order of the alphabet."""
    words = [w for w in dict.fromkeys(re.findall(r"^(\w+) = ", case.forward, re.MULTILINE)) if w != "n"]
    names = {w: f"q{len(words) - i}_" for i, w in enumerate(words)}

    def other(text: str) -> str:
        text = re.sub(r"(?<![\w.])\w+", lambda m: names.get(m[0], m[0]), text)
        return re.sub(r"(?<![\w.])d(\w+)", lambda m: f"d{names[m[1]]}" if m[1] in names else m[0], text)

    return dataclasses.replace(
        case, forward=other(case.forward), loss=names[case.loss], of=names[case.of], formula=other(case.formula)
    )


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_names_do_not_matter(case):
    ours, theirs = found(case), found(renamed(case))
    assert sorted(re.findall(r"[-+*/]+", ours.formula)) == sorted(re.findall(r"[-+*/]+", theirs.formula))
    assert ours.passes == theirs.passes


OTHER_WORDS = {
    "softmax": [
        "e = x.exp()\ny = e * e.sum(-1, keepdim=True)**-1",
        "e = x.exp()\ns = e.sum(dim=1).unsqueeze(1)\ny = e / s",
        "y = torch.softmax(x, 1)",
        "y = x.softmax(dim=-1)",
        "e = torch.exp(x)\nr = 1 / e.sum(1)\ny = e * r[:, None]",
    ],
    "rows": [
        "m = x.mean(1, keepdim=True)\nvar = ((x - m)**2).mean(1, keepdim=True)\ny = (x - m) / (var + 1e-5).sqrt()",
        "m = x.mean(-1)\nd = x - m.unsqueeze(-1)\nv = (d * d).mean(-1).unsqueeze(-1)\ny = d / (v + 1e-5).sqrt()",
        "d = x - x.sum(1, keepdim=True) / 7\nv = d.square().sum(1, keepdim=True) / 7\ny = d * torch.rsqrt(v + 1e-5)",
    ],
    "l2": [
        "n = (x * x).sum(1, keepdim=True)**0.5\ny = x / n",
        "n = x.square().sum(-1).sqrt()\ny = x / n[:, None]",
        "r = (x**2).sum(1, keepdim=True)**-0.5\ny = x * r",
    ],
}
TEXTBOOK = {
    "softmax": lambda x, y, g: y * (g - (g * y).sum(-1, keepdim=True)),
    "rows": lambda x, y, g: (
        (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True))
        / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    ),
    "l2": lambda x, y, g: (g - y * (g * y).sum(-1, keepdim=True)) / x.norm(dim=-1, keepdim=True),
}
LONGEST = {"softmax": 10, "rows": 16, "l2": 12}  # passes


@pytest.mark.parametrize("kind", OTHER_WORDS)
@pytest.mark.parametrize("which", range(5))
def test_other_spellings_give_the_same(kind, which):
    if which >= len(OTHER_WORDS[kind]):
        which = 0
    case = Case(kind, f"x = parameter(5, 7)\n{OTHER_WORDS[kind][which]}\n", "y", "x", "", "y")
    derivation = found(case)
    assert derivation.passes[1] < LONGEST[kind]
    variables = case.run(torch.Generator().manual_seed(7))
    g = torch.randn(5, 7)
    space: dict[str, object] = {}
    derivation = case.derive(variables)
    exec(derivation.source(), space)
    ours = space["gradient"](**{**derivation.bindings(), "dy": g})
    torch.testing.assert_close(ours, TEXTBOOK[kind](variables["x"].data, variables["y"].data, g))


# --- cross entropy as libraries spell it ---


def of_picked_log_probabilities(logits, y):
    logprobs = F.log_softmax(logits, -1)
    rows, columns = torch.meshgrid(torch.arange(y.shape[0]), torch.arange(y.shape[1]), indexing="ij")
    loss = -logprobs[rows, columns, y].mean()
    return tapegrad.derive(loss, of="logits"), "(logprobs.exp() - onehot(y)) / 6"


def of_nll_loss(logits, y):
    logits, y = logits.flatten(0, 1), y.flatten()
    loss = F.nll_loss(F.log_softmax(logits, 1), y)
    return tapegrad.derive(loss, of="logits"), "(logits.log_softmax(1).exp() - onehot(y)) / 6"


def of_smoothed_labels(logits, y):
    logits, y = logits.flatten(0, 1), y.flatten()
    loss = F.cross_entropy(logits, y, label_smoothing=0.1)
    return tapegrad.derive(loss, of="logits"), "logits.log_softmax(1).exp() / 6 - 0.1 / 30 - 0.9 * onehot(y) / 6"


def of_ignored_targets(logits, y):
    logits, y = logits.flatten(0, 1), y.flatten()
    y[1] = 7
    loss = F.nll_loss(F.log_softmax(logits, 1), y, ignore_index=7)
    return tapegrad.derive(loss, of="logits"), None


def of_picked_probabilities(logits, y):
    logits, y = logits.flatten(0, 1), y.flatten()
    counts = logits.exp()
    probs = counts / counts.sum(1, keepdim=True)
    loss = -probs[range(6), y].log().mean()
    return tapegrad.derive(loss, of="logits"), "(probs - onehot(y)) / 6"


SPELLED = [of_picked_probabilities, of_picked_log_probabilities, of_nll_loss, of_smoothed_labels, of_ignored_targets]


@pytest.mark.parametrize("spelled", SPELLED, ids=lambda f: f.__name__)
def test_cross_entropy_as_libraries_spell_it(spelled):
    generator = torch.Generator().manual_seed(7)
    logits = tapegrad.tensor(torch.randn(2, 3, 5, generator=generator, dtype=torch.float64), requires_grad=True)
    y = torch.randint(5, (2, 3), generator=generator)
    derivation, expected = spelled(logits, y)
    assert derivation.check()
    space: dict[str, object] = {}
    exec(derivation.source(), space)
    bindings = derivation.bindings()
    ours = space["gradient"](**bindings)
    if expected is not None:
        scope = {**bindings, "torch": torch, "onehot": lambda y: F.one_hot(y, 5).double()}
        scope |= {name: value.data for name, value in bindings.items() if isinstance(value, tapegrad.Tensor)}
        torch.testing.assert_close(ours, eval(expected, scope))
        assert "where" not in derivation.formula
        assert len(derivation.formula) < 80


def test_a_factor_is_no_ratio_of_huge_numbers():
    x = tapegrad.tensor(torch.ones(3, 3), requires_grad=True)
    y = x * (1.3 * 8**0.5)
    loss = (y**2).sum()
    assert tapegrad.derive(loss, of="x").formula == "3.6769552621700474 * dy"
