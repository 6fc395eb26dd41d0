"""
Real programs: working set against a witness, and throughput with the monitor over without.

redis-server with redis-benchmark on few of its keys, a Python program that reads a slice of a
large buffer, and SQLite queries on few rows of an in-memory database. The expected working set is
asked of the kernel without isotherm: /proc/PID/clear_refs, a while, then `Referenced` of smaps
(page-exact, for as long as a window). Hot pages that are scattered one by one (redis, SQLite)
cannot be outlined by regions: there the estimate is meant to be read beside the witness, not to
equal it.
"""

from __future__ import annotations

import mmap
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import common
from common import MIB

PYTHON_PROGRAM = """
import mmap, sys
counter = memoryview(mmap.mmap(int(sys.argv[1]), 4096)).cast("Q")
nbytes, hot = int(sys.argv[2]), int(sys.argv[3])
memory = bytearray(b"x") * nbytes
view = memoryview(memory)[nbytes // 2 : nbytes // 2 + hot : 4096]
print("ready", flush=True)
while True:
    bytes(view)
    counter[0] += 1
"""

SQLITE_PROGRAM = """
import mmap, random, sqlite3, sys
counter = memoryview(mmap.mmap(int(sys.argv[1]), 4096)).cast("Q")
rows, hot = int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(":memory:")
db.execute("create table t (id integer primary key, text)")
db.executemany("insert into t values (?, ?)", ((i, "x" * 900) for i in range(rows)))
db.commit()
print("ready", flush=True)
while True:
    low = rows // 3 + random.randrange(hot)
    db.execute("select length(text) from t where id = ?", (low,)).fetchone()
    counter[0] += 1
"""


class Program(Protocol):
    """A running program that does work which can be counted."""

    name: str
    pid: int

    def done(self) -> int:
        """How much work was done so far."""


@dataclass
class Counted:
    """A Python child that counts its rounds in shared memory."""

    name: str
    pid: int
    counter: memoryview

    def done(self) -> int:
        return int(self.counter[0])


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """End a process that we started, whatever happens."""
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def python_child(name: str, code: str, *numbers: int) -> Iterator[Counted]:
    """Run `code` with a counter and numbers as arguments; ready when it says so."""
    fd = os.memfd_create("counter")
    os.ftruncate(fd, 4096)
    block = memoryview(mmap.mmap(fd, 4096)).cast("Q")
    command = [sys.executable, "-c", code, str(fd), *(str(number) for number in numbers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(fd,)) as process:
        os.close(fd)
        with ended(process):
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise SystemExit(f"{name} did not start")
            yield Counted(name, process.pid, block)


def commands_of(path: str) -> int:
    """How many commands the redis-server behind a socket has done."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(b"INFO stats\r\n")
        text = b""
        # The field after it: by then the number is whole.
        while b"instantaneous_ops_per_sec" not in text:
            if not (more := link.recv(65536)):
                raise SystemExit("redis-server went away")
            text += more
    return int(text.split(b"total_commands_processed:")[1].split()[0])


@dataclass
class Redis:
    """A redis-server on a socket of its own, loaded by redis-benchmark."""

    name: str
    pid: int
    path: str

    def done(self) -> int:
        return commands_of(self.path)


@contextmanager
def redis(keys: int, hot_keys: int) -> Iterator[Redis]:
    """redis-server filled with `keys` of 512 bytes; clients read `hot_keys` of them."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = f"{folder}/socket"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(["redis-server", *options], **quiet)
        stack.enter_context(ended(server))
        for _ in range(200):
            with suppress(OSError), socket.socket(socket.AF_UNIX) as link:
                link.connect(path)
                break
            time.sleep(0.05)
        load = ["redis-benchmark", "-s", path, "-q"]
        fill = ["-t", "set", "-r", str(keys), "-n", str(2 * keys), "-d", "512", "-P", "32"]
        subprocess.run([*load, *fill], check=True, **quiet)
        clients = ["-t", "get", "-r", str(hot_keys), "-n", "2000000000", "-c", "8", "-P", "8"]
        client = subprocess.Popen([*load, *clients], **quiet)
        stack.enter_context(ended(client))
        time.sleep(0.3)
        yield Redis("redis", server.pid, path)


def referenced(pid: int, seconds: float) -> int:
    """Bytes that the kernel saw referenced within `seconds`: the witness."""
    Path(f"/proc/{pid}/clear_refs").write_text("1", "ascii")
    time.sleep(seconds)
    return smaps_bytes(pid, "Referenced")


def smaps_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def speed(program: Program, seconds: float) -> float:
    done, begin = program.done(), time.monotonic_ns()
    time.sleep(seconds)
    return (program.done() - done) / (time.monotonic_ns() - begin) * 1e9


def monitored(program: Program, seconds: float, backend: str) -> tuple[float, Any, float]:
    """Speed while it is monitored, the snapshots, and the monitor's share of a CPU."""
    with common.watching(program.pid, backend=backend) as (_, stream):
        common.take(stream, 0.7)
        done, begin = program.done(), time.monotonic_ns()
        snapshots, spent = common.measure(stream, seconds)
        rate = (program.done() - done) / (time.monotonic_ns() - begin) * 1e9
    return rate, snapshots, spent.share


def compare(program: Program, pairs: int, seconds: float, backend: str) -> dict[str, Any]:
    """Interleaved pairs without and with the monitor, then the witness."""
    ratios, shares, sets, hot = [], [], [], []
    window_s = 0.1
    for number in range(pairs):
        common.progress(f"{program.name}: pair {number + 1} of {pairs}")
        plain = speed(program, seconds)
        watched, snapshots, share = monitored(program, seconds, backend)
        ratios.append(watched / plain)
        shares.append(share)
        sets += [snapshot.working_set_bytes for snapshot in snapshots]
        hot += [hot_bytes(snapshot) for snapshot in snapshots]
        window_s = snapshots[-1].aggr_us / 1e6
    witness = statistics.median(referenced(program.pid, window_s) for _ in range(5))
    return {
        "program": program.name,
        "resident MiB": smaps_bytes(program.pid, "Rss") / MIB,
        "witness MiB": witness / MIB,
        "working set MiB": statistics.median(sets) / MIB,
        "hot (>=20%) MiB": statistics.median(hot) / MIB,
        "speed B/A": statistics.median(ratios),
        "min": min(ratios),
        "max": max(ratios),
        "pairs": pairs,
        "monitor cpu %": 100 * statistics.fmean(shares),
    }


def hot_bytes(snapshot: Any) -> int:
    """Bytes of regions that were accessed in at least a fifth of the samples."""
    floor = max(1, snapshot.max_nr_accesses / 5)
    return sum(region.size for region in snapshot.regions if (region.nr_accesses or 0) >= floor)


def main() -> None:
    args = common.arguments(__doc__)
    pairs, seconds = (2, 1.0) if args.quick else (6, 2.0)
    keys, rows, nbytes = (
        (50_000, 50_000, 256 * MIB) if args.quick else (500_000, 400_000, 1024 * MIB)
    )
    results = []
    if shutil.which("redis-server") and shutil.which("redis-benchmark"):
        with redis(keys, keys // 100) as server:
            results.append(compare(server, pairs, seconds, args.backend))
    else:
        common.progress("redis-server or redis-benchmark is not installed: left out")
    with python_child("python", PYTHON_PROGRAM, nbytes, nbytes // 16) as child:
        results.append(compare(child, pairs, seconds, args.backend))
    with python_child("sqlite", SQLITE_PROGRAM, rows, rows // 20) as child:
        results.append(compare(child, pairs, seconds, args.backend))
    common.table(results, title="programs: working set beside the witness, speed B/A")
    common.write("programs", args, {"programs": results})


if __name__ == "__main__":
    main()
