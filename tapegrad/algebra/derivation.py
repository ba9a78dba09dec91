"""``derive``: the closed form of a gradient, and how one gets there on paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tapegrad import markup
from tapegrad.algebra import terms
from tapegrad.algebra.checking import Trials
from tapegrad.algebra.chunk import Chunk, substituted
from tapegrad.algebra.code import Code, in_dtype
from tapegrad.algebra.columns import in_columns
from tapegrad.algebra.definitions import names_in
from tapegrad.algebra.reasons import MULTIPLIED, Reasons
from tapegrad.algebra.terms import Polynomial
from tapegrad.algebra.tree import Node, Writer, latex, latex_name, passes, replaced

LONGEST = 100  # characters of what was put in, as it stands
SHORT = 40  # characters of a step between others that is shown although it is longer than the one before
EFFORT = 30_000  # products that a line may take: beyond, it stays as its rule gives it
TOTAL = 300_000  # and all lines together


@dataclass
class Step:
    """``= right-hand side``, and why it equals the one above."""

    tree: Node
    reason: str = ""


@dataclass
class Line:
    """A gradient: as its rule gives it, beside the forward line that it undoes, and simpler and simpler."""

    node: Any
    name: str
    steps: list[Step] = field(default_factory=list)

    @property
    def tree(self) -> Node:
        """The last right-hand side."""
        return self.steps[-1].tree


class Derivation:
    """A closed form and its derivation: it prints line by line.

    Attributes:
        given: the name of the tensor whose gradient is taken as given.
        formula: the last right-hand side, as text.
        lines: the gradients on the way, the target's last.
        passes: how many elements are read and written, in units of the target's size, by the backward pass line by
            line, and by the closed form.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._definitions = chunk.definitions
        self._trials = Trials(chunk.definitions, chunk.start, chunk.seeded, chunk.path)
        self._reasons = Reasons(chunk, self._trials)
        self.lines: list[Line] = []
        known: dict[str, Polynomial] = {}
        self._derive(known)
        self.given = chunk.definitions.names[chunk.start]
        self.formula = self._text(self.lines[-1].tree)
        target = chunk.target.shape.numel() or 1
        before = sum([passes(line.steps[0].tree) for line in self.lines])
        after = passes(self.lines[-1].tree)
        self.passes = (before / target, after / target)

    def _derive(self, known: dict[str, Polynomial]) -> None:
        """One line after another, from the start to the target."""
        chunk, layout = self._chunk, self._chunk.layout
        effort = min(EFFORT, TOTAL // max(len(chunk.lines), 1))
        for node, raw_form in chunk.lines.items():
            line = Line(node, self._definitions.gradient_name(node), [])
            line.steps.append(Step(layout.tree(raw_form, len(node.shape)), self._reasons.forward(node)))
            if not self._trials.holds([line.tree], node, loose=True):
                raise ValueError(
                    f"derive: what was read of the rules for {line.name} does not give the engine's gradient, so it is "
                    f"not printed; pass start= a tensor nearer to {self._definitions.names[chunk.target]!r}, or use "
                    f"loss.backward(), which does not need algebra"
                )
            form: Polynomial | None = None
            try:
                with terms.effort(effort):
                    form = self._simplified(line, raw_form, known)
            except terms.TooMuch:
                form = None
            simpler = [s.tree for s in line.steps[1:]]
            if form is None or not self._trials.known(node) or not self._trials.holds(simpler, node):
                line.steps = line.steps[:1]
            elif not self._definitions.has_atoms(form) and not chunk.is_long(form):  # else it keeps its name
                known[line.name] = form
            self.lines.append(line)

    def _simplified(self, line: Line, form: Polynomial, known: Mapping[str, Polynomial]) -> Polynomial | None:
        """Add the steps to a line, and return what they lead to; None if one of the reasons is false."""
        mentioned = set(names_in(form))
        used = [n for n in known if n in mentioned]
        raw_form, form = form, substituted(form, known, self._definitions)
        put_in = f"put in {listed(used)}" if used else ""
        if put_in and len(form) < len(raw_form):  # what cancels is seen before it does
            put_in = self._as_put_in(line, used, put_in)
        self._step(line, form, put_in)
        end, path = self._chunk.folding.search(form)
        reasons: list[str] = []
        for k, rule in enumerate(path, 1):
            form = rule.apply(form)
            if not self._reasons.hold(rule):
                return None
            reasons.append(self._reasons.text(rule))
            passing = rule.name not in self._definitions.own and not rule.fact
            text, above = self._text(self._chunk.layout.tree(form)), self._text(line.tree)
            if k == len(path) or not (passing or len(text) > max(SHORT, len(above))):  # what winds is passed over
                self._step(line, form, because(reasons))
                reasons = []
        return end

    def _as_put_in(self, line: Line, used: Sequence[str], reason: str) -> str:
        """Add a step as it stands when tensors are put in; the reason of the next one."""
        trees = {x.name: x.tree for x in self.lines if x.name in used}
        tree = replaced(line.tree, trees)
        numbers = any(t.kind == "number" for t in trees.values())  # what is multiplied by 0 is seen to vanish
        if numbers or len(self._text(tree)) > LONGEST or not self._trials.holds([tree], line.node):
            return reason
        line.steps.append(Step(tree, reason))
        return "the terms cancel"

    def _step(self, line: Line, form: Polynomial, reason: str) -> None:
        tree = self._chunk.layout.tree(form, len(line.node.shape))
        last = line.steps[-1]
        if Writer().text(tree) == Writer().text(last.tree):
            return
        line.steps.append(Step(tree, reason))

    # --- how it reads ---

    def __str__(self) -> str:
        texts = [text for line in self.lines for text in self._line_texts(line)]
        return "\n".join([self._given(), *texts, *(["", self._remark()] if self._remark() else [])])

    __repr__ = __str__

    def _given(self) -> str:
        start = self._definitions.gradient_name(self._chunk.start)
        return f"{start} = 1" if self._chunk.seeded else f"given {start}"

    def _remark(self) -> str:
        """What is to be said at the end."""
        if self.formula == "0":
            return self._why_zero(self._definitions.names[self._chunk.target])
        nothing = len(self.lines) > 1 and self.passes[1] >= self.passes[0]
        return "nothing shorter was found" if nothing else ""

    def _why_zero(self, target: str) -> str:
        """What a gradient of 0 means; of a bias, whether it is one before a norm that subtracts the mean."""
        value, shape = self._definitions.run.value(self._chunk.start), self._chunk.target.shape
        wide = [1] * (value.ndim - len(shape)) + list(shape)
        axes = [k for k, n in enumerate(wide) if n == 1 < value.shape[k]] if len(wide) == value.ndim else []
        if axes and float(value.sum(axes).abs().max()) <= 1e-9 * float(value.abs().max()):
            norm = "batch norm" if axes == [0] else "a norm"
            return f"d{target} = 0: a bias before {norm}: {self.given} is without the mean, and {target} goes with it"
        return f"d{target} = 0: {target} makes no difference to {self.given}"

    def _text(self, tree: Node) -> str:
        text = in_dtype(Writer().text(tree), self._chunk.target.dtype)
        return self._definitions.with_indices_spelled(text)

    def _line_texts(self, line: Line) -> Iterator[str]:
        yield ""
        for k, step in enumerate(line.steps):
            yield from in_columns(" " * len(line.name) if k else line.name, self._text(step.tree), step.reason)

    def _repr_html_(self) -> str:
        steps = [(line.name if not k else "", step) for line in self.lines for k, step in enumerate(line.steps)]

        def row(i: int) -> tuple[str, ...]:
            name, step = steps[i]
            return name, f"= {self._text(step.tree)}", step.reason

        target = self._definitions.names[self._chunk.target]
        head = markup.caption(f"the gradient of {target}", self._given())
        rows = markup.table(("", "", "because"), len(steps), row, longest=1000)
        return markup.block(head, rows, markup.caption(self._remark()) if self._remark() else "")

    def latex(self) -> str:
        """The derivation as an ``aligned`` environment of LaTeX."""
        rows = []
        for line in self.lines:
            for k, step in enumerate(line.steps):
                left = latex_name(line.name) if not k else ""
                reason = rf" && \text{{{latex_text(step.reason)}}}" if step.reason else ""
                rows.append(rf"{left} &= {latex(step.tree)}{reason}")
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    # --- how it runs ---

    def source(self) -> str:
        """A function ``gradient(...)`` in PyTorch, whose parameters are tensors by their names, and that returns it."""
        return self._code().text()

    def bindings(self) -> dict[str, torch.Tensor]:
        """The tensors to call ``gradient`` with, by name.

        They are those of the tape, and the gradient of ``start`` by the engine's own walk; if the loss is no number,
        that is for the caller to add.
        """
        return self._code().bindings()

    def _code(self) -> Code:
        lines = {line.node: line.tree for line in self.lines}
        return Code(self._definitions, self._chunk.start, lines, [self._chunk.target])

    def check(self) -> bool:
        """Whether every line is the engine's gradient, in float64, on the tape's own values and on random ones."""
        rules = [self._trials.holds([line.steps[0].tree], line.node, loose=True) for line in self.lines]
        return all(rules) and all(self._trials.holds([s.tree for s in x.steps[1:]], x.node) for x in self.lines)


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def because(reasons: Sequence[str]) -> str:
    """Reasons for one step: each once, and what says more than that something was multiplied out first."""
    each = sorted(dict.fromkeys(reasons), key=lambda r: r == MULTIPLIED)
    return listed(each).replace(" and since ", " and ").replace(", since ", ", ")


def latex_text(text: str) -> str:
    """Words within a formula."""
    for c in "_#%&$":
        text = text.replace(c, f"\\{c}")
    return text.replace("**", "^")
