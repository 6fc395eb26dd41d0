"""
The lines of DAMON's debugfs file `schemes`, of Linux 5.15 to 6.x: numbers only.

    min-size max-size min-accesses max-accesses min-age max-age action
        [quota-ms quota-size reset-ms weight-size -accesses -age
         metric interval-us high middle low]
        [nr-tried size-tried nr-applied size-applied quota-exceeds]     as the kernel prints them

Accesses are samples of a window and ages windows, the action and the metric are numbers. Lines of
9, 12 and 17 numbers are of the patches before it was merged, and have their fields as classic
lines do.
"""

from __future__ import annotations

import re

from isotherm.model.attrs import UINT_MAX
from isotherm.model.scheme import Access, Action, Age, Pattern, Quota, Scheme, Watermarks, Weights
from isotherm.schemefile.source import InexpressibleError, Word
from isotherm.schemefile.values import count

#: The actions by their numbers there.
ACTIONS = (
    Action.WILLNEED,
    Action.COLD,
    Action.PAGEOUT,
    Action.HUGEPAGE,
    Action.NOHUGEPAGE,
    Action.STAT,
)
METRICS = ("none", "free_mem_rate")
#: With what the kernel counted behind it, which is left out.
FIELD_COUNTS = (7, 9, 12, 17, 18, 23)
_NUMBER = re.compile(r"[0-9]+")


def is_debugfs(fields: list[Word]) -> bool:
    """Whether a line is one of these: numbers without units, the action as well."""
    return len(fields) in FIELD_COUNTS and all(_NUMBER.fullmatch(word.text) for word in fields)


def parse_debugfs(word: Word, fields: list[Word]) -> Scheme:
    """Return the scheme of one line of numbers; raises `SchemeError`."""
    numbers = [count(field, "a number of debugfs") for field in fields[:18]]
    action = numbered_action(fields[6])
    with word.placed():
        low, high, least, most, young, old = numbers[:6]
        pattern = Pattern(
            low,
            high,
            Access(least, None if most >= UINT_MAX else most, "samples"),
            Age(young, None if old >= UINT_MAX else old, "windows"),
        )
        rest = numbers[7:]
        if not rest:
            return Scheme(action, pattern)
        time_ms = rest.pop(0) if len(rest) == 11 else 0
        weights = Weights(*rest[2:5])
        quota = Quota(time_ms, rest[0], rest[1], weights)
        if len(rest) < 10:
            return Scheme(action, pattern, quota=quota)
        if rest[5] >= len(METRICS):
            raise fields[min(len(fields), 18) - 5].error(
                f"there is no watermark metric {rest[5]}", hint="0 is none, 1 free_mem_rate"
            )
        marks = Watermarks("free_mem_rate" if rest[5] else "none", *rest[6:10])
        return Scheme(action, pattern, quota=quota, watermarks=marks)


def numbered_action(word: Word) -> Action:
    """Return the action of a number; raises `SchemeError` for one that means none."""
    if len(word.text) > 1 or int(word.text) >= len(ACTIONS):
        known = ", ".join(f"{number} {action}" for number, action in enumerate(ACTIONS))
        raise word.error(f"there is no action {word.said}", hint=known)
    return ACTIONS[int(word.text)]


def wants_debugfs(scheme: Scheme) -> bool:
    """Whether a scheme's pattern is in the units of these lines, which others cannot say."""
    return scheme.pattern.access.unit == "samples" and scheme.pattern.age.unit == "windows"


def format_debugfs(scheme: Scheme) -> str:
    """Return the line of 7 or 18 numbers that is read back; raises `InexpressibleError`."""
    pattern, quota, marks = scheme.pattern, scheme.quota, scheme.watermarks
    if scheme.action not in ACTIONS or scheme.own is not None:
        raise InexpressibleError(f"scheme {scheme.title}: debugfs had no number for this action")
    highs = [
        _high(scheme, pattern.access.high),
        _high(scheme, pattern.age.high),
    ]
    numbers: list[int] = [
        pattern.min_size_bytes, pattern.max_size_bytes, int(pattern.access.low), highs[0],
        pattern.age.low, highs[1], ACTIONS.index(scheme.action),
    ]  # fmt: skip
    if quota is not None:
        numbers += [quota.time_ms, quota.size_bytes, quota.reset_ms, *quota.weights]
        numbers += [METRICS.index(marks.metric), marks.interval_us]
        numbers += [marks.high, marks.mid, marks.low]
    return "\t".join(map(str, numbers))


def _high(scheme: Scheme, bound: object) -> int:
    """Return an upper bound; the highest number is none."""
    if bound is None:
        return UINT_MAX
    if not isinstance(bound, int) or bound >= UINT_MAX:
        raise InexpressibleError(f"scheme {scheme.title}: debugfs had no bound as high as {bound}")
    return bound
