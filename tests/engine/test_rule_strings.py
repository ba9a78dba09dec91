"""Nothing that comes from a user's strings or objects is ever run as code: names, argument lists, defaults."""

from __future__ import annotations

import builtins
import functools
import inspect
import math
from enum import IntEnum

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import rule
from tapegrad.engine.table import TABLE
from tests.helpers import ours, randn

NAMES = [
    "a\nb", "a\rb", "a\0b", "a\u2028b", "a\u0085b", "a\fb", "", " ", "a b", "'", '"', '"""', "'''", "{x}", "{", "}",
    "%s", "\\", "\\n",
    "#", "lambda", "def", "None", "__import__('os').abort()", "é", "𝒳", "²", "1a", "x" * 5000,
    "x\n    raise SystemExit\n",
    "):\n    raise SystemExit\n#", "\ud800", "\x1b[2J", "\u202e",
]  # fmt: skip


class Hostile:
    """An object whose text is code, and which nobody should ask for it."""

    def __repr__(self) -> str:
        raise SystemExit("asked how it prints")

    __str__ = __repr__


class Code(str):
    """A name that says one thing and formats as another."""

    def __str__(self) -> str:
        return "x\n    raise SystemExit\n"

    def __format__(self, spec: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)

    def isidentifier(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _table():
    """Leave the table as it was: tests of all its entries may run next in this process."""
    before = set(map(id, TABLE))
    yield
    for function in [f for f in TABLE if id(f) not in before]:
        del TABLE[function]


@pytest.fixture(autouse=True)
def _nothing_is_run(monkeypatch):
    """What a text that became code would call."""

    def ran(*args, **kwargs):
        raise SystemExit("code was run")

    monkeypatch.setattr(builtins, "breakpoint", ran)


def use(op, factor=2.0, calls=24):
    """Everything that writes source, or text, about an op: its road, its walk, the tape, the picture, the replay."""
    for _ in range(calls):  # after some 20 the walk is written out
        x = ours(torch.ones(3))
        (op(x) * 3).sum().backward()
        assert x.grad.tolist() == [3 * factor] * 3
        x = ours(torch.ones(3))
        op(x).backward(torch.ones(3))
        assert x.grad.tolist() == [factor] * 3
    loss = (op(x) * 3).sum()
    assert "\n" not in repr(op) + repr(loss.record) + repr(op(x).record)
    tape = tapegrad.tape(loss, names={"x": x})
    assert len(str(tape).splitlines()) == 2 + 1 + len(tape)
    for style in ("plain", "exact"):
        text = tape.source(style=style, names={"x": x})
        scope = {}
        exec(compile(text, "<source>", "exec"), scope)
        grads = scope["backward"](**tape.bindings(style=style, names={"x": x}))
        assert grads["x"].tolist() == [3 * factor] * 3
    assert "digraph" in tapegrad.viz.draw(loss, names={"x": x}).source
    assert tapegrad.compare(loss, names={"x": x}).exact


@pytest.mark.parametrize("name", [*NAMES, Code("double")], ids=[*map(ascii, NAMES), "a subclass of str"])
def test_a_functions_name_is_no_code(name):
    def double(x):
        return x * 2

    double.__name__ = double.__qualname__ = name
    use(rule(x=lambda g: g * 2)(double))


def test_a_name_that_a_rule_of_ours_makes_fast_is_no_code():
    """A formula from this package makes a user's op one of those whose road is written out."""
    from tapegrad.rules.elementwise import neg

    for name in NAMES:

        def negated(input):
            return -input

        negated.__name__ = name
        use(rule(input=neg.formulas["input"])(negated), -1.0, calls=1)


class Named:
    """A callable whose name is whatever it is told to be."""

    def __init__(self, name):
        self.name = name

    @property
    def __name__(self):
        if isinstance(self.name, Exception):
            raise self.name
        return self.name

    def __call__(self, x, other=Hostile()):  # noqa: B008 - it is one object that is meant
        return x * 2


@pytest.mark.parametrize("name", [None, 3, b"x", "a\nb", AttributeError("none")], ids=ascii)
def test_callable_objects(name):
    use(rule(x=lambda g: g * 2)(Named(name)))


def test_an_object_that_cannot_say_what_it_takes_is_refused():
    class Unsigned(Named):
        @property
        def __signature__(self):
            raise RuntimeError("no signature")

    with pytest.raises(TypeError, match=r"cannot read the arguments of Unsigned: no signature; write them as in"):
        rule(x=lambda g: g * 2)(Unsigned(None))
    use(rule(Unsigned(None), "x", x=lambda g: g * 2))  # the way out


def test_partials():
    use(rule(x=lambda g: g * 2)(functools.partial(lambda x, k: x * k, k=2)))
    use(rule(x=lambda g: g * 2)(functools.partial(lambda k, x: x * k, 2)))


@pytest.mark.parametrize("default", [math.inf, -math.inf, math.nan, Hostile(), object(), {"a": Hostile()}, Code("x")])
def test_defaults_are_the_objects_themselves(default):
    seen = []

    @rule(x=lambda g, high: seen.append(high) or g * 2)
    def double(x, low=default, *, high=default):
        seen.extend([low, high])
        return x * 2

    x = ours(torch.ones(3))
    double(x).sum().backward()
    assert all(value is default for value in seen)
    assert len(seen) == 3
    assert repr(double) == "<op double(x, low, high)>"


def test_names_of_arguments_are_identifiers():
    class Function:
        def __call__(self, *args):
            return args[0] * 2

    function = Function()
    for name in ("x=breakpoint()", "x: breakpoint()", "lambda", "", "x\ny"):
        parameter = inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameter._name = name
        function.__signature__ = inspect.Signature([parameter])
        with pytest.raises(TypeError, match="cannot read the arguments"):
            rule(**{name: lambda g: g * 2})(function)
    parameter._name = Code("x=breakpoint()")
    function.__signature__ = inspect.Signature([parameter])
    with pytest.raises(TypeError):
        rule(**{"x=breakpoint()": lambda g: g * 2})(function)


def test_names_of_arguments_that_python_reads_as_others():
    """To the parser ``ﬁ`` is ``fi``: so it is in the source of a walk."""

    class Function:
        __signature__ = inspect.Signature([inspect.Parameter("ﬁ", inspect.Parameter.POSITIONAL_OR_KEYWORD)])

        def __call__(self, x):
            return x * 2

    use(rule(fi=lambda g: g * 2)(Function()))


@pytest.mark.parametrize(
    "taken", "flat saved parent formula shapes g out self op record road run node_1 raw_1 torch".split()
)
def test_arguments_may_have_names_that_the_source_uses(taken):
    scope = {"torch": torch}
    exec(f"def double({taken}, *sizes): return {taken} * 2", scope)  # a function that a user has written so
    op = rule(**{taken: lambda g: g * 2})(scope["double"])
    use(lambda x: op(x, 1))


@pytest.mark.parametrize(
    "text",
    [
        "input=breakpoint()",
        "input=[breakpoint() for _ in '1']",
        "input=(lambda: breakpoint())()",
        "input=f'{breakpoint()}'",
        "input=torch.save.__globals__['os'].abort()",
        "input: breakpoint() = None",
        "input: None, (breakpoint())",
        "input: (breakpoint(), lambda x",
        "input=(x := breakpoint())",
        "input, *, y=[*breakpoint()]",
        "input=__builtins__",
        "input=breakpoint",
        "input=torch.nothing_of_the_kind",
        "input, input",
        "input,, dim",
        "input=\0",
        "(" * 5000,
        "**keywords",
        "1",
        "input\nbreakpoint()",
    ],
)
def test_an_argument_list_runs_no_code(text):
    with pytest.raises(TypeError, match=r"write them as in 'input, dim=None'|name each argument"):
        rule(lambda input: input * 2, text, input=lambda g: g * 2)


def test_an_argument_list_may_have_names_and_lines():
    op = rule(
        lambda x, low, high, dtype, sizes: x.clamp(low, high),
        "x, /, low=-math.inf,\n high=math.inf, *, dtype=torch.float32, sizes=(1, -2)",
        x=lambda g: g,
    )
    values = {n: p.default for n, p in op.signature.parameters.items()}
    assert values == {
        "x": inspect.Parameter.empty,
        "low": -math.inf,
        "high": math.inf,
        "dtype": torch.float32,
        "sizes": (1, -2),
    }


@pytest.mark.parametrize("aux", ["indices", ["a\nb"], ["out, breakpoint()"], [3], [Code("x")], [""]], ids=ascii)
def test_names_of_auxiliary_outputs(aux):
    with pytest.raises(TypeError, match="aux is a list of names"):
        rule(aux=aux, x=lambda g: g * 2)(lambda x: (x * 2, x))


def test_a_formula_that_does_not_say_what_it_needs():
    with pytest.raises(TypeError, match=r"gradient of x: neg does not say what it needs; write a lambda around it"):
        rule(x=torch.neg)(lambda x: -x)
    use(rule(x=lambda g: torch.neg(g))(lambda x: -x), -1.0)


# --- source: repr is not source ---


class Two(float):
    def __repr__(self) -> str:
        return "breakpoint()"

    __str__ = __repr__


class Count(int):
    __repr__ = __str__ = Two.__repr__


class Level(IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * Two(2.0),
        lambda x: x ** Two(2.0),
        lambda x: F.leaky_relu(x, Two(0.5)),
        lambda x: x.sum(Count(0)),
        lambda x: x.unsqueeze(Level.LOW),
        lambda x: x[Level.LOW :],
        lambda x: x[Level.LOW],
        lambda x: x.view(Count(3), Level.LOW),
        lambda x: F.mse_loss(x, torch.ones(3), reduction=Code("sum")),
        lambda x: x.clamp(max=Two(0.5)),
    ],
)
def test_numbers_that_print_as_code(function):
    x = ours(randn(3))
    loss = function(x).sum()
    tape = tapegrad.tape(loss, names={"x": x})
    for style in ("plain", "exact"):
        scope = {}
        text = tape.source(names={"x": x}, style=style, forward=True)
        assert not any(word in text for word in ("breakpoint", "SystemExit", "Level"))
        exec(compile(text, "<source>", "exec"), scope)
        _, saved = scope["forward"](**tape.bindings(names={"x": x}, style=style, forward=True))
        torch.testing.assert_close(scope["backward"](**saved)["x"], tapegrad.grad(loss, x, retain_graph=True)[0])
    assert "breakpoint" not in tapegrad.viz.draw(loss, names={"x": x}).source


@pytest.mark.parametrize("key", ["a\nb", "]; breakpoint() #", '"""', "\0", "é", "𝒳", Code("w"), "x" * 5000, ""])
def test_keys_of_names_are_no_code(key):
    x = ours(randn(3))
    y = x * 2
    loss = (y * y).sum()
    for names in ({"p": {key: y}, "x": x}, {key: y, "x": x}):
        tape = tapegrad.tape(loss, names=names)
        for style in ("plain", "exact"):
            scope = {}
            exec(compile(tape.source(names=names, style=style, forward=True), "<source>", "exec"), scope)
            _, saved = scope["forward"](**tape.bindings(names=names, style=style, forward=True))
            grads = scope["backward"](**saved)
            assert torch.allclose(grads["x"], 8 * x.data)
        assert "digraph" in tapegrad.viz.draw(loss, names=names).source
        str(tape)


# --- one operator, three objects ---


def test_a_custom_op_answers_to_all_its_names():
    @torch.library.custom_op("tapegradtest::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    op = rule(double, "x", x=lambda g: g * 2)
    for function in (op, double, torch.ops.tapegradtest.double, torch.ops.tapegradtest.double.default):
        x = ours(randn(3))
        function(x).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0, 2.0]
