"""
Sizes, durations, rates and ranges as people write them, exact and round-tripping.

Sizes are 1024-based whatever the suffix (K, KB, KiB), as in DAMON's tools. Arithmetic is on
`Fraction`, so that "2.5 GiB" is a whole number of bytes and nothing is ever rounded silently.
"""

import re
from fractions import Fraction

from isotherm.errors import BadValueError

U64_MAX = 2**64 - 1

_SIZE = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    for _suffix in (_letter, f"{_letter}b", f"{_letter}ib"):
        _SIZE[_suffix] = 1024**_power

_NS = 1
_DURATION = {
    "ns": _NS,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_TERM = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?|\.[0-9]+)\s*([a-zA-Zµ]*)")


def _terms(text: str, what: str, example: str) -> list[tuple[Fraction, str]]:
    """Split "3 s 400 ms" into numbers and lower-case unit names; refuse anything between them."""
    stripped = text.strip()
    terms, at = [], 0
    for match in _TERM.finditer(stripped):
        if stripped[at : match.start()].strip():
            break
        number = match[1].replace(",", "").replace("_", "")
        terms.append((Fraction(number), match[2].lower()))
        at = match.end()
    unnamed = len(terms) > 1 and not all(unit for _, unit in terms)
    if not terms or unnamed or stripped[at:].strip():
        raise BadValueError(f"{text!r} is not a {what}", hint=f"write it as {example}")
    return terms


def size(value: int | str) -> int:
    """Return bytes for "4K", "2.5 GiB", "12345678" or an int."""
    if isinstance(value, int):
        total = Fraction(value)
    elif value.strip().lower() == "max":
        return U64_MAX
    else:
        total = Fraction(0)
        for number, suffix in _terms(value, "size", "4K, 2.5GiB or 12345678"):
            if suffix not in _SIZE:
                raise BadValueError(f"{value!r} is not a size", hint="suffixes are B K M G T P E")
            total += number * _SIZE[suffix]
    if total < 0 or total > U64_MAX or total.denominator != 1:
        raise BadValueError(f"{value!r} is not a whole number of bytes below 2^64")
    return int(total)


def duration_ns(value: float | str, *, bare: str = "s") -> int:
    """
    Return nanoseconds for "100ms", "3 s 400 ms", or a bare number of unit `bare`.

    Raises `BadValueError` for anything else, for negative values, and for fractions of a ns.
    """
    if isinstance(value, (int, float)):
        total = Fraction(str(value)) * _DURATION[bare]
    else:
        total = Fraction(0)
        for number, unit in _terms(value, "duration", "100ms, 5s or 2m"):
            if (unit or bare) not in _DURATION:
                raise BadValueError(
                    f"{value!r} is not a duration", hint="units are ns us ms s m h d"
                )
            total += number * _DURATION[unit or bare]
    if total < 0 or total.denominator != 1:
        raise BadValueError(f"{value!r} is not a duration of whole nanoseconds")
    return int(total)


def duration_us(value: float | str, *, bare: str = "us") -> int:
    """Return microseconds, as `duration_ns`; a bare number is microseconds by default."""
    ns = duration_ns(value, bare=bare)
    if ns % 1000:
        raise BadValueError(f"{value!r} is not a whole number of microseconds")
    return ns // 1000


def percent(value: float | str) -> Fraction:
    """Return the share 0..1 for "5%", "0.3 %" or a bare number of percent."""
    text = str(value).strip().removesuffix("%").strip()
    try:
        share = Fraction(text) / 100
    except (ValueError, ZeroDivisionError):
        raise BadValueError(f"{value!r} is not a percentage", hint="write it as 5%") from None
    if share < 0:
        raise BadValueError(f"{value!r} is negative")
    return share


def int_range(value: str | tuple[int, int] | list[int]) -> tuple[int, int]:
    """Return (low, high) for "10..1000" or a pair of ints; both ends are needed."""
    if isinstance(value, str):
        low, dots, high = value.partition("..")
        if not dots or not low.strip().isdecimal() or not high.strip().isdecimal():
            raise BadValueError(f"{value!r} is not a range", hint="write it as 10..1000")
        return int(low), int(high)
    if len(value) != 2:
        raise BadValueError(f"{value!r} is not a range", hint="write it as 10..1000")
    return int(value[0]), int(value[1])


def format_size(nbytes: int) -> str:
    """Short, for people: at most three digits, "2.9 GiB". `exact_size` is read back."""
    amount = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 999.5 or unit == "PiB":
            digits = 0 if unit == "B" or amount >= 99.5 else 1
            return f"{amount:.{digits}f} {unit}"
        amount /= 1024
    raise AssertionError


def exact_size(nbytes: int) -> str:
    """The shortest text that `size` reads back as the same number: "4K", "2560M", "12345678"."""
    if nbytes == U64_MAX:
        return "max"
    for power, letter in reversed(list(enumerate("KMGTPE", start=1))):
        if nbytes and nbytes % 1024**power == 0:
            return f"{nbytes // 1024**power}{letter}"
    return str(nbytes)


def format_duration(ns: int) -> str:
    """Short and for people: "5ms", "1.5s", "2m30s"; whole minutes and hours above 120 s."""
    if ns == 0:
        return "0s"
    if ns >= 7_200_000_000_000:
        return f"{ns // 3_600_000_000_000}h{ns // 60_000_000_000 % 60:02d}m"
    if ns >= 120_000_000_000:
        minutes, seconds = divmod(round(ns / 1e9), 60)
        return f"{minutes}m{seconds:02d}s" if seconds else f"{minutes}m"
    for unit, scale in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if ns >= scale:
            return f"{ns / scale:.4g}{unit}"
    return f"{ns}ns"


def exact_duration(us: int) -> str:
    """The shortest text that `duration_us` reads back as the same number of microseconds."""
    for unit, scale in (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)):
        if us and us % scale == 0:
            return f"{us // scale}{unit}"
    return f"{us}us"
