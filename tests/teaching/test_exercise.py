"""``exercise``: the solution is right when run from the top, and the student's notebook says kindly what is blank."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tapegrad
from examples.makemore.compare import ROWS
from examples.makemore.model import forward, init_parameters
from tapegrad.teaching.literals import UNPACK, tensor_code
from tests.helpers import ours, randn, same_bits
from tests.teaching.run import cells, executed, markdown

pytest.importorskip("nbformat", reason="notebooks are written with the nbformat package: pip install nbformat")


def checks(values):
    return [v for v in values if isinstance(v, tapegrad.Checks)]


def solved(student, solution):
    """Both notebooks, run; the rows of the solution's checks, each one right."""
    rows = [row for table in checks(executed(cells(solution)))[:-1] for row in table]
    assert rows
    assert all(row.approximate for row in rows), rows
    assert len(rows) == len(cells(student, "blank")) == len(cells(student, "check"))
    before = checks(executed(cells(student)))
    assert [row.name for table in before[:-1] for row in table] == [row.name for row in rows]
    assert all(row.hint == "it is still to be written" for table in before for row in table)
    return rows


def lecture():
    generator = torch.Generator().manual_seed(2147483647)
    parameters = [tapegrad.tensor(p, True) for p in init_parameters(27, 64, generator, torch.float32)]
    Xb, Yb = torch.randint(0, 27, (32, 3), generator=generator), torch.randint(0, 27, (32,), generator=generator)
    return vars(forward(parameters, Xb, Yb))


def test_the_lectures_pass(tmp_path):
    v = lecture()
    student, solution = tapegrad.exercise(v["loss"], path=tmp_path / "pass.ipynb", names=v, code=forward)
    assert (student.name, solution.name) == ("pass.ipynb", "pass_solution.ipynb")
    rows = solved(student, solution)
    assert {row.name for row in rows} == set(ROWS)
    assert [row.name for row in rows][:8] == list(ROWS)[:8]  # in the order of the backward pass
    (lines,) = cells(student, "forward")
    for line in (
        "bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True)",
        "embcat = emb.view(emb.shape[0], -1)",
        "loss = -logprobs[range(n), Yb].mean()",
    ):
        assert line in lines.splitlines()


# --- other programs: each writes an exercise of its own loss ---


def mlp(path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    with tapegrad.recording():
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        return tapegrad.exercise(loss, path=path), 5


def logistic_regression(path):
    X, y = randn(20, 3), (randn(20, seed=1) > 0).double()
    w, b = ours(randn(3, seed=2)), ours(torch.tensor(0.1, dtype=torch.float64))
    z = X @ w + b
    p = torch.sigmoid(z)
    loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    return tapegrad.exercise(loss, blank=["p", "z", "w", b], path=path), 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.norm(x)


def what_cancels(path):
    """The sum of squares after a layer norm is a constant: its gradients are rounding and no more."""
    torch.manual_seed(1)
    net, x = Net(), torch.randn(6, 4)
    with tapegrad.recording():
        out = net(x)
        loss = out.square().mean()
        return tapegrad.exercise(loss, path=path), 7


def a_loop(path):
    x, W = ours(randn(3, 3)), ours(randn(3, 3, seed=1))
    for _ in range(3):
        x = torch.tanh(x @ W)
    loss = x.sum()
    return tapegrad.exercise(loss, path=path), 5


def convolution(path):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2))
    x = torch.randn(2, 1, 8, 8)
    with tapegrad.recording():
        loss = model(x).pow(2).mean()
        return tapegrad.exercise(loss, path=path), 4


def indices_and_pieces(path):
    a, b = ours(randn(4, 3)), ours(randn(3, seed=1))
    p = (a * b).softmax(1)
    out = torch.cat([p, a], 1)
    q = out[:, 1:4]
    best = q.max(1).values
    loss = (q**3).sum() + best.sum()
    return tapegrad.exercise(loss, path=path), 6


def dropped_out(path):
    x = ours(randn(30))
    h = F.dropout(x, 0.5, True)
    loss = (h * h).sum()
    return tapegrad.exercise(loss, path=path), 2


def names_that_clash(path):
    """What the cells of the notebook mean by a name, they go on to mean."""
    h = ours(randn(3))
    dh = h * 2
    tape = dh.exp()
    F = tape * h
    range = F.tanh()
    loss = range.sum()
    return tapegrad.exercise(loss, path=path), 5


def no_names(path):
    x = ours(randn(4, 3))
    return tapegrad.exercise((x.exp() * x).mean(), path=path), 1


def integers_and_masks(path):
    x = ours(randn(3, 4))
    keep = torch.tensor([[True, False, True, True]] * 3)
    h = x.masked_fill(~keep, 0.5).clamp(min=0)
    loss = (h * torch.arange(4)).sum()
    return tapegrad.exercise(loss, path=path), 2


PROGRAMS = [
    mlp, logistic_regression, what_cancels, a_loop, convolution, indices_and_pieces, dropped_out, names_that_clash,
    no_names, integers_and_masks,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_other_programs(program, tmp_path):
    (student, solution), blanks = program(tmp_path / "exercise.ipynb")
    assert len(solved(student, solution)) == blanks


def test_the_same_notebooks_each_time(tmp_path):
    first, second = [logistic_regression(tmp_path / f"{i}.ipynb")[0] for i in (1, 2)]
    assert [p.read_text() for p in first] == [p.read_text() for p in second]


# --- what a student does ---


@pytest.fixture
def tanh(tmp_path):
    x = randn(5, 3)
    W = ours(randn(3, 2, seed=1))
    z = x @ W
    h = torch.tanh(z)
    s = h.sum(1)
    loss = (s * s).mean()
    return tapegrad.exercise(loss, ["h", "W"], tmp_path / "tanh.ipynb")


def test_what_is_not_asked_for_is_given(tanh):
    student, solution = tanh
    assert [c.partition(" ")[0] for c in cells(student, "blank")] == ["dh", "dW"]
    given = "\n".join(cells(student, "given"))
    assert "dz = " in given
    assert 'tape.grad("h")' in given  # not the student's, which may be blank or wrong
    assert "tape.grad" not in "\n".join(cells(solution, "given"))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("ds[:, None].expand(5, 2)", ""),
        ("ds.expand(2, 5)", "transposed"),
        ("-ds[:, None].expand(5, 2)", "the sign is wrong"),
        ("ds", "its shape is (5,), and should be (5, 2)"),
        ("tape.grad('h')", ""),
    ],
)
def test_a_student_writes_a_line(tanh, written, says):
    student, _ = tanh
    source = [c.replace("dh = ...", f"dh = {written}") for c in cells(student)]
    first, second, both = checks(executed(source))
    assert first.approximate == (not says)
    assert says in first[0].hint
    assert second[0].hint == "it is still to be written"
    assert len(both) == 2


def test_cells_may_run_again(tanh):
    _, solution = tanh
    space = {"__name__": "__main__"}
    for _ in range(2):
        assert all(table.approximate for table in checks(executed(cells(solution), space)))


def test_the_solution_says_why(tanh):
    student, solution = tanh
    assert "The derivative of tanh" not in markdown(student)
    assert "A sum becomes a broadcast" in markdown(solution)
    assert "s = h.sum(1)" in markdown(student)


# --- what it starts from ---


@pytest.mark.parametrize(
    "t",
    [
        randn(3, dtype=torch.float32), randn(50, 50), torch.tensor(-0.0), torch.tensor([torch.inf, torch.nan, 0.1]),
        torch.arange(96).reshape(32, 3), torch.tensor([True]), randn(3).bfloat16(), randn(4, 5).T, torch.zeros(0, 3),
        torch.tensor([1e-45, 1.1754943e-38, 16777217.0, 1e20, 1e300], dtype=torch.float64),
        torch.tensor([1 - 2j]).conj(), randn(200, dtype=torch.float32),
    ],
)  # fmt: skip
def test_values_to_the_last_bit(t):
    space = {"torch": torch}
    exec(UNPACK, space)
    again = eval(tensor_code(t), space)
    assert same_bits(again, t.resolve_conj(), signed=True)


def test_setup_makes_them(tmp_path):
    x = torch.ones(2, 3)
    w = tapegrad.tensor(torch.full((3,), 0.5), requires_grad=True)
    loss = (x @ w).exp().sum()
    setup = "x = torch.ones(2, 3)\nw = tapegrad.tensor(torch.full((3,), 0.5), requires_grad=True)"
    student, solution = tapegrad.exercise(loss, path=tmp_path / "e.ipynb", setup=setup)
    solved(student, solution)
    assert cells(student, "setup") == [setup]
    with pytest.raises(ValueError, match="setup does not make all that the pass starts from: name 'w'"):
        tapegrad.exercise(loss, path=tmp_path / "e.ipynb", setup="x = torch.ones(2, 3)")
    with pytest.raises(ValueError, match="the forward pass gives another loss"):
        tapegrad.exercise(loss, path=tmp_path / "e.ipynb", setup=setup.replace("0.5", "0.25"))


def test_what_is_too_large_or_has_no_elements(tmp_path):
    w = ours(torch.zeros(600, 600))
    loss = w.exp().sum()
    with pytest.raises(ValueError, match=r"take 1,440,000 bytes.*pass setup= with code that makes w"):
        tapegrad.exercise(loss, path=tmp_path / "e.ipynb")
    setup = "w = tapegrad.tensor(torch.zeros(600, 600), requires_grad=True)"
    solved(*tapegrad.exercise(loss, path=tmp_path / "e.ipynb", setup=setup))


# --- hostile names, and mistakes ---

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"\nimport os; os.abort()\n#',
    "`` ` ```",
    "$x$ ![a](javascript:alert(1))",
    "tapegrad",
    "__import__('os').abort()",
    "\u202e\x00",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_titles_do_not_break_out(name, tmp_path):
    x, c = ours(randn(3)), randn(3, seed=1)
    y = x.exp() * c
    loss = y.sum()
    names = {name: x, f"{name}!": y, f"{name}?": c, "loss": loss}
    student, solution = tapegrad.exercise(loss, path=tmp_path / "e.ipynb", names=names, title=name)
    assert len(solved(student, solution)) == 2
    for path in (student, solution):
        assert "abort" not in "\n".join(cells(path)) or "abort()" not in "\n".join(cells(path))
        text = markdown(path)
        assert "\x00" not in text
        assert "\u202e" not in text
        first = text.splitlines()[0]  # the title is one line, and its signs are escaped
        assert first.startswith("# ")
        assert not any(first[i] in "<`$![" and first[i - 1] != "\\" for i in range(2, len(first)))
        json.loads(path.read_text())


def test_mistakes_are_named(tmp_path):
    path = tmp_path / "e.ipynb"
    x = ours(randn(3))
    y = (x * 2).exp()
    loss = y.sum()
    with pytest.raises(ValueError, match="no tensor on the tape is called 'z'"):
        tapegrad.exercise(loss, ["z"], path)
    with pytest.raises(ValueError, match="'mul_0' has no name in your code"):
        tapegrad.exercise(loss, ["mul_0"], path)
    with pytest.raises(TypeError, match=r"a list of names, such as \['y'\], not a string"):
        tapegrad.exercise(loss, "y", path)
    with pytest.raises(ValueError, match="blank is empty"):
        tapegrad.exercise(loss, [], path)
    with pytest.raises(ValueError, match=r"must be one number, and this is of shape \(3,\)"):
        tapegrad.exercise(y, path=path)
    with pytest.raises(ValueError, match=r"the suffix must be \.ipynb"):
        tapegrad.exercise(loss, path=tmp_path / "e.html")
    with pytest.raises(TypeError, match="not a list"):
        tapegrad.exercise([loss], path=path)
    with pytest.raises(ValueError, match="does not require grad"):
        tapegrad.exercise(loss.detach(), path=path)
    with pytest.raises(ValueError, match="is a leaf"):
        tapegrad.exercise(ours(torch.tensor(1.0)), path=path)
    loss.backward()
    with pytest.raises(tapegrad.FreedTape, match="exercise: "):
        tapegrad.exercise(loss, path=path)
    assert not path.exists()


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nbformat", None)
    x = ours(randn(3))
    with pytest.raises(ImportError, match=r"pip install 'tapegrad\[notebooks\]'"):
        tapegrad.exercise(x.exp().sum(), path=tmp_path / "e.ipynb")


def test_in_jupyter(tanh):
    """As a kernel runs it, whose cells have the names."""
    nbclient = pytest.importorskip("nbclient", reason="cells are run with nbclient: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="cells are run with nbclient: pip install nbclient ipykernel")
    import nbformat

    for path, text in zip(tanh, ("it is still to be written", "approximate: True"), strict=True):
        notebook = nbformat.read(path, 4)
        nbclient.NotebookClient(notebook, timeout=120).execute()
        data = [
            o["data"]
            for c in notebook.cells
            if "check" in c.metadata.get("tags", [])
            for o in c.outputs
            if o.output_type == "execute_result"
        ]
        assert len(data) == 2
        assert all(text in d["text/plain"] and "<table" in d["text/html"] for d in data)
