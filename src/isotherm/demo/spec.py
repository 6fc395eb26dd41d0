"""What a workload does: areas of memory, and phases that touch parts of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from isotherm import units
from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE

Pages = Literal["4k", "thp"]
Order = Literal["sequential", "random"]
Mode = Literal["paced", "busy"]
#: Between two sweeps of a hot range: half of the default sampling interval, so that a sample of
#: hot memory always finds an access.
DEFAULT_PERIOD_US = 2500


@dataclass(frozen=True, slots=True)
class Area:
    """
    An own anonymous mapping.

    pages: 4 KiB pages only, or transparent huge pages; shared: a second process maps all of it as
    well and leaves it alone, else it is private.
    """

    name: str
    nbytes: int
    pages: Pages = "4k"
    shared: bool = False

    def __post_init__(self) -> None:
        _one_of("pages", self.pages, get_args(Pages))
        _whole_pages(f"area {self.name}", self.nbytes)


@dataclass(frozen=True, slots=True)
class Hot:
    """
    A part of an area that is touched, one byte a page.

    offset, nbytes: within the area, whole pages; period_us: from sweep to sweep; order: of the
    pages in a sweep. A "busy" phase ignores the period and reads 64-byte lines.
    """

    area: str
    offset: int
    nbytes: int
    period_us: int = DEFAULT_PERIOD_US
    order: Order = "sequential"

    def __post_init__(self) -> None:
        _one_of("order", self.order, get_args(Order))
        _whole_pages(f"hot range in {self.area}", self.nbytes)
        if self.offset < 0 or self.offset % PAGE:
            raise BadValueError(f"hot range in {self.area}: offset {self.offset} is not a page's")
        if self.period_us < 1:
            raise BadValueError(f"hot range in {self.area}: period {self.period_us} us")


@dataclass(frozen=True, slots=True)
class Phase:
    """Which ranges are hot, and for how long; everything else is idle."""

    duration_us: int
    hot: tuple[Hot, ...] = ()
    mode: Mode = "paced"

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, get_args(Mode))
        if self.duration_us < 1:
            raise BadValueError(f"a phase of {self.duration_us} us")


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole workload. Raises `BadValueError` where a hot range lies outside its area."""

    areas: tuple[Area, ...]
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        sizes = {area.name: area.nbytes for area in self.areas}
        if len(sizes) != len(self.areas):
            raise BadValueError("two areas have the same name")
        for number, phase in enumerate(self.phases):
            for hot in phase.hot:
                if hot.area not in sizes:
                    raise BadValueError(f"phase {number}: no area is named {hot.area!r}")
                if hot.offset + hot.nbytes > sizes[hot.area]:
                    raise BadValueError(
                        f"phase {number}: hot range at {hot.offset} of {hot.nbytes} bytes"
                        f" ends outside area {hot.area!r} of {sizes[hot.area]}"
                    )

    @property
    def nbytes(self) -> int:
        return sum(area.nbytes for area in self.areas)

    def to_json(self) -> str:
        """One line; `from_json` reads it back."""
        return json.dumps({"version": 1, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """
        Read {"version": 1, "areas": [...], "phases": [...]} with the fields of the classes.

        Sizes and durations may be written with units: "nbytes": "512M", "duration_us": "8s".
        """
        try:
            data = json.loads(text)
            if data["version"] != 1:
                raise BadValueError(f"workload of version {data['version']!r}, this reads 1")
            areas = tuple(Area(**_sized(area)) for area in data["areas"])
            return cls(areas, tuple(_phase(phase) for phase in data["phases"]))
        except (ValueError, KeyError, TypeError) as err:
            if isinstance(err, BadValueError):
                raise
            raise BadValueError(
                f"this is not a workload: {err}",
                hint='write {"version": 1, "areas": [{"name": "a", "nbytes": "64M"}],'
                ' "phases": [{"duration_us": "5s", "hot": [{"area": "a", "offset": 0,'
                ' "nbytes": "8M"}]}]}',
            ) from None


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadValueError(f"{what} {value!r} is not known", hint=f"one of {', '.join(known)}")


def _whole_pages(what: str, nbytes: int) -> None:
    if nbytes < PAGE or nbytes % PAGE:
        raise BadValueError(f"{what}: {nbytes} bytes are not whole pages")


def _sized(fields: dict[str, Any]) -> dict[str, Any]:
    readers = {
        "nbytes": units.size,
        "offset": units.size,
        "duration_us": units.duration_us,
        "period_us": units.duration_us,
    }
    return {
        name: readers[name](value) if name in readers else value for name, value in fields.items()
    }


def _phase(fields: dict[str, Any]) -> Phase:
    hot = tuple(Hot(**_sized(one)) for one in fields.get("hot", ()))
    return Phase(**{**_sized(fields), "hot": hot})


def fixed(
    spots: Iterable[tuple[int, int]],
    *,
    nbytes: int,
    seconds: float,
    pages: Pages = "4k",
    period_us: int = DEFAULT_PERIOD_US,
    order: Order = "sequential",
) -> Spec:
    """One area of `nbytes`, hot at (offset, size) `spots` for `seconds`."""
    hot = tuple(Hot("main", offset, size, period_us, order) for offset, size in spots)
    return Spec((Area("main", nbytes, pages),), (Phase(round(seconds * 1e6), hot),))


def moving(
    spot_bytes: int, *, nbytes: int, steps: int, seconds: float, pages: Pages = "4k"
) -> Spec:
    """One area of `nbytes`, one hot spot that jumps through `steps` places, evenly apart."""
    stride = (nbytes - spot_bytes) // max(1, steps - 1) // PAGE * PAGE
    phases = tuple(
        Phase(round(seconds * 1e6 / steps), (Hot("main", step * stride, spot_bytes),))
        for step in range(steps)
    )
    return Spec((Area("main", nbytes, pages),), phases)


def scattered(
    spots: int, spot_bytes: int, *, nbytes: int, seconds: float, seed: int = 1, pages: Pages = "4k"
) -> Spec:
    """One area of `nbytes` in `spots` equal parts, a hot spot at a pseudo-random place in each."""
    part = nbytes // spots
    rng = random.Random(seed)  # noqa: S311 - a layout, not a secret
    places = [
        (number * part + rng.randrange(0, part - spot_bytes + 1)) // PAGE * PAGE
        for number in range(spots)
    ]
    return fixed(
        [(place, spot_bytes) for place in places], nbytes=nbytes, seconds=seconds, pages=pages
    )
