"""The address maps of processes, read again as often as a share of a CPU allows."""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from isotherm import _core
from isotherm.core.look import Reading, TargetRanges
from isotherm.errors import TargetGoneError
from isotherm.kernel import procfs
from isotherm.model.mappings import Mappings
from isotherm.model.ranges import Range
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.naming.process import ProcessNames
from isotherm.targets.processes import Process
from isotherm.targets.ranges import SPECIAL_NAMES, why_unobservable

#: Share of a CPU for reading maps.
_SHARE = 0.003
#: CPU time of asking for the sizes of one process, of many of which nothing is in a CPU's cache.
_SIZES_NS = 30_000
#: Where the sizes are the same a map is read so many times more seldom, and one of many.
_SAME_SIZES, _SAME_OF_MANY, _MANY = 2, 8, 64
#: What a mapping of a changed map costs those who use it, at an estimate.
_CHANGED_NS = 800
#: Of what changes cost on average the newest counts this much.
_NEWEST = 0.5
#: Kinds of mappings that are kept although no mapping is of them.
_MOST_UNUSED = 4096
#: ... and that are judged once for all processes, as those of libraries.
_MOST_KINDS = 4096
_NO_SIZES = procfs.Statm(0, 0, 0, 0)


@dataclass(slots=True)
class _Known:
    """
    What is known of the map of a process, and what it cost to know it.

    Of each kind of mapping that `lines` knows: texts: rights and name; areas: whether it is to be
    monitored, an AREA_ constant; reasons: why it cannot be observed, of those that cannot.
    read: the map as the kernel has it; mappings: with names where it has none; apart: cut where
    the program calls parts of its memory by names. root: the square root of what reading it again
    costs; due_ns: when to look again; told: what is told until then.
    """

    lines: _core.AddressMap = field(default_factory=_core.AddressMap)
    texts: list[tuple[str, str]] = field(default_factory=list)
    areas: array[int] = field(default_factory=lambda: array("Q"))
    reasons: dict[int, str] = field(default_factory=dict)
    read: Mappings = field(default_factory=lambda: Mappings.of(()))
    names: ProcessNames | None = None
    mappings: Mappings = field(default_factory=lambda: Mappings.of(()))
    apart: Mappings = field(default_factory=lambda: Mappings.of(()))
    max_ranges: int = 0
    ranges: tuple[Range, ...] = ()
    unobservable: tuple[Unobservable, ...] = ()
    sizes: procfs.Statm = _NO_SIZES
    sizes_when_read: procfs.Statm = _NO_SIZES
    sized_ns: int = 0
    read_ns: int = 0
    reading_cost_ns: int = 0
    change_cost_ns: float = 0.0
    root: float = 0.0
    due_ns: float = 0.0
    told: TargetRanges | None = None
    reading: Reading = field(default_factory=Reading)

    @property
    def cost_ns(self) -> float:
        """What reading it once more is expected to cost."""
        return self.reading_cost_ns + self.change_cost_ns

    def forget(self) -> None:
        """Begin anew: kinds that went, as names that come and go do, are forgotten."""
        self.lines, self.texts = _core.AddressMap(), []
        self.areas, self.reasons = array("Q"), {}


class AddressMaps:
    """
    The ranges of processes to monitor, by their address maps.

    A new process is read at once. The others are read at every call, unless that took more than a
    share of a CPU: then each waits in proportion to the root of what reading it costs, which keeps
    all of them together as fresh as that share allows.

    share: of one CPU for reading maps; a third of it is for sizes. now_ns: a clock; cpu_ns: one of
    CPU time.
    """

    def __init__(
        self,
        share: float = _SHARE,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._share = share
        self._now_ns, self._cpu_ns = now_ns, cpu_ns
        #: CPU time so far of reading maps and sizes, about.
        self.spent_ns = 0

    def of(
        self, processes: Iterable[Process], max_ranges: int = 64, fixed: tuple[Range, ...] = ()
    ) -> list[tuple[Process, TargetRanges]]:
        """
        Return the living of `processes` with their ranges.

        Neighbouring mappings become one range, then the smallest gaps are bridged until at most
        `max_ranges` are left; with 3 this is DAMON's rule (damon-spec 1.7) without the kernel's
        special pages. Addresses without access rights hold no memory in use and count as gaps.
        What is known to be unobservable (hugetlb, devices) is no part of a range unless bridging
        takes it. fixed: exactly these instead, whatever is mapped there, as DAMON's fvaddr has it.
        """
        members = list(processes)
        now_ns, roots = self._now_ns(), 0.0
        found = []
        for process in members:
            known = process.maps_cache
            if not isinstance(known, _Known):
                known = _Known()
            if known.told is None or now_ns >= known.due_ns or known.max_ranges != max_ranges:
                roots = roots or sum(one.root for one in map(_known, members) if one)
                try:
                    self._look(process, known, max_ranges, roots, len(members))
                except TargetGoneError:
                    continue
                _tell(process, known, fixed)
            if known.told is not None:
                process.maps_cache = known
                found.append((process, known.told))
        return found

    def _look(
        self, process: Process, known: _Known, max_ranges: int, roots: float, nr: int
    ) -> None:
        now_ns, sizes_wait_ns = self._now_ns(), 3 * nr * _SIZES_NS / self._share
        if not known.read_ns or now_ns - known.sized_ns >= sizes_wait_ns:
            known.sizes, known.sized_ns = _sizes(process), now_ns
            self.spent_ns += _SIZES_NS
        wait_ns = known.root * roots / self._share
        if known.sizes.same_space(known.sizes_when_read):
            wait_ns *= _SAME_SIZES if nr < _MANY else _SAME_OF_MANY
        elif _another(known.sizes, known.sizes_when_read):
            wait_ns = 0
        if not known.read_ns or now_ns - known.read_ns >= wait_ns:
            self._read(process, known, now_ns)
        if known.max_ranges != max_ranges:
            known.max_ranges = max_ranges
            _conclude(process, known)
        known.due_ns = min(known.sized_ns + sizes_wait_ns, known.read_ns + wait_ns)
        known.names = known.names or ProcessNames(process.pid, process.start_ticks)
        known.mappings, known.apart = known.names.of(known.read, now_ns, nr)

    def _read(self, process: Process, known: _Known, now_ns: int) -> None:
        begun_ns = self._cpu_ns()
        if len(known.texts) > 2 * len(known.read) + _MOST_UNUSED:
            known.forget()
        with procfs.reading(process.tid, "maps"):
            changed = known.lines.read(process.tid)
        read_ns = self._cpu_ns()
        known.reading_cost_ns = max(1, read_ns - begun_ns)
        self.spent_ns += known.reading_cost_ns
        spent_ns = 0
        if changed:
            known.reading.changes += 1
            known.reading.before_ns = known.read_ns
            _take(known)
            _conclude(process, known)
            with suppress(TargetGoneError):  # an exec changes the name
                name = procfs.read(process.pid, "comm").decode(errors="replace")
                process.name = name.rstrip("\n")
            spent_ns = self._cpu_ns() - read_ns
            self.spent_ns += spent_ns
            spent_ns += _CHANGED_NS * len(known.read)
        if known.read_ns:
            known.change_cost_ns += _NEWEST * (spent_ns - known.change_cost_ns)
        known.root = math.sqrt(known.cost_ns)
        known.read_ns, known.sizes_when_read = now_ns, known.sizes


def target_ranges(
    process: Process, *, max_ranges: int = 64, fixed: tuple[Range, ...] = ()
) -> TargetRanges | None:
    """Return the ranges of one process now, as `AddressMaps.of`, or None if it has vanished."""
    found = AddressMaps(math.inf).of([process], max_ranges, fixed)
    return found[0][1] if found else None


def names_of(process: Process) -> Sequence[Mapping]:
    """Return the map of a process as it was last told, with the names that reports have; or ()."""
    known = _known(process)
    return known.told.told if known is not None and known.told is not None else ()


def _known(process: Process) -> _Known | None:
    return process.maps_cache if isinstance(process.maps_cache, _Known) else None


def _another(sizes: procfs.Statm, before: procfs.Statm) -> bool:
    """Tell whether it looks like another program: after an exec, or while memory is built up."""
    small, large = sorted((sizes.mapped_bytes, before.mapped_bytes))
    return 2 * small < large


def _tell(process: Process, known: _Known, fixed: tuple[Range, ...]) -> None:
    """Renew what is told of a process; it stays the same object if it would be equal."""
    if not known.mappings:
        known.told = None
        return
    sizes = known.sizes
    target = Target(
        process.target_id, process.name, process.pid, sizes.mapped_bytes, sizes.resident_bytes
    )
    if fixed:
        told = TargetRanges(
            target, fixed, known.mappings, named=known.apart, reading=known.reading
        )
    else:
        told = TargetRanges(
            target,
            known.ranges,
            known.mappings,
            known.unobservable,
            known.apart,
            known.reading,
        )
    before = known.told
    # Maps of thousands of mappings are not compared.
    same = before is not None and told.mappings is before.mappings and told.named is before.named
    if not same or told != before:
        known.told = told


def _sizes(process: Process) -> procfs.Statm:
    """Return the sizes of a process' memory; its thread to reach it by may change."""
    with suppress(TargetGoneError):
        sizes = procfs.statm(process.tid)
        if sizes.mapped_bytes:
            return sizes
    process.tid = procfs.memory_thread(process.pid)
    return procfs.statm(process.tid)


def _take(known: _Known) -> None:
    """Take the map as it was read, and judge kinds of mappings that are new."""
    for text in known.lines.kinds(len(known.texts)):
        kind = _kind(text)
        if kind.reason:
            known.reasons[len(known.texts)] = kind.reason
        known.texts.append(kind.text)
        known.areas.append(kind.area)
    known.read = Mappings(*known.lines.columns(), known.texts)


class _Kind(NamedTuple):
    text: tuple[str, str]
    area: int
    reason: str | None


@lru_cache(_MOST_KINDS)
def _kind(text: bytes) -> _Kind:
    """Return what a kind of mappings is; programs have many of them in common."""
    rights, device, name = (part.decode(errors="replace") for part in text.split(b" ", 2))
    return _Kind((rights, name), *_judged(Mapping(0, 0, rights, name), device))


def _judged(mapping: Mapping, device: str) -> tuple[int, str | None]:
    if mapping.name in SPECIAL_NAMES or mapping.permissions.startswith("---"):
        return _core.MAPPING_LEFT_OUT, None
    reason = why_unobservable(mapping, device)
    return (_core.AREA_HIDDEN if reason else _core.AREA_VISIBLE), reason


def _conclude(process: Process, known: _Known) -> None:
    """Find the ranges, and what cannot be observed outside of them."""
    bounds, kinds = known.read.bounds, known.read.kinds
    areas = _core.mapping_words(bounds, kinds, known.areas)
    ends = _core.coalesce(areas, known.max_ranges or 1)
    known.ranges = tuple(map(Range, ends[::2], ends[1::2]))
    known.unobservable = ()
    if known.reasons:
        hidden = [i for i, kind in enumerate(kinds) if kind in known.reasons]
        known.unobservable = tuple(
            Unobservable(
                process.target_id, bounds[2 * i], bounds[2 * i + 1], known.reasons[kinds[i]]
            )
            for i in hidden
            if not _inside(known.ranges, bounds[2 * i])
        )


def _inside(ranges: Sequence[Range], address: int) -> bool:
    at = bisect_right(ranges, address, key=lambda each: each.start)
    return at > 0 and address < ranges[at - 1].end
