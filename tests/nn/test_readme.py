"""README's "With the rest of torch": what it shows runs, and trains as torch does."""

from __future__ import annotations

import contextlib
import re

import torch

import tapegrad
from tests.helpers import ROOT


def test_the_loop_in_the_readme():
    section = (ROOT / "README.md").read_text().partition("## With the rest of torch")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(code.splitlines()) <= 10
    trained = []
    for recording in (tapegrad.recording, contextlib.nullcontext):
        torch.manual_seed(0)
        scope = {"torch": torch, "tapegrad": tapegrad}
        exec(code.replace("tapegrad.recording()", "recording()"), scope | {"recording": recording}, scope)
        assert isinstance(scope["loss"], tapegrad.Tensor) == (recording is tapegrad.recording)
        trained.append(scope["model"].state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
