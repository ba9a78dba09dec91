"""Values at the edges of functions: poles, ties, underflow, NaN, singular matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tests.helpers import ours, theirs

NAN, INF = math.nan, math.inf
FLOATS = [torch.float32, torch.float64]


def first(function, *values, dtype=torch.float64, create_graph=False):
    """The gradient of a function of one tensor, as a list."""
    x = ours(torch.tensor(values, dtype=dtype))
    (g,) = tapegrad.grad(function(x).sum(), x, create_graph=create_graph)
    return g.tolist()


def second(function, *values, dtype=torch.float64):
    x = ours(torch.tensor(values, dtype=dtype))
    (g,) = tapegrad.grad(function(x).sum(), x, create_graph=True)
    return tapegrad.grad(g.sum(), x)[0].tolist()


def by_torch(function, *values, dtype=torch.float64):
    """torch's, one element at a time: its vector units treat NaN otherwise."""
    x = [theirs(torch.tensor(v, dtype=dtype)) for v in values]
    return [torch.autograd.grad(function(e), e)[0].item() for e in x]


# --- near the ends of the dtype ---


def test_sinc_in_half_precision():
    """Its gradient is -pi**2 x / 3 near 0, to the last digits that float16 has."""
    found = torch.tensor(first(torch.sinc, 1e-4, -1e-3, 0.0, dtype=torch.float16))
    torch.testing.assert_close(found, torch.tensor([-3.290e-4, 3.290e-3, 0.0]), rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize(("dtype", "tiny"), [(torch.float32, 1e-23), (torch.float64, 1e-200)])
def test_sinc_where_the_square_underflows(dtype, tiny):
    assert first(torch.sinc, tiny, -tiny, 0.0, dtype=dtype) == [0.0, 0.0, 0.0]  # of the order of the number itself


@pytest.mark.parametrize("dtype", FLOATS)
def test_sinc_twice_near_0(dtype):
    """Its second derivative at 0 is -pi**2 / 3, where torch has NaN, and for some way nothing near it."""
    curvatures = torch.tensor(second(torch.sinc, 0.0, -0.0, 1e-30, 1e-4, -1e-3, dtype=dtype))
    torch.testing.assert_close(curvatures, torch.full((5,), -(math.pi**2) / 3), rtol=1e-5, atol=1e-5)
    x = torch.linspace(-0.05, 0.05, 21, dtype=torch.float64)
    assert tapegrad.gradcheck(torch.sinc, [ours(x)], order=2)


def test_cosine_embedding_loss_has_torchs_epsilon():
    """1e-12 in single precision, in double too."""
    x, y, target = (
        torch.zeros(3, dtype=torch.float64),
        torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64),
        torch.tensor(1),
    )
    a, b = ours(x), theirs(x)
    F.cosine_embedding_loss(a, y, target).backward()
    F.cosine_embedding_loss(b, y, target).backward()
    assert torch.equal(a.grad, b.grad)


# --- variances ---


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("function", [torch.var, torch.std])
@pytest.mark.parametrize("correction", range(7))
@pytest.mark.parametrize("dim", [None, 1])
def test_any_correction(function, correction, dim):
    """Along a dim torch divides by what is left, be it negative; over all elements its gradient is infinite then."""
    data = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    x, y = ours(data), theirs(data)
    for t in (x, y):
        (0.3 * function(t, dim, correction=correction)).sum().backward()
    assert torch.equal(x.grad.isnan(), y.grad.isnan())
    torch.testing.assert_close(x.grad, y.grad, equal_nan=True)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_var_corrected_by_more_than_there_are():
    x = [1.0, 2.0, 4.0]
    wanted = [2 / (3 - 5) * (v - sum(x) / 3) for v in x]
    assert first(lambda t: t.view(1, 3).var(1, correction=5), *x) == pytest.approx(wanted)


# --- products ---


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_product_with_two_zeros_and_nan(create_graph):
    """As torch has it, 0 for each: two zeros leave nothing."""
    assert first(torch.prod, 0.0, NAN, 0.0, 3.0, create_graph=create_graph) == [0.0] * 4
    assert first(torch.prod, 0.0, NAN, 2.0) == pytest.approx([NAN, 0.0, NAN], nan_ok=True)


def test_two_zeros_in_a_product_keep_the_second_derivative():
    x = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    assert tapegrad.gradcheck(torch.prod, [ours(x)], order=2)


@pytest.mark.parametrize("function", [torch.prod, lambda x: x.prod(0), lambda x: x.cumprod(0)])
@pytest.mark.parametrize("value", [NAN, INF, 0.0, 2.0])
def test_a_product_of_one_factor(function, value):
    x = ours(torch.tensor(value))
    function(x).backward()
    assert x.grad.item() == 1.0


# --- unsigned numbers, and NumPy's ---


@pytest.mark.parametrize("number", [np.uint8, np.int8, np.int64, np.float32, np.float64])
def test_an_alpha_of_numpy(number):
    x, y = ours(torch.tensor([5.0])), ours(torch.tensor([1.0]))
    for result, slopes in (
        (torch.sub(x, y, alpha=number(2)), (1.0, -2.0)),
        (torch.rsub(x, y, alpha=number(2)), (-2.0, 1.0)),
        (torch.add(x, y, alpha=number(2)), (1.0, 2.0)),
    ):
        assert result.item() == slopes[0] * 5.0 + slopes[1]
        assert [g.item() for g in tapegrad.grad(result, [x, y])] == list(slopes)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "prod", "logsumexp"])
@pytest.mark.parametrize("number", [np.uint8, np.int64])
def test_a_dim_of_numpy(name, number):
    data = torch.tensor([[1.0, 2.0, 4.0], [3.0, 5.0, 4.5]])
    a, b = ours(data), ours(data)
    for keepdim in (False, True):
        getattr(a, name)(number(0), keepdim=keepdim).sum().backward()
        getattr(b, name)(0, keepdim=keepdim).sum().backward()
    assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("wrap", [list, tuple])
def test_shifts_of_numpy(wrap):
    x = ours(torch.arange(4.0))
    (x.roll(wrap([np.uint8(1)]), wrap([0])) * torch.arange(4.0)).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 0.0]


# --- dropout of images ---


@pytest.mark.parametrize(
    "name", ["dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "alpha_dropout", "dropout"]
)
@pytest.mark.parametrize("rank", range(7))
@pytest.mark.parametrize("inplace", [False, True])
def test_masks_are_torchs(name, rank, inplace, recwarn):
    """For each rank the same elements are dropped, from the same state of the generator."""
    shape = (3, 4, 2, 3, 2, 2)[:rank]
    results = []
    for leaf in (theirs, ours):
        torch.manual_seed(5)
        x = leaf(torch.ones(shape))
        try:
            y = getattr(F, name)(x * 1, 0.4, True, inplace)
        except (RuntimeError, ValueError) as error:
            results.append(type(error))
            continue
        y.backward(torch.ones(shape))
        results.append((y.detach().tolist(), x.grad.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_an_image_dropped_in_place(p):
    x = ours(torch.ones(4, 3))
    y = F.dropout1d(x * 2, p, True, True)
    y.sum().backward()
    assert x.grad.unique().tolist() == [2.0 - 2 * p]


# --- kernels and their options ---


@pytest.mark.parametrize("alpha", [-3.0, -1.0, -0.25, 0.5, 2.0])
def test_celu_of_any_alpha(alpha):
    x = [-2.0, -0.5, -0.0, 0.5, 2.0]
    wanted = [1.0 if v > 0 else math.exp(v / alpha) for v in x]
    for create_graph in (False, True):
        assert first(lambda t: F.celu(t, alpha), *x, create_graph=create_graph) == pytest.approx(wanted)


@pytest.mark.parametrize("dtype", FLOATS)
def test_softplus_beyond_the_exponential(dtype):
    """With a threshold out of reach; torch has NaN there."""
    for create_graph in (False, True):
        slopes = first(lambda t: F.softplus(t, 1, INF), 800.0, -800.0, dtype=dtype, create_graph=create_graph)
        assert slopes == [1.0, 0.0]


SINGULAR = {
    "0": ([[0.0]], [[1.0]]),
    "ones": ([[1.0, 1.0], [1.0, 1.0]], [[1.0, -1.0], [-1.0, 1.0]]),
    "rows": ([[0.0, 0.0], [0.0, 3.0]], [[3.0, 0.0], [0.0, 0.0]]),
    "1 to 9": (
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
        [[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]],
    ),
    "rank 1": ([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.0] * 3] * 3),
    "zeros": ([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
}


@pytest.mark.parametrize(("matrix", "cofactors"), SINGULAR.values(), ids=SINGULAR)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_determinant_of_a_singular_matrix(matrix, cofactors, dtype):
    """Its gradient is the matrix of cofactors, and theirs are polynomials as well."""
    A = torch.tensor(matrix, dtype=dtype)
    for create_graph in (False, True):
        x = ours(A)
        (g,) = tapegrad.grad(torch.linalg.det(x) * 2, x, create_graph=create_graph)
        torch.testing.assert_close(torch.tensor(g.tolist(), dtype=dtype), 2 * torch.tensor(cofactors, dtype=dtype))
    if dtype == torch.float64:
        assert tapegrad.gradcheck(torch.linalg.det, [ours(A)], order=2)


def test_a_singular_matrix_among_others():
    """The others keep torch's bits; a determinant that underflows has a gradient too."""
    torch.manual_seed(0)
    A = torch.randn(4, 3, 3, dtype=torch.float64)
    A[1] = 1.0
    A[2] = 1e-150 * torch.eye(3, dtype=torch.float64)
    x, y = ours(A), theirs(A)
    torch.linalg.det(x).sum().backward()
    torch.linalg.det(y).sum().backward()
    assert torch.equal(x.grad[[0, 3]], y.grad[[0, 3]])
    assert x.grad[1].abs().max() < 1e-14
    torch.testing.assert_close(x.grad[2], 1e-300 * torch.eye(3, dtype=torch.float64), rtol=1e-9, atol=0.0)


def test_too_many_minors_are_refused():
    x = ours(torch.zeros(65, 65))
    torch.linalg.det(x).backward()
    assert x.grad.abs().max() == 0
    with pytest.raises(
        RuntimeError, match=r"det\(\): a singular matrix of 65 rows and columns .* leave create_graph out"
    ):
        tapegrad.grad(torch.linalg.det(x), x, create_graph=True)


@pytest.mark.parametrize(
    "function", [torch.linalg.inv_ex, torch.linalg.cholesky_ex, lambda A: torch.linalg.solve_ex(A, A)]
)
def test_unchecked_factorizations_say_so_and_go_on(function):
    """Of a singular matrix, what torch returns; with ``check_errors`` an error."""
    for A in (torch.zeros(2, 2), torch.tensor([[2.0, 1.0], [1.0, 2.0]])):
        x, y = ours(A), theirs(A)
        mine, yours = function(x), function(y)
        assert torch.equal(mine[1], yours[1])
        torch.testing.assert_close(mine[0].data, yours[0].detach(), equal_nan=True)
        mine[0].sum().backward()
        yours[0].sum().backward()
        torch.testing.assert_close(x.grad, y.grad, equal_nan=True)
    with pytest.raises(RuntimeError, match=r"singular|zero"):
        torch.linalg.inv_ex(ours(torch.zeros(2, 2)), check_errors=True)


# --- NaN, ties and poles ---


@pytest.mark.parametrize("function", [F.relu6, F.hardtanh, F.hardshrink, F.softshrink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [1, 64])
def test_nan_passes_its_gradient(function, size):
    """As in torch where it goes by element; its vector units send 0."""
    assert first(function, *[NAN] * size) == [1.0] * size
    assert by_torch(function, NAN) == [1.0]
    corners = [0.0, 1.0, -1.0, 0.5, -0.5, 6.0, 7.0, INF, -INF]
    assert first(function, *corners) == by_torch(function, *corners)


def test_a_tie_in_the_multilabel_margin_loss():
    """A margin that is just kept costs nothing and sends nothing, and NaN is not counted."""
    target = torch.tensor([0, -1, 0])
    for values in ([2.0, 1.0, 1.5], [2.0, 1.0, 1.0], [0.0, NAN, 0.5]):
        x, y = ours(torch.tensor(values)), theirs(torch.tensor(values))
        a, b = F.multilabel_margin_loss(x, target), F.multilabel_margin_loss(y, target)
        a.backward()
        b.backward()
        assert a.item() == b.item()
        assert torch.equal(x.grad, y.grad)


def test_nextafter_of_two_equal_numbers():
    x, y = ours(torch.tensor([1.0, 1.0])), ours(torch.tensor([1.0, 2.0]))
    torch.nextafter(x, y).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]
    assert y.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_logsigmoid_twice(dtype):
    """-sigmoid(x) sigmoid(-x) to the last digits on both sides, of which torch has one."""
    x = [-50.0, -20.0, -1.0, 0.0, 1.0, 20.0, 50.0]
    wanted = [-1 / ((1 + math.exp(-v)) * (1 + math.exp(v))) for v in x]
    assert second(F.logsigmoid, *x, dtype=dtype) == pytest.approx(wanted, rel=1e-6)


def test_entr_twice_at_0():
    assert second(torch.special.entr, 0.0, -0.0, 0.5) == [-INF, INF, -2.0]


def test_hardswish_twice_beyond_its_corners():
    """The gradient's gradient in the cotangent is the slope, infinitely far out as well."""
    x = ours(torch.tensor([-INF, -4.0, 0.0, 4.0, INF]))
    v = ours(torch.ones(5))
    (g,) = tapegrad.grad(F.hardswish(x), x, v, create_graph=True)
    assert tapegrad.grad(g.sum(), v)[0].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_a_mean_of_no_weight():
    """It is NaN, and so is the gradient of the targets' scores; the others take part in nothing."""
    x = ours(torch.zeros(2, 3))
    F.nll_loss(x, torch.tensor([0, 2]), torch.zeros(3)).backward()
    assert x.grad.isnan().tolist() == [[True, False, False], [False, False, True]]


def test_the_zeroth_power_of_a_matrix_with_nan():
    x = ours(torch.full((2, 2), NAN))
    assert torch.equal(torch.linalg.matrix_power(x, 0).data, torch.eye(2))


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_count_of_what_is_not_0(create_graph):
    """It goes by steps, so the gradient is 0; torch hands on None, which adds as much."""
    assert first(lambda x: torch.linalg.vector_norm(x, 0), 0.0, 3.0, create_graph=create_graph) == [0.0, 0.0]
    assert first(lambda x: torch.linalg.vector_norm(x, 0) + x.sum(), 0.0, 3.0) == [1.0, 1.0]


# --- dtypes ---


@pytest.mark.parametrize(
    "loss",
    [F.l1_loss, F.mse_loss, F.smooth_l1_loss, lambda x, y: F.smooth_l1_loss(x, y, beta=0), F.soft_margin_loss],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_dtype_of_a_loss_of_two(loss):
    for a, b in (((), (3,)), ((3,), ()), ((3,), (3,))):
        for one, other in ((torch.float64, torch.float32), (torch.float32, torch.float64)):
            x, y = torch.ones(a, dtype=one), torch.zeros(b, dtype=other)
            try:
                wanted = loss(theirs(x), theirs(y)).dtype
            except RuntimeError:
                continue
            mine, target = ours(x), ours(y)
            out = loss(mine, target)
            assert out.dtype == wanted
            out.backward()
            assert (mine.grad.dtype, mine.grad.shape) == (one, x.shape)


def test_a_number_among_blocks():
    x = ours(torch.tensor(1.0, dtype=torch.float64))
    out = torch.block_diag(x, torch.ones(1, 3))
    assert out.dtype == torch.float32
    out.sum().backward()
    assert x.grad.dtype == torch.float64
