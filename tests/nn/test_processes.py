"""Several processes over gloo: DistributedDataParallel inside recording(), fully_shard by as_torch."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tests.nn import processes

pytestmark = [
    pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="this torch comes without gloo"),
    pytest.mark.filterwarnings("ignore"),  # of torch's, in pytest's own process
]


def same(*found: list[torch.Tensor]) -> bool:
    return all(all(map(torch.equal, found[0], other)) for other in found[1:])


@pytest.fixture(scope="module")
def two():
    return processes.run(processes.all_of_them, 2)


@pytest.mark.parametrize("view", [False, True], ids=["grad", "grad in buckets"])
@pytest.mark.parametrize("accumulate", [1, 3], ids=["always", "no_sync"])
def test_two_processes_train_as_torchs(two, accumulate, view):
    first, second = [r["reduced"] for r in two]
    case = f"{accumulate} {view}"
    assert first[f"buckets {case}"] > 1
    assert same(first[f"torch {case}"], first[f"recording {case}"], second[f"recording {case}"])
    assert same(first[f"torch {case}"], first[f"as_torch {case}"], second[f"as_torch {case}"])


@pytest.mark.parametrize("option", ["find_unused_parameters", "static_graph"])
def test_what_looks_at_torchs_graph_works_by_as_torch(two, option):
    first, second = [r["reduced"] for r in two]
    assert same(first[f"torch {option}"], first[f"as_torch {option}"], second[f"as_torch {option}"])


@pytest.mark.slow
def test_three_processes():
    for found in zip(*[r.items() for r in processes.run(processes.reduced, 3)], strict=True):
        (name, first), *others = found
        if not name.startswith("buckets"):
            assert same(first, *[other for _, other in others])


def test_misuse_is_refused(two):
    for found in [r["refusals"] for r in two]:
        assert found.keys() == {"static_graph", "find_unused_parameters", "fully_shard", "grad"}
        assert "DistributedDataParallel(tapegrad.as_torch(module), static_graph=True)" in found["static_graph"]
        assert "shard tapegrad.as_torch(block)" in found["fully_shard"]
        assert "drift apart" in found["grad"]


def test_buckets_set_off_while_the_walk_goes_on(two):
    for events in [r["overlap"] for r in two]:
        assert len([e for e in events if e.startswith("bucket")]) > 3
        assert events.index("bucket 0") < events.index("layer 1") < events.index("bucket 2")


@pytest.mark.skipif(not processes.SHARDS_ON_CPU, reason="this torch's fully_shard itself does not run on a CPU")
def test_shards_train_as_torchs(two):
    first, second = [r["shards"] for r in two]
    assert same(*first.values(), *second.values())


def test_a_tensor_in_pieces_inside_a_tensor(two):
    for ours, theirs in [r["distributed_tensors"] for r in two]:
        assert torch.equal(ours, theirs)
