"""Random splitting of a region table: new regions look closer, merging keeps what was worth it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from isotherm.core.damon.profile import Profile
from isotherm.core.reference.region import RegionState


class RandomRange(Protocol):
    """What splitting needs of a generator: `Rng`, or its twin in C."""

    def range(self, l: int, r: int, /) -> int: ...


class SplitTable:
    """The part of `core.reference.regions.RegionTable` that splits."""

    profile: Profile
    min_region_bytes: int
    _targets: dict[int, list[RegionState]]
    # The kernel shares these two among all contexts; ours are the table's own.
    _previous_nr = 0
    _rotation = 0

    def split(self, max_nr: int, rng: RandomRange) -> None:
        """Split at random to look closer, while there is room (kdamond_split_regions)."""
        nr = sum(map(len, self._targets.values()))
        previous = self._previous_nr
        few = nr <= max_nr // 2 and nr < max_nr
        if few or self.profile.notes_every_count:
            self._previous_nr = nr
        if few:
            self.split_all(3 if previous == nr and nr < max_nr // 3 else 2, rng)
        elif nr < max_nr and self.profile.splits_above_half:
            self.split_every(max_nr // (max_nr - nr), rng)

    def split_all(self, pieces: int, rng: RandomRange) -> None:
        """Split each region into at most `pieces` (damon_split_regions_of)."""

        def parts(region: RegionState) -> list[RegionState]:
            rest: list[RegionState] = []
            for _ in range(pieces - 1):
                if region.size > 2 * self.min_region_bytes:
                    rest[:0] = self._split_tenths(region, rng)
            return [region, *rest]

        self._replace(parts)

    def split_every(self, step: int, rng: RandomRange) -> None:
        """Split every `step`-th region in two, others at each call (damon_split_some_regions)."""
        offset = self._rotation % step
        self._rotation += 1
        index = -1

        def parts(region: RegionState) -> list[RegionState]:
            nonlocal index
            index += 1
            if index % step != offset or region.size < 2 * self.min_region_bytes:
                return [region]
            return [region, *self._split_tenths(region, rng)]

        self._replace(parts)

    def _replace(self, parts: Callable[[RegionState], list[RegionState]]) -> None:
        for target_id, regions in self._targets.items():
            self._targets[target_id] = [part for region in regions for part in parts(region)]

    def _split_tenths(self, region: RegionState, rng: RandomRange) -> list[RegionState]:
        """Cut at a random tenth, aligned down; return the right part, or nothing if too small."""
        unit = self.min_region_bytes
        left = rng.range(1, 10) * region.size // 10 // unit * unit
        return [region.cut(left)] if 0 < left < region.size else []
