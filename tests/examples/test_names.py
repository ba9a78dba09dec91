"""The list of names."""

from __future__ import annotations

import hashlib
import os
import random
import re
from pathlib import Path

import pytest
import torch

from examples.makemore import names
from tests.examples.small import CPU, make_list


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
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "nul in its name":
        path = Path("a\0b")
    elif kind == "200 MB line":
        with path.open("wb") as file:  # a hole of zeros, then the line
            file.write(b"a")
            file.truncate(200_000_000)
    elif kind == "9 MB line":
        path.write_bytes(b"ann\nbob\ncid\ndan\neve\n" + b"a" * 9_000_000)
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
        ("pipe", "is no file"),
        ("device", "is no file"),
        ("loop", "cannot read"),
        ("nul in its name", "cannot read"),
        ("200 MB line", "too large: more than 10,000,000 bytes"),
        ("9 MB line", "one has 9,000,000 characters, more than 100,000"),
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
