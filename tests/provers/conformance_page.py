"""docs/conformance.md: what the operator database's run comes to, as a page, and read back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from tests.helpers import ROOT

if TYPE_CHECKING:
    from tests.provers.conformance import Report

PAGE = ROOT / "docs" / "conformance.md"
FAMILIES = ("nn.functional", "linalg", "fft", "special", "masked", "sparse")

INTRODUCTION = """\
# Conformance

torch tests itself with a database of its operators, `torch.testing._internal.common_methods_invocations.op_db`; {count}
of its entries can be differentiated in float64, and {complex_count} in complex128. This page says what came of running
each of them on tapegrad, on its own sample inputs (up to {limit} of each, evenly spread): as function, method
and operator, in place, and under the operator's other names. Values and the gradients of all inputs, with random
cotangents, are compared with those of torch.autograd; so are dtypes, shapes and what the call left in its inputs. Calls
that torch refuses must be refused.

`python -m tests.provers.conformance --write` writes this page{where}.
A slow test (`pytest -m slow`) runs the database again and fails if anything is wrong or no longer passes.

|  | float64 | float32 | complex128 |
|---|---:|---:|---:|
"""

VERDICTS = """
* **pass**: every sample agrees, to {rtol:g} in float64, as function, method and operator; in float32 to {single:g}, or
  tapegrad is at most twice as far as torch from what torch computes in float64;
* **unsupported**: some sample is refused with an error that says what to do, before any number comes out;
* **wrong**: a value, gradient, shape, dtype or kind of result differs, or a gradient is silently missing;
* **error**: anything else: an unclear exception, a crash, no end.
"""


def page(
    in_float64: Sequence[Report],
    in_float32: Sequence[Report],
    in_complex128: Sequence[Report],
    limit: int,
    rtol: Mapping[torch.dtype, float],
) -> str:
    """docs/conformance.md."""
    where = f" (torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()})"
    text = INTRODUCTION.format(count=len(in_float64), complex_count=len(in_complex128), limit=limit, where=where)
    for row, value in {
        "operators": len,
        **{verdict: partial(count, verdict=verdict) for verdict in ("pass", "unsupported", "wrong", "error")},
        "samples that agree": lambda reports: sum(r.passed for r in reports),
        "of these, equal in every bit": lambda reports: share(
            sum(r.exact for r in reports), sum(r.passed for r in reports)
        ),
        "operators that pass, equal in every bit": lambda reports: share(
            sum(exactly(r) for r in reports if r.verdict == "pass"), count(reports, "pass")
        ),
    }.items():
        text += f"| {row} | {value(in_float64)} | {value(in_float32)} | {value(in_complex128)} |\n"
    text += VERDICTS.format(rtol=rtol[torch.float64], single=rtol[torch.float32])

    single = {r.name: r for r in in_float32}
    passing = [r for r in in_float64 if r.verdict == "pass"]
    inexact = [single[r.name] for r in passing if r.name in single and not exactly(single[r.name])]
    exact = [r for r in passing if r.name in single and exactly(single[r.name])]
    rest = [r for r in passing if r.name not in single]
    text += f"\n## Pass, equal in every bit: {len(exact)}\n\nIn float32, values and gradients.\n" + by_family(exact)
    text += f"\n## Pass, not equal in every bit: {len(inexact)}\n\n"
    text += "In float32; the largest difference of any value or gradient, relative to its tensor's largest element\n"
    text += "(to the largest of all values and gradients, where the tensor is but rounding noise beside it).\n\n"
    text += "| operator | samples equal in every bit | largest relative difference |\n|---|---:|---:|\n"
    for r in sorted(inexact, key=lambda r: r.name):
        text += f"| `{r.name}` | {r.exact} of {r.samples} | {r.difference:.1e} |\n"
    if rest:
        text += f"\n## Pass, and have no float32: {len(rest)}\n" + by_family(rest)
    for dtype, reports in (("float64", in_float64), ("float32", in_float32), ("complex128", in_complex128)):
        for verdict in ("unsupported", "wrong", "error"):
            if bad := [r for r in reports if r.verdict == verdict]:
                text += f"\n## {verdict.capitalize()} in {dtype}: {len(bad)}\n\n"
                text += "| operator | samples that agree | what is said |\n|---|---:|---|\n"
                for r in sorted(bad, key=lambda r: r.name):
                    text += f"| `{r.name}` | {r.passed} of {r.samples} | {first_sentence(r.reason)} |\n"
    return text


def exactly(report: Report) -> bool:
    """Whether every sample agreed in every bit."""
    return report.verdict == "pass" and report.exact == report.samples


def count(reports: Sequence[Report], verdict: str) -> int:
    """How many operators have a verdict."""
    return sum(report.verdict == verdict for report in reports)


def share(part: int, whole: int) -> str:
    """A number, and its percentage."""
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "0"


def by_family(reports: Sequence[Report]) -> str:
    """The operators' names, a paragraph for each of torch's modules."""
    families: dict[str, list[str]] = {}
    for r in sorted(reports, key=lambda r: r.name):
        family = next((f"{f}." for f in FAMILIES if r.name.startswith(f"{f}.")), "")
        families.setdefault(family, []).append(f"`{r.name.removeprefix(family)}`")
    paragraphs = [f"\n**torch.{family}** {' '.join(names)}\n" for family, names in sorted(families.items())]
    return "".join(paragraphs)


def first_sentence(text: str) -> str:
    """The beginning of a message, fit for a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    end = min([i for i in (text.find("; "), text.find(". ")) if i > 0], default=len(text))
    return text[: min(end, 160)]


def listed(text: str) -> set[str]:
    """The operators that a conformance page says pass."""
    names: set[str] = set()
    for section in [s for s in text.split("\n## ") if s.startswith("Pass")]:
        for row in section.splitlines():
            family = re.match(r"\*\*torch\.(.*?)\*\*", row)
            names |= {(family[1] if family else "") + name for name in re.findall(r"`([^`]+)`", row)}
    return names
