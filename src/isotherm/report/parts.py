"""Options that say which part of a recording a picture is of."""

from __future__ import annotations

from typing import Final

from isotherm.analysis.wanted import Wanted
from isotherm.errors import BadValueError, quoted
from isotherm.model.ranges import Range
from isotherm.report.view import TARGET, Option, Options
from isotherm.units import U64_MAX, duration_ns, size


def _ends(text: str, example: str, dash: str = "..") -> tuple[str, str]:
    low, dots, high = text.partition(".." if ".." in text else dash)
    if not dots or not (low.strip() or high.strip()):
        raise BadValueError(f"{quoted(text)} is not a range", hint=f"write it as {example}")
    return low.strip(), high.strip()


def times(text: str) -> tuple[int, int | None]:
    """Return a range of times, "10s..1m", in ns; None for an open end."""
    low, high = _ends(text, "10s..20s, 10s.. or ..20s")
    from_ns, until_ns = duration_ns(low) if low else 0, duration_ns(high) if high else None
    if until_ns is not None and until_ns <= from_ns:
        raise BadValueError(f"{quoted(text)} ends before it begins")
    return from_ns, until_ns


def addresses(text: str) -> Range:
    """Return a range of addresses, "0x7f00..0x7f10", "0x7f00-0x7f10" or without 0x."""
    example = "7f1200000000..7f1300000000, in hexadecimal digits"
    ends = []
    for end, default in zip(_ends(text, example, "-"), (0, U64_MAX), strict=True):
        digits = end.lower().removeprefix("0x").replace("_", "")
        if end and not (0 < len(digits) <= 16 and set(digits) <= set("0123456789abcdef")):
            raise BadValueError(f"{quoted(end)} is not an address", hint=f"write it as {example}")
        ends.append(int(digits, 16) if end else default)
    if ends[0] >= ends[1]:
        raise BadValueError(f"{quoted(text)} ends before it begins")
    return Range(ends[0], ends[1])


def stretch(text: str) -> int:
    """Return a size above 0 in bytes."""
    found = size(text)
    if not found:
        raise BadValueError("the hottest 0 bytes are none", hint="a size such as 64M")
    return found


TIME: Final = Option("--time", "FROM..TO", "only this time, since the beginning.", times)
ADDRESS: Final = Option("--address", "FROM..TO", "only these addresses.", addresses)
HOTTEST: Final = Option("--hottest", "SIZE", "only the stretch accessed most.", stretch)
PART: Final = (TARGET, TIME, ADDRESS, HOTTEST)


def wanted(options: Options) -> Wanted:
    """Return the part that the options of `PART` say."""
    return Wanted(*(options[option.name] for option in PART))
