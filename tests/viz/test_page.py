"""The page that steps through a backward pass: its numbers are the tape's, and no string of a user's runs."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

import tapegrad
from benchmarks import works
from benchmarks.gpt import loss as gpt_loss
from examples.makemore.model import forward
from tests.helpers import ours, randn

viz = pytest.importorskip("tapegrad.viz", reason="pictures need the graphviz package")
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&amp;\"'",
    "${alert(1)}",
    "@DATA@",
    "\u2028",
]


def data_of(html):
    (text,) = re.findall(r'<script[^>]*id="data"[^>]*>(.*?)</script>', html, re.S)
    return json.loads(text)


@pytest.fixture(scope="module")
def lecture():
    """The lecture's pass, with its names, and its page."""
    work = works.makemore(32, 64, 1)
    v = forward([tapegrad.tensor(p, requires_grad=True) for p in work.parameters], *work.batch())
    names = dict(vars(v))
    return v.loss, names, viz.page(v.loss, names=names, code=forward).html


def gradients(loss, nodes):
    return dict(zip(nodes, tapegrad.grad(loss, list(nodes.values()), retain_graph=True), strict=True))


def test_each_step_has_the_tapes_numbers(lecture):
    loss, names, html = lecture
    data = data_of(html)
    assert len(data["steps"]) == len(tapegrad.tape(loss))
    named = {n["name"]: n for n in data["nodes"]}
    tensors = {k: t for k, t in names.items() if k in named and isinstance(t, tapegrad.Tensor) and t.requires_grad}
    assert len(tensors) > 20
    found = gradients(loss, tensors)
    for name, t in tensors.items():
        for key, truth in (("value", t.data), ("grad", found[name])):
            sample = data["samples"][named[name][key]]
            assert sample["shape"] == list(truth.shape)
            table = truth.detach().reshape(-1, truth.shape[-1] if truth.ndim else 1)
            part = table[sample["rows"]][:, sample["columns"]] if truth.ndim == 2 else None
            if part is not None:
                torch.testing.assert_close(torch.tensor(sample["values"], dtype=part.dtype), part, rtol=1e-4, atol=1e-8)


def test_it_steps_from_the_loss_to_the_table(lecture):
    data = data_of(lecture[2])
    names = [data["nodes"][step["node"]]["name"] for step in data["steps"]]
    assert names[0] == "loss"
    assert data["nodes"][data["steps"][-1]["sends"][0]["to"]]["name"] == "C"
    assert all(step["reasons"] for step in data["steps"])


def test_one_small_file_that_asks_for_nothing(lecture):
    html = lecture[2]
    assert len(html.encode()) < 2_000_000
    assert "default-src 'none'" in html
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", html)


def test_names_and_values_cannot_break_out():
    x = ours(randn(2, 2))
    y = x * float("nan")
    z = (y * 2).sum()
    names = dict(zip(HOSTILE, (x, y, z), strict=False))
    html = viz.page(z, names=names, title=HOSTILE[0]).html
    assert html.count("<script") == 2
    assert "<img src=x" not in html
    assert data_of(html)["title"] == HOSTILE[0]


def test_a_leaf_and_a_freed_tape_have_no_page():
    x = ours(randn(3))
    with pytest.raises(ValueError, match="page: this tensor is a leaf"):
        viz.page(x)
    y = (x * 2).sum()
    y.backward()
    with pytest.raises(tapegrad.FreedTape, match="page: "):
        viz.page(y)


# --- in a browser ---


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright, to drive a browser")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = driver.chromium.launch(executable_path=chromium, args=args)
        yield found
        found.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page, and collects what goes wrong there and what it asks the network for."""
    problems: list[str] = []
    pages = []

    def open_page(html, dark=False):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(color_scheme="dark" if dark else "light")
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: problems.append("a dialog"))
        page.on(
            "request", lambda request: problems.append(request.url) if not request.url.startswith("file:") else None
        )
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert problems == []


def heading(page):
    return page.text_content("#step-head")


def test_keyboard_mouse_and_slider(opened, lecture):
    page = opened(lecture[2])
    steps = data_of(lecture[2])["steps"]
    assert heading(page).startswith("Step 1: back through loss")
    for i in range(2, len(steps) + 1):
        page.keyboard.press("ArrowRight")
        assert heading(page).startswith(f"Step {i}: ")
        assert page.locator("#picture .now").count() >= 1
        assert page.locator("#backward .now").count() >= 1 or page.locator("#forward .now").count() >= 1
    page.keyboard.press("ArrowRight")
    assert heading(page).startswith(f"Step {len(steps)}: ")
    page.keyboard.press("Home")
    assert heading(page).startswith("Step 1: ")
    page.click("#next")
    page.click("#last")
    page.click("#back")
    assert heading(page).startswith(f"Step {len(steps) - 1}: ")
    page.locator("#forward button", has_text="h = torch.tanh(hpreact)").click()
    assert "back through h, tanh" in heading(page)
    page.locator("#picture .node", has_text="hpreact").first.click()
    assert "back through hpreact" in heading(page)
    page.fill("#slider", "3")
    assert heading(page).startswith("Step 4: ")
    assert page.url.endswith("#step-4")
    page.click("#play")
    page.locator("#step-head", has_text="Step 5: ").wait_for()
    page.click("#play")


def test_what_is_touched_lights_up_in_all_three(opened, lecture):
    page = opened(lecture[2])
    page.locator("#forward button", has_text="logits = h @ W2 + b2").hover()
    for panel in ("picture", "forward", "backward"):
        assert page.locator(f"#{panel} .touched").count() >= 1


def test_the_numbers_that_are_shown(opened, lecture):
    loss, _, html = lecture
    page = opened(html)
    cells = page.locator("#maps .heat").first.locator("td").all_text_contents()
    assert float(cells[-1]) == pytest.approx(loss.item(), rel=5e-3)


def test_dark_and_light(opened, lecture):
    page = opened(lecture[2], dark=True)
    back = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(back)
    page.click("#theme")
    assert page.evaluate(back) != dark


def test_hostile_names_run_nothing(opened):
    x = ours(randn(2, 2))
    y = (x * 2).sum()
    page = opened(viz.page(y, names={HOSTILE[0]: x, HOSTILE[1]: y}).html)
    assert HOSTILE[1] in heading(page)
    assert page.locator("img").count() == 0


def test_a_gpt_opens_and_steps_at_once(opened):
    work = works.transformer(1)
    parameters = [tapegrad.tensor(p, requires_grad=True) for p in work.parameters]
    html = viz.page(work.torch(parameters, *work.batch()), names={"parameters": parameters}, code=gpt_loss).html
    page = opened(html)
    took = page.evaluate(
        "() => { const t = performance.now(); document.getElementById('next').click(); "
        "document.body.getBoundingClientRect(); return performance.now() - t; }"
    )
    assert took < 1000
