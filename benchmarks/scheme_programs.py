"""
Programs that benchmarks/eval.py and cold.py measure: Python children, and redis.

Children in Python count their rounds, and how long each took, in shared memory; redis-server is
loaded by redis-benchmark (throughput: commands the server did) and then, with that load away, by a
paced client of ours (latency), because a client that saturates two CPUs measures its own queue.
"""

from __future__ import annotations

import mmap
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from common import MIB
from programs import commands_of, ended
from scheme_setup import join, tree_cpu_ns

BLOCK_BYTES = 1 << 20
WORDS = BLOCK_BYTES // 8
#: Words of the shared block: how many rounds, when the last of them ended and the CPU time until
#: then, in ns; then a ring of the duration of each round.
ROUNDS, ENDED, SPENT, RING = 1, 4, 5, 8
VALUE_BYTES = 512
PACED_PER_S = 1000

#: Arguments: descriptor of the block, and the numbers.
HEAD = """
import mmap, random, resource, sys, time
block = memoryview(mmap.mmap(int(sys.argv[1]), 1 << 20)).cast("Q")
numbers = [int(word) for word in sys.argv[2:]]
def serve(work):
    print("ready", flush=True)
    ring, done = len(block) - 8, 0
    while True:
        begin = time.perf_counter_ns()
        work()
        end = time.perf_counter_ns()
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = time.process_time_ns() + int(1e9 * (ended.ru_utime + ended.ru_stime))
        block[8 + done % ring], block[4], block[5] = end - begin, time.monotonic_ns(), cpu
        done += 1
        block[1] = done
"""

#: Much is made at the start; then 5 % of it is used. Half of each payload compresses.
PYTHON = """
records, hot = numbers
data = [{"id": i, "name": f"record {i}", "payload": random.randbytes(300) + bytes(300)}
        for i in range(records)]
low = records // 3
def work():
    total = 0
    for _ in range(100):
        one = data[low + int(random.random() * hot)]
        total += len(one["name"]) + one["payload"][7]
serve(work)
"""

SQLITE = """
import sqlite3
rows, hot = numbers
db = sqlite3.connect(":memory:")
db.execute("create table t (id integer primary key, data)")
db.executemany("insert into t values (?, ?)",
               ((i, random.randbytes(450) + bytes(450)) for i in range(rows)))
db.commit()
low = rows // 3
def work():
    first = low + int(random.random() * (hot - 20))
    db.execute("select max(data) from t where id between ? and ?", (first, first + 20)).fetchone()
serve(work)
"""


@dataclass(frozen=True)
class Speed:
    """rate: work per second; per_cpu_s: per second of the program's own CPU; p99 in ms."""

    rate: float
    per_cpu_s: float
    p99_ms: float | None
    work: int


class Program(Protocol):
    """A running program that does work which can be counted."""

    name: str
    pid: int

    def done(self) -> int:
        """How much work was done so far."""

    def measure(self, seconds: float) -> Speed:
        """How fast it works for so long."""


def rate_of(program: Program, seconds: float) -> Speed:
    """How fast it works, by its own count and the CPU time of all its processes."""
    done, begin, cpu = program.done(), time.monotonic_ns(), tree_cpu_ns(program.pid)
    time.sleep(seconds)
    work, wall = program.done() - done, time.monotonic_ns() - begin
    used = tree_cpu_ns(program.pid) - cpu
    return Speed(work / wall * 1e9, work / max(1, used) * 1e9, None, work)


def p99(values_ms: list[float]) -> float | None:
    return statistics.quantiles(values_ms, n=100)[98] if len(values_ms) > 100 else None


@dataclass
class Counted:
    """
    A child in Python that counts its rounds in shared memory.

    own_cpu: what it works with is its own CPU time and that of children that ended.
    """

    name: str
    pid: int
    block: memoryview
    own_cpu: bool = True

    def done(self) -> int:
        return int(self.block[ROUNDS])

    def _account(self) -> tuple[int, int, int]:
        """Rounds, when the last of them ended, and CPU time until then."""
        while True:
            done = self.done()
            found = done, int(self.block[ENDED]), int(self.block[SPENT])
            if self.done() == done:
                return found

    def measure(self, seconds: float) -> Speed:
        """From the end of a round to the end of one; `p99_ms` of the last that the ring holds."""
        (first, begin, cpu), tree = self._account(), tree_cpu_ns(self.pid)
        time.sleep(seconds)
        (last, end, spent), tree_end = self._account(), tree_cpu_ns(self.pid)
        if last == first:
            return Speed(0.0, 0.0, None, 0)
        used = spent - cpu if self.own_cpu else tree_end - tree
        size = WORDS - RING
        rounds = range(max(first, last - size + 1000), last)
        taken = [self.block[RING + number % size] / 1e6 for number in rounds]
        work = last - first
        return Speed(work / (end - begin) * 1e9, work / max(1, used) * 1e9, p99(taken), work)


@contextmanager
def child(
    name: str,
    code: str,
    *numbers: int,
    group: Path | None = None,
    own_cpu: bool = True,
    files: Sequence[Path] = (),
) -> Iterator[Counted]:
    """Run `code` in a folder of its own that holds `files`; ready when it says so."""
    fd = os.memfd_create("counter")
    os.ftruncate(fd, BLOCK_BYTES)
    block = memoryview(mmap.mmap(fd, BLOCK_BYTES)).cast("Q")
    command = [sys.executable, "-c", HEAD + code, str(fd), *(str(number) for number in numbers)]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        for file in files:
            shutil.copy(file, folder)
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                pass_fds=(fd,),
                cwd=folder,
                start_new_session=True,
            )
        )
        os.close(fd)
        stack.enter_context(ended_all(process))
        join(group, process.pid)
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise SystemExit(f"{name} did not start")
        yield Counted(name, process.pid, block, own_cpu)


@contextmanager
def ended_all(process: subprocess.Popen[Any]) -> Iterator[None]:
    """End a process that we started in a session of its own, and its children."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Redis:
    """A redis-server on a socket of its own; clients read `hot` of its keys."""

    name: str
    pid: int
    path: str
    hot: int
    paced_s: float
    pipeline: int
    client: subprocess.Popen[Any] | None = None

    def done(self) -> int:
        return commands_of(self.path)

    def load(self) -> None:
        """Have redis-benchmark read keys at random, as fast as the machine can."""
        command = ["redis-benchmark", "-s", self.path, "-q", "-t", "get", "-r", str(self.hot)]
        command += ["-n", "2000000000", "-c", "4", "-P", str(self.pipeline)]
        self.client = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def unload(self) -> None:
        if self.client is not None:
            self.client.kill()
            self.client.wait()
            self.client = None

    def measure(self, seconds: float) -> Speed:
        """Throughput under the load that is on, then, without it, the latency of paced reads."""
        if not self.paced_s:
            return rate_of(self, seconds)
        speed = rate_of(self, seconds - self.paced_s)
        self.unload()
        taken = self._paced()
        self.load()
        return Speed(speed.rate, speed.per_cpu_s, p99(taken), speed.work)

    def _paced(self) -> list[float]:
        """A request each ms, in ms from when it was due or, if nothing was waiting, was sent."""
        taken = []
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self.path)
            begin = due = time.perf_counter()
            while due < begin + self.paced_s:
                late = (now := time.perf_counter()) > due
                if not late:
                    time.sleep(due - now)
                key = int(random.random() * self.hot)
                sent = due if late else time.perf_counter()
                link.sendall(b"GET key:%012d\r\n" % key)
                need = VALUE_BYTES + len(f"${VALUE_BYTES}\r\n\r\n")
                while need > 0:
                    more = link.recv(65536)
                    if not more or more.startswith(b"$-1"):
                        raise SystemExit("redis-server lost a key")
                    need -= len(more)
                taken.append((time.perf_counter() - sent) * 1000)
                due += 1 / PACED_PER_S
        return taken


def fill(path: str, keys: int) -> None:
    """Set all keys once, in random order, so that the read ones lie scattered; half compresses."""
    order = list(range(keys))
    random.Random(1).shuffle(order)
    pool = random.Random(2).randbytes(MIB)
    head = f"\r\n${VALUE_BYTES}\r\n".encode()
    half = VALUE_BYTES // 2
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        sent = answered = 0
        while answered < 5 * keys:  # "+OK\r\n" each
            if sent < keys:
                parts = []
                for key in order[sent : sent + 1000]:
                    at = key * 8191 % (MIB - half)
                    value = pool[at : at + half] + bytes(half)
                    parts.append(
                        b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d%b%b\r\n" % (key, head, value)
                    )
                link.sendall(b"".join(parts))
                sent += 1000
            if sent >= keys or select.select([link], [], [], 0)[0]:
                answered += len(link.recv(1 << 20))


@contextmanager
def redis(
    keys: int,
    hot: int,
    *,
    paced_s: float = 0.0,
    pipeline: int = 1,
    group: Path | None = None,
) -> Iterator[Redis]:
    """redis-server, filled with `keys` of 512 bytes, and under load."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = f"{folder}/socket"
        # By default redis forbids huge pages for itself, for good.
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--disable-thp", "no"]
        server = subprocess.Popen(
            ["redis-server", *options, "--dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.enter_context(ended(server))
        join(group, server.pid)
        for _ in range(200):
            with suppress(OSError), socket.socket(socket.AF_UNIX) as link:
                link.connect(path)
                break
            time.sleep(0.05)
        fill(path, keys)
        one = Redis("redis", server.pid, path, hot, paced_s, pipeline)
        stack.callback(one.unload)
        one.load()
        yield one
