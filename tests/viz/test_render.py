"""Rendering to files, and in Jupyter."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

from tapegrad import viz
from tests.viz.graphs import leaf, texts


@pytest.fixture
def picture():
    x = leaf(3)
    loss = (x * x).sum()
    return viz.draw(loss)


def test_render_svg(picture, bundled, tmp_path):
    path = viz.render(picture, tmp_path / "a.svg")
    assert path == tmp_path / "a.svg"
    found = texts(path.read_text(encoding="utf-8"))
    assert {"x", "loss", "sum(x * x)", "(3,)"} <= set(found)
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_render_png(picture, bundled, tmp_path):
    data = viz.render(picture, str(tmp_path / "a.png")).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 300 < width < 1200  # sharp: 144 dots per inch
    assert 200 < height < 800


def test_render_pdf(picture, bundled, tmp_path):
    assert viz.render(picture, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_render_gv(picture, tmp_path):
    assert viz.render(picture, tmp_path / "a.gv").read_text(encoding="utf-8") == picture.source


def test_render_takes_options(tmp_path):
    x = leaf(3)
    loss = (x * 2).sum()
    source = viz.render(loss, tmp_path / "a.gv", names={"w": x}, rankdir="LR", collapse=False).read_text(
        encoding="utf-8"
    )
    assert source == viz.draw(loss, names={"w": x}, rankdir="LR", collapse=False).source


def test_the_suffix_may_be_in_capitals(picture, tmp_path):
    assert viz.render(picture, tmp_path / "a.GV").read_text(encoding="utf-8") == picture.source


@pytest.mark.parametrize("name", ["a.bmp", "a", "a.svg~"])
def test_render_refuses_other_suffixes(picture, tmp_path, name):
    with pytest.raises(ValueError, match=r"must be one of \.svg, \.png, \.pdf, \.gv"):
        viz.render(picture, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_engine_refuses_a_format_that_would_crash_it(bundled):
    from tapegrad.viz.engine import layout

    with pytest.raises(ValueError, match="no format 'webq'"):
        layout("digraph {}", "webq")


def test_no_renderer(picture, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(viz.NoRenderer, match=r"pip install 'tapegrad\[viz\]'.*install graphviz.*a\.gv"):
        viz.render(picture, tmp_path / "a.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["a.gv"]
    assert (tmp_path / "a.gv").read_text(encoding="utf-8") == picture.source
    bundle = picture._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert "tapegrad[viz]" in bundle["text/plain"]


@pytest.mark.skipif(sys.platform == "win32", reason="a script cannot stand in for dot")
def test_dot_on_path_goes_first(picture, tmp_path, monkeypatch):
    dot = tmp_path / "dot"
    dot.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdout.write(' '.join(sys.argv[1:]) + chr(10) + sys.stdin.read())\n"
    )
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert viz.render(picture, tmp_path / "a.svg").read_text(encoding="utf-8") == f"-Tsvg\n{picture.source}"
    assert viz.render(picture, tmp_path / "a.png").read_text(encoding="utf-8") == f"-Tpng -Gdpi=144\n{picture.source}"
    dot.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    with pytest.raises(subprocess.CalledProcessError):
        viz.render(picture, tmp_path / "b.svg")


def test_jupyter_shows_the_picture(picture, bundled):
    import graphviz

    assert isinstance(picture, graphviz.Digraph)
    bundle = picture._repr_mimebundle_(include=None, exclude=None)
    assert list(bundle) == ["image/svg+xml"]
    assert "sum(x * x)" in texts(bundle["image/svg+xml"])
    assert picture._repr_svg_() == bundle["image/svg+xml"]


def test_without_graphviz_only_pictures_are_missing():
    code = "import sys; sys.modules['graphviz'] = None; import tapegrad; print('fine'); import tapegrad.viz"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "fine\n"
    assert "ImportError: tapegrad.viz needs the graphviz package: pip install 'tapegrad[viz]'" in result.stderr
