"""
A map of pages from smaps alone: of each mapping how much was used within which time, not which.

It looks at the epochs that the regions' windows are made of, and adds reads where a length of the
scale is over. Within an epoch all is as the kernel counts it. A time that no epoch was long enough
for lies over several of them: at least what the one that used most of them did, at most all that
they used together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate

from isotherm.backends.clear_refs.epochs import LENGTHS_NS, Epochs, Uses, Watch
from isotherm.backends.clear_refs.usage import Key, Use
from isotherm.core.look import TargetRanges
from isotherm.model.page_use import PageUse, UseRow

#: A sum is new after so long, though no length of the scale was over.
_STALE_NS = 10_000_000_000
#: A read so long ago is as good as one now.
_FRESH_NS = 200_000_000
#: So late at most a read is after its time.
_MOMENT_NS = 100_000_000
#: More than any memory.
_UNKNOWN = 1 << 62


class SmapsMap:
    """A `core.page_map.PageMap` over the epochs of a look, which stays the caller's."""

    def __init__(self, epochs: Epochs) -> None:
        self._epochs = epochs
        self._told: tuple[int, int] = (0, 0)

    def update(self, targets: Sequence[TargetRanges]) -> None:
        """Nothing: the look has told the epochs already."""

    def step(self) -> int:
        if self._epochs.due_ns() <= time.monotonic_ns():
            self._epochs.read()
        # A window may begin an epoch meanwhile, whose first second is to be told as well.
        return min(self._epochs.due_ns(), time.monotonic_ns() + _MOMENT_NS)

    def spent_ns(self) -> int:
        return 0

    def set_limit(self, share: float) -> None:
        """Nothing: reads are of whole processes."""
        del share

    def covered(self) -> bool:
        return all(watch.uses or watch.past for watch in self._epochs.watches.values())

    def begins(self) -> bool:
        return not self.covered()

    def take(self) -> PageUse | None:
        watches = self._epochs.watches.values()
        marks = sum(len(watch.marks) + len(watch.past) for watch in watches)
        now_ns = time.monotonic_ns()
        if marks == self._told[0] and now_ns - self._told[1] < _STALE_NS:
            return None
        self._told = marks, now_ns
        return self.sum_known()

    def sum(self) -> PageUse:
        read_ns = max((watch.read_ns for watch in self._epochs.watches.values()), default=0)
        if time.monotonic_ns() - read_ns > _FRESH_NS or not self.covered():
            self._epochs.read()
        return self.sum_known()

    def executed(self) -> AbstractSet[int]:
        """Nobody: what smaps tells is of the program that runs."""
        return frozenset()

    def close(self) -> None:
        """Nothing is held."""

    def sum_known(self) -> PageUse:
        """Return what the last reads told."""
        watches = list(self._epochs.watches.values())
        now_ns = max((watch.read_ns for watch in watches), default=time.monotonic_ns())
        first_ns = min((watch.first_ns for watch in watches), default=now_ns)
        watched_ns = max(1, now_ns - first_ns)  # no length of time is 0
        lengths = (*(each for each in LENGTHS_NS if each < watched_ns), watched_ns)
        rows = [
            _row(index, key, watch, lengths)
            for index, watch in enumerate(watches)
            for key, use in watch.uses.items()
            if use.resident
        ]
        return PageUse(
            monotonic_ns=now_ns,
            watched_ns=watched_ns,
            windows_ns=lengths,
            rows=tuple(rows),
            exact=False,
            shared_by="clear-refs",
            held_ns=self._epochs.held_ns,
        )


def _row(index: int, key: Key, watch: Watch, lengths: Sequence[int]) -> UseRow:
    now = watch.uses[key]
    within = [_within(watch, key, length) for length in lengths]
    since = [_since(watch, key, length) for length in lengths]
    seen = now.resident - now.unseen
    idle = [max(0, seen - high) for high, _ in since]
    return UseRow(
        target=index,
        what=key[0],
        kind=key[1],
        node=None,
        resident=now.resident,
        unseen=now.unseen,
        uncovered=0,
        used_low=_rising(min(seen, low) for low, _, _ in within),
        used=_rising(min(seen, used) for _, used, _ in within),
        used_high=_rising(min(seen, high) + now.unseen for _, _, high in within),
        idle=_falling(idle),
        idle_own=_falling(
            min(all_, max(0, now.own_idle - before))
            for all_, (_, before) in zip(idle, since, strict=True)
        ),
    )


def _within(watch: Watch, key: Key, length: int) -> tuple[int, int, int]:
    """Return what was used in the newest window of a length: at least, by estimate, at most."""
    lived, age = watch.read_ns - watch.first_ns, watch.read_ns - watch.began_ns
    length = min(length, lived)
    nothing = Use()
    if length == age:
        use = watch.uses.get(key, nothing)
        return use.low, use.used, use.high
    if length in watch.marks:
        before, after = (uses.get(key, nothing) for uses in watch.marks[length])
        return before.low, max(before.used, min(after.used, _estimate(before, after))), after.high
    epochs = list(_epochs_of(watch, length))
    inside = [
        use
        for began_ns, uses in epochs
        if began_ns >= watch.read_ns - length
        for use in (uses.get(key, nothing),)
    ]
    uses = [uses.get(key, nothing) for _, uses in epochs]
    return (
        max((use.low for use in inside), default=0),
        max(use.used for use in uses),
        sum(use.high for use in uses) if _reaches(watch, length) else _UNKNOWN,
    )


def _estimate(before: Use, after: Use) -> int:
    return (before.used + after.used) // 2


def _since(watch: Watch, key: Key, length: int) -> tuple[int, int]:
    """
    Return what was used at most in the time up to now, and how much of that in ended epochs.

    The latter counts pages as a whole. The time is at least `length`, in whole epochs.
    """
    if watch.read_ns - watch.first_ns < length or not _reaches(watch, length):
        return _UNKNOWN, _UNKNOWN
    over = [uses.get(key, Use()) for _, uses in _epochs_of(watch, length)]
    return sum(use.high for use in over), sum(use.referenced for use in over[1:])


def _epochs_of(watch: Watch, length: int) -> Iterator[tuple[int, Uses]]:
    """Yield begin and uses of the epochs of the time up to now, the running one first."""
    begin_ns = watch.read_ns - length
    yield watch.began_ns, watch.uses
    if watch.began_ns <= begin_ns:
        return
    for began_ns, _, uses in reversed(watch.past):
        yield began_ns, uses
        if began_ns <= begin_ns:
            return


def _reaches(watch: Watch, length: int) -> bool:
    """Tell whether what is known goes back for so long, or to the beginning."""
    oldest_ns = watch.past[0][0] if watch.past else watch.began_ns
    return oldest_ns <= max(watch.first_ns, watch.read_ns - length)


def _rising(values: Iterator[int]) -> tuple[int, ...]:
    """A longer time has seen no less than a shorter one."""
    return tuple(accumulate(values, max))


def _falling(values: Iterator[int] | Sequence[int]) -> tuple[int, ...]:
    return tuple(accumulate(values, min))
