"""What a record was called when it was computed: the user's statements, held against a tape.

A scope knows the last value of each variable. From there the code is read backwards: if ``x`` is now a record, and the
statement ``x = torch.tanh(x @ W)`` could have computed it, then what stands on the tape where the statement says ``x``
was called ``x`` before. A statement is believed only if the ops on the tape are those that it says.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.tensor import Tensor
from tapegrad.inspect.forward_code import Code, Line

_SIGNS: dict[type[ast.operator], set[str]] = {
    ast.Add: {"add", "scaled_add"}, ast.Sub: {"sub", "rsub"}, ast.Mult: {"mul"}, ast.Div: {"div"},
    ast.Pow: {"pow"}, ast.MatMult: {"matmul"}, ast.Mod: {"remainder"},
}  # fmt: skip
_SWAPPED = {"add", "mul", "rsub", "scaled_add"}  # a number may stand on either side
_ALIASES = {
    "mm": "matmul", "bmm": "matmul", "multiply": "mul", "divide": "div", "subtract": "sub", "negative": "neg",
    "view_as": "view", "reshape_as": "reshape", "swapaxes": "transpose",
    "expand_as": "expand", "absolute": "abs", "square": "pow", "concat": "cat", "concatenate": "cat",
}  # fmt: skip
# What torch puts in of its own: a statement that does not speak of them is read through them.
_PASSED = {
    "view",
    "reshape",
    "expand",
    "transpose",
    "unsqueeze",
    "squeeze",
    "moved",
    "permute",
    "t",
    "flatten",
    "adjoint",
}
_MOST = 64  # records that a statement is held against; names that one variable gives to earlier values


def read(names: Mapping[Any, str], code: Code) -> tuple[dict[Any, str], dict[Any, Line]]:
    """Names for records that have none, and the statements that computed records.

    Args:
        names: node -> the user's name for it, by the variables as they are now.
        code: what computed them.

    Returns:
        node -> name, for more of them: of values that a variable had before, with a number, ``x_1``; and record ->
        statement.
    """
    reading = _Reading(names, code)
    for node, name in names.items():
        reading.follow(node, name)
    found = dict(names)
    taken = set(names.values())
    for name, earlier in reading.earlier.items():
        number = 0
        for node in sorted(earlier, key=lambda r: -r.rank):
            number += 1
            while f"{name}_{number}" in taken and name in taken:
                number += 1
            called = f"{name}_{number}" if name in taken or len(earlier) > 1 else name
            taken.add(called)
            found[node] = called
    return found, reading.lines


class _Reading:
    def __init__(self, names: Mapping[Any, str], code: Code) -> None:
        self.names = names
        self.lines: dict[Any, Line] = {}
        self.earlier: dict[str, list[Record]] = defaultdict(list)
        self._called: dict[Any, str] = dict(names)
        self._statements: dict[str, list[Line]] = defaultdict(list)
        for line in code.lines:
            self._statements[line.target].append(line)
        self._loops = code.loops
        by_name = {name: node for node, name in names.items()}
        self._known = {*by_name, *self._statements}
        # A variable that one statement binds has been what it is.
        self._fixed = {
            name: node
            for name, node in by_name.items()
            if len(self._statements.get(name, ())) < 2 and name not in code.loops
        }
        for line in code.lines:
            if line.target in _variables(line.value):  # x = x + 1
                self._fixed.pop(line.target, None)

    def follow(self, node: Any, name: str) -> None:
        """Find the statement that computed a node, and go on with what it names."""
        waiting = [(node, name)]
        while waiting:
            node, name = waiting.pop()
            if type(node) is not Record or node in self.lines:
                continue
            for line, value in self._candidates(name):
                seen: dict[str, Any] = {}
                if self._fits(value, node, seen) and not (isinstance(value, ast.Name) or node in self.lines):
                    self.lines[node] = line
                    for text, found in seen.items():
                        if type(found) is Record and found not in self._called:
                            earlier = self.earlier[text]
                            if text.isidentifier() and len(earlier) < _MOST:
                                self._called[found] = text
                                earlier.append(found)
                                waiting.append((found, text))
                    break

    def _candidates(self, name: str) -> Iterator[tuple[Line, ast.expr]]:
        for line in reversed(self._statements.get(name, ())):
            yield line, line.value
        if name.endswith("]"):  # of a list, what its comprehension computes
            for line in reversed(self._statements.get(name[: name.rindex("[")], ())):
                if isinstance(line.value, ast.ListComp):
                    yield line, line.value.elt

    def _fits(self, e: ast.expr, node: Any, seen: dict[str, Any]) -> bool:
        """Whether an expression could have computed a node; ``seen`` gets what its variables would then have been."""
        if isinstance(e, (ast.Name, ast.Attribute, ast.Subscript)):
            text = ast.unparse(e)
            if text in self._known:
                if self._fixed.get(text, node) is not node or seen.get(text, node) is not node:
                    return False
                seen[text] = node
                return True
            if isinstance(e, ast.Name):  # of a loop or a comprehension: it may have been anything
                return text in self._loops
        if type(node) is not Record or node.parents is None:  # a freed one says nothing of its operands
            return False
        if self._same(e, node, seen):
            return True
        if node.op.name in _PASSED and node not in self.names:
            parent = next(parents_of(node), None)
            return parent is not None and self._fits(e, parent, seen)
        return isinstance(e, ast.Call) and self._uses(e, node)

    def _same(self, e: ast.expr, node: Record, seen: dict[str, Any]) -> bool:
        """Whether a record is of the op that an expression says, and its operands fit."""
        op, parents = node.op.name.strip("_"), node.parents or ()
        if isinstance(e, ast.BinOp):
            if op not in _SIGNS.get(type(e.op), ()):
                return False
            pairs = [(e.left, e.right), (e.right, e.left)] if op in _SWAPPED else [(e.left, e.right)]
            for operands in pairs:
                trial = dict(seen)
                if all(self._operand(a, p, trial) for a, p in zip(operands, parents, strict=False)):
                    seen.update(trial)
                    return True
            return False
        if isinstance(e, ast.UnaryOp):
            return isinstance(e.op, ast.USub) and op == "neg" and self._operand(e.operand, parents[0], seen)
        if isinstance(e, ast.Subscript):
            return op in ("getitem", "select", "slice") and self._operand(e.value, parents[0], seen)
        if isinstance(e, ast.Attribute):
            if e.attr in ("values", "output"):
                return self._same(e.value, node, seen)
            return e.attr in ("T", "mT", "H", "mH") and op in _PASSED and self._operand(e.value, parents[0], seen)
        if not isinstance(e, ast.Call):
            return False
        called = e.func.attr if isinstance(e.func, ast.Attribute) else getattr(e.func, "id", "")
        if _ALIASES.get(called, called) not in (op, op.removesuffix("_dim"), op.removesuffix("_all")):
            return False
        by_name = {k.arg: k.value for k in e.keywords}
        for arguments in self._arguments(e):
            trial = dict(seen)
            given = dict(zip(node.op.parameters, arguments, strict=False)) | by_name
            if all(
                p is None or (name in given and self._operand(given[name], p, trial))
                for name, p in zip(node.op.parameters, parents, strict=True)
            ):
                seen.update(trial)
                return True
        return False

    def _arguments(self, e: ast.Call) -> Iterator[list[ast.expr]]:
        """What a call is of: of ``x.f(y)``, x and y; of ``torch.f(x, y)`` as well."""
        first = e.func.value if isinstance(e.func, ast.Attribute) else None
        root = first
        while isinstance(root, ast.Attribute):
            root = root.value
        if first is None or (isinstance(root, ast.Name) and root.id not in (self._known | self._loops)):  # a module
            yield list(e.args)
        if first is not None:
            yield [first, *e.args]

    def _operand(self, e: ast.expr, parent: Any, seen: dict[str, Any]) -> bool:
        if parent is None:  # a constant, which the tape does not follow
            return not self._on_tape(e)
        if type(parent) is tuple:
            items = e.elts if isinstance(e, (ast.List, ast.Tuple)) else []
            return not items or (
                len(items) == len(parent) and all(self._operand(a, p, seen) for a, p in zip(items, parent, strict=True))
            )
        return self._fits(e, parent, seen)

    def _on_tape(self, e: ast.expr) -> bool:
        return isinstance(e, ast.Name) and e.id in self._fixed and type(self._fixed[e.id]) in (Record, Tensor)

    def _uses(self, e: ast.Call, node: Record) -> bool:
        """Whether a record, through others without a name, comes from just those that an expression speaks of."""
        wanted = {self._fixed[text] for text in _variables(e) if text in self._fixed}
        met: set[Any] = set()
        stack, count = list(parents_of(node)), 0
        while stack:
            p = stack.pop()
            if p in self._called or type(p) is not Record:
                met.add(p)
            else:
                count += 1
                stack.extend(parents_of(p))
            if count > _MOST:
                return False
        return bool(met) and met == wanted


def _variables(e: ast.expr) -> set[str]:
    """What an expression speaks of, as Python writes it."""
    return {ast.unparse(n) for n in ast.walk(e) if isinstance(n, (ast.Name, ast.Attribute, ast.Subscript))}
