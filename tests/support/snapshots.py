"""Snapshots made up for tests: any regions, targets, phases and gaps."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import Any

from isotherm.model.page_use import WINDOWS_NS, Kind, PageUse, UseRow
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable

T0 = 1_700_000_000_000_000_000
WINDOW_NS = 100_000_000
MIB = 1 << 20
HEAP = 0x5555_0000_0000
STACK = 0x7FFF_0000_0000
NO_COST = Cost()


def columns(rows: Iterable[tuple[int, int, int, int, int, int]]) -> Columns:
    """Columns of (target, start, end, nr_accesses, age, unobservable)."""
    made = Columns()
    for row in rows:
        for name, value in zip(Columns.__slots__[:6], row, strict=True):
            getattr(made, name).append(value)
    return made


def snapshot(
    index: int,
    rows: Iterable[tuple[int, int, int, int, int, int]] = (),
    *,
    targets: tuple[Target, ...] = (Target(0, "app", 42),),
    unobservable: tuple[Unobservable, ...] = (),
    cost: Cost = NO_COST,
    mappings: dict[int, tuple[Mapping, ...]] | None = None,
    shares: bool = False,
    explored: int | None = None,
) -> Snapshot:
    """The window `index` of 100 ms with 20 samples."""
    return Snapshot(
        index=index,
        start_ns=T0 + index * WINDOW_NS,
        end_ns=T0 + (index + 1) * WINDOW_NS,
        sample_us=5_000,
        aggr_us=100_000,
        targets=targets,
        columns=columns(rows),
        unobservable=unobservable,
        cost=cost,
        mappings=mappings,
        shares=shares,
        explored=explored,
    )


def phases(count: int = 60) -> list[Snapshot]:
    """
    Two processes and a gap; the hot 8 MiB of the first one's heap move in mid-time.

    app: heap of 64 MiB at HEAP (8 MiB hot, 56 MiB idle) and a warm stack of 1 MiB at STACK,
    of which a quarter is not observable. helper: 16 MiB idle, and 4 MiB known to be
    unobservable.
    """
    app = Target(7, "app", 42, 80 * MIB, 60 * MIB)
    helper = Target(9, "helper", 43, 20 * MIB, 10 * MIB)
    maps = {
        7: (
            Mapping(HEAP, HEAP + 64 * MIB, "rw-p", "[heap]"),
            Mapping(STACK, STACK + MIB, "rw-p", "[stack]"),
        ),
        9: (Mapping(HEAP, HEAP + 20 * MIB, "rw-p", ""),),
    }
    blind = (Unobservable(9, HEAP + 16 * MIB, HEAP + 20 * MIB, "shared"),)
    made = []
    for i in range(count):
        first = i < count // 2
        hot = HEAP + (8 if first else 40) * MIB
        age = i if first else i - count // 2
        rows = [
            (0, HEAP, hot, 0, i, 0),
            (0, hot, hot + 8 * MIB, 20, age, 0),
            (0, hot + 8 * MIB, HEAP + 64 * MIB, 0, i, 0),
            (0, STACK, STACK + MIB, 2, i, MIB // 4),
            (1, HEAP, HEAP + 16 * MIB, 0, i, 0),
        ]
        made.append(
            snapshot(
                i,
                rows,
                targets=(app, helper),
                unobservable=blind,
                cost=Cost(cpu_ns=500_000, ticks=20, checks=100, missed=i % 3, late_ns=i),
                mappings=maps if i == 0 else None,
            )
        )
    return made


S = 1_000_000_000


def windows_until(watched_ns: int) -> tuple[int, ...]:
    """The lengths of time that somebody knows who has watched for so long."""
    return (*(ns for ns in WINDOWS_NS if ns < watched_ns), watched_ns)


def use_row(
    ages: MappingOf[float, int],
    *,
    watched_ns: int = 30 * S,
    unseen: int = 0,
    uncovered: int = 0,
    doubt: int = 0,
    own: bool = True,
    target: int = 0,
    what: str = "[heap]",
    kind: Kind = "anon",
    node: int | None = 0,
    back: MappingOf[float, int] | None = None,
) -> UseRow:
    """
    A row of memory that was last used so long ago: {seconds: bytes}.

    doubt: bytes, at most, that may have been used, or not, besides; own: nobody else maps it;
    back: what was used again after it had not been for so long, None: nobody counted.
    """
    windows = windows_until(watched_ns)
    used = [sum(n for s, n in ages.items() if s * S < ns) for ns in windows]
    idle = tuple(sum(n for s, n in ages.items() if s * S >= ns) for ns in windows)
    resident = sum(ages.values()) + unseen + uncovered
    return UseRow(
        target, what, kind, node, resident, unseen, uncovered,
        used_low=tuple(max(0, n - doubt) for n in used),
        used=tuple(used),
        used_high=tuple(min(resident, n + doubt + unseen + uncovered) for n in used),
        idle=idle,
        idle_own=idle if own else (0,) * len(idle),
        returned=() if back is None else tuple(
            sum(n for s, n in back.items() if s * S >= ns) for ns in windows
        ),
    )  # fmt: skip


def page_use(*rows: UseRow, watched_ns: int = 30 * S, **changes: Any) -> PageUse:
    """What a map knows after so long, at that time of CLOCK_MONOTONIC; all of it is exact."""
    return PageUse(watched_ns, watched_ns, windows_until(watched_ns), rows, **changes)
