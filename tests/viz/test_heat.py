"""A tensor in shades."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import viz
from tests.viz.graphs import leaf

matplotlib = pytest.importorskip("matplotlib", reason="heat draws with matplotlib, of the extra 'examples'")
matplotlib.use("agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    import matplotlib.pyplot

    matplotlib.pyplot.close("all")


def shown(ax):
    return torch.tensor(ax.images[0].get_array().tolist(), dtype=torch.float64)


def test_dlogits_are_shown_as_they_are():
    logits = leaf(5, 4)
    F.cross_entropy(logits, torch.tensor([0, 3, 2, 1, 1])).backward()
    ax = viz.heat(logits.grad, title="$dlogits")
    assert torch.equal(shown(ax), logits.grad.double())
    assert ax.get_title() == "$dlogits"
    assert ax.images[0].get_cmap().name == "gray"
    ax.figure.canvas.draw()  # a title is no formula


@pytest.mark.parametrize(
    "data", [leaf(3), leaf(2, 3), torch.tensor([[True, False]]), torch.arange(6), torch.ones(2, 2).bfloat16()]
)
def test_all_kinds_of_numbers(data):
    values = data.data if isinstance(data, tapegrad.Tensor) else data
    assert torch.equal(shown(viz.heat(data)), values.double().reshape(-1, values.shape[-1]))


def test_on_axes_that_are_there():
    import matplotlib.pyplot

    _, axes = matplotlib.pyplot.subplots(1, 2)
    assert viz.heat(leaf(2, 2), ax=axes[1], vmin=0, vmax=2) is axes[1]
    assert axes[1].images[0].get_clim() == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ([1.0, 2.0], TypeError, "not a list"),
        (torch.ones(2, 2, dtype=torch.complex64), TypeError, r"\.abs\(\)"),
        (torch.ones(2, 3, 4), ValueError, r"\(2, 3, 4\).*reshape"),
        (torch.tensor(1.0), ValueError, r"shape \(\)"),
        (torch.ones(0, 3), ValueError, r"\(0, 3\)"),
        (torch.ones(1).expand(3000, 3000), ValueError, "4,000,000"),
        (torch.ones(2, 2, device="meta"), ValueError, "meta"),
    ],
)
def test_what_cannot_be_shown(wrong, error, says):
    with pytest.raises(error, match=f"heat.*{says}"):
        viz.heat(wrong)
