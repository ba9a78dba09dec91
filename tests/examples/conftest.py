"""What tests of the makemore example share."""

from __future__ import annotations

import pytest

from examples.makemore import cli, names
from tests.examples.small import CPU, make_list


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
