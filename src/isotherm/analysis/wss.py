"""Working set size: how many bytes were accessed in each window, and how that is distributed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import sub

from isotherm.errors import BadValueError
from isotherm.model.snapshot import Snapshot, is_blind
from isotherm.recording.blocks import Rows


@dataclass(frozen=True, slots=True)
class WorkingSets:
    """
    Working set sizes, one for each window with at least one region.

    times_ns: when the window began; sizes: bytes; weights: length of the window in ns;
    unobservable: bytes that could not be observed in the window, part of no size.
    """

    times_ns: tuple[int, ...]
    sizes: tuple[int, ...]
    weights: tuple[int, ...]
    unobservable: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    def percentiles(self, *percents: float) -> tuple[int, ...]:
        """
        Return for each percent the size that was not exceeded in that share of the time.

        Nearest rank, so that 0 is the smallest and 100 the largest size that was measured.
        Raises `BadValueError` for percents outside 0..100 and when there was no window.
        """
        if not self.sizes:
            raise BadValueError("the recording holds no regions, so it has no working set")
        if any(not 0 <= percent <= 100 for percent in percents):
            raise BadValueError(f"percentiles lie in 0..100, not {percents}")
        ranked = sorted(zip(self.sizes, self.weights, strict=True))
        total = sum(self.weights)
        return tuple(_at_rank(ranked, total * percent / 100) for percent in percents)

    def alike(self) -> WorkingSets:
        """
        Return those windows that are about equally long, within a tenth.

        Of all lengths the one that most of the time was spent in: sizes of windows of other
        lengths cannot be compared.
        """
        lengths = sorted(self.weights)
        best, least, begin, time_ns = 0, 0, 0, 0
        for length in lengths:
            time_ns += length
            while 10 * length > 11 * lengths[begin]:
                time_ns -= lengths[begin]
                begin += 1
            if time_ns > best:
                best, least = time_ns, lengths[begin]
        chosen = [10 * length <= 11 * least and length >= least for length in self.weights]
        columns = (self.times_ns, self.sizes, self.weights, self.unobservable)
        return WorkingSets(*(tuple(compress(column, chosen)) for column in columns))

    @property
    def mean(self) -> float:
        """The mean over time, in bytes; 0.0 without windows."""
        total = sum(self.weights)
        products = (s * w for s, w in zip(self.sizes, self.weights, strict=True))
        return sum(products) / total if total else 0.0


def _at_rank(ranked: Sequence[tuple[int, int]], rank: float) -> int:
    passed = 0
    for size, weight in ranked:
        passed += weight
        if passed >= rank:
            return size
    return ranked[-1][0]


def working_set(snapshot: Snapshot, min_access_percent: float = 0) -> int:
    """
    Return the bytes accessed in this window, without what could not be observed.

    A region counts when it was accessed at all, and in at least `min_access_percent` of the
    window's samples; where regions are whole mappings, with the share of it that was used, and
    where their rate is known with as much of it as that makes expect.
    """
    least = max(1.0, snapshot.max_nr_accesses * min_access_percent / 100)
    columns = snapshot.columns
    if columns.rate is not None:
        counts = repeat(least) if least == 1 else columns.nr_accesses
        expected = zip(snapshot.expected_bytes(), counts, strict=False)
        return sum(size for size, count in expected if count >= least)
    if least == 1 and not any(columns.unobservable) and not snapshot.shares:
        return sum(compress(map(sub, columns.end, columns.start), columns.nr_accesses))
    total = 0
    for start, end, count, unseen in zip(
        columns.start, columns.end, columns.nr_accesses, columns.unobservable, strict=True
    ):
        if count >= least and not is_blind(end - start, unseen):
            total += snapshot.used_bytes(end - start - unseen, count)
    return total


class WssCollector:
    """Gathers working sets snapshot by snapshot, in memory that does not depend on regions."""

    def __init__(self, min_access_percent: float = 0) -> None:
        if not 0 <= min_access_percent <= 100:
            raise BadValueError(f"an access rate of {min_access_percent}% is impossible")
        self._least = min_access_percent
        self._rows: list[tuple[int, int, int, int]] = []

    def add(self, snapshot: Snapshot) -> None:
        if len(snapshot.columns):
            self._rows.append(
                (
                    snapshot.start_ns,
                    working_set(snapshot, self._least),
                    max(1, snapshot.end_ns - snapshot.start_ns),
                    snapshot.unobservable_bytes,
                )
            )

    def add_rows(self, rows: Rows) -> None:
        """Add windows of a block."""
        try:
            used, unseen = rows.used(self._least)
        except OverflowError:
            for snapshot in rows:
                self.add(snapshot)
            return
        known = sum(gap.size for gap in rows.unobservable)
        columns = (rows.counts(), rows.numbers("start"), rows.numbers("end"), used, unseen)
        self._rows.extend(
            (start, size, max(1, end - start), known + blind)
            for count, start, end, size, blind in zip(*columns, strict=True)
            if count
        )

    def result(self) -> WorkingSets:
        if not self._rows:
            return WorkingSets((), (), (), ())
        return WorkingSets(*(tuple(column) for column in zip(*self._rows, strict=True)))


def working_sets(
    snapshots: Iterable[Snapshot | Rows], min_access_percent: float = 0
) -> WorkingSets:
    """
    Return the working set of every window that has regions.

    Raises `BadValueError` when `min_access_percent` is outside 0..100.
    """
    collector = WssCollector(min_access_percent)
    for part in snapshots:
        if isinstance(part, Snapshot):
            collector.add(part)
        else:
            collector.add_rows(part)
    return collector.result()
