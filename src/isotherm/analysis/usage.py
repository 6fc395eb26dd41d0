"""Who uses how much memory at a moment: processes, groups, names; by pages, else by regions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from isotherm.analysis.hotness import UNKNOWN
from isotherm.analysis.idleness import idle_ns
from isotherm.analysis.page_use import idle_of
from isotherm.model.page_use import WINDOWS_NS as AGES_NS
from isotherm.model.page_use import PageUse, UseRow, summed
from isotherm.model.ranges import parts
from isotherm.model.snapshot import Region, Snapshot
from isotherm.model.target import Mapping, Target

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_S = 1_000_000_000
#: "Used" is within, and "idle" for, each of these.
WINDOWS_NS = (_S, 10 * _S, 60 * _S)
#: Ages by which regions are told apart.
_AGES_NS = tuple(s * _S for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600))
#: So many names are kept of all targets together, and so many of each at least.
_MOST_PARTS, _LEAST_PARTS = 1500, 3
#: What the names beyond those are called.
OTHERS = "(others)"


class Figures(NamedTuple):
    """
    What is known of a part of the memory, in bytes.

    resident: in memory, by regions what is monitored; unknown: of it what nobody can see, or has
    looked at. used, idle: within and for each of `WINDOWS_NS`, None where that was not reached.
    age_ns: half of what is seen was not used for so long or longer, 0 is less than can be told;
    None where nothing is seen.
    """

    resident: int
    unknown: int
    used: tuple[int | None, ...]
    idle: tuple[int | None, ...]
    age_ns: int | None

    def and_unknown(self, size: int) -> Figures:
        """Return these figures with so much more in memory, of which nothing is known."""
        return self._replace(resident=self.resident + size, unknown=self.unknown + size)


#: Nothing at all.
NOTHING = Figures(0, 0, (None,) * len(WINDOWS_NS), (None,) * len(WINDOWS_NS), None)


class Part(NamedTuple):
    """Memory of one name in a target; kind is "anon", "file", "shmem", or "" by regions."""

    what: str
    kind: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Who uses how much.

    at_ns: time of day when it was known; watched_ns: for how long somebody had watched by then.
    by_pages: counted page by page, else by whole regions. total, targets, groups: figures of all,
    by the target's id, by the title of a group; parts: the largest names of each target.
    """

    at_ns: int
    watched_ns: int
    by_pages: bool
    total: Figures
    targets: MappingOf[int, Figures]
    groups: MappingOf[str, Figures]
    parts: MappingOf[int, tuple[Part, ...]]


def usage_by_pages(use: PageUse, targets: Sequence[Target], at_ns: int) -> Usage:
    """
    Return what a map of pages knows.

    targets: whose memory it is, in the order of `UseRow.target`; at_ns: time of day. What those
    have in memory that nobody had a look at yet is unknown.
    """
    rows = [row for row in use.rows if row.target < len(targets)]
    of_targets = _split(rows, lambda row: row.target)
    most = max(_LEAST_PARTS, _MOST_PARTS // max(1, len(of_targets)))
    grouped = _split(rows, lambda row: targets[row.target].group)
    windows = use.windows_ns
    blind = unlooked(use, targets)
    blind_groups: dict[str, int] = {}
    for index, size in blind.items():
        group = targets[index].group
        blind_groups[group] = blind_groups.get(group, 0) + size
    groups = {group: figures_of(of_group, windows) for group, of_group in grouped.items()}
    total = figures_of(rows, windows) if rows else NOTHING
    of_target = {targets[index].id: figures_of(of, windows) for index, of in of_targets.items()}
    return Usage(
        at_ns,
        use.watched_ns,
        by_pages=True,
        total=total.and_unknown(sum(blind.values())),
        targets=of_target
        | {targets[index].id: NOTHING.and_unknown(size) for index, size in blind.items()},
        groups={
            group: groups.get(group, NOTHING).and_unknown(blind_groups.get(group, 0))
            for group in groups.keys() | blind_groups.keys()
            if group
        },
        parts={
            targets[index].id: _parts(found, windows, most) for index, found in of_targets.items()
        },
    )


def unlooked(use: PageUse, targets: Sequence[Target]) -> dict[int, int]:
    """
    Return what targets have in memory of which a map of pages says nothing yet, by their places.

    What is shared is divided by who shares it where that is known.
    """
    known = {row.target for row in use.rows}
    sizes = {
        index: target.resident_bytes
        if target.proportional_bytes is None
        else target.proportional_bytes
        for index, target in enumerate(targets)
        if index not in known
    }
    return {index: size for index, size in sizes.items() if size}


def figures_of(rows: Sequence[UseRow], windows_ns: Sequence[int]) -> Figures:
    """Return the figures of rows of a map of pages, one at least."""
    row, idle = summed(rows), idle_of(rows)
    places = [_place(windows_ns, ns) for ns in WINDOWS_NS]
    seen = row.resident - row.unseen - row.uncovered
    age_ns = None
    if seen:
        age_ns = 0
        for ns, size in zip(windows_ns, idle, strict=True):
            if 2 * size < seen:
                break
            if ns in AGES_NS:  # the last is the time that was watched, whatever that is
                age_ns = ns
    return Figures(
        row.resident,
        row.unseen + row.uncovered,
        tuple(None if at is None else row.used[at] for at in places),
        tuple(None if at is None else idle[at] for at in places),
        age_ns,
    )


def _place(windows_ns: Sequence[int], ns: int) -> int | None:
    at = bisect_left(windows_ns, ns)
    return at if at < len(windows_ns) and windows_ns[at] == ns else None


def _parts(rows: Sequence[UseRow], windows_ns: Sequence[int], most: int) -> tuple[Part, ...]:
    named = [
        (what, kind, found)
        for (what, kind), found in _split(rows, lambda row: (row.what, row.kind)).items()
    ]
    named.sort(key=lambda part: (-sum(row.resident for row in part[2]), part[0], part[1]))
    shown, rest = named[:most], named[most:]
    told = [Part(what, kind, figures_of(found, windows_ns)) for what, kind, found in shown]
    if rest:
        others = [row for _, _, found in rest for row in found]
        told.append(Part(OTHERS, "", figures_of(others, windows_ns)))
    return tuple(told)


def _split(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


@dataclass(slots=True)
class _Sums:
    """Bytes of regions, by when they were used."""

    resident: int = 0
    unknown: int = 0
    idle: dict[int, int] = field(default_factory=dict)

    def add(self, size: int, region: Region, age_ns: int) -> None:
        """Add `size` bytes of a region that was not used for `age_ns`, 0: in its window."""
        unseen = size if region.nr_accesses is None else 0
        if not unseen and region.unobservable:
            unseen = min(size, size * region.unobservable // max(1, region.size))
        self.resident += size
        self.unknown += unseen
        if region.nr_accesses is not None:
            self.idle[age_ns] = self.idle.get(age_ns, 0) + size - unseen

    def idle_for(self, ns: int) -> int:
        return sum(size for age_ns, size in self.idle.items() if age_ns >= ns)

    def figures(self, snapshot: Snapshot, watched_ns: int) -> Figures:
        """Return these sums; nothing is told of less than a window, nor of shares over several."""
        seen = self.resident - self.unknown
        if snapshot.shares:
            return NOTHING.and_unknown(self.unknown)._replace(resident=self.resident)
        least_ns = snapshot.aggr_us * 1000
        told = [ns if least_ns <= ns <= watched_ns else None for ns in WINDOWS_NS]
        idle = [None if ns is None else self.idle_for(ns) for ns in told]
        age_ns = None
        if seen:
            reached = [ns for ns in _AGES_NS if 2 * self.idle_for(ns) >= seen]
            age_ns = max(reached, default=0)
        used = tuple(None if size is None else seen - size for size in idle)
        return Figures(self.resident, self.unknown, used, tuple(idle), age_ns)


def usage_by_regions(
    snapshot: Snapshot, mappings: MappingOf[int, Sequence[Mapping]], watched_ns: int
) -> Usage:
    """
    Return what the regions of a window tell: each counts as a whole.

    mappings: the address maps in force, by target id; watched_ns: for how long they were watched.
    What is resident is what is monitored. Where regions are whole mappings, of which a share was
    used, nothing is told of longer times.
    """
    total = _Sums()
    targets: dict[int, _Sums] = {}
    groups: dict[str, _Sums] = {}
    names: dict[tuple[int, str], _Sums] = {}
    maps = {id_: sorted(entries, key=_start) for id_, entries in mappings.items()}
    for target, region in _regions(snapshot):
        idle = idle_ns(region, snapshot.aggr_us)
        shares = [(UNKNOWN, region.size)]
        if maps.get(target.id):
            of_maps = parts(maps[target.id], region.start, region.end)
            shares = [(mapping.title, part.size) for mapping, part in of_maps]
        for what, size in shares:
            sums = [total, targets.setdefault(target.id, _Sums())]
            sums.append(names.setdefault((target.id, what), _Sums()))
            if target.group:
                sums.append(groups.setdefault(target.group, _Sums()))
            for one in sums:
                one.add(size, region, idle)
    told: dict[int, list[Part]] = {}
    for (id_, what), one in names.items():
        told.setdefault(id_, []).append(Part(what, "", one.figures(snapshot, watched_ns)))
    return Usage(
        snapshot.end_ns,
        watched_ns,
        by_pages=False,
        total=total.figures(snapshot, watched_ns),
        targets={id_: one.figures(snapshot, watched_ns) for id_, one in targets.items()},
        groups={name: one.figures(snapshot, watched_ns) for name, one in groups.items()},
        parts={
            id_: tuple(sorted(found, key=lambda part: (-part.figures.resident, part.what)))
            for id_, found in told.items()
        },
    )


def _start(mapping: Mapping) -> int:
    return mapping.start


def _regions(snapshot: Snapshot) -> Iterable[tuple[Target, Region]]:
    """Yield regions with their targets; known unobservable ranges as regions of nothing known."""
    for region in snapshot.columns:
        yield snapshot.targets[region.target], region
    targets = {target.id: target for target in snapshot.targets}
    for known in snapshot.unobservable:
        if known.target_id in targets:
            blind = Region(0, known.start, known.end, None, 0, known.size)
            yield targets[known.target_id], blind


class Cell(NamedTuple):
    """heat: 0..1, None where nothing was observed; blind: the share that could not be, 0..1."""

    heat: float | None
    blind: float


def strip(snapshot: Snapshot, index: int, cells: int) -> tuple[Cell, ...]:
    """
    Return a target's heat over its addresses, lowest first, in equal cells without the gaps.

    index: of the target in the snapshot; cells: how many. No cell where it has no regions.
    """
    pieces = sorted([*_pieces(snapshot, index), *_blind_pieces(snapshot, index)])
    whole = sum(size for _, size, _, _ in pieces)
    if not whole or cells < 1:
        return ()
    hot, seen, unseen = ([0.0] * cells for _ in range(3))
    at = 0
    for _, size, heat, blind in pieces:
        for cell in range(at * cells // whole, min(cells, -(-(at + size) * cells // whole))):
            begin, end = cell * whole / cells, (cell + 1) * whole / cells
            share = max(0.0, min(end, at + size) - max(begin, at))
            seen[cell] += share * (1 - blind)
            unseen[cell] += share * blind
            hot[cell] += share * (1 - blind) * heat
        at += size
    return tuple(
        Cell(h / s if s else None, u / (s + u) if u else 0.0)
        for h, s, u in zip(hot, seen, unseen, strict=True)
    )


def _pieces(snapshot: Snapshot, index: int) -> Iterator[tuple[int, int, float, float]]:
    """Yield address, size, heat and the unobservable share of a target's regions."""
    columns, heats = snapshot.columns, snapshot.heats()
    for i in range(bisect_left(columns.target, index), bisect_right(columns.target, index)):
        size = columns.end[i] - columns.start[i]
        if size > 0:
            blind = min(1.0, columns.unobservable[i] / size)
            yield columns.start[i], size, heats[i], blind


def _blind_pieces(snapshot: Snapshot, index: int) -> Iterator[tuple[int, int, float, float]]:
    """Yield the same of what is known to be unobservable."""
    target_id = snapshot.targets[index].id
    for known in snapshot.unobservable:
        if known.target_id == target_id:
            yield known.start, known.size, 0.0, 1.0
