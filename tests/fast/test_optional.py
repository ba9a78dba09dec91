"""fast/ is optional: the suites that guard the walk pass without it, switched off or deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import FAST, ROOT

# Of each suite that guards the walk, what takes seconds; `TAPEGRAD_FAST=0 python -m pytest` runs all there is.
GUARDS = [
    "tests/engine/test_walk.py",
    "tests/engine/test_accumulation.py",
    "tests/engine/test_hooks.py",
    "tests/engine/test_versions.py",
    "tests/torch_api/test_inplace.py",
    "tests/promises/test_1_runs_your_forward_code.py",
    "tests/promises/test_2_exact.py::test_every_row_is_exact",
    "tests/promises/test_2_exact.py::test_gradients_are_torchs",
    "tests/provers/test_fuzz.py::test_corpus",
    "tests/provers/test_fuzz.py::test_random_programs_agree_with_torch",
]
LOADED = "import sys, tapegrad; print(tapegrad.__file__); print(*[m for m in sys.modules if 'tapegrad.fast' in m])"

pytestmark = pytest.mark.skipif(not FAST, reason="this run is itself without fast/")


def run(folder: Path, *command: str, **environment: str) -> str:
    """Run Python in a folder, where tapegrad is imported from as well.

    The environment's own tapegrad may lie elsewhere, or be found before: what is printed first says which it was.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment = {**inherited, "PYTHONPATH": str(folder), **environment}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def guarded(folder: Path, **environment: str) -> None:
    """No module of fast/ is loaded, and the suites pass."""
    file, *modules = run(folder, "-c", LOADED, **environment).splitlines()
    assert Path(file) == folder / "tapegrad" / "__init__.py"
    assert modules == [""]
    printed = run(folder, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *GUARDS, **environment)
    assert " passed" in printed
    assert "skipped" not in printed


def test_switched_off():
    guarded(ROOT, TAPEGRAD_FAST="0")


def test_deleted(tmp_path):
    """In a copy of the repository's code, with no fast/ in it."""
    for name in ("tapegrad", "viz", "tests", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.rmtree(tmp_path / "tapegrad" / "fast")
    guarded(tmp_path)


def test_it_is_there_by_default():
    """Or the suites above would prove nothing."""
    printed = run(ROOT, "-c", LOADED, TAPEGRAD_FAST="")
    assert "tapegrad.fast" in printed
