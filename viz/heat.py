"""A tensor as a picture of its numbers, as the lecture looks at dlogits: dark where they are low, light where high."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.tracebacks import trimmed

_MOST = 4_000_000  # elements; a picture has no more pixels


@trimmed
def heat(tensor: torch.Tensor, *, cmap: str = "gray", title: str | None = None, ax: Any = None, **options: Any) -> Any:
    """Show a tensor of one or two dimensions in shades: a row of the tensor is a row of the picture.

    Of dlogits, the gradient of a cross entropy, the dark squares are the true classes, pulled up with a force of 1 - p,
    and the others are pushed down with p: each row sums to 0.

    Args:
        tensor: a Tensor or torch tensor of real numbers, (n) or (n, m); others are to be cut or reshaped first.
        cmap: matplotlib's name for the colours.
        title: what to write above; nothing if left out.
        ax: matplotlib axes to draw on, in place of a new figure.
        **options: for matplotlib's ``imshow``, such as ``vmin``.

    Returns:
        The matplotlib axes; ``.figure`` has ``savefig``.

    Raises:
        ImportError: there is no matplotlib.
        TypeError: it is no tensor, or of complex numbers.
        ValueError: it has no elements, too many, other dimensions, or no numbers to show (meta tensors).

    Example::

        loss.backward()
        tapegrad.viz.heat(logits.grad, title="dlogits")
    """
    if not isinstance(tensor, (Tensor, torch.Tensor)):
        raise TypeError(f"heat: give a tensor, not a {type(tensor).__name__}")
    data = tensor.data if isinstance(tensor, Tensor) else tensor.detach()
    shape = tuple(data.shape)
    if data.is_complex():
        raise TypeError(f"heat: the tensor, of shape {shape}, is complex; show its .abs() or its .angle()")
    if data.ndim not in (1, 2) or not 0 < data.numel() <= _MOST:
        raise ValueError(
            f"heat: the tensor has shape {shape}; give one or two dimensions and 1 to {_MOST:,} elements, for example "
            f"t.reshape(t.shape[0], -1)[:1000]"
        )
    if data.is_meta:
        raise ValueError(f"heat: the tensor, of shape {shape}, is on the meta device and has no numbers")
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("heat needs matplotlib: pip install matplotlib") from error
    if ax is None:
        _, ax = pyplot.subplots(figsize=(4, 4))
    numbers = data.to("cpu", torch.float64).numpy()
    ax.imshow(numbers if data.ndim == 2 else numbers[None], **{"cmap": cmap, "interpolation": "nearest", **options})
    if title is not None:
        ax.set_title(title, parse_math=False)
    return ax
