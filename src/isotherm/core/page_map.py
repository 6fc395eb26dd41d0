"""
PageMap: which pages were used within which time, beside the regions of a policy or alone.

A policy samples a page of each region; a map looks at all pages, seldom: it clears what is young,
and reads when it becomes young again. A Look that can do so offers one (`Look.page_map`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from isotherm.core.look import TargetRanges
from isotherm.model.page_use import PageUse


class PageMap(Protocol):
    """
    Follows the use of all pages of the targets, within its share of CPU.

    Called from the thread that samples, between samples. Times are CLOCK_MONOTONIC in ns.
    """

    def update(self, targets: Sequence[TargetRanges]) -> None:
        """Take the living targets and their address maps, as `Look.targets` just returned them."""

    def step(self, slack_ns: int = 0) -> int:
        """Do what is due within `slack_ns` and can be paid; return when to come again."""

    def covered(self) -> bool:
        """Tell whether all that is resident was looked at once: work of the start is over."""

    def take(self) -> PageUse | None:
        """Return what is known; None while another sum would cost more than it tells."""

    def sum(self) -> PageUse:
        """Return what is known now, whatever it costs."""

    def close(self) -> None:
        """Give back what is held."""
