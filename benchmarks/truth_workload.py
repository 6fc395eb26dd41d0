"""The programs of truth_workload.c, and what their own account says of their memory."""

from __future__ import annotations

import functools
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from common import MIB
from programs import ended

SOURCE = Path(__file__).with_name("truth_workload.c")
#: Positions in the page of counters.
OPS, LONGEST_FAULT, STEP = 0, 1, 2


def compiler() -> str | None:
    """A C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="isotherm-truth-")


@functools.cache
def program() -> Path:
    """The compiled program, made once a run."""
    path = Path(_folder().name) / "truth_workload"
    command = [compiler() or "cc", "-O2", "-pthread", "-o", str(path), str(SOURCE), "-lm"]
    subprocess.run(command, check=True)
    return path


@dataclass(frozen=True, slots=True)
class Area:
    """Memory of a process that writes down the last access of each `unit` bytes at `when`."""

    pid: int
    base: int
    units: int
    unit: int
    when: int

    @property
    def end(self) -> int:
        return self.base + self.units * self.unit

    def last_used_ms(self) -> array[int]:
        """CLOCK_MONOTONIC of the last accesses, in ms; 0 for none since it was filled."""
        with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as file:
            return array("I", os.pread(file.fileno(), 4 * self.units, self.when))


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Scheduled:
    """A running program that knows what it used."""

    def __init__(self, name: str, pid: int, areas: list[Area], block: memoryview) -> None:
        self.name, self.pid, self.areas, self._block = name, pid, areas, block

    def done(self) -> int:
        return int(self._block[OPS])

    def take_longest_fault_ns(self) -> int:
        """The longest page fault since the last call."""
        longest = int(self._block[LONGEST_FAULT])
        self._block[LONGEST_FAULT] = 0
        return longest

    def next_step(self) -> None:
        self._block[STEP] += 1

    def area_bytes(self) -> int:
        return sum(area.units * area.unit for area in self.areas)

    def last_used(self) -> list[tuple[Area, array[int]]]:
        """Of each area the moments of last use: a copy, as of this moment."""
        return [(area, area.last_used_ms()) for area in self.areas]


def used_since(account: list[tuple[Area, array[int]]], since_ms: int) -> int:
    """Bytes of the areas that were used at this moment or later."""
    return sum(area.unit * sum(at >= since_ms for at in when) for area, when in account)


def idle_by_age(
    account: list[tuple[Area, array[int]]], at_ms: int, ages_ns: tuple[int, ...]
) -> list[int]:
    """For each age the bytes of the areas that were not used for that long, at `at_ms`."""
    total = sum(area.units * area.unit for area, _ in account)
    return [total - used_since(account, at_ms - age // 1_000_000) for age in ages_ns]


@contextmanager
def scheduled(pattern: str, nbytes: int, period_ms: int = 100, *more: str) -> Iterator[Scheduled]:
    """Run a pattern on so much memory; ready when all of it is there."""
    with ExitStack() as stack:
        if pattern == "file":
            file = stack.enter_context(tempfile.NamedTemporaryFile(dir="/var/tmp"))
            for _ in range(nbytes // MIB):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())
            more = (file.name,)
        fd = os.memfd_create("counters")
        os.ftruncate(fd, 4096)
        block = memoryview(mmap.mmap(fd, 4096)).cast("Q")
        command = [str(program()), pattern, str(nbytes), str(period_ms), str(fd), *more]
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(fd,), text=True)
        )
        os.close(fd)
        stack.enter_context(ended(process))
        assert process.stdout is not None
        areas = []
        for line in process.stdout:
            words = line.split()
            if words == ["ready"]:
                break
            areas.append(Area(*(int(word) for word in words[1:])))
        else:
            raise SystemExit(f"{pattern} did not start")
        yield Scheduled(pattern, process.pid, areas, block)
