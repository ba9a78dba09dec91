"""Where half precision needs more than float32 within a formula, and where less: see ``Op.in_half``.

A formula computes in float32, but its ``out`` comes from the tape, rounded. Where an element of the gradient hangs on
its own element of ``out``, that is no more than torch has. Where all of a gradient hangs on one ``out``, or an element
is the difference between ``out`` and something near to it, ``out`` is computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import Any

import torch

from tapegrad.engine.op import Formula, Op
from tapegrad.rules import (
    activations,
    attention,
    convolution,
    cumulative,
    einsum,
    elementwise,
    indexing,
    matmul,
    matrix_products,
    norms,
    patches,
    reduction,
    shape,
    slicing,
    special,
)  # fmt: skip
from tapegrad.rules.opmath import in_float32, opmath

_own: dict[Op, tuple[Mapping[str, Formula], Mapping[str, Formula]]] = {}  # formulas and kernels for half precision
_round_once: set[Op] = set()


def in_float32_inside(op: Op) -> Op:
    """The op, with formulas that compute in float32."""
    if op in _round_once:
        return op
    half = copy(op)
    formulas, kernels = _own.get(op, ({}, {}))
    half.formulas = {n: opmath(f) for n, f in op.formulas.items()} | dict(formulas)
    half.kernels = {n: opmath(f) for n, f in op.kernels.items()} | dict(kernels)
    half.elementwise = False  # in dtype, not
    half.prepare()
    return half


# Made when an op first meets half precision, and anew when its kernels have changed.
Op.in_half = cached_property(in_float32_inside)  # type: ignore[assignment]  # the engine's own is the op as it is
Op.in_half.__set_name__(Op, "in_half")  # type: ignore[attr-defined]


def in_half(op: Op, formulas: Mapping[str, Formula], kernels: Mapping[str, Formula] | None = None) -> None:
    """Give an op formulas, and kernels, of its own for half precision. They ask for no value that its others do not."""
    _own[op] = formulas, formulas if kernels is None else dict(kernels)
    op.prepare()


# --- outputs computed again ---


@opmath
def std_gradient(g: Any, input: Any, dim: Any, correction: float, keepdim: bool) -> Any:
    """Of the standard deviation, by which all is divided."""
    out = torch.std(input, dim, correction=correction, keepdim=keepdim)
    return reduction.std.formulas["input"](g, out, input, dim, correction, keepdim)


@opmath
def logsumexp_gradient(g: Any, input: Any, dim: Any, keepdim: bool) -> Any:
    """Of log(sum(exp(x))): softmax, whose scale is out."""
    return reduction.logsumexp.formulas["input"](g, torch.logsumexp(input, dim, keepdim), input, dim, keepdim)


@opmath
def vector_norm_gradient(g: Any, input: Any, ord: float, dim: Any, keepdim: bool) -> Any:
    """Of a norm, by which all is divided."""
    out = torch.linalg.vector_norm(input, ord, dim, keepdim)
    return norms.vector_norm.formulas["input"](g, out, input, ord, dim, keepdim)


@opmath
def i0e_gradient(g: Any, input: Any) -> Any:
    """Of the Bessel function: a difference of two that are nearly equal where x is large."""
    return special.i0e.formulas["input"](g, torch.special.i0e(input), input)


@opmath
def attention_gradients(g: Any, tensors: Any, is_causal: bool, scale: float) -> list[Any]:
    """Of attention: where a query attends to one key alone, the difference from the mean is exactly 0."""
    return attention.attention_gradients(g, None, tensors, is_causal, scale)


in_half(reduction.std, {"input": std_gradient})
in_half(reduction.logsumexp, {"input": logsumexp_gradient})
in_half(norms.vector_norm, {"input": vector_norm_gradient})
in_half(special.i0e, {"input": i0e_gradient})
in_half(attention.attention, {"tensors": attention_gradients})
# The kernels of products divide by a factor what is left of out, and sinc's subtracts what is nearly equal.
for op in (reduction.prod_all, reduction.prod_dim, elementwise.sinc):
    in_half(op, op.in_half.formulas)

# --- rounded once as it is ---


def einsum_gradients(g: Any, equation: str, operands: Any) -> list[Any]:
    """A product of two is; products of products are not."""
    if len(operands) > 2:
        g, operands = in_float32((g, operands))
    gradients: list[Any] = einsum.einsum.formulas["operands"](g, equation, operands)
    return gradients


in_half(einsum.einsum, {"operands": einsum_gradients})
in_half(matmul.folded, {}, matmul.folded.kernels)


def rounds_once(*ops: Op) -> None:
    """Say that some ops need no float32: they only move values, or are one operation of torch, which uses it itself."""
    _round_once.update(ops)


rounds_once(
    elementwise.add, elementwise.sub, elementwise.rsub, elementwise.scaled_add, elementwise.mul, elementwise.neg,
    elementwise.positive, elementwise.deg2rad, elementwise.rad2deg, elementwise.floor, elementwise.ceil,
    elementwise.trunc, elementwise.sign, elementwise.sgn, elementwise.round, elementwise.rounded_div,
    elementwise.frac, elementwise.nextafter, elementwise.exp, elementwise.log, elementwise.abs, elementwise.angle,
    elementwise.maximum, elementwise.minimum, elementwise.fmax, elementwise.fmin, elementwise.clamp,
    elementwise.nan_to_num, elementwise.where, elementwise.masked_fill, elementwise.clone,
    activations.relu, activations.hardtanh, activations.hardsigmoid, activations.thresholded, activations.leaky_relu,
    activations.hardshrink, activations.softshrink,
    reduction.sum, reduction.mean, reduction.nansum, reduction.mean_beside_var, reduction.scatter, reduction.max_dim,
    reduction.min_dim, reduction.median_dim, reduction.nanmedian_dim, reduction.mode_dim,
    norms.at_least,
    shape.view, shape.reshape, shape.flatten, shape.unflatten, shape.squeeze, shape.unsqueeze, shape.t,
    shape.transpose, shape.permute, shape.movedim, shape.flip, shape.fliplr, shape.flipud, shape.roll, shape.rot90,
    shape.expand, shape.repeat, shape.tile, shape.contiguous, shape.moved, shape.real, shape.conj,
    shape.conj_physical, shape.resolve_conj, shape.resolve_neg, shape.adjoint, shape.hermitian,
    slicing.select, slicing.narrow, slicing.diagonal, slicing.diag_embed, slicing.tril, slicing.triu,
    slicing.select_scatter, slicing.slice_scatter, slicing.diagonal_scatter, slicing.cat, slicing.stack,
    indexing.add_at_index, indexing.getitem, indexing.setitem, indexing.gather, indexing.index_select, indexing.take,
    indexing.masked_select, indexing.scatter, indexing.index_copy, indexing.index_fill, indexing.index_put,
    indexing.put, indexing.masked_scatter, indexing.fill, indexing.scatter_add, indexing.index_add, indexing.lookup,
    indexing.sort, indexing.topk, indexing.kthvalue,
    patches.unfold, patches.im2col, patches.col2im, patches.constant_pad, patches.pixel_shuffle,
    patches.pixel_unshuffle, patches.channel_shuffle, patches.as_strided,
    cumulative.cumsum, cumulative.cumsum_reversed, cumulative.cummax_dim, cumulative.cummin_dim,
    matmul.two_matrices, matmul.matmul, matmul.linear,
    matrix_products.mm, matrix_products.bmm, matrix_products.mv, matrix_products.dot, matrix_products.vdot,
    matrix_products.addmm, matrix_products.addmv, matrix_products.addr, matrix_products.baddbmm,
    matrix_products.addbmm, matrix_products.trace,
    convolution.convolution,
)  # fmt: skip
