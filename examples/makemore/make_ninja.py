"""Write `ninja.ipynb` and `ninja_solution.ipynb` again: the lecture's exercises, with tapegrad as the teacher.

`python -m examples.makemore.make_ninja` writes both, `--check` says whether they are current. They hold no outputs:
those are of one machine and one version of torch, and `jupyter execute` makes them in a minute. The lines of the
forward pass are those of `model.forward`, and what is asked for stands in `ninja_lines`.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

from examples.makemore import model
from examples.makemore.names import DEFAULT_LIST
from examples.makemore.ninja_lines import (
    BATCH_NORM,
    CROSS_ENTROPY,
    GRADIENTS,
    GRADIENTS_BLANK,
    SECTIONS,
    TRAINING,
    TRAINING_FORWARD,
)
from examples.makemore.ninja_words import WORDS
from tapegrad.teaching.notebook import Cell, code, notebook, words

HERE = Path(__file__).parent
GIRLS = 18_309  # names of girls come first in the list: see NAMES.md
FEW = 150  # of the girls' names and of the boys' each, for where there is no names.txt


def forward_lines() -> str:
    """The statements of `model.forward` from the embedding to the loss, as they stand there, without comments."""
    source = inspect.getsource(model.forward)
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    texts = [ast.get_source_segment(source, s) or "" for s in function.body if isinstance(s, ast.Assign)]
    return "\n".join(texts[2:])


def few_names() -> str:
    """The most frequent names of the list, in lines."""
    names = DEFAULT_LIST.read_text(encoding="utf-8").split()
    lines, line = [], ""
    for name in [*names[:FEW], *names[GIRLS : GIRLS + FEW]]:
        if len(line) + len(name) > 108:
            lines.append(line)
            line = ""
        line = f"{line} {name}".strip()
    return "\n".join([*lines, line])


def cells(solved: bool) -> Iterator[Cell]:
    """The cells of one of the two notebooks."""
    yield words(WORDS["solution" if solved else "exercise"])
    yield code(
        "import random\nfrom pathlib import Path\n\nimport torch\nimport torch.nn.functional as F\n\nimport tapegrad"
    )
    yield words(WORDS["names"])
    yield code(f'FEW_NAMES = """\n{few_names()}\n"""', hidden=True)
    yield code(_NAMES)
    yield words(WORDS["network"])
    yield code(_NETWORK)
    yield words(WORDS["forward"])
    yield code(f"torch.set_grad_enabled(True)  # tapegrad records\n{forward_lines()}\nloss", "forward")
    yield words(WORDS["tape"])
    yield code("tape = tapegrad.tape(loss)\ntape.backward()\ntorch.set_grad_enabled(False)\ntape")
    yield words(WORDS["exercise 1"])
    names = []
    for title, questions in SECTIONS.items():
        yield words(f"### {title}")
        for name, nudge, answer in questions:
            names.append(name)
            yield words(f"**`d{name}`.** {nudge}")
            yield code(answer if solved else f"d{name} = ...", "answer" if solved else "blank")
            yield code(f'tapegrad.check(tape, {{"{name}": d{name}}})', "check")
    yield words(WORDS["all"])
    rows = "\n".join(f'    "{name}": d{name},' for name in names)
    end = "\nassert checks.exact and len(checks) == 26" if solved else ""
    yield code(f"checks = tapegrad.check(tape, {{\n{rows}\n}}){end}\nchecks", "check-all")
    yield words(WORDS["picture"])
    yield code("tapegrad.viz.draw(tape)", "picture")
    yield code("tapegrad.viz.page(tape)", "page")
    yield words(WORDS["exercise 2"])
    yield code("loss_fast = F.cross_entropy(logits, Yb)\n(loss_fast - loss).item()")
    yield code(CROSS_ENTROPY if solved else "dlogits = ...", "answer" if solved else "blank")
    yield code('tapegrad.check(tape, {"logits": dlogits})', "check")
    if solved:
        yield words(WORDS["derive 2"])
        yield code('tapegrad.derive(tape, of="logits")', "derive")
    yield words(WORDS["exercise 3"])
    yield code(BATCH_NORM if solved else "dhprebn = ...", "answer" if solved else "blank")
    yield code('tapegrad.check(tape, {"hprebn": dhprebn})', "check")
    if solved:
        yield words(WORDS["derive 3"])
        yield code('tapegrad.derive(tape, of="hprebn", start="hpreact")', "derive")
    yield words(WORDS["exercise 4"])
    yield code(TRAINING_FORWARD)
    yield words(WORDS["gradients"])
    yield code(GRADIENTS if solved else GRADIENTS_BLANK, "answer" if solved else "blank")
    yield code(_CHECK_TRAINING + ("\nassert checks.approximate" if solved else "") + "\nchecks", "check")
    yield words(WORDS["train"])
    yield code(TRAINING)
    yield words(WORDS["sample"])
    yield code(_SAMPLE, "samples")


_NAMES = """
file = Path("names.txt")
names = file.read_text(encoding="utf-8").split() if file.exists() else FEW_NAMES.split()
letters = "".join(sorted(set("".join(names))))
block_size, vocab_size = 3, len(letters) + 1  # 0 stands for the end of a name, and for what is before its first letter


def examples(names):
    X, Y = [], []
    for name in names:
        context = [0] * block_size
        for target in [*(letters.index(letter) + 1 for letter in name), 0]:
            X.append(context)
            Y.append(target)
            context = [*context[1:], target]
    return torch.tensor(X), torch.tensor(Y)


random.Random(42).shuffle(names)
cut = int(0.9 * len(names))
Xtr, Ytr = examples(names[:cut])
Xval, Yval = examples(names[cut:])
print(f"{len(names):,} names, {len(Xtr):,} examples to learn from, {len(Xval):,} to judge by")
"""

_NETWORK = """
n_embd, n_hidden, n = 10, 64, 32  # numbers for a letter, neurons, examples in a batch
g = torch.Generator().manual_seed(2147483647)


def init(n_hidden):
    fan_in = n_embd * block_size
    return [
        torch.randn((vocab_size, n_embd), generator=g),  # C, a row for each letter
        torch.randn((fan_in, n_hidden), generator=g) * (5 / 3) / fan_in**0.5,  # W1
        torch.randn(n_hidden, generator=g) * 0.1,  # b1
        torch.randn((n_hidden, vocab_size), generator=g) * 0.1,  # W2
        torch.randn(vocab_size, generator=g) * 0.1,  # b2
        torch.randn((1, n_hidden), generator=g) * 0.1 + 1.0,  # bngain
        torch.randn((1, n_hidden), generator=g) * 0.1,  # bnbias
    ]


C, W1, b1, W2, b2, bngain, bnbias = [tapegrad.tensor(p, requires_grad=True) for p in init(n_hidden)]
ix = torch.randint(0, len(Xtr), (n,), generator=g)
Xb, Yb = Xtr[ix], Ytr[ix]
"""

_CHECK_TRAINING = """
parameters = [tapegrad.tensor(p, requires_grad=True) for p in init(n_hidden)]
with torch.enable_grad():
    v = forward(parameters, Xb, Yb)
answers = dict(zip(("C", "W1", "b1", "W2", "b2", "bngain", "bnbias"), gradients(v), strict=True))
checks = tapegrad.check(v["loss"], answers, names=v)
""".strip()

_SAMPLE = """
g = torch.Generator().manual_seed(2147483657)
hprebn = C[Xtr].flatten(1) @ W1 + b1  # batch norm now takes its mean and variance from all examples
bnmean, bnvar = hprebn.mean(0, keepdim=True), hprebn.var(0, keepdim=True)


def logits_of(X):
    hpreact = bngain * (C[X].flatten(1) @ W1 + b1 - bnmean) * (bnvar + 1e-5)**-0.5 + bnbias
    return torch.tanh(hpreact) @ W2 + b2


print(f"loss on names it has not seen: {F.cross_entropy(logits_of(Xval), Yval).item():.4f}")
for _ in range(20):
    context, name = [0] * block_size, ""
    while len(name) < 30:
        probs = F.softmax(logits_of(torch.tensor([context])), dim=1)
        ix = torch.multinomial(probs, num_samples=1, generator=g).item()
        if ix == 0:
            break
        context, name = [*context[1:], ix], name + letters[ix - 1]
    print(name)
"""


def texts() -> dict[Path, str]:
    """Each notebook's path, and what is to stand there."""
    return {
        HERE / name: nbformat.writes(notebook(list(cells(solved)))) + "\n"
        for name, solved in (("ninja.ipynb", False), ("ninja_solution.ipynb", True))
    }


if __name__ == "__main__":
    for path, text in texts().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is not current: run python -m examples.makemore.make_ninja")
