"""
The classic lines of DAMON's first years, of 7, 9, 12, 17 and 18 fields.

    min-size max-size min-freq max-freq min-age max-age action
        [quota-size quota-reset [weight-size -freq -age [metric interval high middle low]]]
        [quota-time quota-size quota-reset weights... watermarks...]         18 fields

Where no unit stands, frequencies are percent, ages microseconds and quotas milliseconds; weights
and watermarks are 1/1,000. `null`, of the lines of 2019 to 2021, is no bound and no limit; an
action may be a number. Where all is numbers it is a line of debugfs, in the kernel's units.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

from isotherm.model.own import NamedAction
from isotherm.model.scheme import (
    NO_WEIGHTS,
    Access,
    Action,
    Age,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemefile.draft import check_expressible, parse_action
from isotherm.schemefile.lines.debugfs import (
    format_debugfs,
    is_debugfs,
    numbered_action,
    parse_debugfs,
    wants_debugfs,
)
from isotherm.schemefile.source import InexpressibleError, Word
from isotherm.schemefile.values import count, exact_number, exact_percent, whole_ms
from isotherm.units import duration_us, exact_duration, exact_size, size

_T = TypeVar("_T")

FIELD_COUNTS = (7, 9, 12, 17, 18)
_BEGINS = re.compile(r"\s*(min|max|null|[0-9.])", re.IGNORECASE)


def looks_classic(text: str) -> bool:
    """Whether a line begins like a classic one: with a size, not with an action or a key."""
    return bool(_BEGINS.match(text))


def parse_classic(text: str | Word) -> Scheme:
    """Return the scheme of one classic line; raises `SchemeError`."""
    word = text if isinstance(text, Word) else Word(text)
    fields = word.words()
    if is_debugfs(fields):
        return parse_debugfs(word, fields)
    if len(fields) not in FIELD_COUNTS:
        raise word.error(
            f"a classic line has {', '.join(map(str, FIELD_COUNTS))} fields, this one "
            f"{len(fields)}",
            hint="min-size max-size min-freq max-freq min-age max-age action",
        )
    with word.placed():
        pattern = Pattern(
            _size(_bound(fields[0], "min")),
            _size(_bound(fields[1], "max")),
            Access(_least(fields[2], _freq), _freq(_bound(fields[3], "max"))),
            Age(_least(fields[4], _age), _age(_bound(fields[5], "max"))),
        )
        action, own = _action(fields[6])
        return Scheme(
            action,
            pattern,
            own=own,
            quota=_quota(fields[7:]),
            watermarks=_watermarks(fields[-5:]) if len(fields) > 12 else Watermarks(),
        )


def _action(word: Word) -> tuple[Action, NamedAction | None]:
    if word.text.isascii() and word.text.isdecimal():
        return numbered_action(word), None
    return parse_action(word)


def _bound(word: Word, instead: str) -> Word:
    """Return `instead` for null."""
    return replace(word, text=instead) if word.text.lower() == "null" else word


def _size(word: Word) -> int:
    text = word.text.lower()
    with word.placed("size"):
        return 0 if text == "min" else size(text)


def _least(word: Word, read: Callable[[Word], _T | None]) -> _T:
    value = read(_bound(word, "min"))
    if value is None:
        raise word.error("max is no lower bound", hint="write min, or a number")
    return value


def _freq(word: Word) -> Fraction | None:
    text = word.text.lower()
    if text in ("min", "max"):
        return Fraction(0) if text == "min" else None
    return exact_percent(word, text.removesuffix("%"), "a frequency")


def _age(word: Word) -> int | None:
    text = word.text.lower()
    if text in ("min", "max"):
        return 0 if text == "min" else None
    with word.placed("age"):
        return duration_us(text, bare="us")


def _ms(word: Word) -> int:
    word = _bound(word, "0")
    if word.text.isdecimal():
        return count(word, "a time")
    return whole_ms(word, "quota")


def _quota(fields: list[Word]) -> Quota | None:
    if not fields:
        return None
    time_ms = _ms(fields.pop(0)) if len(fields) > 10 else 0
    weights = NO_WEIGHTS
    if len(fields) > 2:
        weights = Weights(*(count(_bound(word, "0"), "a weight") for word in fields[2:5]))
    return Quota(time_ms, _size(_bound(fields[0], "min")), _ms(fields[1]), weights)


def _watermarks(fields: list[Word]) -> Watermarks:
    metric, interval, *marks = fields
    if metric.text not in ("none", "free_mem_rate", "null", "0", "1"):
        raise metric.error(f"{metric.said} is no metric", hint="none or free_mem_rate")
    with interval.placed("watermark"):
        interval_us = duration_us(_bound(interval, "0").text, bare="us")
    numbers = [count(_bound(word, "0"), "a watermark in 1/1,000") for word in marks]
    free = metric.text in ("free_mem_rate", "1")
    return Watermarks("free_mem_rate" if free else "none", interval_us, *numbers)


def format_classic(scheme: Scheme) -> str:
    """
    Return the shortest classic line of a scheme; in samples and windows, the one of debugfs.

    Raises `InexpressibleError` that names what these lines have no field for.
    """
    _check(scheme)
    if wants_debugfs(scheme):
        return format_debugfs(scheme)
    pattern, quota = scheme.pattern, scheme.quota
    age = pattern.age
    fields = [
        exact_size(pattern.min_size_bytes) if pattern.min_size_bytes else "min",
        exact_size(pattern.max_size_bytes),
        _format_freq(pattern.access.low),
        "max" if pattern.access.high is None else _format_freq(pattern.access.high),
        exact_duration(age.low) if age.low else "min",
        "max" if age.high is None else exact_duration(age.high),
        scheme.does,
    ]
    if quota is not None:
        fields += _quota_fields(quota, scheme.watermarks)
    return " ".join(fields)


def _format_freq(value: Fraction | int) -> str:
    return exact_number(value) if value else "min"


def _quota_fields(quota: Quota, marks: Watermarks) -> list[str]:
    limits = [exact_size(quota.size_bytes), f"{quota.reset_ms}ms"]
    weights = [str(weight) for weight in quota.weights]
    watermarks = [
        marks.metric, exact_duration(marks.interval_us), str(marks.high), str(marks.mid),
        str(marks.low),
    ]  # fmt: skip
    if quota.time_ms:
        return [f"{quota.time_ms}ms", *limits, *weights, *watermarks]
    if marks != Watermarks():
        return [*limits, *weights, *watermarks]
    return [*limits, *weights] if any(quota.weights) else limits


def _check(scheme: Scheme) -> None:
    check_expressible(scheme)
    quota = scheme.quota or Quota()
    kernels = wants_debugfs(scheme)
    missing = {
        "a name": scheme.name,
        "access in samples": scheme.pattern.access.unit != "percent" and not kernels,
        "age in aggregation intervals": scheme.pattern.age.unit != "us" and not kernels,
        "every": scheme.apply_interval_us,
        "goals": quota.goals,
        "tuner": quota.tuner != "consist",
        "fail_charge": any(quota.fail_charge),
        "filters": scheme.filters,
        "to": scheme.target_nid is not None or scheme.destinations != (),
        "snapshots": scheme.max_nr_snapshots,
        "watermarks without a quota": scheme.quota is None and scheme.watermarks != Watermarks(),
    }
    for what, there in missing.items():
        if there:
            raise InexpressibleError(
                f"scheme {scheme.title}: classic lines have no field for {what}",
                hint="key=value lines, yaml and json do",
            )
