"""Every error's advice, followed to the letter, works; and no message with advice is left out.

The cases are in ``tests/provers/advice.py``.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.signature import name_of
from tapegrad.engine.table import TABLE
from tapegrad.torch_api.reasons import reason_for
from tests.helpers import ROOT
from tests.provers.advice import CASES, ELSEWHERE


def scope() -> dict[str, Any]:
    """The variables that code knows."""
    torch.manual_seed(0)

    def leaf(data: Any, requires_grad: bool = True) -> tapegrad.Tensor:
        return tapegrad.tensor(data, requires_grad=requires_grad)

    @tapegrad.rule(x=lambda g: g)
    def half(x, y):
        return x + y

    def f_generator():
        yield 1

    return {
        "x": leaf(torch.randn(5, 3)), "v": leaf(torch.randn(3)), "p": torch.nn.Parameter(torch.ones(3)), "leaf": leaf,
        "s": leaf(torch.stft(torch.ones(8), 4, 1, return_complex=True)), "half": half, "f_generator": f_generator,
        "torch": torch, "F": F, "np": np, "tapegrad": tapegrad,
    }  # fmt: skip


def run(code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "<advice>", "exec"), scope())


@cache
def message(wrong: str) -> str:
    """What is said of a misuse."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of any kind
        run(wrong)
    return str(caught.value)


EACH = [pytest.param(case, id=case.wrong[:60]) for case in CASES]


@pytest.mark.parametrize("case", EACH)
def test_the_advice_works(case):
    told = message(case.wrong)
    assert re.match(r"[\w.<>'\[\]() ]+[,:( ]", told), told  # what it is about
    for code in case.right:
        run(code)


# --- none is left out ---

VERBS = (
    "use pass write wrap convert call set detach sum give make ask install name choose compute change take return "
    "leave let add renormalize shard draw keep look run multiply put read"
).split()
ADVICE = re.compile(rf"[;:.] (or )?({'|'.join(VERBS)})\b|\.detach\(\)|\bfirst\b", re.IGNORECASE)
_SOURCE = re.compile(r"if |# |.*\n")  # lines of code that we write


def templates() -> Iterator[tuple[str, str, re.Pattern[str]]]:
    """Where the package speaks of what to do, the text, and what it matches with values filled in."""
    for folder in ("tapegrad", "viz"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in texts(ast.parse(path.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                text = "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in parts)
                pattern = "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".*" for p in parts)
                if len(text) > 25 and ADVICE.search(text) and not _SOURCE.match(text):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text, re.compile(pattern, re.DOTALL)


def texts(tree: ast.Module) -> Iterator[ast.JoinedStr | ast.Constant]:
    """The strings that a module has, but for its docstrings."""
    passed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr):
            passed.add(node.body[0].value)
        if isinstance(node, ast.JoinedStr):
            passed.update(part for part in ast.walk(node) if part is not node)
    for node in ast.walk(tree):
        if node not in passed and (
            isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        ):
            yield node


# Advice that is no error's: hints about hand-written gradients, and warnings, which their own tests follow.
OTHERS = ("tapegrad/inspect/check.py", "tapegrad/inspect/hints.py")
WARNINGS = ("Tensor.grad: this tensor was computed", "compile: {} was planned for")


def test_every_message_with_advice_has_its_case():
    told = [message(case.wrong) for case in CASES]
    missing = [
        f"{where}: {text}"
        for where, text, pattern in templates()
        if not where.startswith(OTHERS)
        and not text.startswith((*WARNINGS, *ELSEWHERE))
        and not any(pattern.search(one) for one in told)
    ]
    assert not missing, "\n".join(missing)


def test_no_reason_is_given_for_what_has_a_rule():
    named = {name_of(function) for function in TABLE}
    named -= {n for n in named if callable(f := getattr(torch, n, None)) and f not in TABLE}  # F.kl_div, torch.kl_div
    assert [name for name in sorted(named) if reason_for(name) is not None] == []


def test_what_is_run_elsewhere_exists():
    for where in ELSEWHERE.values():
        assert Path(ROOT / where.partition(":")[0]).exists()
