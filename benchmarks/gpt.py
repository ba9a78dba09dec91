"""A transformer of two blocks, in torch's words and in numpy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
import torch.nn.functional as F

BATCH, TIME, WIDTH, HEADS, BLOCKS = 16, 32, 64, 4, 2
_FUTURE = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)
_FUTURE_ARRAY = numpy.where(_FUTURE.numpy(), -numpy.inf, 0.0).astype(numpy.float32)


def parameters(vocab: int, g: torch.Generator) -> list[torch.Tensor]:
    """Embeddings of symbol and position; for each block two norms, attention and a perceptron; a norm and the head."""

    def matrix(n: int, m: int) -> torch.Tensor:
        return torch.randn((n, m), generator=g) * n**-0.5

    def norm() -> list[torch.Tensor]:
        return [torch.ones(WIDTH), torch.zeros(WIDTH)]

    def block() -> list[torch.Tensor]:
        attention = [matrix(WIDTH, WIDTH) for _ in range(4)]
        perceptron = [matrix(WIDTH, 4 * WIDTH), torch.zeros(4 * WIDTH), matrix(4 * WIDTH, WIDTH), torch.zeros(WIDTH)]
        return [*norm(), *attention, *norm(), *perceptron]

    blocks = [p for _ in range(BLOCKS) for p in block()]
    return [matrix(vocab, WIDTH), matrix(TIME, WIDTH), *blocks, *norm(), matrix(WIDTH, vocab)]


def _parts(parameters: Sequence[Any]) -> tuple[Any, Any, list[Sequence[Any]], Sequence[Any]]:
    symbols, positions, *rest = parameters
    size = (len(rest) - 3) // BLOCKS
    return symbols, positions, [rest[i * size : (i + 1) * size] for i in range(BLOCKS)], rest[-3:]


def loss(parameters: Sequence[Any], X: torch.Tensor, Y: torch.Tensor) -> Any:
    """The mean cross entropy of the next symbol, in torch's words."""

    def norm(x: Any, gain: Any, bias: Any) -> Any:
        diff = x - x.mean(-1, keepdim=True)
        return diff * ((diff**2).mean(-1, keepdim=True) + 1e-5) ** -0.5 * gain + bias

    def heads(x: Any) -> Any:  # (batch, time, width) to (batch, head, time, width of a head)
        return x.view(BATCH, TIME, HEADS, -1).transpose(1, 2)

    symbols, positions, blocks, (gain, bias, head) = _parts(parameters)
    x = symbols[X] + positions
    for gain1, bias1, Wq, Wk, Wv, Wo, gain2, bias2, W1, b1, W2, b2 in blocks:
        y = norm(x, gain1, bias1)
        q, k, v = heads(y @ Wq), heads(y @ Wk), heads(y @ Wv)
        scores = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).masked_fill(_FUTURE, -torch.inf)
        y = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(BATCH, TIME, WIDTH)
        x = x + y @ Wo
        x = x + F.relu(norm(x, gain2, bias2) @ W1 + b1) @ W2 + b2
    logits = norm(x, gain, bias) @ head
    return F.cross_entropy(logits.view(BATCH * TIME, -1), Y.view(-1))


def array_loss(np: Any, parameters: Sequence[Any], X: Any, Y: Any) -> Any:
    """The same in numpy's words."""

    def norm(x: Any, gain: Any, bias: Any) -> Any:
        diff = x - np.mean(x, axis=-1, keepdims=True)
        return diff * (np.mean(diff**2, axis=-1, keepdims=True) + 1e-5) ** -0.5 * gain + bias

    def heads(x: Any) -> Any:
        return np.swapaxes(x.reshape(BATCH, TIME, HEADS, -1), 1, 2)

    def shifted(x: Any) -> Any:
        return x - np.max(x, axis=-1, keepdims=True)

    symbols, positions, blocks, (gain, bias, head) = _parts(parameters)
    x = symbols[X] + positions
    for gain1, bias1, Wq, Wk, Wv, Wo, gain2, bias2, W1, b1, W2, b2 in blocks:
        y = norm(x, gain1, bias1)
        q, k, v = heads(y @ Wq), heads(y @ Wk), heads(y @ Wv)
        weights = np.exp(shifted(q @ np.swapaxes(k, 2, 3) * q.shape[-1] ** -0.5 + _FUTURE_ARRAY))
        weights = weights / np.sum(weights, axis=-1, keepdims=True)
        y = np.swapaxes(weights @ v, 1, 2).reshape(BATCH, TIME, WIDTH)
        x = x + y @ Wo
        x = x + np.maximum(norm(x, gain2, bias2) @ W1 + b1, 0.0) @ W2 + b2
    logits = shifted(norm(x, gain, bias) @ head).reshape(BATCH * TIME, -1)
    logprobs = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    return -np.mean(logprobs[numpy.arange(BATCH * TIME), Y.reshape(-1)])
