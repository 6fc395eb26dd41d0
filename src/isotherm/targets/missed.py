"""What is in memory of processes that nobody had a look at: they came, or executed, just now."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from isotherm.core.look import Census
from isotherm.errors import IsothermError
from isotherm.kernel import procfs
from isotherm.kernel.kcmp import order_of_spaces
from isotherm.kernel.smaps import proportional_parts
from isotherm.model.page_use import Kind
from isotherm.model.ranges import PAGE
from isotherm.targets.processes import Newcomer, Process

#: CPU time for dividing what is shared, by an estimate of what a process and a page of it cost.
_DIVIDING_NS, _PROCESS_NS, _PAGE_NS = 2_000_000, 40_000, 230


@dataclass(slots=True)
class _Missed:
    """
    A process whose memory is to be told.

    place: of the target that it is, or descends from; forked: it still runs what that runs, and
    its memory is that one's; anon, rest: resident bytes; parts: in proportion, None: not known.
    """

    pid: int
    place: int
    forked: bool
    anon: int
    rest: int
    parts: dict[Kind, int] | None = None

    @property
    def resident(self) -> int:
        return self.anon + self.rest


def census(
    present: Sequence[Process],
    newcomers: Sequence[Newcomer],
    executed: AbstractSet[int],
    ended: AbstractSet[int],
) -> Census:
    """
    Tell what is in memory of newcomers, and of those targets that run another program.

    present: the targets, by their places, which `executed` and `ended` hold.
    """
    found = [
        _found(process.tid, place)
        for place, process in enumerate(present)
        if place in executed and place not in ended
    ]
    places = {process.pid: place for place, process in enumerate(present)}
    for one in newcomers:
        place = _place_of(one, present, places)
        if place is not None and not _shares(one):
            found.append(_found(one.pid, place, forked=_is_forked(one, present[place])))
    missed = [each for each in found if each is not None and each.resident]
    _divide(missed, present)
    sums: dict[tuple[int, Kind], int] = {}
    for each in missed:
        for kind, size in (each.parts or {}).items():
            sums[each.place, kind] = sums.get((each.place, kind), 0) + size
    return Census(
        ended=frozenset(ended),
        processes=len(missed),
        missed=tuple((place, kind, size) for (place, kind), size in sums.items() if size),
    )


def _found(pid: int, place: int, *, forked: bool = False) -> _Missed | None:
    try:
        sizes = procfs.statm(pid)
    except IsothermError:
        return None
    rest = min(sizes.shared_bytes, sizes.resident_bytes)
    return _Missed(pid, place, forked, sizes.resident_bytes - rest, rest)


def _place_of(one: Newcomer, present: Sequence[Process], places: dict[int, int]) -> int | None:
    """Return whose it is: its ancestor's, else somebody's of its group, or anybody's."""
    if one.origin in places:
        return places[one.origin]
    alike = (place for place, process in enumerate(present) if process.group == one.group)
    return next(alike, 0 if present else None)


def _shares(one: Newcomer) -> bool:
    """Tell whether its memory is its parent's, as after vfork()."""
    with suppress(OSError):
        return order_of_spaces(one.pid, one.facts.ppid) == 0
    return False


def _is_forked(one: Newcomer, process: Process) -> bool:
    """Tell whether it runs the program of another process still, in a copy of its memory."""
    with suppress(IsothermError):
        begins = procfs.stat(one.pid).start_stack
        return begins != 0 and begins == procfs.stat(process.tid).start_stack
    return False


def _divide(missed: Sequence[_Missed], present: Sequence[Process]) -> None:
    """
    Divide what is shared by who shares it: of the smaller ones the kernel does, as time allows.

    Others are taken to share as much of their memory as those, or, where there are none, to share
    what they were forked with among themselves and with whom they are of; what else executed a
    program shares nothing.
    """
    left_ns = _DIVIDING_NS
    measured = [0, 0]
    for one in sorted(missed, key=lambda one: one.resident):
        expected_ns = _PROCESS_NS + one.resident // PAGE * _PAGE_NS
        if expected_ns > left_ns:
            break
        left_ns -= expected_ns
        with suppress(IsothermError):
            one.parts = proportional_parts(one.pid)
        if one.parts is not None:
            measured[0] += sum(one.parts.values())
            measured[1] += one.resident
    for one in missed:
        if one.parts is None:
            share = measured[0] / measured[1] if measured[1] else _share(one, missed, present)
            one.parts = {"anon": round(one.anon * share), "file": round(one.rest * share)}


def _share(one: _Missed, missed: Sequence[_Missed], present: Sequence[Process]) -> float:
    if not one.forked:
        return 1.0
    with suppress(IsothermError):
        common = min(one.resident, procfs.statm(present[one.place].tid).resident_bytes)
        sharing = 1 + sum(other.forked and other.place == one.place for other in missed)
        return (one.resident - common + common / sharing) / one.resident
    return 1.0
