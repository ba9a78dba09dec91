"""docs/rules.md: the rule table as a page, made from the table itself and from its source.

python docs/make_rules.py
"""

from __future__ import annotations

import ast
import builtins
import copy
import importlib
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

MADE: dict[int, tuple[str, int]] = {}  # where an entry of the table was made: file and line


def watch(frame: Any, event: str, _: Any) -> None:
    """Note which line of a module of rules makes an entry, however many helpers of its own it goes through."""
    if event == "call" and frame.f_code.co_name == "enter" and "entry" in frame.f_locals:
        entry, caller = inspect.unwrap(frame.f_locals["entry"]), frame
        while caller is not None and caller.f_code.co_name != "<module>":
            caller = caller.f_back
        if caller is not None:
            MADE.setdefault(id(entry), (caller.f_code.co_filename, caller.f_lineno))


sys.setprofile(watch)
from tapegrad import kernels, rules  # noqa: E402 - while they are watched
from tapegrad.engine import table  # noqa: E402
from tapegrad.engine.op import Op  # noqa: E402
from tapegrad.torch_api import functions  # noqa: E402
from tapegrad.torch_api.functions import spellings as torch_spellings  # noqa: E402

sys.setprofile(None)

# Compositions without what asks torch first.
TABLE = {function: inspect.unwrap(entry) for function, entry in table.TABLE.items()}

HERE = Path(__file__).parent
PAGE = HERE / "rules.md"
CONFORMANCE = HERE / "conformance.md"

# Where torch has a function, what a user writes for the place, and what its operator database writes.
PLACES = (
    (torch, "torch.", ""),
    (F, "F.", "nn.functional."),
    (torch.Tensor, "Tensor.", ""),
    (torch._C.TensorBase, "Tensor.", ""),
    (torch.linalg, "torch.linalg.", "linalg."),
    (torch.fft, "torch.fft.", "fft."),
    (torch.special, "torch.special.", "special."),
)

INTRODUCTION = """\
# The rules

Everything that tapegrad differentiates, and how. `python docs/make_rules.py` makes this page from `tapegrad/rules/`,
which has the formulas, `tapegrad/kernels/`, and `tapegrad/torch_api/functions/`, where functions are said in terms of
others.

A row's second column has, for each argument that can take a gradient, the formula of that gradient. `g` is the
gradient with respect to the function's output, `out` the output, `<argument>_shape` an argument's shape; other names
are the function's arguments and, where a function has them, further outputs such as `indices`. What was broadcast is
summed afterwards, for all rules in one place. *(kernel)* marks a formula that has a second text for raw tensors: the
same mathematics, bit-exact or quicker. A function without a rule of its own is said **in terms of** others.
Functions in *italics* are tapegrad's own, and serve the others.

The third column says whether, in float32, values and gradients equal torch's in every bit, on the samples of torch's
operator database: **=** if they do, otherwise the largest difference relative to a tensor's largest element (see
[conformance](conformance.md)). It is empty where the database has no such function.
"""


def main(check: bool) -> int:
    """Write the page, or look whether it is current."""
    text = page(CONFORMANCE.read_text())
    if not check:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        print("docs/rules.md is not current: run python docs/make_rules.py")
        return 1
    return 0


def page(conformance: str) -> str:
    """docs/rules.md, given the text of docs/conformance.md."""
    bits = exactness(conformance)
    names = spellings()
    families = sorted({*rules.__all__, *functions.__all__})
    sections = [section(family, names, bits) for family in families]
    entries = list({id(e): e for s in sections for e in s.entries}.values())
    own = sum(isinstance(e, Op) for e in entries)
    counts = f"\nThe table has {own} rules and {len(entries) - own} functions in terms of them.\n"
    contents = "".join(f"* [{s.title}](#{anchor(s.title)}){s.about and ': '}{s.about}\n" for s in sections)
    return INTRODUCTION + counts + "\n" + contents + "".join(s.text for s in sections)


# --- what torch calls things, and what was measured of them ---


def spellings() -> dict[int, list[tuple[str, str]]]:
    """For each entry of the table, torch's names for it: as a user writes it, and as the operator database does."""
    names: dict[int, list[tuple[str, str]]] = {}
    for place, written, filed in PLACES:
        for name, value in vars(place).items():
            public = not name.startswith("_") or name.endswith("__")
            if public and callable(value) and value in TABLE:
                names.setdefault(id(TABLE[value]), []).append((written + name, filed + name))
    return {key: [pair for pair in pairs if "__" not in pair[0]] or pairs for key, pairs in names.items()}


def exactness(conformance: str) -> dict[str, str]:
    """What the conformance page says of each operator that passes: "=" or its largest difference."""
    found: dict[str, str] = {}
    for part in [s for s in conformance.split("\n## ") if s.startswith("Pass")]:
        for line in part.splitlines():
            if family := re.match(r"\*\*torch\.(.*?)\*\*", line):
                found |= {family[1] + name: "=" for name in re.findall(r"`([^`]+)`", line)}
            elif row := re.match(r"\| `([^`]+)` \|.*\| (\S+) \|", line):
                found[row[1]] = row[2]
    return found


def measured(names: list[tuple[str, str]], bits: dict[str, str]) -> str:
    """The exactness of an entry: the worst of its names and of their variants in the database."""
    found = [
        value
        for operator, value in bits.items()
        for _, filed in names
        if operator == filed or operator.startswith(f"{filed}.")
    ]
    return max(found, key=lambda value: 0.0 if value == "=" else float(value), default="")


# --- a family of rules ---


class Section:
    """The part of the page about one family."""

    def __init__(self, title: str, about: str, text: str, entries: list[Any]) -> None:
        self.title, self.about, self.text, self.entries = title, about, text, entries


def section(family: str, names: dict[int, list[tuple[str, str]]], bits: dict[str, str]) -> Section:
    """What one family has, in the order and under the headings of its sources: rules first."""
    kernel, spelled = source_of(kernels, family), Source(torch_spellings)
    sources = [source for package in (rules, functions) if (source := source_of(package, family, kernel))]
    title, about = titled(sources[0].module)
    files = [f"{source.module.__name__.replace('.', '/')}.py" for source in sources]
    links = " and ".join(f"[{file}](../{file})" for file in files)
    text = f"\n## {title}\n\n{links}{about and ': '}{about}\n"
    tables: dict[str, str] = {}  # rows under each heading
    entries, texts = [], []
    for source in sources:
        for entry in sorted(source.entries(), key=source.line):
            lines = [*source.lines_of(entry), *[f"<sub>{prose(note)}</sub>" for note in source.notes(entry)]]
            calls = names.get(id(entry), [])
            row = f"| {called(entry, calls, source.module)} | {'<br>'.join(lines)} | {measured(calls, bits)} |\n"
            heading = source.heading(source.line(entry))
            tables[heading] = tables.get(heading, "") + row
            entries.append(entry)
            texts.append(" ".join(lines))
    for heading, rows in tables.items():
        text += f"\n### {capital(heading)}\n" if heading else ""
        text += "\n| function | gradient | bits |\n|---|---|---|\n" + rows
    words = [
        f"* `{name}`: {prose(doc)}\n" for source in [*sources, spelled] for name, doc in source.words(" ".join(texts))
    ]
    return Section(title, about, text + ("\nIn these formulas:\n\n" + "".join(words) if words else ""), entries)


def source_of(package: ModuleType, family: str, kernel: Source | None = None) -> Source | None:
    """The source of a family's module in a package, if it has one."""
    if family not in package.__all__:
        return None
    return Source(importlib.import_module(f"{package.__name__}.{family}"), kernel)


def titled(module: ModuleType) -> tuple[str, str]:
    """A heading for a module, and the rest of what its first sentence says: "Rules of sums: what is added ...".."""
    sentence = " ".join((module.__doc__ or module.__name__).split()).split(". ")[0].removesuffix(".")
    title, _, rest = sentence.removeprefix("Rules of ").partition(": ")
    return capital(title.replace(" and of ", " and ")), rest


def capital(text: str) -> str:
    """A heading's first letter, large unless it is a name: "x times a gate"."""
    first = text.split()[0]
    return text if len(first) == 1 or first.startswith("torch") else text[0].upper() + text[1:]


def called(entry: Any, names: list[tuple[str, str]], module: ModuleType) -> str:
    """An entry's first column: its call, and its other names."""
    arguments = str(entry.signature)[1:-1] if isinstance(entry, Op) else bare(entry)
    written = list({name.rpartition(".")[2]: name for name, _ in reversed(names)}.values())[::-1]
    if "inplace" in arguments or "_stacklevel" in arguments:  # only torch.nn.functional has them
        written.sort(key=lambda name: not hasattr(F, name.rpartition(".")[2]))
        written = [f"F.{name.rpartition('.')[2]}" if hasattr(F, name.rpartition(".")[2]) else name for name in written]
    if not written:  # ours, or torch's with a composition before it in the table
        name = next((n for n, value in vars(module).items() if value is entry), entry.__name__)
        return f"*`{name}({cell_code(arguments)})`*"
    first, *others = written
    also = f"<br>also {', '.join(f'`{name}`' for name in others)}" if others else ""
    return f"`{first}({cell_code(arguments)})`{also}"


def is_torchs(op: Op) -> bool:
    """Whether an op's function is torch's, and not one of ours that wraps it."""
    return not (getattr(op.function, "__module__", None) or "").startswith("tapegrad")


def bare(function: Callable[..., Any]) -> str:
    """A composition's arguments, without annotations."""
    try:
        parameters = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    except ValueError:  # a function of torch's own
        return "..."
    return str(inspect.Signature(parameters))[1:-1]


class Source:
    """A module's source, read for what stands where; the kernels of its rules may stand in another."""

    def __init__(self, module: ModuleType, kernel: Source | None = None) -> None:
        self.module = module
        self.kernel = kernel or self
        self.file = inspect.getsourcefile(module)
        text = inspect.getsource(module)
        self.tree = ast.parse(text)
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        self.comments = {t.start[0]: (t.start[1], t.string) for t in tokens if t.type == tokenize.COMMENT}

    def entries(self) -> list[Any]:
        """The ops and compositions that this module makes."""
        everything = [*TABLE.values(), *[v for v in vars(self.module).values() if isinstance(v, Op)]]
        return list({id(e): e for e in everything if made(e)[0] == self.file}.values())

    def line(self, entry: Any) -> int:
        """The first line of the statement that makes an entry."""
        return first_line(self.statement(entry))

    def statement(self, entry: Any) -> ast.stmt:
        """The statement that makes an entry."""
        line = made(entry)[1]
        return next(s for s in self.tree.body if first_line(s) <= line <= (s.end_lineno or 0))

    def heading(self, line: int) -> str:
        """The heading that a line stands under: ``# --- arithmetic ---``."""
        found = ""
        for at, (_, comment) in sorted(self.comments.items()):
            if at < line and (match := re.fullmatch(r"# -+ (.*?) -+", comment)):
                found = match[1]
        return found

    def lines_of(self, entry: Any) -> Iterator[str]:
        """What an entry's gradient is: a line for each argument, or what it is made of."""
        if not isinstance(entry, Op):
            family = self.module.__name__.rpartition(".")[2]
            yield f"in terms of {made_of(entry).replace(f'{family}.', '')}"
            return
        for argument, formula in entry.formulas.items():
            kernel = "" if entry.kernels[argument] is formula else " *(kernel)*"
            yield f"{argument}: `{cell_code(formula_text(formula, argument))}`{kernel}"
        if not entry.formulas:
            yield "no argument takes a gradient"

    def notes(self, entry: Any) -> list[str]:
        """The comments about an entry: above it, within a rule, and about its kernel."""
        found = self.notes_of(self.statement(entry), isinstance(entry, Op))
        if isinstance(entry, Op):
            name = next((n for n, v in vars(self.kernel.module).items() if v is entry), None)
            for s in self.kernel.tree.body:
                found += self.kernel.notes_of(s, True) if is_kernel_of(s, name) else []
        return [note for note in dict.fromkeys(found) if note]

    def notes_of(self, statement: ast.stmt, inside: bool) -> list[str]:
        """The comments above a statement, and those within it; a function's body has its own."""
        found = [self.above(first_line(statement))]
        if not isinstance(statement, ast.FunctionDef) or inside:
            last = statement.body[0].lineno - 1 if isinstance(statement, ast.FunctionDef) else statement.end_lineno or 0
            found += [self.text(line) for line in range(first_line(statement), last + 1)]
        return found

    def above(self, line: int) -> str:
        """The comment right above a line, in one paragraph."""
        lines = []
        while self.text(line - 1) and self.comments[line - 1][0] == 0:
            line -= 1
            lines.insert(0, self.text(line))
        return " ".join(lines)

    def text(self, line: int) -> str:
        """The comment on a line, if it is meant for readers."""
        comment = self.comments.get(line, (0, ""))[1].lstrip("# ").split("  #")[0]
        aside = re.match(r"(type:|fmt:|noqa|ruff:|-+ )", comment)
        return "" if aside else comment

    def words(self, text: str) -> Iterator[tuple[str, str]]:
        """The helpers that formulas use and that the module explains: a name with its arguments, and what it is."""
        for s in self.tree.body:
            if not isinstance(s, ast.FunctionDef) or s.decorator_list or not re.search(rf"\b{s.name}\(", text):
                continue
            if doc := ast.get_docstring(s):
                yield f"{s.name}({', '.join(a.arg for a in s.args.args)})", " ".join(doc.split("\n\n")[0].split())


def made(entry: Any) -> tuple[str, int]:
    """The file and line that made an entry."""
    if id(entry) in MADE or isinstance(entry, Op) or not hasattr(entry, "__code__"):
        return MADE[id(entry)]
    return entry.__code__.co_filename, entry.__code__.co_firstlineno


@cache
def tree_of(file: str) -> ast.Module:
    """A source file, parsed."""
    return ast.parse(Path(file).read_text())


def node_of(function: Any) -> ast.AST:
    """The lambda or definition of a function."""
    code = function.__code__
    nodes = [n for n in ast.walk(tree_of(code.co_filename)) if isinstance(n, (ast.Lambda, ast.FunctionDef))]
    arguments = list(inspect.signature(function).parameters)
    here = [n for n in nodes if first_line(n) == code.co_firstlineno]
    return next(n for n in here if [a.arg for a in every_argument(n.args)] == arguments)


def every_argument(arguments: ast.arguments) -> list[ast.arg]:
    """A definition's arguments, in order."""
    starred = [arguments.vararg] if arguments.vararg else []
    more = [arguments.kwarg] if arguments.kwarg else []
    return [*arguments.posonlyargs, *arguments.args, *starred, *arguments.kwonlyargs, *more]


def formula_text(formula: Any, argument: str) -> str:
    """A formula as text."""
    if formula.__name__ != "<lambda>":
        return f"{formula.__name__}({', '.join(inspect.signature(formula).parameters)})"
    line = formula.__code__.co_firstlineno
    keywords = [n for n in ast.walk(tree_of(formula.__code__.co_filename)) if isinstance(n, ast.keyword)]
    given = [k.value for k in keywords if k.arg == argument and isinstance(k.value, ast.Lambda)]
    node: Any = next((value for value in given if value.lineno == line), None) or node_of(formula)
    return ast.unparse(Filled(formula).visit(copy.deepcopy(node.body)))


def made_of(body: Any) -> str:
    """A composition's body, if it is one expression; otherwise the functions that it calls."""
    if not hasattr(body, "__code__"):
        return f"`torch.{body.__name__}`"
    node: Any = Filled(body).visit(copy.deepcopy(node_of(body)))
    if isinstance(node, ast.Lambda):
        return f"`{cell_code(ast.unparse(node.body))}`"
    code = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(code) == 1 and isinstance(code[0], ast.Return) and code[0].value is not None:
        text = ast.unparse(code[0].value)
        if len(text) <= 200:
            return f"`{cell_code(text)}`"
    calls = [n.func for s in code for n in ast.walk(s) if isinstance(n, ast.Call)]
    named = [f"`{name}`" for name in dict.fromkeys(map(short, calls)) if name not in EVERYDAY]
    return ", ".join(named) or "operators"


class Filled(ast.NodeTransformer):
    """Puts what a function made by another has in its closure in the place of the names."""

    def __init__(self, function: Any) -> None:
        self.values = inspect.getclosurevars(function).nonlocals

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A name, or the value that it stands for."""
        if node.id not in self.values:
            return node
        value = self.values[node.id]
        text = getattr(value, "__name__", None) or repr(value)
        return ast.Name(text if text != "<lambda>" else node.id)


# Calls that tell nothing of how a function is put together.
EVERYDAY = {*dir(builtins), "MissingRule", "is_floating_point", "is_complex", "numel", "dim", "size"}


def short(function: ast.expr) -> str:
    """A called function's name, without the expression that it is a method of."""
    text = ast.unparse(function)
    if re.fullmatch(r"((torch|F)\.((linalg|special|fft)\.)?)?\w+", text):
        return text
    return function.attr if isinstance(function, ast.Attribute) else "getattr"


def is_kernel_of(statement: ast.stmt, name: str | None) -> bool:
    """Whether a statement is ``kernel(name, ...)``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "kernel" and ast.unparse(call.args[0]) == name


def first_line(statement: Any) -> int:
    """A statement's first line, its decorators included."""
    return min([d.lineno for d in getattr(statement, "decorator_list", [])], default=statement.lineno)


def prose(text: str) -> str:
    """A comment or docstring as Markdown: what it quotes as code stays code, the rest has no markup."""
    pieces = re.split(r"`+", text)
    for i, piece in enumerate(pieces):
        pieces[i] = f"`{cell_code(piece)}`" if i % 2 else re.sub(r"([|*_<])", r"\\\1", piece)
    return "".join(pieces)


def cell_code(text: str) -> str:
    """Code, fit for a table."""
    return " ".join(text.split()).replace("|", "\\|")


def anchor(title: str) -> str:
    """The link to a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
