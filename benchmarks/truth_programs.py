"""The programs of benchmarks/truth.py: how each is started, and what it says of itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import common
import truth_services as services
from common import GIB, MIB
from scheme_programs import SQLITE, child, redis
from truth_witness import (
    Mapping,
    Used,
    bounds,
    curve,
    mappings,
    processes,
    used_at_the_end,
)
from truth_workload import Scheduled, compiler, now_ms, scheduled, used_since


@dataclass
class Subject:
    """A running program. done: work so far; schedule: its own account, if it writes one."""

    name: str
    pid: int
    done: Callable[[], int]
    schedule: Scheduled | None = None
    postgres: services.Postgres | None = None

    def pids(self) -> list[int]:
        return processes(self.pid)

    def truth(self, windows_s: Sequence[float]) -> list[Used]:
        """What it uses within each of these times, by the best witness there is for it."""
        if self.postgres is not None:
            return [self._with_segment(self.postgres, window_s) for window_s in windows_s]
        if self.schedule is not None and len(self.pids()) > 1:
            return self._by_schedule(self.schedule, windows_s)
        return curve(self.pids, windows_s)

    def idle_outside(self, own: Scheduled) -> float:
        """Bytes outside of the areas that nothing used since the last clear, at least."""
        spans = [(area.base, area.end) for area in own.areas]
        each = [_outside(mappings(pid), spans) for pid in self.pids()]
        _, used = bounds(each)
        return max(0.0, sum(one.pss for maps in each for one in maps) - used)

    def _with_segment(self, server: services.Postgres, window_s: float) -> Used:
        """Shared buffers by frame; what is around them between its bounds."""
        around = _around(self.pids(), curve(self.pids, [window_s])[0], server.SEGMENT)
        segment = used_at_the_end(self.pids, server.SEGMENT, window_s, server)
        return Used(window_s, around.low + segment, around.high + segment, around.resident)

    def _by_schedule(self, own: Scheduled, windows_s: Sequence[float]) -> list[Used]:
        """The areas by the program's account; what is around them between its bounds."""
        spans = [(area.base, area.end) for area in own.areas]
        found = []
        for known in curve(self.pids, windows_s):
            account, at = own.last_used(), now_ms()
            areas = used_since(account, at - int(known.window_s * 1000))
            low, high = bounds([_outside(mappings(pid), spans) for pid in self.pids()])
            found.append(Used(known.window_s, areas + low, areas + high, known.resident))
        return found


def _outside(maps: Sequence[Mapping], spans: Sequence[tuple[int, int]]) -> list[Mapping]:
    return [
        one for one in maps if not any(one.start < end and start < one.end for start, end in spans)
    ]


def _around(pids: Sequence[int], known: Used, name: str) -> Used:
    """As `known`, without the mappings of this name (resident with them)."""
    low, high = bounds([[one for one in mappings(pid) if name not in one.name] for pid in pids])
    return Used(known.window_s, low, high, known.resident)


@dataclass(frozen=True)
class Program:
    """start: at a size, full or quick; missing: why it cannot run here, "" if it can."""

    name: str
    start: Callable[[bool], AbstractContextManager[Subject]]
    missing: Callable[[], str]
    nbytes: int = GIB


def _needs(*commands: str) -> Callable[[], str]:
    def missing() -> str:
        absent = [name for name in commands if shutil.which(name) is None]
        return f"{', '.join(absent)} not installed" if absent else ""

    return missing


def _no_postgres() -> str:
    return "" if services.postgres_folder() else "postgresql not installed"


def _no_compiler() -> str:
    return "" if compiler() else "no C compiler"


def _pattern(
    pattern: str, nbytes: int, quick_bytes: int, period_ms: int = 100, name: str = ""
) -> Program:
    @contextmanager
    def start(quick: bool) -> Iterator[Subject]:
        with scheduled(pattern, quick_bytes if quick else nbytes, period_ms) as one:
            yield Subject(name or pattern, one.pid, one.done, schedule=one)

    return Program(name or pattern, start, _no_compiler, nbytes)


@contextmanager
def _redis(quick: bool) -> Iterator[Subject]:
    keys, hot = (100_000, 5_000) if quick else (2_000_000, 5_000)
    with redis(keys, hot) as one:
        yield Subject("redis", one.pid, one.done)


@contextmanager
def _postgres(quick: bool) -> Iterator[Subject]:
    with services.postgres("64MB" if quick else "512MB", 3 if quick else 35) as one:
        yield Subject("postgres", one.pid, one.done, postgres=one)


@contextmanager
def _java(quick: bool) -> Iterator[Subject]:
    records = 50_000 if quick else 300_000
    with services.java(records, records // 20) as (pid, counter):

        def done() -> int:
            return int.from_bytes(counter.read_bytes()[:8], "little")

        yield Subject("java", pid, done)


@contextmanager
def _nginx(quick: bool) -> Iterator[Subject]:
    with services.nginx(20 if quick else 500, 100_000) as (pid, client):
        yield Subject("nginx", pid, lambda: client.answers)


@contextmanager
def _gunicorn(quick: bool) -> Iterator[Subject]:
    del quick
    with services.gunicorn() as (pid, client):
        yield Subject("gunicorn", pid, lambda: client.answers)


@contextmanager
def _sqlite(quick: bool) -> Iterator[Subject]:
    rows = 40_000 if quick else 600_000
    with child("sqlite", SQLITE, rows, rows // 20) as one:
        yield Subject("sqlite", one.pid, one.done)


@contextmanager
def _numpy(quick: bool) -> Iterator[Subject]:
    nbytes = 256 * MIB if quick else GIB
    with services.numpy(nbytes, nbytes // 4) as (pid, counter):
        yield Subject("numpy", pid, lambda: int(counter[0]))


PROGRAMS = (
    Program("postgres", _postgres, _no_postgres),
    Program("redis", _redis, _needs("redis-server", "redis-benchmark"), 2 * GIB),
    _pattern("eighth", 256 * MIB, 64 * MIB),
    _pattern("prefork", 152 * MIB, 38 * MIB),
    _pattern("stacks", 17 * MIB, 17 * MIB),
    _pattern("file", 128 * MIB, 32 * MIB),
    _pattern("zipf", 256 * MIB, 64 * MIB, 8),
    Program("java", _java, _needs("java")),
    Program("nginx", _nginx, _needs("nginx"), 64 * MIB),
    Program("gunicorn", _gunicorn, _needs("uv"), 512 * MIB),
    Program("sqlite", _sqlite, lambda: ""),
    Program("numpy", _numpy, _needs("uv"), 2 * GIB),
    _pattern("moving", 512 * MIB, 64 * MIB),
    _pattern("huge", 512 * MIB, 64 * MIB),
    _pattern("sparse", 12 * GIB, 256 * MIB, 500),
)


def chosen(names: Sequence[str], quick: bool) -> Iterator[Program]:
    """Those of these names, all if there are none, that can run here; says why one cannot."""
    for one in PROGRAMS:
        if names and one.name not in names:
            continue
        reason = one.missing()
        if not reason and not quick and not common.fits(one.nbytes):
            reason = "not enough memory"
        if reason:
            common.progress(f"{one.name}: {reason}: left out")
        else:
            yield one
