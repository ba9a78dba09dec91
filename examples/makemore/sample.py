"""New names, a character at a time."""

from typing import Protocol

import torch

from examples.makemore.errors import UserError
from examples.makemore.names import END

LONGEST = 1000  # a model that never learnt to end a name is cut off here


class Predictor(Protocol):
    """A trained network that says what follows."""

    @property
    def chars(self) -> str:
        """Its alphabet."""

    @property
    def longest(self) -> int:
        """How many characters a name may have."""

    def next_logits(self, name: list[int]) -> torch.Tensor:
        """From the characters so far to (1, vocab)."""


@torch.no_grad()
def sample(model: Predictor, seed: int, count: int = 20) -> list[str]:
    """Draws names from the model: each character by its probability after those before it, until END is drawn."""
    g = torch.Generator().manual_seed(seed)
    names = []
    for _ in range(count):
        name: list[int] = []
        while len(name) < model.longest:
            probs = model.next_logits(name).softmax(1).cpu()
            if not probs.isfinite().all():
                raise UserError("the stored network gives no probabilities, its weights are too large: train again")
            ix = int(torch.multinomial(probs, num_samples=1, generator=g))
            if ix == END:
                break
            name.append(ix)
        names.append("".join(model.chars[ix - 1] for ix in name))
    return names
