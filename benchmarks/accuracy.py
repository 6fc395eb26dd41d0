"""
Accuracy against the truth of our own workload: F1, R@k, working set, time to find, cost.

Three workloads: fixed (three hot places in 1 GiB), moving (one of 32 MiB that jumps in 1 GiB), and
scattered (16 of 4 MiB in 4 GiB); each under several bounds of the number of regions and several
seeds of layout and sampling. Before every run all memory is touched once, as after a real
program's start: the monitor begins with stale accessed bits everywhere.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from typing import Any

import common
from common import GIB, HOUR_US, MIB

from isotherm.analysis.accuracy import HotPhase, Summary, Truth, judge, summarize
from isotherm.demo import spec
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Hot, Phase, Spec

DEFAULT = "default"
BOUNDS = (DEFAULT, "10..1000", "30..1000", "100..1000", "200..1000")
FIXED = ((96 * MIB, 48 * MIB), (500 * MIB, 64 * MIB), (920 * MIB, 16 * MIB))


def touched_before(plain: Spec, runs: int) -> Spec:
    """Repeat phases `runs` times, each time after a phase in which all memory is touched once."""
    everything = tuple(Hot(area.name, 0, area.nbytes, HOUR_US) for area in plain.areas)
    stale = Phase(HOUR_US, everything)
    held = tuple(replace(phase, duration_us=HOUR_US) for phase in plain.phases)
    return Spec(plain.areas, (stale, *held) * runs)


def workloads(quick: bool) -> list[tuple[str, float, Any]]:
    """Name, seconds of a phase, and a function from seed to specification."""

    def fixed(seed: int) -> Spec:
        del seed
        return spec.fixed(FIXED, nbytes=GIB, seconds=1)

    def moving(seed: int) -> Spec:
        one = spec.moving(32 * MIB, nbytes=GIB, steps=3 if quick else 4, seconds=1)
        turn = seed % len(one.phases)
        return Spec(one.areas, one.phases[turn:] + one.phases[:turn])

    def scattered(seed: int) -> Spec:
        return spec.scattered(16, 4 * MIB, nbytes=4 * GIB, seconds=1, seed=seed)

    if quick:
        return [("fixed", 4, fixed), ("moving", 3, moving)]
    return [("fixed", 8, fixed), ("moving", 5, moving), ("scattered", 24, scattered)]


def run(
    workload: Workload, seconds: float, seed: int, bounds: str, backend: str
) -> dict[str, Any]:
    """One run of all phases of a workload that stands in its stale phase."""
    phases, steps = [], len(set(workload.spec.phases)) - 1
    time.sleep(0.3)  # the stale sweep
    begin = time.time_ns()
    regions = None if bounds == DEFAULT else bounds
    with common.watching(workload.pid, regions=regions, backend=backend, seed=seed) as (_, stream):
        snapshots, cpu, started = [], common.own_cpu_ns(), time.monotonic_ns()
        for step in range(steps):
            start = workload.next_phase()
            # The first phase counts from before the monitor was opened: its start takes time.
            phases.append((begin if step == 0 else start, step))
            snapshots += common.take(stream, seconds)
        spent, wall = common.own_cpu_ns() - cpu, time.monotonic_ns() - started
    ends = [start for start, _ in phases[1:]] + [time.time_ns()]
    truth = Truth(
        tuple(
            HotPhase(start, end, _hot(workload, step))
            for (start, step), end in zip(phases, ends, strict=True)
        ),
        workload.areas,
    )
    summary = summarize(judge(snapshots, truth))
    return {**_row(summary), "cpu %": 100 * spent / wall, "regions": _regions(snapshots)}


def _hot(workload: Workload, step: int) -> tuple[Any, ...]:
    assert workload.truth is not None
    return workload.truth.phases[1 + step].hot


def _regions(snapshots: list[Any]) -> float | None:
    return common.mean([len(snapshot.columns) for snapshot in snapshots])


def _row(summary: Summary) -> dict[str, Any]:
    row = asdict(summary)
    found = [row.pop("first_found_ns"), *row.pop("refound_ns")]
    seconds = [None if ns is None else ns / 1e9 for ns in found]
    return {
        **row,
        "first s": seconds[0],
        "again s": seconds[1:],
        "phases": len(found),
        "not found": seconds.count(None),
    }


def condense(name: str, bounds: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the worst of F1 and of the times."""
    again = [one for run in runs for one in run["again s"]]
    firsts = [run["first s"] for run in runs]
    lost, phases = (sum(run[what] for run in runs) for what in ("not found", "phases"))
    return {
        "workload": name,
        "regions": bounds,
        "F1": common.mean([run["f1"] for run in runs]),
        "F1 worst seed": min((run["f1"] for run in runs if run["f1"] is not None), default=None),
        "R@k": common.mean([run["recall_at_k"] for run in runs]),
        "wss ratio": common.mean([run["working_set_ratio"] for run in runs]),
        "first s": common.median(firsts),
        "again s": common.median(again),
        "not found": f"{lost}/{phases}",
        "cpu %": common.mean([run["cpu %"] for run in runs]),
        "nr regions": common.mean([run["regions"] for run in runs]),
    }


def main() -> None:
    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seeds", type=int, help="of layout and sampling")
        parser.add_argument("--bounds", nargs="*", help=f"of {', '.join(BOUNDS)}")

    args = common.arguments(__doc__, options)
    seeds = args.seeds or (1 if args.quick else 3)
    bounds = args.bounds or (BOUNDS[:2] if args.quick else BOUNDS)
    rows, raw = [], []
    for name, seconds, make in workloads(args.quick):
        runs: dict[str, list[dict[str, Any]]] = {bound: [] for bound in bounds}
        for seed in range(1, seeds + 1):
            plain = make(seed)
            if not common.fits(plain.nbytes):
                common.progress(f"{name}: not enough memory, left out")
                continue
            common.progress(f"{name}, seed {seed} of {seeds}")
            with Workload(touched_before(plain, len(bounds))) as workload:
                workload.go()
                for number, bound in enumerate(bounds):
                    if number:
                        workload.next_phase()
                    one = run(workload, seconds, seed, bound, args.backend)
                    runs[bound].append(one)
                    raw.append({"workload": name, "bounds": bound, "seed": seed, **one})
        rows += [condense(name, bound, runs[bound]) for bound in bounds if runs[bound]]
    common.table(
        rows, title="accuracy: F1 at nr_accesses >= 20 % of the possible; means over seeds"
    )
    common.write("accuracy", args, {"summary": rows, "runs": raw})


if __name__ == "__main__":
    main()
