"""The cells of an exercise: what it starts from, the forward pass, and the gradients, as blanks or filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tapegrad.engine.tape import Record, parents_of, shape_text
from tapegrad.source.explain import reason, sum_of_copies
from tapegrad.teaching.lesson import Lesson, Unit
from tapegrad.teaching.literals import LARGEST, UNPACK, tensor_code
from tapegrad.teaching.notebook import Cell, code, escaped, span, words
from tapegrad.teaching.statements import replaced

_MOST = 6  # lines that a tensor is said to stand in

INTRODUCTION = """# {title}

Here is a forward pass. You are its backward pass: work out, one after another, the gradient of the loss with respect to
each tensor that has a blank below, from the loss back to where the pass began. `d{example}` stands for the gradient of
`{example}`, and has its shape.

Run the cells from the top, and write your line where there is `...`. The cell below it compares your gradient with the
right one, and if yours is wrong says what the mistake looks like. If you are stuck, write
`d{example} = tape.grad("{example}")`: that takes the right numbers, and you can go on with the next.
"""
SOLVED = """# {title}: the solution

Every blank of the exercise is filled in, with the reason why. Run from the top, each check finds its gradient right.
"""


def cells_of(lesson: Lesson, chosen: Sequence[Any], setup: str, title: str, solved: bool) -> Iterator[Cell]:
    """The cells.

    Args:
        lesson: the lines.
        chosen: the nodes whose gradients are blanks.
        setup: code that makes what the pass starts from, or "".
        title: of the notebook, or "".
        solved: whether the blanks are filled in.

    Raises:
        ValueError: what the pass starts from is too large to be written down, or cannot be.
    """
    asked = [unit for unit in lesson.units if unit.node in set(chosen)]
    heading = escaped(title) if title else f"Backpropagation by hand, from {span(lesson.output)}"
    example = lesson.variables[asked[0].node]
    yield words((SOLVED if solved else INTRODUCTION).format(title=heading, example=example))
    imports = ["import torch", "import torch.nn.functional as F", "", "import tapegrad"]
    more = {n: m for n, m in lesson.modules.items() if (n, m.__name__) not in _IMPORTED}
    imports[:0] = [f"import {m.__name__}{f' as {n}' if n != m.__name__ else ''}" for n, m in more.items()]
    yield code("\n".join(imports))
    yield from _start(lesson, setup)
    yield words("## The forward pass")
    known = {*lesson.leaves, *lesson.constants, *[t for s in lesson.forward for t in s.targets]}
    forward = [s.text for s in lesson.forward]
    yield code("\n".join(["torch.set_grad_enabled(True)  # tapegrad records", *forward]), "forward")
    yield words(
        "Its tape knows every gradient. From here on nothing is recorded: what you compute is numbers and no more."
    )
    yield code(f"tape = tapegrad.tape({lesson.output})\ntape.backward()\ntorch.set_grad_enabled(False)\ntape", "tape")
    yield words("## The backward pass")
    blanks = {u.variable: f'tape.grad("{lesson.variables[u.node]}")' for u in asked}
    number = 0
    given: list[Unit] = []
    for unit in _needed(lesson, asked):
        if unit not in asked:
            given.append(unit)
            continue
        if given:
            statements = [s for u in given for s in lesson.complete(u.statements, known)]
            yield words(f"{', '.join([span(u.variable) for u in given])} {'is' if len(given) == 1 else 'are'} given:")
            yield code("\n".join([s.text if solved else replaced(s.text, blanks) for s in statements]), "given")
            given = []
        number += 1
        yield words(_question(lesson, unit, number, solved))
        if solved:
            statements = lesson.complete(unit.statements, known)
            yield code("\n".join(s.text for s in statements), "answer")
        else:
            yield code(f"{unit.variable} = ...", "blank")
            known.add(unit.variable)
        yield code(_check([unit], lesson), "check")
    yield words("## All of them")
    yield code(_check(asked, lesson), "check-all")


_IMPORTED = {("torch", "torch"), ("F", "torch.nn.functional")}


def _start(lesson: Lesson, setup: str) -> Iterator[Cell]:
    """The tensors that the pass starts from."""
    yield words("## What the pass starts from\n" + _renamed(lesson))
    numbers = [f"{name} = {value!r}" for name, value in lesson.numbers.items()]
    if setup:
        yield code("\n".join([setup.strip("\n"), *numbers]), "setup")
        return
    size = sum(t.numel() * t.element_size() for t in [*lesson.leaves.values(), *lesson.constants.values()])
    if size > LARGEST:
        raise ValueError(
            f"exercise: the tensors that the pass starts from take {size:,} bytes, more than a notebook should hold "
            f"({LARGEST:,}); pass setup= with code that makes {', '.join([*lesson.leaves, *lesson.constants])}, or "
            f"take a smaller model"
        )
    texts = {}
    for name, t in {**lesson.constants, **lesson.leaves}.items():
        try:
            texts[name] = tensor_code(t)
        except ValueError as error:
            raise ValueError(
                f"exercise: {name} cannot be written down: {error}; pass setup= with code that makes it"
            ) from None
    if any(text.startswith("unpacked(") for text in texts.values()):
        yield code(UNPACK, hidden=True)
    lines = [
        f"{name} = tapegrad.tensor({text}, requires_grad=True)" if name in lesson.leaves else f"{name} = {text}"
        for name, text in texts.items()
    ]
    yield code("\n".join([*numbers, *lines]), "setup", hidden=sum(map(len, lines)) > 4000)


def _renamed(lesson: Lesson) -> str:
    """What stands for what has no variable name."""
    pairs = [f"{span(v)} is {span(name)}" for v, name in lesson.originals.items()]
    return f"\nHere {', '.join(pairs)}." if pairs else ""


def _needed(lesson: Lesson, asked: Sequence[Unit]) -> list[Unit]:
    """The gradients that are asked for, and those that they are computed from, in order."""
    by_variable = {unit.variable: unit for unit in lesson.units}
    helpers = {t: h for h in lesson.helpers for t in h.targets}
    seen: set[str] = set()
    stack = [unit.variable for unit in asked]
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            statements = by_variable[name].statements if name in by_variable else []
            statements = [*statements, *([helpers[name]] if name in helpers else [])]
            stack += [used for s in statements for used in s.uses]
    return [unit for unit in lesson.units if unit.variable in seen]


def _question(lesson: Lesson, unit: Unit, number: int, solved: bool) -> str:
    name, shape = lesson.variables[unit.node], shape_text(unit.node.shape)
    of = f", of shape {shape}" if unit.node.shape else ""
    lines = [s.text for s in lesson.users(unit.node)]
    shown = "\n".join([*lines[:_MOST], *(["..."] if len(lines) > _MOST else [])])
    text = f"### {number}. {span(unit.variable)}\n\n{span(name)}{of}"
    text += f", stands in\n\n```python\n{shown}\n```" if lines else "."
    return text + ("\n\n" + "\n".join(f"- {r}." for r in _reasons(lesson, unit.node)) if solved else "")


def _reasons(lesson: Lesson, node: Any) -> list[str]:
    """Why the gradient of a tensor is what it is, one sentence for each use."""
    name = lesson.variables[node]
    found = []
    users: list[Any] = []
    for record in lesson.tape:  # what uses it, as far as the next tensor with a name
        if any(p is node or (p in users and p not in lesson.variables) for p in parents_of(record)):
            users.append(record)
    for record in reversed(users):
        for argument, parent in zip(record.op.parameters, record.parents or (), strict=True):
            for p in parent if type(parent) is tuple else (parent,):
                if p is node or (type(p) is Record and p in users and p not in lesson.variables):
                    found.append(reason(record, argument, name))
                    wide = len(p.shape) <= len(record.shape) and record.op.name in _ELEMENTWISE
                    found.append(sum_of_copies(p.shape, record.shape, name) if wide and p is node else "")
    if len([r for r in found if r]) > 1 and lesson.tape.uses()[node] > 1:
        found.append("It is used more than once, and the parts add up")
    return list(dict.fromkeys(r for r in found if r))[:_MOST]


_ELEMENTWISE = {"add", "sub", "rsub", "mul", "div", "pow", "scaled_add", "where", "maximum", "minimum"}


def _check(units: Sequence[Unit], lesson: Lesson) -> str:
    pairs = [f'"{lesson.variables[u.node]}": {u.variable}' for u in units]
    whole = f"tapegrad.check(tape, {{{', '.join(pairs)}}})"
    if len(whole) <= 100:
        return whole
    return "tapegrad.check(\n    tape,\n    {\n" + "".join(f"        {pair},\n" for pair in pairs) + "    },\n)"
