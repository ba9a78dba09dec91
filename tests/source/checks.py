"""Written source is run, and compared with the tape it was written from."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch

import tapegrad
from tapegrad.source.program import Program
from tests.helpers import assert_same


def execute(text: str) -> dict[str, Any]:
    """The functions of a source, in a namespace without tapegrad."""
    assert "tapegrad" not in text
    namespace: dict[str, Any] = {}
    exec(compile(text, "<source>", "exec"), namespace)
    return namespace


def assert_written(outputs: Any, names: dict[str, Any], style: str) -> str:
    """Write the pass out, with its forward and without, run both, and compare every gradient with the engine's.

    Returns:
        The source with its forward.
    """
    outputs = outputs if isinstance(outputs, list) else [outputs]
    called = [next((n for n, t in names.items() if t is out), f"out{k}") for k, out in enumerate(outputs)]
    scope = {**names, **dict(zip(called, outputs, strict=True))}
    tape = tapegrad.tape(*outputs, names=scope)
    alone = len(outputs) == 1 and outputs[0].data.numel() == 1
    generator = torch.Generator().manual_seed(7)
    v = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs]
    v = [torch.ones_like(o.data) for o in outputs] if alone else v
    wanted = {name: t for name, t in names.items() if isinstance(t, tapegrad.Tensor) and t.requires_grad}
    grads = tapegrad.grad(outputs, list(wanted.values()), v, retain_graph=True, allow_unused=True)
    written = Program(tape, scope, style)  # what tape.source() and tape.bindings() make anew at each call
    text = written.text()
    cotangents = {} if alone else {f"d{name}": c for name, c in zip(called, v, strict=True)}
    results = [execute(text)["backward"](**written.bindings(), **cotangents)]
    text = written.text(forward=True)
    program = execute(text)
    *values, saved = program["forward"](**written.bindings(forward=True))
    assert_same(values, [o.data for o in outputs], "output")
    results.append(program["backward"](**saved, **cotangents))
    for result in results:
        mine = [result.get(name) for name in wanted]
        if style == "exact":
            assert_same(mine, list(grads), "gradient")
        elif outputs[0].dtype == torch.float64:
            assert_same(mine, list(grads), "gradient", rtol=1e-12, atol=1e-12)
    return text


def assert_formatted(texts: dict[str, str], folder: Any) -> None:
    """ruff has nothing to say, and nothing to change."""
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    for command in (["check", "--output-format=concise"], ["format", "--diff"]):
        run = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(folder)]
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[:3000]
