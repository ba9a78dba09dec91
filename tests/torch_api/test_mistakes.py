"""Typical mistakes, through tapegrad and through torch: ours says at least what torch does, and where, and of what."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tapegrad

Wrap = Callable[[torch.Tensor], Any]


def t(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


LONG = torch.tensor([0, 1, 2, 0, 1])

# What somebody wrote, with ``w`` for what makes a tensor that requires grad; and what our message has to name.
MISTAKES: dict[str, tuple[Callable[[Wrap], Any], tuple[str, ...]]] = {
    # shapes
    "rows by their sums": (lambda w: (c := w(t(5, 3))) / c.sum(1), ("div()", "(5, 3)", "(5,)", "keepdim=True")),
    "rows less their largest": (lambda w: (c := w(t(5, 3))) - c.max(1)[0], ("sub()", "(5,)", "keepdim=True")),
    "rows by their deviations": (lambda w: (c := w(t(5, 3))) / c.std(1), ("div()", "(5, 3)", "(5,)", "keepdim")),
    "a bias of another width": (lambda w: w(t(5, 3)) @ w(t(3, 4)) + w(t(5)), ("add()", "(5, 4)", "(5,)")),
    "two shapes": (lambda w: w(t(5, 3)) + w(t(4)), ("add()", "(5, 3)", "(4,)")),
    "matrices": (lambda w: w(t(5, 3)) @ w(t(4, 2)), ("matmul()", "5x3", "4x2")),
    "a matrix and a vector": (lambda w: w(t(5, 3)) @ w(t(4)), ("matmul()", "(5, 3)", "(4,)")),
    "batches": (lambda w: w(t(2, 5, 3)) @ w(t(3, 3, 2)), ("matmul()", "(2, 5, 3)", "(3, 3, 2)")),
    "bmm of matrices": (lambda w: torch.bmm(w(t(5, 3)), w(t(3, 2))), ("bmm()", "(5, 3)", "(3, 2)")),
    "dot": (lambda w: torch.dot(w(t(5)), w(t(3))), ("dot()", "5", "3")),
    "view": (lambda w: w(t(5, 3)).view(4, 4), ("view()", "[4, 4]", "(5, 3)")),
    "reshape": (lambda w: w(t(5, 3)).reshape(4, -1), ("reshape()", "[4, -1]", "(5, 3)")),
    "view of what is not contiguous": (lambda w: w(t(5, 3)).t().view(15), ("view()", "(3, 5)")),
    "expand": (lambda w: w(t(5, 3)).expand(5, 4), ("expand()", "[5, 4]", "[5, 3]")),
    "cat": (lambda w: torch.cat([w(t(5, 3)), w(t(5, 4))]), ("cat()", "(5, 3)", "(5, 4)")),
    "stack": (lambda w: torch.stack([w(t(5, 3)), w(t(5, 4))]), ("stack()", "[5, 3]", "[5, 4]")),
    "einsum": (lambda w: torch.einsum("ij,jk->ik", w(t(5, 3)), w(t(4, 2))), ("einsum()", "subscript j", "4", "3")),
    "linear": (lambda w: F.linear(w(t(5, 3)), w(t(2, 4))), ("linear()", "(5, 3)", "(2, 4)")),
    "conv2d": (lambda w: F.conv2d(w(t(1, 3, 8, 8)), w(t(4, 2, 3, 3))), ("conv2d()", "[4, 2, 3, 3]", "3 channels")),
    "layer_norm": (lambda w: F.layer_norm(w(t(5, 3)), (4,)), ("layer_norm()", "[4]", "[5, 3]")),
    "mse_loss": (lambda w: F.mse_loss(w(t(5, 3)), t(5, 4)), ("mse_loss()", "(5, 3)", "(5, 4)")),
    "too few targets": (lambda w: F.cross_entropy(w(t(5, 3)), LONG[:2]), ("cross_entropy()", "(5)", "(2)")),
    "a mask of another shape": (
        lambda w: w(t(5, 3)).masked_fill(torch.ones(4, dtype=torch.bool), 0.0), ("masked_fill()", "(5, 3)", "(4,)")
    ),
    "inverse": (lambda w: torch.linalg.inv(w(t(5, 3))), ("linalg", "inv", "5 by 3")),
    # dims
    "dim of sum": (lambda w: w(t(5, 3)).sum(2), ("sum()", "[-2, 1]", "2", "(5, 3)")),
    "dim of max": (lambda w: w(t(5, 3)).max(2), ("max()", "[-2, 1]", "2")),
    "dim of softmax": (lambda w: F.softmax(w(t(5, 3)), 2), ("softmax()", "[-2, 1]", "2")),
    "transpose": (lambda w: w(t(5, 3)).transpose(0, 2), ("transpose()", "[-2, 1]", "2")),
    "permute": (lambda w: w(t(5, 3)).permute(0, 0), ("permute()", "duplicate dims", "(0, 0)")),
    # indices
    "an index": (lambda w: w(t(5, 3))[7], ("getitem()", "index 7", "dimension 0", "size 5")),
    "too many indices": (lambda w: w(t(5, 3))[0, 1, 2], ("getitem()", "too many indices", "dimension 2")),
    "an index in a list": (lambda w: w(t(5, 3))[[0, 9]], ("getitem()", "index 9", "dimension 0", "size 5")),
    "an index of floating point": (lambda w: w(t(5, 3))[t(2)], ("getitem()", "long", "float32")),
    "an index to write to": (lambda w: w(t(5, 3)).clone().__setitem__(9, 0.0), ("setitem()", "index 9", "size 5")),
    "what is written": (lambda w: w(t(5, 3)).clone().__setitem__(0, t(4)), ("setitem()", "(4)", "(3)")),
    "a class that is none": (lambda w: F.cross_entropy(w(t(5, 2)), LONG), ("cross_entropy()", "Target 2")),
    "a token that is none": (lambda w: F.embedding(LONG, w(t(2, 4))), ("embedding()", "out of range", "(2, 4)")),
    "gather": (lambda w: w(t(5, 3)).gather(1, torch.tensor([[3]])), ("gather()", "index 3", "size 3")),
    # dtypes and types
    "two dtypes": (lambda w: w(t(5, 3)) @ w(t(3, 2).double()), ("matmul()", "float", "double")),
    "targets of floating point": (lambda w: F.cross_entropy(w(t(5, 3)), t(5)), ("cross_entropy()", "Long", "Float")),
    "a text": (lambda w: w(t(5, 3)) + "text", ("add()", "other", "str")),
    "None": (lambda w: w(t(5, 3)) * None, ("mul()", "other", "NoneType")),
    "a gradient of integers": (lambda w: w(torch.ones(3, dtype=torch.long)), ("requires_grad", "int64", ".float()")),
    "no such option": (lambda w: w(t(5, 3)).sum(dimm=1), ("sum()", "dimm")),
    "an argument too many": (lambda w: w(t(5, 3)).exp(2), ("exp()", "argument")),
    "no dim": (lambda w: w(t(5, 3)).softmax(), ("softmax()", "dim")),
    "no such attribute": (lambda w: w(t(5, 3)).shpae, ("shpae",)),
    "one number of many": (lambda w: w(t(5, 3)).item(), ("item()", "15 elements")),
    "truth of many": (lambda w: bool(w(t(5, 3))), ("bool", "ambiguous")),
    "numpy": (lambda w: w(t(5, 3)).numpy(), ("numpy", "detach()")),
    # the backward pass
    "backward of many": (lambda w: w(t(5, 3)).exp().backward(), ("backward", "scalar", "(5, 3)")),
    "a gradient that does not fit": (lambda w: w(t(5)).sum().backward(torch.ones(3)), ("backward", "(3,)", "()")),
    "backward twice": (lambda w: [(y := w(t(5)).exp().sum()).backward(), y.backward()], ("sum", "retain_graph=True")),
    "a leaf in place": (lambda w: w(t(5)).add_(1), ("add_()", "leaf", "in place")),
}  # fmt: skip


def failure(mistake: Callable[[Wrap], Any], wrap: Wrap) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of any kind
        mistake(wrap)
    return caught.value


def numbers(message: str) -> set[str]:
    """What a message says of sizes, dims and indices."""
    return set(re.findall(r"\d+", re.sub(r"0x[0-9a-f]+|tensor [ab]|output\[0\]|m[12]\b|1-D|0-D|2-D", "", message)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MISTAKES)
def test_ours_names_what_torchs_does(name):
    mistake, words = MISTAKES[name]
    theirs = failure(mistake, lambda x: x.clone().requires_grad_())
    mine = failure(mistake, lambda x: tapegrad.tensor(x.clone(), requires_grad=True))
    assert isinstance(mine, type(theirs)) or type(theirs) in (RuntimeError, TypeError)
    for word in words:
        assert word in str(mine)
    if name not in ("backward twice",):
        assert numbers(str(theirs)) <= numbers(str(mine))
    last = traceback.extract_tb(mine.__traceback__)[-1]
    assert last.filename == __file__
    assert last.line in (None, "") or "w(" in last.line or "tapegrad.tensor(" in last.line


# --- names, and what would fit ---


class Model:
    """Somebody's class."""

    def __init__(self) -> None:
        self.W = tapegrad.tensor(t(5, 3), requires_grad=True)

    def forward(self, x: Any) -> Any:
        return x @ self.W


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(RuntimeError) as caught:
        call()
    return str(caught.value)


def test_operands_have_the_names_of_variables():
    logits, bias = tapegrad.tensor(t(5, 3), requires_grad=True), t(4)
    assert "given input: logits (5, 3), other: bias (4,)" in message(lambda: logits + bias)
    model, x = Model(), t(2, 4)
    assert message(lambda: model.forward(x)).endswith("given input: x (2, 4), other: self.W (5, 3)")
    assert message(lambda: x @ model.W).endswith("given input: x (2, 4), other: model.W (5, 3)")
    parameters = [logits * 1, bias]
    assert "given input: parameters[0] (5, 3), other: " in message(lambda: parameters[0] + parameters[1])


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "amax", "logsumexp", "var", "std", "prod", "norm"])
def test_keepdim_is_offered_where_it_fits(reduce):
    c = tapegrad.tensor(t(5, 3), requires_grad=True)

    def reduced(**options: bool) -> Any:
        given = (2, 1) if reduce == "norm" else (1,)
        result = getattr(c, reduce)(*given, **options)
        return result[0] if reduce in ("max", "min") else result

    told = message(lambda: c / reduced())
    assert "keepdim=True" in told
    assert "(5, 1), which fits" in told
    assert (c / reduced(keepdim=True)).shape == c.shape


def offered(told: str) -> str:
    """What a message says would fit."""
    return told.rpartition("; ")[2].partition(" is of shape")[0]


def test_the_advice_is_what_to_write():
    c = tapegrad.tensor(t(5, 3), requires_grad=True)
    total = c.sum(1)
    for call in (lambda: c / total, lambda: total * c, lambda: torch.sub(c, total), lambda: c.clone().div_(total)):
        advice = offered(message(call))
        assert advice == "c.sum(1, keepdim=True)"
        assert (c / eval(advice)).shape == (5, 3)
    two = tapegrad.tensor(t(2, 5, 3), requires_grad=True)
    advice = offered(message(lambda: two - two.mean((1, 2))))
    assert advice == "two.mean((1, 2), keepdim=True)"
    assert (two - eval(advice)).shape == two.shape
    largest = c.max(1).values
    advice = offered(message(lambda: c - largest))
    assert advice == "c.max(1, keepdim=True).values"
    assert (c - eval(advice)).shape == (5, 3)


def test_a_constant_is_to_be_unsqueezed():
    c, counts = tapegrad.tensor(t(5, 3), requires_grad=True), torch.ones(5)
    told = message(lambda: c / counts)
    assert "counts.unsqueeze(1)" in told
    assert (c / counts.unsqueeze(1)).shape == (5, 3)


def test_no_advice_where_nothing_fits():
    c = tapegrad.tensor(t(5, 3), requires_grad=True)
    assert "fits" not in message(lambda: c + t(4))
    assert "fits" not in message(lambda: c.sum(1) + t(4))
    assert "fits" not in message(lambda: c @ t(4, 4))


def test_nothing_of_the_users_runs_to_tell_of_operands():
    class Hostile:
        def __repr__(self) -> str:
            raise SystemExit("ran")

        __eq__ = __bool__ = __len__ = __repr__

    hostile = Hostile()
    x = tapegrad.tensor(t(3), requires_grad=True)
    for call in (lambda: x.sum(hostile), lambda: x.sum((0, hostile)), lambda: torch.cat([x, hostile])):
        with pytest.raises((TypeError, RuntimeError)):
            call()


def test_what_a_composition_fails_in_is_told():
    """The form of call was seen before, so that torch is not asked: an op inside fails."""
    x = tapegrad.tensor(t(5, 3), requires_grad=True)
    F.linear(x, t(2, 3), t(2))
    F.bilinear(x, x, t(2, 3, 3))
    assert message(lambda: F.linear(x, t(2, 4), t(2))).startswith("linear()")
    told = message(lambda: F.bilinear(x, x, t(2, 3, 4)))
    assert told.startswith("bilinear()")
    assert "(2, 3, 4)" in told
