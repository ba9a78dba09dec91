"""Transforms give what torch.func gives, on random programs."""

from __future__ import annotations

import random

import pytest
import torch

import tapegrad

# torch.func's forward mode, when it is first used, loads what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")

UNARY = [torch.sin, torch.tanh, torch.exp, torch.sigmoid, torch.cos, lambda t: t * t, lambda t: t.cumsum(0) / 3]
BINARY = [torch.add, torch.mul, torch.sub, lambda a, b: a / (b * b + 1), lambda a, b: a * b.sum()]


def program(seed):
    """A random function of two vectors of three elements."""

    def run(x, y):
        draw = random.Random(seed)
        values = [x, y]
        for _ in range(draw.randint(2, 6)):
            if draw.random() < 0.5:
                values.append(draw.choice(UNARY)(draw.choice(values)).tanh())
            else:
                values.append(draw.choice(BINARY)(draw.choice(values), draw.choice(values)))
        return values[-1] + 0.1 * x * y

    return run


def same(mine, yours):
    if isinstance(yours, (tuple, list)):
        for a, b in zip(mine, yours, strict=True):
            same(a, b)
    else:
        torch.testing.assert_close(mine, yours, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block):
    for seed in range(20 * block, 20 * block + 20):
        f = program(seed)
        x, y, v, w = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        same(tapegrad.vjp(f, (x, y), v)[1], torch.func.vjp(f, x, y)[1](v))
        same(tapegrad.jvp(f, (x, y), (v, w)), torch.func.jvp(f, (x, y), (v, w)))
        same(tapegrad.jacobian(f, (x, y)), torch.func.jacrev(f, (0, 1))(x, y))

        def loss(x, y, f=f):
            return (f(x, y) ** 2).sum()

        hessian = torch.func.hessian(loss, (0, 1))(x, y)
        same(tapegrad.hessian(loss, (x, y)), hessian)
        product = [hessian[0][0] @ v + hessian[0][1] @ w, hessian[1][0] @ v + hessian[1][1] @ w]
        same(tapegrad.hvp(loss, (x, y), (v, w))[1], product)
        same(tapegrad.vhp(loss, (x, y), (v, w))[1], product)


def test_a_jacobian_can_be_differentiated_again():
    x = tapegrad.tensor(torch.tensor([1.0, 2.0]), requires_grad=True)
    tapegrad.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    same(x.grad, torch.tensor([6.0, 12.0]))


def test_an_input_that_is_not_used():
    x = torch.ones(2)
    same(tapegrad.jacobian(lambda x, y: x * 2, (x, x))[1], torch.zeros(2, 2))
    with pytest.raises(RuntimeError, match=r"vjp\(\): strict"):
        tapegrad.vjp(lambda x, y: x * 2, (x, x), x, strict=True)


def test_what_does_not_fit_is_refused():
    x = torch.ones(2)
    with pytest.raises(RuntimeError, match=r"jvp\(\): v has shapes \[\(3,\)\], expected \[\(2,\)\]"):
        tapegrad.jvp(torch.sin, x, torch.ones(3))
    with pytest.raises(RuntimeError, match=r"vjp\(\): v may be left out"):
        tapegrad.vjp(torch.sin, x)
    with pytest.raises(RuntimeError, match=r"hessian\(\): func must return"):
        tapegrad.hessian(torch.sin, x)


def test_complex_numbers():
    z = torch.tensor([1.0 + 2j, 3j], dtype=torch.complex128)
    v = torch.tensor([1j, 2.0], dtype=torch.complex128)
    same(tapegrad.jvp(torch.sin, z, v)[1], z.cos() * v)


DECOMPOSED = {
    "eigh": lambda a: torch.linalg.eigh(a + a.mT)[1],
    "svd": lambda a: torch.linalg.svd(a)[0],
    "qr": lambda a: torch.linalg.qr(a)[0],
    "lu": lambda a: torch.linalg.lu(a)[1],
    "eigenvalues": lambda a: torch.linalg.eig(a)[0],
    "logcumsumexp": lambda a: torch.logcumsumexp(a, 0),
    "norm at zero": lambda a: (a * 0).norm(),
}


@pytest.mark.parametrize("function", DECOMPOSED.values(), ids=DECOMPOSED)
def test_formulas_that_look_at_the_cotangent(function):
    """A walk is linear in it, but some formulas take another way, or none, where it is zero."""
    x, v = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    same(tapegrad.jvp(function, x, v)[1], torch.func.jvp(function, (x,), (v,))[1])
