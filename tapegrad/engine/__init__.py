"""Micrograd for tensors: complete by itself, given rules.

Read it in this order: tensor, tape, op, table, apply, walk, unbroadcast, gradients, backward.
"""

from tapegrad.engine.backward import grad
from tapegrad.engine.table import kernel, rule
from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor, tensor

__all__ = ["Record", "Tensor", "grad", "kernel", "rule", "tensor"]
