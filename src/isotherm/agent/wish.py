"""What the agent's settings ask of the session."""

from __future__ import annotations

from isotherm.agent.config import Settings
from isotherm.agent.groups import WatchedGroups
from isotherm.backends.opening import MapWish, Wish
from isotherm.core.policies import MAP
from isotherm.session.options import Options

#: Of what the agent may spend this much is the session's: the rest is for sums, regions, looking
#: who is there, the ring and scrapes.
MAP_SHARE = 0.4
#: Where sums are dear their figures may become so old.
_OLDEST_NS = 120_000_000_000


def options_of(settings: Settings, groups: WatchedGroups) -> Options:
    """Return what is asked of the session."""
    monitor = settings.monitor
    return Options(
        sources=(groups,),
        wait=True,
        wish=Wish(
            sample=monitor.sample_us,
            aggr=monitor.aggr_us,
            update=monitor.update_us,
            regions=_regions(settings),
            policy=MAP,
        ),
        pages=MapWish(titles=False, oldest_ns=_OLDEST_NS),
        overhead=MAP_SHARE * settings.overhead,
        schemes=settings.schemes,
        schemes_later=True,
        guard=settings.guard,
        dry_run=not settings.apply,
    )


def _regions(settings: Settings) -> tuple[int, int] | None:
    low, high = settings.monitor.min_nr_regions, settings.monitor.max_nr_regions
    return None if low is None or high is None else (low, high)
