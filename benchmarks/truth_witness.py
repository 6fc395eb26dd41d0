"""
Witnesses of what programs use, none of them isotherm's: the kernel's `Referenced`, and frames.

`Referenced` of /proc/PID/smaps after a clear of /proc/PID/clear_refs counts each page that was
used through one process' page tables. Of memory that several processes map, a mapping has a
share, its Pss, as everything here counts memory once; which of its pages have more of it is not
told, so there are bounds.

Whether a shared page was used by anybody is not in smaps. When a process unmaps file or shared
memory, the kernel hands the accessed bits of its pages on to the frames, which
/proc/kpageflags shows: `used_at_the_end` counts the frames that ended processes had used.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PAGE = 4096
KIB = 1024
#: Memory is mapped by these processes alone if their Pss adds up to this share of it.
ALONE = 0.99
#: A CPU keeps translations of this many address spaces at most (Linux: TLB_NR_DYN_ASIDS is 6).
ADDRESS_SPACES = 8
#: Bits of /proc/kpageflags.
REFERENCED, ACTIVE = 1 << 2, 1 << 6
PRESENT, FRAME = 1 << 63, (1 << 55) - 1
_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping of a process by smaps; bytes."""

    start: int
    end: int
    name: str
    rss: int
    pss: int
    referenced: int

    @property
    def least(self) -> int:
        """Used bytes as Pss counts them, at least: what is unused may have all of the share."""
        return max(0, self.pss - (self.rss - self.referenced))

    @property
    def most(self) -> int:
        """Likewise, at most."""
        return min(self.referenced, self.pss)


def mappings(pid: int) -> list[Mapping]:
    """All mappings of a process; none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps").read_text("utf-8", "replace")
    except (ProcessLookupError, FileNotFoundError):
        return []
    found: list[Mapping] = []
    fields: dict[str, int] = {}
    for line in text.splitlines():
        if head := _HEAD.match(line):
            fields = {}
            start, end, name = int(head[1], 16), int(head[2], 16), head[3]
            continue
        key, _, rest = line.partition(":")
        if key in ("Rss", "Pss", "Referenced"):
            fields[key] = int(rest.split()[0]) * KIB
            if key == "Referenced":
                one = Mapping(start, end, name, fields["Rss"], fields["Pss"], fields[key])
                found.append(one)
    return found


def processes(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                text = (folder / "stat").read_text("utf-8", "replace")
                parent = int(text.rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def flush_translations() -> None:
    """
    Have every CPU forget the translations it keeps of other address spaces.

    clear_refs leaves them: a page that stays in a TLB would be used without its bit being set.
    """
    allowed = os.sched_getaffinity(0)
    try:
        for cpu in allowed:
            os.sched_setaffinity(0, {cpu})
            for _ in range(ADDRESS_SPACES):
                subprocess.run(["true"], check=True)
    finally:
        os.sched_setaffinity(0, allowed)


def clear(pids: Sequence[int]) -> float:
    """All pages of these processes count as unused from the moment (`time.monotonic`) returned."""
    for pid in pids:
        with suppress(ProcessLookupError, FileNotFoundError):
            Path(f"/proc/{pid}/clear_refs").write_text("1", "ascii")
    begun = time.monotonic()
    flush_translations()
    return begun


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes used within a window, memory counted once: between two bounds, which may be equal."""

    window_s: float
    low: float
    high: float
    resident: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


def used_by(pids: Sequence[int], window_s: float) -> Used:
    """
    What these processes used since the clear.

    One process: exact, but for the share of libraries. Several: of the mappings of one name at
    least what the busiest process used, if nobody else maps it, at most the sum, and not more than
    there is.
    """
    each = [mappings(pid) for pid in pids]
    resident = float(sum(one.pss for maps in each for one in maps))
    low, high = bounds(each)
    return Used(window_s, low, high, resident)


def bounds(each: Sequence[Sequence[Mapping]]) -> tuple[float, float]:
    """What these processes, of these mappings, used, counted once: at least and at most."""
    named: dict[str, list[list[Mapping]]] = {}
    for maps in each:
        mine: dict[str, list[Mapping]] = {}
        for one in maps:
            mine.setdefault(one.name, []).append(one)
        for name, some in mine.items():
            named.setdefault(name, []).append(some)
    low = high = 0
    for some in named.values():
        pss = sum(one.pss for maps in some for one in maps)
        rss = max(sum(one.rss for one in maps) for maps in some)
        used = [sum(one.referenced for one in maps) for maps in some]
        least = sum(one.least for maps in some for one in maps)
        most = sum(one.most for maps in some for one in maps)
        if len(some) == 1:
            low, high = low + least, high + most
            continue
        # Where nobody else maps it, all that the busiest of them used counts in full.
        low += max(least, *used) if pss >= ALONE * rss else least
        high += min(sum(used), pss)
    return float(min(low, high)), float(high)


def curve(pids: Callable[[], Sequence[int]], windows_s: Sequence[float]) -> list[Used]:
    """W(T): one clear, and a look after each of the windows, ascending."""
    begun = clear(pids())
    found = []
    for window_s in windows_s:
        time.sleep(max(0.0, begun + window_s - time.monotonic()))
        found.append(used_by(pids(), window_s))
    return found


def frames(pids: Sequence[int], name: str) -> set[int]:
    """Frames of every mapping of this name that any of these processes has in its page tables."""
    found: set[int] = set()
    for pid in pids:
        with suppress(OSError), Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
            for one in mappings(pid):
                if name not in one.name:
                    continue
                size = (one.end - one.start) // PAGE * 8
                words = array("Q", os.pread(file.fileno(), size, one.start // PAGE * 8))
                found.update(word & FRAME for word in words if word & PRESENT)
    return found


def flags(of: set[int]) -> dict[int, int]:
    """Words of /proc/kpageflags by frame."""
    step = 1 << 15
    found: dict[int, int] = {}
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        for block in sorted({frame // step for frame in of}):
            words = array("Q", os.pread(file.fileno(), step * 8, block * step * 8))
            first = block * step
            mine = of.intersection(range(first, first + len(words)))
            found.update((frame, words[frame - first]) for frame in mine)
    return found


class Sharers(Protocol):
    """Processes that share memory, and come and go on demand."""

    def pause(self) -> None:
        """They do nothing more, at once."""

    def rest(self) -> None:
        """They end, orderly; one of those that map the memory stays."""

    def go(self) -> None:
        """They work again."""


def used_at_the_end(
    pids: Callable[[], Sequence[int]], name: str, window_s: float, sharers: Sharers
) -> int:
    """
    Bytes of the shared mapping `name` that anybody used within a window, by frame.

    A frame that the sharers used is referenced once they are gone, or has become active.
    """
    before = {frame: word & ACTIVE for frame, word in flags(frames(pids(), name)).items()}
    begun = clear(pids())
    time.sleep(max(0.0, begun + window_s - time.monotonic()))
    sharers.pause()
    of = frames(pids(), name)
    sharers.rest()
    after = flags(of)
    sharers.go()
    used = [
        frame
        for frame, word in after.items()
        if word & REFERENCED or (word & ACTIVE and not before.get(frame, 0))
    ]
    return len(used) * PAGE
