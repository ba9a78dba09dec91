"""What matrix products can be put together to: outer, tensor and Kronecker products, chains and powers."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.rules.matrix_products import linalg_cross
from tapegrad.torch_api.composition import composition

# --- traces and cross products ---


@composition(torch.cross)
def cross(input: Any, other: Any, dim: int | None = None) -> Any:
    if dim is None:  # the first dimension of three, as in torch
        dim = next((d for d, size in enumerate(input.shape) if size == 3), -1)
    return linalg_cross(input, other, dim=dim)


# --- in terms of the above ---


@composition(torch.Tensor.__rmatmul__)
def _rmatmul(input: Any, other: Any) -> Any:
    return torch.matmul(other, input)


@composition(torch.outer, torch.ger)
def outer(input: Any, vec2: Any) -> Any:
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer(): expected two vectors, got {tuple(input.shape)} and {tuple(vec2.shape)}")
    return input.unsqueeze(-1) * vec2


@composition(torch.inner)
def inner(input: Any, other: Any) -> Any:
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner(): the last dimensions of {tuple(input.shape)} and {tuple(other.shape)} differ")
    return torch.dot(input, other) if input.ndim == other.ndim == 1 else tensordot(input, other, ([-1], [-1]))


@composition(torch.linalg.vecdot)
def vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    if x.ndim == y.ndim == 1:
        return torch.vdot(x, y)
    return ((x.conj() if x.is_complex() else x) * y).sum(dim)


@composition(torch.tensordot)
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Sum products over ``dims``: the last of ``a`` against the first of ``b``, or two lists; one matrix product."""
    if isinstance(dims, torch.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        dims = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    summed_a, summed_b = ([d % max(x.ndim, 1) for d in given] for given, x in zip(dims, (a, b), strict=True))
    kept_a = [d for d in range(a.ndim) if d not in summed_a]
    kept_b = [d for d in range(b.ndim) if d not in summed_b]
    for i, j in zip(summed_a, summed_b, strict=True):  # a dimension of size 1 is broadcast: sum the other beforehand
        if a.shape[i] == 1 != b.shape[j]:
            b = b.sum(j, keepdim=True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(i, keepdim=True)
    n = math.prod(a.shape[d] for d in summed_a)
    if n != math.prod(b.shape[d] for d in summed_b):
        raise RuntimeError(f"tensordot(): dims {dims} of {tuple(a.shape)} and {tuple(b.shape)} do not match")
    if not kept_a and not kept_b:
        a, b = a.permute(summed_a), b.permute(summed_b)
        return (a * b).sum() if not (a.is_contiguous() and b.is_contiguous()) else torch.dot(a.view(n), b.view(n))
    rows = a.permute(kept_a + summed_a).reshape(math.prod(a.shape[d] for d in kept_a), n)
    columns = b.permute(summed_b + kept_b).reshape(n, math.prod(b.shape[d] for d in kept_b))
    return torch.mm(rows, columns).reshape([a.shape[d] for d in kept_a] + [b.shape[d] for d in kept_b])


@composition(torch.kron)
def kron(input: Any, other: Any) -> Any:
    """Each element of ``input`` times all of ``other``: dimensions interleaved, multiplied, and merged pair by pair."""
    n = max(input.ndim, other.ndim)
    a, b = ([1] * (n - x.ndim) + list(x.shape) for x in (input, other))
    wide = input.reshape([size for s in a for size in (s, 1)]) * other.reshape([size for s in b for size in (1, s)])
    return wide.view([s * t for s, t in zip(a, b, strict=True)])


def cheapest_splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each stretch of a chain of matrices, the i-th of ``sizes[i]`` rows (Cormen et al., 15.2)."""
    n = len(sizes) - 1
    cost, cut = {(i, i): 0 for i in range(n)}, {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            splits = range(i, j) if n != 3 else range(j - 1, i - 1, -1)  # torch's choice among equals
            trials = {k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in splits}
            cut[i, j] = min(trials, key=trials.__getitem__)
            cost[i, j] = trials[cut[i, j]]
    return cut


def multiply_chain(chain: list[Any], cut: dict[tuple[int, int], int], i: int, j: int) -> Any:
    """The product of the i-th to the j-th matrix."""
    if i == j:
        return chain[i]
    return torch.mm(multiply_chain(chain, cut, i, cut[i, j]), multiply_chain(chain, cut, cut[i, j] + 1, j))


@composition(torch.linalg.multi_dot)
def multi_dot(tensors: Any) -> Any:
    """A chain of products, in the order that takes the fewest multiplications."""
    first, *middle, last = tensors
    chain = [first.unsqueeze(0) if first.ndim == 1 else first, *middle, last.unsqueeze(1) if last.ndim == 1 else last]
    out = multiply_chain(chain, cheapest_splits([x.shape[0] for x in chain] + [chain[-1].shape[1]]), 0, len(chain) - 1)
    out = out.squeeze(-1) if last.ndim == 1 else out
    return out.squeeze(0) if first.ndim == 1 else out


@composition(torch.chain_matmul)
def chain_matmul(*matrices: Any) -> Any:
    return multi_dot(matrices) if len(matrices) > 1 else matrices[0]


@composition(torch.linalg.matrix_power, torch.matrix_power)
def matrix_power(input: Any, n: int) -> Any:
    """By repeated squaring."""
    if input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"matrix_power(): expected square matrices, got {tuple(input.shape)}")
    n = int(n)
    if n == 0:
        identity = torch.eye(input.shape[-1], dtype=input.dtype, device=input.device).expand(input.shape)
        return torch.where(torch.ones_like(input, dtype=torch.bool), identity, input)  # recorded; no NaN gets in
    if n < 0:
        return matrix_power(torch.linalg.inv(input), -n)
    if n == 1:
        return input.clone()
    if n == 3:
        return (input @ input) @ input
    out, square = None, input
    while True:
        n, odd = divmod(n, 2)
        if odd:
            out = square if out is None else out @ square
        if n == 0:
            return out
        square = square @ square
