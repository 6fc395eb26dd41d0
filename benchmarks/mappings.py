"""
What a target with many mappings costs: share of one CPU, time per mapping, resident memory.

A program of its own with so many mappings, which stay ("still") or of which some change their
rights ten times a second ("changes"). "process %" is the whole monitoring process in default
settings, once it has come to rest; "updates" tells how often the address map was read in that
time. "ns/mapping" is CPU time of this thread: "first" the first reading, "same" one where nothing
changed, "changed" one where a mapping did, "page map" the update of the map of pages after it;
"parse" is what Python's own parser of the text takes for the same, to compare with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common

from isotherm.clock import SystemClock
from isotherm.core.native_map import NativePageMap
from isotherm.kernel import procfs
from isotherm.targets.maps import AddressMaps
from isotherm.targets.processes import Process, ProcessSet

SETTLE_S, MEASURE_S = 25.0, 30.0
TARGET = """
import ctypes, mmap, sys, time
nr, changes = int(sys.argv[1]), sys.argv[2] == "changes"
libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
area = mmap.mmap(-1, nr * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
base = ctypes.addressof(ctypes.c_char.from_buffer(area))
for i in range(0, nr, 2):
    area[i * page] = 1
    libc.mprotect(ctypes.c_void_p(base + (i + 1) * page), page, mmap.PROT_READ)
print("ready", flush=True)
turn = 0
while True:
    time.sleep(0.1)
    for i in range(0, nr, 20):
        area[i * page] = 1
    if changes:
        turn += 1
        for i in range(1, nr, max(2, nr // 20 // 2 * 2)):
            rights = mmap.PROT_READ | (mmap.PROT_EXEC if turn % 2 else 0)
            libc.mprotect(ctypes.c_void_p(base + i * page), page, rights)
"""


@contextmanager
def target(nr: int, kind: str) -> Iterator[int]:
    """A process with `nr` mappings."""
    command = [sys.executable, "-c", TARGET, str(nr), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.kill()


def cpu_of(act: Callable[[], object]) -> int:
    begun = time.thread_time_ns()
    act()
    return time.thread_time_ns() - begun


class _NoBulk:
    def read(self, target: int, start: int, end: int) -> bytes:
        del target
        return bytes((end - start) // 4096)

    def clear(self, target: int, ranges: Any) -> int:
        del target, ranges
        return 0


def readings(process: Process) -> dict[str, Any]:
    """CPU time of single readings, per mapping."""
    maps = AddressMaps(float("inf"))
    page_map = NativePageMap(_NoBulk(), SystemClock(), share=0.01)
    first = cpu_of(lambda: maps.of([process]))
    nr = len(maps.of([process])[0][1].mappings)
    same = min(cpu_of(lambda: maps.of([process])) for _ in range(5))
    process.maps_cache.lines.parse(b"1000-2000 rw-p 00000000 00:00 0 \n")  # type: ignore[union-attr]
    changed = cpu_of(lambda: maps.of([process]))
    found = [ranges for _, ranges in maps.of([process])]
    update = cpu_of(lambda: page_map.update(found))
    parse = cpu_of(lambda: procfs.maps(process.pid))
    page_map.close()
    costs = {
        "first": first, "same": same, "changed": changed, "page map": update, "parse": parse
    }  # fmt: skip
    return {f"{name} ns/mapping": cost / nr for name, cost in costs.items()}


def measure_one(nr: int, kind: str, backend: str, seconds: float) -> dict[str, Any]:
    with target(nr, kind) as pid:
        processes = ProcessSet([pid], follow_children=False)
        single = readings(processes.members[0])
        processes.close()
        with common.watching(pid, backend=backend) as (session, stream):
            common.take(stream, SETTLE_S)
            snapshots, spent = common.measure(stream, seconds)
            sample_ms = session.attrs.sample_us / 1000
            updates = sum(snapshot.mappings is not None for snapshot in snapshots)
    return {
        "mappings": nr,
        "": kind,
        "process %": 100 * spent.share,
        "sample ms": sample_ms,
        "updates/s": updates / spent.wall_ns * 1e9,
        **single,
    }


def resident_mib(nr: int) -> float:
    """Highest resident memory of an `isotherm record` of such a program."""
    with target(nr, "still") as pid, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "isotherm", "record", "-p", str(pid), "-d", "5s"]
        command += ["-o", f"{folder}/r.isotherm"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            highest = 0.0
            while child.poll() is None:
                highest = max(highest, _highest(child.pid))
                time.sleep(0.1)
    return highest


def _highest(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else 0.0


def main() -> None:
    args = common.arguments(__doc__)
    sizes = (1_000, 65_000) if args.quick else (100, 1_000, 10_000, 65_000)
    seconds = 10.0 if args.quick else MEASURE_S
    rows = []
    for nr in sizes:
        for kind in ("still", "changes"):
            common.progress(f"{nr} mappings, {kind}")
            rows.append(measure_one(nr, kind, args.backend, seconds))
    weights = [{"mappings": nr, "resident MiB": resident_mib(nr)} for nr in (sizes[0], sizes[-1])]
    common.table(rows, title="mappings")
    common.table(weights, title="resident memory of `isotherm record`, at most")
    common.write("mappings", args, {"cost": rows, "resident": weights})


if __name__ == "__main__":
    main()
