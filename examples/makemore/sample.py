"""New names, a character at a time."""

import torch

from examples.makemore.errors import UserError
from examples.makemore.names import BLOCK_SIZE, END
from examples.makemore.trained import Model

LONGEST = 1000  # a model that never learnt to end a name is cut off here


@torch.no_grad()
def sample(model: Model, seed: int, count: int = 20) -> list[str]:
    """Draws names from the model: each character by its probability after the last three, until END is drawn."""
    g = torch.Generator().manual_seed(seed)
    device = model.bnmean.device
    names = []
    for _ in range(count):
        context, name = [END] * BLOCK_SIZE, ""
        while len(name) < LONGEST:
            probs = model(torch.tensor([context], device=device)).softmax(1).cpu()
            if not probs.isfinite().all():
                raise UserError("the stored network gives no probabilities, its weights are too large: train again")
            ix = int(torch.multinomial(probs, num_samples=1, generator=g))
            if ix == END:
                break
            name += model.chars[ix - 1]
            context = [*context[1:], ix]
        names.append(name)
    return names
