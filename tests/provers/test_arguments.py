"""No function of the table takes what torch refuses, nor drops a gradient; a fault of each kind is found."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.table import TABLE
from tapegrad.rules import elementwise
from tapegrad.torch_api.raw import raw
from tests.helpers import FAST
from tests.provers import arguments, index_lists
from tests.provers.samples import SAMPLES

FUNCTIONS = list(SAMPLES)
SHARES = 8  # a share of the functions is a test, so that they run side by side


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("kind", arguments.KINDS)
def test_each_function_answers_as_torch_or_refuses(kind, share):
    before = arguments.counts.get(kind, 0)
    assert not list(arguments.search(kind, FUNCTIONS[share::SHARES], calls=1))
    assert arguments.counts[kind] > before


def test_random_indices_mean_what_they_mean_to_torch():
    before = index_lists.counts.copy()
    assert not list(index_lists.search(600))
    made = index_lists.counts - before
    assert made["taken by torch"] > 600
    assert made["refused by torch"] > 300


# --- it would find them ---


def found(kind, function):
    return "\n".join(arguments.search(kind, [function], calls=4))


def test_a_gradient_that_is_dropped_is_found(monkeypatch):
    def add(input, other, *, alpha=1):
        return elementwise.add(input, raw(alpha) * other)

    monkeypatch.setitem(TABLE, torch.add, add)
    assert "alpha = leaf" in found("gradients", torch.add)
    assert "a gradient dropped" in found("alone", torch.add)


def test_a_complex_number_that_drops_gradients_is_found(monkeypatch):
    def cat(tensors, dim=0):
        return tapegrad.tensor(torch.cat(raw(tensors), dim))

    monkeypatch.setitem(TABLE, torch.cat, cat)
    assert "complex tensor" in found("complex", torch.cat)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (torch.meshgrid, "indexing = a misspelt string"),
        (torch.quantile, "interpolation = a misspelt string"),
        (F.dropout1d, "training = a string"),
    ],
)
def test_what_only_torch_refuses_is_found(monkeypatch, function, what):
    monkeypatch.setitem(TABLE, function, inspect.unwrap(TABLE[function]))  # torch is not asked
    assert what in found("refusals", function)


@pytest.mark.skipif(not FAST, reason="without fast/ no dim is taken for a number unseen: apply watches every tensor")
def test_a_dim_that_is_read_again_is_found(monkeypatch):
    monkeypatch.setattr(TABLE[torch.flip], "bind", lambda input, *dims: (input, tuple(dims[0])))
    assert "changing tensor" in found("changed", torch.flip)


def test_a_list_of_lists_that_is_taken_for_a_tensor_is_found(monkeypatch):
    def canonical(index, data):
        return torch.tensor(raw(index)) if isinstance(index, list) else index

    monkeypatch.setattr("tapegrad.torch_api.operators.canonical", canonical)
    assert "another value" in "\n".join(index_lists.search(100))
