import hashlib
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))  # the examples are not installed

from examples.makemore import checkpoint, cli, manual, model, names, sample
from examples.makemore import train as training
from examples.makemore.errors import UserError

ROOT = Path(__file__).parents[1]
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


@pytest.fixture
def small(tmp_path):
    return make_list(tmp_path / "small.txt")


@pytest.fixture
def data(small):
    return names.load_data(small, CPU)


@pytest.fixture
def run(capsys):
    """Runs a command line; returns its exit code, its stdout and its stderr."""

    def run(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


def config(engine="torch", hidden=12, batch=8, steps=20, seed=3, dtype=torch.float32):
    return training.Config(hidden, batch, steps, seed, engine, dtype)


def parameters(data, hidden=12, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return model.init_parameters(data.vocab_size, hidden, g, dtype), g


# --- the names


def test_the_list_that_ships():
    raw = names.DEFAULT_LIST.read_bytes()
    words = names.read_names(names.DEFAULT_LIST)
    assert len(words) == 32_469
    assert len(set(words)) == 29_910
    assert words[:3] == ["emma", "olivia", "ava"]
    assert words[18_309] == "liam"  # the first of the boys
    assert {len(word) for word in words} == set(range(2, 16))
    assert "".join(sorted(set("".join(words)))) == "abcdefghijklmnopqrstuvwxyz"
    assert hashlib.sha256(raw).hexdigest() in names.DEFAULT_LIST.with_name("NAMES.md").read_text(encoding="utf-8")


def test_lines_are_read_leniently(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffanna\r\n\r\n  mary ann\t\r\nзоя\n\nst. john\nŁucja\nx".encode())
    assert names.read_names(path) == ["anna", "mary ann", "зоя", "st. john", "Łucja", "x"]


def test_examples_of_a_name():
    X, Y = names.encode(["ab", "b"], "ab", CPU)
    assert X.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 0, 0], [0, 0, 2]]
    assert Y.tolist() == [1, 2, 0, 2, 0]


def test_the_end_marker_clashes_with_no_character(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(["a.", ".b", "...", "a", "b", "."]), encoding="utf-8")
    data = names.load_data(path, CPU)
    assert data.chars == ".ab"
    targets = torch.cat([data.train[1], data.val[1], data.test[1]])
    assert targets.bincount().tolist() == [6, 6, 2, 2]  # six ends, six dots, two of each letter


def test_the_split_is_the_lectures(small):
    words = small.read_text().split()
    random.seed(42)
    random.shuffle(words)
    data = names.load_data(small, CPU)
    for split, part in zip((data.train, data.val, data.test), (words[:48], words[48:54], words[54:]), strict=True):
        X, Y = names.encode(part, data.chars, CPU)
        assert torch.equal(split[0], X)
        assert torch.equal(split[1], Y)


@pytest.mark.parametrize("count", range(names.FEWEST, 40))
def test_no_split_is_empty(tmp_path, count):
    data = names.load_data(make_list(tmp_path / "names.txt", count), CPU)
    assert min(len(data.train[1]), len(data.val[1]), len(data.test[1])) > 0


def write_bad_list(tmp_path, kind):
    path = tmp_path / "bad.txt"
    content = {
        "empty": b"",
        "blank": b"\n  \n\t\r\n",
        "few": b"ann\nbob\n\ncid\ndan\neve\n",
        "latin-1": "anna\nzoë\n".encode("latin-1") * 9,
        "utf-16": "anna\nzoë\n".encode("utf-16") * 9,
    }
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "No such file"),
        ("directory", "cannot read"),
        ("empty", "too few names.*: 0,"),
        ("blank", "too few names.*: 0,"),
        ("few", "too few names.*: 5,"),
        ("latin-1", r"not UTF-8 text \(byte 7\)"),
        ("utf-16", r"not UTF-8 text \(byte 0\)"),
    ],
)
def test_bad_lists(run, tmp_path, kind, message):
    path = write_bad_list(tmp_path, kind)
    code, out, err = run("train", "--names", path, "--steps", 1, "--out", tmp_path / "out")
    assert code == 2
    assert out == ""
    assert re.search(message, err)
    assert str(path) in err
    assert err.count("\n") == 1


# --- the command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--hidden", "0"], "--hidden: '0' is not a whole number from 1"),
        (["compare", "--hidden", "many"], "--hidden: 'many' is not"),
        (["draw", "--hidden", "1.5"], "--hidden: '1.5' is not"),
        (["train", "--hidden", "10000000000"], "from 1 to 65536"),
        (["train", "--batch", "1"], "--batch: '1' is not a whole number from 2"),
        (["train", "--steps", "-1"], "--steps: '-1' is not"),
        (["--steps", "0"], "--steps: '0' is not"),
        (["sample", "--seed", "-3"], "--seed: '-3' is not"),
        (["train", "--engine", "jax"], "--engine: invalid choice"),
        (["compare", "--dtype", "float16"], "--dtype: invalid choice"),
        (["train", "--device", "abacus"], "--device: torch cannot use 'abacus'"),
        (["sample", "--device", "meta"], "--device: torch cannot use 'meta'"),
        (["all", "--device", "cuda:99"], "--device: torch cannot use 'cuda:99'"),
        (["sample", "--steps", "5"], "unrecognized arguments: --steps 5"),
        (["compare", "--engine", "torch"], "unrecognized arguments: --engine torch"),
        (["bake"], "invalid choice: 'bake'"),
        (["--hidden"], "--hidden: expected one argument"),
    ],
)
def test_bad_options(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["draw", "train", "source", "all"])
@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_out_that_is_a_file(run, small, command, inside):
    code, out, err = run(command, "--names", small, "--out", small / inside)
    assert (code, out) == (2, "")
    assert f"--out: cannot write to {small / inside}" in err
    assert err.count("\n") == 1


def test_out_without_write_permission(run, small, tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(cli.tempfile, "TemporaryFile", refuse)  # the tests may run as root, who may write anywhere
    code, _, err = run("train", "--names", small, "--out", tmp_path)
    assert code == 2
    assert err.endswith(f"--out: cannot write to {tmp_path}: Permission denied\n")


def test_an_error_while_writing(run, small, tmp_path):
    (tmp_path / "loss.png").mkdir()
    code, _, err = run("train", "--engine", "torch", "--names", small, "--steps", 1, "--out", tmp_path)
    assert code == 2
    assert "loss.png" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(("package", "words"), [("tqdm", ["train", "--engine", "torch"]), ("tapegrad", ["compare"])])
def test_a_missing_package_is_named(run, small, tmp_path, monkeypatch, package, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "examples.makemore.compare", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run(*words, "--names", small)
    assert code == 2
    assert package in err
    assert "pip install" in err
    assert err.count("\n") == 1


def test_an_interrupt_ends_quietly(run, small, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", interrupt)
    code, _, err = run("train", "--names", small, "--out", tmp_path)
    assert code == 2
    assert err == "python -m examples.makemore train: error: interrupted\n"


@pytest.mark.parametrize("words", [["-h"], ["--help"], *([command, "-h"] for command in cli.COMMANDS)])
def test_help(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    described = cli.COMMANDS if len(words) == 1 else [f"--{name}" for name in cli.COMMANDS[words[0]][1].split()]
    for word in described:
        assert re.search(rf"^ +{word}\b.*", out, re.MULTILINE)


# --- the model and the gradients by hand


def test_parameters_start_where_the_lectures_do():
    C, W1, b1, W2, b2, bngain, bnbias = model.init_parameters(27, 64, torch.Generator().manual_seed(7), torch.float32)
    g = torch.Generator().manual_seed(7)
    assert torch.equal(C, torch.randn((27, 10), generator=g))
    assert torch.equal(W1, torch.randn((30, 64), generator=g) * (5 / 3) / (30**0.5))
    assert torch.equal(b1, torch.randn(64, generator=g) * 0.1)
    assert torch.equal(W2, torch.randn((64, 27), generator=g) * 0.1)
    assert torch.equal(b2, torch.randn(27, generator=g) * 0.1)
    assert torch.equal(bngain, torch.randn((1, 64), generator=g) * 0.1 + 1.0)
    assert torch.equal(bnbias, torch.randn((1, 64), generator=g) * 0.1)


@pytest.mark.parametrize("batch", [2, 8])
def test_three_forward_passes_agree(data, batch):
    start, g = parameters(data)
    Xb, Yb = model.draw_batch(data.train, batch, g)
    long, short = model.forward(start, Xb, Yb), model.training_forward(start, Xb, Yb)
    torch.testing.assert_close(long.loss, short.loss)
    torch.testing.assert_close(long.hpreact, short.hpreact)
    torch.testing.assert_close(model.predict(start, short.bnmean, short.bnvar, Xb), short.logits)
    torch.testing.assert_close(F.cross_entropy(long.logits, Yb), long.loss)


@pytest.mark.parametrize("batch", [2, 5, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_by_hand(data, batch, seed):
    start, g = parameters(data, seed=seed)
    Xb, Yb = model.draw_batch(data.train, batch, g)
    by_hand = manual.gradients(model.training_forward(start, Xb, Yb))
    leaves = [p.clone().requires_grad_() for p in start]
    expected = torch.autograd.grad(model.training_forward(leaves, Xb, Yb).loss, leaves)
    for name, ours, theirs in zip(model.PARAMETERS, by_hand, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")


# --- training


def test_training_is_the_lectures_loop(data):
    steps, seed, batch, hidden = 5, 11, 6, 9
    g = torch.Generator().manual_seed(seed)
    expected = [p.requires_grad_() for p in model.init_parameters(data.vocab_size, hidden, g, torch.float32)]
    losses = []
    for i in range(steps):
        ix = torch.randint(0, len(data.train[1]), (batch,), generator=g)
        loss = model.training_forward(expected, data.train[0][ix], data.train[1][ix]).loss
        for p, grad in zip(expected, torch.autograd.grad(loss, expected), strict=True):
            p.data += -(0.1 if i in (0, 1, 2) else 0.01) * grad
        losses.append(loss.item())
    trained, lossi = training.train(data, config("torch", hidden, batch, steps, seed))
    assert lossi == losses
    assert all(torch.equal(a, b) for a, b in zip(trained, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("hidden", "batch", "steps"), [(64, 32, 200), (200, 32, 200), (7, 2, 50)])
def test_tapegrad_and_torch_end_bit_equal(data, dtype, hidden, batch, steps):
    ours, our_losses = training.train(data, config("tapegrad", hidden, batch, steps, dtype=dtype))
    theirs, their_losses = training.train(data, config("torch", hidden, batch, steps, dtype=dtype))
    assert our_losses == their_losses
    for name, a, b in zip(model.PARAMETERS, ours, theirs, strict=True):
        assert torch.equal(a, b), name
        assert a.dtype is dtype


def test_by_hand_ends_close_to_torch(data):
    ours, our_losses = training.train(data, config("manual", steps=200, dtype=torch.float64))
    theirs, their_losses = training.train(data, config("torch", steps=200, dtype=torch.float64))
    assert our_losses == pytest.approx(their_losses, rel=1e-9)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_training_learns(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("anna\n" * 20, encoding="utf-8")
    data = names.load_data(path, CPU)
    trained, losses = training.train(data, config(steps=300))
    calibrated = training.calibrate(data, trained, config())
    assert training.split_loss(calibrated, data.test) < 0.05 < 1.0 < losses[0]
    assert sample.sample(calibrated, 0).count("anna") > 15


@pytest.mark.parametrize("engine", ["tapegrad", "manual"])
def test_no_training_but_torchs_calls_torch_autograd(data, engine, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("torch.autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    trained, _ = training.train(data, config(engine, steps=3))
    assert not any(p.requires_grad for p in trained)
    with pytest.raises(AssertionError, match=r"torch\.autograd was called"):
        training.train(data, config("torch", steps=3))


def test_training_gives_the_threads_back(data, monkeypatch):
    during = []
    monkeypatch.setattr(training, "training_forward", lambda *_: during.append(torch.get_num_threads()))
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(AttributeError):  # the stand-in returns no loss
            training.train(data, config())
        assert (during, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(threads)


def test_divergence_is_reported(data, monkeypatch):
    monkeypatch.setattr(training, "init_parameters", lambda *_: [p * 1e200 for p in parameters(data)[0]])
    with pytest.raises(UserError, match="diverged"):
        training.train(data, config())


def test_calibration_and_split_loss(data, monkeypatch):
    trained = parameters(data)[0]
    calibrated = training.calibrate(data, trained, config())
    X, Y = data.train
    whole = model.training_forward(trained, X, Y)  # the training set as one batch
    torch.testing.assert_close(calibrated.bnmean, whole.bnmean)
    torch.testing.assert_close(calibrated.bnvar, whole.bnvar)
    monkeypatch.setattr(training, "CHUNK", 7)
    assert training.split_loss(calibrated, data.train) == pytest.approx(whole.loss.item(), rel=1e-12)
    expected = F.cross_entropy(calibrated(data.val[0]), data.val[1]).item()
    assert training.split_loss(calibrated, data.val) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 199, 450])
def test_loss_curve(tmp_path, steps):
    path = tmp_path / "loss.png"
    training.plot_losses([2.0 + 1 / (i + 1) for i in range(steps)], path)
    assert path.read_bytes().startswith(PNG)


# --- the checkpoint and the samples


def test_checkpoint_round_trip(data, tmp_path):
    path = tmp_path / checkpoint.FILE_NAME
    stored = training.calibrate(data, training.train(data, config())[0], config())
    checkpoint.save(stored, path)
    loaded = checkpoint.load(path, CPU)
    assert (loaded.chars, loaded.config) == (stored.chars, stored.config)
    assert loaded.config["hidden"] == 12
    assert loaded.config["dtype"] == "torch.float32"
    assert torch.equal(loaded(data.test[0]), stored(data.test[0]))
    assert sample.sample(loaded, 5) == sample.sample(stored, 5)


def write_bad_checkpoint(path, kind):
    if kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    elif kind == "cut short":
        torch.save({"tensors": {"C": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "code":
        torch.save({"tensors": SimpleNamespace()}, path)  # weights_only refuses to build the object
    else:
        torch.save({"dictionary": {"weight": torch.zeros(2)}, "list": [torch.zeros(2)]}[kind], path)


@pytest.mark.parametrize("kind", ["text", "empty", "directory", "cut short", "code", "dictionary", "list"])
def test_bad_checkpoint(run, tmp_path, kind):
    write_bad_checkpoint(tmp_path / checkpoint.FILE_NAME, kind)
    code, out, err = run("sample", "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "is not a checkpoint of this example" in err
    assert err.count("\n") == 1


def test_sample_before_train(run, tmp_path):
    code, out, err = run("sample", "--out", tmp_path / "nothing")
    assert (code, out) == (2, "")
    assert "run `python -m examples.makemore train` first" in err
    assert not (tmp_path / "nothing").exists()


def test_a_name_that_never_ends_is_cut(data):
    start = parameters(data)[0]
    start[4] = torch.full_like(start[4], -1e4)
    start[4][1] = 1e4  # b2: always the first character
    calibrated = training.calibrate(data, start, config())
    assert sample.sample(calibrated, 0, count=2) == [data.chars[0] * sample.LONGEST] * 2


def test_samples_follow_the_probabilities(data):
    calibrated = training.calibrate(data, parameters(data)[0], config())
    first = calibrated(torch.zeros(1, 3, dtype=torch.long)).softmax(1)[0].tolist()
    drawn = [name[:1] for name in sample.sample(calibrated, 1, count=1500)]
    for i, char in enumerate(["", *data.chars]):
        assert drawn.count(char) / len(drawn) == pytest.approx(first[i], abs=0.05)


# --- the commands, end to end


def check_pictures(out):
    assert (out / "graph.png").read_bytes().startswith(PNG)
    text = " ".join(ET.parse(out / "graph.svg").getroot().itertext())
    for name in [*LECTURE_ORDER, "loss"]:
        assert re.search(rf"\b{name}\b", text), name


@pytest.mark.parametrize("seed", [0, 2147483647])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [64, 200])
def test_compare(run, data, small, hidden, dtype, seed):
    code, out, err = run("compare", "--names", small, "--hidden", hidden, "--dtype", dtype, "--seed", seed)
    assert (code, err) == (0, "")
    first, second, third, fourth = out.split("\n\nExercise")[:4]
    assert ROW.findall(first) == LECTURE_ORDER
    assert "False" not in first
    assert [ROW.findall(part) for part in (second, third, fourth)] == [["logits"], ["hprebn"], ["hprebn"]]
    for many_steps in re.findall(r"same to within (\S+)", out):
        assert float(many_steps) < 2e-8
    assert out.endswith("\n26 of 26 rows exact\n")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("hidden", "batch", "seed"), [(64, 32, 0), (200, 32, 1), (64, 2, 2), (3, 300, 3)])
def test_the_rows_hold_against_torch_run_apart_from_the_tape(data, dtype, hidden, batch, seed):
    from examples.makemore.compare import ROWS, lecture_pass

    ours = lecture_pass(data, hidden, batch, seed, dtype)
    start, g = parameters(data, hidden, seed, dtype)
    theirs = vars(model.forward([p.requires_grad_() for p in start], *model.draw_batch(data.train, batch, g)))
    assert list(ROWS) == LECTURE_ORDER
    for name in ROWS:
        ours[name].retain_grad()
        theirs[name].retain_grad()
    ours["loss"].backward()
    theirs["loss"].backward()
    for name in ROWS:
        assert torch.equal(ours[name].grad, theirs[name].grad), name


@pytest.mark.parametrize("batch", [2, 500])
def test_compare_takes_any_batch(run, small, batch):
    code, out, _ = run("compare", "--names", small, "--batch", batch)
    assert code == 0
    assert out.endswith("\n26 of 26 rows exact\n")


def test_compare_fails_on_one_wrong_row(run, small, monkeypatch):
    import tapegrad

    def distort(loss, names=None):
        return [SimpleNamespace(name=name, exact=name != "bnvar", approximate=True, maxdiff=0.0) for name in names]

    monkeypatch.setattr(tapegrad, "compare", distort)
    code, out, _ = run("compare", "--names", small)
    assert code == 1
    assert out.endswith("\n25 of 26 rows exact\n")


@pytest.mark.parametrize(("maxdiff", "expected"), [(1e-8, 0), (1.1e-8, 1), (float("nan"), 1)])
def test_compare_fails_on_an_inexact_step(run, small, monkeypatch, maxdiff, expected):
    import tapegrad

    def distort(loss, names=None):
        exact = len(names) > 1
        return [SimpleNamespace(name=name, exact=exact, approximate=True, maxdiff=maxdiff) for name in names]

    monkeypatch.setattr(tapegrad, "compare", distort)
    assert run("compare", "--names", small)[0] == expected


@pytest.mark.parametrize(
    ("style", "batch", "dtype"), [("plain", 32, "float32"), ("exact", 32, "float64"), ("exact", 5, "float32")]
)
def test_source(run, small, tmp_path, style, batch, dtype):
    words = ("--names", small, "--out", tmp_path, "--style", style, "--batch", batch, "--dtype", dtype)
    code, printed, err = run("source", *words)
    assert (code, err) == (0, "")
    assert ROW.findall(printed) == LECTURE_ORDER
    if style == "exact":
        assert "26 of 26 rows exact" in printed
    else:
        assert "26 approximate" in printed
    assert str(tmp_path / "backward.py") in printed
    text = (tmp_path / "backward.py").read_text(encoding="utf-8")
    assert "tapegrad" not in text
    for name in LECTURE_ORDER:
        assert re.search(rf"^    d{name} = ", text, re.MULTILINE)


def test_source_fails_on_one_wrong_row(run, small, tmp_path, monkeypatch):
    from tapegrad import Tape

    written = Tape.source
    monkeypatch.setattr(Tape, "source", lambda *args, **kwargs: written(*args, **kwargs).replace("1 - h * h", "1 - h"))
    code, printed, _ = run("source", "--names", small, "--out", tmp_path)
    assert code == 1
    assert re.search(r"^hpreact .*approximate: False", printed, re.MULTILINE)
    assert re.search(r"^logprobs .*exact: True", printed, re.MULTILINE)


def test_draw(run, small, tmp_path):
    out = tmp_path / "pictures"
    code, printed, err = run("draw", "--names", small, "--out", out)
    assert (code, err) == (0, "")
    check_pictures(out)
    assert "operations on 7 parameters" in printed
    assert str(out / "graph.svg") in printed
    assert str(out / "graph.png") in printed


def test_draw_without_a_renderer(run, small, tmp_path, monkeypatch):
    from tapegrad import viz

    def refuse(graph, path):
        raise viz.NoRenderer("install dot")

    monkeypatch.setattr(viz, "render", refuse)
    code, _, err = run("draw", "--names", small, "--out", tmp_path)
    assert (code, err) == (2, "python -m examples.makemore draw: error: install dot\n")


@pytest.mark.parametrize("engine", training.ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_train_then_sample(run, small, tmp_path, engine, dtype):
    words = ("--names", small, "--steps", 30, "--hidden", 10, "--engine", engine, "--dtype", dtype, "--out", tmp_path)
    code, out, err = run("train", *words)
    assert code == 0
    assert re.findall(r"^(\w+) +loss \d\.\d{4}$", out, re.MULTILINE) == ["train", "val", "test"]
    assert "30/30" in err  # the progress bar
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert stored["config"]["engine"] == engine
    assert stored["tensors"]["W1"].dtype is getattr(torch, dtype)

    drawn = run("sample", "--out", tmp_path)
    assert drawn[0] == 0
    assert drawn[1].count("\n") == 20
    assert set(drawn[1]) <= set("abcdefgh\n")
    assert run("sample", "--out", tmp_path) == drawn
    assert run("sample", "--out", tmp_path, "--seed", 1)[1] != drawn[1]


def test_one_seed_one_training(run, small, tmp_path):
    words = ("train", "--engine", "manual", "--names", small, "--steps", 10, "--hidden", 5)
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*words, "--seed", seed, "--out", tmp_path / out)[0] == 0
    a, b, c = (torch.load(tmp_path / out / "checkpoint.pt", weights_only=True)["tensors"] for out in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)


def test_fewer_examples_than_a_batch(run, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("a\nb\na\nb\na\nb\n")
    words = ("--names", path, "--batch", 300, "--hidden", 4, "--steps", 5, "--out", tmp_path)
    assert run("train", *words)[0] == 0


def test_one_name_much_longer_than_the_rest(run, small, tmp_path):
    with small.open("a", encoding="utf-8") as file:
        file.write("gh" * 20_000 + "\n")
    assert run("train", "--names", small, "--hidden", 4, "--steps", 5, "--out", tmp_path)[0] == 0


def test_another_alphabet_on_a_terminal_that_lacks_it(tmp_path):
    path = make_list(tmp_path / "names.txt", alphabet="абвгд愛子é.")
    words = ("--names", path, "--steps", 5, "--hidden", 5, "--out", tmp_path)
    assert cli.main(["train", *map(str, words)]) == 0
    command = [sys.executable, "-m", "examples.makemore", "sample", "--out", str(tmp_path)]
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True)
        drawn = done.stdout.decode("utf-8" if encoding == "utf-8" else "unicode-escape").replace("\r", "")
        assert set(drawn) <= set("абвгд愛子é.\n")
        assert set(drawn) & set("абвгд愛子")


def test_all_four_in_order(small, tmp_path):
    out = tmp_path / "out"
    words = ["--names", small, "--steps", "40", "--hidden", "16", "--batch", "8", "--out", out]
    command = [sys.executable, "-W", "error", "-m", "examples.makemore", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    headings = re.findall(r"^=== (\w+) ===$", done.stdout, re.MULTILINE)
    assert headings == ["compare", "draw", "train", "sample"]
    assert "26 of 26 rows exact" in done.stdout
    check_pictures(out)
    written = re.split(r"^Written:\n", done.stdout, flags=re.MULTILINE)[1].split()
    assert written == [str(out / name) for name in ("graph.svg", "graph.png", "loss.png", "checkpoint.pt")]
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt", "graph.png", "graph.svg", "loss.png"]
