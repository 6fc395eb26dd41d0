"""
A program whose memory comes, goes and moves by a schedule drawn from a seed, and what it used.

Run as a program it works for some seconds, and writes down what it did to each MiB of its areas:
`python wandering.py SEED SECONDS ACCOUNT`. `Account` tells from that how much was used within
a window; `judge` compares that with what a map of pages said.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import random
import sys
import tempfile
import time
from pathlib import Path

MIB, PAGE, HUGE = 1 << 20, 4096, 2 << 20
_DONTNEED, _HUGEPAGE, _NOHUGEPAGE, _MAYMOVE = 4, 14, 15, 1
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = _libc.mremap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mremap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 2, ctypes.c_int]


class Area:
    """
    Memory of whole MiB, each of which is one entry of the account while it is in memory.

    kind: small (4 KiB pages), huge, or file.
    """

    def __init__(self, account: Writer, kind: str, mib: int, file: int | None = None) -> None:
        self.account, self.kind, self.mib, self.file = account, kind, mib, file
        if kind == "file" and file is None:
            raise ValueError("which file?")
        self.units: list[int | None] = [None] * mib
        self.start = 0
        self._map()

    def _map(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS if self.file is None else mmap.MAP_SHARED
        where = self.start or None
        fixed = 0x10 if where else 0  # MAP_FIXED
        descriptor = -1 if self.file is None else self.file
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        size = self.mib * MIB
        if where is None and self.kind == "huge":
            # Room to begin at a huge page.
            room = _libc.mmap(None, size + HUGE, protection, flags, -1, 0)
            where, fixed = -(-room // HUGE) * HUGE, 0x10
        found = _libc.mmap(where, size, protection, flags | fixed, descriptor, 0)
        if found == _FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        self.start = found
        if self.kind != "file":
            _libc.madvise(self.start, size, _HUGEPAGE if self.kind == "huge" else _NOHUGEPAGE)

    def touch(self, first: int, end: int) -> None:
        begun = time.monotonic_ns()
        view = memoryview((ctypes.c_char * (self.mib * MIB)).from_address(self.start)).cast("B")
        for number in range(first, end):
            part = view[number * MIB : (number + 1) * MIB : PAGE]
            if self.kind == "file":
                part.tobytes()
            else:
                part[:] = b"x" * len(part)
        for number in range(first, end):
            if self.units[number] is None:
                self.units[number] = self.account.came(begun)
            self.account.used(self.units[number])

    def give_back(self, first: int, end: int) -> None:
        if self.kind == "huge":
            first, end = first // 2 * 2, -(-end // 2) * 2
        if self.kind == "file":
            first, end = 0, self.mib
        for number in range(first, end):
            self._forget(number)
        if self.kind == "file":  # a file's pages stay: mapped anew
            _libc.munmap(self.start, self.mib * MIB)
            self.start = 0
            self._map()
        else:
            _libc.madvise(self.start + first * MIB, (end - first) * MIB, _DONTNEED)

    def map_again(self, elsewhere: bool) -> None:
        """Unmap, and map anew: at the same place, or where the kernel pleases."""
        for number in range(self.mib):
            self._forget(number)
        if elsewhere:
            _libc.munmap(self.start, self.mib * MIB)
            self.start = 0
        self._map()

    def unmap(self) -> None:
        """Have it no more."""
        for number in range(self.mib):
            self._forget(number)
        _libc.munmap(self.start, self.mib * MIB)

    def move(self) -> None:
        """Move it by letting it grow; it shrinks to its size again where it came to."""
        grown = _libc.mremap(self.start, self.mib * MIB, (self.mib + 64) * MIB, _MAYMOVE)
        if grown == _FAILED:
            raise OSError(ctypes.get_errno(), "mremap")
        _libc.munmap(grown + self.mib * MIB, 64 * MIB)
        self.start = grown

    def _forget(self, number: int) -> None:
        if (unit := self.units[number]) is not None:
            self.account.went(unit)
        self.units[number] = None


class Writer:
    """[came, uses..., went] of each unit, in ns of the monotonic clock."""

    def __init__(self) -> None:
        self.units: list[dict[str, object]] = []

    def came(self, at: int) -> int:
        self.units.append({"came": at, "uses": [], "went": None})
        return len(self.units) - 1

    def used(self, unit: int) -> None:
        self.units[unit]["uses"].append(time.monotonic_ns())  # type: ignore[attr-defined]

    def went(self, unit: int) -> None:
        self.units[unit]["went"] = time.monotonic_ns()


def _child(account: Writer, path: Path, seconds: float, mib: int) -> None:
    area = Area(account, "small", mib)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        area.touch(0, mib // 2)
        area.touch(mib // 2, mib) if area.units[-1] is None else None
        time.sleep(0.05)
    for number in range(mib):
        area._forget(number)
    path.write_text(json.dumps(account.units))
    os._exit(0)


def work(seed: int, seconds: float, path: Path) -> None:
    """Do what the seed says."""
    rng, account = random.Random(seed), Writer()
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.write(bytes(48 * MIB))
        file.flush()
        kinds = [rng.choice(("small", "small", "huge", "file")) for _ in range(5)]
        areas = [
            Area(account, kind, 2 * rng.randint(4, 24), file.fileno() if kind == "file" else None)
            for kind in kinds
        ]
        for area in areas:
            area.touch(0, area.mib)
        hot: dict[int, tuple[int, int]] = {}
        children = 0
        print("ready", flush=True)
        if sys.stdin.readline() != "go\n":
            return
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if rng.random() < 0.12:
                area = rng.choice(areas)
                first = rng.randrange(area.mib)
                end = rng.randint(first + 1, area.mib)
                what = rng.choice(
                    ("heat", "heat", "cool", "touch", "give back", "again", "elsewhere", "move",
                     "fork", "rest"),
                )  # fmt: skip
                place = areas.index(area)
                if what == "heat":
                    hot[place] = first, end
                elif what == "cool":
                    hot.clear()
                elif what == "touch":
                    area.touch(first, end)
                elif what == "give back":
                    area.give_back(first, end)
                elif what in ("again", "elsewhere"):
                    area.map_again(what == "elsewhere")
                elif what == "move" and area.kind != "file":
                    area.move()
                elif what == "rest":
                    time.sleep(rng.uniform(0, 3))
                elif what == "fork" and children < 6:
                    children += 1
                    name, lives, mib = path.with_suffix(f".{children}"), rng.uniform(0.2, 3), 12
                    if not os.fork():
                        _child(Writer(), name, lives, mib)
            for place, (first, end) in hot.items():
                areas[place].touch(first, end)
            time.sleep(0.05)
    # Until it is killed nothing is done.
    for number in range(children):
        os.wait()
        account.units += json.loads(path.with_suffix(f".{number + 1}").read_text())
    path.write_text(json.dumps(account.units))
    print("done", flush=True)
    sys.stdin.readline()


class Account:
    """What a program wrote down."""

    def __init__(self, path: Path) -> None:
        self.units = json.loads(path.read_text())

    def used(self, now: int, window: int, early: int = 0, late: int = 0) -> int:
        """
        Return how many bytes were used within a window that ends `now`.

        It is the most that was in memory at one time of what was: what came in the place of what
        went counts once. The window begins `early` sooner and ends `late` later.
        """
        events = []
        begin, end = now - window - early, now + late
        for unit in self.units:
            if any(begin <= use <= end for use in unit["uses"]):
                events.append((unit["came"], 1))
                if unit["went"] is not None and unit["went"] < end:
                    events.append((unit["went"], -1))
        most = so_far = 0
        for _, change in sorted(events):
            so_far += change
            most = max(most, so_far)
        return most * MIB


if __name__ == "__main__":
    work(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
