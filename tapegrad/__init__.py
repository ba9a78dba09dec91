"""tapegrad: a tape-based tensor autograd engine, micrograd for tensors.

Write ordinary PyTorch forward code on tensors wrapped by ``tapegrad.tensor``; ``loss.backward()`` walks the tape with
hand-written vector-Jacobian rules.
"""

import importlib
import os
from pathlib import Path

# Formulas, then kernels, then torch's functions in terms of them: a function's last entry in the table holds.
import tapegrad.kernels
import tapegrad.rules
import tapegrad.source.program
import tapegrad.torch_api.functions
import tapegrad.torch_api.functions_refused
import tapegrad.torch_api.methods
from tapegrad.engine.backward import grad
from tapegrad.engine.table import kernel, rule
from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor, tensor
from tapegrad.errors import Anomaly, CompileError, ForeignTensor, FreedTape, InPlaceError, MissingRule, StaleTensor
from tapegrad.inspect.anomaly import detect_anomaly
from tapegrad.inspect.compare import Comparison, Row, compare
from tapegrad.inspect.gradcheck import GradcheckError, gradcheck
from tapegrad.inspect.tape import Tape, tape
from tapegrad.plan.compiled import compile

tapegrad.torch_api.methods.install()
tapegrad.torch_api.functions_refused.guard()
if os.environ.get("TAPEGRAD_FAST") != "0" and (Path(__file__).parent / "fast").is_dir():
    importlib.import_module("tapegrad.fast").install()

__version__ = "0.1.0"

__all__ = [
    "Anomaly",
    "Comparison",
    "CompileError",
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
    "compile",
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
