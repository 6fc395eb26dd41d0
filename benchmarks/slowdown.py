"""
How much a program slows down while it is monitored, and whether huge pages survive.

A busy workload reads memory as fast as it can. It runs without and with the monitor in turn
(A B A B ...), so that slow drifts of the machine hit both alike; the figure is the median of the
ratios B / A. Two ratios: work per second, and work per second of the workload's own CPU time (free
of waiting for a CPU, for which on a small machine the monitor and everything else compete).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import common
from common import GIB, HOUR_US

from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec

SETTLE_S = 0.5  # after the monitor started or ended
COUNTERS = ("thp_split_page", "thp_split_pmd", "thp_split_pud")


def vmstat() -> dict[str, int]:
    """The kernel's counters of split huge pages."""
    words = (line.split() for line in Path("/proc/vmstat").read_text("ascii").splitlines())
    return {name: int(value) for name, value in words if name in COUNTERS}


def huge_kib(pid: int) -> int:
    """AnonHugePages of a process, in KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    return 0


def rate(workload: Workload, seconds: float) -> tuple[float, float]:
    """Accesses per second of wall time and of the workload's CPU time."""
    wall, cpu, ops = time.monotonic_ns(), common.cpu_ns_of(workload.pid), workload.ops
    time.sleep(seconds)
    done = workload.ops - ops
    return (
        done / (time.monotonic_ns() - wall),
        done / max(1, common.cpu_ns_of(workload.pid) - cpu),
    )


def monitored(workload: Workload, seconds: float, backend: str) -> tuple[float, float, float]:
    """As `rate`, under the monitor, which runs in this process; and the monitor's CPU share."""
    with common.watching(workload.pid, backend=backend) as (_, stream):
        common.take(stream, SETTLE_S)
        wall, cpu, ops = time.monotonic_ns(), common.cpu_ns_of(workload.pid), workload.ops
        own = common.own_cpu_ns()
        common.take(stream, seconds)
        spent = time.monotonic_ns() - wall
        done = workload.ops - ops
        used = common.cpu_ns_of(workload.pid) - cpu
        return done / spent, done / max(1, used), (common.own_cpu_ns() - own) / spent


def compare(workload: Workload, pairs: int, seconds: float, backend: str) -> dict[str, Any]:
    """`pairs` of A and B on a workload that is in the phase to be measured."""
    ratios, cpu_ratios, shares = [], [], []
    for _ in range(pairs):
        time.sleep(SETTLE_S)
        plain, plain_cpu = rate(workload, seconds)
        watched, watched_cpu, share = monitored(workload, seconds, backend)
        ratios.append(watched / plain)
        cpu_ratios.append(watched_cpu / plain_cpu)
        shares.append(share)
    return {"ratios": ratios, "cpu ratios": cpu_ratios, "monitor share": shares}


def main() -> None:
    args = common.arguments(__doc__)
    pairs, seconds = (3, 0.5) if args.quick else (10, 1.5)
    nbytes = GIB // 4 if args.quick else GIB
    rows, raw = [], []
    for pages in ("4k", "thp"):
        phases = tuple(
            Phase(HOUR_US, (Hot("main", 0, nbytes, order=order),), "busy")
            for order in ("random", "sequential")
        )
        with Workload(Spec((Area("main", nbytes, pages),), phases)) as workload:
            for number, order in enumerate(("random", "sequential")):
                common.progress(f"{pages}, {order}: {pairs} pairs")
                if number:
                    workload.next_phase()
                else:
                    workload.go()
                before, huge = vmstat(), huge_kib(workload.pid)
                one = compare(workload, pairs, seconds, args.backend)
                splits = {name: value - before[name] for name, value in vmstat().items()}
                raw.append(
                    {"pages": pages, "order": order, **one, "splits": splits}
                    | {"huge KiB": [huge, huge_kib(workload.pid)]}
                )
                rows.append(
                    {
                        "pages": pages,
                        "order": order,
                        "pairs": pairs,
                        "speed B/A": common.median(one["ratios"]),
                        "min": min(one["ratios"]),
                        "max": max(one["ratios"]),
                        "per CPU s B/A": common.median(one["cpu ratios"]),
                        "monitor cpu %": 100 * (common.mean(one["monitor share"]) or 0),
                        "huge MiB before": huge // 1024,
                        "after": huge_kib(workload.pid) // 1024,
                        "splits": sum(splits.values()),
                    }
                )
    common.table(rows, title="slowdown: speed with the monitor over speed without")
    common.write("slowdown", args, {"summary": rows, "runs": raw})


if __name__ == "__main__":
    main()
