"""
What many targets cost: processes in cgroups, by `-G` and by `-a`, and when a newcomer is seen.

Makes cgroups of its own, with so many Python programs each, one of them at work in each group, and
removes all of it. `cpu %` is of the whole `isotherm record` process over the last two thirds, as a
share of one CPU; `resident` its highest. A newcomer joins every few seconds: `seen ms` is from its
joining to the first snapshot that has it, by the snapshot's own time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
from common import MIB

import isotherm
from isotherm.kernel import cgroupfs

NAME = "isotherm-benchmark"
BUSY = """
import sys, time
memory = bytearray({size})
print(flush=True)
while {busy}:
    memory[: 1 << 18] = bytes(1 << 18)
    time.sleep(0.2)
time.sleep(10_000)
"""
#: Of each process, bytes.
SIZE = 2 * MIB


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--processes", type=int, default=500, help="in all groups together")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--words", nargs=argparse.REMAINDER, help="instead of -G and -a, such as -n python3; last"
    )


@contextlib.contextmanager
def population(groups: int, processes: int) -> Iterator[Path]:
    """Processes in groups; yields the folder of all groups."""
    root = cgroupfs.hierarchies()[0].mount / NAME
    root.mkdir()
    started: list[subprocess.Popen[bytes]] = []
    folders = [root / f"service-{i}" for i in range(groups)]
    try:
        for i in range(processes):
            folder = folders[i % groups]
            folder.mkdir(exist_ok=True)
            started.append(start(folder, busy=i < groups))
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        yield root
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        for folder in [*folders, root]:
            remove(folder)


def start(folder: Path, *, busy: bool) -> subprocess.Popen[bytes]:
    code = BUSY.format(size=SIZE, busy=busy)
    process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
    (folder / "cgroup.procs").write_text(str(process.pid))
    return process


def remove(folder: Path) -> None:
    """Remove a group as soon as the kernel has emptied it."""
    for _ in range(500):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


def measure(words: list[str], root: Path, seconds: float, backend: str) -> dict[str, Any]:
    """Record with these words for who is meant, while newcomers join."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.isotherm"
        record = [sys.executable, "-m", "isotherm", "record", *words, "-o", str(path)]
        began_ns = time.time_ns()
        with subprocess.Popen(
            [*record, "--backend", backend, "-d", f"{seconds}s"], stderr=subprocess.DEVNULL
        ) as recorder:
            joined, spent_ns, over_ns = newcomers(recorder, root, seconds)
            # Read before it ends: the highest that the process itself had.
            resident = highest(recorder.pid)
            recorder.wait()
        seen = first_seen(path, joined)
        delays = [(seen[pid] - at_ns) / 1e6 for pid, at_ns in joined.items() if pid in seen]
        return {
            "words": " ".join(words),
            "targets": max(len(snapshot.targets) for snapshot in isotherm.open(path)),
            "cpu %": 100 * spent_ns / over_ns,
            "resident MiB": resident / 1024,
            "newcomers": len(joined),
            "seen": len(delays),
            "seen ms": common.median(delays),
            "at most ms": max(delays, default=None),
            "start s": (first_end(path) - began_ns) / 1e9,
            "file MiB": path.stat().st_size / MIB,
        }


def newcomers(
    recorder: subprocess.Popen[bytes], root: Path, seconds: float
) -> tuple[dict[int, int], int, int]:
    """Let some join; return when each did, and CPU time over a stretch of time."""
    joined: dict[int, int] = {}
    folder = root / "service-0"
    until = time.monotonic() + seconds - 5
    time.sleep(seconds / 3)
    begin_ns, cpu_ns = time.monotonic_ns(), common.cpu_ns_of(recorder.pid)
    started = []
    try:
        while time.monotonic() < until:
            process = start(folder, busy=False)
            joined[process.pid] = time.time_ns()
            started.append(process)
            time.sleep(3.3)
        over_ns = time.monotonic_ns() - begin_ns
        return joined, common.cpu_ns_of(recorder.pid) - cpu_ns, over_ns
    finally:
        for process in started:
            process.kill()
            process.wait()


def highest(pid: int) -> int:
    """The highest resident KiB of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def first_seen(path: Path, joined: dict[int, int]) -> dict[int, int]:
    """When each newcomer was in a snapshot first, in ns of the day."""
    found: dict[int, int] = {}
    for snapshot in isotherm.open(path):
        for target in snapshot.targets:
            if target.pid in joined and target.pid not in found:
                found[target.pid] = snapshot.end_ns
    return found


def first_end(path: Path) -> int:
    return next(iter(isotherm.open(path))).end_ns


def main() -> None:
    args = common.arguments(__doc__ or "", options)
    if args.quick:
        args.groups, args.processes, args.seconds = 10, 50, 20.0
    ways = [args.words] if args.words else [["-G", f"/{NAME}/*"], ["-a"]]
    rows = []
    with population(args.groups, args.processes) as root:
        for words in ways:
            common.progress(f"{' '.join(words)} for {args.seconds:g} s")
            rows.append(measure(words, root, args.seconds, args.backend))
    common.table(rows, title=f"{args.processes} processes in {args.groups} cgroups")
    common.write("targets", args, {"rows": rows, "pid": os.getpid()})


if __name__ == "__main__":
    main()
