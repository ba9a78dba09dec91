"""What tests of pictures share."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("graphviz") is None:  # tapegrad.viz cannot be imported, and says so
    collect_ignore_glob = ["test_*.py"]
