"""
Does the actions of schemes to other processes, a piece of memory at a time.

What may be acted on is decided three times, each time closer: by mapping (action_memory), by the
state of each folio (a survey, in C), and, for actions that would hurt if memory were in use after
all, by its accessed bits just before. What was done is read from the page tables afterwards.

A folio belongs to the region that holds its middle, so that regions smaller than a huge page do
not keep it from ever being acted on, and is acted on as a whole; a scheme with filters of
addresses gets only folios wholly inside, so that nothing beyond is touched.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from isotherm._core import RUN_BYTES, PageMap, Survey, Walker, advise
from isotherm.actions import filters as action_filters
from isotherm.actions import limits as action_limits
from isotherm.actions.job import Job
from isotherm.actions.memory import Maps, Piece, called, is_held
from isotherm.actions.obstacles import (
    CUT,
    GUEST,
    LOCKED,
    NO_HANDLE,
    NO_HUGE_PAGES,
    NO_LOOK,
    NOT_ADVISED,
    NOT_MOVED,
    NOT_READ,
    NOT_WATCHED,
    OTHERS,
    UNREAD,
    UNWRITTEN,
    Obstacles,
    wants_no_huge_pages,
)
from isotherm.actions.treat import HUGE_STAYS, Place, size_of, treat
from isotherm.actions.ways import (
    HUGE_BYTES,
    MOST_CLEARED_RANGES,
    NEVER,
    NOTHING,
)
from isotherm.core.act import Done
from isotherm.errors import NotPermittedError, TargetGoneError
from isotherm.kernel.pages import madvise, pagemap
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Scheme
from isotherm.targets.maps import names_of
from isotherm.targets.processes import Process

_STEP_BYTES = 64 << 20  # surveyed at a time: 3 ms
#: By the map a page is in use if it was used in so much time, unless a scheme asks for more.
_IN_USE_NS = 100_000_000
_SWAP_ASKED_EVERY_NS = 200_000_000
#: More of one mapping is not looked through where the kernel cannot say which parts are empty.
_MOST_WITHOUT_HELP = 1 << 40

#: Facts of pages that are left alone, and how that is told.
_STAYING = {
    Fact.SHARED: OTHERS,
    Fact.LOCKED: LOCKED,
    Fact.DIRTY: UNWRITTEN,
    Fact.TORN: CUT,
}
NO_SWAP = "no free swap: anonymous memory stays"


@dataclass(slots=True)
class _Sum:
    """What one `act` has come to so far."""

    applied: int = 0
    passed: int = 0
    own_runs: bytes = b""
    errors: dict[str, int] = field(default_factory=dict)

    def count(self, errors: dict[str, int]) -> None:
        for why, times in errors.items():
            self.errors[why] = self.errors.get(why, 0) + times

    def done(self) -> Done:
        return Done(self.applied, self.passed, self.errors)


class Actor:
    """
    Acts on processes; one thread at a time, which a walker is shared with.

    walker: reads accessed bits, None where that is not possible; page_map: the map of the same
    targets, which alone clears bits then and is asked what was used; look_again: leave out what
    turns out to be in use (pageout, migrate_cold) or not (collapse, hugepage, migrate_hot) by a
    look just before; force_guests: act even on processes that run a virtual machine; told: is told
    of the index of a target and of runs of its memory before their accessed bits are cleared.
    """

    def __init__(
        self,
        walker: Walker | None = None,
        page_map: PageMap | None = None,
        *,
        look_again: bool = True,
        force_guests: bool = False,
        told: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self._survey = Survey(walker, page_map)
        self._told = told
        self._mapped = page_map is not None
        self._sources = self._survey.sources()
        self._look_again = look_again
        self._force_guests = force_guests
        self._maps = Maps()
        self._obstacles = Obstacles()
        self._turn = 0
        self._swap_asked_ns = 0
        self._swap_is_free = False

    def why_not(self, scheme: Scheme) -> str:
        """Say why a scheme cannot be done, and what would make it possible; "" if it can."""
        return action_limits.why_not(
            scheme, self._sources, look_again=self._look_again, mapped=self._mapped
        )

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return what the user should know beforehand."""
        return action_limits.warnings_for(scheme, self._sources)

    def close(self) -> None:
        self._survey.close()

    def act(
        self,
        scheme: Scheme,
        process: Process,
        target: int,
        start: int,
        end: int,
        *,
        filtered: bool,
        avoid: Iterable[Range] = (),
        dry: bool = False,
    ) -> Done:
        """
        Do the scheme's action to [start, end) of a process, as `core.ops.Ops.act`.

        target: its index in the walker; avoid: what is known to be unobservable, in order. What
        an own action raises comes out of here.
        """
        total = _Sum()
        filters = scheme.ops_filters if filtered else ()
        if scheme.action is Action.STAT and scheme.own is None and not filters:
            return total.done()
        if scheme.own is not None and not filters:
            total.applied = end - start if dry else scheme.own(target, start, end)
            return total.done()
        job = Job.of(scheme, filtered=filtered, look_again=self._look_again, dry=dry)
        try:
            if why := self._obstacle(job, process):
                return Done(errors=self._obstacles.tell(scheme, process, why))
            for why in self._maps.left_alone(process, start, end, files=job.takes_files):
                total.count(self._obstacles.tell(scheme, process, why))
            self._on_region(job, process, target, Range(start, end), avoid=avoid, total=total)
        except (TargetGoneError, ProcessLookupError):
            pass
        except (NotPermittedError, OSError) as err:
            if why := _of_the_whole(job, err):
                total.count(self._obstacles.tell(scheme, process, why))
            else:
                total.count({madvise.reason(getattr(err, "errno", 0) or 0): 1})
        if scheme.own is not None:
            for first, size in struct.iter_unpack("=QQ", total.own_runs):
                total.applied += scheme.own(target, first, first + size)
        return total.done()

    def _obstacle(self, job: Job, process: Process) -> str:
        """Say why nothing at all can be done to a process; "" if something can."""
        if process.pidfd < 0:
            return NO_HANDLE
        if self._maps.runs_guest(process) and not self._force_guests:
            return GUEST
        if (job.need | job.avoid) & Fact.USED and not self._sources["accessed"]:
            return NO_LOOK
        if job.way.blocks and wants_no_huge_pages(process):
            return NO_HUGE_PAGES
        return ""

    def _on_region(
        self,
        job: Job,
        process: Process,
        target: int,
        region: Range,
        *,
        avoid: Iterable[Range],
        total: _Sum,
    ) -> None:
        self._survey.ask(job.idle_ns or max(_IN_USE_NS, job.age_ns))
        with pagemap.opened(process.pid) as descriptor:
            if not is_held(process):
                return
            place = Place(self._survey, descriptor, target, process, told=self._told)
            pieces = self._maps.pieces(process, *_around(*region), avoid, files=job.takes_files)
            if job.by_name:
                pieces = action_filters.not_kept_out(
                    job.by_name, called(pieces, names_of(process))
                )
            steps = _steps(pieces, descriptor)
            if job.idle_ns:
                steps = self._idle(job, place, steps, total)
            if job.only_huge:
                steps = self._huge(job, place, steps)
            for piece in steps:
                self._step(job, place, piece, region, total)

    def _idle(
        self, job: Job, place: Place, pieces: Iterable[Piece], total: _Sum
    ) -> Iterator[Piece]:
        """Leave out where the map, without a look at memory, knows that nothing is idle."""
        early = False
        for piece in pieces:
            runs, some_early = self._survey.may_be_idle(place.target, piece.start, piece.end)
            early |= some_early
            for start, size in struct.iter_unpack("=QQ", runs):
                yield piece._replace(start=start, end=start + size)
        if early:
            total.count(self._obstacles.tell(job.scheme, place.process, NOT_WATCHED))

    def _huge(self, job: Job, place: Place, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Leave out what is no huge page, or is known not to be underused, without a survey."""
        for piece in pieces:
            runs = self._survey.find_huge(
                place.pagemap_fd,
                place.target,
                piece.start,
                piece.end,
                space=place.space,
                rules=job.about(piece.title).rules,
            )
            for start, size in struct.iter_unpack("=QQ", runs):
                yield piece._replace(start=start, end=start + size)

    def _step(self, job: Job, place: Place, piece: Piece, region: Range, total: _Sum) -> None:
        job = job.about(piece.title)
        place.read(piece.start, piece.end, job.detail)
        need, avoid = job.need, job.avoid
        if job.action is Action.WILLNEED and not piece.anonymous:
            need, avoid = NOTHING, avoid | Fact.PRESENT
        if job.way.blocks and not piece.anonymous:
            return
        if piece.shared:
            avoid |= Fact.DIRTY
        unwanted = NOTHING
        if job.action is Action.PAGEOUT and not self._has_free_swap():
            unwanted = Fact.ANON
            if job.choose(self._survey, region, need | Fact.ANON, avoid)[0]:
                total.count({NO_SWAP: 1})
            avoid |= Fact.ANON
        contents_of = place.process.pid, place.space
        runs, passed = job.choose(self._survey, region, need, avoid, contents_of)
        total.passed += passed
        if job.reads and self._survey.contents_read()[1]:
            total.count(self._obstacles.tell(job.scheme, place.process, UNREAD))
        if job.action is Action.PAGEOUT:
            self._tell_what_stays(job, place.process, region, (need, avoid), total)
        if job.action is Action.LRU_PRIO and self._holds_inactive_huge(region):
            total.count({HUGE_STAYS: 1})
        young = self._young(job, region, unwanted)
        if runs and job.dry:
            total.applied += size_of(runs)
        elif runs and job.scheme.own is not None:
            total.own_runs += runs
        elif runs:
            applied, errors = treat(job.scheme, place, piece, runs)
            if job.reads and job.action is Action.NOHUGEPAGE:
                self._survey.was_split(place.space, runs)
            total.applied += applied
            total.count(errors)
        self._clear(place, young)

    def _tell_what_stays(
        self, job: Job, process: Process, region: Range, wish: tuple[Fact, Fact], total: _Sum
    ) -> None:
        """Count, once, why pages stay that the scheme is for."""
        need, avoid = wish
        for fact, why in _STAYING.items():
            if avoid & fact and not self._obstacles.was_told(job.scheme, process, why):
                # Each reason for itself: of what is locked and shared one will do.
                others = avoid & ~(fact | Fact.TORN)
                if job.choose(self._survey, region, need | fact, others)[0]:
                    total.count(self._obstacles.tell(job.scheme, process, why))

    def _holds_inactive_huge(self, region: Range) -> bool:
        need, avoid = Fact.PRESENT | Fact.HUGE, NEVER | Fact.ACTIVE
        return bool(self._survey.pick(*region, need, avoid)[0])

    def _young(self, job: Job, region: Range, unwanted: Fact) -> bytes:
        """Return what is in use, to be judged afresh next time."""
        if not job.clears_young or self._mapped:
            return b""  # the map clears, in its time
        need = Fact.PRESENT | Fact.YOUNG
        avoid = NEVER | unwanted
        return self._survey.pick(*region, need, avoid, max_run=madvise.CALL_BYTES)[0]

    def _clear(self, place: Place, runs: bytes) -> None:
        """Clear accessed bits of some of the runs, of others next time."""
        nr = len(runs) // RUN_BYTES
        if nr:
            first = self._turn % nr * RUN_BYTES
            some = (runs[first:] + runs[:first])[: MOST_CLEARED_RANGES * RUN_BYTES]
            self._turn += MOST_CLEARED_RANGES
            place.tell(some)
            advise(place.process.pidfd, madvise.COLD, madvise.CALL_BYTES, some)

    def _has_free_swap(self) -> bool:
        now = time.monotonic_ns()
        if not self._swap_asked_ns or now - self._swap_asked_ns > _SWAP_ASKED_EVERY_NS:
            self._swap_is_free = pagemap.free_swap_bytes() > 0
            self._swap_asked_ns = now
        return self._swap_is_free


def _of_the_whole(job: Job, err: NotPermittedError | OSError) -> str:
    """Say what an error of a whole call means for the whole process; "" if it may pass."""
    if isinstance(err, NotPermittedError):
        return NOT_READ
    if isinstance(err, PermissionError):
        moves = job.action in (Action.MIGRATE_HOT, Action.MIGRATE_COLD)
        return NOT_MOVED if moves and err.errno == errno.EACCES else NOT_ADVISED
    return madvise.reason(err.errno) if err.errno == errno.ENOSYS else ""


def _around(start: int, end: int) -> Range:
    """Return a region with as much around it as a folio on its border may reach."""
    return Range(start - start % HUGE_BYTES, end + -end % HUGE_BYTES)


def _steps(pieces: Iterable[Piece], descriptor: int) -> Iterator[Piece]:
    """Cut pieces into steps, passing over what is empty of reservations of terabytes."""
    for piece in pieces:
        at = piece.start
        while at < piece.end:
            stop = min(piece.end, at - at % _STEP_BYTES + _STEP_BYTES)
            yield piece._replace(start=at, end=stop)
            at = stop
            if piece.anonymous and at < piece.end:
                used = pagemap.next_populated(descriptor, at, piece.end)
                if used is None and piece.end - at > _MOST_WITHOUT_HELP:
                    break
                at = max(at, (used or at) // HUGE_BYTES * HUGE_BYTES)
