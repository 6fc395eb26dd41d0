"""
How well snapshots match what a workload really did.

The truth is a list of phases, each with its hot address ranges; an estimate is a snapshot. All
comparisons are by bytes, as if page by page over the same addresses.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isotherm.model.ranges import Range, intersect, total, union
from isotherm.model.snapshot import Region, Snapshot

#: A region is called hot from this share of the highest possible nr_accesses on.
CALLED_HOT_SHARE = 0.2
#: An F1 above this means that the hot memory was found.
FOUND_F1 = 0.9


@dataclass(frozen=True, slots=True)
class HotPhase:
    """Time [start_ns, end_ns) (time of day) in which exactly the addresses of `hot` are used."""

    start_ns: int
    end_ns: int
    hot: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """
    What a workload does, phase after phase.

    areas: the addresses that the truth is about; estimates outside them are not judged.
    """

    phases: tuple[HotPhase, ...]
    areas: tuple[Range, ...]

    def phase_of(self, snapshot: Snapshot) -> int | None:
        """Index of the phase that the snapshot's window lies in wholly, or None."""
        for index, phase in enumerate(self.phases):
            if phase.start_ns <= snapshot.start_ns and snapshot.end_ns <= phase.end_ns:
                return index
        return None


@dataclass(frozen=True, slots=True)
class Score:
    """
    One estimate against the truth, in bytes.

    predicted: bytes called hot; hot: bytes that are; both: their overlap; top: hot bytes among
    the `hot` bytes of highest rate, or nr_accesses.
    """

    predicted: int
    hot: int
    both: int
    top: float

    @property
    def precision(self) -> float | None:
        """Share of the predicted bytes that are hot; None if nothing is predicted."""
        return self.both / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the hot bytes that are predicted; None if nothing is hot."""
        return self.both / self.hot if self.hot else None

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if nothing is hot and nothing predicted."""
        total = self.predicted + self.hot
        return 2 * self.both / total if total else 1.0

    @property
    def recall_at_k(self) -> float | None:
        """R@k, k = the hot bytes: no threshold takes part; None if nothing is hot."""
        return self.top / self.hot if self.hot else None

    @property
    def working_set_ratio(self) -> float | None:
        """Predicted over hot bytes; None if nothing is hot."""
        return self.predicted / self.hot if self.hot else None


def predicted(
    snapshot: Snapshot, *, hot_share: float = CALLED_HOT_SHARE, target: int = 0
) -> tuple[Range, ...]:
    """Ranges of regions with nr_accesses of at least `hot_share` of the possible, and above 0."""
    floor = max(1.0, hot_share * snapshot.max_nr_accesses)
    return union(
        (region.start, region.end)
        for region in snapshot.regions
        if region.target == target
        and region.nr_accesses is not None
        and region.nr_accesses >= floor
    )


def _top(regions: Iterable[Region], hot: Sequence[Range], areas: Sequence[Range]) -> float:
    """
    Hot bytes among the `total(hot)` bytes of highest rate, or nr_accesses where no rate is told.

    Regions of equal rank at the cut give their expected share, as if taken byte by byte in random
    order; regions without accesses are no prediction and are never taken.
    """
    ranks: dict[float, list[Range]] = {}
    for region in regions:
        rank = region.nr_accesses if region.rate is None else region.rate
        if region.nr_accesses is not None and rank:
            ranks.setdefault(rank, []).append(Range(region.start, region.end))
    left, found = total(hot), 0.0
    for count in sorted(ranks, reverse=True):
        inside = intersect(union(ranks[count]), areas)
        size = total(inside)
        if not size:
            continue
        taken = min(size, left)
        found += total(intersect(inside, hot)) * taken / size
        left -= taken
        if not left:
            break
    return found


def score(
    snapshot: Snapshot,
    hot: Iterable[Range],
    areas: Iterable[Range],
    *,
    hot_share: float = CALLED_HOT_SHARE,
    target: int = 0,
) -> Score:
    """
    Compare one snapshot with the ranges that are hot, within `areas` only.

    `target` is the index into `snapshot.targets` of the process that the truth speaks of.
    """
    inside = union(areas)
    truth = intersect(union(hot), inside)
    claimed = intersect(predicted(snapshot, hot_share=hot_share, target=target), inside)
    regions = (region for region in snapshot.regions if region.target == target)
    return Score(
        predicted=total(claimed),
        hot=total(truth),
        both=total(intersect(claimed, truth)),
        top=_top(regions, truth, inside),
    )


@dataclass(frozen=True, slots=True)
class PhaseScore:
    """
    All windows of one phase.

    found_ns: from the phase's start to the end of the first window with F1 > `FOUND_F1`, None if
    there is none; settled: the scores of the windows after the settling time.
    """

    phase: int
    found_ns: int | None
    settled: tuple[Score, ...]


def judge(
    snapshots: Iterable[Snapshot],
    truth: Truth,
    *,
    settle: float = 0.25,
    hot_share: float = CALLED_HOT_SHARE,
    target: int = 0,
) -> list[PhaseScore]:
    """
    Score every snapshot that lies in one phase; windows across a change are not judged.

    settle: share of each phase, from its start, that does not count for `PhaseScore.settled`.
    """
    scored: list[list[tuple[int, Score]]] = [[] for _ in truth.phases]
    for snapshot in snapshots:
        index = truth.phase_of(snapshot)
        if index is not None:
            phase = truth.phases[index]
            judged = score(snapshot, phase.hot, truth.areas, hot_share=hot_share, target=target)
            scored[index].append((snapshot.end_ns - phase.start_ns, judged))
    results = []
    for index, (phase, rows) in enumerate(zip(truth.phases, scored, strict=True)):
        settled_ns = settle * (phase.end_ns - phase.start_ns)
        found = next((at_ns for at_ns, judged in rows if judged.f1 > FOUND_F1), None)
        settled = tuple(judged for at_ns, judged in rows if at_ns > settled_ns)
        results.append(PhaseScore(index, found, settled))
    return results


@dataclass(frozen=True, slots=True)
class Summary:
    """
    A whole run: means over the settled windows of all phases, None where nothing was scored.

    first_found_ns: as `PhaseScore.found_ns` of the first phase; refound_ns: of each later one.
    """

    windows: int
    f1: float | None
    f1_worst: float | None
    recall_at_k: float | None
    working_set_ratio: float | None
    first_found_ns: int | None
    refound_ns: tuple[int | None, ...]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def summarize(phases: Sequence[PhaseScore]) -> Summary:
    """Condense the result of `judge`."""
    scores = [judged for phase in phases for judged in phase.settled]
    return Summary(
        windows=len(scores),
        f1=_mean(judged.f1 for judged in scores),
        f1_worst=min((judged.f1 for judged in scores), default=None),
        recall_at_k=_mean(judged.recall_at_k for judged in scores),
        working_set_ratio=_mean(judged.working_set_ratio for judged in scores),
        first_found_ns=phases[0].found_ns if phases else None,
        refound_ns=tuple(phase.found_ns for phase in phases[1:]),
    )
