"""torch's functions said in terms of others, and its spellings; importing this package adds them to the table."""

from tapegrad.torch_api.functions import (
    activations,
    attention,
    convolution,
    crossentropy,
    cumulative,
    dropout,
    einsum,
    elementwise,
    interpolation,
    losses,
    margin_losses,
    normalization,
    patches,
    pooling,
    special,
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "crossentropy",
    "cumulative",
    "dropout",
    "einsum",
    "elementwise",
    "interpolation",
    "losses",
    "margin_losses",
    "normalization",
    "patches",
    "pooling",
    "special",
]
