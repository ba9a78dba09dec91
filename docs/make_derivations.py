"""docs/derivations.md: gradients that people derive by hand, derived by the engine.

python docs/make_derivations.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # docs are not installed

from docs.derivations import CASES, Case

PAGE = Path(__file__).with_name("derivations.md")

INTRODUCTION = """\
# Closed forms, with the working

`tapegrad.derive(loss, of)` does on paper what the makemore lecture does in exercises 2 and 3: it takes the backward
pass line by line, simplifies each line as far as it goes, and says why one line equals the next.

```python
found = tapegrad.derive(loss, of="logits")
print(found)  # the derivation
found.formula  # its last right-hand side
found.source()  # a function gradient(...), in PyTorch
found.bindings()  # what to call it with
found.passes  # elements read and written, in units of the target's size: line by line, and in closed form
found.check()  # whether every line is the engine's gradient, in float64
```

`start=` says from which gradient to begin; left out, it is the one from which the closed form saves most.
`tape.source(style="closed")` writes a whole backward pass so: every part of it in its cheapest form.

- **How.** Tensors become indexed entries, expressions become sums of products of them, and equal expressions get equal
  normal forms: distribute, x^a x^b = x^(a+b), Σ is linear, Σ 1 = n, each row of a one-hot sums to 1. Your definitions
  are the rules: `probs = counts * counts_sum_inv` may be unfolded, so that things cancel, and folded, so that the
  result is short. A search looks for the way to say it that reads and writes the fewest elements.
- **Trust.** Every line that is printed, and every reason, has been evaluated in float64, on the tape's own values and
  on random ones, against the gradients of the engine's walk. What fails is not printed.
- **Rounding.** A closed form is another order of operations: equal on paper, not bit for bit. It may also be better: if
  a logit lies 800 above the rest, a probability is 0, and `dlogprobs / probs` divides by it. The gradients of the steps
  are then NaN, and `(probs - onehot(Yb)) / 32` is right.
- **Limits.** What index notation has no words for stays as it is: matrix products, views that merge axes, masks. They
  are taken as one thing, and simplification goes on around them. Work is bounded: a line that would take too long stays
  as its rule gives it, and if that is the last one, "nothing shorter was found". What is true of the integers and
  constants on this tape (that no target is ignored, say) is taken as given. Where a gradient on the way is not finite,
  0 times it is NaN in a formula, while the engine leaves the other entries alone.
"""


def section(case: Case) -> str:
    """A case: the forward pass, and what is derived."""
    found = case.derive(case.run(torch.Generator().manual_seed(7)))
    before, after = found.passes
    counted = f"`d{case.of}` in {after:.1f} passes; line by line {before:.1f}."
    return f"## {case.title}\n\n```python\n{case.forward}```\n\n```\n{found}\n```\n\n{counted}\n"


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *map(section, CASES)])


def main(check: bool) -> int:
    """Write the page, or see whether it is current."""
    text = page()
    if check:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print("" if current else f"{PAGE.name} is not current: run python docs/make_derivations.py")
        return 0 if current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
