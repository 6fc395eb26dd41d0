"""What changed from one recording to another, as far as that can be told; limits for it."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Literal, cast

from isotherm.analysis.figures import ALL, NOTHING, Figure, Figures
from isotherm.analysis.filtered import is_like
from isotherm.analysis.page_use import TOLD_NS
from isotherm.errors import BadValueError, quoted
from isotherm.units import duration_ns, exact_duration, percent, size

#: What is asked by default: percentiles of the working set.
RANKS: Final = ("p50", "p95", "max")
_RANK = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?|100)|max|min|mean")
_METRIC = re.compile(
    r"(?P<what>wss|idle|resident|unknown)(?:@(?P<time>[^.\[\]<>=]+(?:\.[0-9]+[a-z]+)?))?"
    r"(?:\.(?P<rank>[a-z0-9.]+))?(?:\[(?P<group>.*)\])?"
)
_CONDITION = re.compile(r"(?P<metric>.+?)\s*(?P<op>>=|<=|>|<)\s*(?P<limit>[^<>=]+)")
#: A condition and what follows it: a comma within brackets is a part of the name.
_ONE_OF_MANY = re.compile(r"([^\[,]*?(?:\[.*?\](?=\s*[<>]))?\s*[<>]=?[^<>=,]*)(?:,|$)")
_EXAMPLE = "write it as wss.p95>+10%, wss@10s.max>2G, resident[unit nginx.service]>+50M, idle>+20%"
Number = Fraction | int | float
_OPS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
What = Literal["wss", "idle", "resident", "unknown"]
_FIGURES: Final[dict[What, str]] = {
    "wss": "the working set, wss.p50, .p95, .max, .mean or wss@10s.p50",
    "idle": "idle or idle@10s",
    "resident": "what is in memory",
    "unknown": "what nobody saw",
}
#: What others call them.
_OTHER_NAMES: Final[dict[str, What]] = {
    "rss": "resident", "pss": "resident", "mem": "resident", "memory": "resident", "cold": "idle",
    "working_set": "wss", "used": "wss", "hot": "wss", "unobservable": "unknown",
}  # fmt: skip
Told = Literal["more", "less", "same", "unsure"]
Verdict = Literal["crossed", "kept", "unsure"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    A figure by name: "wss.p95", "wss@10s.max", "idle@1m", "resident[unit nginx.service]".

    time_ns: the window of a working set, or the age of what is idle; None: what both recordings
    reached; rank: of a working set, "p95", "max", "min" or "mean"; group: a title, the name in it,
    or a pattern of them; `ALL` for everything.
    """

    what: What
    time_ns: int | None = None
    rank: str = ""
    group: str = ALL

    @property
    def title(self) -> str:
        """Return how it is written."""
        time = "" if self.time_ns is None else f"@{exact_duration(self.time_ns // 1000)}"
        rank = f".{self.rank}" if self.rank else ""
        return f"{self.what}{time}{rank}" + (f"[{self.group}]" if self.group else "")

    @property
    def percent(self) -> float | None:
        """The percentile, None for the mean."""
        ends = {"max": 100.0, "min": 0.0, "mean": None}
        return ends[self.rank] if self.rank in ends else float(self.rank[1:])


@dataclass(frozen=True, slots=True)
class Condition:
    """
    A limit that B, or the change from A to B, is to keep; crossed where the comparison holds.

    limit: bytes; of a relative condition a share of A. change: whether it is of the change.
    """

    text: str
    metric: Metric
    op: str
    limit: Fraction
    change: bool
    relative: bool

    def judge(self, before: Figure, after: Figure) -> Verdict:
        """Tell whether it is crossed, whatever the true figures are between their bounds."""
        crossed = {_OPS[self.op](end, self.limit) for end in self._bounds(before, after)}
        if len(crossed) > 1:
            return "unsure"
        return "crossed" if crossed.pop() else "kept"

    def _bounds(self, before: Figure, after: Figure) -> tuple[Number, Number]:
        """Return between which figures the compared one is."""
        if not self.change:
            return after.low, after.high
        if not self.relative:
            return after.low - before.high, after.high - before.low
        return growth(before.high, after.low), growth(before.low, after.high)


def growth(before: int, after: int) -> Number:
    """Return by which share of `before` it grew; from nothing to something without end."""
    if not before:
        return math.inf if after else 0
    return Fraction(after - before, before)


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in both recordings; None where one does not know it."""

    metric: Metric
    before: Figure | None
    after: Figure | None

    @property
    def told(self) -> Told | None:
        """Whether it became more or less: for sure, or within the bounds of both nobody knows."""
        if self.before is None or self.after is None:
            return None
        low, high = self.after.low - self.before.high, self.after.high - self.before.low
        if low == high == 0:
            return "same"
        return "more" if low > 0 else "less" if high < 0 else "unsure"


@dataclass(frozen=True, slots=True)
class Judged:
    """A condition, and what came of it."""

    condition: Condition
    change: Change
    verdict: Verdict


def parse_metric(text: str) -> Metric:
    """Return the figure of this name; raises `BadValueError`."""
    match = _METRIC.fullmatch(text.strip())
    if match is None:
        raise BadValueError(f"{quoted(text)} is no figure of a recording", hint=_meant(text))
    what = cast("What", match["what"])
    time, rank, group = match.group("time", "rank", "group")
    if what == "wss":
        if rank is None or _RANK.fullmatch(rank) is None:
            raise BadValueError(
                f"{quoted(text)} does not say which working set", hint="wss.p50, .p95, .max, .mean"
            )
    elif rank is not None or (time is not None and what != "idle"):
        raise BadValueError(
            f"{quoted(text)} is no figure of a recording", hint=f"{what} is {_FIGURES[what]}"
        )
    time_ns = None if time is None else duration_ns(time)
    return Metric(what, time_ns, rank or "", group or ALL)


def _meant(text: str) -> str:
    """Return the hint for a figure that there is not: what was meant, or which there are."""
    word = re.split(r"[@.\[\s]", text.strip(), maxsplit=1)[0].lower()
    if word in _FIGURES:
        return _EXAMPLE
    near: list[str] = [_OTHER_NAMES[word]] if word in _OTHER_NAMES else []
    if not near and len(word) < 50:
        near = difflib.get_close_matches(word, _FIGURES, n=1)
    if near:
        return f"did you mean {near[0]}? {_EXAMPLE}"
    return "there are " + "; ".join(f"{name}: {means}" for name, means in _FIGURES.items())


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return the limits of a list, of which commas part them; as `parse_condition`."""
    found: list[Condition] = []
    at = 0
    while at < len(text):
        match = _ONE_OF_MANY.match(text, at)
        if match is None:  # there is no other condition in the rest
            return (*found, parse_condition("" if text[at] == "," else text[at:]))
        found.append(parse_condition(match[1]))
        at = match.end()
    return tuple(found) if found and not text.endswith(",") else (*found, parse_condition(""))


def parse_condition(text: str) -> Condition:
    """
    Return the limit that "wss.p95>+10%" is; raises `BadValueError`.

    A sign makes it one of the change from A to B, in percent or bytes; without a sign it is one of
    B, in bytes.
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise BadValueError(f"{quoted(text)} is no condition", hint=_EXAMPLE)
    limit = match["limit"].strip()
    change, relative = limit[0] in "+-", limit.endswith("%")
    if relative and not change:
        raise BadValueError(f"{quoted(text)}: {limit} of what?", hint=f"+{limit} of what A has")
    number = limit[1:] if change else limit
    value = percent(number) if relative else Fraction(size(number))
    return Condition(
        text.strip(),
        parse_metric(match["metric"]),
        match["op"],
        -value if limit[0] == "-" else value,
        change,
        relative,
    )


class Comparison:
    """
    Two recordings, compared by pages where both have a map of them, else both by regions.

    by_pages: which it is; window_ns, age_ns: of what is compared by default: what both reached.
    """

    def __init__(self, before: Figures, after: Figures) -> None:
        self.before, self.after = before, after
        self.by_pages = before.by_pages and after.by_pages
        if not self.by_pages:
            self.before, self.after = before.of_regions(), after.of_regions()
        self.window_ns = self._window_ns()
        ages = [ns for ns in self.before.ages_ns if ns in self.after.ages_ns]
        self.age_ns: int | None = max(ages, default=None)

    def _window_ns(self) -> int | None:
        if not self.by_pages:
            return None
        both = set(self.before.lengths_ns) & set(self.after.lengths_ns)
        return min(both & set(TOLD_NS) or both, key=lambda ns: abs(ns - 10**9), default=None)

    @property
    def groups(self) -> list[str]:
        """The groups of either."""
        return sorted({*self.before.groups, *self.after.groups})

    def groups_like(self, pattern: str) -> list[str]:
        """Return the groups that are meant; raises `BadValueError` for none."""
        if pattern == ALL:
            return [ALL]
        found = [g for g in self.groups if pattern == g] or [
            group
            for group in self.groups
            if is_like(group, pattern) or is_like(group.partition(" ")[2], pattern)
        ]
        if not found:
            known = ", ".join(self.groups[:5])
            raise BadValueError(
                f"there is no group {quoted(pattern)} in either recording", hint=f"groups: {known}"
            )
        return found

    def change(self, metric: Metric) -> Change:
        """
        Return a figure in both; a group that only one has is nothing in the other.

        metric: of one group, by its title.
        """
        filled = self._filled(metric)
        pair = []
        for side in (self.before, self.after):
            absent = metric.group != ALL and metric.group not in side.groups
            pair.append(NOTHING if absent else self._figure(side, filled))
        return Change(filled, *pair)

    def judge(self, condition: Condition) -> list[Judged]:
        """
        Return what comes of a condition, for each group that it means.

        Raises `BadValueError` where the recordings do not have the figure.
        """
        judged = []
        for group in self.groups_like(condition.metric.group):
            change = self.change(replace(condition.metric, group=group))
            if change.before is None or change.after is None:
                side = "A" if change.before is None else "B"
                raise BadValueError(
                    f"{quoted(condition.text)} cannot be judged: {change.metric.title} is not "
                    f"known of {side}",
                    hint=self._why_unknown(change.metric),
                )
            verdict = condition.judge(change.before, change.after)
            judged.append(Judged(condition, change, verdict))
        return judged

    def _filled(self, metric: Metric) -> Metric:
        """Return the metric with the time that it is about."""
        if metric.time_ns is not None:
            return metric
        times = {"wss": self.window_ns, "idle": self.age_ns}
        return replace(metric, time_ns=times.get(metric.what))

    def _figure(self, side: Figures, metric: Metric) -> Figure | None:
        time_ns, group = metric.time_ns, metric.group
        if metric.what == "resident":
            return side.resident(group)
        if metric.what == "unknown":
            return side.unknown(group)
        if metric.what == "idle":
            return None if time_ns is None else side.idle(time_ns, group)
        if self.by_pages:
            return None if time_ns is None else side.working_set(metric.percent, time_ns, group)
        return self._regions_working_set(side, metric)

    def _regions_working_set(self, side: Figures, metric: Metric) -> Figure | None:
        """Return a working set by regions: only of all, and where windows are alike in both."""
        found = side.regions_working_set(metric.percent)
        lengths = [self.before.regions_window_ns, self.after.regions_window_ns]
        alike = 10 * max(lengths) <= 11 * min(lengths)
        return found if alike and metric.time_ns is None and metric.group == ALL else None

    def _why_unknown(self, metric: Metric) -> str:
        if self.by_pages:
            known = set(self.before.lengths_ns[:-1]) & set(self.after.lengths_ns[:-1])
            lengths = ", ".join(exact_duration(ns // 1000) for ns in sorted(known))
            return f"both know {lengths}" if metric.time_ns is not None else "record for longer"
        return (
            "by regions there are working sets of all alone, of windows alike in both recordings"
        )
