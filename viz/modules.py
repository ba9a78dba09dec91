"""Which module a record belongs to, and the records of a module as one node."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from tapegrad.engine.tape import Record, parents_of
from tapegrad.inspect.tape import Tape
from tapegrad.source.layout import Text

_NUMBER, _NUMBERED = re.compile(r"\.\d+|\[[^\[\]]*\]"), re.compile(r"\w+(\.\d+|\[[^\[\]]*\])")
_STEPS = re.compile(r"^\w+|\.\w+|\[[^\[\]]*\]")


class Cell(NamedTuple):
    """What is drawn as one node: an expression, its ops, each input with its number of copies, the records within."""

    text: Text = Text("")
    ops: tuple[str, ...] = ()
    inputs: tuple[tuple[Any, int], ...] = ()
    folded: tuple[Record, ...] = ()


def modules(tape: Tape) -> dict[Any, str]:
    """The module that a node belongs to, by the names of the parameters around it: ``blocks.0.attention``."""
    found: dict[Any, str] = {}
    for leaf in tape.leaves:
        path = re.sub(r"(\.\w+|\[[^\[\]]*\])$", "", tape.names.get(leaf, ""))
        if path and path != tape.names.get(leaf):
            found[leaf] = path
    for record in tape:
        parents = list(parents_of(record))
        own = [found[p] for p in parents if type(p) is not Record and p in found]
        paths = own or [found[p] for p in parents if p in found]
        if not paths:
            continue
        path = _common(paths)
        # What adds one block to the next, or to what comes before the first, is of the newer one.
        newest = min((p for p in parents if p in found), key=lambda p: getattr(p, "rank", math.inf))
        number = re.match(
            r"(\.\d+|\[[^\[\]]*\])" if path else r"\w+(\.\d+|\[[^\[\]]*\])", found[newest].removeprefix(path)
        )
        if path or number:
            found[record] = path + (number[0] if number else "")
    return found


def _common(paths: Sequence[str]) -> str:
    """What paths have in common, in whole steps."""
    split = [_STEPS.findall(p) for p in paths]
    shared = []
    for steps in zip(*split, strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return "".join(shared)


def prefix(path: str, depth: int) -> str:
    """The first ``depth`` steps of a path; a number counts with what it numbers, so that ``blocks.0`` is one step."""
    steps: list[str] = []
    for step in _STEPS.findall(path):
        if steps and (step[0] == "[" or step[1:].isdigit()):
            steps[-1] += step
        elif len(steps) == depth:
            break
        else:
            steps.append(step)
    return "".join(steps)


def folded(cells: Mapping[Record, Cell], tape: Tape, depth: int) -> tuple[dict[Record, Cell], dict[Record, str]]:
    """The cells of each module as one, and what it is called.

    Only cells that follow one another on the tape become one, so that no path leads out of a node and back. Parameters
    that only their own module uses are left out.

    Args:
        cells: record -> what is drawn as its node.
        tape: what the records are of.
        depth: how many steps of a module's path tell modules apart.
    """
    where = {node: prefix(path, depth) for node, path in modules(tape).items()}
    made: dict[Record, Cell] = {}
    names: dict[Record, str] = {}
    stands_for: dict[Record, Record] = {}
    times: Counter[str] = Counter()
    users: dict[Any, set[Any]] = {}
    for output in tape.outputs:
        where.pop(output, None)  # it keeps its name
    runs = [(path, list(run)) for path, run in groupby(cells, lambda record: where.get(record, ""))]
    for number, (_, run) in enumerate(runs):
        for record in run:
            for node, _ in cells[record].inputs:
                users.setdefault(node, set()).add(number)
    for path, run in runs:
        if not path or not any(where.get(p) == path for record in run for p, _ in cells[record].inputs):
            for record in run:
                inputs = tuple([(stands_for.get(p, p), copies) for p, copies in cells[record].inputs])
                text = cells[record].text
                for p, _ in cells[record].inputs:
                    if p in stands_for:
                        called = re.escape(tape.name(p))
                        text = text._replace(text=re.sub(rf"\b{called}\b", names[stands_for[p]], text.text))
                made[record] = cells[record]._replace(inputs=inputs, text=text)
            continue
        last, within = run[-1], set(run)
        outside = {
            stands_for.get(p, p): 1
            for record in run
            for p, _ in cells[record].inputs
            if p not in within and not (type(p) is not Record and where.get(p) == path and len(users[p]) == 1)
        }
        ops = tuple([op for record in run for op in cells[record].ops])
        text = Text(f"{len(ops)} ops" if len(ops) > 1 else ops[0])
        made[last] = Cell(text, ops, tuple(outside.items()), tuple(run[:-1]))
        stands_for |= dict.fromkeys(run, last)
        times[path] += 1
        names[last] = path if times[path] == 1 else f"{path} ({times[path]})"
    return made, names
