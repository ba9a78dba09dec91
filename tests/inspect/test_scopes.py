"""Naming looks at the user's variables, whatever they are, and runs no code of theirs."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from types import SimpleNamespace

import pytest

import tapegrad
from tapegrad.inspect.names import tensors_in
from tests.helpers import ours, randn


def refuse(*args, **kwargs):
    raise SystemExit("a user's code was run")


SPECIAL = """__dict__ __iter__ __len__ __getattr__ __getattribute__ __eq__ __hash__ __class__ __repr__ __str__ __bool__
    __contains__ __getitem__ __format__ __instancecheck__ __index__ __next__ __reversed__ keys values items shape dtype
    record _data requires_grad __torch_function__ __array__ __slots__""".split()


def hostile(name, base=object):
    """An object of which one thing raises: as a method and as a property."""
    member = property(refuse) if name in ("__dict__", "__class__") else refuse
    if name == "__slots__":
        member = ()
    made = type("Hostile", (base,), {name: member})
    return base.__new__(made)


BASES = [
    object,
    list,
    dict,
    tuple,
    set,
    str,
    int,
    float,
    Exception,
    SimpleNamespace,
    collections.OrderedDict,
    collections.UserDict,
]


class Meta(type):
    """A class of classes that says nothing true."""

    __mro__ = property(refuse)
    __dict__ = property(refuse)
    __name__ = property(refuse)
    __instancecheck__ = __subclasscheck__ = __hash__ = __eq__ = __getattr__ = refuse


def asked(scope):
    """Ask for names in a scope of one's own, without handing it in."""
    x = ours(randn(3))
    scope = {**scope, "x": x, "loss": (x * x).sum(), "tapegrad": tapegrad}
    exec(
        "tape = tapegrad.tape(loss)\ntext = tape.source()\ntable = tapegrad.compare(loss)\n"
        "picture = tapegrad.viz.draw(loss, values=True)",
        scope,
    )
    assert "dx = " in scope["text"]
    assert "x " in str(scope["tape"])
    assert "<b>x</b>" in scope["picture"].source
    assert "x " in str(scope["table"])


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
@pytest.mark.parametrize("name", SPECIAL)
def test_a_variable_of_which_something_raises(base, name):
    try:
        value = hostile(name, base)
    except TypeError:
        pytest.skip("Python does not allow such a class")
    asked({"value": value, "inside": [value, {"key": value}, (value,)], "held": SimpleNamespace(value=value)})


def test_classes_of_classes():
    value = Meta("Of", (), {})
    asked({"value": value, "one": value.__new__(value), "inside": [value]})


def test_a_dict_that_is_a_property_hides_nothing_else():
    class Lazy:
        @property
        def __dict__(self):
            refuse()

    asked({"value": Lazy()})


@pytest.mark.parametrize(
    "value",
    [
        itertools.count(),
        iter(int, 1),
        (refuse() for _ in itertools.count()),
        range(10**12),
        collections.defaultdict(refuse),
        [[[0] * 50 for _ in range(200)] for _ in range(200)],
        {i: {j: dict.fromkeys(range(50)) for j in range(250)} for i in range(20)},
        list(range(10**6)),
        dict.fromkeys(range(10**6)),
        SimpleNamespace(**{f"a{i}": i for i in range(10**5)}),
        {10**5000: 1, -(10**5000): 2, "x" * 10**6: 3, float("nan"): 4, (1, ("a", (2,))): 5, frozenset(): 6},
    ],
    ids=[
        "count",
        "iter",
        "generator",
        "range",
        "defaultdict",
        "deep lists",
        "deep dicts",
        "list",
        "dict",
        "namespace",
        "keys",
    ],
)
def test_what_is_endless_or_huge_takes_no_time(value):
    x = ours(randn(3))
    start = time.perf_counter()
    assert ("x", x) in [(name, t) for name, t in tensors_in({"value": value, "x": x}) if t is x]
    assert time.perf_counter() - start < 1
    if not hasattr(value, "__len__") or len(value) < 1000:
        asked({"value": value})


def test_cycles():
    inside: list = []
    inside.append(inside)
    around: dict = {"inside": inside}
    around["around"] = around
    itself = SimpleNamespace(around=around)
    itself.itself = itself
    asked({"inside": inside, "around": around, "itself": itself})


def test_keys_that_are_no_plain_values():
    class Key:
        __repr__ = __str__ = __eq__ = refuse
        __hash__ = object.__hash__

    x, y = ours(randn(3)), ours(randn(3))
    asked({"value": {Key(): y, (Key(),): y}})
    found = dict(tensors_in({"value": {Key(): y, "w": x, 3: x, ("a", 1): x, (): y, None: y}}))
    assert [*found] == ["value['w']", "value[3]", "value[('a', 1)]", "value[()]", "value[None]"]


def test_names_in_a_module_that_are_no_strings():
    class Name(str):
        __slots__ = ()
        __eq__ = startswith = refuse
        __hash__ = str.__hash__

    asked({3: 1, None: 2, Name("name"): 3})


def test_scopes_that_are_no_dicts():
    class Scope(dict):
        __getitem__ = dict.__getitem__
        __iter__ = items = keys = __len__ = refuse

    x = ours(randn(3))
    own = Scope(x=x, loss=(x * x).sum(), tapegrad=tapegrad)
    exec("tape = tapegrad.tape(loss)\ntext = tape.source()", {}, own)
    assert "dx = " in dict.__getitem__(own, "text")

    class Other(collections.UserDict):
        __iter__ = items = keys = __len__ = refuse

    other = Other()
    other.data.update(x=x, loss=(x * x).sum(), tapegrad=tapegrad)
    exec("tape = tapegrad.tape(loss)\ntext = tape.source()", {}, other)
    assert "dleaf_0 = " in other.data["text"]


def test_names_that_are_given_must_be_strings():
    x = ours(randn(3))
    with pytest.raises(TypeError, match="names: a name must be a string, not 3, a int"):
        tapegrad.tape((x * x).sum(), names={3: x})


@pytest.mark.parametrize("names", [["x"], "x", 3, {"x"}, iter("x"), SimpleNamespace(x=1), itertools, dict])
def test_names_that_are_given_must_be_a_dict(names):
    x = ours(randn(3))
    loss = (x * x).sum()
    for read in (tapegrad.tape, tapegrad.compare, tapegrad.viz.draw, lambda t, names: tapegrad.tape(t).source(names)):
        with pytest.raises(TypeError, match=r"^names: expected a dict .*such as locals\(\) or \{'x': x\}, not a"):
            read(loss, names=names)


def test_what_is_found_is_what_was_found():
    """In lists, tuples, dicts, named tuples, namespaces and objects, three steps deep."""
    pair = collections.namedtuple("pair", "a b")
    t = [ours(randn(3)) for _ in range(8)]

    class Layer:
        def __init__(self):
            self.weight, self._hidden = t[0], t[1]

    class Slotted:
        __slots__ = ("weight",)

    slotted = Slotted()
    slotted.weight = t[7]
    scope = {
        "net": SimpleNamespace(layers=[Layer()]), "p": pair(t[2], t[3]), "d": {"k": t[4]}, "l": [t[5]],
        "deep": [[[t[6]]]], "_private": t[1], "slotted": slotted,
    }  # fmt: skip
    number = {id(value): i for i, value in enumerate(t)}
    found = [(name, number[id(value)]) for name, value in tensors_in(scope)]
    assert found == [("p[0]", 2), ("p[1]", 3), ("d['k']", 4), ("l[0]", 5)]
    assert [name for name, _ in tensors_in({"layers": [Layer()]})] == ["layers[0].weight"]


def test_variables_that_change_meanwhile():
    """Another thread adds variables, keys and attributes all the time."""
    scope = {"held": SimpleNamespace(), "table": {}, "items": []}
    done = threading.Event()

    def change():
        for i in itertools.count():
            if done.is_set():
                return
            scope["held"].__dict__[f"a{i % 50}"] = i
            scope["held"].__dict__.pop(f"a{(i + 25) % 50}", None)
            scope["table"][i % 50] = i
            scope["table"].pop((i + 25) % 50, None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2000):
            list(tensors_in(scope))
    finally:
        done.set()
        thread.join()
