"""
The classic lines of DAMON's first years, of 7, 9, 12, 17 and 18 fields.

    min-size max-size min-freq max-freq min-age max-age action
        [quota-size quota-reset [weight-size -freq -age [metric interval high middle low]]]
        [quota-time quota-size quota-reset weights... watermarks...]         18 fields

Where no unit stands, frequencies are percent, ages microseconds and quotas milliseconds; weights
and watermarks are 1/1,000.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

from isotherm.model.scheme import (
    NO_WEIGHTS,
    Access,
    Age,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemefile.draft import parse_action
from isotherm.schemefile.line import check_expressible
from isotherm.schemefile.source import InexpressibleError, Word
from isotherm.schemefile.values import count, exact_number, exact_percent, whole_ms
from isotherm.units import duration_us, exact_duration, exact_size, size

_T = TypeVar("_T")

FIELD_COUNTS = (7, 9, 12, 17, 18)
_BEGINS = re.compile(r"\s*(min|max|[0-9.])", re.IGNORECASE)


def looks_classic(text: str) -> bool:
    """Whether a line begins like a classic one: with a size, not with an action or a key."""
    return bool(_BEGINS.match(text))


def parse_classic(text: str | Word) -> Scheme:
    """Return the scheme of one classic line; raises `SchemeError`."""
    word = text if isinstance(text, Word) else Word(text)
    fields = word.words()
    if len(fields) not in FIELD_COUNTS:
        raise word.error(
            f"a classic line has {', '.join(map(str, FIELD_COUNTS))} fields, this one "
            f"{len(fields)}",
            hint="min-size max-size min-freq max-freq min-age max-age action",
        )
    with word.placed():
        pattern = Pattern(
            _size(fields[0]),
            _size(fields[1]),
            Access(_least(fields[2], _freq), _freq(fields[3])),
            Age(_least(fields[4], _age), _age(fields[5])),
        )
        return Scheme(
            parse_action(fields[6]),
            pattern,
            quota=_quota(fields[7:]),
            watermarks=_watermarks(fields[-5:]) if len(fields) > 12 else Watermarks(),
        )


def _size(word: Word) -> int:
    text = word.text.lower()
    with word.placed("size"):
        return 0 if text == "min" else size(text)


def _least(word: Word, read: Callable[[Word], _T | None]) -> _T:
    value = read(word)
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
    if word.text.isdecimal():
        return count(word, "a time")
    return whole_ms(word, "quota")


def _quota(fields: list[Word]) -> Quota | None:
    if not fields:
        return None
    time_ms = _ms(fields.pop(0)) if len(fields) > 10 else 0
    weights = NO_WEIGHTS
    if len(fields) > 2:
        weights = Weights(*(count(word, "a weight") for word in fields[2:5]))
    return Quota(time_ms, _size(fields[0]), _ms(fields[1]), weights)


def _watermarks(fields: list[Word]) -> Watermarks:
    metric, interval, *marks = fields
    if metric.text not in ("none", "free_mem_rate"):
        raise metric.error(f"{metric.text!r} is no metric", hint="none or free_mem_rate")
    with interval.placed("watermark"):
        interval_us = duration_us(interval.text, bare="us")
    numbers = [count(word, "a watermark in 1/1,000") for word in marks]
    return Watermarks("none" if metric.text == "none" else "free_mem_rate", interval_us, *numbers)


def format_classic(scheme: Scheme) -> str:
    """
    Return the shortest classic line of a scheme.

    Raises `InexpressibleError` that names what these lines have no field for.
    """
    _check(scheme)
    pattern, quota = scheme.pattern, scheme.quota
    age = pattern.age
    fields = [
        exact_size(pattern.min_size_bytes) if pattern.min_size_bytes else "min",
        exact_size(pattern.max_size_bytes),
        _format_freq(pattern.access.low),
        "max" if pattern.access.high is None else _format_freq(pattern.access.high),
        exact_duration(age.low) if age.low else "min",
        "max" if age.high is None else exact_duration(age.high),
        str(scheme.action),
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
    missing = {
        "a name": scheme.name,
        "access in samples": scheme.pattern.access.unit != "percent",
        "age in aggregation intervals": scheme.pattern.age.unit != "us",
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
                hint="key=value lines, yaml, toml and json do",
            )
