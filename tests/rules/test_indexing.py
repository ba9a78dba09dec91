"""Rules of indexing, gathering and scattering."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.errors import MissingRule
from tests.helpers import assert_same, ours, randn, theirs


@pytest.mark.parametrize("padding_idx", [None, 1])
def test_embedding_scales_by_frequency(padding_idx):
    """Rows read often count less. Not exact: torch multiplies and adds with one rounding."""
    index = torch.tensor([[0, 1, 1], [4, 1, 0]])
    mine, yours = ours(randn(5, 3)), theirs(randn(5, 3))
    v = randn(2, 3, 3, seed=1)
    F.embedding(index, mine, padding_idx, scale_grad_by_freq=True).backward(v)
    F.embedding(index, yours, padding_idx, scale_grad_by_freq=True).backward(v)
    assert_same(mine.grad, yours.grad, "gradient", rtol=1e-15, atol=1e-15)


def test_embedding_refuses_sparse_gradients():
    with pytest.raises(MissingRule, match="sparse"):
        F.embedding(torch.tensor([0, 1]), ours(randn(3, 2)), sparse=True)


@pytest.mark.parametrize("function", [F.embedding, F.embedding_bag])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.5])
def test_embedding_shortens_what_is_too_long(function, norm):
    """In place, in the weight itself, and where it was used before, that is noticed."""
    index = torch.tensor([[0, 1], [3, 1]])
    mine, yours = ours(3 * randn(5, 3)), theirs(3 * randn(5, 3))
    for _ in range(3):
        outs = [function(index, w, max_norm=0.7, norm_type=norm) for w in (mine, yours)]
        assert_same(mine.data, yours.detach(), "weight")
        v = randn(*outs[0].shape, seed=1)
        for out in outs:
            out.backward(v)
        assert_same(mine.grad, yours.grad, "gradient", rtol=1e-15, atol=1e-15)
    product = mine * mine
    function(index, mine, max_norm=0.5)
    with pytest.raises(tapegrad.StaleTensor):
        product.sum().backward()


@pytest.mark.parametrize("name", ["scatter", "scatter_add"])
def test_source_larger_than_index(name):
    """torch's backward refuses; the gradient of what was not used is 0."""
    index = torch.tensor([[0, 2], [1, 0]])
    x, src = ours(randn(3, 4)), ours(randn(3, 3, seed=1))
    assert tapegrad.gradcheck(lambda x, src: getattr(torch, name)(x, 1, index, src), [x, src], order=2)


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "amax", "amin"])
def test_reduced_source_larger_than_index(reduce):
    index = torch.tensor([[0, 2], [1, 0]])
    x, src = ours(randn(3, 4)), ours(randn(3, 3, seed=1))
    assert tapegrad.gradcheck(lambda x, src: torch.scatter_reduce(x, 1, index, src, reduce), [x, src], order=2)


def test_product_with_several_zeros():
    """First gradients are torch's; the second it refuses, and so does tapegrad."""
    index = torch.tensor([0, 0, 0, 1])
    values = torch.tensor([0.0, 0.0, 2.0, 3.0])
    results = []
    for leaf in (ours, theirs):
        x, src = leaf(torch.tensor([2.0, 5.0])), leaf(values)
        torch.scatter_reduce(x, 0, index, src, "prod").sum().backward()
        results.append([x.grad, src.grad])
    assert_same(*results, "gradient")
    x, src = ours(torch.tensor([2.0, 5.0])), ours(values)
    out = torch.scatter_reduce(x, 0, index, src, "prod").sum()
    with pytest.raises(MissingRule, match="several zeros"):
        tapegrad.grad(out, [src], create_graph=True)


@pytest.mark.filterwarnings("ignore:The reduce argument")
@pytest.mark.parametrize(("reduce", "of_scatter_reduce"), [("add", "sum"), ("multiply", "prod")])
def test_scatter_with_reduce(reduce, of_scatter_reduce):
    """torch has no derivative of it, but of scatter_reduce, which is to be used instead."""
    x, index, src = randn(3), torch.tensor([0, 2, 0]), randn(3, seed=1)
    mine, yours = [ours(x), ours(src)], [theirs(x), theirs(src)]
    a = mine[0].scatter(0, index, mine[1], reduce=reduce)
    b = yours[0].scatter_reduce(0, index, yours[1], of_scatter_reduce)
    assert torch.equal(a.data, torch.scatter(x, 0, index, src, reduce=reduce))
    a.backward(randn(3, seed=2))
    b.backward(randn(3, seed=2))
    for p, q in zip(mine, yours, strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    number = ours(x).scatter(0, index, 2.0, reduce=reduce)
    assert torch.equal(number.data, torch.scatter(x, 0, index, 2.0, reduce=reduce))


def test_functions_of_one_name():
    """F.unfold is not Tensor.unfold, F.embedding not torch.embedding, x.split not quite torch.split."""
    image, table = ours(randn(1, 1, 3, 3)), ours(randn(3, 2))
    assert F.unfold(image, 2).shape == (1, 4, 4)
    assert image.unfold(2, 2, 1).shape == (1, 1, 2, 3, 2)
    index = torch.tensor([2, 0])
    assert_same(F.embedding(index, table).data, torch.embedding(table, index).data, "value")
    assert len(table.split(split_size=1)) == len(torch.split(table, split_size_or_sections=1)) == 3


def test_integer_results_are_plain():
    x = ours(randn(3))
    assert type(x.to(torch.int64)) is torch.Tensor
    assert type(torch.sort(x).indices) is torch.Tensor


def test_parts_of_one_tensor_share_no_memory_with_the_cotangent():
    x = ours(randn(4))
    y = x[1:3]
    v = randn(2, seed=1)
    y.backward(v)
    x.grad.add_(1)
    assert_same(v, randn(2, seed=1), "cotangent")


def test_an_embeddings_gradient_is_summed_in_the_order_of_the_indices():
    """However the gradient lies in memory: behind an LSTM with batch_first, say."""
    index = torch.randint(0, 4, (16, 6), generator=torch.Generator().manual_seed(0))
    g = randn(6, 16, 3).transpose(0, 1)
    mine, yours = ours(randn(4, 3)), theirs(randn(4, 3))
    torch.nn.functional.embedding(index, mine).backward(g)
    torch.nn.functional.embedding(index, yours).backward(g)
    assert torch.equal(mine.grad, yours.grad)
