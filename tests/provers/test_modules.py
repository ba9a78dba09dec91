"""A quick part of ``python -m tests.provers.modules``: what networks are made of."""

from __future__ import annotations

import warnings

import pytest
from torch import nn
from torch.testing._internal.common_modules import module_db

from tapegrad.engine import gradients
from tapegrad.nn import leaves
from tests.provers import modules

QUICK = (
    nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.LayerNorm, nn.Embedding, nn.EmbeddingBag, nn.LSTM, nn.GRU, nn.RNN,
    nn.LSTMCell, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.CTCLoss,
    nn.CrossEntropyLoss,
)  # fmt: skip
EXACT = {nn.Linear, nn.Conv2d, nn.Embedding, nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("info", [i for i in module_db if i.module_cls in QUICK], ids=lambda i: i.formatted_name)
def test_it_agrees(info, training):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agreed, exact = modules.compare(info, training)
    assert agreed
    assert exact or info.module_cls not in EXACT


def test_a_wrong_gradient_would_be_found(monkeypatch):
    info = next(i for i in module_db if i.module_cls is nn.Linear)
    monkeypatch.setattr(gradients, "deliver", lambda pairs: leaves.deliver([(p, g * 1.0001) for p, g in pairs]))
    with pytest.raises(modules.Wrong, match="gradient"):
        modules.compare(info, True)
