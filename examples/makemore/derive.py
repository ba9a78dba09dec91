"""Exercises 2 and 3 on paper: the engine finds the closed forms, shows its working, and is compared with torch."""

import html
from pathlib import Path
from typing import Any

import tapegrad
from examples.makemore.compare import FEW, TOLERANCE
from examples.makemore.model import Tensor
from examples.makemore.source import torch_gradients
from tapegrad import Comparison, Derivation, Row

EXERCISES = (
    ("Exercise 2: cross entropy, all in one go", "logits", "loss"),
    ("Exercise 3: batch norm, all in one go", "hprebn", "hpreact"),
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Becoming a backprop ninja: the closed forms</title>
<style>body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 75em; }} pre {{ overflow-x: auto; }}</style>
{}
</html>
"""
SECTION = """<h1>{title}</h1>
<pre>{derivation}</pre>
<p>{before:.1f} passes over {name} line by line, {after:.1f} in closed form.</p>
<pre>{source}</pre>
"""


def derive_pass(v: dict[str, Tensor], out: Path) -> tuple[Path, bool]:
    """Derives both exercises for `lecture_pass`, prints them, and runs what they found next to torch.

    Args:
        v: the variables of the pass.
        out: a folder for `derivations.html`.

    Returns:
        The page, and whether both gradients are approximately torch's.
    """
    names = {name: value for name, value in v.items() if name != "parameters"}
    theirs = torch_gradients(v)
    rows, sections, good = [], [], True
    for title, of, start in EXERCISES:
        found = tapegrad.derive(v["loss"], of, start, names)
        print(f"{title}\n\n{found}\n\n{passes(found)}\n")
        space: dict[str, Any] = {}
        exec(found.source(), space)
        good &= found.check()
        rows.append(Row.of(of, space["gradient"](**found.bindings()), theirs[of]))
        sections.append(section(title, of, found))
    table = Comparison(rows)
    print(table)
    path = out / "derivations.html"
    path.write_text(PAGE.format("\n".join(sections)), encoding="utf-8")
    close = len(v["Yb"]) < FEW or all(row.approximate and row.maxdiff <= TOLERANCE for row in table)
    return path, good and close


def passes(found: Derivation) -> str:
    """How much shorter the closed form is."""
    before, after = found.passes
    return f"{before:.1f} passes over the elements line by line, {after:.1f} in closed form"


def section(title: str, of: str, found: Derivation) -> str:
    """A derivation as a part of the page."""
    before, after = found.passes
    texts = {"title": title, "derivation": str(found), "source": found.source(), "name": of}
    return SECTION.format(before=before, after=after, **{key: html.escape(text) for key, text in texts.items()})
