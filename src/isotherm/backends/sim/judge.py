"""What was said of a simulated machine, beside what it really did."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from isotherm.backends.sim.charged import ChargedLook
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Columns, Snapshot

#: So much of the hot memory means that it was found.
FOUND = 0.8
_SECOND = 1_000_000_000
#: Above every address.
_BEYOND = 1 << 56


@dataclass(frozen=True, slots=True)
class Judged:
    """
    A window beside the truth of the same time.

    since_ns, until_ns: of simulated time; hot: bytes that really are; found: of them what the
    regions of highest rank hold, as many bytes as are hot; used: bytes that were used in the
    window, as expected; said: bytes that its regions call used.
    """

    since_ns: int
    until_ns: int
    hot: float
    found: float
    used: float
    said: int

    @property
    def found_share(self) -> float | None:
        """R@k, where k is what is hot: no threshold takes part; None if nothing is hot."""
        return min(1.0, self.found / self.hot) if self.hot else None


@dataclass(frozen=True, slots=True)
class JudgedUse:
    """Bytes used within the last `window_ns` by a map of pages: what it said, and the truth."""

    at_ns: int
    window_ns: int
    low: int
    best: int
    high: int
    uncovered: int
    used: float


def _truth(
    look: ChargedLook, words: array[int], since_ns: int, until_ns: int
) -> tuple[array[float], array[float]]:
    """Hot and used bytes of ranges (process, start, end)."""
    found = look.world.truth(words, since_ns, until_ns, look.workload.hot_rate)
    return found[::3], found[1::3]


def judge(look: ChargedLook, snapshot: Snapshot) -> Judged:
    """Compare a window of `look` with the truth; right after it ended, at any time later."""
    until_ns = snapshot.monotonic_ns or 0
    since_ns = max(0, until_ns - max(1, snapshot.end_ns - snapshot.start_ns))
    columns = snapshot.columns
    everything = array("Q")
    for process in range(look.workload.processes):
        everything.extend((process, 0, _BEYOND))
    all_hot, all_used = _truth(look, everything, since_ns, until_ns)
    words = array("Q", bytes(24 * len(columns)))
    words[::3] = array("Q", [snapshot.targets[target].id for target in columns.target])
    words[1::3], words[2::3] = columns.start, columns.end
    hot, _ = _truth(look, words, since_ns, until_ns)
    sizes = [end - start for start, end in zip(columns.start, columns.end, strict=True)]
    k = sum(all_hot)
    found = _among_the_first(_ranks(columns), sizes, hot, k)
    return Judged(since_ns, until_ns, k, found, sum(all_used), snapshot.working_set_bytes)


def _ranks(columns: Columns) -> Sequence[float]:
    """How hot regions are called; finer than nr_accesses where the policy tells rates."""
    rate: Sequence[float] | None = getattr(columns, "rate", None)
    return columns.nr_accesses if rate is None else rate


def _among_the_first(
    ranks: Sequence[float], sizes: Sequence[int], hot: Sequence[float], k: float
) -> float:
    """
    Hot bytes among the k bytes of highest rank.

    Equals at the cut give their expected share; what was not accessed is no prediction.
    """
    groups: dict[float, list[float]] = {}
    for rank, nbytes, own in zip(ranks, sizes, hot, strict=True):
        if rank > 0:
            group = groups.setdefault(rank, [0.0, 0.0])
            group[0] += nbytes
            group[1] += own
    left, found = k, 0.0
    for rank in sorted(groups, reverse=True):
        size, inside = groups[rank]
        taken = min(size, left)
        found += inside * taken / size
        left -= taken
        if left <= 0:
            break
    return found


def judge_use(
    look: ChargedLook, use: PageUse | None, window_ns: int = _SECOND
) -> JudgedUse | None:
    """Compare what a map of pages says was used within a time; None while it is younger."""
    if use is None or window_ns not in use.windows_ns:
        return None
    place = use.windows_ns.index(window_ns)
    # Shared memory is counted once, where it is first.
    words = array("Q")
    for area in look.workload.areas:
        if area.shows is None and not area.hidden:
            words.extend((area.process, area.start, area.end))
    _, used = _truth(look, words, use.monotonic_ns - window_ns, use.monotonic_ns)
    return JudgedUse(
        at_ns=use.monotonic_ns,
        window_ns=window_ns,
        low=sum(row.used_low[place] for row in use.rows),
        best=sum(row.used[place] for row in use.rows),
        high=sum(row.used_high[place] for row in use.rows),
        uncovered=use.uncovered,
        used=_once(words, used),
    )


def _once(words: array[int], used: Sequence[float]) -> float:
    """Sum up; areas at the same addresses, one after the other, are told together."""
    seen: dict[tuple[int, int, int], float] = {}
    for i, value in enumerate(used):
        seen[words[3 * i], words[3 * i + 1], words[3 * i + 2]] = value
    return sum(seen.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    A whole run, over the windows of its second half unless it says otherwise.

    found, found_worst: mean and least R@k; first_s: when R@k was 0.8 for the first time; again_s:
    how long that took after each change of what is hot, None where the next one came before;
    working_set: median of what regions call used over what was used in the windows; page_use: the
    last word of a map of pages; cpu_share, cpu_first_share: CPU time by the model, as a share of
    one CPU, from 5 s on and before; clears_per_s: bits cleared; missed: samples left out.
    """

    windows: int
    seconds: float
    found: float | None
    found_worst: float | None
    first_s: float | None
    again_s: tuple[float | None, ...]
    working_set: float | None
    page_use: JudgedUse | None
    cpu_share: float
    cpu_first_share: float
    clears_per_s: float
    missed: int


#: What the first look at all memory costs is another question than what goes on costing.
_SETTLED_NS = 5 * _SECOND


class Judge:
    """Takes the snapshots of a run, one by one, as a sink does; `verdict` at the end."""

    def __init__(self, look: ChargedLook) -> None:
        self._look = look
        self._windows: list[Judged] = []
        self._use: JudgedUse | None = None
        self._cpu: list[tuple[int, int]] = [(look.clock.now_ns(), look.clock.cpu_ns())]
        self._missed = 0

    def take(self, snapshot: Snapshot) -> Judged | None:
        """Judge a window; None for what is no window."""
        self._cpu.append((self._look.clock.now_ns(), self._look.clock.cpu_ns()))
        self._missed += snapshot.cost.missed
        if snapshot.page_use is not None:
            self._use = judge_use(self._look, snapshot.page_use) or self._use
        if not len(snapshot.columns):
            return None
        judged = judge(self._look, snapshot)
        self._windows.append(judged)
        return judged

    def verdict(self) -> Verdict:
        """Return what came of it."""
        began, ended = self._cpu[0], self._cpu[-1]
        middle = (began[0] + ended[0]) // 2
        settled = next((one for one in self._cpu if one[0] >= _SETTLED_NS), ended)
        late = [one for one in self._windows if one.since_ns >= middle]
        shares = [one.found_share for one in late if one.found_share is not None]
        ratios = [one.said / one.used for one in late if one.used > 0]
        seconds = max(1, ended[0] - began[0]) / _SECOND
        return Verdict(
            windows=len(self._windows),
            seconds=seconds,
            found=statistics.fmean(shares) if shares else None,
            found_worst=min(shares, default=None),
            first_s=self._found_after(0, ended[0]),
            again_s=tuple(self._again(ended[0])),
            working_set=statistics.median(ratios) if ratios else None,
            page_use=self._use,
            cpu_share=_share(settled, ended) if settled[0] < ended[0] else _share(began, ended),
            cpu_first_share=_share(began, settled),
            clears_per_s=self._look.world.stats()["clears"] / seconds,
            missed=self._missed,
        )

    def _again(self, ended_ns: int) -> Iterable[float | None]:
        changes = [at for at in self._look.workload.changes_ns if at < ended_ns]
        for at, following in pairwise([*changes, ended_ns]):
            yield self._found_after(at, following)

    def _found_after(self, at_ns: int, before_ns: int) -> float | None:
        for one in self._windows:
            if one.since_ns >= at_ns and one.until_ns <= before_ns:
                share = one.found_share
                if share is not None and share >= FOUND:
                    return (one.until_ns - at_ns) / _SECOND
        return None


def _share(began: tuple[int, int], ended: tuple[int, int]) -> float:
    return (ended[1] - began[1]) / max(1, ended[0] - began[0])
