"""Which part of a recording is to be drawn: of whom, when, where, or what is hottest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from isotherm.analysis.extent import Extent, no_such_target
from isotherm.analysis.heatmap import Accumulator, Heatmap
from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE, Range, intersect, total
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping
from isotherm.recording.blocks import Rows
from isotherm.units import format_duration, format_size

#: Rows of the profile in which what is hottest is looked for, and how many of them it is at least.
_PROFILE, _FINE = 2048, 16

Parts = Callable[[], Iterable[Snapshot | Rows]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    A part of a recording.

    target_id: None for the busiest; time_ns: since the beginning, from and until, None for an open
    end; addresses: [start, end); hottest_bytes: of these the stretch of so many bytes (without
    what nobody monitored) that was accessed most.
    """

    target_id: int | None = None
    time_ns: tuple[int, int | None] | None = None
    addresses: Range | None = None
    hottest_bytes: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether all of a target is wanted."""
        return self.time_ns is None and self.addresses is None and self.hottest_bytes is None


@dataclass(slots=True)
class Names:
    """The address maps of targets, as of the end, and as of the beginning for what is gone."""

    first: dict[int, Sequence[Mapping]] = field(default_factory=dict)
    last: dict[int, Sequence[Mapping]] = field(default_factory=dict)

    def take(self, part: Snapshot | Rows) -> None:
        """Note what a window, or the first of some, says of mappings."""
        for id_, mappings in (part.mappings or {}).items():
            self.first.setdefault(id_, mappings)
            self.last[id_] = mappings

    def of_rows(self, grid: Heatmap) -> tuple[str, ...]:
        """Return for each row of a grid the title of what most of it is, "" where unknown."""
        rows = grid.row_ranges
        names = _titles(rows, self.last.get(grid.target.id, ()))
        if all(names):
            return names
        older = _titles(rows, self.first.get(grid.target.id, ()))
        return tuple(name or old for name, old in zip(names, older, strict=True))


def _titles(rows: Sequence[Range], mappings: Sequence[Mapping]) -> tuple[str, ...]:
    ordered = sorted(mappings, key=lambda mapping: mapping.start)
    ends = [mapping.end for mapping in ordered]
    names = []
    for row in rows:
        sizes: dict[str, int] = {}
        for mapping in ordered[bisect_right(ends, row.start) :]:
            if mapping.start >= row.end:
                break
            overlap = min(mapping.end, row.end) - max(mapping.start, row.start)
            sizes[mapping.title] = sizes.get(mapping.title, 0) + overlap
        names.append(max(sizes, key=lambda title: sizes[title]) if sizes else "")
    return tuple(names)


def clipped(where: Extent, wanted: Wanted) -> Extent:
    """Return the extent of the part; raises `BadValueError` where there is nothing of it."""
    id_ = where.busiest() if wanted.target_id is None else wanted.target_id
    if id_ not in where.targets and id_ not in where.ranges:
        raise no_such_target(id_, where.targets.values())
    ranges = where.ranges.get(id_, [])
    if wanted.addresses is not None:
        ranges = list(intersect(ranges, [wanted.addresses]))
        if not ranges:
            low, high = wanted.addresses
            raise BadValueError(
                f"nothing was monitored at {low:#x}..{high:#x}", hint=_somewhere(where, id_)
            )
    start_ns, end_ns = where.start_ns, where.end_ns
    if wanted.time_ns is not None:
        low_ns, high_ns = wanted.time_ns
        start_ns += low_ns
        if high_ns is not None:
            end_ns = min(end_ns, where.start_ns + high_ns)
        if start_ns >= end_ns:
            length = format_duration(where.end_ns - where.start_ns)
            raise BadValueError(
                f"nothing was recorded after {format_duration(low_ns)}",
                hint=f"the recording is {length} long",
            )
    return replace(where, start_ns=start_ns, end_ns=end_ns, ranges={**where.ranges, id_: ranges})


def _somewhere(where: Extent, id_: int) -> str:
    ranges = where.ranges.get(id_, [])
    told = ", ".join(f"{span.start:#x}..{span.end:#x}" for span in ranges[:3])
    more = f" and {len(ranges) - 3} more" if len(ranges) > 3 else ""
    return f"it was at {told}{more}" if told else "no region of this target was recorded"


def hottest(parts: Parts, where: Extent, target_id: int, size: int) -> list[Range]:
    """
    Return the addresses of the stretch of `size` bytes that was accessed most.

    where: in which it is looked for. A stretch leaves out what was not monitored. `parts` is read
    once or, where memory is much more than `size`, a few times.
    """
    ranges = where.ranges[target_id]
    while total(ranges) > size:
        narrowed = replace(where, ranges={**where.ranges, target_id: ranges})
        profile = Accumulator(narrowed, target_id, 1, min(_PROFILE, max(1, total(ranges) // PAGE)))
        for part in parts():
            profile.take(part)
        row_size = max(row.size for row in profile.row_ranges)
        best = _densest(profile, max(size, 0 if _FINE * row_size <= size else 2 * row_size))
        found = list(intersect(ranges, [best]))
        if _FINE * row_size <= size or found == ranges or row_size <= PAGE:
            return found
        ranges = found
    return ranges


def _densest(profile: Accumulator, size: int) -> Range:
    """Return the first run of rows of at least `size` bytes with the most heat."""
    rows = profile.row_ranges
    low = taken = 0
    heat = most = 0.0
    best = Range(rows[0].start, rows[-1].end)
    for high, row in enumerate(rows):
        taken += row.size
        heat += profile.hot[high]
        while taken - rows[low].size >= size:
            taken -= rows[low].size
            heat -= profile.hot[low]
            low += 1
        if taken >= size and heat > most * (1 + 1e-9):
            most, best = heat, Range(rows[low].start, row.end)
    return best


def describe(wanted: Wanted, grid: Heatmap) -> str:
    """Return what part it is, for a title; "" for all of a target."""
    if wanted.hottest_bytes is None:
        return ""
    return f"hottest {format_size(sum(row.size for row in grid.row_ranges))}"
