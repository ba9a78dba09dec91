"""Rules for complex numbers, of the functions that are not holomorphic.

The walk carries the conjugate of torch's gradient, the ``g`` in dL = Re(sum(g * dy)). Where y = f(z) has a complex
derivative, dy = f'(z) dz, the gradient of z is g * f'(z), as for real numbers: the formula is the one there is already.
The functions here have none, for they conjugate, or take a real number out of a complex one. For them
dy = a dz + b conj(dz), so that the gradient of z is g a + conj(g b); of a real y it is twice g a. See docs/complex.md.

Factorizations are not holomorphic either. Their formulas, in ``factorizations.py`` and ``spectral.py``, conjugate
where they must, which does nothing to real numbers.
"""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.op import Formula, Op
from tapegrad.engine.table import rule
from tapegrad.rules import (
    cumulative,
    elementwise,
    factorizations,
    fourier,
    matrix_products,
    norms,
    reduction,
    shape,
    spectral,
)


def in_complex(op: Op, **formulas: Formula) -> None:
    """Give an op that is not holomorphic formulas of its own for complex numbers. With none, those that it has will do.

    Raises:
        TypeError: one asks for a value that is not saved, as the formula for real numbers does not ask for it.
    """
    for name, formula in formulas.items():
        if unsaved := set(op.needs(formula)) - set(op.needs(op.formulas[name])):
            raise TypeError(f"in_complex: {op.name} does not save {min(unsaved)!r} for the gradient of {name}")
    op.complex_formulas = formulas
    op.prepare()


# --- parts: dx = Re(dz), dy = Im(dz) = Re(-i dz) ---

in_complex(shape.real)
in_complex(shape.moved)  # to a real dtype
imag = rule(torch.imag, input=lambda g: g * -1j)
in_complex(imag)
complex = rule(torch.complex, "real, imag", real=lambda g: g.real, imag=lambda g: -g.imag)
view_as_real = rule(torch.view_as_real, input=lambda g: torch.complex(g[..., 0], -g[..., 1]))
in_complex(view_as_real)
view_as_complex = rule(torch.view_as_complex, input=lambda g: torch.view_as_real(g.conj().resolve_conj()))

# --- absolute value r and direction u: z = r u; at 0 there is neither, and the gradient is 0, as in torch ---


def over(x: Any, r: Any) -> Any:
    """x / r, and 0 where r is 0."""
    return (x / torch.where(r == 0, 1.0, r)).masked_fill(r == 0, 0.0)


# dr = Re(conj(u) dz)
in_complex(elementwise.abs, input=lambda g, input: g * input.sgn().conj())
# The angle turns by Im(conj(u) dz) / r.
in_complex(elementwise.angle, input=lambda g, input: over(g * -1j * input.sgn().conj(), input.abs()))
# du = i u Im(conj(u) dz) / r
in_complex(
    elementwise.sgn,
    input=lambda g, out, input: over((g * out).imag * 1j * out.conj(), input.abs()),
)
polar = rule(
    torch.polar,
    "abs, angle",
    abs=lambda g, angle: (g * torch.polar(torch.ones_like(angle), angle)).real,
    angle=lambda g, out: -(g * out).imag,
)

# --- sums of |z|^p, which depend on z and its conjugate alike ---

in_complex(
    norms.vector_norm,
    input=lambda g, out, input, ord, dim, keepdim: norms.vector_norm_gradient(g, out, input.conj(), ord, dim, keepdim),
)
in_complex(
    reduction.var,
    input=lambda g, input, dim, correction, keepdim: reduction.var.formulas["input"](
        g, input.conj(), dim, correction, keepdim
    ),
)
in_complex(
    reduction.std,
    input=lambda g, out, input, dim, correction, keepdim: reduction.std.formulas["input"](
        g, out, input.conj(), dim, correction, keepdim
    ),
)
# A slice x of norm n becomes x m / n: where the gradient goes through n, it is real.
in_complex(norms.renorm, input=norms.complex_renorm_gradient)

# --- sum(conj(a) b) ---

in_complex(
    matrix_products.vdot,
    input=lambda g, other: (g * other).conj(),
    other=lambda g, input: g * input.conj(),
)

# --- a gradient's logarithm, which real numbers have in two parts ---


def log_or_least(g: Any) -> Any:
    """log(g), and the least there is where g is 0."""
    return torch.where(g == 0, torch.finfo(g.dtype).min, torch.where(g == 0, 1.0, g).log())


in_complex(
    cumulative.logcumsumexp,
    input=lambda g, out, input, dim: (input + cumulative.logcumsumexp_reversed(log_or_least(g) - out, dim)).exp(),
)
in_complex(
    cumulative.logcumsumexp_reversed,
    input=lambda g, out, input, dim: (input + cumulative.logcumsumexp(log_or_least(g) - out, dim)).exp(),
)

# --- of matrices ---

in_complex(spectral.eigenvalues)
in_complex(spectral.singular_values)
in_complex(spectral.squared_miss)
# log|det A| = Re(log(det A)), and the sign turns by Im(d(log(det A))).
in_complex(
    factorizations.log_abs_det,
    A=lambda g, A: torch.linalg.solve(A.mT, factorizations.diagonal(g.to(A.dtype), A)),
)
in_complex(
    factorizations.sign_of_det,
    A=lambda g, out, A: torch.linalg.solve(A.mT, factorizations.diagonal(1j * (g * out).imag, A)),
)

# --- half a spectrum, of which a real signal comes; the formulas say it already ---

for _op in fourier.from_half_spectra:
    in_complex(_op)
