"""What every report can be narrowed to, spelled as in schemes: one set of options for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isotherm.analysis.filtered import Selection
from isotherm.report.parts import addresses, times
from isotherm.report.view import Option
from isotherm.schemefile.source import Word
from isotherm.schemefile.values import parse_access, parse_age, parse_sizes
from isotherm.units import NS_MAX

#: Options that all views have.
ADDRESS = Option(
    "--address", "FROM..TO", "these addresses, 7f00..7f10 or 0x7f00-0x7f10; may be repeated.",
    addresses, many=True,
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
    "--time", "FROM..TO", "windows that begin then, after the beginning: 10s..20s.", times
)
NAME = Option("--name", "PATTERN", "mappings of this name, '*/libc*'; may be repeated.", many=True)
FILTERS = (ADDRESS, ACCESS, AGE, SIZE, TIME, NAME)


def selection(given: Mapping[str, Any]) -> Selection:
    """Return what is meant; given: what was written, by the names of `FILTERS`."""
    values = {option.name: option.value(given.get(option.name)) for option in FILTERS}
    time = values["--time"]
    return Selection(
        addresses=tuple(values["--address"]),
        access=values["--access"],
        age=values["--age"],
        sizes=values["--size"],
        times=None if time is None else (time[0], NS_MAX if time[1] is None else time[1]),
        names=tuple(values["--name"]),
    )
