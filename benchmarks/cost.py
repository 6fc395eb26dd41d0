"""
What monitoring costs: CPU per tick and per check, share of one CPU, system calls, flatness.

Grid: 10, 100, 1000 regions (bounds N..N) x 0, 10, 50, 100 % of memory hot x 0.25, 1, 4, 12 GiB x
4 KiB pages and transparent huge pages. "cpu us/tick" is the monitor's thread, "process %" the
whole monitoring process as a share of one CPU, "missed %" the checks left out for the budget of
clears (imputed). The hot memory is swept as fast as a tick needs, or as one CPU can: with
gigabytes hot the workload fills a CPU and its sweeps take longer than a sampling interval
("overruns").
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common
from common import GIB, HOUR_US, MIB

from isotherm.demo.runner import Workload
from isotherm.demo.spec import DEFAULT_PERIOD_US, PAGE, Area, Hot, Phase, Spec

HOT_PERCENT = (0, 10, 50, 100)
SETTLE_S = 0.6
#: The governor decides once a second.
GOVERNED_SETTLE_S = 8.0
GOVERNED_S = 6.0
#: The share of hot memory at which default settings are measured: a typical one.
GOVERNED_PERCENT = 10


def hot_phases(nbytes: int, percents: tuple[int, ...]) -> tuple[Phase, ...]:
    """First a phase that touches everything once, then one for each share of hot memory."""
    once = Phase(HOUR_US, (Hot("main", 0, nbytes, HOUR_US),))
    phases = [once]
    for percent in percents:
        hot = nbytes * percent // 100 // PAGE * PAGE
        spots = (Hot("main", 0, hot, DEFAULT_PERIOD_US),) if hot else ()
        phases.append(Phase(HOUR_US, spots))
    return tuple(phases)


@contextmanager
def python_time() -> Iterator[Callable[[], int]]:
    """
    Measure the CPU time of native calls of this thread, by the interpreter's own call events.

    Yields a function that returns the nanoseconds of thread CPU time spent inside functions of
    isotherm._core so far. What remains of the thread's time is Python's.
    """
    inside, entered = [0], [0]

    def event(frame: Any, kind: str, function: Any) -> None:
        del frame
        if kind in ("c_call", "c_return", "c_exception") and _native(function):
            if kind == "c_call":
                entered[0] = time.thread_time_ns()
            else:
                inside[0] += time.thread_time_ns() - entered[0]

    sys.setprofile(event)
    try:
        yield lambda: inside[0]
    finally:
        sys.setprofile(None)


def _native(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or getattr(type(owner), "__module__", "")
    return module == "isotherm._core" or getattr(owner, "__name__", "") == "isotherm._core"


def python_share(pid: int, seconds: float, backend: str) -> float:
    """
    Share of Python in the monitor's CPU time, in default settings.

    Profiling adds to Python's side, so this is an upper bound.
    """
    with common.watching(pid, backend=backend) as (_, stream):
        common.take(stream, SETTLE_S)
        with python_time() as native:
            cpu, inside = time.thread_time_ns(), native()
            common.take(stream, seconds)
            total, inside = time.thread_time_ns() - cpu, native() - inside
    return 1 - inside / max(1, total)


def settle(session: Any, stream: Any, seconds: float) -> None:
    """Let the sweep of the start end, and the governor come to rest."""
    common.take(stream, seconds)
    while session.monitor.look.warming_up():
        common.take(stream, SETTLE_S)


def measure_one(pid: int, regions: str | None, seconds: float, backend: str) -> dict[str, Any]:
    """
    CPU of one setting on a running workload.

    With bounds of regions the intervals are fixed at 5 ms and 100 ms; without, all is as a user
    gets it, and intervals stretch to keep the share of CPU.
    """
    fixed = {} if regions is None else {"regions": regions, "sample": "5ms", "aggr": "100ms"}
    with common.watching(pid, backend=backend, **fixed) as (session, stream):
        settle(session, stream, SETTLE_S if fixed else GOVERNED_SETTLE_S)
        snapshots, spent = common.measure(stream, seconds if fixed else GOVERNED_S)
        sample_ms = session.attrs.sample_us / 1000
    ticks, checks = max(1, spent.ticks), max(1, spent.checks)
    return {
        "cpu us/tick": spent.cpu_ns / ticks / 1e3,
        "cpu us/check": spent.cpu_ns / checks / 1e3,
        "process %": 100 * spent.share,
        "sample ms": sample_ms,
        "checks/tick": checks / ticks,
        "cleared/s": spent.cleared / spent.wall_ns * 1e9,
        "missed %": 100 * spent.missed / checks,
        "late us/tick": spent.late_ns / ticks / 1e3,
        "nr regions": common.mean([len(snapshot.columns) for snapshot in snapshots]),
    }


def grid(args: Any) -> list[dict[str, Any]]:
    """Every combination; one workload process per size and kind of pages."""
    sizes = (GIB // 4, GIB) if args.quick else (GIB // 4, GIB, 4 * GIB, 12 * GIB)
    percents = (0, 50) if args.quick else HOT_PERCENT
    settings = (None, "100..100") if args.quick else (None, "10..10", "100..100", "1000..1000")
    seconds = 0.5 if args.quick else 1.0
    rows = []
    for nbytes in sizes:
        for pages in ("4k", "thp"):
            if not common.fits(nbytes):
                common.progress(f"{nbytes / GIB:g} GiB: not enough memory, left out")
                continue
            common.progress(f"{nbytes / GIB:g} GiB, {pages}")
            spec = Spec((Area("main", nbytes, pages),), hot_phases(nbytes, percents))
            with Workload(spec) as workload:
                workload.go()
                for percent in percents:
                    workload.next_phase()
                    late = workload.overruns
                    for regions in settings:
                        if regions is None and percent != GOVERNED_PERCENT and not args.quick:
                            continue
                        one = measure_one(workload.pid, regions, seconds, args.backend)
                        setting = {"GiB": nbytes / GIB, "pages": pages, "hot %": percent}
                        setting["regions"] = regions or "default"
                        rows.append({**setting, **one, "overruns": workload.overruns - late})
    return rows


def flatness(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Largest over smallest CPU per tick over the sizes, all else equal; 1 is flat."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        key = (row["pages"], row["hot %"], row["regions"])
        found.setdefault(key, []).append(row["cpu us/tick"])
    return [
        {"pages": pages, "hot %": hot, "regions": regions, "max/min of sizes": max(us) / min(us)}
        for (pages, hot, regions), us in found.items()
    ]


def calls_of(pid: int, seconds: int, backend: str) -> dict[str, int]:
    """System calls of an `isotherm record` of this many seconds, by name, as strace counts."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "calls"
        command = [sys.executable, "-m", "isotherm", "record", "-p", str(pid)]
        command += ["-d", f"{seconds}s", "-o", f"{folder}/r.isotherm", "--backend", backend]
        subprocess.run(
            ["strace", "-f", "-c", "-U", "calls,name", "-o", str(out), *command],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        rows = re.findall(r"^\s*(\d+)\s+(\w+)$", out.read_text("ascii"), re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


def calls_per_tick(pid: int, quick: bool, backend: str) -> list[dict[str, Any]]:
    """System calls per sampling interval of 5 ms: a long recording less a short one."""
    if shutil.which("strace") is None:
        common.progress("system calls are not counted: strace is not installed")
        return []
    short, long = (1, 3) if quick else (2, 8)
    before, after = calls_of(pid, short, backend), calls_of(pid, long, backend)
    ticks = (long - short) * 200
    names = sorted(after, key=lambda name: before.get(name, 0) - after[name])
    rows = [
        {"call": name, "per tick": (after[name] - before.get(name, 0)) / ticks} for name in names
    ]
    total = sum(row["per tick"] for row in rows)
    return [{"call": "all", "per tick": total}, *(row for row in rows if row["per tick"] > 0.005)]


def main() -> None:
    args = common.arguments(__doc__)
    rows = grid(args)
    common.table(rows, title="cost")
    flat = flatness(rows)
    common.table(flat, title="flatness: CPU per tick, largest over smallest of all sizes")
    hot = (Hot("main", 64 * MIB, 64 * MIB),)
    with Workload(Spec((Area("main", GIB),), (Phase(HOUR_US, hot),))) as workload:
        workload.go()
        common.progress("Python's share")
        share = python_share(workload.pid, 1.0 if args.quick else 5.0, args.backend)
        common.progress("system calls")
        calls = calls_per_tick(workload.pid, args.quick, args.backend)
    print(f"\nPython's share of the monitor's CPU time, at most: {share:.1%}")
    common.table(calls, title="system calls per tick, 1 GiB of which 64 MiB hot, as strace counts")
    results = {"grid": rows, "flatness": flat, "python share": share, "calls": calls}
    common.write("cost", args, results)


if __name__ == "__main__":
    main()
