"""Memory that a program took, used and gave back since: it is in no page table any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeVar

from isotherm.core.look import TargetRanges
from isotherm.kernel.huge_faults import HUGE, HugeFaults
from isotherm.kernel.memory_counts import MemoryCounts, memory_counts
from isotherm.model.page_use import WINDOWS_NS, UseRow
from isotherm.model.ranges import PAGE

#: A share of the CPU time that is there for looking, with what waking up for it costs; and how
#: often that is.
_SHARE = 0.05
_WAKING_NS = 30_000
_OFTEN_NS = 100_000_000
_AT_ONCE = 64
_NEVER_NS = 1 << 62
#: Less than that is within what the kernel's counts are off by.
_LEAST = 1 << 20
#: What is counted by CPU, 64 pages at a time, is added up later.
_OFF = 64 * PAGE
#: The same of memory that is there, of files, of none and shared, with more CPUs than two.
_UNSURE = max(_LEAST, 3 * (os.cpu_count() or 1) * max(32, 2 * (os.cpu_count() or 1)) * PAGE)
#: A page of a file is mapped with as many others that are in memory, up to this size.
_AROUND = 64 << 10
#: Looks are joined to spans that are no longer than this part of the time since.
_ALIKE = 4
#: Of so many that ended each is remembered by itself.
_MOST_ENDED = 64


class Freed(NamedTuple):
    """
    Bytes used within each of some lengths of time, and freed since.

    used: faulted in meanwhile and seen in memory at one time, or seen to be used and missed since.
    high: what was in memory meanwhile, whenever it came, and is not any more; or may have been
    between two looks, by what was faulted in, as far as there ever was more in memory.
    """

    used: tuple[int, ...]
    high: tuple[int, ...]


class _Span(NamedTuple):
    """
    Between two looks, or joined ones. Bytes faulted in; by how much it grew; the most there were,
    as was seen; the most there may have been; what children faulted in that ended.
    """

    begin_ns: int
    end_ns: int
    faulted: int
    grown: int
    most: int
    may: int
    children: int


class _Gone(NamedTuple):
    """What was missed at a look, in bytes by how long before it was used: by `WINDOWS_NS`."""

    begin_ns: int
    end_ns: int
    sizes: tuple[int, ...]


S = TypeVar("S", _Span, _Gone)


class _Ended(NamedTuple):
    """
    A process that ended: when it was there, what it used by windows that end with it, the most it
    ever had, and what it faulted in.
    """

    begin_ns: int
    end_ns: int
    windows_ns: tuple[int, ...]
    used: tuple[int, ...]
    high: int
    own: int


class _Known:
    """A process. fresh: it came while others were watched, and took what it has meanwhile."""

    def __init__(self, *, fresh: bool) -> None:
        self.fresh = fresh
        self.spans: list[_Span] = []
        self.gone: list[_Gone] = []
        self.last: MemoryCounts | None = None
        self.begin_ns = self.last_ns = 0
        self.huge: int | None = None
        #: Bytes that it faulted in since it began, as far as is known.
        self.own = 0
        self.children = False
        #: What it used, once it is known to have ended.
        self.left: list[_Ended] = []

    def take(self, now_ns: int, counts: MemoryCounts, huge: int | None) -> None:
        """Take a look. huge: bytes that came as large pages on the machine, None: not known."""
        last = self.last
        if last is None:
            self.begin_ns, self.own = now_ns, counts.faulted
        elif now_ns > self.last_ns:
            faults = max(0, counts.faulted - last.faulted) // PAGE
            most = (huge or 0) - (self.huge or 0)
            known = huge is not None and self.huge is not None
            large = min(faults * HUGE, most) if known else faults * HUGE
            self.children |= counts.of_children > last.of_children
            faulted = _faulted(faults * PAGE, most if known else 0)
            faults -= large // HUGE
            stay = max(0, counts.anonymous - last.anonymous - large) // PAGE
            small = min(faults, stay)
            came = large + small * PAGE + (faults - small) * _AROUND
            self.own += faulted
            self.spans.append(
                _Span(
                    self.last_ns,
                    now_ns,
                    faulted,
                    max(0, counts.total - last.total),
                    max(last.total, counts.total),
                    min(last.total + came, counts.peak + counts.swapped + _OFF),
                    _faulted(counts.of_children - last.of_children, most if known else 0),
                )
            )
            self.spans = _joined(self.spans, now_ns, _join_spans)
        self.last, self.last_ns, self.huge = counts, now_ns, huge

    def miss(self, begin_ns: int, now_ns: int, sizes: Sequence[int]) -> None:
        """Take that memory was missed that was there some time before."""
        self.gone.append(_Gone(begin_ns, now_ns, tuple(sizes)))
        self.gone = _joined(self.gone, now_ns, _join_gone)

    def freed(
        self, now_ns: int, windows_ns: Sequence[int], present: Sequence[int], mapped: int | None
    ) -> Freed:
        """present: what was used within each window and still is there; mapped: what is there."""
        most = max((max(span.most, span.may) for span in self.spans), default=0)
        total = self.last.total if self.last is not None else most
        # What was counted came since the map looked, or is small and not known to it.
        if self.last is not None and mapped is not None:
            total -= min(_UNSURE, max(0, self.last.resident - mapped))
        if most - total < _LEAST:
            return Freed((0,) * len(windows_ns), (0,) * len(windows_ns))
        used, high = [], []
        for place, window in enumerate(windows_ns):
            within = [span for span in self.spans if span.end_ns > now_ns - window]
            faulted = sum(span.faulted for span in within)
            gone = max((span.most for span in within), default=0) - total
            may = max((span.may for span in within), default=0) - total
            here, likely = present[place] if present else 0, 0
            if gone >= _LEAST:
                likely = max(faulted - here, self._missed(now_ns, window))
            used.append(_told(min(likely, gone)))
            high.append(_told(max(gone, may)))
        return Freed(tuple(used), tuple(high))

    def of_children(self, now_ns: int, window_ns: int) -> int:
        """Return how much children faulted in that ended within a window, or before."""
        if not self.children:
            return 0
        return sum(span.children for span in self.spans if span.end_ns > now_ns - window_ns)

    def _missed(self, now_ns: int, window_ns: int) -> int:
        """Return how much was missed that was used within a window, and not replaced since."""
        found, spans = 0, iter(self.spans)
        span = next(spans, None)
        for gone in self.gone:
            went_ns = (gone.begin_ns + gone.end_ns) // 2
            # What came took the place of what went before.
            while span is not None and span.end_ns <= went_ns:
                found = max(0, found - span.grown)
                span = next(spans, None)
            left_ns = window_ns - (now_ns - went_ns)
            if left_ns > 0:
                pairs = zip(WINDOWS_NS, gone.sizes, strict=True)
                found += sum(size for ns, size in pairs if ns <= left_ns)
        while span is not None:
            found = max(0, found - span.grown)
            span = next(spans, None)
        return found


def _join_spans(a: _Span, b: _Span) -> _Span:
    return _Span(
        a.begin_ns,
        b.end_ns,
        a.faulted + b.faulted,
        a.grown + b.grown,
        max(a.most, b.most),
        max(a.may, b.may),
        a.children + b.children,
    )


def _join_gone(a: _Gone, b: _Gone) -> _Gone:
    sizes = tuple(x + y for x, y in zip(a.sizes, b.sizes, strict=True))
    return _Gone(a.begin_ns, b.end_ns, sizes)


def _joined(spans: list[S], now_ns: int, join: Callable[[S, S], S]) -> list[S]:
    """Join neighbours, so that spans are the longer the longer ago they were."""
    kept: list[S] = []
    for span in spans:
        if kept and _ALIKE * (span.end_ns - kept[-1].begin_ns) <= now_ns - span.end_ns:
            kept[-1] = join(kept[-1], span)
        else:
            kept.append(span)
    return kept


def _faulted(size: int, large: int) -> int:
    """Return how many bytes came by faults. size: at 4 KiB each; large: in large ones, at most."""
    large = min(max(0, size) // PAGE * HUGE, large)
    return max(0, size) + large - large // HUGE * PAGE


def _told(size: int) -> int:
    return size if size >= _LEAST else 0


class FreedMemory:
    """
    Follows how much of targets' memory comes and goes, by looking about ten times a second.

    share: of one CPU that is there for all that is done to follow their memory; counts: what the
    kernel says of a process, None of one that is gone; huge: how many bytes came as large pages on
    the whole machine, None where that is not known.
    """

    def __init__(
        self,
        share: float,
        counts: Callable[[int], MemoryCounts | None] = memory_counts,
        huge: Callable[[], int | None] | None = None,
    ) -> None:
        self._share = share * _SHARE
        self._counts = counts
        self._huge = huge or HugeFaults()
        self._pids: list[int | None] = []
        self._known: list[_Known] = []
        self._ended: list[_Ended] = []
        self._told_ns = 0
        self._windows_ns: tuple[int, ...] = ()
        self._told: dict[int, list[tuple[int, ...]]] = {}
        self._at = 0
        self._missed_ns = 0
        self.due_ns = _NEVER_NS

    def follow(self, targets: Sequence[TargetRanges], now_ns: int = 0) -> None:
        """Take the living targets, in their order."""
        pids = [one.target.pid for one in targets]
        if pids == self._pids:
            return
        known = dict(zip(self._pids, self._known, strict=True))
        living = set(pids)
        for pid, one in known.items():
            if pid is not None and pid not in living:
                self._ended += self._ending(pid, one, now_ns)
        for _ in range(len(self._ended) - _MOST_ENDED):
            first, other, *rest = self._ended
            self._ended = [_join_ended(first, other), *rest]
        fresh = bool(self._pids)
        self._known = [known.get(pid) or _Known(fresh=fresh) for pid in pids]
        self._pids, self._at = pids, 0
        self.due_ns = 0 if any(pid is not None for pid in pids) else _NEVER_NS

    def _ending(self, pid: int | None, known: _Known, now_ns: int) -> list[_Ended]:
        """Return what a process used that ended, as far as it was known."""
        if pid is None or known.left or (last := known.last) is None:
            return known.left
        end_ns = max(now_ns, known.last_ns)
        passed_ns = end_ns - self._told_ns
        rows = self._told.get(pid, [])
        windows = tuple(ns + passed_ns for ns in self._windows_ns)
        # What it had of others' since it was forked it did not fault in.
        used = tuple(min(known.own, sum(sizes)) for sizes in zip(*rows, strict=True))
        if not rows and known.fresh:
            windows, used = (end_ns - known.begin_ns,), (min(known.own, last.anonymous),)
        peak = last.peak + last.swapped + _OFF
        return [_Ended(known.begin_ns, end_ns, windows[: len(used)], used, peak, known.own)]

    def look(self, now_ns: int) -> None:
        """Look how much there is of each, of many in turns."""
        if self.due_ns == _NEVER_NS:
            return
        began_ns = time.thread_time_ns()
        upto = self._at + _AT_ONCE
        huge = self._huge()
        for pid, known in list(zip(self._pids, self._known, strict=True))[self._at : upto]:
            counts = None if pid is None else self._counts(pid)
            if counts is not None:
                known.take(now_ns, counts, huge)
        self._at = upto if upto < len(self._pids) else 0
        cost_ns = time.thread_time_ns() - began_ns + _WAKING_NS
        rest_ns = int(cost_ns / self._share)
        self.due_ns = now_ns + max(_OFTEN_NS, rest_ns)

    def miss(self, now_ns: int, gone: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Take what was missed since the last call: (target, bytes) each, see `_core.PageMap`."""
        for target, sizes in gone:
            self._known[target].miss(self._missed_ns or now_ns, now_ns, sizes)
        self._missed_ns = now_ns

    def of(
        self,
        target: int,
        now_ns: int,
        windows_ns: Sequence[int],
        present: Sequence[int] = (),
        mapped: int | None = None,
    ) -> Freed:
        """
        Return what a target used and freed within each length of time.

        present: what it used within each of them that still is there; mapped: bytes that are
        there, None: as the kernel counts.
        """
        return self._known[target].freed(now_ns, windows_ns, present, mapped)

    def unknown(self, target: int, now_ns: int, mapped: int) -> int:
        """Return how much is in memory beside what is mapped where it is known, in bytes."""
        known = self._known[target]
        if known.last is None or known.last_ns != now_ns:
            return 0
        more = known.last.resident - mapped
        return more if more >= _UNSURE else 0

    def tell(self, now_ns: int, windows_ns: tuple[int, ...], rows: Sequence[UseRow]) -> None:
        """Take what is known of the use of what is there."""
        self._told_ns, self._windows_ns = now_ns, windows_ns
        self._told = {}
        for row in rows:
            pid = self._pids[row.target]
            if row.kind == "anon" and pid is not None and row.used[-1] >= _LEAST:
                self._told.setdefault(pid, []).append(row.used)

    def ended(self, now_ns: int, windows_ns: Sequence[int], present: AbstractSet[int]) -> Freed:
        """
        Return what those used that ended. present: targets that are known to have memory now.

        Likely: the most of those that were there at the same time; at most: all that they had.
        """
        used, high, ended = [], [], list(self._ended)
        for target, (pid, known) in enumerate(zip(self._pids, self._known, strict=True)):
            if target in present or known.last_ns == now_ns:
                known.left = []
            else:
                known.left = self._ending(pid, known, now_ns)
                ended += known.left
        for window in windows_ns:
            within = [one for one in ended if one.end_ns > now_ns - window]
            used.append(_told(_most_at_once(within, window, now_ns)))
            # Of children that were not known no more is known than their faults.
            children = sum(known.of_children(now_ns, window) for known in self._known)
            children -= sum(one.own for one in within)
            high.append(_told(sum(one.high for one in within) + max(0, children)))
        return Freed(tuple(used), tuple(high))


def _join_ended(a: _Ended, b: _Ended) -> _Ended:
    """As if it was one; of one after the other the larger one is what was used."""
    larger = max(a, b, key=lambda one: one.used[-1:])
    return _Ended(
        min(a.begin_ns, b.begin_ns),
        max(a.end_ns, b.end_ns),
        larger.windows_ns,
        larger.used,
        a.high + b.high,
        a.own + b.own,
    )


def _most_at_once(ended: Sequence[_Ended], window_ns: int, now_ns: int) -> int:
    changes = []
    for one in ended:
        left_ns = window_ns - (now_ns - one.end_ns)
        used = max((n for ns, n in zip(one.windows_ns, one.used, strict=True) if ns <= left_ns),
                   default=0)  # fmt: skip
        if used:
            changes += [(one.begin_ns, used), (one.end_ns, -used)]
    most = so_far = 0
    for _, change in sorted(changes):
        so_far += change
        most = max(most, so_far)
    return most
