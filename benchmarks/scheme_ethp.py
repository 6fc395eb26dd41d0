"""
Huge pages never, always, or where ethp puts them: the second half of benchmarks/schemes.py.

Programs ask for huge pages themselves, so that nothing is set for the machine: `always` is what
they would be where the default is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from common import GIB, MIB
from scheme_programs import DENSE, SPARSE, SPOTTED, Program, child, redis
from scheme_setup import Apply, missing, options_of, own_group, rollup, thp

WORKLOADS = ("sparse", "spotted", "dense", "redis")
NEVER, ALWAYS = "never", "always"
#: ethp starts among small pages, as with THP `madvise`, or among huge ones, as with `always`.
MODES = {
    NEVER: (False, False),
    ALWAYS: (True, False),
    "ethp": (False, True),
    "ethp from huge": (True, True),
}
TARGETS = {"bloat removed": 0.9, "speed kept": 0.8}
#: A difference of the extremes below this share is noise, and nothing is divided by it.
NOISE = 0.03


@dataclass(frozen=True)
class Plan:
    """settle_s: before a measurement; warm_s: with the scheme, by workload."""

    runs: int
    huge_runs: int
    settle_s: float
    warm_s: dict[str, float]
    measure_s: float
    sparse_bytes: int
    spotted_bytes: int
    dense_bytes: int
    keys: int


FULL = Plan(
    5,
    2,
    2,
    {"sparse": 12, "spotted": 12, "dense": 25, "redis": 25},
    4,
    GIB,
    GIB // 2,
    GIB,
    600_000,
)
QUICK = Plan(
    1,
    1,
    1,
    {"sparse": 8, "spotted": 8, "dense": 8, "redis": 8},
    1,
    GIB // 4,
    GIB // 8,
    GIB // 8,
    60_000,
)


@contextmanager
def started(workload: str, plan: Plan, *, huge: bool, group: Path | None) -> Iterator[Program]:
    """Start a workload, with huge pages from the start or without."""
    made = {"sparse": (SPARSE, plan.sparse_bytes), "spotted": (SPOTTED, plan.spotted_bytes)}
    if workload in made:
        code, nbytes = made[workload]
        with child(workload, code, nbytes, int(huge), group=group) as one:
            yield one
    elif workload == "dense":
        numbers = (plan.dense_bytes, int(huge))
        with child(workload, DENSE, *numbers, group=group, timed=False) as one:
            yield one
    else:
        with redis(plan.keys, plan.keys, pipeline=16, group=group, huge=huge) as server:
            yield server


def run(
    workload: str, mode: str, plan: Plan, group: Path | None, schemes: str, options: Sequence[str]
) -> dict[str, Any]:
    """One process: memory and time per unit of work, at the end of its warm-up."""
    huge, acting = MODES[mode]
    with ExitStack() as stack:
        program = stack.enter_context(started(workload, plan, huge=huge, group=group))
        scheme = None
        started_at, done = time.monotonic(), program.done()
        if acting:
            scheme = stack.enter_context(Apply(schemes, program.pid, options))
        time.sleep(plan.warm_s[workload] if scheme else plan.settle_s)
        cpu, begun = scheme.cpu_ns if scheme else 0, time.monotonic()
        speed = program.measure(plan.measure_s)
        share = (scheme.cpu_ns - cpu) / 1e9 / (time.monotonic() - begun) if scheme else None
        facts = rollup(program.pid)
        return {
            "mode": mode,
            "memory": facts["Rss"],
            "huge": facts["AnonHugePages"],
            "whole ns": 1e9 * (time.monotonic() - started_at) / max(1, program.done() - done),
            "ns": 1e9 / speed.rate,
            "cpu ns": 1e9 / speed.per_cpu_s,
            "cpu share": share,
            **({"scheme": scheme.end()} if scheme else {}),
        }


def share_of(never: float, always: float, ethp: float) -> float | None:
    """(never - ethp) / (never - always); None where the extremes are too close to divide by."""
    if abs(never - always) < NOISE * max(never, always):
        return None
    return (never - ethp) / (never - always)


def kept(never: float, always: float, ethp: float) -> float | None:
    """Share of what huge pages gain in time; None where they gain nothing."""
    return share_of(never, always, ethp) if always < never else None


def rows_of(workload: str, runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians by mode, and for those with the scheme its two figures."""
    middle = {
        mode: {key: common.median([one[key] for one in them]) for key in _FIGURES}
        for mode, them in runs.items()
        if them
    }
    rows = []
    for mode, found in middle.items():
        acting = MODES[mode][1]
        ends = {
            key: [middle[one][key] or 0.0 for one in (NEVER, ALWAYS, mode)]
            for key in ("memory", "ns", "cpu ns")
        }
        left = share_of(*ends["memory"]) if acting else None
        rows.append(
            {
                "workload": workload,
                "mode": mode,
                "memory MiB": (found["memory"] or 0) / MIB,
                "huge MiB": (found["huge"] or 0) / MIB,
                "ns/work": found["ns"],
                "cpu ns/work": found["cpu ns"],
                "whole ns/work": found["whole ns"],
                "bloat removed": None if left is None else 1 - left,
                "speed kept": kept(*ends["ns"]) if acting else None,
                "kept per CPU": kept(*ends["cpu ns"]) if acting else None,
                "cpu %": None if found["cpu share"] is None else 100 * found["cpu share"],
                "runs": len(runs[mode]),
                "note": _note(middle) if acting else None,
            }
        )
    return rows


_FIGURES = ("memory", "huge", "ns", "cpu ns", "whole ns", "cpu share")


def _note(middle: dict[str, Any]) -> str | None:
    never, always = middle[NEVER], middle[ALWAYS]
    notes = []
    if share_of(never["memory"], always["memory"], 0) is None:
        notes.append("no bloat to remove")
    if share_of(never["ns"], always["ns"], 0) is None:
        notes.append("huge pages gain nothing that can be told from noise")
    elif always["ns"] > never["ns"]:
        notes.append("huge pages are slower here, or the machine was disturbed")
    return "; ".join(notes) or None


def ethp(args: Any) -> dict[str, Any]:
    """All workloads in all modes, in turn."""
    plan = QUICK if args.quick else FULL
    runs = args.pairs or plan.runs
    schemes = args.schemes or "ethp"
    rows, raw = [], []
    with thp("madvise"), own_group() as group:
        for workload in args.workloads:
            if workload == "redis" and missing("redis-server", "redis-benchmark"):
                common.progress("redis is not installed: left out")
                continue
            taken: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
            for number in range(runs):
                for mode in MODES:
                    if mode == "ethp from huge" and number >= plan.huge_runs:
                        continue
                    common.progress(f"{workload}: {number + 1} of {runs}, {mode}")
                    taken[mode].append(run(workload, mode, plan, group, schemes, options_of(args)))
            rows += rows_of(workload, taken)
            raw.append({"workload": workload, "runs": taken})
    common.table(rows, title="ethp: bloat removed (target 0.9), speed kept (target 0.8)")
    return {"targets": TARGETS, "summary": rows, "runs": raw}
