"""The search for the scheme that serves a goal best, among what a recording can tell of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from isotherm.analysis.foreseen import Bounds, Foreseen
from isotherm.errors import BadValueError, NotSupportedError, quoted
from isotherm.model.ranges import PAGE
from isotherm.units import duration_ns, percent, size

#: So many are asked at once; the same on every machine, so that a seed gives the same.
_BATCH = 4
#: After so many batches of nothing new, nothing new will come.
_STALE = 3
#: Values between which nobody would tell apart are not tried.
_DIGITS = 2
_TERM = re.compile(
    r"(?P<metric>[a-z_]+)\s*(?:(?P<aim>max|min)|(?P<than><=?|>=?)\s*(?P<limit>\S+))"
)
_EXAMPLE = "'saved max, refaults < 100/s'"

Metric = Literal["saved", "refaults", "paged_out"]
METRICS: tuple[Metric, ...] = ("saved", "refaults", "paged_out")
#: Of what is tried, a value of each parameter, as in a grid: "age=10s".
Point = tuple[str, ...]
Ask = Callable[[Sequence[Point]], Sequence[Foreseen]]


def measured(metric: Metric, found: Foreseen) -> tuple[float, float, float]:
    """
    Return what a scheme comes to: at least, by best estimate, at most.

    saved: a share of what is resident, on average; refaults: pages a second; paged_out: bytes a
    second. Raises `BadValueError` for what the recording did not count.
    """
    value: Bounds | None
    if metric == "saved":
        value, scale = found.saved_mean, float(max(1, found.resident))
    elif metric == "paged_out":
        value, scale = found.applied, found.length_ns / 1e9
    else:
        value, scale = found.refaulted, PAGE * found.length_ns / 1e9
    if value is None:
        raise BadValueError(
            "this recording did not count what was used again, so nobody knows the refaults",
            hint="record anew, or leave refaults out of the goal",
        )
    return value.low / scale, value.best / scale, value.high / scale


@dataclass(frozen=True, slots=True)
class Limit:
    """`metric` is to be below `value`, or above it; as `measured`, or of `saved` in bytes."""

    metric: Metric
    below: bool
    value: float
    in_bytes: bool = False

    def excess(self, found: Foreseen, *, surely: bool = False) -> float:
        """Return by how much it is missed, of itself, 0 if it is met; `surely`: at worst."""
        low, best, high = measured(self.metric, found)
        is_ = (high if self.below else low) if surely else best
        value = self.value / max(1, found.resident) if self.in_bytes else self.value
        over = is_ - value if self.below else value - is_
        return max(0.0, over) / max(value, 1e-9)


@dataclass(frozen=True, slots=True)
class Wish:
    """One metric as large or as small as can be, within limits."""

    text: str
    metric: Metric
    largest: bool
    limits: tuple[Limit, ...]

    @staticmethod
    def parse(text: str) -> Wish:
        """Return what 'saved max, refaults < 100/s' says; raises `BadValueError`."""
        aims: list[tuple[Metric, bool]] = []
        limits = []
        for part in text.split(","):
            match = _TERM.fullmatch(part.strip())
            metric = next((one for one in METRICS if match and match["metric"] == one), None)
            if match is None or metric is None:
                raise BadValueError(
                    f"{quoted(part.strip())} is no part of a goal",
                    hint=f"{_EXAMPLE}; there are {', '.join(METRICS)}",
                )
            if match["aim"]:
                aims.append((metric, match["aim"] == "max"))
            else:
                limits.append(_limit(metric, match["than"].startswith("<"), match["limit"]))
        if len(aims) != 1:
            raise BadValueError(
                f"a goal has one metric that is to be largest or smallest, not {len(aims)}",
                hint=f"{_EXAMPLE}",
            )
        return Wish(text.strip(), *aims[0], tuple(limits))

    def excess(self, found: Foreseen, *, surely: bool = False) -> float:
        """Return by how much limits are missed, together."""
        return sum(limit.excess(found, surely=surely) for limit in self.limits)

    def score(self, found: Foreseen) -> float:
        """Return how good it is: -1 to 1 surely within the limits, less than -1 otherwise."""
        excess = self.excess(found, surely=True)
        if excess:
            return -1 - excess
        value = measured(self.metric, found)[1]
        value /= 1 + value
        return value if self.largest else -value


def _limit(metric: Metric, below: bool, text: str) -> Limit:
    if metric == "saved" and text.endswith("%"):
        return Limit(metric, below, float(percent(text)))
    if metric == "saved":
        return Limit(metric, below, float(size(text)), in_bytes=True)
    plain = text.removesuffix("/s")
    if metric == "paged_out":
        return Limit(metric, below, float(size(plain)))
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise BadValueError(f"{quoted(text)} is no number of pages a second", hint="100/s")
    return Limit(metric, below, value)


@dataclass(frozen=True, slots=True)
class Param:
    """
    What is varied: `name` of an axis of a grid, and its values, or the least and the most.

    low, high: ns of an age, bytes a second of a quota.
    """

    name: str
    values: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    log: bool = False

    @staticmethod
    def parse(text: str) -> Param:
        """Return what 'age=1s..10m:log' or 'quota=16M/s,none' says; raises `BadValueError`."""
        name, equals, rest = text.partition("=")
        if name not in ("age", "quota") or not equals or not rest:
            raise BadValueError(
                f"{quoted(text)} is nothing that can be varied", hint="age=1s..10m:log"
            )
        if ".." not in rest:
            values = tuple(dict.fromkeys(rest.split(",")))
            if not all(values):
                raise BadValueError(f"{quoted(text)} has an empty value", hint="age=10s,30s")
            return Param(name, values)
        span, _, scale = rest.partition(":")
        if scale not in ("", "log"):
            raise BadValueError(f"{quoted(scale)} is no scale", hint="age=1s..10m:log, or without")
        low, high = (_number(name, word) for word in span.split("..", 1))
        if not 0 < low < high:
            raise BadValueError(
                f"{quoted(span)} goes from nothing, or not up", hint=f"{name}=LEAST..MOST"
            )
        return Param(name, (), low, high, scale == "log")

    def suggested(self, trial: Any) -> str:
        """Return what the search wants to try next, as in a grid: "age=12s"."""
        if self.values:
            return f"{self.name}={trial.suggest_categorical(self.name, list(self.values))}"
        value = trial.suggest_float(self.name, self.low, self.high, log=self.log)
        return self.text(value)

    def text(self, value: float) -> str:
        """Return a value of the range, rounded but not beyond its ends."""
        if self.name == "age":
            value = min(max(_rounded(value), self.low), self.high)
            return f"age={value / 1e9:g}s" if value >= 1e8 else f"age={value / 1e6:g}ms"
        unit, letter = (1 << 20, "M") if value >= 10 << 20 else (1 << 10, "K")
        least, most = math.ceil(self.low / unit), max(1, self.high // unit)
        number = max(least, min(most, round(_rounded(value / unit))))
        if letter == "K" and number % 1024 == 0:
            return f"quota={number // 1024}M/s"
        return f"quota={number}{letter}/s"

    def begin(self) -> list[float | str]:
        """Return what is tried first: the least, the most, and what lies between."""
        if self.values:
            return [self.values[0], self.values[-1], self.values[len(self.values) // 2]]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [float(self.low), float(self.high), middle]


def _number(name: str, word: str) -> int:
    if name == "age":
        return duration_ns(word)
    return size(word.removesuffix("/s"))


def _rounded(value: float) -> float:
    scale = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return round(value / scale) * scale


@dataclass(frozen=True, slots=True)
class Tried:
    """A point, what was foreseen of it, how good that is, and whether nothing tried beats it."""

    point: Point
    found: Foreseen
    score: float
    front: bool = False


@dataclass(frozen=True, slots=True)
class Tuned:
    """
    tried: each point once, in the order of the parameters' values; best: of those that are within
    the limits by all bounds, else of those that are by best estimate.
    """

    wish: Wish
    params: tuple[Param, ...]
    seed: int
    tried: tuple[Tried, ...]
    best: Tried | None


def search(params: Sequence[Param], wish: Wish, ask: Ask, *, trials: int, seed: int) -> Tuned:
    """
    Return what was found in so many trials at most.

    ask: what is foreseen of points. Raises `NotSupportedError` without Optuna.
    """
    study = _study(seed)
    for values in zip(*(param.begin() for param in params), strict=True):
        names = (param.name for param in params)
        study.enqueue_trial(dict(zip(names, values, strict=True)))
    known: dict[Point, Foreseen] = {}
    done = stale = 0
    while done < trials and stale < _STALE:
        batch = [study.ask() for _ in range(min(_BATCH, trials - done))]
        points = [tuple(param.suggested(trial) for param in params) for trial in batch]
        new = [point for point in dict.fromkeys(points) if point not in known]
        known.update(zip(new, ask(new), strict=True) if new else ())
        for trial, point in zip(batch, points, strict=True):
            study.tell(trial, wish.score(known[point]))
        done += len(batch)
        stale = 0 if new else stale + 1
    front = _front(known)
    tried = [
        Tried(point, found, wish.score(found), point in front) for point, found in known.items()
    ]
    tried.sort(key=lambda one: [_order(value) for value in one.point])
    surely = [one for one in tried if not wish.excess(one.found, surely=True)]
    within = surely or [one for one in tried if not wish.excess(one.found)]
    best = max(within, key=lambda one: one.score) if within else None
    return Tuned(wish, tuple(params), seed, tuple(tried), best)


def require() -> Any:
    """Return Optuna; raises `NotSupportedError` without it."""
    try:
        import optuna
    except ImportError as err:
        raise NotSupportedError(
            "the search is done by Optuna, which is not installed",
            hint="pip install 'isotherm[tune]', or isotherm simulate RECORDING SCHEMES --grid "
            "age=10s,30s,2m",
        ) from err
    return optuna


def _study(seed: int) -> Any:
    optuna = require()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _front(known: Mapping[Point, Foreseen]) -> set[Point]:
    """Return the points of which no other saves as much for less that comes back."""
    if any(found.refaulted is None for found in known.values()):
        return set()
    places = {
        point: (-measured("saved", found)[1], measured("refaults", found)[1])
        for point, found in known.items()
    }
    front, least = set(), math.inf
    for point, (_, back) in sorted(places.items(), key=lambda item: item[1]):
        if back < least:
            front.add(point)
            least = back
    return front


def _order(value: str) -> tuple[float, str]:
    """Return by what a value of an axis is sorted: its number, and words after all."""
    name, _, text = value.partition("=")
    try:
        return float(_number(name, text)), text
    except BadValueError:
        return math.inf, text
