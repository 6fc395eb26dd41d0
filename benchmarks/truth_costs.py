"""What the map of pages costs: time to know all, speed of the target, memory: part of truth.py."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import common
import truth_said
from common import GIB, MIB
from slowdown import huge_kib, vmstat
from truth_workload import Scheduled, scheduled

#: Everything is known: but for pages that come and go meanwhile.
COVERED = 0.999
SIZES_MTHP = Path("/sys/kernel/mm/transparent_hugepage")


def verdict(what: str, measured: float | None, target: float, unit: str) -> dict[str, Any]:
    met = None if measured is None else measured <= target
    return {"figure": what, "measured": measured, "target": f"<={target:g}", "": unit, "met": met}


def coverage(args: Any) -> dict[str, Any]:
    """Recordings of growing length, each from nothing: the first that knows every page."""
    plan: tuple[tuple[int, float, tuple[float, ...]], ...] = (
        (GIB, 3.0, (1, 2, 3, 4, 6, 10)),
        (12 * GIB, 45.0, (10, 20, 30, 45, 60, 90)),
    )
    if args.quick:
        plan = ((GIB // 4, 3.0, (1, 2, 3, 5)),)
    rows, verdicts = [], []
    for nbytes, target, lengths in plan:
        if not common.fits(nbytes):
            common.progress(f"{nbytes / GIB:g} GiB: not enough memory, left out")
            continue
        with scheduled("sparse", nbytes, 500) as program:
            found = None
            for seconds in lengths:
                common.progress(f"map of {nbytes / GIB:g} GiB in {seconds:g} s")
                recorded = truth_said.record(program.pid, seconds, args.options.split())
                said = recorded.said
                covered = (
                    min((point.covered for point in said.curve), default=0.0) if said else 0.0
                )
                rows.append(
                    {
                        "GiB": nbytes / GIB,
                        "seconds": seconds,
                        "covered": covered,
                        "cpu %": 100 * recorded.cpu_share,
                    }
                )
                if covered >= COVERED:
                    found = seconds
                    break
        verdicts.append(verdict(f"every page of {nbytes / GIB:g} GiB known", found, target, "s"))
    common.table(rows, title="how much of the memory is known after a while")
    return {"coverage": rows, "verdicts": verdicts}


def splits() -> dict[str, int]:
    """The kernel's counters of split huge pages, of each size where it tells them."""
    found = vmstat()
    for file in SIZES_MTHP.glob("hugepages-*/stats/split"):
        found[f"{file.parts[-3]} split"] = int(file.read_text("ascii"))
    return found


def rate(program: Scheduled, seconds: float) -> tuple[float, float]:
    """Work per second of wall time, and of the program's own CPU time."""
    wall, cpu, done = time.monotonic_ns(), common.cpu_ns_of(program.pid), program.done()
    time.sleep(seconds)
    work = program.done() - done
    used = common.cpu_ns_of(program.pid) - cpu
    return work / (time.monotonic_ns() - wall) * 1e9, work / max(1, used) * 1e9


def pairs_of(program: Scheduled, args: Any) -> dict[str, Any]:
    """Without and with `isotherm record`, in turn; page faults are timed by the program."""
    seconds, settle = (1.0, 0.5) if args.quick else (5.0, 2.0)
    ratios, cpu_ratios, shares = [], [], []
    stalls: dict[str, list[float]] = {"without": [], "with": []}
    before, huge = splits(), huge_kib(program.pid)
    for number in range(args.pairs):
        common.progress(f"speed: {program.name}, pair {number + 1} of {args.pairs}")
        time.sleep(settle)
        program.take_longest_fault_ns()
        plain, plain_cpu = rate(program, seconds)
        stalls["without"].append(program.take_longest_fault_ns() / 1e6)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "r.isotherm"
            with truth_said.Watcher(program.pid, file, args.options.split()) as watcher:
                time.sleep(settle)
                program.take_longest_fault_ns()
                watched, watched_cpu = rate(program, seconds)
                stalls["with"].append(program.take_longest_fault_ns() / 1e6)
                shares.append(watcher.share())
                watcher.end()
        ratios.append(watched / plain)
        cpu_ratios.append(watched_cpu / plain_cpu)
    return {
        "program": program.name,
        "ratios": ratios,
        "cpu ratios": cpu_ratios,
        "shares": shares,
        "longest fault ms": stalls,
        "splits": {name: value - before.get(name, 0) for name, value in splits().items()},
        "huge KiB": [huge, huge_kib(program.pid)],
    }


def speed(args: Any) -> dict[str, Any]:
    """Small pages and huge ones read as fast as it goes, and pages that are faulted in."""
    nbytes = 64 * MIB if args.quick else 512 * MIB
    raw = []
    for pattern in ("eighth", "huge", "faults"):
        with scheduled(pattern, 64 * MIB if pattern == "faults" else nbytes, 0) as program:
            raw.append(pairs_of(program, args))
    rows = [
        {
            "program": one["program"],
            "pairs": len(one["ratios"]),
            "slower %": 100 * (1 - (common.median(one["ratios"]) or 1)),
            "min": 100 * (1 - max(one["ratios"])),
            "max": 100 * (1 - min(one["ratios"])),
            "per CPU s %": 100 * (1 - (common.median(one["cpu ratios"]) or 1)),
            "cpu %": 100 * (common.median(one["shares"]) or 0),
            "splits": sum(one["splits"].values()),
            "huge MiB": one["huge KiB"][0] // 1024,
            "after": one["huge KiB"][1] // 1024,
            "longest fault ms": max(one["longest fault ms"]["without"]) or None,
            "with": max(one["longest fault ms"]["with"]) or None,
        }
        for one in raw
    ]
    common.table(rows, title="speed of programs with isotherm against without")
    slow = common.median([row["slower %"] for row in rows])
    split = sum(row["splits"] for row in rows)
    return {
        "speed": rows,
        "runs": raw,
        "verdicts": [
            verdict("slowdown, median", slow, 0.5, "%"),
            verdict("huge pages split", float(split), 0, ""),
        ],
    }


def memory(args: Any) -> dict[str, Any]:
    """The peak of `record` on much memory less that on little, for each page more."""
    small, large = (64 * MIB, 256 * MIB) if args.quick else (64 * MIB, 2 * GIB)
    seconds, rows = 4.0 if args.quick else 12.0, []
    peaks = []
    for nbytes in (small, large):
        with scheduled("eighth", nbytes, 500) as program:
            recorded = truth_said.record(program.pid, seconds, args.options.split())
        peaks.append(recorded.peak_bytes)
        rows.append({"target MiB": nbytes / MIB, "peak of record MiB": peaks[-1] / MIB})
    common.table(rows, title="memory of isotherm itself")
    each = (peaks[1] - peaks[0]) / ((large - small) / 4096)
    return {"memory": rows, "verdicts": [verdict("memory a 4 KiB page", each, 1.2, "bytes")]}
