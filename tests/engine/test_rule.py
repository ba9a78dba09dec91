"""Writing a rule: for a function of one's own or of torch's, without touching the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tapegrad
from tapegrad.engine.table import TABLE
from tapegrad.torch_api.composition import composition
from tests.helpers import assert_same, ours, randn, theirs

CLOSED_OVER = tapegrad.tensor(torch.ones(3), requires_grad=True)


@pytest.fixture(autouse=True)
def _the_table_as_it_was():
    before = dict(TABLE)
    yield
    TABLE.clear()
    TABLE.update(before)


# --- a function of one's own ---


def test_a_straight_through_estimator():
    @tapegrad.rule(x=lambda g: g)
    def straight_through(x):
        return x.round()

    x = ours(randn(3))
    y = straight_through(x * 2)
    assert torch.equal(y.data, (x.data * 2).round())
    (y * 3).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0, 6.0]


def test_a_formula_may_ask_for_everything():
    @tapegrad.rule(
        x=lambda g, out, x, y, scale, x_shape: (g * y * scale * out / out * x / x).expand(x_shape),
        y=lambda g, y_shape, x, scale: g * x * scale,
    )
    def scaled(x, y, scale=2.0):
        return x * y * scale

    x, y = ours(randn(2, 3)), ours(randn(3, seed=1))
    assert tapegrad.gradcheck(lambda x, y: scaled(x, y, scale=0.5), [x, y])
    assert tapegrad.gradcheck(scaled, [x, y])


def test_a_rule_never_unbroadcasts():
    @tapegrad.rule(x=lambda g, y: g * y, y=lambda g, x: g * x)
    def times(x, y):
        return x * y

    assert tapegrad.gradcheck(times, [ours(randn(3, 1)), ours(randn(2))], order=2)


def test_only_what_is_asked_for_is_saved():
    @tapegrad.rule(x=lambda g, y: g * y)
    def times(x, y):
        return x * y

    x, y = ours(randn(3)), randn(3, seed=1)
    out = times(x, y)
    x.data.add_(1)  # no rule needs it
    out.sum().backward()
    out = times(x, y)
    y.add_(1)
    with pytest.raises(tapegrad.StaleTensor, match=r"times needs its y"):
        out.sum().backward()


def test_only_the_gradients_that_somebody_needs_are_computed():
    asked = []

    @tapegrad.rule(x=lambda g: asked.append("x") or g, y=lambda g: asked.append("y") or g)
    def plus(x, y):
        return x + y

    plus(ours(randn(3)), tapegrad.tensor(randn(3))).sum().backward()
    assert asked == ["x"]


@pytest.mark.parametrize("nothing", [None, 1.0, "g", np.ones(3), (1, 2)], ids=str)
def test_a_formula_must_return_a_tensor(nothing):
    """With None there would be no gradient, and nobody would hear of it."""

    @tapegrad.rule(x=lambda g: nothing, y=lambda g: g)
    def second(x, y):
        return y * 1

    x, y = ours(randn(3)), ours(randn(3))
    with pytest.raises(TypeError, match=r"rule for second, gradient of x: it returned \w+, not a tensor"):
        second(x, y).sum().backward()
    assert x.grad is None
    assert y.grad is None


def test_a_formula_must_return_real_numbers(road):
    """torch's cast would drop the imaginary part, and with it the gradient."""

    @tapegrad.rule(x=lambda g: g * 2j)
    def twice(x):
        return x * 2

    x = ours(randn(3))
    for _ in range(30):
        with pytest.raises(
            RuntimeError,
            match=r"rule for twice, gradient of x: it returned .*complex128 .* cannot be cast",
        ):
            twice(x).sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("nothing", [None, [None, 1.0], 1.0, [torch.ones(3).double()]], ids=str)
def test_a_formula_must_return_a_gradient_for_each_of_a_sequence(nothing):
    @tapegrad.rule(xs=lambda g: nothing)
    def plus(xs):
        return xs[0] + xs[1]

    x, y = ours(randn(3)), ours(randn(3))
    with pytest.raises(TypeError, match=r"rule for plus, gradient of xs: "):
        plus([x, y]).sum().backward()
    assert x.grad is None
    assert y.grad is None


def test_sequences_of_tensors():
    @tapegrad.rule(xs=lambda g, xs, weights: [g * w for w in weights])
    def weighted(xs, weights):
        return sum(x * w for x, w in zip(xs, weights, strict=True))

    xs = [ours(randn(3, seed=k)) for k in range(3)]
    weighted(xs, [1.0, 2.0, 3.0]).sum().backward()
    assert [x.grad[0].item() for x in xs] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("rest", [(), (1, 2), ((1, 2),), ([1, 2],), ((),), (torch.Size([2, 3]),)])
def test_starred_arguments_reach_the_function_as_they_were_given(rest):
    @tapegrad.rule(x=lambda g, rest, scale: g * (len(rest) * scale))
    def times(x, *rest, scale=2):
        assert rest == given
        return x * (len(rest) * scale)

    given, x = rest, ours(randn(3))
    for _ in range(6):  # on every road
        x.grad = None
        out = times(x, *rest, scale=3)
        out.sum().backward()
        assert torch.equal(out.data, x.data * (3 * len(rest)))
        assert torch.equal(x.grad, torch.full((3,), 3.0 * len(rest)))


def test_starred_tensors():
    @tapegrad.rule(tensors=lambda g, tensors: [g * i for i, _ in enumerate(tensors)])
    def weighted(*tensors):
        return sum(i * t for i, t in enumerate(tensors))

    x, y, z = ours(randn(3)), randn(3), ours(randn(3))
    comparison = tapegrad.compare(weighted(x, y, z, x).sum())
    assert comparison.exact
    weighted(x, y, z, x).sum().backward()
    assert torch.equal(x.grad, torch.full((3,), 3.0))
    assert torch.equal(z.grad, torch.full((3,), 2.0))


def test_sequences_with_constants_and_shapes():
    @tapegrad.rule(xs=lambda g, xs_shape: [g.sum().expand(s) for s in xs_shape])
    def grand_total(xs):
        return sum(x.sum() for x in xs)

    a, b = ours(randn(2)), ours(randn(3, 2))
    grand_total([a, randn(4), b]).backward()
    assert a.grad.shape == (2,)
    assert b.grad.shape == (3, 2)
    assert tapegrad.gradcheck(lambda a, b: grand_total([a, randn(4), b]), [a, b], order=2)


def test_auxiliary_outputs():
    @tapegrad.rule(aux=["mask"], x=lambda g, mask: torch.where(mask, g, 0.0))
    def positive(x):
        mask = x > 0
        return torch.where(mask, x, 0.0), mask

    x = ours(randn(5))
    out, mask = positive(x)
    assert isinstance(out, tapegrad.Tensor)
    assert type(mask) is torch.Tensor
    out.sum().backward()
    assert torch.equal(x.grad, (x.data > 0).double())


def test_second_derivatives_come_from_the_formula():
    @tapegrad.rule(x=lambda g, x: g * 3 * x**2)
    def cube(x):
        return x**3

    x = ours(randn(3))
    assert tapegrad.gradcheck(cube, x, order=3)


def test_a_kernel_takes_the_formulas_place_on_raw_tensors():
    calls = []

    @tapegrad.rule(x=lambda g, x: calls.append("formula") or g * 2 * x)
    def squared(x):
        return x * x

    tapegrad.kernel(squared, x=lambda g, x: calls.append("kernel") or g * (x + x))
    x = ours(randn(3))
    squared(x).sum().backward()
    assert calls == ["kernel"]
    (g,) = tapegrad.grad(squared(x).sum(), x, create_graph=True)
    assert calls == ["kernel", "formula"]
    assert_same(g.data, x.grad, "formula and kernel", rtol=1e-15)


def test_an_op_is_an_ordinary_function():
    @tapegrad.rule(x=lambda g: g * 2)
    def doubled(x, *, offset=0.0):
        """Twice x."""
        return x * 2 + offset

    assert doubled.__doc__ == "Twice x."
    assert doubled.__name__ == "doubled"
    assert "doubled" in repr(doubled)
    raw = randn(3)
    assert torch.equal(doubled(raw, offset=1.0), raw * 2 + 1)  # torch tensors in, torch tensor out
    assert type(doubled(raw)) is torch.Tensor
    assert not doubled(tapegrad.tensor(raw)).requires_grad
    with torch.no_grad():
        assert not doubled(ours(raw)).requires_grad
    with pytest.raises(TypeError, match="doubled"):
        doubled()
    with pytest.raises(TypeError, match="colour"):
        doubled(raw, colour=3)


def test_annotations_and_defaults_in_a_signature():
    @tapegrad.rule(x=lambda g, k: g * k)
    def times(x: torch.Tensor, k: float = 2.0) -> torch.Tensor:
        return x * k

    assert tapegrad.gradcheck(times, ours(randn(3)))


def test_the_record_bears_the_name():
    @tapegrad.rule(x=lambda g: g)
    def my_op(x):
        return x * 1

    y = my_op(ours(randn(3)))
    assert "my_op" in str(tapegrad.tape(y))
    assert "op=<my_op>" in repr(y)


def test_compare_checks_a_rule_of_ones_own():
    """The function runs on torch tensors that torch.autograd tracks: its derivative is what torch makes of the body."""

    @tapegrad.rule(x=lambda g, x: g * 2 * x)
    def squared(x):
        return x * x

    @tapegrad.rule(x=lambda g, x: g * x)
    def wrongly_squared(x):
        return x * x

    x = ours(randn(3))
    assert tapegrad.compare(squared(x).sum()).exact
    assert not tapegrad.compare(wrongly_squared(x).sum()).approximate


# --- a function of torch's ---


def test_a_rule_for_a_torch_function():
    x = ours(randn(3))
    assert not isinstance(torch.special.bessel_j0(x), tapegrad.Tensor)  # of torch's, without a gradient
    op = tapegrad.rule(
        torch.special.bessel_j0, "input", input=lambda g, input: -g * torch.special.bessel_j1(input.detach())
    )
    y = torch.special.bessel_j0(x)
    assert y.requires_grad
    assert op.name.endswith("bessel_j0")
    assert tapegrad.gradcheck(torch.special.bessel_j0, x)


def test_a_rule_covers_every_spelling():
    tapegrad.rule(torch.i0, "input", input=lambda g, input: g * torch.special.i1(input.detach()))
    x = ours(randn(3))
    for call in (torch.i0, lambda x: x.i0()):
        y = call(x)
        assert y.requires_grad
        assert torch.equal(y.data, torch.i0(x.data))


def test_a_rule_can_be_replaced():
    x = ours(randn(3))
    tapegrad.rule(torch.exp, "input", input=lambda g: g * 0 + 7)
    torch.exp(x).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0, 7.0]


def test_a_composition_needs_no_rule():
    @composition(torch.special.exprel if hasattr(torch.special, "exprel") else torch.deg2rad)
    def deg2rad(input):
        return input * (torch.pi / 180)

    mine, yours = ours(randn(3)), theirs(randn(3))
    for x in (mine, yours):
        torch.deg2rad(x).sum().backward()
    assert_same(mine.grad, yours.grad, "gradient", rtol=1e-15)


# --- bad rules ---


def test_a_gradient_for_an_unknown_argument():
    with pytest.raises(TypeError, match=r"rule for double: no argument 'y' among \(x\)"):

        @tapegrad.rule(y=lambda g: g)
        def double(x):
            return x * 2


def test_a_formula_that_asks_for_an_unknown_value():
    with pytest.raises(
        TypeError, match=r"rule for double, gradient of x: no value 'z'; a formula may ask for g, out, x"
    ):

        @tapegrad.rule(x=lambda g, z: g)
        def double(x):
            return x * 2


def test_a_formula_without_g():
    with pytest.raises(TypeError, match="first parameter is g, not 'x'"):

        @tapegrad.rule(x=lambda x: x)
        def double(x):
            return x * 2


def test_a_formula_with_another_arguments_shape():
    with pytest.raises(TypeError, match="no value 'y_shape'"):

        @tapegrad.rule(x=lambda g, y_shape: g)
        def plus(x, y):
            return x + y


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lambda x: 3.0, "it returned a float"),
        (lambda x: None, "it returned a NoneType"),
        (lambda x: (x, x), "it returned a tuple"),
        (lambda x: [x], "it returned a list"),
        (lambda x: x.numpy(), "it returned a ndarray"),
        (lambda x: x * CLOSED_OVER, "it returned a tapegrad.Tensor; .* uses a Tensor that is no argument"),
    ],
)
def test_what_a_body_must_return(body, says):
    @tapegrad.rule(x=lambda g: g)
    def planted(x):
        return body(x)

    with pytest.raises(TypeError, match=rf"^planted\(\): it must return a torch\.Tensor; {says}"):
        planted(ours(randn(3)))


def test_a_body_that_closes_over_a_tensor_of_torchs_with_grad():
    foreign = theirs(randn(3))

    @tapegrad.rule(x=lambda g: g)
    def planted(x):
        return x * foreign

    with pytest.raises(tapegrad.ForeignTensor, match=r"^planted\(\): .* must be an argument"):
        planted(ours(randn(3)))


def test_a_body_without_its_auxiliary_output():
    @tapegrad.rule(aux=["index"], x=lambda g: g)
    def planted(x):
        return x * 1

    with pytest.raises(TypeError, match=r"a tuple of 2 torch tensors: its output, then index"):
        planted(ours(randn(3)))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("formula", "says"),
    [
        (lambda g: g.data.to_sparse(), r"layout torch\.sparse_coo, .*to_dense"),
        (lambda g: g.data.to("meta"), "on the meta device"),
        (lambda g: None, "returned NoneType"),
        (lambda g: 3.0, "returned float"),
        (lambda g: (g, g), "returned tuple"),
    ],
)
def test_a_gradient_of_another_kind(formula, says, create_graph):
    @tapegrad.rule(x=formula)
    def planted(x):
        return x * 2

    x = ours(randn(3))
    with pytest.raises(TypeError, match=rf"^rule for planted, gradient of x: .*{says}"):
        tapegrad.grad(planted(x).sum(), [x], create_graph=create_graph)


def test_an_error_in_a_formula_tells_whose_it_is():
    @tapegrad.rule(x=lambda g, x: g.nothing)
    def planted(x):
        return x * 2

    with pytest.raises(AttributeError) as caught:
        planted(ours(randn(3))).sum().backward()
    assert caught.value.__notes__ == ["tapegrad: in the rule for planted, gradient of x, given g (3,), x (3,)"]


@pytest.mark.parametrize("shape", [(5,), (), (3, 4), (1, 5), (1,), (4, 3, 5)])
def test_a_gradient_of_the_wrong_shape(shape):
    @tapegrad.rule(x=lambda g: torch.ones(shape).double())
    def double(x):
        return x * 2

    x = ours(randn(3))
    with pytest.raises(RuntimeError, match=r"gradient of shape .* for an argument of shape \(3,\)"):
        double(x).sum().backward()
    assert x.grad is None


def test_a_sequences_gradients_must_be_as_many():
    @tapegrad.rule(xs=lambda g: [g])
    def plus(xs):
        return xs[0] + xs[1]

    with pytest.raises(TypeError, match="rule for plus, gradient of xs: it must return a list of 2 gradients"):
        plus([ours(randn(3)), ours(randn(3))]).sum().backward()


def test_an_error_in_a_formula_comes_through():
    @tapegrad.rule(x=lambda g: g.no_such_method())
    def double(x):
        return x * 2

    with pytest.raises(AttributeError, match="no_such_method"):
        double(ours(randn(3))).sum().backward()


def test_an_error_in_the_function_comes_through():
    @tapegrad.rule(x=lambda g: g)
    def broken(x):
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        broken(ours(randn(3)))


def test_a_formula_may_work_with_a_tensor_of_ours():
    W = ours(randn(3))

    @tapegrad.rule(x=lambda g: g * W)
    def scaled(x):
        return x * 1

    x = ours(randn(3, seed=1))
    scaled(x).sum().backward()
    assert_same(x.grad, W.data, "gradient")
    assert isinstance(x.grad, torch.Tensor)
    assert isinstance(tapegrad.grad(scaled(x).sum(), x)[0], torch.Tensor)


def test_a_kernel_for_an_unknown_argument():
    op = tapegrad.rule(x=lambda g: g)(lambda x: x * 1)
    with pytest.raises(TypeError, match="it has no formula for the gradient of 'y'"):
        tapegrad.kernel(op, y=lambda g: g)


@pytest.mark.parametrize(("function", "signature"), [(torch.isnan, "input"), (torch.eq, "input, other")])
def test_a_rule_of_yours_for_a_function_that_gives_no_numbers(function, signature):
    before = dict(TABLE)
    try:
        tapegrad.rule(function, signature, input=lambda g, input: torch.zeros_like(input))
        arguments = [ours(randn(3)), ours(randn(3))][: len(signature.split(","))]
        assert type(function(arguments[0], *[a.data for a in arguments[1:]])) is torch.Tensor
    finally:
        TABLE.clear()
        TABLE.update(before)


def test_a_function_without_arguments():
    with pytest.raises(TypeError, match=r"rule for nothing: no argument 'x' among \(\)"):

        @tapegrad.rule(x=lambda g: g)
        def nothing():
            return torch.ones(2)
