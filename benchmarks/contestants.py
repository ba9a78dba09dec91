"""Who computes: each contestant turns a work into a step, or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy
import torch

import tapegrad
from benchmarks.works import Step, Work


class Unable(Exception):
    """A contestant is not installed, or cannot do a work; says why."""


def _module(name: str, package: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unable(f"not installed: pip install {package}") from error


def _feed(work: Work, convert: Callable[[torch.Tensor], Any]) -> Callable[[], tuple[Any, ...]]:
    """The inputs of each step, converted: every time if every step draws its own, once if not."""
    if work.draws:
        return lambda: tuple(map(convert, work.batch()))
    inputs = tuple(map(convert, work.batch()))
    return lambda: inputs


# --- engines that leave gradients in .grad ---


def _leaving(work: Work, parameters: list[Any], program: Callable[..., Any]) -> Step:
    def step() -> tuple[Any, Any]:
        loss = program(parameters, *work.batch())
        for p in parameters:
            p.grad = None
        loss.backward()
        if work.rate:
            for p in parameters:
                p.data += -work.rate * p.grad
        return loss, [p.grad for p in parameters]

    return step


def ours(work: Work) -> Step:
    """Tapegrad."""
    return _leaving(work, [tapegrad.tensor(p, requires_grad=True) for p in work.parameters], work.torch)


def planned(work: Work) -> Step:
    """tapegrad.compile, whose replay gives the same bits."""
    if work.unrolls:
        raise Unable("would unroll the loop")
    program = tapegrad.compile(work.torch)
    return _leaving(work, [tapegrad.tensor(p, requires_grad=True) for p in work.parameters], program)


def eager(work: Work) -> Step:
    """torch.autograd, which all are compared with."""
    return _leaving(work, [p.requires_grad_() for p in work.parameters], work.torch)


def compiled(work: Work) -> Step:
    """torch.compile of the forward pass, which compiles the backward pass with it."""
    if work.unrolls:
        raise Unable("would unroll the loop")
    program = torch.compile(work.torch, dynamic=False)
    return _leaving(work, [p.requires_grad_() for p in work.parameters], program)


# --- no engine ---


def _written_out(work: Work, program: Callable[..., Any] | None) -> Step:
    if program is None:
        raise Unable("nobody has written it out for this work")
    parameters = work.parameters

    def step() -> tuple[Any, Any]:
        loss, grads = program(parameters, *work.batch())
        if work.rate:
            for p, grad in zip(parameters, grads, strict=True):
                p += -work.rate * grad
        return loss, grads

    return step


def hand(work: Work) -> Step:
    """The notebook's exercise 4: a backward pass derived by hand, with fewer and larger steps."""
    return _written_out(work, work.hand)


def kernels(work: Work) -> Step:
    """The same kernels as tapegrad, in a straight line: the floor of any eager tape."""
    return _written_out(work, work.kernels)


# --- engines that speak numpy ---


def _array(t: torch.Tensor) -> Any:
    return t.numpy().copy()  # MyGrad wants arrays that own their memory


def _functional(work: Work, convert: Callable[[torch.Tensor], Any], differentiate: Callable[..., Any]) -> Step:
    parameters = [convert(p) for p in work.parameters]
    inputs = _feed(work, convert)

    def step() -> tuple[Any, Any]:
        nonlocal parameters
        loss, grads = differentiate(parameters, *inputs())
        if work.rate:
            parameters = [p - work.rate * grad for p, grad in zip(parameters, grads, strict=True)]
        return loss, grads

    return step


def hips(work: Work) -> Step:
    """HIPS autograd."""
    np = _module("autograd.numpy", "autograd")
    value_and_grad = _module("autograd", "autograd").value_and_grad
    return _functional(work, _array, value_and_grad(lambda *args: work.array(np, *args)))


def mygrad(work: Work) -> Step:
    """MyGrad."""
    mg = _module("mygrad", "mygrad")

    def differentiate(parameters: list[Any], *inputs: Any) -> tuple[Any, Any]:
        leaves = [mg.tensor(p, copy=False) for p in parameters]
        loss = work.array(mg, leaves, *inputs)
        loss.backward()
        return loss.data, [leaf.grad for leaf in leaves]

    return _functional(work, _array, differentiate)


def jax_eager(work: Work) -> Step:
    """JAX, op by op."""
    if work.unrolls:
        raise Unable("would trace the loop for minutes")
    return _jax(work, lambda function: function)


def jax_jit(work: Work) -> Step:
    """JAX, compiled by XLA as one function of parameters and inputs."""
    if work.unrolls:
        raise Unable("would unroll the loop")
    return _jax(work, _module("jax", "jax").jit)


def _jax(work: Work, compile: Callable[..., Any]) -> Step:
    jax, np = _module("jax", "jax"), _module("jax.numpy", "jax")
    function = compile(jax.value_and_grad(lambda *args: work.array(np, *args)))
    step = _functional(work, lambda t: np.asarray(_array(t)), function)
    return lambda: jax.block_until_ready(step())


REFERENCE = "torch"
CONTESTANTS: dict[str, Callable[[Work], Step]] = {
    "tapegrad": ours,
    "tapegrad.compile": planned,
    REFERENCE: eager,
    "torch.compile": compiled,
    "hand": hand,
    "kernels": kernels,
    "autograd": hips,
    "mygrad": mygrad,
    "jax": jax_eager,
    "jax.jit": jax_jit,
}


def as_torch(value: Any) -> torch.Tensor:
    """A copy of any contestant's loss or gradient."""
    if isinstance(value, tapegrad.Tensor):
        value = value.data
    return value.detach().clone() if isinstance(value, torch.Tensor) else torch.from_numpy(numpy.array(value))
