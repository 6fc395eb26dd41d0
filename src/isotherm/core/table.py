"""Table: the regions as schemes see them, whatever policy keeps them."""

from __future__ import annotations

from array import array
from typing import Protocol

from isotherm.model.scheme import Limits


class Table(Protocol):
    """
    The regions of all targets, in target and address order, for the scheme engine.

    Regions are named by their place among the regions of all targets. `cut` moves those behind it
    by one; nothing else here moves any, but for `rejoin`.
    """

    def __len__(self) -> int:
        """Return the number of regions."""

    def target_ids(self) -> list[int]:
        """Return the ids of the targets, in order."""

    def spans(self) -> list[tuple[int, int]]:
        """Return per target the places [first, end) of its regions."""

    def matching(self, limits: Limits, left_bp: int, *, known: bool) -> array[int]:
        """
        Return the places of regions that match a pattern, ascending, u64.

        left_bp: share of the running window still to come, in 1/10,000; known: leave out regions
        of which nothing could be observed.
        """

    def region(self, place: int, left_bp: int, /) -> tuple[int, int, int, int, int]:
        """
        Return start, end, rate, age, and unobservable bytes of a region.

        The rate is in accesses per whole window, of a window that ends now; the age in windows.
        """

    def cut(self, place: int, size: int, /) -> None:
        """Split a region after its first `size` bytes, fewer than all; both know the same."""

    def renew(self, place: int, /) -> None:
        """Set the age of a region to 0: something was done to it."""

    def rejoin(self, size_limit: int, /) -> None:
        """Undo cuts: merge neighbours that know the same and are below `size_limit` bytes."""
