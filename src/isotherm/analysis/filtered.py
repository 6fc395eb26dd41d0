"""A part of a recording: what matches by address, access rate, age, size, time and name."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, overload

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError
from isotherm.model.page_use import PageUse
from isotherm.model.ranges import Range, intersect, parts, union
from isotherm.model.scheme import Access, Age
from isotherm.model.snapshot import Columns, Snapshot, is_blind
from isotherm.model.target import Mapping, Unobservable
from isotherm.model.text import NamePattern
from isotherm.recording.blocks import Rows
from isotherm.units import U64_MAX


def is_like(name: str, pattern: str) -> bool:
    """Tell whether a name matches a `NamePattern`, as schemes have it."""
    return _compiled(pattern).matches(name)


_compiled = lru_cache(64)(NamePattern)


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What is looked at; everything by default, and all that is given must match.

    addresses: [start, end), any of them; access, age, sizes (closed bounds, in bytes): of whole
    regions, as schemes match them; times: [since, before) in ns after the beginning, for the
    beginning of windows; names: of mappings, any of them (`is_like`).

    As with schemes, the pattern is asked first, and regions are cut to addresses and names after
    that; a region of which nothing is known has no rate, and matches none.
    """

    addresses: tuple[tuple[int, int], ...] = ()
    access: Access | None = None
    age: Age | None = None
    sizes: tuple[int, int] | None = None
    times: tuple[int, int] | None = None
    names: tuple[str, ...] = ()

    @property
    def of_pattern(self) -> bool:
        """Whether regions are chosen by what is known of them."""
        return self.access is not None or self.age is not None or self.sizes is not None

    @property
    def without_pages(self) -> bool:
        """Whether a map of pages, which knows of time and names alone, cannot tell."""
        return self.of_pattern or bool(self.addresses)

    @property
    def cuts(self) -> bool:
        """Whether regions are cut."""
        return bool(self.addresses or self.names)

    @property
    def is_all(self) -> bool:
        """Whether everything matches."""
        return not (self.without_pages or self.names) and self.times is None

    def has_name(self, name: str) -> bool:
        """Tell whether a mapping of this title is meant."""
        return not self.names or any(is_like(name, pattern) for pattern in self.names)

    def page_use(self, use: PageUse | None) -> PageUse | None:
        """Return what a map of pages knows of what is meant; None where it cannot tell."""
        if use is None or self.without_pages:
            return None
        if not self.names:
            return use
        rows = tuple(row for row in use.rows if self.has_name(row.what))
        # Which of what a group has once is of these names, nobody knows.
        return replace(use, rows=rows, groups=())


class FilteredRecording(AnalysedRecording):
    """
    A recording of which only what matches a `Selection` is seen, by every analysis.

    matched: how many regions, and rows of maps of pages, did so in the last pass. Windows outside
    of the times are not there, and the others are counted from 0; of the windows inside, those
    without a match are empty. What regions are cut to has their rate and age. The sizes of targets
    are unknown where only a part of their memory is meant.
    """

    def __init__(self, path: Any, selection: Selection) -> None:
        super().__init__(path)
        self.selection = selection
        self.matched = 0
        if selection.without_pages:
            self.no_pages_because = "a map of pages knows nothing of address, access, age or size"

    def first(self) -> Snapshot | None:
        return next(self.readable(), None)

    def __len__(self) -> int:
        return sum(1 for _ in self.readable())

    @overload
    def __getitem__(self, key: int) -> Snapshot: ...
    @overload
    def __getitem__(self, key: slice) -> list[Snapshot]: ...
    def __getitem__(self, key: int | slice) -> Snapshot | list[Snapshot]:
        return list(self.readable())[key]

    def samples(self, count: int) -> Iterator[Rows | Snapshot]:
        """Yield nothing: what matches is not known beforehand."""
        del count
        return iter(())

    def readable(self) -> Iterator[Snapshot]:
        for part in self.by_blocks():
            if isinstance(part, Snapshot):
                yield part

    def by_blocks(self) -> Iterator[Rows | Snapshot]:
        """Yield what matches, window by window; what is outside of the times is passed over."""
        wanted = self.selection
        maps: dict[int, Sequence[Mapping]] = {}
        places = _Places(wanted, maps)
        self.matched = removed = 0
        for window in _windows(super().by_blocks(), wanted, maps):
            if window is None:
                removed += 1
                continue
            if window.mappings:
                maps.update(window.mappings or {})
                places = _Places(wanted, maps)
            found = _matching(window, wanted, places)
            self.matched += len(found.columns)
            self.matched += 0 if found.page_use is None else len(found.page_use.rows)
            yield replace(found, index=found.index - removed)


def _is_in(wanted: Selection, since_ns: int) -> bool:
    return wanted.times is None or wanted.times[0] <= since_ns < wanted.times[1]


def _windows(
    read: Iterable[Rows | Snapshot], wanted: Selection, maps: dict[int, Sequence[Mapping]]
) -> Iterator[Snapshot | None]:
    """
    Yield the windows inside of the times, and None for each other.

    maps: gets what is told outside of them; the first one inside tells it again.
    """
    begin: int | None = None
    fresh = True
    for part in read:
        starts = [part.start_ns] if isinstance(part, Snapshot) else part.numbers("start")
        begin = starts[0] if begin is None else begin
        for i, start in enumerate(starts):
            if not _is_in(wanted, start - begin):
                if i == 0 and (isinstance(part, Snapshot) or part.has_more):
                    first = part if isinstance(part, Snapshot) else part.first
                    maps.update(first.mappings or {})
                yield None
                continue
            window = part if isinstance(part, Snapshot) else part.snapshot(i)
            if fresh and maps:
                window = replace(window, mappings={**maps, **(window.mappings or {})})
            fresh = False
            yield window


def _matching(snapshot: Snapshot, wanted: Selection, places: _Places) -> Snapshot:
    """Return the window with what is meant of it alone."""
    use = wanted.page_use(snapshot.page_use)
    if not (wanted.of_pattern or wanted.cuts):
        return replace(snapshot, page_use=use)
    ids = [target.id for target in snapshot.targets]
    unobservable = () if wanted.of_pattern else tuple(places.unobservable(snapshot.unobservable))
    return replace(
        snapshot,
        columns=_columns(snapshot, wanted, places, ids),
        unobservable=unobservable,
        page_use=use,
        targets=tuple(
            replace(target, mapped_bytes=None, resident_bytes=None, proportional_bytes=None)
            for target in snapshot.targets
        ),
    )


class _Places:
    """Which addresses of each target are meant."""

    def __init__(self, wanted: Selection, maps: dict[int, Sequence[Mapping]]) -> None:
        self._wanted = wanted
        self._maps = maps
        self._known: dict[int, list[Range]] = {}
        self._addresses = list(union(wanted.addresses)) or [Range(0, U64_MAX)]

    def of(self, id_: int) -> list[Range]:
        """Return them in order and apart."""
        if id_ not in self._known:
            meant = self._addresses
            if self._wanted.names:
                named = [m for m in self._maps.get(id_, ()) if self._wanted.has_name(m.title)]
                meant = intersect(meant, list(union((m.start, m.end) for m in named)))
            self._known[id_] = meant
        return self._known[id_]

    def cut(self, id_: int, start: int, end: int) -> Iterator[Range]:
        """Yield what is meant of [start, end)."""
        return (part for _, part in parts(self.of(id_), start, end))

    def unobservable(self, known: Iterable[Unobservable]) -> Iterator[Unobservable]:
        for one in known:
            for start, end in self.cut(one.target_id, one.start, one.end):
                yield replace(one, start=start, end=end)


def _columns(
    snapshot: Snapshot, wanted: Selection, places: _Places, ids: Sequence[int]
) -> Columns:
    """Return the regions that match, cut to what is meant of them."""
    old = snapshot.columns
    matches = _matcher(snapshot, wanted)
    rows: list[tuple[int, int, int, int]] = []
    whole = True
    for at, (target, start, end) in enumerate(zip(old.target, old.start, old.end, strict=True)):
        if not matches(at):
            continue
        for low, high in places.cut(ids[target], start, end) if wanted.cuts else ((start, end),):
            whole = whole and (low, high) == (start, end)
            unseen = old.unobservable[at] * (high - low) // max(1, end - start)
            rows.append((at, low, high, unseen))
    at_of = [row[0] for row in rows]

    def taken(column: Any) -> Any:
        return array(column.typecode, [column[at] for at in at_of])

    return Columns(
        taken(old.target),
        array("Q", [row[1] for row in rows]),
        array("Q", [row[2] for row in rows]),
        taken(old.nr_accesses),
        taken(old.age),
        array("Q", [row[3] for row in rows]),
        # Which part of a region its used pages are in, nobody knows.
        used=None if old.used is None or not whole else taken(old.used),
        rate=None if old.rate is None else taken(old.rate),
        low=None if old.low is None else taken(old.low),
        high=None if old.high is None else taken(old.high),
    )


def _matcher(snapshot: Snapshot, wanted: Selection) -> Callable[[int], bool]:
    """Return what tells whether the region at a place matches the pattern."""
    old = snapshot.columns
    low_size, high_size = wanted.sizes or (0, U64_MAX)
    least, most = (wanted.access or Access()).counts(snapshot.max_nr_accesses)
    youngest, oldest = (wanted.age or Age()).counts(snapshot.aggr_us)

    def matches(at: int) -> bool:
        size = old.end[at] - old.start[at]
        return (
            low_size <= size <= high_size
            and least <= old.nr_accesses[at] <= most
            and youngest <= old.age[at] <= oldest
            and not is_blind(size, old.unobservable[at])
        )

    return matches if wanted.of_pattern else lambda _: True


def open_selected(path: Any, selection: Selection) -> AnalysedRecording:
    """Open a recording of which only this is seen; raises as `analysis.recorded`."""
    return AnalysedRecording(path) if selection.is_all else FilteredRecording(path, selection)


def check_matched(recording: AnalysedRecording) -> None:
    """Raise `BadValueError` if nothing that was chosen was in it when it was last read."""
    if isinstance(recording, FilteredRecording) and not recording.matched:
        raise BadValueError(
            "nothing in the recording matches",
            hint="fewer of --address, --access, --age, --size, --time and --name",
        )
