"""``py.typed`` is a promise: to mypy and pyright a Tensor is a torch.Tensor, and a name that it has not is an error.

    python -m pytest -n 0 tests/docs/types_of_programs.py

CI runs it with the other checks of types. It is not among the tests, for to read torch's types takes half a minute.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

PROGRAMS = [
    code for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S) if "import" in code
]
WRONG = """\
import torch
import tapegrad

W = tapegrad.tensor(torch.randn(3, 2), requires_grad=True)
h = torch.tanh(W @ W.T).sum()
W.nonsense(3)
h.nonsense(3)
tapegrad.nonsense
tapegrad.tape(W, names=3)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed, with viz/ in it, and the README's programs and a wrong one beside it."""
    found = tmp_path_factory.mktemp("types")
    shutil.copytree(ROOT / "tapegrad", found / "package" / "tapegrad", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "viz", found / "package" / "tapegrad" / "viz", ignore=shutil.ignore_patterns("__pycache__"))
    for i, code in enumerate(PROGRAMS):
        (found / f"readme_{i}.py").write_text(code)
    (found / "wrong.py").write_text(WRONG)
    return found


def mypy(folder: Path, *files: str) -> list[int]:
    """The lines in which mypy finds an error."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--strict"]
    command += ["--follow-imports", "silent", "--cache-dir", str(folder / "cache"), *files]
    environment = {**os.environ, "MYPYPATH": str(folder / "package")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [int(line) for line in re.findall(r":(\d+): error", done.stdout)]


def pyright(folder: Path, *files: str) -> list[int]:
    """The lines in which pyright finds an error."""
    settings = {"include": files, "extraPaths": ["package"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [error["range"]["start"]["line"] + 1 for error in found if error["severity"] == "error"]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_programs_of_the_readme_pass_and_wrong_names_do_not(folder, checker):
    assert PROGRAMS
    assert checker(folder, *[f"readme_{i}.py" for i in range(len(PROGRAMS))]) == []
    assert sorted(set(checker(folder, "wrong.py"))) == [6, 7, 8, 9]
