"""Regions as a plain list, for policies that keep few of them and change them once a window."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Limits
from isotherm.model.snapshot import Columns, is_blind


@dataclass(slots=True)
class ListedRegion:
    """
    A region: addresses [start, end) of the target at this place among the ids.

    count, last: nr_accesses of the window that ended and the one before; age: windows since that
    changed; unobservable: bytes; used: bytes that were used in the window that ended; share: as in
    `model.snapshot.Region`, None where `count` says it.
    """

    target: int
    start: int
    end: int
    count: int = 0
    last: int = 0
    age: int = 0
    unobservable: int = 0
    used: int = 0
    share: float | None = None

    @property
    def size(self) -> int:
        return self.end - self.start


_RegionT = TypeVar("_RegionT", bound=ListedRegion)


class RegionList(Generic[_RegionT]):
    """
    A `core.table.Table`.

    ids: of the targets in their order; regions: in target and address order.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.regions: list[_RegionT] = []

    def __len__(self) -> int:
        return len(self.regions)

    def target_ids(self) -> list[int]:
        return self.ids

    def spans(self) -> list[tuple[int, int]]:
        counts = [0] * len(self.ids)
        for region in self.regions:
            counts[region.target] += 1
        return list(pairwise(accumulate(counts, initial=0)))

    def matching(self, limits: Limits, left_bp: int, *, known: bool) -> array[int]:
        return array(
            "Q",
            [
                place
                for place, region in enumerate(self.regions)
                if limits.min_size <= region.size <= limits.max_size
                and limits.min_accesses <= _rate(region, left_bp) <= limits.max_accesses
                and limits.min_age <= region.age <= limits.max_age
                and not (known and is_blind(region.size, region.unobservable))
            ],
        )

    def region(self, place: int, left_bp: int, /) -> tuple[int, int, int, int, int]:
        region = self.regions[place]
        rate = _rate(region, left_bp)
        return region.start, region.end, rate, region.age, region.unobservable

    def cut(self, place: int, size: int, /) -> None:
        region = self.regions[place]
        self.regions[place : place + 1] = cut_after(region, size)

    def renew(self, place: int, /) -> None:
        self.regions[place].age = 0

    def rejoin(self, size_limit: int, /) -> None:
        kept: list[_RegionT] = []
        for region in self.regions:
            if kept and _belong(kept[-1], region) and region.end - kept[-1].start <= size_limit:
                kept[-1].end = region.end
                kept[-1].unobservable += region.unobservable
                kept[-1].used += region.used
            else:
                kept.append(region)
        self.regions = kept

    def rescale(self, old: Attrs, new: Attrs) -> None:
        """Convert counts and ages to changed intervals."""
        for region in self.regions:
            for name in ("last", "count"):
                share = getattr(region, name) / old.samples_per_aggr
                setattr(region, name, round(share * new.samples_per_aggr))
            region.age = region.age * old.aggr_us // new.aggr_us


def columns_of(table: RegionList[_RegionT]) -> Columns:
    """Return the regions as a snapshot's columns."""
    regions = table.regions
    return Columns(
        target=array("I", [region.target for region in regions]),
        start=array("Q", [region.start for region in regions]),
        end=array("Q", [region.end for region in regions]),
        nr_accesses=array("I", [region.count for region in regions]),
        age=array("I", [region.age for region in regions]),
        unobservable=array("Q", [region.unobservable for region in regions]),
        used=array("Q", [region.used for region in regions]),
        share=array("d", [one.share for one in regions if one.share is not None])
        if all(one.share is not None for one in regions)
        else None,
    )


def cut_after(region: _RegionT, size: int) -> tuple[_RegionT, _RegionT]:
    """Return both parts of a region, each with its share of what is known in bytes."""
    at = region.start + size
    unseen, used = (n * size // region.size for n in (region.unobservable, region.used))
    return (
        replace(region, end=at, unobservable=unseen, used=used),
        replace(
            region,
            start=at,
            unobservable=region.unobservable - unseen,
            used=region.used - used,
        ),
    )


def _belong(left: ListedRegion, right: ListedRegion) -> bool:
    mine, others = (left.target, left.count, left.last), (right.target, right.count, right.last)
    return left.end == right.start and mine == others and left.age == right.age


def _rate(region: ListedRegion, left_bp: int) -> int:
    # Amid a window nothing is known of it yet.
    return region.last if left_bp else region.count
