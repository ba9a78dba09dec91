"""Results as tables, as a page of documentation, and against the stored baseline."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ops import Cost
from benchmarks.profile import Profile
from benchmarks.runner import Result
from benchmarks.works import Work

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"
PICTURE = HERE.parent / "docs" / "images" / "benchmarks.svg"
WORSE = 1.15  # times its baseline: a regression

Results = Mapping[str, Mapping[str, Sequence[Result]]]  # threads ("1", "all") -> work -> results


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text as well; all but the first to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    rule = ["-" * widths[0], *["-" * (w - 1) + ":" for w in widths[1:]]]
    pad = lambda row: [row[0].ljust(widths[0]), *[c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [pad(head), rule, *map(pad, rows)])


def work_table(results: Sequence[Result]) -> str:
    """Who took how long, and below the table who did not take part."""
    rows = [
        (r.contestant, duration(r.seconds), f"{r.ratio:.2f}", f"{r.low:.2f} to {r.high:.2f}")
        for r in results
        if r.seconds is not None
    ]
    lines = [table(("contestant", "a step", "ratio to torch", "quartiles"), rows)]
    lines += [f"- {r.contestant} skipped: {r.skipped}" for r in results if r.skipped]
    lines += [f"- {r.contestant} DISAGREES with torch and is not timed: {r.wrong}" for r in results if r.wrong]
    return "\n".join([lines[0], "", *lines[1:]]) if lines[1:] else lines[0]


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * factor:.3g} {unit}" if seconds * factor < 100 else f"{seconds * factor:.0f} {unit}"


def cost_table(costs: Sequence[Cost]) -> str:
    """Per op: the bare calls, and what tapegrad and torch.autograd add to them."""
    head = (
        "us a call",
        "bare call",
        "tapegrad adds",
        "recording() adds",
        "torch adds",
        "bare rule",
        "tapegrad walks",
        "torch's backward",
    )
    rows = []
    for c in costs:
        adds = [f"{us - c.bare:+.2f}" for us in (c.forward, c.recording, c.torch_forward)]
        forward = (f"{c.bare:.2f}", *adds)
        rows.append((f"`{c.op}`", *forward, f"{c.rule:.2f}", f"{c.backward - c.rule:+.2f}", f"{c.torch_backward:.2f}"))
    return table(head, rows)


def profile_table(profile: Profile, rules: int = 0) -> str:
    """The parts of a step, and the rules that take longest if ``rules`` asks for some."""
    total = sum(profile.parts.values())
    rows = [(name, f"{us:.0f}", f"{us / total:.0%}") for name, us in [*profile.parts.items(), ("total", total)]]
    text = table(("part of a step", "us", "share"), rows)
    if rules:
        rows = [(f"`{name}`", str(n), f"{us / n:.2f}", f"{us:.1f}") for name, n, us in profile.rules[:rules]]
        text += "\n\n" + table(("rule", "calls", "us each", "us"), rows)
    return text


# --- the baseline: ratios that were measured before ---


def ratios(results: Results, costs: Sequence[Cost]) -> dict[str, float]:
    """Every ratio of a run by a name of its own."""
    found: dict[str, float] = {}
    for threads, works in results.items():
        for work, rows in works.items():
            found |= {f"{work} {r.contestant} threads={threads}": r.ratio for r in rows if r.ratio is not None}
    for cost in costs:
        found |= cost.ratios
    return {name: round(ratio, 4) for name, ratio in found.items()}


def baseline(path: Path = BASELINE) -> dict[str, float]:
    """The stored ratios; none if there is no file yet."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def regressions(now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """A line for each ratio that has grown by more than 15 % since the baseline."""
    return [
        f"{name}: {ratio:.2f}, was {before[name]:.2f} ({ratio / before[name] - 1:+.0%})"
        for name, ratio in now.items()
        if name in before and ratio > WORSE * before[name]
    ]


def comparison(now: Mapping[str, float], before: Mapping[str, float]) -> str:
    """What a run says of itself next to the baseline."""
    known = now.keys() & before.keys()
    if not known:
        return "No baseline to compare with yet: --save stores one."
    worse = regressions(now, before)
    if not worse:
        return f"None of {len(known)} ratios is more than 15 % above the baseline."
    return "\n".join([f"{len(worse)} of {len(known)} ratios are more than 15 % above the baseline:", *worse])


def save_baseline(now: Mapping[str, float], path: Path = BASELINE) -> None:
    """Store ratios, next to those of works that were not measured this time."""
    path.write_text(json.dumps(baseline(path) | dict(now), indent=1, sort_keys=True) + "\n")


# --- the page ---


def page(results: Results, costs: Sequence[Cost], profiles: Mapping[str, Profile], versions: Mapping[str, str]) -> str:
    """docs/benchmarks.md."""
    sections = [
        "# Benchmarks",
        "Every time is next to torch eager's for the same work: a ratio below 1 is quicker than torch. This page is "
        "written by a program; to write it anew on your machine, from the repository's root:",
        "```\npip install -e '.[bench]'\npython -m benchmarks --save\n```",
        "A contestant that is not installed is left out. `python -m benchmarks ops` and `python -m benchmarks profile` "
        "make the last two sections; `--help` tells the rest. A run on a machine that does other work meanwhile says "
        "little.",
        f"Measured on {machine()}, with {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        f"![Ratios to torch eager]({PICTURE.relative_to(PAGE.parent).as_posix()})",
        "## How it is measured",
        "Contestants take turns, A B C, then C B A, and so on; a sample is as many steps as take 10 ms, and the ratio "
        "is the median over the rounds of a contestant's time to torch's in the same round. Before it is timed, a "
        "contestant's loss and gradients are compared with torch's: on one thread tapegrad and the bare kernels must "
        f"agree to the bit where that is promised, all others within {Work.tolerance:g} of the largest gradient. What "
        "happens once, such as compiling, or tapegrad's writing a walk out (tapegrad/fast/), is over after the "
        "first rounds, and does not show in a median.",
        "`kernels` are the torch calls that tapegrad makes, one after another with no tape: the floor for any tape "
        "that runs op by op. `hand` is the lecture's exercise 4, a backward pass derived on paper, in fewer steps.",
    ]
    for threads, works in results.items():
        for work, rows in works.items():
            sections += [f"## {work}, {'1 thread' if threads == '1' else 'all threads'}", work_table(rows)]
    sections += [
        "## The cost of an op",
        "In microseconds on one thread, the least of many samples, for tensors of 32 by 64: the bare torch call with "
        "no gradient asked for; what tapegrad and torch.autograd add to it when they record; the bare torch calls of "
        "the op's rule; what tapegrad's general walk adds to those; and torch's whole backward.",
        cost_table(costs),
        "## Where a step spends its time",
    ]
    for work, profile in profiles.items():
        sections += [f"{work}, one thread:", profile_table(profile)]
    return "\n\n".join(sections) + "\n"


def machine() -> str:
    """The processor, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores"


def picture(results: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Ratios to torch eager as bars, a panel for each work."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "tapegrad", "svg.fonttype": "none"})
    names = list(dict.fromkeys(r.contestant for rows in results.values() for r in rows if r.ratio is not None))
    figure = Figure(figsize=(10, 0.3 * len(names) * -(-len(results) // 2) + 1), layout="constrained")
    panels = figure.subplots(-(-len(results) // 2), 2, sharex=True, sharey=True, squeeze=False).flat
    for axes, (work, rows) in zip(panels, results.items(), strict=False):
        _bars(axes, work, names, {r.contestant: r.ratio for r in rows if r.ratio is not None})
    for axes in list(panels)[len(results) :]:
        axes.set_visible(False)
    figure.suptitle("Time of a step relative to torch eager, one thread (less is better)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _bars(axes: Any, work: str, names: Sequence[str], ratio: Mapping[str, float]) -> None:
    """One work's panel: bars that start at torch's 1, to the left for the quick and to the right for the slow."""
    for i, name in enumerate(names):
        if name in ratio:
            color = "tab:orange" if name == "tapegrad" else "tab:gray"
            axes.barh(i, ratio[name] - 1, left=1, color=color)
            axes.annotate(f"{ratio[name]:.2f}", (max(1, ratio[name]), i), xytext=(3, 0), textcoords="offset points")
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", title=work, yticks=range(len(names)), yticklabels=names)
    axes.margins(x=0.25)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
