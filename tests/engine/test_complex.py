"""The walk carries the conjugate of torch's gradient: what goes in and what comes out is torch's."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import assert_program_agrees, assert_same, ours, randn, theirs


def complex_randn(*shape, seed=0):
    return torch.complex(randn(*shape, seed=seed), randn(*shape, seed=seed + 50))


PROGRAMS = {
    "holomorphic": lambda z, r: (z * r).exp().sin() / (z + 2),
    "absolute value": lambda z, r: (z.abs() * r).sum(),
    "parts": lambda z, r: z.real * r - z.imag.square() + (z * r).angle(),
    "conjugates": lambda z, r: (z.conj() * z).real + torch.view_as_real(z * r).sum(-1),
    "directions": lambda z, r: z.sgn() * r,
    "made of real numbers": lambda z, r: torch.complex(r, r * r) * torch.polar(r.abs(), r) * z,
    "norms": lambda z, r: torch.linalg.vector_norm(z * r, 3) + z.var() + z.std(),
    "a matrix": lambda z, r: z.outer(z) @ z * r,
    "transforms": lambda z, r: torch.fft.irfft(torch.fft.fft(z) * r, 3) + torch.fft.fft(r).abs(),
    "powers": lambda z, r: z**2.5 + z ** r.abs() + r.abs() ** z + z**1j,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_torchs(name):
    assert_program_agrees(PROGRAMS[name], complex_randn(3), randn(3, seed=7), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["holomorphic", "absolute value", "parts", "directions", "norms", "powers"])
def test_second_order_is_torchs(name):
    z, r = complex_randn(3), randn(3, seed=7)
    found = []
    for leaf, grad in ((ours, tapegrad.grad), (theirs, torch.autograd.grad)):
        a, b = leaf(z), leaf(r)
        out = PROGRAMS[name](a, b)
        first = grad(out, [a, b], torch.ones(out.shape, dtype=out.dtype), create_graph=True)
        loss = (first[0] * z).abs().square().sum() + first[1].square().sum()
        found.append(grad(loss, [a, b]))
    for mine, yours in zip(*found, strict=True):
        assert_same(mine, yours, name, rtol=1e-9, atol=1e-10)


def test_hooks_and_retained_gradients_see_torchs():
    z, seen = complex_randn(3), []
    for leaf in (ours, theirs):
        a = leaf(z)
        b = a * a
        b.retain_grad()
        b.register_hook(lambda g: seen.append(g) or g * 2j)
        a.register_hook(lambda g: seen.append(g) or g * 1j)
        (b * z).sum().abs().backward()
        seen.extend([b.grad, a.grad])
    for i, (mine, yours) in enumerate(zip(seen[:4], seen[4:], strict=True)):
        assert_same(mine, yours, str(i), rtol=1e-12)


def test_a_complex_tape_is_not_walked_as_a_real_one_of_the_same_structure():
    for _ in range(40):  # written out by then
        x = ours(randn(3))
        x.abs().sum().backward()
    for f in (torch.abs, torch.linalg.vector_norm, lambda z: torch.fft.irfft(z).abs()):
        for _ in range(40):
            f(ours(randn(3))).sum().backward()
        assert_program_agrees(lambda z, f=f: f(z).sum(), complex_randn(3), rtol=1e-12)


def test_a_complex_loss_needs_a_cotangent():
    z = ours(complex_randn(1))
    with pytest.raises(RuntimeError, match="is complex"):
        (z * z).backward()
    (z * z).backward(torch.ones(1, dtype=torch.complex128))
    assert_same(z.grad, (2 * z.data).conj(), "grad", rtol=1e-12)


@pytest.mark.parametrize("style", ["plain", "exact"])
def test_the_source_gives_torchs_gradients(style):
    z, r = ours(complex_randn(3)), ours(randn(3))
    w = z * r.exp()
    loss = (w * w.conj()).real.sum() + w.abs().sum()
    tape = tapegrad.tape(loss, names={"z": z, "r": r, "w": w, "loss": loss})
    scope = {}
    exec(tape.source(names={}, style=style, forward=True), scope)
    value, saved = scope["forward"](**tape.bindings(names={}, style=style, forward=True))
    assert_same(value, loss.data, "loss")
    found = scope["backward"](**saved)
    assert tapegrad.compare(loss, names={"z": z, "r": r, "w": w}).approximate
    loss.backward()
    assert_same(found["z"], z.grad, "z", rtol=1e-12)
    assert_same(found["r"], r.grad, "r", rtol=1e-12)


def test_a_closed_form_of_complex_numbers_is_refused():
    z = ours(complex_randn(3))
    with pytest.raises(ValueError, match="complex numbers"):
        tapegrad.derive(z.abs().sum(), of=z)
