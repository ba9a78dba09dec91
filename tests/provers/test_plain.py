"""What gives no gradient gives none in torch either, and the same value."""

from __future__ import annotations

import warnings

import torch

from tapegrad.torch_api.plain import PLAIN
from tests.provers import plain


def test_every_function_without_a_gradient():
    found = dict(plain.functions())
    assert len(found) > 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = [f"{name}: {text}" for name, function in found.items() for text in plain.differences(function)]
    assert not wrong, "\n".join(wrong)


def test_one_that_has_a_gradient_is_found():
    assert any("requires grad" in text for text in plain.differences(torch.sin))


def test_each_name_is_one_of_torchs():
    places = (*plain.NAMESPACES, torch._C._special, torch._C._linalg, torch._C._nn)
    assert not [name for name in PLAIN if not any(hasattr(place, name) for place in places)]
