"""Three networks: recurrent, a transformer, convolutional; each as a function of a dict of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.helpers import ours, raw, theirs

Parameters = dict[str, Any]
WORDS, LONG, WIDE = 23, 7, 12  # vocabulary, length of a text, width of a layer


def drawn(*shape: int, fan: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64) / math.sqrt(fan)


# --- a language model of two gated recurrent layers ---


def gru_parameters() -> dict[str, torch.Tensor]:
    p = {"embedding": drawn(WORDS, WIDE), "out.weight": drawn(WORDS, WIDE, fan=WIDE), "out.bias": drawn(WORDS, fan=100)}
    for layer in (0, 1):
        for side in ("input", "hidden"):
            p[f"{layer}.{side}.weight"] = drawn(3 * WIDE, WIDE, fan=WIDE)
            p[f"{layer}.{side}.bias"] = drawn(3 * WIDE, fan=100)
    return p


def gru_cell(x: Any, h: Any, p: Parameters, layer: int) -> Any:
    xr, xz, xn = F.linear(x, p[f"{layer}.input.weight"], p[f"{layer}.input.bias"]).chunk(3, dim=1)
    hr, hz, hn = F.linear(h, p[f"{layer}.hidden.weight"], p[f"{layer}.hidden.bias"]).chunk(3, dim=1)
    r = torch.sigmoid(xr + hr)
    z = torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return (1 - z) * n + z * h


def gru_loss(p: Parameters) -> Any:
    text = torch.randint(WORDS, (5, LONG + 1))
    x, y = text[:, :-1], text[:, 1:]
    e = F.embedding(x, p["embedding"])
    dtype = p["embedding"].dtype
    h0, h1 = torch.zeros(5, WIDE, dtype=dtype), torch.zeros(5, WIDE, dtype=dtype)
    outputs = []
    for t in range(LONG):
        h0 = gru_cell(e[:, t], h0, p, 0)
        h1 = gru_cell(F.dropout(h0, 0.2), h1, p, 1)
        outputs.append(h1)
    logits = F.linear(torch.stack(outputs, dim=1), p["out.weight"], p["out.bias"])
    return F.cross_entropy(logits.view(-1, WORDS), y.reshape(-1))


# --- a transformer of two blocks ---

HEADS = 3


def gpt_parameters() -> dict[str, torch.Tensor]:
    p = {
        "wte": drawn(WORDS, WIDE),
        "wpe": drawn(LONG, WIDE),
        "ln.weight": 1 + drawn(WIDE, fan=100),
        "ln.bias": drawn(WIDE, fan=100),
    }
    for i in (0, 1):
        p |= {
            f"{i}.ln1.weight": 1 + drawn(WIDE, fan=100),
            f"{i}.ln1.bias": drawn(WIDE, fan=100),
            f"{i}.qkv.weight": drawn(3 * WIDE, WIDE, fan=WIDE),
            f"{i}.qkv.bias": drawn(3 * WIDE, fan=100),
            f"{i}.proj.weight": drawn(WIDE, WIDE, fan=WIDE),
            f"{i}.proj.bias": drawn(WIDE, fan=100),
            f"{i}.ln2.weight": 1 + drawn(WIDE, fan=100),
            f"{i}.ln2.bias": drawn(WIDE, fan=100),
            f"{i}.up.weight": drawn(4 * WIDE, WIDE, fan=WIDE),
            f"{i}.up.bias": drawn(4 * WIDE, fan=100),
            f"{i}.down.weight": drawn(WIDE, 4 * WIDE, fan=4 * WIDE),
            f"{i}.down.bias": drawn(WIDE, fan=100),
        }
    return p


def gpt_block(x: Any, p: Parameters, i: int, fused: bool) -> Any:
    B, T, C = x.shape
    h = F.layer_norm(x, (C,), p[f"{i}.ln1.weight"], p[f"{i}.ln1.bias"])
    q, k, v = F.linear(h, p[f"{i}.qkv.weight"], p[f"{i}.qkv.bias"]).split(C, dim=2)
    q, k, v = (s.view(B, T, HEADS, C // HEADS).transpose(1, 2) for s in (q, k, v))
    if fused:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
    y = y.transpose(1, 2).contiguous().view(B, T, C)
    x = x + F.linear(y, p[f"{i}.proj.weight"], p[f"{i}.proj.bias"])
    h = F.layer_norm(x, (C,), p[f"{i}.ln2.weight"], p[f"{i}.ln2.bias"])
    h = F.gelu(F.linear(h, p[f"{i}.up.weight"], p[f"{i}.up.bias"]))
    return x + F.linear(h, p[f"{i}.down.weight"], p[f"{i}.down.bias"])


def gpt_loss(p: Parameters, fused: bool = True) -> Any:
    text = torch.randint(WORDS, (4, LONG + 1))
    idx, targets = text[:, :-1], text[:, 1:]
    x = F.embedding(idx, p["wte"]) + p["wpe"][torch.arange(LONG)]
    for i in (0, 1):
        x = gpt_block(x, p, i, fused)
    x = F.layer_norm(x, (WIDE,), p["ln.weight"], p["ln.bias"])
    logits = x @ p["wte"].T  # the embedding once more
    return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), ignore_index=-1)


def gpt_loss_written_out(p: Parameters) -> Any:
    return gpt_loss(p, fused=False)


# --- a convolutional net ---


def cnn_parameters() -> dict[str, torch.Tensor]:
    return {
        "conv1.weight": drawn(6, 2, 3, 3, fan=18),
        "conv1.bias": drawn(6, fan=100),
        "bn1.weight": 1 + drawn(6, fan=100),
        "bn1.bias": drawn(6, fan=100),
        "conv2.weight": drawn(8, 6, 3, 3, fan=54),
        "bn2.weight": 1 + drawn(8, fan=100),
        "bn2.bias": drawn(8, fan=100),
        "fc.weight": drawn(5, 8, fan=8),
        "fc.bias": drawn(5, fan=100),
    }


def cnn_loss(p: Parameters) -> Any:
    dtype = p["fc.bias"].dtype
    images, labels = torch.randn(6, 2, 12, 12, dtype=dtype), torch.randint(5, (6,))
    mean, var = torch.zeros(6, dtype=dtype), torch.ones(6, dtype=dtype)
    x = F.conv2d(images, p["conv1.weight"], p["conv1.bias"], padding=1)
    x = F.relu(F.batch_norm(x, mean, var, p["bn1.weight"], p["bn1.bias"], training=True))
    x = F.max_pool2d(x, 2)
    x = F.conv2d(x, p["conv2.weight"], stride=2, padding=1)
    x = F.relu(F.batch_norm(x, None, None, p["bn2.weight"], p["bn2.bias"], training=True))
    x = F.adaptive_avg_pool2d(x, 1).flatten(1)
    x = F.dropout(x, 0.1)
    return F.cross_entropy(F.linear(x, p["fc.weight"], p["fc.bias"]), labels, label_smoothing=0.1)


PROGRAMS = [
    (gru_parameters, gru_loss),
    (gpt_parameters, gpt_loss),
    (gpt_parameters, gpt_loss_written_out),
    (cnn_parameters, cnn_loss),
]
each_program = pytest.mark.parametrize(("parameters", "loss_of"), PROGRAMS, ids=[f.__name__ for _, f in PROGRAMS])


def gradients(
    parameters: Callable[[], dict[str, torch.Tensor]],
    loss_of: Callable[[Parameters], Any],
    leaf: Any,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and the gradient of each parameter."""
    torch.manual_seed(42)
    p = {name: leaf(value.to(dtype)) for name, value in parameters().items()}
    loss = loss_of(p)
    loss.backward()
    return raw(loss), {name: leaf.grad for name, leaf in p.items()}


def main() -> None:
    """Report how many gradients are torch's to the last bit, in single precision."""
    for parameters, loss_of in PROGRAMS:
        _, grads = gradients(parameters, loss_of, ours, torch.float32)
        _, wanted = gradients(parameters, loss_of, theirs, torch.float32)
        differ = {
            n: float((g - wanted[n]).abs().max() / wanted[n].abs().max())
            for n, g in grads.items()
            if not torch.equal(g, wanted[n])
        }
        print(
            f"{loss_of.__name__}: {len(grads) - len(differ)} of {len(grads)} gradients equal; others differ by {differ}"
        )


if __name__ == "__main__":
    main()
