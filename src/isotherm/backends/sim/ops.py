"""The operations set over a simulated world: accessed bits with the semantics of real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from isotherm.backends.sim.residency import Residency
from isotherm.backends.sim.world import Space, World
from isotherm.clock import Clock
from isotherm.core.act import Done
from isotherm.core.look import WAS_YOUNG, Bulk, Check, PageState, Samples, TargetRanges
from isotherm.core.native_map import NativePageMap
from isotherm.core.ops import Ops
from isotherm.model.ranges import PAGE, Range, aligned, intersect, union
from isotherm.model.scheme import Action, Scheme
from isotherm.model.target import Mapping, Target, Unobservable

#: CPUs that a simulated map of pages may use.
_PLENTY = 1000.0


class _Prepared(NamedTuple):
    """A sample between prepare and check: the page it stands for, or the answer already known."""

    space: Space | None
    start: int
    end: int
    answer: Check | None
    was_young: bool
    until_ns: int = 0


class SimOps(Ops):
    """
    Operations set over a `World`, at the times of `clock`; deterministic.

    Every page has an accessed bit, set by touches and at first by its creation, and cleared by
    `prepare`. With `clears_per_tick`, no more than so many young pages are cleared in one
    `prepare`, those of the least checked regions first; the others are MISSED, as the real
    backend does within its budget.

    Schemes can page out and bring in: memory goes, is not accessed while it is away, and comes
    back when it is touched. Pages touched since the round before are left alone.
    """

    name: ClassVar[str] = "sim"

    def __init__(self, world: World, clock: Clock, *, clears_per_tick: int | None = None) -> None:
        self._world = world
        self._clock = clock
        self._budget = clears_per_tick
        self._spaces: list[tuple[int, Space]] = []
        #: (space, page) -> when its accessed bit was cleared last; absent: never.
        self._cleared_at: dict[tuple[int, int], int] = {}
        self._prepared: list[_Prepared] = []
        self._prepared_at = 0
        self._turn = 0
        self._cleared = 0
        self._seen: Callable[[int, int, int], None] | None = None
        self._residency = [Residency(space) for space in world.spaces]
        #: Times of the last two rounds of actions.
        self._rounds_ns = (clock.now_ns(), clock.now_ns())

    def targets(self) -> Sequence[TargetRanges]:
        now = self._clock.now_ns()
        self._spaces = [(index, self._world.spaces[index]) for index in self._world.alive(now)]
        return [
            _target_ranges(index, space, now, self._residency[index].absent_bytes(now))
            for index, space in self._spaces
        ]

    def alive(self) -> bool:
        return bool(self._world.alive(self._clock.now_ns()))

    def prepare(self, addresses: Samples) -> None:
        now = self._prepared_at = self._clock.now_ns()
        prepared = [
            self._look(target, address, now)
            for target, address in zip(addresses.targets, addresses, strict=True)
        ]
        young = [index for index, sample in enumerate(prepared) if sample.was_young]
        if self._budget is not None:
            # Equals take turns: always beginning with the first would never serve the last.
            turn, count = self._turn, len(prepared)
            young.sort(key=lambda index: (addresses.checked[index], (index - turn) % count))
            self._turn += self._budget
            for index in young[self._budget :]:
                prepared[index] = prepared[index]._replace(answer=Check.MISSED)
            young = young[: self._budget]
        for index in young:
            sample = prepared[index]
            self._cleared_at[self._spaces[addresses.targets[index]][0], sample.start] = now
            if self._seen is not None:
                self._seen(addresses.targets[index], sample.start, sample.end)
        self._cleared += len(young)
        self._prepared = prepared

    def check(self) -> bytearray:
        now = self._clock.now_ns()
        results = bytearray(len(self._prepared))
        for index, sample in enumerate(self._prepared):
            if sample.answer is not None or sample.space is None:
                results[index] = sample.answer or Check.IDLE
                continue
            until = min(now, sample.until_ns)
            if sample.space.touched(sample.start, sample.end, self._prepared_at, until):
                results[index] = Check.ACCESSED
            if sample.was_young and self._budget is not None:
                results[index] |= WAS_YOUNG
        return results

    def cleared(self) -> int:
        count, self._cleared = self._cleared, 0
        return count

    def bulk(self) -> Bulk:
        return self

    def page_map(self) -> NativePageMap:
        """
        Return a map of all pages, to give to a monitor over this: it is told what samples clear.

        It has CPU time in plenty, as what simulating costs says nothing of real memory. Going
        through pages takes real time: some microseconds each.
        """
        made = NativePageMap(self, self._clock, share=_PLENTY)
        self._seen = made.seen
        return made

    def read(self, target: int, start: int, end: int) -> bytes:
        states = bytearray((end - start) // PAGE)
        mapped = union((area.start, area.end) for area in self._spaces[target][1].areas)
        for part in intersect([Range(start, end)], mapped):
            for state, pages in self._states(target, part.start, part.end):
                first, last = max(pages.start, start) - start, min(pages.end, end) - start
                states[first // PAGE : last // PAGE] = bytes([state]) * ((last - first) // PAGE)
        return bytes(states)

    def clear(self, target: int, ranges: Sequence[tuple[int, int]]) -> int:
        cleared, index, now = 0, self._spaces[target][0], self._clock.now_ns()
        for start, end in union(ranges):
            for state, pages in self._states(target, start, end):
                inside = start <= pages.start and pages.end <= end
                if inside and state is PageState.YOUNG:
                    self._cleared_at[index, pages.start] = now
                    cleared += 1
        self._cleared += cleared
        return cleared

    def why_not(self, scheme: Scheme) -> str:
        if scheme.ops_filters:
            return f"simulated memory cannot be asked for {scheme.ops_filters[0].type}"
        if scheme.own is not None or scheme.action in (
            Action.STAT,
            Action.PAGEOUT,
            Action.WILLNEED,
        ):
            return ""
        return (
            f"a simulated world knows pageout, willneed, stat and own actions, not {scheme.action}"
        )

    def act(
        self,
        scheme: Scheme,
        target: int,
        start: int,
        end: int,
        *,
        filtered: bool,
        dry: bool = False,
    ) -> Done:
        del filtered
        if dry:
            return Done(end - start)
        if scheme.own is not None:
            return Done(scheme.own(target, start, end))
        index, space = self._spaces[target]
        now = self._clock.now_ns()
        if now >= space.until_ns:
            return Done()
        if now > self._rounds_ns[1]:
            self._rounds_ns = (self._rounds_ns[1], now)
        if scheme.action is Action.PAGEOUT:
            gone = self._residency[index].page_out(start, end, self._rounds_ns[0], now)
            return Done(gone)
        if scheme.action is Action.WILLNEED:
            return Done(self._residency[index].bring_in(start, end, now))
        return Done()

    def resident_bytes(self, space: int) -> int:
        """Return what is in memory of a space of the world, by its index, at this time."""
        now = self._clock.now_ns()
        mapped = _mapped_bytes(self._world.spaces[space], now)
        return mapped - self._residency[space].absent_bytes(now)

    def refaulted_bytes(self, space: int) -> int:
        """Return how much came back after having been paged out."""
        self._residency[space].absent_bytes(self._clock.now_ns())
        return self._residency[space].refaulted_bytes

    def _states(self, target: int, start: int, end: int) -> Iterator[tuple[PageState, Range]]:
        """Yield the state of each accessed bit of [start, end), and its pages."""
        now, at = self._clock.now_ns(), start
        self._residency[self._spaces[target][0]].absent_bytes(now)  # what was touched is back
        while at < end:
            state, pages = self._state(target, at, now)
            yield state, pages
            at = pages.end

    def _state(self, target: int, address: int, now: int) -> tuple[PageState, Range]:
        """Return the state of a page, and the pages that share its accessed bit."""
        found, (index, _) = self._look(target, address, now), self._spaces[target]
        if found.space is None:
            if found.answer is Check.UNOBSERVABLE:
                return PageState.UNOBSERVABLE, aligned(address, address + 1)
            return PageState.ABSENT, self._world.spaces[index].hole_at(address)
        if self._residency[index].out_since(found.start) is not None:
            state = PageState.ABSENT
        else:
            state = PageState.YOUNG if found.was_young else PageState.OLD
        return state, Range(found.start, found.end)

    def _look(self, target: int, address: int, now: int) -> _Prepared:
        """Find the page of a sample and whether its accessed bit is set."""
        index, space = self._spaces[target]
        area = space.area_at(address, now)
        if area is None or now >= space.until_ns:
            return _Prepared(None, 0, 0, Check.IDLE, was_young=False)
        if area.hidden:
            return _Prepared(None, 0, 0, Check.UNOBSERVABLE, was_young=False)
        start = address - (address - area.start) % area.page_bytes
        end = start + area.page_bytes
        cleared_at = self._cleared_at.get((index, start))
        out_since = self._residency[index].out_since(start)
        if out_since is not None:  # a page that comes back does so by an access
            cleared_at = max(cleared_at or 0, out_since)
        young = cleared_at is None or space.touched(start, end, cleared_at, now)
        until = min(area.until_ns, space.until_ns) - 1
        return _Prepared(space, start, end, None, young, until)


def _mapped_bytes(space: Space, now: int) -> int:
    return sum(
        area.end - area.start for area in space.areas if area.from_ns <= now < area.until_ns
    )


def _target_ranges(index: int, space: Space, now: int, absent: int) -> TargetRanges:
    areas = [area for area in space.areas if area.from_ns <= now < area.until_ns]
    size = _mapped_bytes(space, now)
    return TargetRanges(
        target=Target(index, space.name, None, size, size - absent),
        ranges=union((area.start, area.end) for area in areas if not area.hidden),
        mappings=tuple(Mapping(area.start, area.end, "rw-p", area.name) for area in areas),
        unobservable=tuple(
            Unobservable(index, area.start, area.end, area.hidden) for area in areas if area.hidden
        ),
    )
