"""``exercise``: a tape becomes a notebook with blanks for a student, and its solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from tapegrad.engine.tape import Record, shape_text
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import FreedTape
from tapegrad.inspect.check import check
from tapegrad.inspect.names import scope_of
from tapegrad.inspect.parts import Parts
from tapegrad.inspect.tape import Tape, with_code
from tapegrad.teaching.cells import cells_of
from tapegrad.teaching.lesson import Lesson
from tapegrad.teaching.notebook import Cell, nbformat_of, write
from tapegrad.tracebacks import trimmed


@trimmed
def exercise(
    loss: torch.Tensor | Tape,
    blank: Sequence[Any] | None = None,
    path: str | PathLike[str] = "exercise.ipynb",
    *,
    names: Mapping[str, Any] | None = None,
    code: Any = None,
    setup: str = "",
    title: str = "",
) -> tuple[Path, Path]:
    """Write a notebook in which a student works out gradients by hand, and its solution.

    Both have the tensors that the pass starts from, the lines of the forward pass, and for each gradient that is asked
    for, in the order of the backward pass, a cell to fill in and a cell that checks it with ``tapegrad.check``, which
    names the mistake. Gradients in between that are not asked for are given. The solution was run before it is written:
    its gradients are right. The tape stays.

    Args:
        loss: a Tensor of one element, or a Tape that leads to one.
        blank: the gradients that the student is to find, by the names of their tensors, or as Tensors. By default, all
            that have a name but the loss.
        path: where to write the student's notebook; the solution of ``pass.ipynb`` is ``pass_solution.ipynb`` beside
            it. Files that are there are overwritten.
        names: variable name -> value, to call tensors by, for example ``locals()``; by default, the variables that the
            calling code can see. What is no variable name becomes one: ``layers_0_weight`` for ``layers.0.weight``.
        code: the function whose lines computed the loss, to quote them; by default, the calling code.
        setup: Python that makes the tensors that the pass starts from, under their names, with
            ``tapegrad.tensor(..., requires_grad=True)`` for those that take a gradient. By default their values, to
            the last bit, are in the notebook, which is for up to a megabyte.
        title: what the notebook is called.

    Returns:
        The paths of the student's notebook and of the solution.

    Raises:
        ImportError: the nbformat package is missing: ``pip install 'tapegrad[notebooks]'``.
        FreedTape: a backward without ``retain_graph=True`` has freed the tape.
        TypeError: ``loss`` is neither Tensor nor Tape.
        ValueError: ``loss`` has more than one element or no tape; a blank is not on it, has no name, or no gradient;
            or the pass comes out differently when it runs again, as with random numbers.

    Example:
        >>> x = tapegrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> w = tapegrad.tensor([0.5, -0.5], requires_grad=True)
        >>> h = torch.tanh(x @ w)
        >>> loss = h.square().mean()
        >>> student, solution = tapegrad.exercise(loss, blank=["h", "w"], path="tanh.ipynb")
    """
    nbformat_of("exercise")
    scope = with_code(scope_of(names), code, "exercise")
    where = Path(path)
    if where.suffix != ".ipynb":
        raise ValueError(f"exercise: {where.name}: the suffix must be .ipynb")
    tape = _tape(loss, scope)
    chosen = _nodes(tape, blank)
    lesson, cells = _tried(tape, scope, chosen, setup, title)
    solution = where.with_name(f"{where.stem}_solution.ipynb")
    write(list(cells_of(lesson, chosen, setup, title, solved=False)), where)
    write(cells, solution)
    return where, solution


def _tape(loss: Any, scope: Any) -> Tape:
    if not isinstance(loss, (Tensor, Tape)):
        raise TypeError(f"exercise: loss must be a Tensor or Tape of tapegrad, not a {type(loss).__name__}")
    if isinstance(loss, Tensor) and not loss.requires_grad:
        raise ValueError("exercise: this tensor does not require grad: nothing led to it")
    try:
        tape = loss if isinstance(loss, Tape) else Tape([loss], scope)
    except FreedTape as error:
        raise FreedTape(f"exercise: {error}") from None
    if len(tape.outputs) != 1 or tape.outputs[0].shape.numel() != 1:
        shapes = ", ".join([shape_text(output.shape) for output in tape.outputs])
        raise ValueError(f"exercise: the loss must be one number, and this is of shape {shapes}; take its sum or mean")
    if not len(tape):
        raise ValueError("exercise: this tensor is a leaf: nothing led to it, and there is nothing to work out")
    return tape


def _nodes(tape: Tape, blank: Sequence[Any] | None) -> list[Any]:
    """The nodes whose gradients are blanks."""
    tape_gradients = Parts(tape).gradients
    if blank is None:
        named = [node for node in tape.nodes if node in tape.names or type(node) is not Record]
        return [node for node in named if node in tape_gradients and node not in tape.outputs]
    if isinstance(blank, str):
        raise TypeError(f"exercise: blank is a list of names, such as [{blank!r}], not a string")
    nodes = [tape.node(what, "exercise") for what in blank]
    for what, node in zip(blank, nodes, strict=True):
        called = what if isinstance(what, str) else tape.name(node)
        if node not in tape.names and type(node) is Record and node not in tape.outputs:
            raise ValueError(
                f"exercise: {called!r} has no name in your code: give the tensor a variable of its own, or leave it out"
            )
        if node not in tape_gradients:
            raise ValueError(f"exercise: no gradient comes to {called!r}; leave it out")
    if not nodes:
        raise ValueError("exercise: blank is empty: there is nothing to work out")
    return list(dict.fromkeys(nodes))


_WAYS = ((True, "plain"), (False, "plain"), (True, "exact"), (False, "exact"))


def _tried(tape: Tape, scope: Any, chosen: Sequence[Any], setup: str, title: str) -> tuple[Lesson, list[Cell]]:
    """The lesson, and its solution, which was run.

    At best it has the user's own lines, if they can stand in a notebook, and textbook formulas, if they are close
    enough: where large numbers cancel, only the engine's own order of operations may be.
    """
    for quote, style in _WAYS:
        try:
            lesson = Lesson(tape, scope, quote, style)
            cells = list(cells_of(lesson, chosen, setup, title, solved=True))
            _run(tape, lesson, chosen, cells)
        except Exception:
            if (quote, style) == _WAYS[-1]:
                raise
        else:
            return lesson, cells
    raise AssertionError


def _run(tape: Tape, lesson: Lesson, chosen: Sequence[Any], cells: Sequence[Cell]) -> None:
    """Run a solution, and hold what it finds against the tape.

    Raises:
        ValueError: the forward pass gives another loss, or a gradient is wrong.
    """
    space: dict[str, Any] = {"__name__": "exercise"}
    mode = torch.is_grad_enabled()
    devices = {leaf._data.device for leaf in tape.leaves if leaf._data.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices):
            for cell in cells:
                if cell.kind == "code":
                    exec(compile(cell.text, "<exercise>", "exec"), space)
    except NameError as error:
        raise ValueError(f"exercise: setup does not make all that the pass starts from: {error}") from None
    finally:
        torch.set_grad_enabled(mode)
    (_, ours), again = tape.results[0], space[lesson.output]
    if not torch.allclose(again._data.reshape(-1), ours.detach().reshape(-1), rtol=1e-4, equal_nan=True):
        raise ValueError(
            f"exercise: run from the top, the forward pass gives another loss, {again.item():.6g} instead of "
            f"{ours.item():.6g}: it draws random numbers (use model.eval()), or what it starts from has changed since"
        )
    answers = {lesson.variables[node]: space[f"d{lesson.variables[node]}"] for node in chosen}
    wrong = [row for row in check(space["tape"], answers) if not row.approximate]
    if wrong:
        raise ValueError(
            f"exercise: the written solution is not right for this tape: {wrong[0]}; leave it out of blank"
        )
