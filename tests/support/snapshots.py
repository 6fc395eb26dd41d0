"""Snapshots made up for tests: any regions, targets, phases and gaps."""

from __future__ import annotations

from collections.abc import Iterable

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
        for name, value in zip(Columns.__slots__, row, strict=True):
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
