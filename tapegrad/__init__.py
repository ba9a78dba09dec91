"""tapegrad: a tape-based tensor autograd engine, micrograd for tensors.

Write ordinary PyTorch forward code on tensors wrapped by ``tapegrad.tensor``; ``loss.backward()`` walks the tape with
hand-written vector-Jacobian rules.
"""

import importlib.util
import os

import tapegrad.rules
import tapegrad.torch_api.methods
from tapegrad.check import Comparison, GradcheckError, Row, compare, gradcheck
from tapegrad.engine.backward import grad
from tapegrad.engine.table import kernel, rule
from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor, tensor
from tapegrad.errors import Anomaly, ForeignTensor, FreedTape, InPlaceError, MissingRule, StaleTensor
from tapegrad.inspect.anomaly import detect_anomaly
from tapegrad.tape import Tape, tape

tapegrad.torch_api.methods.install()
if os.environ.get("TAPEGRAD_FAST", "1") != "0" and importlib.util.find_spec("tapegrad.fast"):
    importlib.import_module("tapegrad.fast").install()

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
