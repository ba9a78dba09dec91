"""Settings of the whole suite: the same examples on every run, and torch on one thread."""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.helpers import FAST, roads

settings.register_profile(
    "tapegrad",
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tapegrad")


torch.set_num_threads(1)  # the tensors are small; threads would wait for each other


def pytest_collection_finish():
    """Leave what lives as long as the run, torch's modules and all tests, out of every garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    """No test leaves a grad mode, a default dtype or a random state behind."""
    torch.default_generator.manual_seed(0)
    yield
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.fixture(scope="module", params=["walked", "written out"] if FAST else ["walked"])
def road(request):
    """Every backward pass as ``walk`` takes it, or as it is written out for its tape: ``walk`` alone without fast/."""
    if not FAST:
        yield request.param
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roads, "MEETINGS", 0 if request.param == "written out" else 10**9)
        patch.setattr(roads, "PATIENCE", 10**9)
        roads.forget()
        yield request.param
    roads.forget()


@pytest.fixture
def bundled(monkeypatch):
    """No dot on PATH; pygraphviz's engine is there."""
    monkeypatch.setenv("PATH", "")
    pytest.importorskip("pygraphviz")
