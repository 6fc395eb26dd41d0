"""Workloads by name: of any size from 64 MiB on, with hot memory of every shape, and changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from isotherm.backends.sim.workload import BASE, FOREVER, HUGE_PAGE, SECOND, Area, Use, Workload
from isotherm.errors import BadValueError, quoted
from isotherm.model.ranges import PAGE
from isotherm.units import exact_size

#: Uses per second of each page: hot, of all other memory, and from which on it counts as hot.
HOT, BACKGROUND, HOT_FROM = 100.0, 0.01, 20.0
SMALLEST, LARGEST = 64 << 20, 16 << 40
#: Changes are made up for so long.
_LONGEST_S = 3600


class Recipe(NamedTuple):
    """How to make a workload: from its size in bytes, for how long, and random numbers."""

    make: Callable[[int, random.Random], tuple[tuple[Area, ...], float, tuple[int, ...]]]
    about: str


_Made = tuple[tuple[Area, ...], float, tuple[int, ...]]


def _seconds(value: float) -> int:
    return round(value * SECOND)


def _pages(nbytes: float, unit: int = PAGE) -> int:
    """Return a size of whole units, one at least."""
    return max(unit, int(nbytes) // unit * unit)


def _place(size: int, part: int, draw: random.Random, unit: int = PAGE) -> int:
    """Return where a part of memory begins, anywhere."""
    return draw.randrange((size - part) // unit + 1) * unit


def _background(size: int, rate: float = BACKGROUND) -> Use:
    return Use(start=0, size=size, rate=rate)


def _one(size: int, *uses: Use, hot: float = HOT_FROM, changes: tuple[int, ...] = ()) -> _Made:
    return (Area(size=size, uses=uses),), hot, changes


def _spot(size: int, part: float, draw: random.Random, rate: float = HOT, **when: Any) -> Use:
    length = _pages(size * part)
    return Use(start=_place(size, length, draw), size=length, rate=rate, **when)


def _hotspot(size: int, draw: random.Random) -> _Made:
    return _one(size, _background(size), _spot(size, 1 / 64, draw))


def _spot64m(size: int, draw: random.Random) -> _Made:
    length = min(64 << 20, size // 4)
    hot = Use(start=_place(size, length, draw), size=length, rate=HOT)
    return _one(size, _background(size), hot)


def _jumping(size: int, part: float, every_s: float, draw: random.Random) -> _Made:
    """A hot part that is somewhere else in each time, never where it was last."""
    length, at, uses = _pages(size * part), -1, []
    slots = size // length
    changes = [_seconds(i * every_s) for i in range(int(_LONGEST_S / every_s) + 1)]
    for from_ns in changes:
        at = (at + draw.randrange(1, slots)) % slots if at >= 0 else draw.randrange(slots)
        until_ns = from_ns + _seconds(every_s)
        uses.append(
            Use(start=at * length, size=length, rate=HOT, from_ns=from_ns, until_ns=until_ns)
        )
    return _one(size, _background(size), *uses, changes=tuple(changes[1:]))


def _phases(size: int, draw: random.Random) -> _Made:
    return _jumping(size, 1 / 8, 5, draw)


def _moving(size: int, draw: random.Random) -> _Made:
    return _jumping(size, 1 / 64, 3, draw)


def _queue(size: int, draw: random.Random) -> _Made:
    """A hot window that goes on by an eighth of itself every half second."""
    length = _pages(size / 64, 8 * PAGE)
    step, begin = length // 8, _place(size, length, draw)
    uses = [
        Use(
            start=(begin // PAGE * PAGE + i * step) % (size - step + PAGE) // PAGE * PAGE,
            size=step,
            rate=HOT,
            from_ns=_seconds(max(0, i - 7) * 0.5),
            until_ns=_seconds((i + 1) * 0.5),
        )
        for i in range(600)
    ]
    return _one(size, _background(size), *uses)


def _gradient(size: int, draw: random.Random) -> _Made:
    """64 steps, each used 0.85 times as often as the one before; the hottest eighth is hot."""
    del draw
    step = _pages(size / 64)
    uses = [Use(start=i * step, size=step, rate=2 * HOT * 0.85**i) for i in range(64)]
    return _one(size, *uses, hot=2 * HOT * 0.85**7.5)


def _zipf(size: int, draw: random.Random) -> _Made:
    """Zipf's law in place: each octave of memory is used twice as often as the rest of it."""
    uses = [_background(size)]
    start, length = 0, size
    for octave in range(1, 13):
        half = _pages(length / 2)
        if half >= length:
            break
        start += draw.randrange(2) * (length - half) // PAGE * PAGE
        length = half
        uses.append(Use(start=start, size=length, rate=BACKGROUND * 2.5**octave))
    return _one(size, *uses, hot=BACKGROUND * 2.5**6)


def _zipf_of(unit: int) -> Callable[[int, random.Random], _Made]:
    """Scattered: of every 2 objects one is used 4 times as often as the other, and so on."""

    def make(size: int, draw: random.Random) -> _Made:
        del draw
        hot = Use(start=0, size=size, rate=BACKGROUND, unit=unit, group=2, levels=8, gain=4.0)
        # The hottest 64th: of level 6 and above.
        return _one(size, hot, hot=BACKGROUND * 4.0**5)

    return make


def _chosen(unit: int, group: int, part: float) -> Callable[[int, random.Random], _Made]:
    """One of so many units is hot, in a part of memory."""

    def make(size: int, draw: random.Random) -> _Made:
        length = _pages(size * part, unit * PAGE)
        start = _place(size, length, draw, unit * PAGE)
        hot = Use(start=start, size=length, rate=HOT, unit=unit, group=group)
        return _one(size, _background(size), hot)

    return make


def _strided(size: int, draw: random.Random) -> _Made:
    length = _pages(size / 4)
    hot = Use(start=_place(size, length, draw), size=length, rate=HOT, group=8, regular=True)
    return _one(size, _background(size), hot)


def _births(size: int, draw: random.Random) -> _Made:
    """32 spots of 0.01 to 1 % of memory, each living 3 to 20 s, then another is born."""
    uses, changes = [_background(size)], []
    for _ in range(32):
        at = -20 * draw.random()
        while at < 300:
            life = draw.uniform(3, 20)
            if at + life > 0:
                part = 0.0001 * 100 ** draw.random()
                from_ns, until_ns = _seconds(max(0, at)), _seconds(at + life)
                uses.append(_spot(size, part, draw, from_ns=from_ns, until_ns=until_ns))
                changes.append(from_ns)
            at += life
    return _one(size, *uses, changes=tuple(sorted(change for change in changes if change)))


def _breath(size: int, draw: random.Random) -> _Made:
    """A region that grows from 2 to 20 % of memory and shrinks again, in 16 s."""
    step = _pages(size / 100)
    start = _place(size, 20 * step, draw)
    uses = [_background(size), Use(start=start, size=2 * step, rate=HOT)]
    for i in range(18):
        begin = _seconds(8 * i / 18)
        on_ns = 16 * SECOND - 2 * begin
        part = Use(
            start=start + (2 + i) * step,
            size=step,
            rate=HOT,
            from_ns=begin,
            period_ns=16 * SECOND,
            on_ns=on_ns,
        )
        uses.append(part)
    return _one(size, *uses)


def _stream(size: int, draw: random.Random) -> _Made:
    """A quarter is streamed through in 4 s, every 12 s, beside a hot hundredth."""
    hot = _spot(size // 2 // PAGE * PAGE, 0.02, draw)
    quarter = _pages(size / 4)
    start = size // 2 // PAGE * PAGE + _place(size // 2 // PAGE * PAGE, quarter, draw)
    sweep = Use(
        start=start,
        size=quarter,
        rate=0.25,
        order="sweep",
        from_ns=2 * SECOND,
        period_ns=12 * SECOND,
        on_ns=4 * SECOND,
    )
    return _one(size, _background(size), hot, sweep)


def _collector(size: int, draw: random.Random) -> _Made:
    """Half of memory is gone through in half a second, every 10 s, beside a hot 64th."""
    half = _pages(size / 2)
    sweep = Use(
        start=_place(size, half, draw),
        size=half,
        rate=2.0,
        order="sweep",
        from_ns=3 * SECOND,
        period_ns=10 * SECOND,
        on_ns=SECOND // 2,
    )
    return _one(size, _background(size), _spot(size, 1 / 64, draw), sweep)


def _bursts(size: int, draw: random.Random) -> _Made:
    """A 64th in use for 50 ms of every second, at 400 times a second then; on average, 20."""
    when: dict[str, Any] = {"period_ns": SECOND, "on_ns": SECOND // 20}
    return _one(
        size, _background(size), _spot(size, 1 / 64, draw, rate=4 * HOT, **when), hot=HOT / 10
    )


def _nested(size: int, draw: random.Random) -> _Made:
    """An eighth used twice a second, and a 16th of it a hundred times."""
    length = _pages(size / 8)
    start = _place(size, length, draw)
    part = _pages(length / 16)
    inner = Use(start=start + _place(length, part, draw), size=part, rate=HOT)
    return _one(size, _background(size), Use(start=start, size=length, rate=2.0), inner)


def _alternating(size: int, draw: random.Random) -> _Made:
    """A-B-A: two places of a 32nd each take turns every 3 s."""
    length = _pages(size / 32)
    half = size // 2 // PAGE * PAGE
    period = 6 * SECOND
    uses = [
        Use(
            start=which * half + _place(half, length, draw),
            size=length,
            rate=HOT,
            from_ns=which * 3 * SECOND,
            period_ns=period,
            on_ns=3 * SECOND,
        )
        for which in range(2)
    ]
    changes = tuple(i * 3 * SECOND for i in range(1, _LONGEST_S // 3))
    return _one(size, _background(size), *uses, changes=changes)


def _rising(size: int, draw: random.Random) -> _Made:
    """Background that rises from 0.001 to 0.3 a second within a minute, beside a hot 64th."""
    ramp = Use(start=0, size=size, rate=0.001, rate_end=0.3, until_ns=60 * SECOND)
    rest = Use(start=0, size=size, rate=0.3, from_ns=60 * SECOND)
    return _one(size, ramp, rest, _spot(size, 1 / 64, draw))


def _uniform(size: int, draw: random.Random) -> _Made:
    del draw
    return _one(size, Use(start=0, size=size, rate=HOT))


def _cold(size: int, draw: random.Random) -> _Made:
    del draw
    return _one(size, _background(size))


def _half(size: int, unit: int = PAGE) -> int:
    return _pages(size / 2, unit)


def _sleeper(size: int, draw: random.Random) -> _Made:
    """Two processes with a hot 32nd each; the second sleeps 5 s of every 10."""
    half = _half(size)
    asleep: dict[str, Any] = {"period_ns": 10 * SECOND, "on_ns": 5 * SECOND}
    areas = (
        Area(process=0, size=half, uses=(_background(half), _spot(half, 1 / 32, draw))),
        Area(
            process=1,
            size=half,
            uses=(
                Use(start=0, size=half, rate=BACKGROUND, **asleep),
                _spot(half, 1 / 32, draw, **asleep),
            ),
        ),
    )
    changes = tuple(i * 5 * SECOND for i in range(1, _LONGEST_S // 5))
    return areas, HOT_FROM, changes


def _remapped(size: int, draw: random.Random) -> _Made:
    """A quarter that is unmapped and mapped again every 5 s, each time hot somewhere else."""
    rest, quarter = _pages(size * 3 / 4), _pages(size / 4)
    areas = [Area(size=rest, uses=(_background(rest), _spot(rest, 1 / 64, draw)))]
    start = BASE + -(-rest // HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE
    for i in range(60):
        from_ns, until_ns = i * 5 * SECOND, (i + 1) * 5 * SECOND if i < 59 else FOREVER
        uses = (_background(quarter), _spot(quarter, 1 / 32, draw))
        areas.append(
            Area(start=start, size=quarter, uses=uses, from_ns=from_ns, until_ns=until_ns)
        )
    return tuple(areas), HOT_FROM, tuple(i * 5 * SECOND for i in range(1, 60))


def _half_huge(size: int, draw: random.Random) -> _Made:
    """Half in pages of 2 MiB, half of 4 KiB, with a hot 32nd in each; little background."""
    half = _half(size, HUGE_PAGE)
    hot = _pages(half / 32, HUGE_PAGE)
    spots = [Use(start=_place(half, hot, draw, HUGE_PAGE), size=hot, rate=HOT) for _ in range(2)]
    calm = _background(half, BACKGROUND / 100)
    return (
        (
            Area(size=half, uses=(calm, spots[0]), huge=True),
            Area(start=BASE + half, size=half, uses=(calm, spots[1])),
        ),
        HOT_FROM,
        (),
    )


def _huge(size: int, draw: random.Random) -> _Made:
    """All in pages of 2 MiB, with a hot 32nd."""
    whole = _pages(size, HUGE_PAGE)
    hot = _pages(whole / 32, HUGE_PAGE)
    spot = Use(start=_place(whole, hot, draw, HUGE_PAGE), size=hot, rate=HOT)
    return (
        (Area(size=whole, uses=(_background(whole, BACKGROUND / 100), spot), huge=True),),
        (HOT_FROM),
        (),
    )


def _shared(size: int, draw: random.Random) -> _Made:
    """Two processes: three eighths of their own each, and a quarter of page cache of both."""
    own, both = _pages(size * 3 / 8), _pages(size / 4)
    place = BASE + -(-own // HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE
    areas = [
        Area(process=i, size=own, uses=(_background(own), _spot(own, 1 / 48, draw)))
        for i in range(2)
    ]
    file = Area(
        process=0,
        start=place,
        size=both,
        uses=(_background(both), _spot(both, 1 / 32, draw)),
        name="/srv/data",
    )
    other = Area(process=1, start=place, size=both, name="/srv/data", shows=2)
    return (*areas, file, other), HOT_FROM, ()


def _stacks(size: int, draw: random.Random) -> _Made:
    """256 mappings apart, of each of which the last 32nd is hot: stacks of threads."""
    each = _pages(size / 256)
    step = -(-(each + PAGE) // HUGE_PAGE) * HUGE_PAGE
    hot = _pages(each / 32)
    areas = tuple(
        Area(
            start=BASE + i * step,
            size=each,
            uses=(
                _background(each),
                Use(start=each - hot, size=hot, rate=HOT * draw.uniform(0.5, 1.5)),
            ),
        )
        for i in range(256)
    )
    return areas, HOT_FROM, ()


RECIPES = {
    "hotspot": Recipe(_hotspot, "a 64th is hot, in one place"),
    "spot64M": Recipe(_spot64m, "64 MiB are hot, whatever the size"),
    "phases": Recipe(_phases, "an eighth is hot, elsewhere every 5 s"),
    "moving": Recipe(_moving, "a 64th is hot, elsewhere every 3 s"),
    "queue": Recipe(_queue, "a hot window of a 64th that goes on slowly through memory"),
    "gradient": Recipe(_gradient, "64 steps, each used a little less; the hottest eighth is hot"),
    "zipf": Recipe(_zipf, "zipf's law in place: halves within halves"),
    "zipfO": Recipe(_zipf_of(16), "zipf's law over objects of 64 KiB, scattered"),
    "zipf4K": Recipe(_zipf_of(1), "zipf's law over pages, scattered"),
    "objects": Recipe(_zipf_of(256), "zipf's law over objects of 1 MiB, scattered"),
    "scat2M": Recipe(_chosen(512, 32, 1.0), "one in 32 chunks of 2 MiB is hot"),
    "clust64K": Recipe(_chosen(16, 10, 0.5), "10 % of the 64 KiB clusters of a half are hot"),
    "scat4K": Recipe(_chosen(1, 8, 0.5), "one page in 8 of a half is hot, at random"),
    "strided": Recipe(_strided, "every 8th page of a quarter is hot"),
    "births": Recipe(_births, "32 hot spots of 0.01 to 1 %, each living 3 to 20 s"),
    "breath": Recipe(_breath, "a hot region that grows and shrinks, 2 to 20 %, in 16 s"),
    "stream": Recipe(_stream, "a quarter streamed through now and then, beside a hot hundredth"),
    "collector": Recipe(_collector, "half gone through every 10 s, beside a hot 64th"),
    "bursts": Recipe(_bursts, "a 64th in use for 50 ms of every second"),
    "nested": Recipe(_nested, "a warm eighth with a hot 16th of it inside"),
    "alternating": Recipe(_alternating, "two places take turns every 3 s: A-B-A"),
    "rising": Recipe(_rising, "background that rises from 0.001 to 0.3/s, beside a hot 64th"),
    "uniform": Recipe(_uniform, "all is hot"),
    "cold": Recipe(_cold, "nothing is hot"),
    "sleeper": Recipe(_sleeper, "two processes of which one sleeps half of the time"),
    "remapped": Recipe(_remapped, "a quarter unmapped and mapped again every 5 s"),
    "half-huge": Recipe(_half_huge, "half in huge pages, with a hot spot in each half"),
    "huge": Recipe(_huge, "all in huge pages, with a hot 32nd"),
    "shared": Recipe(_shared, "two processes that share a quarter of page cache"),
    "stacks": Recipe(_stacks, "256 mappings, the end of each is hot"),
}


def workload_named(name: str, size: int, *, seed: int = 0) -> Workload:
    """
    Return a workload that `RECIPES` knows.

    size: bytes of memory; seed: of where what is. Raises `BadValueError`.
    """
    if name not in RECIPES:
        raise BadValueError(
            f"no workload is called {quoted(name)}", hint=f"one of {', '.join(RECIPES)}"
        )
    if not SMALLEST <= size <= LARGEST:
        raise BadValueError(
            f"a workload of {exact_size(size)} cannot be simulated",
            hint=f"{exact_size(SMALLEST)} to {exact_size(LARGEST)} can",
        )
    draw = random.Random(f"{name} {seed}")  # noqa: S311 - the same for the same seed
    areas, hot_rate, changes_ns = RECIPES[name].make(_pages(size), draw)
    return Workload(name, areas, hot_rate, changes_ns)
