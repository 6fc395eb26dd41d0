"""
Epochs: the one who clears, and what smaps says between two clears.

An epoch begins when the accessed bits of a process are cleared. Reading clears nothing, so one
clear and many reads give the memory used within 1 s, 2 s, 5 s, ... of it, exactly; a clear ends
all that. Regions want a new epoch in each window, working sets and idle ages want long ones. Both
get one that lasts as long as everything before it, at least `_SHORTEST_NS` and at most
`_LONGEST_NS`, and ends with a window; sooner, though not twice in a row, where a window shows that
mappings came into use which had been idle. The first window of an epoch is measured; in the others
a mapping is taken to be used as in the last that was measured, unless the bits say that it was
more (what they show in addition since the last window) or less (than all that they show).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from isotherm.backends.clear_refs.usage import Key, Use, by_title, is_unseen
from isotherm.errors import TargetGoneError
from isotherm.kernel.procfs import clear_refs
from isotherm.kernel.smaps import SmapsEntry, smaps
from isotherm.model.page_use import WINDOWS_NS
from isotherm.model.ranges import PAGE
from isotherm.targets.processes import Process

#: Lengths of time that reads are for. Below a second, too much hides in the TLB, which no clear
#: flushes.
LENGTHS_NS = tuple(length for length in WINDOWS_NS if length >= 1_000_000_000)
#: Share of a CPU that clearing and reading keep to.
CPU_SHARE = 0.05
_SHORTEST_NS, _LONGEST_NS = 10_000_000_000, 60_000_000_000
#: By this share of its length an epoch may end early, with a window.
_EARLY = 0.025
#: A read that comes late by this share of an epoch's age still stands for it.
_LATE = 0.25
#: A mapping of which less was used was idle, one of which more is is in use; so much in new use,
#: of all that is used, is a change.
_WAS_IDLE, _IN_USE, _CHANGE = 0.1, 0.5, 0.05
#: Ended epochs that are remembered.
_PAST = 64

Uses = dict[Key, Use]


class MappingUse(NamedTuple):
    """A mapping in a window: bytes of it that were used; None where that cannot be seen."""

    start: int
    end: int
    used: int | None


@dataclass(slots=True)
class Watch:
    """
    A process: its running epoch, and what is left of those before it.

    Times are CLOCK_MONOTONIC in ns. first_ns: of the first clear; began_ns: of the last; read_ns:
    of the last read, whose outcome are `entries` and `uses`; before: uses of the read before it.
    marks: per length of time the newest window of that length that was measured, at least and at
    most (the same, where a read came in time); past: begin, end and uses of ended epochs.
    baseline: by mapping, what was used in this epoch before the window; measured: what was used in
    the last window that was measured.
    """

    process: Process
    first_ns: int
    began_ns: int
    read_ns: int
    entries: list[SmapsEntry] = field(default_factory=list)
    uses: Uses = field(default_factory=dict)
    marks: dict[int, tuple[Uses, Uses]] = field(default_factory=dict)
    past: deque[tuple[int, int, Uses]] = field(default_factory=lambda: deque(maxlen=_PAST))
    baseline: dict[int, int] = field(default_factory=dict)
    measured: dict[int, int] = field(default_factory=dict)

    def take(self, entries: list[SmapsEntry], now_ns: int, *, alone: bool) -> None:
        """Take the outcome of a read."""
        before, age = self.uses, self.read_ns - self.began_ns
        self.entries, self.read_ns = entries, now_ns
        self.uses = by_title(entries, alone=alone)
        for key, use in self.uses.items():
            if key in before:
                use.not_below(before[key])
        now_age = now_ns - self.began_ns
        for length in LENGTHS_NS:
            if age < length <= now_age:
                if now_age <= length * (1 + _LATE):
                    self.marks[length] = self.uses, self.uses
                elif length not in self.marks:
                    self.marks[length] = before, self.uses

    def end_epoch(self, now_ns: int) -> None:
        """Put the running epoch, which ends by its last read, with the past ones."""
        if self.read_ns > self.began_ns:
            self.past.append((self.began_ns, self.read_ns, self.uses))
        self.began_ns = self.read_ns = now_ns
        self.uses = {}

    def next_mark_ns(self) -> int:
        """Return when the next length of the scale is over."""
        age = self.read_ns - self.began_ns
        return self.began_ns + next((length for length in LENGTHS_NS if length > age), 2 * age)


class Epochs:
    """
    Clears and reads the processes that it was told to `follow`.

    Raises `NotPermittedError` for a process of somebody else.
    """

    def __init__(self) -> None:
        self.watches: dict[int, Watch] = {}
        #: The longest that a process' address map was held, in ns.
        self.held_ns = 0
        self._clear_cost_ns = self._read_cost_ns = 0
        self._cleared = 0
        self._window_ns = 0
        self._changed = self._cut_short = False

    def follow(self, present: Sequence[Process]) -> None:
        """Go on with these, and begin with the ones that are new."""
        known, new = self.watches, []
        self.watches = {}
        for process in present:
            if process.target_id not in known:
                new.append(Watch(process, 0, 0, 0))
            self.watches[process.target_id] = known.get(process.target_id) or new[-1]
        self._clear(new)
        for watch in new:
            watch.first_ns = watch.began_ns

    def clear(self) -> None:
        """Begin a new epoch of all."""
        begun_ns = time.thread_time_ns()
        self._clear(self.watches.values())
        self._clear_cost_ns = time.thread_time_ns() - begun_ns

    def read(self) -> None:
        """See what was used since the last clear; who vanished keeps what was known."""
        begun_ns = time.thread_time_ns()
        alone = len(self.watches) <= 1
        now_ns = time.monotonic_ns()
        for watch in self.watches.values():
            try:
                entries = smaps(watch.process.tid)
            except TargetGoneError:
                continue
            if entries:
                watch.take(entries, now_ns, alone=alone)
        self._read_cost_ns = time.thread_time_ns() - begun_ns

    def due_ns(self) -> int:
        """Return when a read tells something, and can be paid."""
        now_ns = time.monotonic_ns()
        if not self.watches:
            return now_ns + 1_000_000_000
        read_ns = max(watch.read_ns for watch in self.watches.values())
        next_ns = min(watch.next_mark_ns() for watch in self.watches.values())
        return max(next_ns, read_ns + int(self._read_cost_ns / CPU_SHARE))

    def take_cleared(self) -> int:
        """Return how many pages' bits were cleared since the last call, by the last reads."""
        count, self._cleared = self._cleared, 0
        return count

    # Windows: of all processes together.

    def begin_window(self) -> None:
        """Begin a window, and a new epoch if it is time for one."""
        now_ns = time.monotonic_ns()
        if self._epoch_is_over(now_ns):
            self._cut_short = self._changed
            self.clear()
            now_ns = time.monotonic_ns()
        self._changed = False
        self._window_ns = now_ns
        for watch in self.watches.values():
            watch.baseline = {}
            if watch.read_ns > watch.began_ns:
                watch.baseline = {
                    entry.mapping.start: entry.referenced_bytes for entry in watch.entries
                }

    def end_window(self) -> dict[int, list[MappingUse]]:
        """Return what was used of each mapping in the window that ends, by target id."""
        self.read()
        found = {}
        new = total = 0
        for target_id, watch in self.watches.items():
            fresh = watch.began_ns >= self._window_ns or not watch.baseline
            uses, came, used = _window_of(watch, measured=fresh)
            found[target_id] = uses
            new, total = new + came, total + used
        self._changed = new > _CHANGE * total and not self._cut_short
        return found

    def _epoch_is_over(self, now_ns: int) -> bool:
        if not self.watches:
            return False
        began_ns = max(watch.began_ns for watch in self.watches.values())
        first_ns = min(watch.first_ns for watch in self.watches.values())
        age = now_ns - began_ns
        longest = max(_SHORTEST_NS, min(_LONGEST_NS, began_ns - first_ns))
        affordable = age * CPU_SHARE >= self._clear_cost_ns + self._read_cost_ns
        return affordable and (self._changed or age >= longest * (1 - _EARLY))

    def _clear(self, watches: Collection[Watch]) -> None:
        for watch in watches:
            self._cleared += sum(entry.referenced_bytes for entry in watch.entries) // PAGE
            begun_ns = time.monotonic_ns()
            with suppress(TargetGoneError):
                clear_refs(watch.process.tid)
            self.held_ns = max(self.held_ns, time.monotonic_ns() - begun_ns)
        # From here on it is certain that what is shown was used since.
        now_ns = time.monotonic_ns()
        for watch in watches:
            watch.end_epoch(now_ns)


def _window_of(watch: Watch, *, measured: bool) -> tuple[list[MappingUse], int, int]:
    """Return the mappings in a window, bytes that came into use, and all that was used."""
    found, came, total = [], 0, 0
    for entry in watch.entries:
        start, shown = entry.mapping.start, entry.referenced_bytes
        if is_unseen(entry) or entry.hugetlb_bytes:
            found.append(MappingUse(start, entry.mapping.end, None))
            continue
        used = shown
        if not measured:
            before = watch.measured.get(start, 0)
            used = min(shown, max(before, shown - watch.baseline.get(start, 0)))
            if before < _WAS_IDLE * entry.rss_bytes and used > _IN_USE * entry.rss_bytes:
                came += used
        total += used
        found.append(MappingUse(start, entry.mapping.end, used))
    if measured:
        watch.measured = {use.start: use.used or 0 for use in found}
    return found, came, total
