"""One workload of benchmarks/eval.py under each condition, in turn; what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import common
from eval_workloads import Workload
from scheme_programs import Program
from scheme_setup import (
    Apply,
    Beside,
    Record,
    Swap,
    Watch,
    own_group,
    swap_traffic,
    thp,
    tree_faults,
    tree_memory,
)

from isotherm.schemefile.presets import PRESETS

NONE, RECORD, PRCL, ETHP, ALWAYS, ETHP_HUGE = (
    "none", "record", "prcl", "ethp", "huge pages", "ethp from huge",
)  # fmt: skip
CONDITIONS = (NONE, RECORD, PRCL, ETHP, ALWAYS, ETHP_HUGE)
#: What others are held against, each in its own process.
PLAIN = (NONE, ALWAYS)


@dataclass(frozen=True)
class Plan:
    """
    In seconds: settle, before anything is measured; measure; act, `record` and `prcl` before they
    are measured; huge, `ethp` before it is. prcl: its schemes.
    """

    settle: float
    measure: float
    act: float
    huge: float
    prcl: str


FULL = Plan(8, 8, 42, 14, "prcl")
#: `--quick` cannot wait for half a minute of idleness.
QUICK = Plan(
    0.3, 0.6, 2, 1,
    PRESETS["prcl"].lines.replace("idle:30s", "idle:1s").replace("every=2s", "every=1s"),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """
    One measurement, of process number `process` of this workload.

    rate: work a second; per_cpu_s: work per second of the program's CPU; bytes are proportional
    shares of all its processes: pss_mean over the measurement, the others at its end; refaults:
    major faults a second; back_per_s: since isotherm began, major faults or pages read from swap,
    whatever is more; monitor: isotherm's share of one CPU.
    """

    condition: str
    process: int
    rate: float
    per_cpu_s: float
    p99_ms: float | None
    pss_mean: float
    pss_end: int
    swap_end: int
    huge_end: int
    refaults: float
    back_per_s: float | None = None
    monitor: float | None = None
    zram: dict[str, int] = field(default_factory=dict)


@dataclass
class Bench:
    """What a run of one workload needs; runs are added to `runs` as they are done."""

    name: str
    workload: Workload
    plan: Plan
    quick: bool
    options: Sequence[str]
    swap: Swap
    conditions: Sequence[str]
    runs: list[Run] = field(default_factory=list)
    foreseen: dict[str, Any] | None = None

    def measure(
        self, program: Program, condition: str, process: int, beside: Beside | None = None
    ) -> None:
        """Let it run for as long as the condition takes, then measure."""
        common.progress(f"{self.name}: {condition}")
        begun, back = time.monotonic(), _back(program.pid)
        if beside is not None:
            time.sleep(self.plan.huge if condition in (ETHP, ETHP_HUGE) else self.plan.act)
        with Watch(program.pid) as watch:
            cpu = beside.cpu_ns if beside else 0
            steady, faults = time.monotonic(), tree_faults(program.pid)
            speed = program.measure(self.plan.measure)
            now = time.monotonic()
            share = (beside.cpu_ns - cpu) / 1e9 / (now - steady) if beside else None
            came = max(b - a for a, b in zip(back, _back(program.pid), strict=True))
            refaults = (tree_faults(program.pid) - faults) / (now - steady)
            end = tree_memory(program.pid)
        if not speed.work:
            raise SystemExit(f"{self.name} did nothing while it was measured")
        self.runs.append(
            Run(
                condition=condition,
                process=process,
                rate=speed.rate,
                per_cpu_s=speed.per_cpu_s,
                p99_ms=speed.p99_ms if self.workload.server else None,
                pss_mean=watch.mean() or end["pss"],
                pss_end=end["pss"],
                swap_end=end["swap"],
                huge_end=end["huge"],
                refaults=refaults,
                back_per_s=came / (now - begun) if beside else None,
                monitor=share,
                zram=self.swap.compressed() if condition == PRCL else {},
            )
        )

    def apply(self, program: Program, schemes: str, condition: str, process: int) -> None:
        with Apply(schemes, program.pid, self.options) as scheme:
            self.measure(program, condition, process, scheme)
            scheme.end()

    def record(self, program: Program, process: int, path: Path) -> None:
        with Record(program.pid, path, self.options) as recorder:
            self.measure(program, RECORD, process, recorder)
            recorder.stop()

    def wants(self, *conditions: str) -> bool:
        return any(one in self.conditions for one in conditions)


def _back(pid: int) -> tuple[int, int]:
    """Major faults of a program, and pages that the machine read from swap."""
    return tree_faults(pid), swap_traffic()["pswpin"]


def in_small_pages(bench: Bench, process: int, group: Path | None) -> None:
    """In one process: none, record, none, prcl, none; what the recording foresees of prcl."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        path = Path(folder) / "recording.isotherm"
        with bench.workload.start(bench.quick, group) as program:
            time.sleep(bench.plan.settle)
            bench.measure(program, NONE, process)
            if bench.wants(RECORD):
                bench.record(program, process, path)
                bench.measure(program, NONE, process)
            if bench.wants(PRCL):
                bench.apply(program, bench.plan.prcl, PRCL, process)
                bench.swap.bring_back(program.pid)
                bench.measure(program, NONE, process)
        if path.exists() and bench.wants(PRCL):
            bench.foreseen = _foreseen(path, bench.plan.prcl)


def in_fresh(bench: Bench, plain: str, acting: str, process: int, group: Path | None) -> None:
    """In a process of its own, which begins with huge pages or without: plain, then ethp."""
    if not bench.wants(acting):
        return
    with (
        thp("always" if plain == ALWAYS else "madvise"),
        bench.workload.start(bench.quick, group) as program,
    ):
        time.sleep(bench.plan.settle)
        bench.measure(program, plain, process)
        bench.apply(program, "ethp", acting, process)


def _foreseen(path: Path, schemes: str) -> dict[str, Any]:
    """What `isotherm simulate` says that prcl would have done to the recording."""
    command = [sys.executable, "-m", "isotherm", "simulate", str(path), schemes]
    done = subprocess.run(
        [*command, "--format", "json"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        return {"why not": done.stderr.strip().splitlines()[0]}
    found = json.loads(done.stdout)
    back = found["refaulted_bytes"]
    return {
        "saved": found["saved_end_bytes"],
        "unknown": found["unknown_bytes"],
        "back_per_s": {key: value / 4096 * 1e9 / found["length_ns"] for key, value in back.items()}
        if back
        else None,
    }


def measured(bench: Bench, rounds: int) -> dict[str, Any]:
    """All conditions of one workload, so many times over; raw."""
    begun = time.monotonic()
    with thp("madvise"), own_group() as group:
        for number in range(rounds):
            in_small_pages(bench, 3 * number, group)
            in_fresh(bench, NONE, ETHP, 3 * number + 1, group)
            in_fresh(bench, ALWAYS, ETHP_HUGE, 3 * number + 2, group)
    return {
        "name": bench.name,
        "about": bench.workload.about,
        "version": bench.workload.said_version(),
        "server": bench.workload.server,
        "took_s": time.monotonic() - begun,
        "runs": [asdict(one) for one in bench.runs],
        "foreseen": bench.foreseen,
    }
