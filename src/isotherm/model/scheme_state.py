"""What came of a scheme: statistics, the quota in force, and which regions it tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class TriedRegion(NamedTuple):
    """
    A region that a scheme was applied to, as it was just before.

    target: index into the snapshot's targets; nr_accesses: over a whole window; age: in windows;
    passed_bytes: let through by the filters of memory (0 where there are none); applied_bytes:
    really treated.
    """

    target: int
    start: int
    end: int
    nr_accesses: int
    age: int
    passed_bytes: int
    applied_bytes: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class SchemeStats:
    """
    Counts since the scheme began, by the kernel's names; sz_ are bytes.

    errors: how often actions failed, in whole or in part, by a short reason.
    """

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0
    sz_ops_filter_passed: int = 0
    qt_exceeds: int = 0
    nr_snapshots: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchemeState:
    """
    A scheme after a window.

    effective_bytes: what the quota allows per reset interval at present, None without a quota;
    charged_bytes: used of it so far; score: how far the goals are met, 1.0 is exactly, None
    without goals; active: whether the watermarks let it work; held: whether a guard holds it back;
    tried: regions it was applied to since the snapshot before.
    """

    title: str
    action: str
    stats: SchemeStats = SchemeStats()
    effective_bytes: int | None = None
    charged_bytes: int = 0
    score: float | None = None
    active: bool = True
    held: bool = False
    tried: tuple[TriedRegion, ...] = ()
