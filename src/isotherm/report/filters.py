"""What every report can be narrowed to, spelled as in schemes: one set of options for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isotherm.analysis.filtered import Selection
from isotherm.errors import BadValueError, quoted
from isotherm.report.view import Option
from isotherm.schemefile.filters import parse_addresses
from isotherm.schemefile.source import Word
from isotherm.schemefile.values import parse_access, parse_age, parse_sizes, split_range
from isotherm.units import NS_MAX, duration_ns

_EXAMPLE = "write it as 10s..20s, 10s.. or ..20s"


def parse_times(text: str) -> tuple[int, int]:
    """Return [since, before) in ns of "10s..20s", "10s.." or "..20s"; raises `BadValueError`."""
    if ".." not in text:
        raise BadValueError(f"{quoted(text)} is no range of times", hint=_EXAMPLE)
    low, high = split_range(Word(text, "--time"), "10s..20s")
    since = duration_ns(low.text) if low.text else 0
    before = duration_ns(high.text) if high.text else NS_MAX
    if since >= before:
        raise BadValueError(f"{quoted(text)} ends before it begins", hint=_EXAMPLE)
    return since, before


#: Options that all views have.
ADDRESS = Option(
    "--address", "START-END", "these addresses, 0x1000-0x2000; may be repeated.",
    read=lambda text: parse_addresses(Word(text, "--address")), many=True,
)  # fmt: skip
ACCESS = Option(
    "--access", "RATES", "regions accessed in 5%.., 0% or ..3samples of their samples.",
    read=lambda text: parse_access(Word(text, "--access")),
)  # fmt: skip
AGE = Option(
    "--age", "TIMES", "regions whose rate has been the same for 2m.. or 5s..10s.",
    read=lambda text: parse_age(Word(text, "--age")),
)  # fmt: skip
SIZE = Option(
    "--size", "SIZES", "regions of 2M.. or 4K..64K.",
    read=lambda text: parse_sizes(Word(text, "--size")),
)  # fmt: skip
TIME = Option(
    "--time", "FROM..TO", "windows that begin then, after the beginning: 10s..20s.", parse_times
)
NAME = Option("--name", "PATTERN", "mappings of this name, '*/libc*'; may be repeated.", many=True)
FILTERS = (ADDRESS, ACCESS, AGE, SIZE, TIME, NAME)


def selection(given: Mapping[str, Any]) -> Selection:
    """Return what is meant; given: what was written, by the names of `FILTERS`."""
    values = {option.name: option.value(given.get(option.name)) for option in FILTERS}
    return Selection(
        addresses=tuple(values["--address"]),
        access=values["--access"],
        age=values["--age"],
        sizes=values["--size"],
        times=values["--time"],
        names=tuple(values["--name"]),
    )
