"""The rows of a sum of a map of pages: their places, and what the core's words for them mean."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

from isotherm.core.look import TargetRanges
from isotherm.model.page_use import WINDOWS_NS, GroupUse, Kind

#: Rows of a target at most; further mappings are summed up as one.
_MOST_ROWS = 500
_OTHERS = "(others)"
_NO_GROUP = 0xFFFF_FFFF


class Rows:
    """
    Places of what is summed up: id of a target, title and kind.

    crowded: a target has more titles than are told apart, or had; it is time to begin anew.
    """

    def __init__(self) -> None:
        self.keys: list[tuple[int, str, Kind]] = []
        self._places: dict[tuple[int, str, Kind], int] = {}
        self._titles: Counter[int] = Counter()

    def place(self, target: int, title: str, kind: Kind) -> int:
        """Return the place of a row, a new one if need be."""
        key = target, title, kind
        if key not in self._places and self._titles[target] >= _MOST_ROWS:
            key = target, _OTHERS, kind
        if key not in self._places:
            self._places[key] = len(self.keys)
            self.keys.append(key)
            self._titles[target] += 1
        return self._places[key]

    @property
    def nr_targets(self) -> int:
        """How many targets have places, those that went included."""
        return len(self._titles)

    @property
    def crowded(self) -> bool:
        """Whether it is time to begin anew."""
        return any(titles >= _MOST_ROWS for titles in self._titles.values())


def members_of(targets: Sequence[TargetRanges]) -> tuple[list[str], array[int]]:
    """Return the titles of groups, and targets with numbers of theirs, u32: a group at a time."""
    titles = sorted({known.target.group for known in targets} - {""})
    if not titles:
        return [], array("I")
    numbers = {title: number for number, title in enumerate(titles)} | {"": _NO_GROUP}
    found = sorted((numbers[known.target.group], place) for place, known in enumerate(targets))
    return titles, array("I", [word for number, place in found for word in (place, number)])


def by_window(words: array[int], nr_windows: int) -> list[tuple[int, ...]]:
    """Return the figures of a sum that are told for each length of time."""
    return [tuple(words[at : at + nr_windows]) for at in range(3, len(words), nr_windows)]


def returned(sizes: Sequence[int], windows: Sequence[int]) -> tuple[int, ...]:
    """Return how much came back after each length of time or longer; sizes: by `WINDOWS_NS`."""
    found, left, at = [], sum(sizes[: len(WINDOWS_NS)]), 0
    for window in windows:  # ascending, as the ages are
        while at < len(sizes) and at < len(WINDOWS_NS) and WINDOWS_NS[at] < window:
            left -= sizes[at]
            at += 1
        found.append(left)
    return tuple(found)


def group_uses(
    titles: Sequence[str], found: Sequence[array[int]], nr_windows: int
) -> tuple[GroupUse, ...]:
    """Return what groups have, of the figures of each: those that have something."""
    uses = []
    for title, words in zip(titles, found, strict=False):
        low, used, high, idle, _ = by_window(words, nr_windows)
        if words[0]:
            uses.append(GroupUse(title, words[0], words[1], words[2], low, used, high, idle))
    return tuple(uses)
