"""How many bytes of tensors are alive: what torch allocates, less what it frees, whatever the system makes of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from torch.profiler import ProfilerActivity, profile


def most_alive(run: Callable[[], Any]) -> int:
    """The most bytes of tensors that are alive at once while a function runs, above those that were before.

    torch's profiler is told of every buffer that is allocated or freed, also of those within torch's own kernels and
    its backward pass; unlike a dispatch mode it changes nothing in what runs.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiled:
        run()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda e: e.start_ns())
    return max(accumulate((e.nbytes() for e in events), initial=0))
