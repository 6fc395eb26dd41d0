"""DAMON's policy: adaptive regions, one random page of each per tick (mm/damon/core.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from isotherm import _core
from isotherm.clock import SystemClock
from isotherm.core.damon.arithmetic import divided
from isotherm.core.damon.profile import Profile
from isotherm.core.look import TargetRanges
from isotherm.core.policy import Setting
from isotherm.core.ticks import Tally
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.snapshot import Columns


class DamonPolicy:
    """
    Regions are split at random and merged where they are alike: see `core.reference.regions`.

    Runs on the C core, or, where the setting is not native, on its readable twins.
    """

    def __init__(self, setting: Setting) -> None:
        self._profile = setting.profile
        self._unit = setting.look.min_region_bytes
        self._ranges: dict[int, tuple[Range, ...]] = {}
        self._targets: Sequence[TargetRanges] | None = None
        self.size_limit = 0
        build = _native if setting.native else _readable
        self.table, self.rng, self._sampler = build(setting)

    def begin(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        self._follow(targets, attrs)
        self.size_limit = self.table.enforce_min(attrs.min_nr_regions)

    def update(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        self._follow(targets, attrs)
        if not self._profile.enforces_min_regions:
            self.size_limit = self.table.enforce_min(attrs.min_nr_regions)

    def sample(self, ticks: int, sample_us: int) -> int:
        return self._sampler.run(ticks, sample_us * 1000)

    def stop(self) -> None:
        self._sampler.stop()

    def end_window(self, attrs: Attrs) -> None:
        table, samples = self.table, attrs.samples_per_aggr
        highest = table.end_window(samples)
        # A tenth of the hottest region's count is not a difference (kdamond_fn).
        table.merge_to(attrs.max_nr_regions, highest // 10, self.size_limit, samples)
        self.size_limit = table.enforce_min(attrs.min_nr_regions)

    def begin_window(self, attrs: Attrs) -> None:
        self.table.reset()
        self.table.split(attrs.max_nr_regions, self.rng)

    def rescale(self, old: Attrs, new: Attrs, *, aggregating: bool) -> None:
        self.table.rescale(
            old.samples_per_aggr,
            new.samples_per_aggr,
            old.aggr_us,
            new.aggr_us,
            aggregating=aggregating,
        )

    def access_events(self) -> tuple[int, int]:
        return self.table.access_events()

    def columns(self) -> Columns:
        return self.table.columns()

    def take_cost(self) -> Tally:
        return Tally(*self._sampler.take())

    def _follow(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        """Have the regions of the living targets cover their ranges."""
        if targets is self._targets:
            return
        before, self._targets = self._ranges, targets
        self._ranges = {known.target.id: known.ranges for known in targets}
        if list(self._ranges) != list(before):
            self.table.set_targets(list(self._ranges))
        for target_id, ranges in self._ranges.items():
            wanted: Sequence[tuple[int, int]] = ranges
            if target_id not in before and not self._profile.enforces_min_regions:
                wanted = divided(ranges, attrs.min_nr_regions, self._unit)
            if before.get(target_id) != ranges:
                self.table.set_regions(target_id, wanted)


_Parts = tuple["_core.RegionTable", "_core.Rng", "_core.Sampler"]


def _table_options(setting: Setting) -> tuple[int, Profile, int]:
    return setting.look.min_region_bytes, setting.profile, setting.attrs.samples_per_aggr


def _native(setting: Setting) -> _Parts:
    look = setting.look
    table = _core.RegionTable(*_table_options(setting))
    rng = _core.Rng(setting.prng, setting.seed)
    access = look.native_access() or _core.python_access(look)
    clock = None if isinstance(setting.clock, SystemClock) else setting.clock
    return table, rng, _core.Sampler(table, rng, access, clock)


def _readable(setting: Setting) -> _Parts:
    # The twins are a specification that tests run: the product does without them.
    from isotherm.core.reference.regions import RegionTable
    from isotherm.core.reference.rng import Rng
    from isotherm.core.reference.sampler import PySampler

    table = RegionTable(*_table_options(setting))
    rng = Rng(setting.prng, setting.seed)
    sampler = PySampler(table, rng, setting.look, setting.clock)
    # They behave, and so are typed, as what they are twins of.
    return cast("_Parts", (table, rng, sampler))
