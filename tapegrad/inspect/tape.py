"""A tape as people read it: its records in order, with the user's names for them, and their gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch

from tapegrad import markup
from tapegrad.engine.gradients import accumulate
from tapegrad.engine.tape import Record, parents_of, reached, shape_text
from tapegrad.engine.tensor import Tensor, kind, native
from tapegrad.engine.tensor import node as node_of
from tapegrad.engine.versions import refuse_other_shapes
from tapegrad.engine.walk import walk
from tapegrad.inspect.bindings import read
from tapegrad.inspect.forward_code import Line, code_of
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.names import Scope, name_nodes, scope_of, tensors_in
from tapegrad.tracebacks import trimmed

_MOST = 8  # inputs that a row shows
_WIDEST = 60  # characters of a label


class Tape(Sequence[Record]):
    """Everything that led to some outputs, oldest record first.

    It holds its records, so that it can be printed, drawn, compared and written out after its own ``backward()`` as
    well as before. ``loss.backward()`` frees them.

    Args:
        outputs: Tensors that require grad.
        scope: the variables that give names, and the code that computed the tape.

    Attributes:
        outputs: the nodes (records, or leaves) that the tape leads to.
        results: each of them with its torch tensor.
        leaves: the leaf Tensors that it starts from, in the order they were first used.
        names: record or leaf -> the user's name for it, where there is one: what was bound when it was computed. A
            variable's earlier values have a number, such as ``x_1``.
        lines: record -> the user's statement that computed it, where that can be told.
        gradients: record or leaf -> its gradient, a torch tensor, once ``backward()`` has run.
    """

    def __init__(self, outputs: Sequence[Tensor], scope: Mapping[str, Any]) -> None:
        self.outputs: list[Any] = [node_of(t) for t in outputs]
        self.gradients: dict[Any, torch.Tensor] = {}
        self.results: list[tuple[Any, torch.Tensor]] = [(node_of(t), t._data) for t in outputs]
        self._records = reached(self.outputs)
        self._position: dict[Any, int] = {r: i for i, r in enumerate(self._records)}
        nodes = [p for r in self._records for p in parents_of(r)] + self.outputs
        self.leaves: list[Tensor] = list(dict.fromkeys(p for p in nodes if type(p) is not Record))
        self._position.update({leaf: i for i, leaf in enumerate(self.leaves)})
        code = code_of(scope) if isinstance(scope, Scope) else None
        named = self._called(scope, code.loops if code else ())
        self.lines: dict[Any, Line] = {}
        self.names: dict[Any, str] = named
        if code is not None:
            self.names, self.lines = read(named, code)

    def _called(self, scope: Mapping[str, Any], last: Any) -> dict[Any, str]:
        """The names that a scope has for nodes; for leaves also by way of the torch tensors that they stand for."""
        named = name_nodes(scope, last)
        missing = [leaf for leaf in self.leaves if leaf not in named]
        if missing:
            by_id: dict[int, str] = {}
            for name, t in tensors_in(scope):
                if not isinstance(t, Tensor):
                    by_id.setdefault(id(t), name)
            for leaf in missing:
                found = by_id.get(id(getattr(leaf, "_holder", None))) or by_id.get(id(leaf._data))
                if found is not None:
                    named[leaf] = found
        return named

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]

    def name(self, node: Any) -> str:
        """The user's name for a record or leaf, or one made from its op and its position, such as ``mul_7``."""
        if node in self.names:
            return self.names[node]
        return f"{node.op.name if type(node) is Record else 'leaf'}_{self._position[node]}"

    def uses(self) -> Counter[Any]:
        """How many arguments of the tape's records each record or leaf is."""
        return Counter(parent for record in self for parent in parents_of(record))

    def backward(self, gradient: Any = None) -> None:
        """Compute the gradient of every node, keep them in ``gradients``, and keep the tape.

        Leaves, and tensors that retain their gradient, get theirs in ``grad``, as from
        ``loss.backward(retain_graph=True)``: a second call adds to them there, and gives ``gradients`` anew.

        Args:
            gradient: the cotangent of the output, or a list of one for each; None for outputs of one element.

        Raises:
            RuntimeError: a cotangent is missing or does not fit.
            FreedTape: ``loss.backward()`` has freed the tape.
            StaleTensor: a value that a rule needs was changed in place since it was recorded.

        Example:
            >>> x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
            >>> y = x * x
            >>> loss = y.sum()
            >>> tape = tapegrad.tape(loss)
            >>> tape.backward()
            >>> tape.grad("y")
            tensor([1., 1.])
        """
        found = in_grad_mode(False, lambda: walk(self.starts(gradient), self.nodes, retain_graph=True))
        refuse_other_shapes(self.leaves, min([getattr(node, "rank", 0) for node in self.outputs]))
        self.gradients = {node: g.clone() if type(node) is Tensor else g for node, g in found.items()}
        accumulate(found)

    @property
    def nodes(self) -> list[Any]:
        """The leaves, then the records."""
        return [*self.leaves, *self._records]

    def starts(self, gradient: Any = None) -> list[tuple[Any, torch.Tensor]]:
        """The outputs, each with its cotangent: see ``backward``."""
        several = isinstance(gradient, (list, tuple))
        given = list(gradient) if several else [gradient] * len(self.outputs)
        if len(given) != len(self.outputs):
            raise RuntimeError(f"Tape.backward: {len(self.outputs)} outputs but {len(given)} gradients")
        starts = []
        for (node, data), g in zip(self.results, given, strict=True):
            if g is None:
                if data.numel() != 1:
                    raise RuntimeError(
                        f"Tape.backward: grad can be implicitly created only for scalar outputs, this one has shape "
                        f"{shape_text(data.shape)}; pass a gradient of that shape"
                    )
                g = torch.ones_like(data)
            elif not isinstance(g, (Tensor, torch.Tensor)):
                raise TypeError(f"Tape.backward: the gradient must be a torch.Tensor, not {type(g).__name__}")
            else:
                g = g._data if isinstance(g, Tensor) else native(g, "Tape.backward", "gradient")
            if kind(g) != kind(data):
                raise RuntimeError(
                    f"Tape.backward: the gradient must match its tensor: expected {kind(data)}, got {kind(g)}"
                )
            starts.append((node, g))
        return starts

    def node(self, what: Any, caller: str = "Tape.node") -> Any:
        """The record or leaf of a Tensor, or of a name.

        Raises:
            TypeError, ValueError: ``what`` is neither, or is not on the tape.
        """
        if isinstance(what, str):
            for node, name in self.names.items():
                if name == what and node in self._position:
                    return node
            for node in self.nodes:
                if self.name(node) == what:
                    return node
            known = ", ".join(sorted(name for node, name in self.names.items() if node in self._position))
            raise ValueError(f"{caller}: no tensor on the tape is called {what!r}; there are: {known or 'none'}")
        node = what
        if isinstance(what, Tensor) and what.record is not None:
            node = what.record
        if not isinstance(node, (Tensor, Record)):
            raise TypeError(f"{caller}: expected a Tensor of tapegrad's or a name, not {type(what).__name__}")
        if node not in self._position:
            raise ValueError(
                f"{caller}: this tensor, of shape {shape_text(node.shape)}, is not on the tape: nothing that led to "
                f"the output was computed from it"
            )
        return node

    def grad(self, what: Any) -> torch.Tensor | None:
        """The gradient that ``backward()`` has found for a Tensor, or a name; None if none has come there.

        Raises:
            RuntimeError: ``backward()`` has not run.
            ValueError: it is not on the tape.
        """
        if not self.gradients:
            raise RuntimeError("Tape.grad: there are no gradients yet; call the tape's backward() first")
        return self.gradients.get(self.node(what, "Tape.grad"))

    if TYPE_CHECKING:  # source/methods.py adds them

        def source(
            self,
            names: Mapping[str, Any] | None = None,
            style: str = "plain",
            forward: bool = False,
            explain: bool = False,
        ) -> str:
            """The backward pass of this tape, as PyTorch source."""

        def bindings(
            self, names: Mapping[str, Any] | None = None, style: str = "plain", forward: bool = False
        ) -> dict[str, torch.Tensor]:
            """The raw tensors to call the functions of ``source`` with, by name."""

    def rows(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """What the tape prints: a head, and a row for each node."""
        return self._head(), [self._row(node) for node in self.nodes]

    def _head(self) -> tuple[str, ...]:
        return ("#", "name", "op", "inputs", "shape", *(["‖grad‖"] if self.gradients else []))

    def _row(self, node: Any) -> tuple[str, ...]:
        norm = [norm_text(self.gradients.get(node))] if self.gradients else []
        if type(node) is not Record:
            return "", _few([self.name(node)]), "leaf", "", shape_text(node.shape), *norm
        inputs = _few([_few([self.name(p)]) for p in parents_of(node)])
        return str(self._position[node]), _few([self.name(node)]), node.op.name, inputs, shape_text(node.shape), *norm

    def __str__(self) -> str:
        return table(*self.rows())

    __repr__ = __str__  # so that a prompt shows it too

    def _repr_html_(self) -> str:
        nodes = self.nodes
        of = _few([self.name(output) for output in self.outputs])
        head = markup.caption(f"tape of {of}", f"{len(self):,} records", f"{len(self.leaves):,} leaves")
        return markup.block(head, markup.table(self._head(), len(nodes), lambda i: self._row(nodes[i]), right=[0, 5]))


def _few(labels: Sequence[str]) -> str:
    """Labels in a row, so long as they are few: a table is as wide as its widest cell."""
    shown = [label if len(label) <= _WIDEST else f"{label[: _WIDEST - 1]}…" for label in labels[:_MOST]]
    return ", ".join(shown) + (f", … ({len(labels)} in all)" if len(labels) > _MOST else "")


def norm_text(g: torch.Tensor | None) -> str:
    """The norm of a gradient, to four digits."""
    if g is None:
        return "0"
    return "?" if g.is_meta else f"{float(g.detach().norm()):.4g}"


@trimmed
def tape(*outputs: torch.Tensor, names: Mapping[str, Any] | None = None, code: Any = None) -> Tape:
    """The tape that led to some tensors: a sequence of Records, oldest first, that prints as a table.

    Args:
        *outputs: Tensors that require grad.
        names: variable name -> value, to call records and leaves by, for example ``locals()``; by default, the
            variables that the calling code can see.
        code: the function whose lines computed the outputs, to quote them, and to find names that were bound again; by
            default, the calling code.

    Raises:
        FreedTape: a backward without ``retain_graph=True`` has freed it.
        ValueError: an output does not require grad, so nothing was recorded.
    """
    for t in outputs:
        if not isinstance(t, Tensor):
            raise TypeError(f"tape: expected a Tensor of tapegrad's, got {type(t).__module__}.{type(t).__name__}")
        if not t.requires_grad:
            raise ValueError(
                f"tape: this tensor, of shape {shape_text(t.shape)}, does not require grad: nothing led to it"
            )
    return Tape(list(outputs), with_code(scope_of(names), code, "tape"))  # type: ignore[arg-type]  # checked above


def with_code(scope: Scope, code: Any, caller: str) -> Scope:
    """A scope with the code of a function in place of its own, if there is one."""
    if code is None:
        return scope
    if not hasattr(code, "__code__"):
        raise TypeError(f"{caller}: code must be a Python function, not {type(code).__name__}")
    return Scope(scope, code.__code__, scope.given)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under a head, in aligned columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join([lines[0], "-+-".join("-" * w for w in widths), *lines[1:]])
