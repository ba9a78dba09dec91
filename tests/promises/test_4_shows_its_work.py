"""Promise 4: it shows its work. The tape prints, draws, and writes out its backward pass, which runs.

All that can be drawn and written: tests/viz and tests/source.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import tapegrad
from tapegrad.source.program import STYLES
from tests.helpers import ours, randn
from tests.source.checks import assert_formatted, assert_written, execute


def lecture() -> dict[str, Any]:
    """The lecture's pass, by its names."""
    from examples.makemore.model import forward, init_parameters

    g = torch.Generator().manual_seed(2147483647)
    parameters = [ours(p) for p in init_parameters(27, 64, g, torch.float32)]
    Xb, Yb = torch.randint(27, (32, 3), generator=g), torch.randint(27, (32,), generator=g)
    v = vars(forward(parameters, Xb, Yb))
    return {name: v[name] for name in v if name != "parameters"}


@pytest.mark.parametrize("style", STYLES)
def test_makemore(style, tmp_path):
    v = lecture()
    tape = tapegrad.tape(v["loss"], names=v)
    text = tape.source(names=v, style=style)
    assert_formatted({"backward": text}, tmp_path)
    names = {name: t for name, t in v.items() if isinstance(t, tapegrad.Tensor)}
    assert len(names) == 27
    for name in names:
        assert len(re.findall(rf"^    d{name} = ", text, re.MULTILINE)) == 1, name
    body = ast.parse(text).body[-1]
    assert isinstance(body, ast.FunctionDef)
    assert body.end_lineno - body.body[0].lineno + 1 <= 60
    assert "tmp" not in text
    assert set(tape.bindings(names=v, style=style)) <= v.keys() | {"logit_maxes_indices"}

    got = execute(text)["backward"](**tape.bindings(names=v, style=style))
    wanted = tapegrad.grad(v["loss"], list(names.values()), retain_graph=True)
    for name, g in zip(names, wanted, strict=True):
        assert (got[name] - g).abs().max() <= (0 if style == "exact" else 1e-8), name
        assert torch.allclose(got[name], g)
    assert_written(v["loss"], v, style)


def test_lines_read_like_the_lecture():
    text = tapegrad.tape((v := lecture())["loss"], names=v).source(names=v)
    for line in """
    dlogprobs = torch.zeros(32, 27)
    dlogprobs[torch.arange(32), Yb] = -1 / 32  # (32, 27)
    dprobs = dlogprobs / probs  # (32, 27), logprobs = probs.log()
    dcounts_sum = dcounts_sum_inv * -(counts_sum**-2)  # (32, 1)
    dcounts = dprobs * counts_sum_inv + dcounts_sum  # (32, 27)
    dW2 = h.T @ dlogits  # (64, 27), logits = h @ W2 + b2
    dhpreact = dh * (1 - h * h)  # (32, 64), h = hpreact.tanh()
    dbnvar = dbnvar_inv * (-0.5 * (bnvar + 1e-05) ** -1.5)  # (1, 64)
    dC = torch.zeros(27, 10).index_put((Xb,), demb, accumulate=True)  # (27, 10)
""".strip("\n").splitlines():
        assert line in text.splitlines()


def test_a_tape_shows_itself_at_the_prompt():
    x = ours(randn(2, 3))
    loss = (x * 2).sum()
    tape = tapegrad.tape(loss, names={"x": x, "loss": loss})
    assert repr(tape).splitlines() == [
        "# | name  | op   | inputs | shape",
        "--+-------+------+--------+-------",
        "  | x     | leaf |        | (2, 3)",
        "0 | mul_0 | mul  | x      | (2, 3)",
        "1 | loss  | sum  | mul_0  | ()",
    ]
    assert str(tape) == repr(tape)


@pytest.mark.skipif(find_spec("graphviz") is None, reason="pictures need tapegrad[viz]")
def test_the_whole_makemore_pass_is_there():
    from tests.viz.graphs import makemore

    source = makemore().source
    assert source.count(" -> ") == 32
    assert source.count("style=filled ") == 7
    names = "emb embcat hprebn bnmeani bndiff bndiff2 bnvar bnvar_inv bnraw hpreact h logits logit_maxes norm_logits "
    names += "counts counts_sum counts_sum_inv probs logprobs loss C W1 b1 W2 b2 bngain bnbias Xb Yb"
    assert {name for name in names.split() if f"<b>{name}</b>" in source} == set(names.split())
    assert "<i>" not in source  # italics mark what has no name


@pytest.mark.skipif(find_spec("graphviz") is None, reason="pictures need tapegrad[viz]")
def test_the_picture_in_the_docs_is_up_to_date(bundled):
    from tests.viz.graphs import IMAGES, makemore, texts

    assert texts((IMAGES / "makemore.svg").read_text(encoding="utf-8")) == texts(makemore()._repr_svg_())
