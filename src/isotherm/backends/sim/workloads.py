"""Worlds to measure with: fixed hot areas, one that moves, many scattered spots."""

from __future__ import annotations

import random

from isotherm.backends.sim.world import FOREVER, Area, HotArea, Order, Space, World
from isotherm.model.ranges import PAGE

MIB = 1 << 20
MS = 1_000_000
SECOND = 1_000_000_000
#: Where spaces begin: any address that is a multiple of 2 MiB will do.
BASE = 0x7F00_0000_0000
#: Hot means touched twice per default sampling interval: no sample of it finds nothing.
HOT_PERIOD_NS = 2_500_000


def fixed(
    total_bytes: int,
    hot: tuple[tuple[int, int], ...],
    *,
    period_ns: int = HOT_PERIOD_NS,
    order: Order = "sequential",
    page_bytes: int = PAGE,
) -> World:
    """One area of `total_bytes`, whose parts `hot` = (offset, bytes) are always in use."""
    return World((_space(total_bytes, hot, period_ns, order, page_bytes),))


def moving(
    total_bytes: int,
    hot_bytes: int,
    dwell_ns: int,
    steps: int,
    *,
    seed: int = 0,
    period_ns: int = HOT_PERIOD_NS,
) -> World:
    """One hot area that is somewhere else in each of `steps` times of `dwell_ns`."""
    places = _places(total_bytes, hot_bytes, total_bytes // hot_bytes, seed)
    hot = tuple(
        HotArea(
            BASE + places[step % len(places)],
            BASE + places[step % len(places)] + hot_bytes,
            period_ns,
            from_ns=step * dwell_ns,
            until_ns=(step + 1) * dwell_ns if step < steps - 1 else FOREVER,
        )
        for step in range(steps)
    )
    return World((Space("moving", (Area(BASE, BASE + total_bytes),), hot),))


def scattered(
    total_bytes: int,
    spots: int,
    spot_bytes: int,
    *,
    seed: int = 0,
    period_ns: int = HOT_PERIOD_NS,
) -> World:
    """`spots` hot areas of equal size at random places, all always in use."""
    places = _places(total_bytes, spot_bytes, spots, seed)
    hot = tuple((place, spot_bytes) for place in sorted(places))
    return World((_space(total_bytes, hot, period_ns, "sequential", PAGE),))


def _space(
    total_bytes: int,
    hot: tuple[tuple[int, int], ...],
    period_ns: int,
    order: Order,
    page_bytes: int,
) -> Space:
    return Space(
        "simulated",
        (Area(BASE, BASE + total_bytes, page_bytes=page_bytes),),
        tuple(
            HotArea(BASE + offset, BASE + offset + size, period_ns, order) for offset, size in hot
        ),
    )


def _places(total_bytes: int, size: int, count: int, seed: int) -> list[int]:
    """Draw `count` different multiples of `size` in [0, total)."""
    slots = total_bytes // size
    chosen = random.Random(seed).sample(range(slots), min(count, slots))  # noqa: S311
    return [slot * size for slot in chosen]
