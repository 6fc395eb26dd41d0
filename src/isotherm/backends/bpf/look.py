"""
The look of the backend `bpf`: processes' memory, page by page, on a stock kernel.

Accessed bits are read from the page tables through BPF (kernel/bpf.py) and cleared with
process_madvise(MADV_COLD), or through the page_idle bitmap where the kernel has one. Everything
between targets() and close() happens in C (_native/access/access_bpf.h): read first, clear only
what is young and only whole folios, within a budget of CPU time.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import is_, sub
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from isotherm._core import (
    FAIL_PRIVILEGE,
    MAPPING_SWEEPABLE,
    PAGE_IDLE_BITMAP,
    AccessBpf,
    CoreError,
    Walker,
    mapping_words,
)
from isotherm.backends.process_look import ProcessLook
from isotherm.clock import SystemClock
from isotherm.core.look import Check, Samples, TargetRanges
from isotherm.core.native_map import NativePageMap
from isotherm.errors import BadValueError, NotPermittedError, NotSupportedError
from isotherm.kernel.bpf import open_walker
from isotherm.kernel.damon.ager import hindrance
from isotherm.kernel.damon.background import BackgroundAger
from isotherm.kernel.numa import frames_by_node
from isotherm.kernel.privilege import root_hint
from isotherm.model.mappings import Mappings
from isotherm.model.page_use import OLDEST_NS
from isotherm.model.ranges import Range, subtract
from isotherm.model.target import Mapping, Unobservable
from isotherm.targets.target_set import ProcessTargets

if TYPE_CHECKING:
    from isotherm._core import AccessStats  # exists in the stub only

#: Share of one CPU for the monitoring thread, clears included.
OVERHEAD = 0.01
#: Share of one CPU for the first sweep, which lasts seconds, and for what is swept again later.
FIRST_SWEEP = 0.10
STEADY_SWEEP = 0.002
#: Clears from the target's own CPU in ticks with so many: moving there and back takes as long as
#: 6 clears from afar, and 32 clears then slow the target by 1 % instead of 5 %.
FOLLOW_FROM = 8
#: A map that is alone takes so many times its share until all was looked at once.
_FIRST_ALONE = 4
#: Of the share of CPU so much is the map of pages', beside a policy's samples, and alone: waking
#: up and summing up is the rest; and beside sentinels, which count it in.
_MAP_SHARE, _ALONE_SHARE, _CALM_SHARE = 0.5, 0.85, 0.3

_SECOND_NS = 1_000_000_000
#: More is a reservation.
_MOST_SWEPT = 2 << 40
#: The walker ignores the bits of an address above; those beyond are the kernel's.
_USER_END = 1 << 47


@dataclass(frozen=True, slots=True)
class AccessCost:
    """
    What the self-test measured on our own pages, in µs of CPU time.

    read: reading one page's accessed bit; clear: clearing that of a young page.
    """

    read_us: float
    clear_us: float


def self_test(*, page_idle: bool | None = None) -> AccessCost:
    """
    Check on pages of our own that touching, clearing and touching again is seen.

    Raises `NotPermittedError` or `NotSupportedError` with what failed.
    """
    access = _open(
        open_walker(), overhead=OVERHEAD, sweep=False, follow_from=0, page_idle=page_idle
    )
    stats = access.stats()
    access.close()
    return AccessCost(stats["read_us"], stats["own_clear_us"])


class BpfLook(ProcessLook):
    """
    Looks at the processes of `targets`, which stay the caller's.

    overhead: share of one CPU that the monitoring thread may use; what reading leaves over pays
    for clears, and samples beyond that are MISSED. sweep: clear anonymous memory by ranges at the
    start, and again where accessed bits turn out to be stale. follow_from: clear from the CPU of a
    single-threaded target in ticks with at least so many clears; 0 is never. page_idle: None takes
    the bitmap where the kernel has one. max_ranges: as `ProcessTargets.living`. Nothing is swept
    outside of the ranges of the targets' scope.

    Raises `NotPermittedError` and `NotSupportedError` (no BPF).
    """

    name: ClassVar[str] = "bpf"

    def __init__(
        self,
        targets: ProcessTargets,
        *,
        max_ranges: int = 64,
        overhead: float = OVERHEAD,
        sweep: bool = True,
        follow_from: int = FOLLOW_FROM,
        page_idle: bool | None = None,
    ) -> None:
        super().__init__(targets, max_ranges=max_ranges)
        self._ranges = targets.scope.ranges
        if self._ranges and self._ranges[-1].end > _USER_END:
            raise BadValueError(
                f"addresses of processes end at {_USER_END:#x}, and the ranges at "
                f"{self._ranges[-1].end:#x}"
            )
        self._prepared = 0
        #: By target id, the mappings that were last told and what the core was told of them.
        self._flat: dict[int, tuple[Sequence[Mapping], array[int]]] = {}
        #: What the core was told last, and what came of it.
        self._last: Sequence[TargetRanges] | None = None
        self._told_of: list[tuple[int, int, int]] = []
        self._complete: list[TargetRanges] = []
        self._page_idle = Path(PAGE_IDLE_BITMAP).exists() if page_idle is None else page_idle
        self.walker = open_walker()
        self._access = _open(
            self.walker,
            overhead=overhead,
            sweep=sweep,
            follow_from=follow_from,
            page_idle=self._page_idle,
        )

    def targets(self) -> Sequence[TargetRanges]:
        """
        Return the living processes and their ranges, and tell the C side of both.

        The same list if all is as it was.
        """
        found = super().targets()
        processes = [(p.target_id, p.tid, p.pidfd) for p in self.present]
        if found is self._last and processes == self._told_of and self._access.settled():
            return self._complete
        self._access.set_targets(processes)
        self._flat = {
            known.target.id: self._flattened(known.target.id, known.mappings) for known in found
        }
        for index, known in enumerate(found):
            self._access.set_mappings(index, self._flat[known.target.id][1])
        complete = [
            _with_refused(ranges, self._access.unobservable(index))
            for index, ranges in enumerate(found)
        ]
        if len(complete) != len(self._complete) or not all(map(is_, complete, self._complete)):
            self._complete = complete
        self._last, self._told_of = found, processes
        return self._complete

    def _flattened(
        self, target_id: int, mappings: Sequence[Mapping]
    ) -> tuple[Sequence[Mapping], array[int]]:
        known = self._flat.get(target_id)
        if known and known[0] is mappings:
            return known
        return mappings, _flat(Mappings.of(mappings), self._ranges)

    def prepare(self, addresses: Samples) -> None:
        self._prepared = len(addresses)
        with suppress(ProcessLookupError):
            self._access.turn(
                addresses.addresses, _u32(addresses.targets), _u32(addresses.checked)
            )

    def check(self) -> bytes:
        empty = array("I")
        try:
            return self._access.turn(array("Q"), empty, empty)
        except ProcessLookupError:
            return bytes([Check.MISSED]) * self._prepared

    @property
    def takes_turns(self) -> bool:
        return True

    def rest(self, resting: bytes) -> None:
        self._access.rest(resting)

    def cleared(self) -> int:
        return self._access.take_cleared()

    def warming_up(self) -> bool:
        return not self._access.stats()["first_sweep_done"]

    def native_access(self) -> object:
        return self._access.native()

    def bulk_source(self) -> AccessBpf:
        return self._access

    @property
    def clears_one_by_one(self) -> bool:
        return self._page_idle

    def page_map(
        self,
        overhead: float,
        stall_ns: int,
        *,
        alone: bool = False,
        calm: bool = False,
        by_damon: bool = False,
        titles: bool = True,
        oldest_ns: int = OLDEST_NS,
    ) -> NativePageMap:
        """
        Return the map of the targets' pages, to be closed before this look.

        overhead: share of one CPU of it and this look together; stall_ns: how long an address map
        may be held to see shared memory; alone: nothing is sampled beside it, and it takes a few
        times its share until all was looked at once; calm: it is a guest of a policy that keeps to
        the share, from the beginning on; by_damon: where a map would be held for longer, the
        kernel's DAMON clears shared memory, if it can be used here; titles, oldest_ns: as of
        `NativePageMap`.
        """
        wanted = by_damon and not self._page_idle
        note = hindrance() if wanted else ""
        return NativePageMap(
            self._access,
            SystemClock(),
            share=(_ALONE_SHARE if alone else _CALM_SHARE if calm else _MAP_SHARE) * overhead,
            first=_first_share(overhead, alone=alone, calm=calm),
            stall_ns=stall_ns,
            nodes=frames_by_node(),
            scope=self._ranges,
            shared_by="page_idle" if self._page_idle else "",
            by_frames=BackgroundAger() if wanted and not note else None,
            shared_note=note,
            titles=titles,
            oldest_ns=oldest_ns,
            guest=calm,
        )

    def refused(self, index: int) -> list[Range]:
        """Return what the kernel refused to clear."""
        return sorted(Range(start, end) for start, end, _ in self._access.unobservable(index))

    def exempt(self, cpu_ns: int) -> None:
        """Leave this CPU time out of the budget of clears."""
        self._access.exempt(cpu_ns)

    def stats(self) -> AccessStats:
        """Counts and costs since the start, for `doctor`, benchmarks and tests."""
        return self._access.stats()

    def close(self) -> None:
        self._access.close()
        self.walker.close()


def _first_share(overhead: float, *, alone: bool, calm: bool) -> float:
    """Return which share of one CPU a map may take until all was looked at once."""
    if calm:
        return _CALM_SHARE * overhead
    return max(overhead, min(FIRST_SWEEP, _FIRST_ALONE * overhead)) if alone else FIRST_SWEEP


def _open(
    walker: Walker, *, overhead: float, sweep: bool, follow_from: int, page_idle: bool | None
) -> AccessBpf:
    if page_idle is None:
        page_idle = Path(PAGE_IDLE_BITMAP).exists()
    try:
        return AccessBpf(
            walker,
            overhead_ns=int(overhead * _SECOND_NS),
            first_sweep_ns=int(FIRST_SWEEP * _SECOND_NS) if sweep else 0,
            steady_sweep_ns=int(STEADY_SWEEP * _SECOND_NS) if sweep else 0,
            follow_from=follow_from,
            page_idle=PAGE_IDLE_BITMAP if page_idle else None,
        )
    except CoreError as err:
        if err.code == FAIL_PRIVILEGE:
            raise NotPermittedError(
                f"not allowed to clear accessed bits: {err.strerror}", hint=root_hint()
            ) from err
        raise NotSupportedError(
            f"the access check fails its self-test: {err.strerror}",
            hint="`isotherm doctor` names the backends that work here",
        ) from err


def _flat(mappings: Mappings, ranges: Sequence[Range]) -> array[int]:
    """Mappings as struct mapping: start, end, flags; those apart from `ranges` are not swept."""
    flags = [
        MAPPING_SWEEPABLE if _sweepable(Mapping(0, 0, *text)) else 0 for text in mappings.texts
    ]
    words = mapping_words(mappings.bounds, mappings.kinds, array("Q", flags))
    largest = max(map(sub, words[1::3], words[::3]), default=0)
    if not ranges and largest <= _MOST_SWEPT:
        return words
    for i in range(0, len(words), 3):
        start, end = words[i], words[i + 1]
        inside = not ranges or any(one.start < end and start < one.end for one in ranges)
        if not inside or end - start > _MOST_SWEPT:
            words[i + 2] = 0
    return words


def _sweepable(mapping: Mapping) -> bool:
    """
    Private anonymous memory that is used.

    That of a file may hold page-cache folios of any size.
    """
    return (
        mapping.is_anonymous and mapping.permissions[3] == "p" and mapping.permissions[:3] != "---"
    )


def _u32(values: array[int]) -> array[int]:
    return values if values.itemsize == 4 else array("I", values)


def _with_refused(ranges: TargetRanges, refused: Sequence[tuple[int, int, str]]) -> TargetRanges:
    """
    Add what the kernel refused to clear to what is known to be unobservable.

    It is no part of the ranges then: every byte is monitored, or known not to be, and not both.
    """
    if not refused:
        return ranges
    added = [
        Unobservable(ranges.target.id, start, end, reason)
        for start, end, reason in refused
        if not any(u.start < end and start < u.end for u in ranges.unobservable)
    ]
    holes = [(known.start, known.end) for known in added]
    return replace(
        ranges,
        ranges=tuple(subtract(ranges.ranges, holes)),
        unobservable=tuple(sorted((*ranges.unobservable, *added), key=lambda u: u.start)),
    )
