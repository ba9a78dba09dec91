"""tapegrad: a tape-based tensor autograd engine, micrograd for tensors.

Write ordinary PyTorch forward code on tensors wrapped by ``tapegrad.tensor``; ``loss.backward()`` walks the tape with
hand-written vector-Jacobian rules.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

# Formulas, then kernels, then torch's functions in terms of them: a function's last entry in the table holds.
import tapegrad.inspect.mistakes
import tapegrad.kernels
import tapegrad.nn.autocast
import tapegrad.nn.callers
import tapegrad.nn.leaves
import tapegrad.nn.processes
import tapegrad.rules
import tapegrad.source.methods
import tapegrad.torch_api.distributions
import tapegrad.torch_api.functions
import tapegrad.torch_api.functions_refused
import tapegrad.torch_api.methods
from tapegrad.algebra.derivation import Derivation
from tapegrad.algebra.derive import derive
from tapegrad.engine.backward import grad
from tapegrad.engine.table import kernel
from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor, tensor
from tapegrad.errors import Anomaly, CompileError, ForeignTensor, FreedTape, InPlaceError, MissingRule, StaleTensor
from tapegrad.inspect.anomaly import detect_anomaly
from tapegrad.inspect.check import Checked, Checks, check
from tapegrad.inspect.compare import Comparison, Row, compare
from tapegrad.inspect.gradcheck import GradcheckError, gradcheck
from tapegrad.inspect.tape import Tape, tape
from tapegrad.nn.as_torch import as_torch
from tapegrad.nn.checkpoint import checkpoint
from tapegrad.nn.quiet import quiet
from tapegrad.nn.recording import recording
from tapegrad.plan.compiled import compile
from tapegrad.teaching.exercise import exercise
from tapegrad.torch_api.users import rule
from tapegrad.tracebacks import trimmed, trimmed_members
from tapegrad.transforms.functional import hessian, hvp, jacobian, jvp, vhp, vjp

grad, compare, kernel = trimmed(quiet(grad)), quiet(compare), trimmed(kernel)
trimmed_members(Tensor, ("__init__", "backward", "retain_grad", "data", "grad", "requires_grad"))
trimmed_members(recording, ["__call__"])  # __torch_function__ sees every call of torch
for described in (Tape, Derivation, Comparison, Checks):
    trimmed_members(described)
tapegrad.torch_api.methods.install()
tapegrad.torch_api.functions_refused.guard()
tapegrad.torch_api.distributions.adopt()
if os.environ.get("TAPEGRAD_FAST") != "0" and (Path(__file__).parent / "fast").is_dir():
    importlib.import_module("tapegrad.fast").install()
tapegrad.nn.processes.install()  # after the written walks, which it goes before
tapegrad.nn.autocast.watch()
tapegrad.nn.callers.introduce()
tapegrad.inspect.mistakes.introduce()

__version__ = "0.1.0"

__all__ = [
    "Anomaly",
    "Checked",
    "Checks",
    "Comparison",
    "CompileError",
    "Derivation",
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
    "as_torch",
    "check",
    "checkpoint",
    "compare",
    "compile",
    "derive",
    "detect_anomaly",
    "exercise",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "kernel",
    "recording",
    "rule",
    "tape",
    "tensor",
    "vhp",
    "vjp",
]

if TYPE_CHECKING:
    import tapegrad.viz as viz  # type: ignore[import-not-found]  # in a checkout it lies beside the package

    __all__ += ["viz"]
else:

    def __getattr__(name: str) -> object:
        if name == "viz":  # imported when it is asked for: it needs the graphviz package
            return importlib.import_module("tapegrad.viz")
        raise AttributeError(f"module 'tapegrad' has no attribute {name!r}")
