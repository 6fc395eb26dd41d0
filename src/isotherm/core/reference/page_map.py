"""
What the map of pages knows of a leaf table, as _native/map/table.c and scale.c keep it in bytes.

Time goes by in epochs, one from each clear of the table to the next. The clear *arms* all pages:
the next read that finds one young knows that it was used since. Until the next clear nothing more
is learned of a used page. The clock counts ticks of 2^22 ns; lengths of time are in ns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from isotherm.core.look import PageState
from isotherm.model.page_use import WINDOWS_NS

TICK_NS = 1 << 22
_S = 1_000_000_000
#: Ends of the classes of the time from a clear to the read that found a page used.
CLASSES_NS = tuple(
    tenths * _S // 10
    for tenths in (1, 2, 5, 10, 20, 30, 50, 100, 200, 300, 600, 3000, 6000, 18000, 36000)
)
#: Epochs of which the map knows the beginning.
MOST_EPOCHS = 11
_SHORTEST_EPOCH_NS, _CALMEST = _S, 2
_RETRY_UNSEEN_NS = 30 * _S
_LONGEST_GAP_NS = 60 * _S
#: Classes whose reads are kept by time, in parts of their ends.
_TIMED, _READ_PARTS = 4, 200
#: So many pages may come at once by chance.
_FEW = 4
NEVER = 2**64 - 1


def class_of(ns: int) -> int:
    """Return the class of a use seen `ns` after a clear: a quarter late still is of a class."""
    late = [index for index, end in enumerate(CLASSES_NS) if end + end // 4 >= ns]
    return late[0] if late else len(CLASSES_NS) - 1


def next_read(ns: int) -> int:
    """Return when, after a clear, the read after that at `ns` is worth while."""
    later = [end for end in CLASSES_NS if end > ns]
    return min([*later[:1], ns + _LONGEST_GAP_NS])


class Age(NamedTuple):
    """
    What is known of when a page was used, in ns before a moment; NEVER: not within any window.

    low, best, high: it was used within a window so long surely, likely, possibly; since: within
    windows between `since` and `best` in proportion; idle: for so long it surely was not used.
    """

    low: int = NEVER
    best: int = NEVER
    high: int = 0
    since: int = NEVER
    idle: int = 0


class Turn(NamedTuple):
    """When all memory was read and cleared where it was used; and the reads since."""

    began: int
    reads: tuple[tuple[int, int], ...] = ()


#: When the last read of each class was, in ns after the beginning of its epoch.
Reads = dict[int, int]


def class_among(reads: Reads, passed: int) -> int:
    """
    Return the class of what is seen `passed` ns after the beginning, and was not by these reads.

    What a late read may still be of is over if another one came before it.
    """
    found = class_of(passed)
    end = CLASSES_NS[found]
    over = passed > end and reads.get(found, 0) >= end and found < len(CLASSES_NS) - 1
    return found + over


def add_read(reads: Reads, passed: int) -> None:
    """Note a read `passed` ns after the beginning of the epoch; times are kept coarsely."""
    found = class_among(reads, passed)
    end = CLASSES_NS[found]
    if found < _TIMED:
        reads[found] = end // _READ_PARTS * (passed * _READ_PARTS // end)
    elif passed >= end:  # a read that comes early says little of its class
        reads[found] = end


class FirstUse(NamedTuple):
    """When after its epoch's beginning a use was that a class stands for: from, likely, until."""

    begin: int
    likely: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.begin


def first_use(found: int, reads: Reads, span: int) -> FirstUse:
    """Return when a use of a class was. reads: of its epoch; span: how long that lasted."""
    last = max((read for read in reads if read < found), default=None)
    end = reads.get(found, CLASSES_NS[found])
    # Most is used right after a clear: what a first read found that is late was used sooner.
    end = min(span, end if found else min(end, CLASSES_NS[0]))
    begin = min(end, 0 if last is None else reads[last])
    return FirstUse(begin, end // 4 if found and last is None else end, end)


def _is_many(found: int, expected: float) -> bool:
    """Tell whether more than twice of what was to be expected was found, and not by chance."""
    more = found - 2 * expected - _FEW
    return more > 0 and more * more > 9 * expected


def _is_sudden(counts: Mapping[int, int], reads: Reads, span: int) -> bool:
    """Tell whether what was not used in the epoch before came of a sudden, or is but few."""
    total = sum(counts.values())
    uses = [(count, first_use(found, reads, span).length) for found, count in counts.items()]
    return total <= _FEW or any(
        length < span and _is_many(count, (total - count) * length / (span - length))
        for count, length in uses
    )


def _sudden_classes(counts: Mapping[int, int], reads: Reads, span: int) -> set[int]:
    """
    Return the classes of which more was used than what is used in each epoch lets expect.

    That comes the seldomer the later; in the first half it had the time to be used once more.
    """
    found = set()
    for number in sorted(counts):
        use = first_use(number, reads, span)
        before = sum(count for other, count in counts.items() if other < number)
        late = use.begin and use.begin + use.end > span
        if late and _is_many(counts[number], before * use.length / use.begin):
            found.add(number)
    return found


@dataclass(slots=True, eq=False)
class Epoch:
    """From a clear at `began` to the next one, or several such that were joined."""

    began: int


@dataclass(slots=True)
class Page:
    """
    A page that is there: `used` in which epoch, None if never since it was armed first.

    found: the class of that use; again: it was used in the epoch before as well, for all that is
    known. unseen: its use cannot be seen. perhaps: whether it was used in that epoch is not known,
    but not after it.
    """

    used: Epoch | None = None
    found: int = 0
    again: bool = False
    armed: bool = False
    unseen: bool = False
    perhaps: bool = False


@dataclass(slots=True)
class PageTable:
    """The pages of a table by number; absent ones are left out."""

    pages: dict[int, Page] = field(default_factory=dict)
    #: The newest first; none before the first clear.
    epochs: list[Epoch] = field(default_factory=list)
    first: int = 0
    last_read: int = 0
    #: In this epoch, and in the one before.
    reads: Reads = field(default_factory=dict)
    reads_before: Reads = field(default_factory=dict)
    #: Pages used in this epoch, as last read.
    used: int = 0
    #: Pages used in this epoch, and not in the one before.
    fresh: int = 0
    calm: int = 0
    #: Pages that were used again, by of how many lengths of time they had not been.
    returned: Counter[int] = field(default_factory=Counter)

    def read(self, states: Sequence[int], now: int, turn: Turn | None = None) -> None:
        """
        Take the `PageState` of each page, as read at `now`.

        Where nothing was used before `turn`, an epoch begins with it, as if all had been cleared.
        """
        found = self._found(now)
        if not self._may_turn(turn):
            turn = None
        for number, state in enumerate(states):
            if state == PageState.ABSENT:
                self.pages.pop(number, None)
            elif state == PageState.UNOBSERVABLE:
                self.pages[number] = Page(unseen=True)
        new = [n for n, state in enumerate(states) if state and n not in self.pages]
        young = [
            n for n, page in self.pages.items() if page.armed and states[n] == PageState.YOUNG
        ]
        for number in young:
            self._count_return(self.pages[number], max(now, self.last_read))
        if turn is not None and (new or young):
            self._begin(turn.began, now)
            self.reads = dict(turn.reads)
            found = class_among(self.reads, (max(now, self.last_read) - turn.began) * TICK_NS)
        for number in young:
            self._use(self.pages[number], found)
        for number in new:  # whoever brought it in uses it, unless it was moved here
            self.fresh += bool(self.epochs)
            self.pages[number] = self._came(found, moved=states[number] == PageState.OLD)
        for number, page in self.pages.items():
            if page.unseen and states[number] == PageState.OLD:  # somebody could clear it
                newest = self.epochs[0] if self.epochs else None
                self.pages[number] = Page(newest, perhaps=newest is not None)
        self.last_read = max(now, self.last_read) if self.epochs else now
        self.used = self._count(self._newest) if self.epochs else 0
        if self.epochs:
            add_read(self.reads, (self.last_read - self._newest.began) * TICK_NS)

    def seen(self, number: int, now: int) -> None:
        """Take that somebody else found a page young, and clears it."""
        page = self.pages.get(number)
        if page is not None and page.armed:
            if now >= self.last_read:
                self._count_return(page, now)
            self._use(page, self._found(now))
            self.used += 1

    def arm(self, states: Sequence[int], now: int) -> None:
        """Begin an epoch: all that was young has been cleared just now, which left `states`."""
        if not self.epochs:
            self.first = now
        else:
            settled = 2 + self.used // 10
            left = self._count(self.epochs[1]) if len(self.epochs) > 1 else 0
            self.calm = min(self.calm + 1, _CALMEST) if left + self.fresh <= settled else 0
        self._begin(now, now)
        for number, page in self.pages.items():
            if page.unseen and states[number] == PageState.OLD:
                # It can be cleared after all; it may have been used until now.
                page.used = self.epochs[1] if len(self.epochs) > 1 else None
                page.unseen, page.perhaps = False, page.used is not None
            page.armed = not page.unseen
        self.last_read, self.used = now, 0

    def due(self, now: int) -> bool:
        """Tell whether a clear is worth its cost at a turn: of what was used, or is not seen."""
        passed = (now - self._newest.began) * TICK_NS if self.epochs else 0
        unseen = any(page.unseen for page in self.pages.values())
        # Turns are not on the second.
        return (bool(self.used) and passed >= (_SHORTEST_EPOCH_NS << self.calm) // 4 * 3) or (
            unseen and passed >= _RETRY_UNSEEN_NS
        )

    def age(self, number: int) -> Age | None:
        """Return what is known of a page at the last read; None if it is not there."""
        page, now = self.pages.get(number), self.last_read
        if page is None:
            return None
        if page.unseen or not self.epochs:
            return Age()
        if page.used is None:
            idle = (now - self.first) * TICK_NS
            return Age(high=idle + 1, idle=idle)
        if page.perhaps and page.used is self._newest:
            return Age()
        place = self.epochs.index(page.used)
        span, ended = self._span(place), self._ended(place)
        if page.perhaps:
            return Age(high=ended + 1, idle=ended)
        if place > 1:
            return Age(ended + span, ended + span, ended + 1, ended, ended)
        use = first_use(page.found, self._reads(place), span)
        sudden = self._is_of_a_burst(page)
        # When that was seen. Again and again: likely within windows like that from the clear.
        low, best = ended + use.end, ended + use.likely
        since = ended + (use.begin if use.likely == use.end else use.likely)
        if sudden:
            best, since = ended + span - use.begin, ended + span - use.end
        low = max(low, ended + span - use.begin)
        return Age(low, best, ended + 1, since, ended)

    def _ended(self, place: int) -> int:
        """Return how long before the last read an epoch was over."""
        return (self.last_read - self.epochs[place - 1].began) * TICK_NS if place else 0

    def _span(self, place: int) -> int:
        """Return how long an epoch lasted, up to the last read."""
        return (self.last_read - self.epochs[place].began) * TICK_NS - self._ended(place)

    def _reads(self, place: int) -> Reads:
        return self.reads_before if place else self.reads

    def _is_of_a_burst(self, page: Page) -> bool:
        """Tell whether a page of the two newest epochs was used of a sudden, with others."""
        alike = (
            other
            for other in self.pages.values()
            if other.used is page.used and other.again is page.again and not other.perhaps
        )
        counts = Counter(other.found for other in alike)
        place = self.epochs.index(page.used) if page.used is not None else 0
        reads, span = self._reads(place), self._span(place)
        if page.again:
            return page.found in _sudden_classes(counts, reads, span)
        return _is_sudden(counts, reads, span)

    @property
    def _newest(self) -> Epoch:
        return self.epochs[0]

    def _found(self, now: int) -> int:
        """Return the class of a use that is seen now."""
        if not self.epochs:
            return 0
        passed = (max(now, self.last_read) - self._newest.began) * TICK_NS
        return class_among(self.reads, passed)

    def _came(self, found: int, *, moved: bool) -> Page:
        return Page(self._newest, found, perhaps=moved) if self.epochs else Page()

    def _count_return(self, page: Page, now: int) -> None:
        """Count a page that is used now, at some time since the last read."""
        since = self.first
        if page.used is not None:
            since = self.epochs[self.epochs.index(page.used) - 1].began
        ns = sum(ticks * TICK_NS // 2 for ticks in (self.last_read - since, now - since))
        if ages := sum(age <= ns for age in WINDOWS_NS):
            self.returned[ages] += 1

    def _use(self, page: Page, found: int) -> None:
        again = page.used is not None and self._is_just_before(self.epochs.index(page.used))
        self.fresh += not again
        # Of what was before the first epoch nobody knows.
        page.again = again or len(self.epochs) < 2
        page.used, page.found = self._newest, found
        page.armed = page.perhaps = False

    def _is_just_before(self, place: int) -> bool:
        """Tell whether an epoch was over when this one began, or too shortly before to tell."""
        over = self.epochs[place - 1].began if place else self._newest.began
        return place > 0 and (self._newest.began - over) * TICK_NS < _SHORTEST_EPOCH_NS // 2

    def _count(self, epoch: Epoch) -> int:
        return sum(page.used is epoch for page in self.pages.values())

    def _may_turn(self, turn: Turn | None) -> bool:
        """Tell whether an epoch may begin with a turn: it was seen, and nothing used before it."""
        return (
            turn is not None
            and bool(self.epochs)
            and not self.used
            and self._newest.began < turn.began <= self.last_read
        )

    def _begin(self, began: int, now: int) -> None:
        if len(self.epochs) == MOST_EPOCHS:
            self._join(now)
        self.epochs.insert(0, Epoch(began))
        self.reads_before, self.reads, self.fresh = self.reads, {}, 0

    def _join(self, now: int) -> None:
        """Join two epochs, where the ends stay nearest to each other: they grow like powers."""
        began = [epoch.began for epoch in self.epochs]

        def lost(at: int) -> float:
            return float(now - began[at + 1] + 1) / (now - began[at - 1] + 1)

        at = min(range(1, len(began) - 1), key=lost)
        gone, older = self.epochs.pop(at), self.epochs[at]
        for page in self.pages.values():
            if page.used is gone:
                page.used = older
