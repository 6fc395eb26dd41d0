"""A map of pages beside the windows of a monitor: when it works, and when it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isotherm.clock import Clock
from isotherm.core.look import TargetRanges
from isotherm.core.page_map import PageMap, RunMap
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import LEAST_USED_US, Columns

#: What a map of pages knew so long ago is told once more at the end.
_NEWS_NS = 1_000_000_000


class MapBeside:
    """
    Lets a map of pages work between the samples of a policy. page_map: None does nothing.

    It is closed with this.
    """

    def __init__(self, page_map: PageMap | None, clock: Clock) -> None:
        self._map = page_map
        self._clock = clock
        self._due_ns = 0
        self._told_ns = 0

    def update(self, targets: Sequence[TargetRanges]) -> None:
        """Take the living targets and their address maps."""
        if self._map is not None:
            self._map.update(targets)

    def ticks(self, sample_us: int) -> int | None:
        """Return after how many ticks there is something to do, 1 at least; None without a map."""
        if self._map is None:
            return None
        left_ns = self._due_ns - self._clock.now_ns()
        return max(1, -(-left_ns // (1000 * sample_us)))

    def step(self) -> None:
        """Let it work, if it is time: no sample may wait for what becomes of its page."""
        if self._map is not None and self._clock.now_ns() >= self._due_ns:
            self._due_ns = self._map.step()

    @property
    def is_kept(self) -> bool:
        """Whether there is a map."""
        return self._map is not None

    def warms_up(self) -> bool:
        """Tell whether work of the start goes on."""
        return self._map is not None and not self._map.covered()

    def take(self, *, last: bool) -> PageUse | None:
        """Return what is known, if it is worth its cost, or the `last` time that is asked."""
        if self._map is None:
            return None
        return self._told(self._map.sum() if last else self._map.take())

    def news(self) -> PageUse | None:
        """Return what is known if the last that was told is old."""
        if self._map is None or self._clock.now_ns() - self._told_ns <= _NEWS_NS:
            return None
        return self._told(self._map.sum())

    def with_used(self, columns: Columns, aggr_us: int) -> Columns:
        """Add to regions how much of them was used in a window, or a second if that is longer."""
        if columns.used is not None or not isinstance(self._map, RunMap):
            return columns
        used_ns = 1000 * max(LEAST_USED_US, aggr_us)
        return replace(columns, used=self._map.used_in(columns, used_ns))

    def close(self) -> None:
        """Give back what is held."""
        if self._map is not None:
            self._map.close()

    def _told(self, use: PageUse | None) -> PageUse | None:
        self._told_ns = self._told_ns if use is None else use.monotonic_ns
        return use
