"""docs/backward.md: the lecture's backward pass as the engine writes it, beside the forward lines, with the reasons.

python docs/make_backward.py [--check]
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from textwrap import fill

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the examples are not installed

import tapegrad
from examples.makemore.model import forward, init_parameters

PAGE = Path(__file__).with_name("backward.md")

INTRODUCTION = """\
# The backward pass, as the engine writes it

`tape.source()` writes the backward pass of anything that tapegrad recorded. This is the pass of the makemore lecture,
with 32 examples and 64 hidden neurons, from the loss up. `python -m examples.makemore source` writes it to a file, runs
it and compares every gradient with torch's; `python docs/make_backward.py` makes this page.

`dx` is the gradient of the loss with respect to `x`. A comment gives its shape; the forward line that it undoes stands
above it, as it was written. With `source(explain=True)` a sentence says why. Four reasons explain almost every line:

- **The chain rule**: the gradient of what came out, times the slope of the operation.
- **Fan-out adds**: what was used twice gets the sum of two gradients.
- **A broadcast becomes a sum**, since every copy contributed to the loss; **a sum becomes a broadcast**, since every
  term did.
- **What was taken from a place goes back to that place**: an index scatters, a maximum routes.
"""

# The variable that a forward line sets, a title, the gradients that undo the line, and the reason.
STEPS = (
    ("loss", "The loss", "loss logprobs",
     "The loss changes with itself at the rate 1. It is minus the mean of 32 numbers, one from each row: each of them "
     "gets -1/32, and what was not picked gets 0. **An index scatters.**"),
    ("logprobs", "The logarithm", "probs",
     "The slope of log x is 1/x: where the right character was improbable, the gradient is large."),
    ("probs", "The probabilities", "counts_sum_inv",
     "Each factor of a product gets the gradient times the other factor. `counts_sum_inv`, (32, 1), was stretched over "
     "27 columns: **a broadcast becomes a sum**, over the columns. `counts` is used once more below, so its gradient "
     "waits."),
    ("counts_sum_inv", "One over the sum", "counts_sum",
     "The slope of 1/x is -1/x²."),
    ("counts_sum", "The sum of each row", "counts",
     "**A sum becomes a broadcast**: every count of a row gets the gradient of the row's sum; adding (32, 1) to "
     "(32, 27) stretches it. And here the other use of `counts` comes in: **fan-out adds**."),
    ("counts", "The exponential", "norm_logits",
     "exp is its own slope: what is needed is the output of the forward line, not its input."),
    ("norm_logits", "Less the maximum", "logit_maxes",
     "A difference passes its gradient on, with a minus to what was subtracted; `logit_maxes` was broadcast, so it "
     "gets the sum. These sums are 0 but for rounding: the maximum prevents overflow and does not change the loss."),
    ("logit_maxes", "The maximum", "logits",
     "**A maximum routes**: the element of each row that was returned gets the gradient, the others 0. `logits` was "
     "used twice, so what `norm_logits` passes on is added."),
    ("logits", "The second layer", "b2 W2 h",
     "For C = A B, dB = Aᵀ dC and dA = dC Bᵀ: the only products whose shapes fit. The bias was broadcast over the "
     "rows and gets the sum over the rows."),
    ("h", "The nonlinearity", "hpreact",
     "The slope of tanh, written with its output: 1 - h². A saturated neuron passes nothing on."),
    ("hpreact", "Gain and bias", "bnbias bngain bnraw",
     "A sum and a product, of rows that were broadcast over the 32 examples."),
    ("bnraw", "The normalized neurons", "bnvar_inv",
     "A product and a broadcast again; the gradient of `bndiff` waits for its other use."),
    ("bnvar_inv", "One over the deviation", "bnvar",
     "A power: p xᵖ⁻¹, with p = -1/2. `bnvar + 1e-05` has no name of its own and is written out."),
    ("bnvar", "The variance", "bndiff2",
     "A sum becomes a broadcast; the factor 1/31 (Bessel's correction) stays."),
    ("bndiff2", "The squares", "bndiff",
     "The slope of x² is 2x. Now `bndiff` has both its parts: **fan-out adds**."),
    ("bndiff", "Less the mean", "bnmeani",
     "A difference, of a row that was broadcast: a sum with a minus."),
    ("bnmeani", "The mean", "hprebn",
     "Each of the 32 numbers that were averaged gets 1/32 of the gradient, by broadcasting, added to what `bndiff` "
     "passes on."),
    ("hprebn", "The first layer", "b1 W1 embcat",
     "As the second."),
    ("embcat", "Three vectors in a row", "emb",
     "Nothing was computed, only shown in another shape; the gradient takes the shape from before."),
    ("emb", "The embedding", "C",
     "**An index scatters.** Most rows of `C` were read many times: their gradients add up (`accumulate=True`)."),
)  # fmt: skip

EXACT = """\
## To the last bit

These are the formulas of the textbook. torch rounds some of them elsewhere, and its gradients differ from these in the
ninth digit. `tape.source(style="exact")` writes the same pass with the operations that the engine runs, and each of its
26 gradients equals torch's in every bit. The lines that are different:
"""


def program() -> tuple[str, str]:
    """The backward pass in both styles."""
    g = torch.Generator().manual_seed(2147483647)
    parameters = [tapegrad.tensor(p, requires_grad=True) for p in init_parameters(27, 64, g, torch.float32)]
    X, Y = torch.randint(27, (32, 3), generator=g), torch.randint(27, (32,), generator=g)
    v = vars(forward(parameters, X, Y))
    names = {name: value for name, value in v.items() if name != "parameters"}
    tape = tapegrad.tape(v["loss"], names=names, code=forward)
    return tape.source(names=names), tape.source(names=names, style="exact")


def forward_lines() -> dict[str, str]:
    """The lecture's lines by the variable that they set."""
    lines = [line.partition("#")[0].strip() for line in inspect.getsource(forward).splitlines()]
    return {match[1]: line for line in lines if (match := re.match(r"(\w+) = ", line))}


def backward_lines(text: str) -> dict[str, list[str]]:
    """The lines of the body by the gradient that they compute, with the lines that prepare it."""
    results = re.findall(r'^        "(\w+)": (\w+),$', text, re.MULTILINE)
    names = {variable: name for name, variable in results}
    body = text[text.index("):\n") + 3 : text.index("    return {")].splitlines()
    groups: dict[str, list[str]] = {}
    waiting: list[str] = []
    for line in body:
        if line.startswith("    # "):  # the forward line, which has a place of its own on the page
            continue
        variable = re.match(r"    (\w+)", line)
        assert variable is not None
        waiting.append(line[4:])
        if variable[1] in names:
            groups.setdefault(names[variable[1]], []).extend(waiting)
            waiting = []
    assert not waiting
    return groups


def code(*lines: str) -> str:
    """A block of Python."""
    return "\n".join(["```python", *lines, "```\n"])


def page() -> str:
    """The whole page."""
    plain, exact = program()
    above, below = forward_lines(), backward_lines(plain)
    parts = [INTRODUCTION]
    for name, title, gradients, reason in STEPS:
        lines = [line for gradient in gradients.split() for line in below.pop(gradient)]
        parts += [f"## {title}\n", code(above[name]), fill(reason, 120) + "\n", code(*lines)]
    assert not below, f"no step has {', '.join(below)}"
    pairs = zip(plain.splitlines(), exact.splitlines(), strict=True)
    parts += [EXACT, code(*[theirs.strip() for ours, theirs in pairs if ours != theirs])]
    parts += ["## The whole\n", code(*plain.splitlines())]
    return "\n".join(parts)


def main(check: bool) -> int:
    """Write the page, or see whether it is current."""
    text = page()
    if check:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print("" if current else f"{PAGE.name} is not current: run python docs/make_backward.py")
        return 0 if current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
