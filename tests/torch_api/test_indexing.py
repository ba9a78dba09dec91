"""Reading and writing by any index that torch takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import tapegrad
from tests.helpers import assert_program_agrees, assert_same, ours, randn, raw, theirs

SHAPE = (3, 4, 2)


def slices(n: int) -> st.SearchStrategy[slice]:
    """Slices with steps; torch's are positive."""
    bound = st.none() | st.integers(-n - 1, n + 1)
    return st.builds(slice, bound, bound, st.none() | st.integers(1, 3))


def integers(n: int) -> st.SearchStrategy:
    """Positions, repeated and negative ones too, as list, range, tensor or array."""
    positions = st.lists(st.integers(-n, n - 1), min_size=2, max_size=2)
    return positions.flatmap(
        lambda p: st.sampled_from(
            [p, torch.tensor(p), torch.tensor(p, dtype=torch.int32), np.array(p), torch.tensor([p, p])]
        )
    ) | st.sampled_from([range(2), range(n - 1, n - 3, -1) if n > 2 else range(1, -1, -1)])


def masks(n: int) -> st.SearchStrategy:
    """Masks with two elements chosen, so that they fit with each other and with positions."""
    chosen = st.permutations([True] * 2 + [False] * (n - 2))
    return chosen.flatmap(lambda m: st.sampled_from([list(m), torch.tensor(m), np.array(m)]))


def one(n: int) -> st.SearchStrategy:
    """An index of one dimension."""
    return (
        st.integers(-n, n - 1)
        | slices(n)
        | integers(n)
        | masks(n)
        | st.just(np.int64(0))
        | st.just(torch.tensor(n - 1))
    )


@st.composite
def indices(draw) -> object:
    """An index of a tensor of SHAPE: a single one, or a tuple with None and Ellipsis among them."""
    if draw(st.integers(0, 4)) == 0:
        return draw(one(SHAPE[0]) | st.sampled_from([None, Ellipsis, (), True, False]))
    parts = [draw(one(n)) for n in SHAPE[: draw(st.integers(1, 3))]]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts = [*parts[:-1], Ellipsis] if len(parts) < 3 else [*parts, Ellipsis]
    return tuple(parts)


def shape_of(index: object) -> torch.Size | None:
    """The shape of what torch reads at an index, None if it refuses."""
    try:
        return torch.zeros(SHAPE)[index].shape
    except (IndexError, TypeError, ValueError, RuntimeError):
        return None


@given(indices())
def test_reading(index):
    assume(shape_of(index) is not None)
    assert_program_agrees(lambda x: x[index] * 1.5, randn(*SHAPE, dtype=torch.float32))


@given(indices())
def test_what_torch_refuses_is_refused(index):
    if shape_of(index) is None:
        with pytest.raises((IndexError, TypeError, ValueError, RuntimeError)):
            ours(randn(*SHAPE))[index]
    else:
        assert ours(randn(*SHAPE))[index].shape == shape_of(index)


@given(indices())
def test_second_derivatives_of_reading(index):
    shape = shape_of(index)
    assume(shape is not None and shape.numel() > 0)
    results = []
    for module, wrap in ((tapegrad, ours), (torch.autograd, theirs)):
        x, v = wrap(randn(*SHAPE)), wrap(randn(*shape, seed=1))
        (g,) = module.grad(x[index] * 2, x, v, create_graph=True)
        (gv,) = module.grad((g**2).sum(), v)
        results.append(gv)
    assert_same(*results, "gradient of the cotangent", rtol=1e-12)


def repeats(index: object) -> bool:
    """Whether an index names an element twice; what a write then leaves there is not defined."""
    numbers = torch.arange(24).view(SHAPE)[index].flatten()
    return numbers.numel() != numbers.unique().numel()


@given(indices(), st.sampled_from(["number", "scalar", "full", "tensor", "broadcast"]))
def test_writing(index, kind):
    shape = shape_of(index)
    assume(shape is not None and not repeats(index))
    value = randn(*(shape[-1:] if kind == "broadcast" else shape if kind in ("full", "tensor") else ()), seed=1)

    def program(x, v):
        y = x * 2
        y[index] = 3.0 if kind == "number" else v.detach() if kind == "tensor" else v * 0.5
        return y * x

    if kind in ("number", "tensor"):
        assert_program_agrees(lambda x: program(x, theirs(value, False)), randn(*SHAPE))
    else:
        assert_program_agrees(program, randn(*SHAPE), value)


@given(indices())
def test_augmented_assignment_to_a_number(index):
    """``y[index] *= 2`` reads, multiplies and writes."""
    assume(shape_of(index) is not None and not repeats(index))
    # A view is changed through its base, which is refused: see test_inplace.py.
    assume(not shares_memory(index))

    def program(x):
        y = x * 2
        y[index] *= 3
        return y * x

    assert_program_agrees(program, randn(*SHAPE))


def shares_memory(index: object) -> bool:
    base = torch.zeros(SHAPE)
    return base[index].untyped_storage().data_ptr() == base.untyped_storage().data_ptr()


def test_picking_one_class_for_each_row():
    Yb = torch.randint(0, 27, (32,), generator=torch.Generator().manual_seed(1))
    assert_program_agrees(lambda x: -x[range(32), Yb].mean(), randn(32, 27, dtype=torch.float32))
    assert_program_agrees(lambda x: -x[torch.arange(32), Yb].mean(), randn(32, 27, dtype=torch.float32))
    assert_program_agrees(lambda x: -x[list(range(32)), Yb.tolist()].mean(), randn(32, 27, dtype=torch.float32))


def test_an_index_may_be_a_tensor_of_ours():
    x, i = ours(randn(3)), tapegrad.tensor(torch.tensor([0, 2, 2]))
    assert_program_agrees(lambda x: x[i if isinstance(x, tapegrad.Tensor) else i.data], randn(3))
    mask = tapegrad.tensor(torch.tensor([True, False, True]))
    assert x[mask].shape == (2,)
    assert x[x > 0].shape == (int((x.data > 0).sum()),)
    assert x[i, None].shape == (3, 1)


def test_an_index_may_be_changed_after_use():
    """The list that was an index is the caller's own."""
    index = [0, 1]
    x = ours(randn(3))
    y = x[index]
    index[0] = 2
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]


def test_an_index_tensor_changed_before_backward_is_stale():
    index = torch.tensor([0, 1])
    x = ours(randn(3))
    y = x[index]
    index[0] = 2
    with pytest.raises(tapegrad.StaleTensor, match="getitem"):
        y.sum().backward()


@pytest.mark.parametrize("index", [torch.tensor(1), torch.tensor(True), torch.tensor(1, dtype=torch.uint8)])
@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
def test_a_tensor_of_one_number_may_be_changed_after_use(index):
    """It is read at once, as in torch: a counter, say."""

    def program(x):
        i = index.clone()
        y = x * 1
        y[i] = x[0] * 3
        read = (x[i] * x[i], x[None][:, i], x[..., i])
        i.zero_()
        return sum((t * t).sum() for t in (*read, y))

    assert_program_agrees(program, randn(3))


def test_rows_unpack():
    assert_program_agrees(lambda x: sum((row * k for k, row in enumerate(x)), x[0]), randn(3, 4))
    a, b = ours(randn(2, 3))
    assert a.shape == b.shape == (3,)


@pytest.mark.parametrize(
    ("index", "error"),
    [(3, IndexError), (-4, IndexError), ((0, 0, 0, 0), IndexError), ([7], IndexError), ("a", (TypeError, IndexError))],
)
def test_errors_are_torchs(index, error):
    with pytest.raises(error):
        randn(*SHAPE)[index]
    with pytest.raises(error):
        ours(randn(*SHAPE))[index]


def test_negative_steps_are_refused_as_in_torch():
    with pytest.raises(ValueError, match="step"):
        ours(randn(3))[::-1]


def test_assignment_returns_nothing_and_keeps_the_object():
    y = ours(randn(3)) * 2
    again = y
    assert y.__setitem__(0, 1.0) is None
    assert again is y
    assert again[0].item() == 1.0


def test_assignment_converts_to_the_targets_type():
    mine, yours = ours(randn(3, dtype=torch.float32)), theirs(randn(3, dtype=torch.float32))
    values = randn(3, seed=1)
    grads = []
    for x, v in ((mine, ours(values)), (yours, theirs(values))):
        y = x * 2
        y[:] = v
        y.sum().backward()
        grads.append((x.grad, v.grad))
    assert_same(raw(grads[0]), raw(grads[1]), "gradients")


def test_assignments_in_a_row():
    """A buffer of zeros that is filled step by step, as with the outputs of a recurrent network."""

    def program(x, w):
        outputs = x.detach() * 0
        h = x[0]
        for k in range(3):
            h = (h @ w + x[k]).tanh()
            outputs[k] = h
        return outputs**2

    assert_program_agrees(program, randn(3, 2), randn(2, 2, seed=1))


def test_an_element_overwritten_twice():
    def program(x):
        y = x * 2
        y[1] = x[0] * 3
        y[1:] = x[2] * x[2]
        return y

    assert_program_agrees(program, randn(4))
