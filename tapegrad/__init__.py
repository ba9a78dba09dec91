"""tapegrad: a tape-based tensor autograd engine, micrograd for tensors.

Write ordinary PyTorch forward code on tensors wrapped by ``tapegrad.tensor``; ``loss.backward()`` walks the tape with
hand-written vector-Jacobian rules.
"""

import importlib

import tapegrad.operators
import tapegrad.source.program  # noqa: F401 - gives Tape its source
from tapegrad.anomaly import detect_anomaly
from tapegrad.backward import grad
from tapegrad.errors import Anomaly, ForeignTensor, FreedTape, InPlaceError, MissingRule, StaleTensor
from tapegrad.inspect.compare import Comparison, Row, compare
from tapegrad.inspect.gradcheck import GradcheckError, gradcheck
from tapegrad.inspect.tape import Tape, tape
from tapegrad.op import kernel, rule
from tapegrad.tape import Record
from tapegrad.tensor import Tensor, tensor

__version__ = "0.1.0"

__all__ = [
    "Anomaly",
    "Comparison",
    "ForeignTensor",
    "FreedTape",
    "GradcheckError",
    "InPlaceError",
    "MissingRule",
    "Record",
    "Row",
    "StaleTensor",
    "Tape",
    "Tensor",
    "compare",
    "detect_anomaly",
    "grad",
    "gradcheck",
    "kernel",
    "rule",
    "tape",
    "tensor",
]


def __getattr__(name: str) -> object:
    if name == "viz":  # imported when it is asked for: it needs the graphviz package
        return importlib.import_module("tapegrad.viz")
    raise AttributeError(f"module 'tapegrad' has no attribute {name!r}")
