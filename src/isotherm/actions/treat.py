"""The treatments: what each action tells the kernel, and how its outcome is read back."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from isotherm._core import SURVEY_ENTRIES, SURVEY_FOLIOS, Survey, advise, fault_in
from isotherm.actions.memory import Piece
from isotherm.actions.ways import NOTHING, SPLITS_PER_CALL, VISITS
from isotherm.kernel.pages import madvise
from isotherm.kernel.pages.move_pages import move_pages
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Action, Destination, Scheme
from isotherm.targets.processes import Process

Outcome = tuple[int, dict[str, int]]

HUGE_STAYS = "huge pages cannot be made active from outside"
#: Advice that clears accessed bits, whatever else comes of it.
_CLEARING = (madvise.COLD, madvise.PAGEOUT)
STAYED = "left by the kernel as it was: in use, dirty, or no space for it"


@dataclass(slots=True)
class Place:
    """The memory that is worked on: of `process`, target `target` of the survey's walker."""

    survey: Survey
    pagemap_fd: int
    target: int
    process: Process
    start: int = 0
    end: int = 0
    told: Callable[[int, bytes], None] | None = None

    @property
    def space(self) -> int:
        """A number for the address space."""
        return self.process.target_id

    def read(self, start: int, end: int, detail: int) -> None:
        """Survey [start, end); `ProcessLookupError` if the memory is gone."""
        self.start, self.end = start, end
        self.survey.read(self.pagemap_fd, self.target, start, end, detail)

    def tell(self, runs: bytes) -> None:
        """Tell who watches that the accessed bits of `runs` are about to be cleared."""
        self.survey.tell(self.target, runs)
        if self.told is not None:
            self.told(self.target, runs)

    def recount(
        self, runs: bytes, need: Fact, avoid: Fact, *, detail: int = SURVEY_ENTRIES
    ) -> int:
        """Look again, and return the bytes of `runs` with all of `need` and none of `avoid`."""
        self.read(self.start, self.end, detail)
        return self.survey.count(runs, need, avoid)


def treat(scheme: Scheme, place: Place, piece: Piece, runs: bytes) -> Outcome:
    """Do the scheme's action to `runs` of the piece surveyed last; what was done, and errors."""
    match scheme.action:
        case Action.PAGEOUT:
            return _pageout(place, runs)
        case Action.COLD | Action.LRU_DEPRIO:
            return _cold(place, runs)
        case Action.WILLNEED:
            return _willneed(place, runs)
        case Action.HUGEPAGE | Action.COLLAPSE:
            return _collapse(place, runs)
        case Action.NOHUGEPAGE:
            return _split(place, runs)
        case Action.LRU_PRIO:
            return _activate(place, runs)
        case Action.MIGRATE_HOT | Action.MIGRATE_COLD:
            return _migrate(place, piece, runs, scheme)
        case Action.STAT:
            return 0, {}


def _each(runs: bytes) -> list[tuple[int, int]]:
    return list(struct.iter_unpack("=QQ", runs))


def size_of(runs: bytes) -> int:
    """Return the bytes of memory in runs (start, size)."""
    return sum(size for _, size in _each(runs))


def _advise(
    place: Place, advice: int, runs: bytes, max_bytes: int = madvise.CALL_BYTES
) -> dict[str, int]:
    if advice in _CLEARING:
        place.tell(runs)
    outcomes = advise(place.process.pidfd, advice, max_bytes, runs)
    return madvise.refusals(outcomes, advice)


def _pageout(place: Place, runs: bytes) -> Outcome:
    """All pages of the runs are present; those that are not afterwards went out."""
    errors = _advise(place, madvise.PAGEOUT, runs)
    applied = place.recount(runs, NOTHING, Fact.PRESENT)
    if applied < size_of(runs) and not errors:
        errors[STAYED] = 1
    return applied, errors


def _cold(place: Place, runs: bytes) -> Outcome:
    """Count what is not young afterwards; where that cannot be seen, what was not refused."""
    place.tell(runs)
    outcomes = advise(place.process.pidfd, madvise.COLD, madvise.CALL_BYTES, runs)
    errors = madvise.refusals(outcomes, madvise.COLD)
    taken = b"".join(
        struct.pack("=QQ", *run)
        for run, code in zip(_each(runs), outcomes, strict=True)
        if not code
    )
    return place.recount(taken, Fact.PRESENT, Fact.YOUNG), errors


def _willneed(place: Place, runs: bytes) -> Outcome:
    """
    Read ahead in large steps, then map the pages, and count those that are present afterwards.

    MADV_WILLNEED alone ends in the swap cache or the page cache, which nobody can look at from
    outside; a read of a byte each takes the pages from there.
    """
    errors = _advise(place, madvise.WILLNEED, runs)
    fault_in(place.process.pid, runs)
    return place.recount(runs, Fact.PRESENT, NOTHING), errors


def _collapse(place: Place, runs: bytes) -> Outcome:
    errors = _advise(place, madvise.COLLAPSE, runs)
    return place.recount(runs, Fact.HUGE, NOTHING), errors


def _split(place: Place, runs: bytes) -> Outcome:
    """
    Split huge pages, each by advice on one small page of it; a run is one huge page.

    The kernel gives small pages of nothing but zeros back at that (Linux 6.12).
    """
    first_pages = b"".join(struct.pack("=QQ", start, PAGE) for start, _ in _each(runs))
    errors = _advise(place, madvise.COLD, first_pages, SPLITS_PER_CALL * PAGE)
    applied = place.recount(runs, NOTHING, Fact.HUGE)
    if applied < size_of(runs) and not errors:
        errors[STAYED] = 1
    return applied, errors


def _activate(place: Place, runs: bytes) -> Outcome:
    """
    Read the pages until the kernel has them on its active list.

    With the multi-generational LRU (lru_gen) there is no such list, only a mark of being
    referenced; the runs hold no active page.
    """
    before = place.survey.count(runs, Fact.REFERENCED, NOTHING)
    for _ in range(VISITS):
        fault_in(place.process.pid, runs)
    _drain()
    active = place.recount(runs, Fact.ACTIVE, NOTHING, detail=SURVEY_FOLIOS)
    referenced = place.survey.count(runs, Fact.REFERENCED, Fact.ACTIVE)
    return active + max(0, referenced - before), {}


def _drain() -> None:
    """Activated pages wait in a batch of this CPU: advice on a page of ours empties it."""
    with mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        anchor = ctypes.c_char.from_buffer(page)
        libc = ctypes.CDLL(None)
        libc.madvise(
            ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(PAGE), madvise.COLD
        )
        del anchor


def weighted_node(destinations: tuple[Destination, ...], index: int) -> int:
    """Return the node of a folio by weighted interleave of its index (damon-spec 2.4, `dests`)."""
    at = index % sum(destination.weight for destination in destinations)
    for destination in destinations:
        if at < destination.weight:
            return destination.nid
        at -= destination.weight
    return destinations[-1].nid


def _migrate(place: Place, piece: Piece, runs: bytes, scheme: Scheme) -> Outcome:
    """
    Move folios, a run each, to their nodes; counted are those that were elsewhere before.

    The index that interleaves is the folio's place in its mapping. The kernel adds the mapping's
    place in its file, which only turns the pattern.
    """
    destinations = scheme.destinations or (Destination(scheme.target_nid or 0),)
    folios = _each(runs)
    pid = place.process.pid
    here = move_pages(pid, [start for start, _ in folios], None)
    moves = [
        (start, size, nid)
        for (start, size), now in zip(folios, here, strict=True)
        for nid in [weighted_node(destinations, (start - piece.mapping_start) // size)]
        if 0 <= now != nid
    ]
    after = move_pages(pid, [start for start, _, _ in moves], [nid for _, _, nid in moves])
    applied, errors = 0, dict[str, int]()
    for (_, size, nid), now in zip(moves, after, strict=True):
        if now == nid:
            applied += size
        else:
            why = _why_not_moved(-now if now < 0 else errno.EAGAIN)
            errors[why] = errors.get(why, 0) + 1
    return applied, errors


def _why_not_moved(code: int) -> str:
    if code == errno.ENOMEM:
        return "no memory left on the node"
    return madvise.reason(code) if code != errno.ENOENT else os.strerror(code)
