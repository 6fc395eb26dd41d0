"""
Sizes, durations, rates and ranges as people write them, exact and round-tripping.

Sizes are 1024-based whatever the suffix (K, KB, KiB), as in DAMON's tools. Arithmetic is on
`Fraction`, so that "2.5 GiB" is a whole number of bytes and nothing is ever rounded silently.
"""

import operator
import re
from fractions import Fraction
from math import isfinite

from isotherm.errors import BadValueError, quoted, shown

U64_MAX = 2**64 - 1
#: Nanoseconds that a clock of 64 bits can count: 292 years.
NS_MAX = 2**63 - 1
#: What is longer is no number that anybody means, and only work.
MAX_TEXT = 100
#: What a monitor may be allowed of one CPU: a second a day at least, 64 CPUs at most.
MIN_CPU_SHARE, MAX_CPU_SHARE = Fraction(1, 100_000), 64

_SIZE = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    for _suffix in (_letter, f"{_letter}b", f"{_letter}ib"):
        _SIZE[_suffix] = 1024**_power

_NS = 1
_DURATION = {
    "ns": _NS,
    "us": 1_000,
    "µs": 1_000,  # the micro sign; the Greek letter follows
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_TERM = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?|\.[0-9]+)\s*([a-zA-Zµ\u03bc]*)")
_PERCENT = re.compile(r"([0-9]{1,40}(?:\.[0-9]{0,40}|/[0-9]{1,40})?|\.[0-9]{1,40})\s*%?")


def said(value: object) -> str:
    """Return a value that somebody gave as a message may quote it: short, and on one line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int) and value.bit_length() > 200:  # too long for Python to print
        return f"a number of {value.bit_length()} bits"
    try:
        return shown(repr(value))
    except ValueError:
        return f"a {type(value).__name__}"


def _is_plain(text: str) -> bool:
    """Whether a text may be a number: not long, and nothing in it but what prints, and tabs."""
    return len(text) <= MAX_TEXT and text.replace("\t", " ").isprintable()


def _terms(text: str, what: str, example: str) -> list[tuple[Fraction, str]]:
    """Split "3 s 400 ms" into numbers and lower-case unit names; refuse anything between them."""
    stripped = text.strip()
    if not _is_plain(text):
        why = (
            f"no number has {len(text)} characters"
            if len(text) > MAX_TEXT
            else "control characters"
        )
        raise BadValueError(
            f"{quoted(text)} is not a {what}: {why}", hint=f"write it as {example}"
        )
    terms, at = [], 0
    for match in _TERM.finditer(stripped):
        if stripped[at : match.start()].strip():
            break
        number = match[1].replace(",", "").replace("_", "")
        terms.append((Fraction(number), match[2].lower()))
        at = match.end()
    unnamed = len(terms) > 1 and not all(unit for _, unit in terms)
    if not terms or unnamed or stripped[at:].strip():
        raise BadValueError(f"{quoted(text)} is not a {what}", hint=f"write it as {example}")
    return terms


def size(value: int | str) -> int:
    """
    Return bytes.

    value: "4K", "2.5 GiB", "12345678", "max" (2^64-1), or an int, which is bytes.

    Raises `BadValueError` for anything else, and for what is no whole number of bytes below 2^64.
    """
    if isinstance(value, int):
        total = Fraction(value)
    elif not isinstance(value, str):
        raise BadValueError(f"{said(value)} is not a size", hint="write it as 4K or 12345678")
    elif value.strip().lower() == "max":
        return U64_MAX
    else:
        total = Fraction(0)
        for number, suffix in _terms(value, "size", "4K, 2.5GiB or 12345678"):
            if suffix not in _SIZE:
                raise BadValueError(
                    f"{quoted(value)} is not a size", hint="suffixes are B K M G T P E"
                )
            total += number * _SIZE[suffix]
    if total < 0 or total > U64_MAX or total.denominator != 1:
        raise BadValueError(
            f"{said(value)} is not a whole number of bytes below 2^64",
            hint="write it as 4K, 2.5GiB or 12345678",
        )
    return int(total)


def _nanoseconds(value: float | str, bare: str | None) -> Fraction:
    """Return the exact time, 0 or more; bare: the unit of text without one, None refuses it."""
    example = "write it as 100ms, 5s or 2m"
    if isinstance(value, (int, float)):
        if isinstance(value, float) and not isfinite(value):
            raise BadValueError(f"{said(value)} is not a duration", hint=example)
        exact = Fraction(value if isinstance(value, int) else str(value))
        total = exact * _DURATION[bare or "us"]
    elif not isinstance(value, str):
        raise BadValueError(f"{said(value)} is not a duration", hint=example)
    else:
        total = Fraction(0)
        for number, unit in _terms(value, "duration", "100ms, 5s or 2m"):
            if not unit and bare is None and number:
                short = shown(value.strip(), 20)
                raise BadValueError(
                    f"{quoted(value)} has no unit", hint=f"{short}ms? {short}us? {short}s?"
                )
            if (unit or bare or "us") not in _DURATION:
                raise BadValueError(
                    f"{quoted(value)} is not a duration", hint="units are ns us ms s m h d"
                )
            total += number * _DURATION[unit or bare or "us"]
    if total < 0:
        raise BadValueError(f"{said(value)} is not a duration: it is below 0", hint=example)
    return total


def duration_ns(value: float | str, *, bare: str | None = "s") -> int:
    """
    Return nanoseconds, at most 2^63-1: 292 years.

    value: "100ms", "3 s 400 ms", or a number of unit `bare`, also as text; bare: "ns", "us", "ms",
    "s", "m", "h" or "d", or None to refuse text without a unit.

    Raises `BadValueError` for anything else, for negative values, and for fractions of a ns.
    """
    total = _nanoseconds(value, bare)
    if total.denominator != 1:
        raise BadValueError(
            f"{said(value)} is not a duration of whole nanoseconds", hint="write it as 100ms or 5s"
        )
    if total > NS_MAX:
        raise BadValueError(
            f"{said(value)} is too long", hint="nothing can last more than 292 years: 106751d"
        )
    return int(total)


def duration_us(value: float | str, *, bare: str | None = None, most: int = U64_MAX) -> int:
    """
    Return microseconds.

    value: text with a unit, as for `duration_ns`, or a number, which is microseconds; bare: the
    unit of text without one ("5" could be 5 ms or 5 µs, and is refused if None); most: the highest
    result.

    Raises `BadValueError` for anything else, and for fractions of a microsecond.
    """
    total = _nanoseconds(value, bare) / 1000
    if total.denominator != 1:
        raise BadValueError(
            f"{said(value)} is not a whole number of microseconds", hint="write it as 5ms or 100us"
        )
    if total > most:
        raise BadValueError(f"{said(value)} is too long", hint="write it as 5ms, 1s or 2h")
    return int(total)


def percent(value: float | str) -> Fraction:
    """
    Return a share, 0 for 0% and 1 for 100%; 0 or more, exactly.

    value: "5%", "0.3 %", "1/3%", or a number of percent, also as text.

    Raises `BadValueError` for anything else.
    """
    share: Fraction | None = None
    if isinstance(value, str):
        text = value.strip()
        match = _PERCENT.fullmatch(text) if _is_plain(value) else None
        if match is not None and int(match[1].partition("/")[2] or 1):
            share = Fraction(match[1]) / 100
    elif isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        share = Fraction(value if isinstance(value, int) else str(value)) / 100
    if share is None or share < 0:
        raise BadValueError(f"{said(value)} is not a percentage", hint="write it as 5% or 0.3%")
    return share


def cpu_share(value: float | str) -> float:
    """
    Return a share of one CPU, as --overhead has it: 0.01 for "1%".

    value: as for `percent`; 0.001% at least, and at most 6400%, which is 64 CPUs.

    Raises `BadValueError` for anything else.
    """
    share = percent(value)
    if share < MIN_CPU_SHARE:
        raise BadValueError(
            f"{said(value)} of a CPU is too little to look at anything", hint="1% is usual"
        )
    if share > MAX_CPU_SHARE:
        raise BadValueError(f"{said(value)} is more CPUs than can be meant", hint="1% is usual")
    return float(share)


def int_range(value: str | tuple[int, int] | list[int]) -> tuple[int, int]:
    """
    Return the ends (low, high) of a range of whole numbers, each 0 or more and below 2^64.

    value: "10..1000", or a pair of ints; both ends are needed. Which is higher is not asked.

    Raises `BadValueError` for anything else.
    """
    ends: list[int] = []
    if isinstance(value, str):
        texts = [text.strip() for text in value.split("..", 1)] if _is_plain(value) else []
        if all(text.isascii() and text.isdecimal() for text in texts):
            ends = [int(text) for text in texts]
    elif isinstance(value, (tuple, list)):
        try:
            ends = [operator.index(end) for end in value]
        except TypeError:
            ends = []
    if len(ends) != 2 or not all(0 <= end <= U64_MAX for end in ends):
        raise BadValueError(f"{said(value)} is not a range", hint="write it as 10..1000")
    return ends[0], ends[1]


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
