"""The command line: ``python -m benchmarks [ops|profile]``; ``--help`` tells the rest."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# A library of numpy's takes the number of its threads from the environment, when it is loaded.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1") | {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    from benchmarks import report
    from benchmarks.contestants import CONTESTANTS
    from benchmarks.ops import costs
    from benchmarks.works import WORKS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time tapegrad next to others.")
    parser.add_argument(
        "what", nargs="?", choices=("works", "ops", "profile"), default="works",
        help="works: contestants take turns (the default); ops: the cost of single ops; profile: where time goes",
    )  # fmt: skip
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS), metavar="NAME", help=", ".join(WORKS))
    parser.add_argument(
        "--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME",
        help=", ".join(CONTESTANTS),
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, help="timing samples of each; by default what suits the work")
    parser.add_argument("--threads", choices=("1", "all", "both"), default="1", help="default: 1; with --save: both")
    parser.add_argument("--save", action="store_true", help="write docs/benchmarks.md, its picture and baseline.json")
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)

    if args.json:
        return _measure(args)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        print(f"This machine is busy already (load {load:.1f}): do not trust the times.\n")
    profiles = _profiles(args) if args.what == "profile" or (args.save and args.what == "works") else {}
    ops = costs(args.rounds or 100) if args.what == "ops" or (args.save and args.what == "works") else []
    results = _in_processes(args) if args.what == "works" else {}
    for work, profile in profiles.items():
        print(f"{work}\n{report.profile_table(profile, rules=12)}\n")
    if ops:
        print(report.cost_table(ops), "\n")
    now = report.ratios(results, ops)
    if now:
        print(report.comparison(now, report.baseline()))
    if args.save and results:
        report.PAGE.write_text(report.page(results, ops, profiles, _versions()))
        report.picture(results.get("1") or results["all"], report.PICTURE)
    if args.save and now:
        report.save_baseline(now)
    wrong = [r for works in results.values() for rows in works.values() for r in rows if r.wrong]
    return 1 if wrong else 0


def _in_processes(args: argparse.Namespace) -> dict[str, dict[str, list]]:
    """Measure in a process of its own for each number of threads, which must be known before libraries are loaded."""
    from benchmarks.runner import Result

    threads = ("1", "all") if args.threads == "both" or args.save else (args.threads,)
    results = {}
    for setting in threads:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "results.json")
            command = [sys.executable, "-m", "benchmarks", "--json", str(path), "--threads", setting]
            command += ["--work", *args.work, "--contestants", *args.contestants]
            command += ["--rounds", str(args.rounds)] if args.rounds else []
            subprocess.run(command, check=True, env=os.environ | (ONE_THREAD if setting == "1" else {}))
            found = json.loads(path.read_text())
        results[setting] = {work: [Result(**row) for row in rows] for work, rows in found.items()}
    return results


def _measure(args: argparse.Namespace) -> int:
    """Such a process: measure, print as results come in, and leave them in a file."""
    import torch

    from benchmarks import report
    from benchmarks.runner import measure
    from benchmarks.works import WORKS

    if args.threads == "1":
        torch.set_num_threads(1)
    results = {}
    for name in args.work:
        results[name] = measure(WORKS[name], args.contestants, args.rounds)
        print(f"{name}, threads: {args.threads}\n{report.work_table(results[name])}\n", flush=True)
    args.json.write_text(json.dumps({name: [asdict(r) for r in rows] for name, rows in results.items()}))
    return 0


def _profiles(args: argparse.Namespace) -> dict:
    import torch

    from benchmarks.profile import profile
    from benchmarks.works import WORKS

    torch.set_num_threads(1)
    return {name: profile(WORKS[name](), args.rounds or 200) for name in args.work if name != "chain"}


def _versions() -> dict[str, str]:
    """Of what took part, as far as it is installed."""
    found = {"Python": sys.version.split()[0]}
    for name in ("torch", "numpy", "autograd", "mygrad", "jax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
