"""Rules of products of fixed dimensions, and of those that are made of them."""

from __future__ import annotations

import torch

from tapegrad.engine.table import rule

# --- products of fixed dimensions ---


mm = rule(torch.mm, "input, mat2", input=lambda g, mat2: g @ mat2.mT, mat2=lambda g, input: input.mT @ g)
bmm = rule(torch.bmm, "input, mat2", input=lambda g, mat2: g @ mat2.mT, mat2=lambda g, input: input.mT @ g)
mv = rule(torch.mv, "input, vec", input=lambda g, vec: g.unsqueeze(-1) * vec, vec=lambda g, input: input.mT @ g)
dot = rule(torch.dot, "input, tensor", input=lambda g, tensor: g * tensor, tensor=lambda g, input: g * input)
vdot = rule(torch.vdot, "input, other", input=lambda g, other: g * other, other=lambda g, input: g * input)


# --- a product added to something ---


addmm = rule(
    torch.addmm,
    "input, mat1, mat2, *, beta=1, alpha=1",
    input=lambda g, beta: g * beta,
    mat1=lambda g, mat2, alpha: (g @ mat2.mT) * alpha,
    mat2=lambda g, mat1, alpha: (mat1.mT @ g) * alpha,
)
addmv = rule(
    torch.addmv,
    "input, mat, vec, *, beta=1, alpha=1",
    input=lambda g, beta: g * beta,
    mat=lambda g, vec, alpha: (g.unsqueeze(-1) * vec) * alpha,
    vec=lambda g, mat, alpha: (mat.mT @ g) * alpha,
)
addr = rule(
    torch.addr,
    "input, vec1, vec2, *, beta=1, alpha=1",
    input=lambda g, beta: g * beta,
    vec1=lambda g, vec2, alpha: (g @ vec2) * alpha,
    vec2=lambda g, vec1, alpha: (g.mT @ vec1) * alpha,
)
baddbmm = rule(
    torch.baddbmm,
    "input, batch1, batch2, *, beta=1, alpha=1",
    input=lambda g, beta: g * beta,
    batch1=lambda g, batch2, alpha: (g @ batch2.mT) * alpha,
    batch2=lambda g, batch1, alpha: (batch1.mT @ g) * alpha,
)
# The products of all batches are summed into one matrix, so each gets the whole gradient.
addbmm = rule(
    torch.addbmm,
    "input, batch1, batch2, *, beta=1, alpha=1",
    input=lambda g, beta: g * beta,
    batch1=lambda g, batch2, alpha: (g @ batch2.mT) * alpha,
    batch2=lambda g, batch1, alpha: (batch1.mT @ g) * alpha,
)


# --- traces and cross products ---


trace = rule(
    torch.trace,
    input=lambda g, input_shape: torch.where(torch.eye(*input_shape, dtype=torch.bool, device=g.device), g, 0.0),
)
linalg_cross = rule(
    torch.linalg.cross,
    "input, other, *, dim=-1",
    input=lambda g, other, dim: torch.linalg.cross(other, g, dim=dim),
    other=lambda g, input, dim: torch.linalg.cross(g, input, dim=dim),
)
