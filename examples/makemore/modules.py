"""Eight networks that say, at every place of a name, which character is next: plain modules, for `train --model`.

Each takes characters as numbers (names, length) and returns logits (names, length, vocab). What it says at a place
depends on the characters up to there alone. They begin and end alike, with an embedding and a linear head; what lies
between is the network's name.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from examples.makemore.model import N_EMBD
from examples.makemore.names import BLOCK_SIZE, END

LONGEST = 255  # characters of a name
POSITIONS = LONGEST + 1  # one more than that, for the END before the first character


class Bigram(nn.Module):
    """The table of what follows what, which is a row of logits for each character."""

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab, vocab)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(names, length) to (names, length, vocab)."""
        return self.table(X)  # type: ignore[no-any-return]  # torch says that of no module


class Embedded(nn.Module):
    """An embedding, a body from (names, length, width) to (names, length, hidden), and a head."""

    def __init__(self, vocab: int, hidden: int, width: int | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width or hidden)
        self.head = nn.Linear(hidden, vocab)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(names, length) to (names, length, vocab)."""
        return self.head(self.body(self.embedding(X)))  # type: ignore[no-any-return]  # as above

    def body(self, emb: torch.Tensor) -> torch.Tensor:
        """What the networks differ in."""
        raise NotImplementedError


class BagOfWords(Embedded):
    """The mean of the characters so far, whatever their order, through one hidden layer."""

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__(vocab, hidden)
        self.layer = nn.Linear(hidden, hidden)

    def body(self, emb: torch.Tensor) -> torch.Tensor:
        """(names, length, hidden) to the same."""
        counts = torch.arange(1, emb.shape[1] + 1, device=emb.device)[:, None]
        return torch.tanh(self.layer(emb.cumsum(1) / counts))


class Mlp(Embedded):
    """The lecture's network: the last three characters side by side, through one hidden layer."""

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__(vocab, hidden, N_EMBD)
        self.layer = nn.Linear(BLOCK_SIZE * N_EMBD, hidden)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(names, length) to (names, length, vocab)."""
        return super().forward(F.pad(X, (BLOCK_SIZE - 1, 0), value=END).unfold(1, BLOCK_SIZE, 1))

    def body(self, emb: torch.Tensor) -> torch.Tensor:
        """(names, length, 3, 10) to (names, length, hidden)."""
        return torch.tanh(self.layer(emb.flatten(2)))


class WaveNet(Embedded):
    """Three layers that each join a place to an earlier one, 1, 2 and 4 places back: so the last sees 8 characters.

    Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, figure 3; the gates are left out.
    """

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__(vocab, hidden)
        self.layers = nn.ModuleList([nn.Linear(2 * hidden, hidden) for _ in range(3)])

    def body(self, emb: torch.Tensor) -> torch.Tensor:
        """(names, length, hidden) to the same."""
        h = emb
        for i, layer in enumerate(self.layers):
            earlier = F.pad(h, (0, 0, 2**i, 0))[:, : h.shape[1]]
            h = torch.tanh(layer(torch.cat([earlier, h], dim=-1)))
        return h


class Recurrent(Embedded):
    """A state that takes in one character after another, by cells of torch's."""

    def __init__(self, vocab: int, hidden: int, cells: nn.RNNBase) -> None:
        super().__init__(vocab, hidden)
        self.cells = cells

    def body(self, emb: torch.Tensor) -> torch.Tensor:
        """(names, length, hidden) to the same."""
        return self.cells(emb)[0]  # type: ignore[no-any-return]  # as above


class Transformer(Embedded):
    """Two blocks of attention over the characters so far.

    Source: Vaswani et al., "Attention Is All You Need", 2017, with the layer norms before the blocks.
    """

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__(vocab, hidden)
        self.position = nn.Parameter(0.02 * torch.randn(POSITIONS, hidden))
        heads = 1 if hidden % 4 else 4
        block = nn.TransformerEncoderLayer(hidden, heads, 4 * hidden, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, nn.LayerNorm(hidden), enable_nested_tensor=False)

    def body(self, emb: torch.Tensor) -> torch.Tensor:
        """(names, length, hidden) to the same."""
        length = emb.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, emb.device, emb.dtype)
        return self.blocks(emb + self.position[:length], mask=mask, is_causal=True)  # type: ignore[no-any-return]


MODULES: dict[str, Callable[[int, int], nn.Module]] = {
    "mlp": Mlp,
    "wavenet": WaveNet,
    "rnn": lambda vocab, hidden: Recurrent(vocab, hidden, nn.RNN(hidden, hidden, batch_first=True)),
    "gru": lambda vocab, hidden: Recurrent(vocab, hidden, nn.GRU(hidden, hidden, batch_first=True)),
    "lstm": lambda vocab, hidden: Recurrent(vocab, hidden, nn.LSTM(hidden, hidden, batch_first=True)),
    "transformer": Transformer,
    "bigram": Bigram,
    "bow": BagOfWords,
}


def build(model: str, vocab: int, hidden: int, seed: int, dtype: torch.dtype) -> nn.Module:
    """A network before training, drawn from a seed of its own, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODULES[model](vocab, hidden).to(dtype)
