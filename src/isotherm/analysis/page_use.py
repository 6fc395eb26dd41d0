"""How much memory was used within which time, and how long the rest was not: what a map knows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import TypeVar

from isotherm.model.page_use import Kind, PageUse, UseRow, summed
from isotherm.model.target import Target

K = TypeVar("K", bound=Hashable)

_S = 1_000_000_000
#: Lengths of time that people are told of.
TOLD_NS = (_S // 10, _S, 10 * _S, 60 * _S)


@dataclass(frozen=True, slots=True)
class Used:
    """
    What was used within a window: a point of the curve W(T).

    window_ns: its length; bytes: by best estimate; low_bytes, high_bytes: at least, at most;
    covered: the share of what is in memory that somebody has looked at, 0..1.
    """

    window_ns: int
    bytes: int
    low_bytes: int
    high_bytes: int
    covered: float


@dataclass(frozen=True, slots=True)
class Idle:
    """
    What was not used for `age_ns` or longer, in bytes: by best estimate, surely, at most.

    only_bytes: those of `bytes` that are not idle for the next longer age as well. The estimate is
    what is seen and not part of the working set within that time; of memory that was found used,
    nobody knows when it was the last time before its accessed bit is cleared again.
    """

    age_ns: int
    bytes: int
    only_bytes: int
    low_bytes: int
    high_bytes: int


@dataclass(frozen=True, slots=True)
class Ages:
    """
    Resident memory by how long it was not used.

    recent_bytes: used within the first age; unknown_bytes: never seen.
    `recent_bytes`, `unknown_bytes` and the `only_bytes` of all ages are what is resident.
    """

    recent_bytes: int
    unknown_bytes: int
    ages: tuple[Idle, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """
    A part of the memory: its name, kind (None for several), and the sum of its rows.

    idle: what of it was not used for each length of time or longer, by best estimate.
    """

    name: str
    kind: Kind | None
    row: UseRow
    idle: tuple[int, ...]

    @property
    def unknown(self) -> int:
        """Bytes whose accesses cannot be seen, or that nobody had a look at."""
        return self.row.unseen + self.row.uncovered


def covered(use: PageUse) -> float:
    """Return the share of what is in memory that somebody has looked at, 0..1."""
    return 1 - use.uncovered / use.resident if use.resident else 1.0


def curve(use: PageUse) -> tuple[Used, ...]:
    """Return what was used within each length of time that is known, shortest first."""
    share = covered(use)
    sums = summed(use.rows) if use.rows else None
    return tuple(
        Used(window, sums.used[i], sums.used_low[i], sums.used_high[i], share)
        if sums is not None
        else Used(window, 0, 0, 0, share)
        for i, window in enumerate(use.windows_ns)
    )


def within(points: tuple[Used, ...], window_ns: int) -> Used:
    """
    Return what was used within a window of such a length.

    points: a curve, of at least one length. Between two lengths figures are drawn straight over
    the logarithm of time; beyond the shortest and the longest it is those: `Used.window_ns` is the
    true length.
    """
    after = next((i for i, point in enumerate(points) if point.window_ns >= window_ns), None)
    if after is None:
        return points[-1]
    high = points[after]
    if high.window_ns == window_ns or not after:
        return high
    low = points[after - 1]
    share = log(window_ns / low.window_ns) / log(high.window_ns / low.window_ns)

    def between(a: int, b: int) -> int:
        return max(min(a, b), min(max(a, b), round(a + (b - a) * share)))

    return Used(
        window_ns,
        between(low.bytes, high.bytes),
        between(low.low_bytes, high.low_bytes),
        between(low.high_bytes, high.high_bytes),
        high.covered,
    )


def extent_of(row: UseRow) -> int:
    """Return what is resident, or was used if that is more: it may be freed since."""
    return max([row.resident, *row.used[-1:]])


def likely_idle(row: UseRow, window: int) -> int:
    """Return the bytes of a row not used for the window of this number, by best estimate."""
    seen = row.resident - row.unseen - row.uncovered
    return max(row.idle[window], seen - row.used[window])


def idle_of(rows: Sequence[UseRow]) -> tuple[int, ...]:
    """
    Return what rows of one PageUse have that was not used for each length of time, or longer.

    The estimate of many is the sum of those of each: what was used and freed makes nothing else
    less idle. Who is idle for long is idle for less; what is unknown is not idle.
    """
    columns = []
    for row in rows:
        left, sizes = row.resident - row.unseen - row.uncovered, []
        for i in range(len(row.used)):
            left = min(left, likely_idle(row, i))
            sizes.append(left)
        columns.append(sizes)
    return tuple(map(sum, zip(*columns, strict=True)))


def joined(name: str, parts: Sequence[Part]) -> Part:
    """Return some parts, one at least, as one of this name."""
    idle = tuple(map(sum, zip(*(part.idle for part in parts), strict=True)))
    return Part(name, None, summed([part.row for part in parts]), idle)


def idle_ages(use: PageUse) -> Ages:
    """Return what is in memory by how long it was not used."""
    unknown = use.unseen + use.uncovered
    known = use.resident - unknown
    sizes = idle_of(use.rows) or (0,) * len(use.windows_ns)
    least, most = [], []
    for i, size in enumerate(sizes):
        least.append(min(size, sum(row.idle[i] for row in use.rows)))
        most.append(max(size, known - sum(row.used_low[i] for row in use.rows)))
    ages = tuple(
        Idle(age, size, size - longer, low, high)
        for age, size, longer, low, high in zip(
            use.windows_ns, sizes, (*sizes, 0)[1:], least, most, strict=True
        )
    )
    return Ages(known - (sizes[0] if sizes else 0), unknown, ages)


def by_mapping(use: PageUse) -> list[Part]:
    """Return the parts by the title and the kind of mappings, largest first."""
    rows = _groups(use, lambda row: (row.what, row.kind))
    return _parts([(what, kind, of) for (what, kind), of in rows.items()])


def by_kind(use: PageUse) -> list[Part]:
    """Return the parts by whose memory it is: anonymous, of files, shared; largest first."""
    return _parts([
        (kind, kind, of) for kind, of in _groups(use, lambda row: row.kind).items()
    ])  # fmt: skip


def by_node(use: PageUse) -> list[tuple[int | None, Part]]:
    """Return the parts by NUMA node, in their order; None: a node that was not told."""
    rows = _groups(use, lambda row: row.node)
    ordered = sorted(rows.items(), key=lambda pair: -1 if pair[0] is None else pair[0])
    return [
        (node, Part("unknown" if node is None else f"node {node}", None, *of))
        for node, of in ordered
    ]


def by_target(use: PageUse) -> list[tuple[int, Part]]:
    """Return the parts by the index of targets, in their order; their names are not known here."""
    rows = _groups(use, lambda row: row.target)
    return [(target, Part("", None, *of)) for target, of in sorted(rows.items())]


def by_group(use: PageUse, targets: Sequence[Target]) -> list[Part]:
    """Return the parts by the groups of targets, largest first; those of none are left out."""
    of = [target.group for target in targets]
    grouped = [row for row in use.rows if row.target < len(of) and of[row.target]]
    rows = _groups(replace(use, rows=tuple(grouped)), lambda row: of[row.target])
    return _parts([(group, None, of) for group, of in rows.items()])


#: The sum of some rows, and what of them is idle.
_Sum = tuple[UseRow, tuple[int, ...]]


def _groups(use: PageUse, key: Callable[[UseRow], K]) -> dict[K, _Sum]:
    found: dict[K, list[UseRow]] = {}
    for row in use.rows:
        found.setdefault(key(row), []).append(row)
    return {group: (summed(rows), idle_of(rows)) for group, rows in found.items()}


def _parts(found: list[tuple[str, Kind | None, _Sum]]) -> list[Part]:
    parts = [Part(name, kind, *of) for name, kind, of in found]
    return sorted(parts, key=lambda part: (-extent_of(part.row), part.name, part.kind or ""))
