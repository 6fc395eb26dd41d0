"""The workloads of `isotherm calibrate`: what each of them uses, and how often, is known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from isotherm.demo.spec import Area, Hot, Phase, Spec, moving, scattered
from isotherm.model.ranges import PAGE

MIB = 1 << 20
#: What is used at least so often is hot.
HOT_PERIOD_US = 10_000
#: Phases are ended from outside.
_HOUR_US = 3_600_000_000
#: From the hottest part on, each is used so often, and what is left is not.
_STEPS_US = (2_500, 10_000, 40_000, 160_000, 640_000)
_OBJECT = 256 << 10
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class Known:
    """A workload of a size; the phases of its specification last until they are ended."""

    name: str
    about: str
    spec: Spec

    @property
    def is_busy(self) -> bool:
        """Whether it works as fast as it can, so that its speed tells what it is held up by."""
        return self.spec.phases[0].mode == "busy"

    def hot(self, phase: int) -> list[Hot]:
        """Return the hot parts of a phase."""
        parts = self.spec.phases[phase].hot
        return [part for part in parts if self.is_busy or part.period_us <= HOT_PERIOD_US]

    def used_bytes(self, phase: int, window_us: int) -> float:
        """Return how much is used in a window of a phase, on average."""
        parts = self.spec.phases[phase].hot
        if self.is_busy:
            return sum(part.nbytes for part in parts)
        return sum(part.nbytes * min(1.0, window_us / part.period_us) for part in parts)


def _lasting(spec: Spec) -> Spec:
    return Spec(spec.areas, tuple(Phase(_HOUR_US, phase.hot, phase.mode) for phase in spec.phases))


def _one(nbytes: int, *parts: Hot, **area: object) -> Spec:
    return Spec((Area(_MAIN, nbytes, **area),), (Phase(_HOUR_US, parts),))  # type: ignore[arg-type]


def _spots(nbytes: int, unit: int = PAGE) -> tuple[Hot, ...]:
    """Three places: a 32nd, a 16th, a 64th."""
    places = ((1 / 11, 1 / 32), (1 / 2, 1 / 16), (9 / 10, 1 / 64))
    return tuple(
        Hot(_MAIN, int(nbytes * at) // unit * unit, max(unit, int(nbytes * part) // unit * unit))
        for at, part in places
    )


def _fixed(nbytes: int, seed: int) -> Spec:
    del seed
    return _one(nbytes, *_spots(nbytes))


def _huge(nbytes: int, seed: int) -> Spec:
    del seed
    return _one(nbytes, *_spots(nbytes, 2 * MIB), pages="thp")


def _shared(nbytes: int, seed: int) -> Spec:
    del seed
    return _one(nbytes, *_spots(nbytes), shared=True)


def _moving(nbytes: int, seed: int) -> Spec:
    del seed
    return _lasting(moving(nbytes // 16, nbytes=nbytes, steps=3, seconds=1))


def _scattered(nbytes: int, seed: int) -> Spec:
    return _lasting(scattered(16, nbytes // 512, nbytes=nbytes, seconds=1, seed=seed))


def _zipf(nbytes: int, seed: int) -> Spec:
    """Parts side by side: two of a 64th, and each further one twice as large as the one before."""
    places = [nbytes >> 6, nbytes >> 6, nbytes >> 5, nbytes >> 4, nbytes >> 3]
    at = random.Random(seed).randrange((nbytes - sum(places)) // PAGE) * PAGE  # noqa: S311
    parts = []
    for size, period_us in zip(places, _STEPS_US, strict=True):
        parts.append(Hot(_MAIN, at, size, period_us))
        at += size
    return _one(nbytes, *parts)


def _zipf_scattered(nbytes: int, seed: int) -> Spec:
    """The same in objects of 256 KiB, anywhere."""
    places = [i * _OBJECT for i in range(nbytes // _OBJECT)]
    random.Random(seed).shuffle(places)  # noqa: S311 - a layout, not a secret
    parts, taken = [], 0
    for halvings, period_us in zip((6, 6, 5, 4, 3), _STEPS_US, strict=True):
        until = taken + max(1, (nbytes >> halvings) // _OBJECT)
        parts += [Hot(_MAIN, at, _OBJECT, period_us) for at in places[taken:until]]
        taken = until
    return _one(nbytes, *parts)


def _resident(size: int) -> Callable[[int, int], Spec]:
    """A place that is read all the time: the CPU keeps the translations of a small one."""

    def make(nbytes: int, seed: int) -> Spec:
        del seed
        place = Hot(_MAIN, nbytes // 3 // PAGE * PAGE, size, order="random")
        return Spec((Area(_MAIN, nbytes),), (Phase(_HOUR_US, (place,), "busy"),))

    return make


#: By name: what it does, and how to make one from its size in bytes and a seed.
RECIPES: dict[str, tuple[str, Callable[[int, int], Spec]]] = {
    "fixed": ("three hot places", _fixed),
    "scattered": ("16 small hot places, anywhere", _scattered),
    "zipf": ("places used ever less, side by side", _zipf),
    "zipf-scattered": ("the same in objects of 256 KiB, anywhere", _zipf_scattered),
    "moving": ("a 16th is hot, elsewhere in each third of the time", _moving),
    "tlb-64K": ("64 KiB read all the time", _resident(MIB >> 4)),
    "tlb-1M": ("1 MiB read all the time", _resident(MIB)),
    "tlb-16M": ("16 MiB read all the time", _resident(16 * MIB)),
    "huge": ("three hot places in huge pages", _huge),
    "shared": ("three hot places in memory that a second process maps", _shared),
}
#: Of --quick.
QUICK = ("fixed", "zipf-scattered", "moving", "tlb-1M")


def known(name: str, nbytes: int, seed: int = 1) -> Known:
    """Return a workload of a name in `RECIPES`."""
    about, make = RECIPES[name]
    return Known(name, about, make(nbytes, seed))
