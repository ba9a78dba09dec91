"""The few things that can go wrong, each with the way out in its message."""

from __future__ import annotations


class MissingRule(NotImplementedError):
    """A torch function, or one of its arguments, has no vector-Jacobian rule."""


class FreedTape(RuntimeError):
    """A tape was walked a second time after its records had been freed."""


class StaleTensor(RuntimeError):
    """A tensor that a rule needs was changed in place after it was recorded."""


class ForeignTensor(TypeError):
    """A torch tensor that torch.autograd is tracking was handed to tapegrad."""


class Anomaly(RuntimeError):
    """Under ``detect_anomaly``, an output or a gradient is NaN or infinite."""


class InPlaceError(RuntimeError):
    """An in-place update that could not give torch's answer was refused."""


class CompileError(RuntimeError):
    """A function does what a planned program cannot hold, such as reading a number from a tensor."""
