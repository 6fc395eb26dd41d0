"""
A look at a simulated machine that charges for it: reads and clears cost CPU time of the monitor.

That time is what the clock says of it (`cpu_ns`), and passes meanwhile: governor, map of pages and
every policy see it as their cost, and a monitor that does too much comes late.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import ClassVar

from isotherm import _core
from isotherm.backends.sim.costs import Costs
from isotherm.backends.sim.workload import Area, Workload
from isotherm.core.look import Bulk, Look, Samples, TargetRanges
from isotherm.core.native_map import NativePageMap
from isotherm.model.ranges import union
from isotherm.model.target import Mapping, Target, Unobservable

#: Simulated time of day at the beginning: 2020-01-01.
_EPOCH_NS = 1_577_836_800_000_000_000
#: Of the share of CPU so much is the map of pages', beside a policy's samples, and alone.
_MAP_SHARE, _ALONE_SHARE = 0.5, 0.85
#: Share of one CPU for the first look at all pages.
_FIRST_LOOK = 0.10


class SimClock:
    """The time of a simulated machine; a `clock.Clock`."""

    def __init__(self, world: _core.SimWorld) -> None:
        self._world = world
        self.now_ns = world.now_ns
        self.cpu_ns = world.cpu_ns
        self.sleep_until = world.sleep_until

    def wall_ns(self) -> int:
        return _EPOCH_NS + self._world.now_ns()


class ChargedLook(Look):
    """
    Looks at the processes of a workload.

    costs: of looking; overhead: share of one CPU that clears of samples keep to, together with all
    that is charged, 0 is no bound; seed: of the world, not of who looks.
    """

    name: ClassVar[str] = "sim"

    def __init__(
        self, workload: Workload, costs: Costs, *, seed: int = 0, overhead: float = 0.0
    ) -> None:
        self.workload = workload
        self._costs = costs
        self.world = workload.world(costs, seed=seed, overhead=overhead)
        self.clock = SimClock(self.world)
        self.world.set_targets(array("I", self._living(0)))

    def targets(self) -> Sequence[TargetRanges]:
        now_ns = self.clock.now_ns()
        living = self._living(now_ns)
        self.world.set_targets(array("I", living))
        return [_target_ranges(process, self.workload.areas, now_ns) for process in living]

    def alive(self) -> bool:
        return bool(self._living(self.clock.now_ns()))

    def prepare(self, addresses: Samples) -> None:
        self.world.turn(addresses.addresses, addresses.targets, addresses.checked)

    def check(self) -> bytes:
        empty = array("I")
        return self.world.turn(array("Q"), empty, empty)

    def cleared(self) -> int:
        return self.world.take_cleared()

    def native_access(self) -> object:
        return self.world.native()

    def bulk(self) -> Bulk:
        return self.world

    @property
    def clears_one_by_one(self) -> bool:
        return self._costs.clear < self._costs.clear_page

    def page_map(self, overhead: float, *, alone: bool = False) -> NativePageMap:
        """
        Return the map of all pages, within its part of a share of one CPU.

        alone: nothing is sampled beside it.
        """
        return NativePageMap(
            self.world,
            self.clock,
            share=(_ALONE_SHARE if alone else _MAP_SHARE) * overhead,
            first=overhead if alone else _FIRST_LOOK,
            shared_by="page_idle",
        )

    def _living(self, now_ns: int) -> list[int]:
        """Processes that have memory, or will have some again: they end with the last."""
        areas = self.workload.areas
        return sorted({area.process for area in areas if now_ns < area.until_ns})


def _target_ranges(process: int, areas: Sequence[Area], now_ns: int) -> TargetRanges:
    own = [
        area
        for area in areas
        if area.process == process and area.from_ns <= now_ns < area.until_ns
    ]
    size = sum(area.size for area in own)
    shown = {area.shows for area in areas if area.shows is not None}
    shared = [area.shows is not None or areas.index(area) in shown for area in own]
    return TargetRanges(
        target=Target(process, f"process {process}", None, size, size),
        ranges=union((area.start, area.end) for area in own if not area.hidden),
        mappings=tuple(
            Mapping(area.start, area.end, "rw-s" if both else "rw-p", area.name)
            for area, both in sorted(zip(own, shared, strict=True), key=lambda pair: pair[0].start)
        ),
        unobservable=tuple(
            Unobservable(process, area.start, area.end, "locked") for area in own if area.hidden
        ),
    )
