"""A list of names becomes a data set: three splits, and three characters of context with what follows them."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeGuard

import torch

from examples.makemore import files
from examples.makemore.errors import UserError

DEFAULT_LIST = Path(__file__).with_name("names.txt")
BLOCK_SIZE = 3  # context length: how many characters predict the next one
END = 0  # before a name's first character and after its last; a number, so that any character may stand in a name
LARGEST = 10**7  # bytes of a list
LONGEST = 10**5  # characters of a name
FEWEST = 6  # with fewer names, one of the three splits would be empty

Examples: TypeAlias = tuple[torch.Tensor, torch.Tensor]  # X: contexts (N, BLOCK_SIZE), Y: what follows (N,)


@dataclass(frozen=True)
class Split:
    """The alphabet, the shuffled names in three splits, and a digest that tells one list from another."""

    chars: str
    train: list[str]
    val: list[str]
    test: list[str]
    digest: str


@dataclass(frozen=True)
class Data:
    """The alphabet, the examples in three splits, and the digest of the list."""

    chars: str
    train: Examples
    val: Examples
    test: Examples
    digest: str

    @property
    def vocab_size(self) -> int:
        """How many different characters there are, END included."""
        return len(self.chars) + 1


def read_names(path: Path) -> list[str]:
    """Reads one name a line: UTF-8, any alphabet; empty lines and space around a name do not count."""
    try:
        text = files.read(path, LARGEST).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"cannot read the names in {path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"cannot read the names: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read the names in {path}: not UTF-8 text (byte {error.start})") from error
    if "\0" in text:
        raise UserError(f"cannot read the names in {path}: not text (a zero byte)")
    names = [name for line in text.splitlines() if (name := line.strip())]
    if len(names) < FEWEST:
        raise UserError(f"too few names in {path}: {len(names)}, and three splits need at least {FEWEST}")
    if (length := len(max(names, key=len))) > LONGEST:
        raise UserError(f"cannot read the names in {path}: one has {length:,} characters, more than {LONGEST:,}")
    return names


def encode(names: Sequence[str], chars: str, device: torch.device) -> Examples:
    """Makes one example of every character of every name, and one of its end."""
    index = {char: i for i, char in enumerate(chars, start=1)}
    contexts, targets = [], []
    for name in names:
        context = [END] * BLOCK_SIZE
        for target in [*(index[char] for char in name), END]:
            contexts.append(context)
            targets.append(target)
            context = [*context[1:], target]
    return torch.tensor(contexts, device=device), torch.tensor(targets, device=device)


def is_alphabet(chars: object) -> TypeGuard[str]:
    """Whether these can be the characters of a list."""
    return type(chars) is str and chars != "" and list(chars) == sorted(set(chars))


def load_split(path: Path) -> Split:
    """Shuffles the names as the lecture does and splits them 80 / 10 / 10."""
    names = read_names(path)
    chars = "".join(sorted(set("".join(names))))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    random.Random(42).shuffle(names)
    n1, n2 = int(0.8 * len(names)), int(0.9 * len(names))
    return Split(chars, names[:n1], names[n1:n2], names[n2:], digest)


def load_data(path: Path, device: torch.device) -> Data:
    """The list as the lecture's examples."""
    names = load_split(path)
    train, val, test = (encode(split, names.chars, device) for split in (names.train, names.val, names.test))
    return Data(names.chars, train, val, test, names.digest)
