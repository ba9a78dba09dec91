"""The backward pass as the engine writes it: PyTorch source with the lecture's names, stored, run and compared."""

import runpy
from pathlib import Path

import torch

import tapegrad
from examples.makemore import files
from examples.makemore.compare import FEW, ROWS, TOLERANCE
from examples.makemore.model import Tensor, forward
from tapegrad import Comparison, Row


def write_pass(v: dict[str, Tensor], style: str, out: Path) -> tuple[Path, bool]:
    """Writes the backward pass of `lecture_pass` and prints its gradients next to torch.autograd's.

    Args:
        v: the variables of the pass.
        style: `plain`, the textbook formulas, or `exact`, equal to torch to the last bit.
        out: a folder for `backward.py`.

    Returns:
        The file written, and whether every row is as good as the style promises.
    """
    names = {name: value for name, value in v.items() if name != "parameters"}
    tape = tapegrad.tape(v["loss"], names=names, code=forward)
    path = out / "backward.py"
    files.replace(path, tape.source(names=names, style=style).encode())
    grads = runpy.run_path(str(path))["backward"](**tape.bindings(names=names, style=style))
    table = Comparison([Row.of(name, grads[name], theirs) for name, theirs in torch_gradients(v).items()])
    print(f"{path}, {style}: {len(table)} gradients\n{table}")
    exact = sum(row.exact for row in table)
    print(f"\n{exact} of {len(table)} rows exact, {sum(row.approximate for row in table)} approximate")
    close = len(v["Yb"]) < FEW or all(row.approximate and row.maxdiff <= TOLERANCE for row in table)
    good = table.exact if style == "exact" else close
    return path, good


def torch_gradients(v: dict[str, Tensor]) -> dict[str, torch.Tensor]:
    """The same forward lines once more, on torch.autograd."""
    parameters = [p.data.clone().requires_grad_() for p in v["parameters"]]
    theirs = vars(forward(parameters, v["Xb"], v["Yb"]))
    for name in ROWS:
        theirs[name].retain_grad()
    theirs["loss"].backward()
    return {name: theirs[name].grad for name in ROWS}
