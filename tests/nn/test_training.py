"""Two hundred steps of a plain loop, written for torch, end in torch's parameters: to the bit, or within a bound."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tapegrad


class Sequence(nn.Module):
    """An LSTM over embedded letters, and what comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.lstm = nn.LSTM(8, 12, batch_first=True, num_layers=2, dropout=0.1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(x))[0][:, -1])


class Transformer(nn.Module):
    """Two blocks over embedded letters, with a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(9, 8), nn.Parameter(torch.randn(6, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        h = self.embedding(x) + self.position[: x.shape[1]]
        return self.head(self.blocks(h, mask=mask, is_causal=True)[:, -1])


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 4))


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 4))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(0.1),
        nn.Conv1d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def train(build, letters: bool, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = build().to(dtype)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": plain}], lr=3e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=200)
    for _ in range(200):
        x = torch.randint(0, 9, (16, 6)) if letters else torch.randn(16, 6, dtype=dtype)
        y = torch.randint(0, 4, (16,))
        loss = F.cross_entropy(model(x), y)
        loss = loss + 1e-4 * sum(p.square().sum() for p in model.parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    model.eval()
    with torch.no_grad():
        last = model(x)
    return [*map(torch.Tensor.detach, model.state_dict().values()), last]


EXACT = [(mlp, False, torch.float32), (convolutions, False, torch.float32), (Sequence, True, torch.float64)]
# Batch normalization, attention, layer normalization, and oneDNN's LSTM in float32 are inexact, in the last bits.
CLOSE = [
    (normalized, False, torch.float32), (normalized, False, torch.float64), (Sequence, True, torch.float32),
    (Transformer, True, torch.float32), (Transformer, True, torch.float64),
]  # fmt: skip


@pytest.mark.parametrize(("build", "letters", "dtype"), EXACT)
def test_it_ends_in_the_same_bits(build, letters, dtype):
    expected = train(build, letters, dtype)
    found = tapegrad.recording()(train)(build, letters, dtype)
    assert all(map(torch.equal, expected, found))


@pytest.mark.parametrize(("build", "letters", "dtype"), CLOSE)
def test_it_ends_close_by(build, letters, dtype):
    expected = train(build, letters, dtype)
    found = tapegrad.recording()(train)(build, letters, dtype)
    # AdamW makes steps of the noise in a gradient that is zero but for rounding, such as that of the keys' bias.
    bound = 1e-4 if dtype is torch.float32 else 1e-6
    assert all(torch.allclose(a, b, rtol=bound, atol=bound) for a, b in zip(expected, found, strict=True))
