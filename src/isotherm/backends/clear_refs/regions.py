"""
The policy of this backend: a region is a mapping, its rate the share of it that was used.

Nothing is drawn. `nr_accesses` of a region is the share of its bytes that were used in the window,
in parts of the samples of a window: of 100, say, it is percent, and 1 at least where anything was
used. Which pages these were is not known, so regions are not split, and are as many as there are
mappings; beyond `max_nr_regions` the nearest neighbours are one. Other bounds have no effect.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isotherm.backends.clear_refs.epochs import MappingUse
from isotherm.backends.clear_refs.look import ClearRefsLook
from isotherm.core.look import Samples, TargetRanges
from isotherm.core.policy import Setting
from isotherm.core.region_list import ListedRegion, RegionList, columns_of
from isotherm.core.ticks import Tally, Ticks
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range, parts
from isotherm.model.snapshot import Columns
from isotherm.targets.ranges import coalesce

#: A rate that changes by no more than this share of the possible stays what it is.
_ALIKE = 0.1


@dataclass(slots=True)
class _Region(ListedRegion):
    """
    A mapping, or what a scheme cut it to.

    whole: where the region that it was cut from begins; all of it is unobservable, or nothing.
    """

    whole: int = 0

    def knows_as(self, other: _Region) -> bool:
        """Tell whether the other is of the same region and knows the same."""
        mine, others = (self.whole, self.last, self.age), (other.whole, other.last, other.age)
        return mine == others and self.count == other.count


class MappingTable(RegionList[_Region]):
    """Regions that are mappings: only what was cut from one of them is joined again."""

    def rejoin(self, size_limit: int, /) -> None:
        del size_limit
        kept: list[_Region] = []
        for region in self.regions:
            if kept and kept[-1].end == region.start and kept[-1].knows_as(region):
                kept[-1].end = region.end
                kept[-1].unobservable += region.unobservable
            else:
                kept.append(region)
        self.regions = kept


class MappingRegions:
    """
    The policy; see the module.

    Raises `BadValueError` over another look than `ClearRefsLook`.
    """

    def __init__(self, setting: Setting) -> None:
        if not isinstance(setting.look, ClearRefsLook):
            raise BadValueError(f"the policy {NAME!r} is for the backend {ClearRefsLook.name}")
        self._look = setting.look
        self.table = MappingTable()
        self.size_limit = 0
        self._ticks = Ticks(self._look, setting.clock, _nothing, _ignore)
        self._checks = 0

    def begin(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        self.update(targets, attrs)
        self._look.epochs.begin_window()

    def update(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        known = self._by_start()
        self.table.ids = [found.target.id for found in targets]
        pieces = [
            (index, piece)
            for index, found in enumerate(targets)
            for each in found.ranges
            for _, piece in parts(found.mappings, each.start, each.end)
        ]
        if len(pieces) > attrs.max_nr_regions:
            pieces = _fewer(pieces, attrs.max_nr_regions)
        regions = []
        for index, (start, end) in pieces:
            old = known.get((self.table.ids[index], start))
            fresh = _Region(index, start, end, whole=start)
            regions.append(_moved(old, index, end) if old else fresh)
        self.table.regions = regions

    def sample(self, ticks: int, sample_us: int) -> int:
        return self._ticks.run(ticks, sample_us * 1000)

    def stop(self) -> None:
        self._ticks.stop()

    def end_window(self, attrs: Attrs) -> None:
        self.table.rejoin(0)
        found = self._look.epochs.end_window()
        samples = attrs.samples_per_aggr
        alike = int(_ALIKE * samples)
        for region in self.table.regions:
            uses = found.get(self.table.ids[region.target], [])
            used = _used_in(uses, region)
            region.unobservable = region.size if used is None else 0
            region.count = _part(used or 0, region.size, samples)
            same = abs(region.count - region.last) <= alike
            region.age = region.age + 1 if same and bool(region.count) == bool(region.last) else 0
        self._checks += len(self.table)

    def begin_window(self, attrs: Attrs) -> None:
        del attrs
        for region in self.table.regions:
            region.last, region.count = region.count, 0
        self._look.epochs.begin_window()

    def rescale(self, old: Attrs, new: Attrs, *, aggregating: bool) -> None:
        del aggregating
        self.table.rescale(old, new)

    def access_events(self) -> tuple[int, int]:
        regions = self.table.regions
        return sum(r.size * r.count for r in regions), sum(r.size for r in regions)

    def columns(self) -> Columns:
        return replace(columns_of(self.table), used=None)

    def take_cost(self) -> Tally:
        checks, self._checks = self._checks, 0
        return self._ticks.take()._replace(checks=checks)

    def _by_start(self) -> dict[tuple[int, int], _Region]:
        """Return the regions by their target's id and where they begin, cuts undone."""
        self.table.rejoin(0)
        return {(self.table.ids[r.target], r.start): r for r in self.table.regions}


NAME = "mappings"


def _nothing() -> Samples:
    return Samples(array("Q"), array("I"), array("I"))


def _ignore(results: bytes) -> None:
    del results


def _moved(old: _Region, target: int, end: int) -> _Region:
    """Return a region of which the end, or its target's place, may have changed."""
    unseen = end - old.start if old.unobservable else 0
    return replace(old, target=target, end=end, unobservable=unseen)


def _part(used: int, size: int, samples: int) -> int:
    """Return the share `used` of `size` as so many samples; something used is 1 at least."""
    return min(samples, max(1, round(used * samples / size))) if used else 0


def _used_in(uses: Sequence[MappingUse], region: _Region) -> int | None:
    """Return what was used of the mappings of a region; None where none can be observed."""
    told = [use for use, part in parts(uses, region.start, region.end) if part.size]
    seen = [use.used for use in told if use.used is not None]
    return None if told and not seen else min(region.size, sum(seen))


def _fewer(pieces: list[tuple[int, Range]], most: int) -> list[tuple[int, Range]]:
    """Join neighbours, of each target its share of so many."""
    found = []
    for index in dict.fromkeys(index for index, _ in pieces):
        own = [piece for each, piece in pieces if each == index]
        share = max(1, most * len(own) // len(pieces))
        found += [(index, piece) for piece in coalesce(own, share)]
    return found
