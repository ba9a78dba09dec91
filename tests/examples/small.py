"""A small list of names, and the settings of a small network."""

from __future__ import annotations

import random
import re
from pathlib import Path

import torch

from examples.makemore import model
from examples.makemore import train as training

CPU = torch.device("cpu")
LECTURE_ORDER = """logprobs probs counts_sum_inv counts_sum counts norm_logits logit_maxes logits h W2 b2 hpreact bngain
    bnbias bnraw bnvar_inv bnvar bndiff2 bndiff bnmeani hprebn embcat W1 b1 emb C""".split()
ROW = re.compile(r"^\s*(\w+)\s*\|.*\bTrue\b.*\|", re.MULTILINE)
PNG = b"\x89PNG\r\n\x1a\n"


def make_list(path: Path, count: int = 60, alphabet: str = "abcdefgh") -> Path:
    rng = random.Random(count)
    words = ["".join(rng.choices(alphabet, k=rng.randint(2, 7))) for _ in range(count)]
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def config(engine="torch", hidden=12, batch=8, steps=20, seed=3, dtype=torch.float32):
    return training.Config(hidden, batch, steps, seed, engine, dtype)


def parameters(data, hidden=12, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return model.init_parameters(data.vocab_size, hidden, g, dtype), g
