"""Memory that a program took, used and gave back since: it is in no page table any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from isotherm.core.look import TargetRanges
from isotherm.kernel.memory_counts import MemoryCounts, memory_counts

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
_OFF = 64 * 4096
#: Looks are joined to spans that are no longer than this part of the time since.
_ALIKE = 4


class Freed(NamedTuple):
    """
    Bytes used within each of some lengths of time, and freed since.

    used: faulted in meanwhile, and seen in memory at one time; high: what was in memory meanwhile,
    of no file and whenever it came, and is not any more, and as many as were faulted in, as far as
    there ever were more in memory than now.
    """

    used: tuple[int, ...]
    high: tuple[int, ...]


class _Span(NamedTuple):
    """Between two looks, or joined ones: bytes faulted in, and the most there were, in bytes."""

    begin_ns: int
    end_ns: int
    faulted: int
    most: int


class _Known:
    def __init__(self) -> None:
        self.spans: list[_Span] = []
        self.last: MemoryCounts | None = None
        self.last_ns = 0

    def take(self, now_ns: int, counts: MemoryCounts) -> None:
        last = self.last
        if last is not None and now_ns > self.last_ns:
            faulted = max(0, counts.faulted - last.faulted)
            most = max(last.anonymous, counts.anonymous)
            self.spans.append(_Span(self.last_ns, now_ns, faulted, most))
            self._join(now_ns)
        self.last, self.last_ns = counts, now_ns

    def _join(self, now_ns: int) -> None:
        """Join neighbours, so that spans are the longer the longer ago they were."""
        kept: list[_Span] = []
        for span in self.spans:
            begin_ns, _, faulted, most = kept[-1] if kept else span
            if kept and _ALIKE * (span.end_ns - begin_ns) <= now_ns - span.end_ns:
                most = max(most, span.most)
                kept[-1] = _Span(begin_ns, span.end_ns, faulted + span.faulted, most)
            else:
                kept.append(span)
        self.spans = kept

    def freed(self, now_ns: int, windows_ns: Sequence[int]) -> Freed:
        if self.last is None:
            return Freed((0,) * len(windows_ns), (0,) * len(windows_ns))
        used, high = [], []
        for window in windows_ns:
            within = [span for span in self.spans if span.end_ns > now_ns - window]
            faulted = sum(span.faulted for span in within)
            most = max((span.most for span in within), default=0)
            gone = most - self.last.anonymous
            used.append(_told(min(faulted, gone)))
            # The kernel's peak and its present size are each off by a little.
            high.append(_told(max(gone, min(faulted, self.last.peak - self.last.resident + _OFF))))
        return Freed(tuple(used), tuple(high))


def _told(size: int) -> int:
    return size if size >= _LEAST else 0


class FreedMemory:
    """
    Follows how much of targets' memory comes and goes, by looking about ten times a second.

    share: of one CPU that is there for all that is done to follow their memory; counts: what the
    kernel says of a process, None of one that is gone.
    """

    def __init__(
        self,
        share: float,
        counts: Callable[[int], MemoryCounts | None] = memory_counts,
    ) -> None:
        self._share = share * _SHARE
        self._counts = counts
        self._pids: list[int | None] = []
        self._known: list[_Known] = []
        self._at = 0
        self.due_ns = _NEVER_NS

    def follow(self, targets: Sequence[TargetRanges]) -> None:
        """Take the living targets, in their order."""
        pids = [one.target.pid for one in targets]
        if pids == self._pids:
            return
        known = dict(zip(self._pids, self._known, strict=True))
        self._known = [known.get(pid) or _Known() for pid in pids]
        self._pids, self._at = pids, 0
        self.due_ns = 0 if any(pid is not None for pid in pids) else _NEVER_NS

    def look(self, now_ns: int) -> None:
        """Look how much there is of each, of many in turns."""
        if self.due_ns == _NEVER_NS:
            return
        began_ns = time.thread_time_ns()
        upto = self._at + _AT_ONCE
        for pid, known in list(zip(self._pids, self._known, strict=True))[self._at : upto]:
            counts = None if pid is None else self._counts(pid)
            if counts is not None:
                known.take(now_ns, counts)
        self._at = upto if upto < len(self._pids) else 0
        cost_ns = time.thread_time_ns() - began_ns + _WAKING_NS
        rest_ns = int(cost_ns / self._share)
        self.due_ns = now_ns + max(_OFTEN_NS, rest_ns)

    def of(self, target: int, now_ns: int, windows_ns: Sequence[int]) -> Freed:
        """Return what a target used and freed within each length of time."""
        return self._known[target].freed(now_ns, windows_ns)
