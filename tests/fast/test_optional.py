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
    "tests/engine/test_hooks.py",
    "tests/engine/test_versions.py",
    "tests/torch_api/test_inplace.py",
    "tests/promises/test_2_exact.py::test_every_row_is_exact",
    "tests/promises/test_2_exact.py::test_gradients_are_torchs",
    "tests/provers/test_fuzz.py::test_corpus",
    "tests/provers/test_fuzz.py::test_random_programs_agree_with_torch",
]
MAIN = """
import sys, pytest, tapegrad
code = pytest.main(sys.argv[1:])
print(tapegrad.__file__, *[name for name in sys.modules if name.startswith("tapegrad.fast")], sep=chr(10))
sys.exit(code)
"""

pytestmark = pytest.mark.skipif(not FAST, reason="this run is itself without fast/")


def run(folder: Path, *arguments: str, **environment: str) -> tuple[str, list[str]]:
    """Run pytest in a process of its own, on the tapegrad that lies in a folder.

    Returns:
        What it prints, and the modules of fast/ that are loaded in the end.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment = {**inherited, "PYTHONPATH": str(folder), **environment}
    command = [sys.executable, "-c", MAIN, "-q", "-n", "0", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    file = str(folder / "tapegrad" / "__init__.py")
    printed, _, modules = done.stdout.rpartition(f"{file}\n")
    assert printed, f"tapegrad was not imported from {folder}: {done.stdout[-500:]}"
    return printed, modules.split()


def guarded(folder: Path, *suites: str, **environment: str) -> None:
    """The suites pass, none of it skipped, and no module of fast/ is ever loaded."""
    printed, modules = run(folder, *suites, **environment)
    assert " passed" in printed
    assert "skipped" not in printed
    assert modules == []


def test_switched_off():
    guarded(ROOT, *GUARDS[:4], TAPEGRAD_FAST="0")


def test_deleted(tmp_path):
    """In a copy of the repository's code, with no fast/ in it."""
    for name in ("tapegrad", "viz", "tests", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.rmtree(tmp_path / "tapegrad" / "fast")
    guarded(tmp_path, *GUARDS)


def test_it_is_there_by_default():
    """Or the tests above would prove nothing."""
    _, modules = run(ROOT, "--collect-only", GUARDS[0], TAPEGRAD_FAST="")
    assert "tapegrad.fast" in modules
