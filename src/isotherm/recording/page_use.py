"""What a map of pages knows, in the columns of a recording and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from operator import add, le, lt
from typing import Any, Final, cast, get_args

from isotherm.model.page_use import GroupUse, Kind, PageUse, UseRow, summed
from isotherm.recording import format as layout
from isotherm.recording.batch import Vector, span, text_of
from isotherm.recording.flatbuffer import BadMessageError

_KINDS: Final = frozenset(get_args(Kind))
#: More than any memory, in bytes.
_ANY: Final = 1 << 64
#: Title of mappings that are too many to be told apart.
_MANY: Final = "(many mappings)"
#: Figures that are null where they equal another: (name, the other).
_AS: Final = {"used_low": "used", "used_high": "used", "idle_own": "idle"}


def fitting(use: PageUse, nr_targets: int) -> PageUse:
    """
    Return what fits a recording: without memory of targets that ended since, whose number means
    nothing; with the mappings of each target in one where there are more than can be told apart.

    nr_targets: how many targets the snapshot has.
    """
    rows = use.rows
    if rows and max(row.target for row in rows) >= nr_targets:
        rows = tuple(row for row in rows if row.target < nr_targets)
    if len(rows) > layout.MAX_USE_ROWS:
        parts: dict[tuple[int, Kind, int | None, str], list[UseRow]] = {}
        for row in rows:
            # What is not resident is used beyond what is: it is no part of that.
            what = _MANY if row.resident else row.what
            parts.setdefault((row.target, row.kind, row.node, what), []).append(row)
        rows = tuple(summed(of, what=what) for (*_, what), of in parts.items())
    groups = use.groups if len(use.groups) <= layout.MAX_USE_ROWS else ()
    same = rows is use.rows and groups is use.groups
    return use if same else replace(use, rows=rows, groups=groups)


def use_values(use: PageUse, nr_targets: int) -> tuple[Any, ...]:
    """
    Return a value for each member of the column.

    nr_targets: how many targets the snapshot has. Raises ValueError for figures that contradict
    each other: they would be damage to who reads them.
    """
    if problem := _problem(use, nr_targets):
        raise ValueError(f"what pages were used makes no sense: {problem}")
    return (
        use.monotonic_ns,
        use.watched_ns,
        use.windows_ns,
        use.exact,
        use.shared_by,
        use.held_ns,
        use.stopped_ns,
        _RowValues(use.rows),
        use.shared_cpu_ns,
        use.shared_note,
        use.missed,
        [
            (
                *one[:4],
                None if one.used_low == one.used else one.used_low,
                one.used,
                None if one.used_high == one.used else one.used_high,
                one.idle,
            )
            for one in use.groups
        ]
        or None,
    )


class _RowValues(Collection[Any]):
    """A value for each member of rows, made when they are asked for: there may be thousands."""

    def __init__(self, rows: Sequence[UseRow]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in self._rows:
            yield (
                *row[:7],
                None if row.used_low == row.used else row.used_low,
                row.used,
                None if row.used_high == row.used else row.used_high,
                row.idle,
                None if row.idle_own == row.idle else row.idle_own,
                row.returned or None,
            )

    def __contains__(self, row: object) -> bool:
        return row in list(self)


def read_use(vector: Vector, i: int, nr_targets: int) -> PageUse | None:
    """
    Return what stands in row `i` of the column; None for null.

    nr_targets: how many targets the snapshot has. Raises `BadMessageError`.
    """
    if not vector.has(i):
        return None
    of = vector.children
    low, high = _bounds(of["windows_ns"], i)
    use = PageUse(
        monotonic_ns=of["monotonic_ns"].values[i],
        watched_ns=of["watched_ns"].values[i],
        windows_ns=tuple(of["windows_ns"].values[low:high]),
        rows=_rows(of["rows"], i),
        exact=of["exact"].is_true(i),
        shared_by=text_of(of["shared_by"], i),
        held_ns=of["held_ns"].values[i],
        stopped_ns=of["stopped_ns"].number(i),
        shared_cpu_ns=of["shared_cpu_ns"].number(i) or 0,
        shared_note=text_of(of["shared_note"], i) if of["shared_note"].has(i) else "",
        missed=of["missed"].number(i) or 0,
        groups=_groups(of["groups"], i) if of["groups"].has(i) else (),
    )
    if problem := _problem(use, nr_targets):
        raise BadMessageError(problem)
    return use


def _bounds(lists: Vector, i: int) -> tuple[int, int]:
    found = span(lists, i, layout.MAX_USE_WINDOWS)
    return found.start, found.stop


def _rows(lists: Vector, i: int) -> tuple[UseRow, ...]:
    of = lists.children
    found = []
    for at in span(lists, i, layout.MAX_USE_ROWS):
        figures = _figures(of, at, ("used", "idle", *_AS))
        low, high = _bounds(of["returned"], at) if of["returned"].has(at) else (0, 0)
        figures["returned"] = tuple(of["returned"].values[low:high])
        found.append(
            UseRow(
                target=of["target"].values[at],
                what=text_of(of["what"], at),
                kind=cast("Kind", text_of(of["kind"], at)),  # looked at with the rest
                node=of["node"].number(at),
                resident=of["resident"].values[at],
                unseen=of["unseen"].values[at],
                uncovered=of["uncovered"].values[at],
                **figures,
            )
        )
    return tuple(found)


def _groups(lists: Vector, i: int) -> tuple[GroupUse, ...]:
    of = lists.children
    return tuple(
        GroupUse(
            group=text_of(of["group"], at),
            resident=of["resident"].values[at],
            unseen=of["unseen"].values[at],
            uncovered=of["uncovered"].values[at],
            **_figures(of, at, ("used", "idle", "used_low", "used_high")),
        )
        for at in span(lists, i, layout.MAX_USE_ROWS)
    )


def _figures(
    of: Mapping[str, Vector], at: int, names: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Return figures by length of time; those that stand for another come after it."""
    figures: dict[str, tuple[int, ...]] = {}
    for name in names:
        if name in _AS and not of[name].has(at):
            figures[name] = figures[_AS[name]]
            continue
        low, high = _bounds(of[name], at)
        figures[name] = tuple(of[name].values[low:high])
    return figures


def _problem(use: PageUse, nr_targets: int) -> str:
    """Return what contradicts the rules of docs/recording-format.md, "" if nothing does."""
    windows = use.windows_ns
    if not all(map(lt, (0, *windows), (*windows, use.watched_ns + 1))):
        return "lengths of time do not rise, or are longer than anybody watched"
    if use.stopped_ns is not None and use.stopped_ns > use.watched_ns:
        return "a target stood still for longer than anybody watched"
    if len(use.rows) > layout.MAX_USE_ROWS or len(windows) > layout.MAX_USE_WINDOWS:
        return "more parts of memory, or lengths of time, than can be"
    if problem := _problem_of_rows(use.rows, len(windows), nr_targets):
        return problem
    return _problem_of_groups(use)


def _problem_of_rows(rows: Sequence[UseRow], nr: int, nr_targets: int) -> str:
    """As `_problem`; by column, as rows may be thousands. nr: lengths of time."""
    if not rows:
        return ""
    (target, _, kind, _, resident, unseen, uncovered, *figures, returned) = zip(*rows, strict=True)
    if not _KINDS.issuperset(kind):
        return "memory is of a kind that there is not"
    if max(target) >= nr_targets:
        return "used memory is of a target that is not there"
    if any(map(lt, resident, map(add, unseen, uncovered))):
        return "more memory is unknown than there is"
    lengths = {nr}.union(*(map(len, column) for column in figures))
    if lengths | (set(map(len, returned)) - {0}) != {nr}:
        return "used memory has not a figure for each length of time"
    if any(any(map(lt, one, one[1:])) for one in filter(None, returned)):
        return "more memory came back after a longer time"
    low, used, high, idle, own = (list(chain.from_iterable(column)) for column in figures)
    there = [size for size in resident for _ in range(nr)]
    # What is not in memory any more was used all the same.
    most = [size or _ANY for size in there]
    rises = (low, used), (used, high), (high, most), (own, idle), (idle, there)
    if not all(all(map(le, *pair)) for pair in rises):
        return "more memory is used, or idle, than can be"
    return ""


def _problem_of_groups(use: PageUse) -> str:
    if len(use.groups) > layout.MAX_USE_ROWS:
        return "more groups than can be"
    if len({one.group for one in use.groups} - {""}) < len(use.groups):
        return "a group has no name, or is told twice"
    for one in use.groups:
        most = (one.resident,) * len(use.windows_ns)
        if any(len(numbers) != len(most) for numbers in one[4:]):
            return "used memory of a group has not a figure for each length of time"
        lines = (one.used_low, one.used, one.used_high, most), (one.idle, most)
        rises = all(all(map(le, *pair)) for line in lines for pair in _pairs(line))
        if not rises or one.unseen + one.uncovered > one.resident:
            return "more memory of a group is used, idle or unknown than there is"
    return ""


def _pairs(line: tuple[tuple[int, ...], ...]) -> zip[tuple[tuple[int, ...], tuple[int, ...]]]:
    return zip(line, islice(line, 1, None), strict=False)
