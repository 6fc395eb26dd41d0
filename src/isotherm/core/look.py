"""
Look: the only place where the algorithm meets memory.

A Look has ranges to monitor, prepares a batch of addresses ("forget that these were accessed")
and later checks the same batch ("which were accessed since?"). Everything that knows about
/proc, BPF or a simulator is behind it. What is done to memory is another question: `core.act`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Protocol

from isotherm import _core
from isotherm.model.attrs import Attrs
from isotherm.model.page_use import Kind
from isotherm.model.ranges import PAGE, Range
from isotherm.model.target import Mapping, Target, Unobservable


class Check(IntEnum):
    """What one check found: the bytes that `Look.check` returns."""

    IDLE = _core.CHECK_IDLE
    ACCESSED = _core.CHECK_ACCESSED
    #: The page was young when chosen and was not cleared, so nothing is known: to be imputed.
    MISSED = _core.CHECK_MISSED
    #: Accesses of this page cannot be seen.
    UNOBSERVABLE = _core.CHECK_UNOBSERVABLE
    #: The target was not looked at, because others had their turn (`Look.rest`).
    RESTING = _core.CHECK_RESTING


#: Flag on IDLE and ACCESSED: the page was young when chosen, and was cleared. A Look that leaves
#: some young pages uncleared (MISSED) must set it: the rate at which cleared young pages are
#: accessed again stands for the missed ones. Others never set it.
WAS_YOUNG = _core.CHECK_WAS_YOUNG


@dataclass(frozen=True, slots=True)
class Samples(Sequence[int]):
    """
    A batch of sampling addresses, in target and address order; behaves as the addresses.

    targets: index of each address' target in the last `Look.targets()`; checked: how many young
    pages of its region were cleared and checked so far this window, so that a Look with a budget
    of clears serves the least known first.
    """

    addresses: array[int]
    targets: array[int]
    checked: array[int]

    def __len__(self) -> int:
        return len(self.addresses)

    def __iter__(self) -> Iterator[int]:
        return iter(self.addresses)

    def __getitem__(self, index: Any) -> Any:
        return self.addresses[index]


@dataclass(slots=True)
class Reading:
    """
    How an address map was read, kept up to date by whoever reads it.

    changes: how often it was found to be another one; before_ns: when the last one before was read
    last, CLOCK_MONOTONIC, 0 if there was none.
    """

    changes: int = 0
    before_ns: int = 0


@dataclass(frozen=True, slots=True)
class TargetRanges:
    """
    A target as the look sees it now: who, which ranges to monitor, what is known of them.

    mappings: its address map; named: the same, cut where parts of mappings have names of their
    own, () if none has; reading: of that map.
    """

    target: Target
    ranges: tuple[Range, ...]
    mappings: Sequence[Mapping] = ()
    unobservable: tuple[Unobservable, ...] = ()
    named: Sequence[Mapping] = ()
    reading: Reading = field(default_factory=Reading, compare=False)

    @property
    def told(self) -> Sequence[Mapping]:
        """The address map for whoever tells of it."""
        return self.named or self.mappings


@dataclass(frozen=True, slots=True)
class Census:
    """
    Who is there at a moment, beside the targets as they were last looked for.

    ended: places of the targets of which no process is left; processes: how many there are whose
    memory no map can know, as they came, or executed another program, since; missed: what of it
    is in memory, in proportion to who shares it: (place of the target that they descend from, or
    are, whose memory it is, bytes).
    """

    ended: frozenset[int] = frozenset()
    processes: int = 0
    missed: tuple[tuple[int, Kind, int], ...] = ()


class PageState(IntEnum):
    """What a bulk read says of a page: the bytes that `Bulk.read` returns."""

    #: Not in memory: not mapped, never touched, or paged out.
    ABSENT = 0
    #: Not accessed since its accessed bit was cleared.
    OLD = 1
    YOUNG = 2
    UNOBSERVABLE = 3


#: Beside the `PageState` of the first page of 2 MiB, aligned: they are one page, of that state.
HUGE = 4


class Bulk(Protocol):
    """
    Reads stretches of memory page by page, and clears them: the face of a Look for maps of pages.

    It shares the accessed bits with samples: what one of them clears is old for the other, until
    it is used. Called from the thread that samples; a target is told by its index in the last
    `Look.targets()`.

    Two members may be missing. `frames_cleared`, False if it is: whether `clear` reaches all who
    map a page, so that one target's is the other's. `clear_all(target, kind)`: clears all of a
    target that is anonymous, 0, or not, 1, whoever maps it too, and returns for how many ns page
    faults of it may have waited; raises `NotImplementedError` if it cannot.
    """

    def read(self, target: int, start: int, end: int) -> bytes:
        """
        Return a `PageState` per page of [start, end), which are whole pages; clears nothing.

        Pages that share an accessed bit share their state. Of a vanished target all are absent, or
        `ProcessLookupError` is raised.
        """

    def clear(self, target: int, ranges: Sequence[tuple[int, int]]) -> int:
        """
        Clear the accessed bits of pages wholly inside `ranges`; return how many were set.

        Where pages share a bit, all of them have to be inside. Counts for `Look.cleared`.
        """


class Look(ABC):
    """
    Base of all ways to look. An own one needs `ranges`, `prepare` and `check`.

    Called from one thread, in the order: targets, then (prepare, check) per tick, targets again
    at each update interval, close.
    """

    #: Short name as shown by `doctor` and stored in recordings.
    name: ClassVar[str] = "custom"
    #: Regions are multiples of this many bytes.
    min_region_bytes: ClassVar[int] = PAGE
    #: Is told of a target, and of runs of its memory (u64 start and size each), before they are
    #: cleared by who does not look: an action.
    before_clear: Callable[[int, bytes], None] | None = None
    #: Processes, which come and go: looking who is there costs what they cost.
    has_processes: ClassVar[bool] = False
    #: No pages are seen, only which share of a mapping was used (`Snapshot.shares`).
    whole_mappings: ClassVar[bool] = False

    @property
    def recommended_attrs(self) -> Attrs:
        """Intervals and bounds that suit this look, where nothing was asked for."""
        return Attrs()

    def ranges(self) -> Sequence[tuple[int, int]]:
        """Return the address ranges [(start, end), ...] of a look that has one target."""
        raise NotImplementedError

    def targets(self) -> Sequence[TargetRanges]:
        """
        Return the living targets and their ranges; called at start and each update interval.

        A target keeps its `Target.id` for life. None left means that monitoring ends, unless
        `waits` says otherwise.
        """
        ranges = tuple(Range(start, end) for start, end in self.ranges())
        return [TargetRanges(Target(0, self.name), ranges)]

    def alive(self) -> bool:
        """Tell whether any target still exists; cheap, asked once per window."""
        return True

    @property
    def waits(self) -> bool:
        """Tell whether monitoring goes on without any target: others may come."""
        return False

    @property
    def paced_ns(self) -> int:
        """CPU time so far of what `targets` does at a pace of its own, however often asked."""
        return 0

    def census(self, executed: AbstractSet[int]) -> Census:
        """
        Tell whose memory is not known to who knows that of the targets.

        executed: places of targets that run another program since the last `targets()`.
        """
        del executed
        return Census()

    def forget(self, executed: AbstractSet[int]) -> None:
        """Take that these run another program: what was known of them is not true any more."""
        del executed

    @abstractmethod
    def prepare(self, addresses: Samples) -> None:
        """
        Make ready to see accesses to these addresses from now on.

        A batch may be given up: the next one is then prepared without a `check` between them.
        """

    @abstractmethod
    def check(self) -> bytes | bytearray | memoryview:
        """Return a `Check` (with `WAS_YOUNG`) per address of the last `prepare`, in order."""

    def cleared(self) -> int:
        """Return how many accessed bits were cleared since the last call."""
        return 0

    def warming_up(self) -> bool:
        """Tell whether work of the start goes on, which says nothing of the cost to come."""
        return False

    @property
    def takes_turns(self) -> bool:
        """Tell whether `rest` saves what looking at a target costs."""
        return False

    def rest(self, resting: bytes) -> None:  # noqa: B027 - most look at all targets
        """
        Do not look at some targets from now on, and answer their samples with `Check.RESTING`.

        resting: a byte for each of the last `targets()`, not 0 for one that rests, until told
        otherwise. Targets that are new since do not rest.
        """

    def native_access(self) -> object | None:
        """
        Return a capsule "isotherm.access_ops" (struct access_ops of access/access.h), or None.

        With it, the C core runs all ticks of a window without the interpreter; `prepare` and
        `check` are then not called.
        """
        return None

    def bulk(self) -> Bulk | None:
        """Return the face that reads and clears whole stretches; None if it has none."""
        return None

    def tell_clear(self, target: int, runs: bytes) -> None:
        """Tell who watches that runs of a target's memory are about to be cleared."""
        if self.before_clear is not None:
            self.before_clear(target, runs)

    def bulk_source(self) -> object | None:
        """Return what the C core reads and clears stretches with: `bulk()`, or what it knows."""
        return self.bulk()

    @property
    def clears_one_by_one(self) -> bool:
        """Tell whether a clear costs by the page, and not by the range."""
        return False

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what is held; called once, whatever happened before."""
