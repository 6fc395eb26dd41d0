"""The values of a scheme line, read and written: ranges, quotas, watermarks, destinations."""

from __future__ import annotations

import re
from contextlib import suppress
from fractions import Fraction
from typing import Literal, NamedTuple

from isotherm.errors import BadValueError
from isotherm.model.scheme import Access, Age, Destination, Watermarks, Weights
from isotherm.schemefile.bounds import MAX_DIGITS
from isotherm.schemefile.source import Word
from isotherm.units import U64_MAX, duration_us, exact_duration, exact_size, percent, size

_ACCESS_UNITS = ("%", "percent", "samples", "sample")
_AGE_UNITS = ("aggr_intervals", "aggr_interval", "aggrs", "aggr", "windows", "window")
_NODE = re.compile(r"(?:node)?(-?[0-9]{1,9})")
_INTERVAL_UNITS = ("ms", "s", "m", "h", "d")
DEFAULT_WATERMARK_US = 5_000_000


def split_range(word: Word, example: str) -> tuple[Word, Word]:
    """Return the ends of "a..b", "a..", "..b" or "a" (both ends); open ends are empty words."""
    at = word.text.find("..")
    low, high = (word.part(0, at), word.part(at + 2)) if at >= 0 else (word, word)
    if not low.text and not high.text:
        raise word.error(f"{word.said} is not a range", hint=f"write it as {example}")
    if low.text == "max":
        raise low.error("max is no lower bound", hint=f"write it as {example}")
    return low, high


def format_range(low: str, high: str | None) -> str:
    """Return the shortest of "a", "a.." and "a..b"; None has no bound."""
    if high is None:
        return f"{low}.."
    return low if low == high else f"{low}..{high}"


def count(word: Word, what: str) -> int:
    """Return a whole number, 0 or more."""
    if not (word.text.isascii() and word.text.isdecimal() and len(word.text) <= MAX_DIGITS):
        raise word.error(f"{word.said} is not {what}", hint="write a whole number")
    if int(word.text) > U64_MAX:
        raise word.error(f"{word.said} is not {what}: it is above 2^64", hint=f"most: {U64_MAX}")
    return int(word.text)


def exact_number(value: Fraction | int) -> str:
    """Return decimals if they are exact, else a fraction: "5", "0.3", "1/3"."""
    for digits in range(43):  # what `percent` reads, in percent
        scaled = value * 10**digits
        if scaled == int(scaled):
            whole, rest = divmod(int(scaled), 10**digits)
            return f"{whole}.{rest:0{digits}d}" if digits else str(whole)
    return str(value)


def exact_percent(word: Word, number: str, what: str) -> Fraction:
    """Return the percentage of "5", "0.3" or "1/3", exactly; raises `SchemeError`."""
    if "%" not in number:
        with suppress(BadValueError):
            return percent(number) * 100
    raise word.error(f"{word.said} is not {what}", hint="write it in percent, as 5%")


def whole_share(word: Word, scale: int, what: str) -> int:
    """Return "50%" in units of 1/scale; the percent sign is needed."""
    if not word.text.endswith("%"):
        raise word.error(f"{word.said} is not {what}", hint="write it in percent, as 50%")
    share = exact_percent(word, word.text[:-1].strip(), what) * scale / 100
    if share.denominator != 1:
        raise word.error(f"{word.text} is finer than 1/{scale}, which {what} cannot be")
    return int(share)


def parse_sizes(word: Word) -> tuple[int, int]:
    """Return the closed bounds in bytes of "4K..2M", "2M..", "..2M" or "4K"."""
    low, high = split_range(word, "4K.., ..2M or 4K..2M")
    with low.placed("size"):
        bottom = 0 if low.text in ("", "min") else size(low.text)
    with high.placed("size"):
        top = 0 if high.text == "min" else size(high.text or "max")
    if bottom > top:
        raise word.error(f"sizes {word.text} are upside down", hint="the lower bound comes first")
    return bottom, top


def format_sizes(low: int, high: int) -> str:
    bottom = str(low) if low == U64_MAX else exact_size(low)
    return format_range(bottom, None if high == U64_MAX else exact_size(high))


def _access_end(word: Word) -> tuple[Fraction | None, str]:
    if word.text in ("", "max", "min"):
        return (Fraction(0) if word.text == "min" else None), ""
    unit = next(filter(word.text.endswith, _ACCESS_UNITS), "")
    number = word.text.removesuffix(unit).rstrip()
    return exact_percent(word, number, "an access rate"), {"%": "percent"}.get(unit, unit)


def parse_access(word: Word) -> Access:
    """Return the bounds of "5%..", "0%", "3samples..7samples"; one unit serves both ends."""
    low_word, high_word = split_range(word, "5%.., 0% or 3samples..")
    (low, low_unit), (high, high_unit) = _access_end(low_word), _access_end(high_word)
    unit = low_unit or high_unit
    if not unit and (low or high):
        raise word.error(
            f"access {word.said} has no unit", hint=f"write {low_word.text or high_word.text}% "
            f"of the samples, or {low_word.text or high_word.text}samples",
        )  # fmt: skip
    samples = unit.startswith("sample")
    if low_unit and high_unit and samples != high_unit.startswith("sample"):
        raise word.error(f"access {word.said} mixes percent and samples")
    if samples and any(end is not None and end.denominator != 1 for end in (low, high)):
        raise word.error(f"access {word.said}: there are no fractions of samples")
    with word.placed("access"):
        return Access(low or 0, high, "samples" if samples else "percent")


def format_access(access: Access) -> str:
    unit = "%" if access.unit == "percent" else "samples"
    high = None if access.high is None else exact_number(access.high) + unit
    return format_range(exact_number(access.low) + unit, high)


def _age_end(word: Word) -> tuple[int | None, Literal["us", "windows", ""]]:
    if word.text in ("", "max", "min", "0"):
        return (0 if word.text in ("min", "0") else None), ""
    unit = next(filter(word.text.endswith, _AGE_UNITS), "")
    if unit:
        number = word.part(0, len(word.text) - len(unit))
        return count(number, "a number of aggregation intervals"), "windows"
    if word.text.isdecimal():
        raise word.error(f"age {word.said} has no unit", hint="write 5s, 2m or 7aggr")
    with word.placed("age"):
        return duration_us(word.text), "us"


def parse_age(word: Word) -> Age:
    """Return the bounds of "2m..", "5s..10s" or "7aggr.."."""
    low_word, high_word = split_range(word, "2m.., 5s..10s or 7aggr..")
    (low, low_unit), (high, high_unit) = _age_end(low_word), _age_end(high_word)
    if low_unit and high_unit and low_unit != high_unit:
        raise word.error(f"age {word.said} mixes times and aggregation intervals")
    with word.placed("age"):
        return Age(low or 0, high, low_unit or high_unit or "us")


def format_age(age: Age) -> str:
    def end(value: int) -> str:
        return exact_duration(value) if age.unit == "us" else f"{value}aggr"

    return format_range(end(age.low), None if age.high is None else end(age.high))


class QuotaLimits(NamedTuple):
    """The limits of a quota; 0 is no limit of that kind."""

    size_bytes: int = 0
    time_ms: int = 0
    reset_ms: int = 1000


def whole_ms(word: Word, what: str) -> int:
    """Return milliseconds of "10ms"; raises `SchemeError` for parts of one."""
    if word.text == "max":
        return U64_MAX
    with word.placed(what):
        us = duration_us(word.text, most=U64_MAX * 1000)
    if us % 1000:
        raise word.error(f"{what} {word.said} is not a whole number of milliseconds")
    return us // 1000


def parse_interval_ms(word: Word, what: str) -> int:
    """Return milliseconds of "1s", or of "s", which means one of them."""
    if word.text in _INTERVAL_UNITS:
        return whole_ms(Word("1" + word.text, word.file, word.line, word.column), what)
    return whole_ms(word, what)


def format_interval_ms(reset_ms: int) -> str:
    if reset_ms == U64_MAX:
        return "max"
    text = exact_duration(reset_ms * 1000) if reset_ms else "0ms"
    return text[1:] if text[0] == "1" and text[1:].isalpha() else text


def _is_time(word: Word) -> bool:
    unit = word.text.lstrip("0123456789.,_ ").rstrip()
    if unit == "m":
        raise word.error(
            f"quota {word.said} could be bytes or minutes", hint="write 128M, or 120s"
        )
    return unit.lower() in ("ns", "us", "µs", "ms", "s", "m", "h", "d") and unit != "M"


def parse_size_limit(word: Word) -> int:
    """Return the bytes of a quota."""
    with word.placed("quota"):
        value = size(word.text)
    return _above_zero(word, value)


def parse_time_limit(word: Word) -> int:
    """Return the milliseconds of a quota."""
    return _above_zero(word, whole_ms(word, "quota"))


def _above_zero(word: Word, value: int) -> int:
    if not value:
        raise word.error(
            f"quota {word.said} would be no limit at all", hint="write quota=none for that"
        )
    return value


def parse_quota(word: Word) -> QuotaLimits:
    """Return the limits of "128M/s,10ms/s", "none" or "none/5s"."""
    limits: dict[str, int] = {}
    for part in word.split(","):
        amount, slash, interval = part.partition("/")
        if amount.text == "none":
            kind, value = "none", 0
        elif _is_time(amount):
            kind, value = "time_ms", parse_time_limit(amount)
        else:
            kind, value = "size_bytes", parse_size_limit(amount)
        if not slash and kind != "none":
            raise part.error(f"quota {part.said} has no interval", hint=f"write {part.text}/s")
        reset = parse_interval_ms(interval, "quota") if slash else 1000
        if kind in limits or (kind == "none" and limits) or "none" in limits:
            raise part.error(f"quota {word.said} limits the same twice")
        if limits.get("reset_ms", reset) != reset:
            raise interval.error(
                f"quota {word.said} has two intervals", hint="one interval serves both limits"
            )
        limits.update({kind: value, "reset_ms": reset})
    limits.pop("none", None)
    return QuotaLimits(**limits)


def format_quota(size_bytes: int, time_ms: int, reset_ms: int) -> str:
    per = format_interval_ms(reset_ms)
    parts = [f"{exact_size(size_bytes)}/{per}"] if size_bytes else []
    if time_ms:
        parts.append(f"{format_time_limit(time_ms)}/{per}")
    return ",".join(parts) or ("none" if reset_ms == 1000 else f"none/{per}")


def format_time_limit(time_ms: int) -> str:
    """Return seconds or milliseconds: "2m" would look like two MiB."""
    if time_ms == U64_MAX:
        return f"{time_ms}ms"
    return f"{time_ms // 1000}s" if time_ms % 1000 == 0 else f"{time_ms}ms"


def parse_weights(word: Word) -> Weights:
    """Return the weights of "size:0,access:3,age:1" or "0/3/1" (size, access, age)."""
    if "/" in word.text:
        numbers = [count(part, "a weight") for part in word.split("/")]
        if len(numbers) != len(Weights._fields):
            raise word.error(f"weights {word.said} are not three", hint="size/access/age: 0/3/1")
        return Weights(*numbers)
    weights: dict[str, int] = {}
    for part in word.split(","):
        name, colon, value = part.partition(":")
        if name.text not in Weights._fields or not colon or name.text in weights:
            raise part.error(f"{part.said} is not a weight", hint="write size:0,access:3,age:1")
        weights[name.text] = count(value, "a weight")
    return Weights(**weights)


def format_weights(weights: Weights) -> str:
    return "/".join(str(weight) for weight in weights)


def parse_watermark(word: Word) -> Watermarks:
    """Return the watermarks of "free:50%/40%/20%@5s"; 5 s is the default."""
    name, colon, rest = word.partition(":")
    if name.text not in ("free", "free_mem_rate", "none") or not colon:
        raise word.error(f"{word.said} are no watermarks", hint="write free:50%/40%/20%@5s")
    shares, at, interval = rest.partition("@")
    marks = [whole_share(part, 1000, "a watermark") for part in shares.split("/")]
    if len(marks) != 3:
        raise shares.error(f"{shares.said} are not three watermarks", hint="high/middle/low")
    free = name.text != "none"
    us = DEFAULT_WATERMARK_US if free else 0
    with word.placed("watermark"):
        if at:
            us = duration_us(interval.text)
        return Watermarks("free_mem_rate" if free else "none", us, *marks)


def format_share(value: int, scale: int) -> str:
    return f"{exact_number(Fraction(value * 100, scale))}%"


def format_watermark(marks: Watermarks) -> str:
    free = marks.metric != "none"
    shares = "/".join(format_share(mark, 1000) for mark in (marks.high, marks.mid, marks.low))
    default = DEFAULT_WATERMARK_US if free else 0
    every = "" if marks.interval_us == default else f"@{exact_duration(marks.interval_us)}"
    return f"{'free' if free else 'none'}:{shares}{every}"


def parse_node(word: Word) -> int:
    """Return the number of "node1"."""
    match = _NODE.fullmatch(word.text)
    if not match:
        raise word.error(f"{word.said} is not a node", hint="write node1")
    return int(match[1])


def parse_to(word: Word) -> tuple[int | None, tuple[Destination, ...]]:
    """Return target node and destinations of "node1", "node0:3+node1:1", or both by comma."""
    nid: int | None = None
    destinations: list[Destination] = []
    for part in word.split(","):
        if ":" not in part.text and "+" not in part.text:
            if nid is not None:
                raise part.error(f"{word.said} has two target nodes", hint="node0:3+node1:1")
            nid = parse_node(part)
            continue
        for piece in part.split("+"):
            name, colon, weight = piece.partition(":")
            share = count(weight, "a weight") if colon else 1
            destinations.append(Destination(parse_node(name), share))
    return nid, tuple(destinations)


def format_to(nid: int | None, destinations: tuple[Destination, ...]) -> str:
    parts = [f"node{nid}"] if nid is not None else []
    if destinations:
        parts.append(
            "+".join(f"node{destination.nid}:{destination.weight}" for destination in destinations)
        )
    return ",".join(parts)


def parse_fail_charge(word: Word) -> tuple[int, int]:
    """Return numerator and denominator of "1/4"."""
    parts = [count(part, "a share") for part in word.split("/")]
    if len(parts) != 2:
        raise word.error(f"{word.said} is not a share", hint="write 1/4")
    return parts[0], parts[1]
