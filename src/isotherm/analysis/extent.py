"""Where and when a recording has data, and of whom."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import mul, sub

from isotherm.errors import BadValueError, shown
from isotherm.model.ranges import Range, total, union
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.recording.blocks import Rows

#: Targets that an error names.
_TOLD = 5


@dataclass(slots=True)
class Extent:
    """
    Where and when a recording has data: the first pass over it.

    ranges: target id -> disjoint ascending ranges that were monitored, or known to be
    unobservable, at any time; targets: id -> the target as last seen; heat: id -> byte-samples
    found accessed, to tell the busiest target.
    """

    start_ns: int = 0
    end_ns: int = 0
    ranges: dict[int, list[Range]] = field(default_factory=dict)
    targets: dict[int, Target] = field(default_factory=dict)
    heat: dict[int, float] = field(default_factory=dict)
    _last: dict[int, list[Range]] = field(default_factory=dict, repr=False)

    def add(self, snapshot: Snapshot) -> None:
        if not self.end_ns:
            self.start_ns = snapshot.start_ns
        self.start_ns = min(self.start_ns, snapshot.start_ns)
        self.end_ns = max(self.end_ns, snapshot.end_ns)
        runs: dict[int, list[Range]] = {}
        columns = snapshot.columns
        low = 0
        while low < len(columns):
            index = columns.target[low]
            high = bisect_right(columns.target, index, low)
            id_ = snapshot.targets[index].id
            start, end = columns.start[low:high], columns.end[low:high]
            runs.setdefault(id_, []).extend(_runs(start, end))
            counts: Iterable[float] = columns.nr_accesses[low:high]
            if columns.share is not None:
                most = snapshot.max_nr_accesses
                counts = (share * most for share in columns.share[low:high])
            accessed = sum(map(mul, counts, map(sub, end, start)))
            if accessed:
                self.heat[id_] = self.heat.get(id_, 0.0) + accessed
            low = high
        for known in snapshot.unobservable:
            runs.setdefault(known.target_id, []).append(Range(known.start, known.end))
        self.targets.update((target.id, target) for target in snapshot.targets)
        self._widen(runs)

    def add_rows(self, rows: Rows) -> None:
        """Add windows of a block."""
        starts, ends = rows.numbers("start"), rows.numbers("end")
        if not self.end_ns:
            self.start_ns = starts[0]
        self.start_ns = min(self.start_ns, *starts)
        self.end_ns = max(self.end_ns, *ends)
        runs, heat = rows.runs()
        for target, accessed in zip(rows.targets, heat, strict=True):
            if accessed:
                self.heat[target.id] = self.heat.get(target.id, 0.0) + accessed
        self.targets.update((target.id, target) for target in rows.targets)
        gaps: dict[int, list[Range]] = {}
        for known in rows.unobservable:
            gaps.setdefault(known.target_id, []).append(Range(known.start, known.end))
        self._widen(gaps)
        for flat in runs:
            found: dict[int, list[Range]] = {}
            for at in range(0, len(flat), 3):
                index, start, end = flat[at : at + 3]
                found.setdefault(rows.targets[index].id, []).append(Range(start, end))
            for id_, ranges in found.items():
                ranges.extend(gaps.get(id_, ()))
            self._widen(found)

    def take(self, part: Snapshot | Rows) -> None:
        """Add a window, or some."""
        if isinstance(part, Snapshot):
            self.add(part)
        else:
            self.add_rows(part)

    def _widen(self, runs: dict[int, list[Range]]) -> None:
        for id_, ranges in runs.items():
            # Most windows monitor exactly what the one before did.
            if self._last.get(id_) != ranges:
                self._last[id_] = ranges
                self.ranges[id_] = list(union([*self.ranges.get(id_, ()), *ranges]))

    def target(self, id_: int) -> Target:
        """Return a target; one that nothing but unobservable ranges is told of is a number."""
        return self.targets.get(id_) or Target(id_, f"target {id_}")

    def busiest(self) -> int:
        """The id of the target that was accessed most, else of the largest one."""
        if not self.ranges:
            raise BadValueError("the recording holds no regions, so there is nothing to draw")

        def weight(id_: int) -> tuple[float, int, int]:
            return self.heat.get(id_, 0.0), total(self.ranges[id_]), -id_

        return max(self.ranges, key=weight)


def _runs(start: array[int], end: array[int]) -> list[Range]:
    """
    Return the ranges that adjacent regions make together.

    Halves what is not one piece: comparing arrays is cheap, and pieces are few.
    """
    if start[1:] == end[:-1]:
        return [Range(start[0], end[-1])]
    half = len(start) // 2
    left, right = _runs(start[:half], end[:half]), _runs(start[half:], end[half:])
    if left[-1].end == right[0].start:
        right[0] = Range(left.pop().start, right[0].end)
    return left + right


def extent(snapshots: Iterable[Snapshot | Rows]) -> Extent:
    """Return where and when there are data."""
    found = Extent()
    for part in snapshots:
        found.take(part)
    return found


def no_such_target(id_: int, targets: Iterable[Target]) -> BadValueError:
    """Return the error that a recording has no target `id_`, with those that it has."""
    known = [f"{target.id} ({shown(target.title, 30)})" for target in targets]
    more = f" and {len(known) - _TOLD} more" if len(known) > _TOLD else ""
    return BadValueError(
        f"there is no target {shown(str(id_), 20)} in the recording",
        hint=f"its targets are {', '.join(known[:_TOLD])}{more}" if known else "",
    )
