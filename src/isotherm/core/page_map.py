"""
PageMap: which pages were used within which time, beside the regions of a policy or alone.

A policy samples a page of each region; a map looks at all pages, seldom: it clears what is young,
and reads when it becomes young again. A Look that can do so offers one (`Look.page_map`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol, runtime_checkable

from isotherm.core.look import TargetRanges
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Columns


class PageMap(Protocol):
    """
    Follows the use of all pages of the targets, within its share of CPU.

    Called from the thread that samples, between samples. Times are CLOCK_MONOTONIC in ns.
    """

    def update(self, targets: Sequence[TargetRanges]) -> None:
        """Take the living targets and their address maps, as `Look.targets` just returned them."""

    def step(self) -> int:
        """Do what is due and can be paid; return when to come again."""

    def spent_ns(self) -> int:
        """Return the CPU time that this thread has spent in it; 0: it cannot be limited."""

    def set_limit(self, share: float) -> None:
        """Take no more than this share of one CPU from here on, nor than its own."""

    def covered(self) -> bool:
        """Tell whether all that is resident was looked at once."""

    def begins(self) -> bool:
        """Tell whether work of the start goes on, which has a share of CPU of its own."""

    def take(self) -> PageUse | None:
        """Return what is known; None while another sum would cost more than it tells."""

    def sum(self) -> PageUse:
        """Return what is known now, whatever it costs; no rows of who has ended."""

    def executed(self) -> AbstractSet[int]:
        """Return the places of targets that were found to run another program than they did."""

    def close(self) -> None:
        """Give back what is held."""


class Run(NamedTuple):
    """
    Addresses [start, end) of a target where pages are used alike, in bytes.

    present: of what is in memory there; unknown: of it what nobody looked at yet, or whose use is
    not seen; soon, used: of the rest what was used within the shorter and the longer time.
    """

    start: int
    end: int
    present: int
    unknown: int
    soon: int
    used: int


class Part(NamedTuple):
    """
    Addresses [start, end) of a target, and what is known of the memory in them, in bytes.

    target: its place in the last `update`; present: what is in memory; unread: where nobody looked
    yet, whatever is there; unknown: of what is present that whose use is not seen, or not yet;
    soon, used: of the rest what was used within the shorter and the longer time.
    """

    target: int
    start: int
    end: int
    present: int
    unread: int
    unknown: int
    soon: int
    used: int


@runtime_checkable
class RunMap(PageMap, Protocol):
    """A map that knows of single pages, and so where memory is used alike."""

    def runs(self, target: int, soon_ns: int, used_ns: int, most: int) -> list[Run]:
        """
        Return a target's memory in address order, as parts of like use; what is absent is in none.

        target: its place in the last `update`; most: join what is less alike beyond so many.
        """

    def parts(self, columns: Columns, soon_ns: int, used_ns: int, least: int) -> array[int]:
        """
        Return all addresses of regions, in their order, cut where nothing is in memory.

        As the fields of a `Part` after the other, u64. least: fewer bytes without a page are no
        part of their own.
        """
