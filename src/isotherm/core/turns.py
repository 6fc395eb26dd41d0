"""Targets take turns: which are looked at in a window, where all of them would cost too much."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Turns:
    """
    Chooses whose turn it is, window by window.

    Everybody has a turn before anybody has another. New targets need not wait, but take half of a
    window at the most, so that nobody waits for ever where many come and go.
    """

    def __init__(self) -> None:
        self._last = -1
        self._seen: set[int] = set()

    def next(self, ids: Sequence[int], share: float) -> bytes | None:
        """
        Return a byte for each target, 1 for those that rest; None if nobody does.

        ids: of the targets, ascending; share: of them that are looked at, above 0 and up to 1.
        """
        most = math.ceil(share * len(ids))
        if most >= len(ids):
            self._last, self._seen = -1, set(ids)
            return None
        seen = self._seen.intersection(ids)
        new = [key for key in ids if key not in seen][: -(-most // 2)]
        after = [key for key in ids if key > self._last and key in seen]
        begun = [key for key in ids if key <= self._last and key in seen]
        old = (after + begun)[: most - len(new)]
        if old:
            self._last = old[-1]
        self._seen = seen.union(new)
        awake = {*new, *old}
        return bytes(key not in awake for key in ids)
