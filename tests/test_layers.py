"""The layers: who imports whom, no circle among the modules, how long files and formulas may be, and how they read.

``python -m pytest tests/test_layers.py -s -n 0`` prints the directions and the sizes that it holds.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers import ROOT

# A layer, and the layers or modules that its files may import; errors, markup and numbers everybody may, and the
# package itself everything.
DIRECTIONS: dict[str, set[str]] = {
    "engine": set(),
    "rules": {"engine"},
    "kernels": {"engine", "rules"},
    "torch_api": {"engine", "rules"},
    "fast": {"engine", "rules", "kernels", "torch_api"},
    "inspect": {"engine"},
    "source": {"engine", "inspect", "algebra"},
    "algebra": {"engine", "inspect", "source.trace", "source.expression", "source.layout", "source.variables"},
    "plan": {"engine", "kernels.scalar", "torch_api.composition", "inspect", "source", "algebra"},
    "teaching": {"engine", "inspect", "source"},
    "nn": {"engine", "torch_api"},
    "transforms": {"engine", "inspect.grad_mode"},
    "viz": {"engine", "inspect", "source", "public"},
    "errors": set(),
    "markup": set(),
    "mistakes": set(),
    "tracebacks": set(),
    "numbers": set(),
    "written": set(),
}
EVERYBODYS = {"errors", "markup", "mistakes", "numbers", "tracebacks", "written"}
# Lines at most; of the engine, lines of code, so that explaining is free.
ENGINE, MODULE, FORMULA = 950, 400, 5


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of the package and of viz/, which is installed as tapegrad.viz."""
    found = {}
    for folder, package in ((root / "tapegrad", "tapegrad"), (root / "viz", "tapegrad.viz")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of tapegrad that a file imports: in functions and under TYPE_CHECKING, too.

    Importing ``a.b`` runs ``a`` first. From inside ``a`` that is no new arrow, for ``a`` is being imported already.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            targets = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - statement.level] if statement.level else []
            base = ".".join([*above, *([statement.module] if statement.module else [])])
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in statement.names]
        else:
            continue
        for target in targets:
            while target and target not in known:
                target = target.rpartition(".")[0]
            if target and target != name:
                yield target


def graph(root: Path) -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    known = modules(root)
    return {name: set(imports(name, path, known)) for name, path in known.items()}


def layer(name: str) -> str:
    """The layer of a module: the folder or file directly in tapegrad/; the package itself is "public"."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "public"


def wrong_arrows(arrows: Mapping[str, set[str]]) -> list[str]:
    """The imports that no direction allows."""
    wrong = []
    for name, targets in arrows.items():
        if layer(name) == "public":
            continue
        if layer(name) not in DIRECTIONS:
            wrong.append(f"{name} belongs to no layer")
            continue
        allowed = DIRECTIONS[layer(name)] | {layer(name), *EVERYBODYS}
        for target in sorted(targets):
            if not {layer(target), target.removeprefix("tapegrad.")} & allowed:
                wrong.append(f"{name} imports {target}")
    return wrong


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in turn, or nothing."""
    done: set[str] = set()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for target in sorted(arrows[name]):
                if found := search(target, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in arrows if (found := search(name, []))), [])


def lines(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines(path: Path) -> int:
    """The lines of a file that are code: neither blank, nor comment, nor docstring."""
    text = path.read_text(encoding="utf-8")
    prose: set[int] = set()
    for n in ast.walk(ast.parse(text)):
        if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(n) is not None:
            prose.update(range(n.body[0].lineno, n.body[0].end_lineno + 1))
    code = [line for i, line in enumerate(text.splitlines(), 1) if i not in prose]
    return sum(1 for line in code if line.strip() and not line.strip().startswith("#"))


def sizes(root: Path) -> dict[str, tuple[int, int]]:
    """What is measured -> its lines, and how many it may have."""
    tapegrad, measured = root / "tapegrad", {}
    measured["tapegrad/engine"] = (sum(map(code_lines, (tapegrad / "engine").rglob("*.py"))), ENGINE)
    for path in modules(root).values():
        measured[str(path.relative_to(root))] = (lines(path), MODULE)
    for path in sorted((tapegrad / "rules").rglob("*.py")):
        formulas = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Lambda)]
        for n in formulas:
            where = f"the formula at {path.relative_to(root)}:{n.lineno}"
            measured[where] = (n.end_lineno - n.lineno + 1, FORMULA)
    return measured


def made_by_rule(tree: ast.Module) -> set[str]:
    """The names of a module's ops: assigned from ``rule(...)``, or functions that ``@rule`` decorates."""
    names = set()
    for n in tree.body:
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name):
            name, calls = n.targets[0].id, [n.value]
        elif isinstance(n, ast.FunctionDef):
            name, calls = n.name, n.decorator_list
        else:
            continue
        if any(isinstance(c, ast.Call) and isinstance(c.func, ast.Name) and c.func.id == "rule" for c in calls):
            names.add(name)
    return names


def forwarding(path: Path) -> Iterator[int]:
    """The lines of formulas that only hand their parameters on to a function, which should stand there itself.

    A call of an op is exempt: its first argument is not called ``g``, as a formula's must be, and often it is the op
    whose rule this is, which does not exist yet. So is one of torch's functions, for the same reason, and a call that
    renames an argument (``f(g, repeats=dims)``).
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ops = made_by_rule(tree)
    for n in ast.walk(tree):
        if not isinstance(n, ast.Lambda) or not isinstance(n.body, ast.Call):
            continue
        parameters = [a.arg for a in (*n.args.args, *n.args.kwonlyargs)]
        given = [(None, a) for a in n.body.args] + [(k.arg, k.value) for k in n.body.keywords]
        handed_on = all(isinstance(a, ast.Name) and a.id in parameters and name in (None, a.id) for name, a in given)
        called = ast.unparse(n.body.func)
        theirs = called in ops or called.split(".")[0] in {"torch", "F", *parameters}
        if parameters[:1] == ["g"] and given and handed_on and not theirs:
            yield n.lineno


def formulas_that_forward(root: Path) -> list[str]:
    """Where a formula is a lambda around one call of a function with the lambda's own parameters."""
    folders = [root / "tapegrad" / name for name in ("rules", "kernels", "torch_api")]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [f"{path.relative_to(root)}:{line}" for path in files for line in forwarding(path)]


def report(root: Path) -> str:
    """The directions and the sizes that are held, as a table."""
    held = sizes(root)
    formulas = [size for where, (size, _) in held.items() if where.startswith("the formula")]
    count = {name: sum(layer(module) == name for module in modules(root)) for name in DIRECTIONS}
    rows = ["layer      files  may import, besides errors", "-" * 60]
    rows += [f"{name:10s} {count[name]:5d}  {', '.join(sorted(DIRECTIONS[name])) or '-'}" for name in DIRECTIONS]
    rows += ["", "lines                              at most", "-" * 60]
    rows += [f"tapegrad/engine, code {held['tapegrad/engine'][0]:12d}  {ENGINE:7d}"]
    module = max((size, where) for where, (size, most) in held.items() if most == MODULE)
    rows += [f"the longest module    {module[0]:12d}  {MODULE:7d}  {module[1]}"]
    rows += [f"the longest formula   {max(formulas, default=0):12d}  {FORMULA:7d}  of {len(formulas)}"]
    return "\n".join(rows)


def check(root: Path) -> None:
    """Hold the directions, the absence of circles, the sizes, and that no formula only forwards its arguments."""
    arrows = graph(root)
    wrong = wrong_arrows(arrows)
    if found := circle(arrows):
        wrong.append("a circle: " + " -> ".join(found))
    wrong += [f"{what} has {size} lines, at most {most}" for what, (size, most) in sizes(root).items() if size > most]
    wrong += [
        f"the formula at {where} only forwards: write the function itself" for where in formulas_that_forward(root)
    ]
    assert not wrong, "\n".join([*wrong, "", report(root)])


def test_the_layers():
    print("\n" + report(ROOT))
    check(ROOT)


# --- the test itself ---


@pytest.fixture
def house(tmp_path):
    """A copy of the code, to plant faults in."""
    for name in ("tapegrad", "viz"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "from tapegrad.rules import elementwise",
        "from tapegrad.rules.elementwise import mul",
        "import tapegrad.rules.elementwise",
        "from ..rules import elementwise",
        "def late():\n    from tapegrad.rules import elementwise",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tapegrad import rules",
    ],
)
def test_an_import_from_the_engine_to_the_rules_is_found(house, text):
    plant(house / "tapegrad" / "engine" / "walk.py", f"\n{text}\n")
    with pytest.raises(AssertionError, match=r"tapegrad\.engine\.walk imports tapegrad\.rules"):
        check(house)


def test_a_circle_within_a_layer_is_found(house):
    engine = house / "tapegrad" / "engine"
    plant(engine / "tape.py", "\n\ndef late():\n    from tapegrad.engine.walk import walk\n\n    return walk\n")
    plant(engine / "walk.py", "\nfrom tapegrad.engine import tape as planted\n")
    with pytest.raises(AssertionError, match=r"a circle: .*tapegrad\.engine\.(walk|tape) -> tapegrad\.engine\."):
        check(house)


def test_a_module_of_no_layer_is_found(house):
    (house / "tapegrad" / "stray.py").write_text("")
    with pytest.raises(AssertionError, match=r"tapegrad\.stray belongs to no layer"):
        check(house)


def test_what_is_too_long_is_found(house):
    plant(house / "tapegrad" / "engine" / "walk.py", "x = 1\n" * ENGINE)
    plant(
        house / "tapegrad" / "rules" / "elementwise.py", "\nlong = lambda g: (\n    g\n    + 1\n    + 2\n    + 3\n)\n"
    )
    with pytest.raises(AssertionError) as caught:
        check(house)
    for what in (
        r"tapegrad/engine has",
        r"tapegrad/engine/walk.py has",
        r"the formula at tapegrad/rules/elementwise.py",
    ):
        assert what in str(caught.value)


def test_a_formula_that_only_forwards_is_found(house):
    plant(
        house / "tapegrad" / "rules" / "reduction.py", "\nx = rule(torch.floor, input=lambda g, out: split(g, out))\n"
    )
    with pytest.raises(AssertionError, match=r"the formula at tapegrad/rules/reduction\.py:\d+ only forwards"):
        check(house)


@pytest.mark.parametrize(
    ("formula", "forwards"),
    [
        ("lambda g, indices, input_shape, dim: route(g, indices, input_shape, dim)", True),
        ("lambda g, out: half(g, out=out)", True),
        ("lambda g, out: elementwise.half(g, out)", True),
        ("lambda g: planted(g)", False),  # the op itself
        ("lambda g, dim0, dim1: g.transpose(dim0, dim1)", False),
        ("lambda g, input_shape: torch.reshape(g, input_shape)", False),
        ("lambda g, dims, input_shape: copies(g, repeats=dims, input_shape=input_shape)", False),
        ("lambda g, input: half(g, input, 2)", False),
        ("lambda g, out, input: half(g * out, input)", False),
    ],
)
def test_forwarding_is_told_from_a_formula(tmp_path, formula, forwards):
    (tmp_path / "planted.py").write_text(f"planted = rule(torch.floor, input={formula})\n")
    assert bool(list(forwarding(tmp_path / "planted.py"))) == forwards
