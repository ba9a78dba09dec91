"""Names as sequences: what `train --model` takes, a minibatch at a time, from a DataLoader."""

import signal
from collections.abc import Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from examples.makemore.names import END, Examples

NOTHING = -100  # what follows the end of a name, in a row of longer ones; F.cross_entropy passes over it


class Names(Dataset[Examples]):
    """Each name as two rows of numbers: END and its characters, and the same one place on, with END at last."""

    def __init__(self, names: Sequence[str], chars: str) -> None:
        self.names = names
        self.index = {char: i for i, char in enumerate(chars, start=1)}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Examples:
        row = [END, *(self.index[char] for char in self.names[i]), END]
        return torch.tensor(row[:-1]), torch.tensor(row[1:])


def side_by_side(rows: Sequence[Examples]) -> Examples:
    """Puts rows of several lengths into X and Y (names, longest)."""
    X = pad_sequence([x for x, _ in rows], batch_first=True, padding_value=END)
    Y = pad_sequence([y for _, y in rows], batch_first=True, padding_value=NOTHING)
    return X, Y


class Batches(Sampler[list[int]]):
    """Which names are in each minibatch: from the shuffled list, then from the list shuffled anew, and so on.

    A minibatch is known from its number and the seed. So a training that is resumed takes those that it would have
    taken, and each of several processes takes a part of every one.

    Args:
        count: how many names there are.
        batch: how many are in a minibatch.
        seed: of the shuffling.
        first, last: the numbers of the minibatches: from `first` up to, and without, `last`.
        part: which part of each, and of how many.
    """

    def __init__(self, count: int, batch: int, seed: int, first: int, last: int, part: tuple[int, int] = (0, 1)):
        self.count, self.batch, self.seed = count, batch, seed
        self.steps, self.part = range(first, last), part

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        shuffled, order = -1, []
        rank, parts = self.part
        for step in self.steps:
            indices = []
            for place in range(step * self.batch + rank, (step + 1) * self.batch, parts):
                epoch, i = divmod(place, self.count)
                if epoch != shuffled:
                    g = torch.Generator().manual_seed(self.seed + epoch)
                    shuffled, order = epoch, torch.randperm(self.count, generator=g).tolist()
                indices.append(order[i])
            yield indices


def load(names: Names, batches: Batches, workers: int) -> DataLoader[Examples]:
    """The minibatches, made in this process or by so many workers, which changes nothing in them."""
    return DataLoader(
        names, batch_sampler=batches, collate_fn=side_by_side, num_workers=workers, worker_init_fn=leave_signals
    )


def leave_signals(worker: int) -> None:
    """Leaves Ctrl-C, which the terminal sends to workers as well, to the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
