"""Sample calls of functions that move elements: shapes, pieces, windows, borders. The format is that of samples.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.calls import Call, call, const, ints, real

SAMPLES: dict[Callable[..., Any], list[Call]] = {}

# --- sizes ---

SAMPLES[torch.unflatten] = [
    call(real(6), 0, (2, 3)), call(real(2, 6), 1, (3, -1)), call(real(2, 6), -1, [2, 3]), call(real(6), dim=0, sizes=(1, 6)),
    call(real(0, 2), 0, (0, 3)),
]  # fmt: skip
SAMPLES[torch.squeeze] = [call(real(2, 1, 3), ()), call(real(2, 3), 0)]
SAMPLES[torch.Tensor.sum_to_size] = [
    call(real(2, 3), 1, 3), call(real(2, 3), (3,)), call(real(2, 3), 2, 3), call(real(33, 17), 33, 1), call(real(2, 3), ()),
    call(real(4, 2, 3), (2, 1)), call(real(0, 3), 3),
]  # fmt: skip

# --- order ---

MOVES = [
    call(real(2, 3, 2), 0, 2), call(real(2, 3, 2), -1, 0), call(real(2, 3, 2), (0, 1), (1, 2)), call(real(2, 3), source=1, destination=0),
    call(real(2, 3, 2), [0, -1], [-1, 0]), call(real(), 0, 0), call(real(0, 3), 0, 1),
]  # fmt: skip
SAMPLES[torch.movedim] = MOVES
SAMPLES[torch.moveaxis] = MOVES
SAMPLES[torch.swapdims] = [call(real(2, 3, 2), 0, 1), call(real(2, 3), dim0=-1, dim1=0)]
SAMPLES[torch.flip] = [
    call(real(2, 3), (0,)), call(real(2, 3), [0, 1]), call(real(2, 3), dims=(-1,)), call(real(2, 3), ()), call(real(33, 17), (1,)),
    call(real(), ()), call(real(0, 3), (0,)),
]  # fmt: skip
SAMPLES[torch.Tensor.flip] = [call(real(2, 3), 0), call(real(2, 3), 1, 0), call(real(2, 3), (-1,))]
SAMPLES[torch.fliplr] = [call(real(2, 3)), call(real(2, 3, 2)), call(real(2, 0))]
SAMPLES[torch.flipud] = [call(real(2, 3)), call(real(3)), call(real(0, 2))]
SAMPLES[torch.roll] = [
    call(real(5), 2), call(real(2, 3), 1), call(real(2, 3), 1, 0), call(real(2, 3), -4, 1), call(real(2, 3), (1, -1), (0, 1)),
    call(real(2, 3), shifts=[2], dims=[-1]), call(real(), 1), call(real(0, 3), 1, 0), call(real(33, 17), 5, 1),
]  # fmt: skip
SAMPLES[torch.rot90] = [
    call(real(2, 3)), call(real(2, 3), 2), call(real(2, 3), -1, [0, 1]), call(real(2, 3, 2), 3, (1, 2)), call(real(2, 3), k=5, dims=(1, 0)),
    call(real(2, 3), 0), call(real(0, 3)),
]  # fmt: skip
SAMPLES[torch.adjoint] = [call(real(2, 3)), call(real(2, 3, 2)), call(real(0, 3))]
SHIFTS = [call(real(5)), call(real(2, 3)), call(real(2, 3), 1), call(real(2, 3), dim=(0, -1)), call(real(33, 17), [1])]
SAMPLES[torch.fft.fftshift] = SHIFTS
SAMPLES[torch.fft.ifftshift] = SHIFTS
for function in (torch.real, torch.conj, torch.conj_physical, torch.resolve_conj, torch.resolve_neg):
    SAMPLES[function] = [call(real(2, 3)), call(real()), call(real(0))]


def hermitian(x: Any) -> Any:
    """The property of this name, and its relatives."""
    return x.H


def properties(x: Any) -> Any:
    """The matrix properties, one after the other."""
    return x.T, x.mT, x.mH, x.real


SAMPLES[hermitian] = [call(real(2, 3)), call(real(0, 3)), call(real(33, 17))]
SAMPLES[properties] = [call(real(2, 3)), call(real(33, 17))]

# --- copies ---

SAMPLES[torch.Tensor.repeat] = [
    call(real(3), 2), call(real(2, 3), 1, 2), call(real(2, 3), (2, 1, 2)), call(real(), 3), call(real(3), 2, 1), call(real(2, 3), 1, 1),
    call(real(3), 0), call(real(2), 0, 2), call(real(0, 3), 2, 2), call(real(33, 17), 3, 5), call(real(5), 7, 3, 2), call(real(), ()),
]  # fmt: skip
SAMPLES[torch.tile] = [
    call(real(3), (2,)), call(real(2, 3), (2,)), call(real(2, 3), [2, 1]), call(real(3), (2, 2)), call(real(2, 3), ()), call(real(), (2,)),
    call(real(2, 3), dims=(1, 3)), call(real(0, 3), (2, 2)), call(real(5, 33), (3, 4)), call(real(3), (0,)),
]  # fmt: skip
SAMPLES[torch.Tensor.tile] = [call(real(2, 3), 2), call(real(2, 3), 2, 1), call(real(2, 3), (2, 2))]
SAMPLES[torch.repeat_interleave] = [
    call(real(3), 2), call(real(2, 3), 2), call(real(2, 3), 3, 1), call(real(2, 3), 2, -1), call(real(2, 3), 2, dim=0),
    call(real(3), ints(3, below=3)), call(real(2, 3), ints(3, below=4), 1), call(real(2, 3), ints(2, below=3), dim=-2),
    call(real(2, 3), ints(1, below=4, above=3), 0), call(real(2, 3), ints(below=3, above=2), 1), call(real(3), 0), call(real(), 3),
    call(real(33, 17), 5, 1), call(real(2, 3), 2, 1, output_size=6), call(real(0, 3), 2, 0),
]  # fmt: skip

# --- memory and type ---

SAMPLES[torch.Tensor.double] = [call(real(2, 1, 2, 2), memory_format=torch.channels_last), call(real()), call(real(0))]
SAMPLES[torch.Tensor.to] = [call(real(3), real(1, dtype=torch.float64))]

# --- parts ---

SAMPLES[torch.select] = [call(real(2, 3, 2), 1, -3), call(real(3), 0, 1), call(real(33, 17), 1, 5)]
SAMPLES[torch.narrow_copy] = [
    call(real(3, 2), 0, 1, 2),
    call(real(3, 2), 1, 0, 1),
    call(real(3, 2), dim=-1, start=1, length=1),
]
SAMPLES[torch.split] = [
    call(real(5, 2), split_size_or_sections=2),
    call(tensor=real(4), split_size_or_sections=[1, 3]),
    call(real(33, 17), 5, 1),
]
SAMPLES[torch.Tensor.split] = [
    call(real(5, 2), 2),
    call(real(5, 2), split_size=2),
    call(real(2, 5), [2, 0, 3], dim=-1),
    call(real(2, 5), 3, 1),
]
SAMPLES[torch.ops.aten.slice.Tensor] = [call(real(5, 2), 0, 1, 4, 2), call(real(2, 3), dim=-1, start=-2), call(real(3))]
SAMPLES[torch.unsafe_split] = [call(real(5, 2), 2), call(real(2, 5), 2, 1)]
for function in (torch.split_with_sizes, torch.unsafe_split_with_sizes):
    SAMPLES[function] = [
        call(real(5, 2), [1, 4]),
        call(real(2, 5), (2, 0, 3), -1),
        call(real(4), split_sizes=[4], dim=0),
    ]
SAMPLES[torch.unsafe_chunk] = [call(real(5, 2), 2), call(real(2, 5), 3, 1), call(real(2, 3), chunks=5, dim=-1)]
SAMPLES[torch.tensor_split] = [
    call(real(5, 2), 2), call(real(5, 2), 3), call(real(2, 5), (1, 3), 1), call(real(5), [2, 2, 4]), call(real(5), (-1,)), call(real(5), (3, 1)),
    call(real(5), sections=3), call(real(2, 5), indices=[1], dim=-1), call(real(5), ints(below=3, above=2)), call(real(5), ints(2, below=5)),
    call(real(2), 4), call(real(0, 2), 2), call(real(3), (5, 7)),
]  # fmt: skip
SAMPLES[torch.hsplit] = [call(real(4), 2), call(real(2, 4), 2), call(real(2, 4), [1, 2]), call(real(2, 3, 1), 3)]
SAMPLES[torch.vsplit] = [call(real(4, 2), 2), call(real(4, 2), (1,))]
SAMPLES[torch.dsplit] = [call(real(2, 1, 4), 2), call(real(2, 1, 4), [1, 3])]
DIAGONALS = [
    call(real(3, 3)), call(real(2, 3), 1), call(real(3, 2), -1), call(real(2, 3, 2), 0, 0, 2), call(real(2, 3, 2), 1, 1, -1),
    call(real(2, 3), offset=-1, dim1=1, dim2=0), call(real(2, 3), 3), call(real(0, 3)), call(real(33, 17), 2),
]  # fmt: skip
SAMPLES[torch.diagonal] = DIAGONALS
SAMPLES[torch.linalg.diagonal] = [
    call(real(3, 3)), call(real(2, 3, 2)), call(real(2, 3), offset=1), call(real(2, 3, 2), offset=-1, dim1=0, dim2=1), call(A=real(2, 3)),
]  # fmt: skip
SAMPLES[torch.diag] = [
    call(real(3)), call(real(3), 1), call(real(3), -2), call(real(2, 3)), call(real(3, 2), -1), call(real(2, 3), diagonal=1), call(real(0)),
    call(real(33, 17), 3),
]  # fmt: skip
SAMPLES[torch.diagflat] = [call(real(3)), call(real(2, 2), 1), call(real(2, 2), offset=-1), call(real()), call(real(0))]
SAMPLES[torch.diag_embed] = [
    call(real(3)), call(real(2, 3)), call(real(2, 3), 1), call(real(2, 3), -2, 0, 1), call(real(2, 3), offset=1, dim1=0, dim2=-1), call(real(0)),
]  # fmt: skip
for function in (torch.tril, torch.triu):
    SAMPLES[function] = [
        call(real(3, 3)), call(real(2, 3), 1), call(real(3, 2), -1), call(real(2, 2, 2), diagonal=0), call(real(3, 3), 5), call(real(0, 3)),
        call(real(33, 17), 2),
    ]  # fmt: skip

# --- parts replaced ---

SAMPLES[torch.select_scatter] = [
    call(real(3, 2), real(2), 0, 1), call(real(3, 2), real(3), 1, -1), call(real(3, 2), const(2), dim=-2, index=0),
    call(const(3, 2), real(3), 1, 0), call(real(3), real(), 0, 2),
]  # fmt: skip
SAMPLES[torch.slice_scatter] = [
    call(real(4, 2), real(2, 2), 0, 1, 3), call(real(4, 2), real(4, 2)), call(real(4, 2), real(2, 2), step=2), call(real(4, 2), real(1, 2), 0, -1),
    call(real(2, 4), real(2, 1), dim=1, start=1, end=3, step=2), call(const(4, 2), real(2, 2), 0, 2), call(real(4), const(3), end=3),
]  # fmt: skip
SAMPLES[torch.diagonal_scatter] = [
    call(real(3, 3), real(3)), call(real(2, 3), real(2), 1), call(real(2, 3, 2), real(3, 2), 0, 0, 2), call(const(2, 3), real(1), offset=-1),
    call(real(2, 3), const(2), 0, 1, 0),
]  # fmt: skip

# --- joined ---

JOINED = [
    call([real(2, 3), real(1, 3)]), call([real(2, 1), real(2, 3)], 1), call((real(2), const(1), real(3)), dim=0), call([real(3)]),
    call([real(0), real(2, 3)], 0), call([real(2), real(3, dtype=torch.float64)], axis=0),
]  # fmt: skip
SAMPLES[torch.concat] = JOINED
SAMPLES[torch.concatenate] = JOINED
SAMPLES[torch.cat] = [call([real(2, 2, 3), real(0), real(2, 1, 3)], 1)]
SAMPLES[torch.hstack] = [
    call([real(2), real(3)]), call([real(2, 1), real(2, 3)]), call((real(), real(2), const(1))), call([real()]), call([real(2, 3)]),
    call([real(1, 2, 2), real(1, 1, 2)]),
]  # fmt: skip
SAMPLES[torch.vstack] = [
    call([real(2), real(2)]), call([real(2, 3), real(3)]), call([real(), real()]), call((real(1, 2, 2), const(1, 2, 2))), call([real(3)]),
]  # fmt: skip
SAMPLES[torch.dstack] = [
    call([real(2), real(2)]), call([real(2, 3), real(2, 3)]), call([real(), real()]), call((real(1, 2, 2), real(1, 2, 1))), call([real(3)]),
]  # fmt: skip
SAMPLES[torch.column_stack] = [
    call([real(2), real(2)]), call([real(2, 3), real(2)]), call([real(), real()]), call((real(2, 2, 1), real(2, 1, 1))), call([real(3), const(3)]),
]  # fmt: skip
SAMPLES[torch.block_diag] = [
    call(real(2, 2), real(1, 3)), call(real(2), real(), real(2, 1)), call(real(2, 3)), call(real(), real()), call(real(2, 2), const(2), real(1)),
    call(real(2, 0), real(1, 2)),
]  # fmt: skip
for function in (torch.atleast_1d, torch.atleast_2d, torch.atleast_3d):
    SAMPLES[function] = [
        call(real()), call(real(3)), call(real(2, 3)), call(real(2, 1, 2)), call(real(1, 2, 1, 2)), call(real(), real(2)), call([real(), real(2, 3)]),
        call((real(2), real(2, 1, 2))),
    ]  # fmt: skip
SAMPLES[torch.broadcast_tensors] = [
    call(real(3), real(2, 1)), call(real(2, 3), real()), call(real(3)), call(real(3), const(2, 1)), call(real(0, 3), real(3)),
]  # fmt: skip
SAMPLES[torch.meshgrid] = [
    call(real(2), real(3), indexing="ij"), call(real(2), real(3), indexing="xy"), call([real(2), real(3)], indexing="ij"),
    call(real(2), real(3), real(2), indexing="xy"), call(real(), real(3), indexing="ij"), call(real(3), indexing="xy"),
    call(real(2), const(2), indexing="ij"), call(real(0), real(2), indexing="ij"),
]  # fmt: skip
SAMPLES[torch.cartesian_prod] = [
    call(real(2), real(3)), call(real(3)), call(real(2), real(3), real(2)), call(real(2), const(2)), call(real(0), real(2)),
]  # fmt: skip
SAMPLES[torch.combinations] = [
    call(real(4)), call(real(4), 3), call(real(3), 2, True), call(real(3), r=1), call(real(2), r=3), call(real(0)),
    call(real(3), with_replacement=True, r=3), call(real(17), 2, True),
]  # fmt: skip

# --- windows ---

SAMPLES[torch.Tensor.unfold] = [
    call(real(5), 0, 2, 1), call(real(5), 0, 3, 2), call(real(2, 5), 1, 2, 3), call(real(4, 3), 0, 4, 1), call(real(2, 4), -1, 1, 1),
    call(real(4, 3), dimension=0, size=2, step=1), call(real(), 0, 1, 1), call(real(3), 0, 0, 1), call(real(33, 17), 1, 5, 2), call(real(33, 17), 0, 9, 1),
]  # fmt: skip
PATCHES = [
    call(real(1, 1, 3, 4), 2), call(real(2, 3, 3), (2, 1)), call(real(1, 2, 2, 3), 2, 1, 1), call(real(1, 1, 4, 3), (2, 2), stride=(2, 1)),
    call(real(1, 1, 3, 4), 2, dilation=(1, 2)), call(real(1, 1, 3, 3), kernel_size=(3, 2), padding=(1, 0), stride=2), call(real(2, 3, 9, 8), 3, 1, 1, 2),
]  # fmt: skip
SAMPLES[F.unfold] = PATCHES
SAMPLES[F.fold] = [
    call(real(1, 4, 2), (2, 3), 2), call(real(4, 2), (2, 3), (2, 2)), call(real(1, 4, 4), (2, 3), 2, 1, (1, 0), (2, 1)), call(real(2, 4, 1), (3, 3), 2, 2),
    call(real(1, 4, 2), output_size=(2, 3), kernel_size=2, stride=(1, 1)), call(real(2, 27, 20), (9, 8), 3, 1, 1, 2),
]  # fmt: skip

# --- borders ---

SAMPLES[F.pad] = [
    call(real(3), (1, 2)), call(real(2, 3), (1, 0)), call(real(2, 3), (1, 0, 0, 2)), call(real(2, 3), (-1, 1)), call(real(2, 3), [1, -1], value=2.5),
    call(real(2, 3), (0, 0)), call(real(3), (1, 2), "constant", -1.0), call(real(2, 3), pad=(-1, -1), mode="constant"), call(real(0, 3), (1, 1)),
    call(real(1, 1, 3), (2, 1), "reflect"), call(real(2, 3), (1, 2), "reflect"), call(real(1, 1, 3, 4), (1, 2, 2, 1), mode="reflect"),
    call(real(1, 2, 2, 3), (1, 0, 0, 1), mode="reflect"), call(real(1, 1, 2, 2, 2), (1, 0, 0, 1, 1, 1), "reflect"),
    call(real(1, 1, 3), (2, 1), "replicate"), call(real(2, 3), (0, 4), "replicate"), call(real(1, 1, 3, 4), (1, 2, 2, 1), mode="replicate"),
    call(real(1, 1, 2, 2, 2), (1, 0, 3, 1, 1, 1), "replicate"), call(real(1, 2, 3, 2), (-1, 1, 1, -1), "replicate"),
    call(real(1, 1, 3), (2, 1), "circular"), call(real(2, 3), (3, 0), "circular"), call(real(1, 2, 3), (1, -1), "circular"),
    call(real(2, 3, 9, 8), (3, 4, 1, 2), "reflect"), call(real(2, 3, 9, 8), (3, 4, 1, 2), "replicate"),
]  # fmt: skip
SAMPLES[F.pad] += [
    call(real(1, 1, 3, 4), (1, 2, 2, 1), mode="circular"),
    call(real(1, 1, 2, 2, 2), (1, 0, 2, 1, 1, 1), "circular"),
]
SAMPLES[torch.constant_pad_nd] = [
    call(real(2, 3), (1, 2)), call(real(2, 3), [1, -1, 0, 2], 0.5), call(real(2, 3), pad=(0, 1), value=-1.0), call(real(2, 3), ()),
]  # fmt: skip

# --- pixels and channels ---

SAMPLES[F.pixel_shuffle] = [call(real(4, 1, 2), 2), call(real(1, 4, 2, 1), 2), call(real(2, 9, 5, 4), upscale_factor=3)]
SAMPLES[F.pixel_unshuffle] = [
    call(real(1, 2, 4), 2),
    call(real(1, 1, 4, 2), 2),
    call(real(2, 2, 9, 6), downscale_factor=3),
]
SAMPLES[F.channel_shuffle] = [
    call(real(1, 4, 1, 2), 2),
    call(real(1, 6, 1), 3),
    call(real(2, 6, 5, 4), groups=2),
    call(real(1, 4, 2), 1),
]

# --- memory ---

SAMPLES[torch.as_strided] = [
    call(real(2, 3), (3, 2), (1, 3)), call(real(6), (2, 2), (1, 1)), call(real(6), (2, 2), (2, 1), 1), call(real(2, 3), size=(2,), stride=(4,), storage_offset=0),
    call(real(6), (3, 2), (0, 1)), call(real(4), (), ()), call(real(33, 17), (5, 9), (40, 3), 7),
]  # fmt: skip

# --- torch's copying twins ---

TWINS = {
    torch.diagonal_copy: DIAGONALS,
    torch.expand_copy: [call(real(3), (2, 3)), call(real(2, 1), [2, 3])],
    torch.permute_copy: [call(real(2, 3), (1, 0)), call(real(2, 3, 2), (2, 0, 1))],
    torch.select_copy: [call(real(3, 2), 0, 1), call(real(3, 2), 1, -1)],
    torch.split_copy: [call(real(5, 2), 2), call(real(2, 5), 2, 1)],
    torch.split_with_sizes_copy: [call(real(5, 2), [1, 4]), call(real(2, 5), [2, 3], 1)],
    torch.squeeze_copy: [call(real(2, 1, 3)), call(real(2, 1, 3), 1)],
    torch.t_copy: [call(real(2, 3)), call(real(3))],
    torch.transpose_copy: [call(real(2, 3), 0, 1), call(real(2, 3, 2), -1, 0)],
    torch.unbind_copy: [call(real(3, 2)), call(real(3, 2), 1)],
    torch.unfold_copy: [call(real(5), 0, 2, 1), call(real(2, 5), 1, 2, 3)],
    torch.unsqueeze_copy: [call(real(2, 3), 0), call(real(2, 3), -1)],
    torch.view_copy: [call(real(2, 3), (3, 2)), call(real(2, 3), [6])],
    torch.alias_copy: [call(real(2, 3)), call(real())],
    torch.as_strided_copy: [call(real(2, 3), (3, 2), (1, 3))],
}
SAMPLES.update(TWINS)
