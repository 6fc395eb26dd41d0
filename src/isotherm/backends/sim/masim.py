"""
Configuration files of masim, the memory access simulator of DAMON's author, as workloads.

Paragraphs, apart by an empty line: the first names regions (`NAME, SIZE[, FILE]`), each other one
is a phase: its name, its milliseconds, then a pattern per line (`REGION, RANDOM, STRIDE,
PROBABILITY[, ro|wo|rw]`). masim accesses memory as fast as it can; here the pace is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from isotherm.backends.sim.workload import BASE, HUGE_PAGE, Area, Use, Workload
from isotherm.errors import quoted
from isotherm.model.ranges import PAGE
from isotherm.schemefile.files import read_text, split_lines
from isotherm.schemefile.source import Word
from isotherm.units import exact_size, size

#: Accesses per second of all patterns of a phase together: what masim does on a slow machine.
ACCESSES = 100_000_000
#: Pages that are used a tenth as often as the most used ones are hot.
_HOT_SHARE = 0.1
_MS = 1_000_000
#: No file needs more.
_MOST_REGIONS, _MOST_PATTERNS = 1000, 4096
_MOST_MS, _MOST_BYTES, _MOST_WEIGHT = 86_400_000, 16 << 40, 1_000_000
_MODES = ("ro", "wo", "rw")


@dataclass(frozen=True, slots=True)
class _Region:
    name: str
    nbytes: int
    uses: list[Use]


def load_masim(path: Path) -> Workload:
    """Return the workload of a file; raises `BadValueError`, which says where."""
    return parse_masim(read_text(path), str(path))


def parse_masim(text: str, file: str) -> Workload:
    """
    Return the workload that a text describes.

    file: its name in messages. The process ends with its last phase. Raises `BadValueError`.
    """
    paragraphs = _paragraphs(text, file)
    if len(paragraphs) < 2:
        place = paragraphs[0][-1] if paragraphs else Word("", file)
        raise place.error(
            "no masim configuration: regions, an empty line, and a phase are the least",
            hint="isotherm simulate --list has workloads by name",
        )
    regions = _regions(paragraphs[0])
    at_ns, patterns = 0, 0
    changes: list[int] = []
    for paragraph in paragraphs[1:]:
        patterns += len(paragraph)
        if patterns > _MOST_PATTERNS:
            raise paragraph[0].error(f"more than {_MOST_PATTERNS:,} lines of phases")
        changes.append(at_ns)
        at_ns = _add_phase(paragraph, regions, at_ns)
    rates = [use.rate for region in regions.values() for use in region.uses]
    if not rates:
        raise paragraphs[1][-1].error("nothing is ever accessed", hint="give it a probability")
    return Workload(
        Path(file).name, _areas(regions, at_ns), _HOT_SHARE * max(rates), tuple(changes[1:])
    )


def _paragraphs(text: str, file: str) -> list[list[Word]]:
    """Lines between empty ones, without comments."""
    found: list[list[Word]] = [[]]
    for line in split_lines(text, file):
        word = line.part(0)
        if word.text.startswith("#"):
            continue
        if word.text:
            found[-1].append(word)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


def _fields(line: Word) -> list[Word]:
    ends = [at for at, char in enumerate(line.text) if char == ","]
    cuts = [-1, *ends, len(line.text)]
    return [line.part(begin + 1, end) for begin, end in pairwise(cuts)]


def _regions(lines: list[Word]) -> dict[str, _Region]:
    regions: dict[str, _Region] = {}
    if len(lines) > _MOST_REGIONS:
        raise lines[_MOST_REGIONS].error(f"more than {_MOST_REGIONS:,} regions")
    total = 0
    for line in lines:
        fields = _fields(line)
        if len(fields) not in (2, 3):
            raise line.error(
                f"a region has a name and a size, and perhaps a file, not {len(fields)} fields",
                hint="a, 104857600",
            )
        name = fields[0].text
        if not name or name in regions:
            what = f"there is a region {quoted(name)} already" if name else "a region has no name"
            raise line.error(what)
        with fields[1].placed("the size of a region"):
            nbytes = size(fields[1].text)
        total += nbytes
        if nbytes < 1 or total > _MOST_BYTES:
            raise fields[1].error(
                f"regions of {exact_size(total)} cannot be simulated",
                hint=f"1 byte to {exact_size(_MOST_BYTES)} in all",
            )
        regions[name] = _Region(name, -(-nbytes // PAGE) * PAGE, [])
    return regions


def _number(word: Word, what: str, least: int, most: int) -> int:
    text = word.text
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or not least <= int(text) <= most:
        raise word.error(
            f"{what} is a whole number from {least:,} to {most:,}, not {quoted(text)}"
        )
    return int(text)


@dataclass(frozen=True, slots=True)
class _Pattern:
    region: _Region
    random: bool
    stride: int
    weight: int


def _pattern(line: Word, regions: dict[str, _Region]) -> _Pattern:
    fields = _fields(line)
    if len(fields) not in (4, 5):
        raise line.error(
            f"a pattern has 4 or 5 fields, not {len(fields)}", hint="a, 1, 64, 80, wo"
        )
    region = regions.get(fields[0].text)
    if region is None:
        raise fields[0].error(f"there is no region {fields[0].said}")
    if len(fields) == 5 and fields[4].text not in _MODES:
        raise fields[4].error(f"a mode is one of {', '.join(_MODES)}, not {fields[4].said}")
    return _Pattern(
        region,
        _number(fields[1], "randomness", 0, 1) == 1,
        # Of random accesses it means nothing.
        _number(fields[2], "a stride", 0 if fields[1].text == "1" else 1, _MOST_BYTES),
        _number(fields[3], "a probability", 0, _MOST_WEIGHT),
    )


def _add_phase(lines: list[Word], regions: dict[str, _Region], at_ns: int) -> int:
    """Add what a phase does to its regions; return when it ends."""
    if len(lines) < 3:
        raise lines[-1].error(
            "a phase has a name, its milliseconds, and patterns, a line each",
            hint="an empty line ends a phase",
        )
    until_ns = at_ns + _number(lines[1], "the time of a phase in ms", 1, _MOST_MS) * _MS
    patterns = [_pattern(line, regions) for line in lines[2:]]
    total = sum(pattern.weight for pattern in patterns)
    if not total:
        raise lines[2].error("the probabilities of a phase are all 0")
    for pattern in patterns:
        if pattern.weight:
            accesses = ACCESSES * pattern.weight / total
            pattern.region.uses.append(_use(pattern, accesses, at_ns, until_ns))
    return until_ns


def _use(pattern: _Pattern, accesses: float, from_ns: int, until_ns: int) -> Use:
    """The uses of a pattern's pages by so many accesses a second."""
    nbytes = pattern.region.nbytes
    if pattern.random:
        rate = accesses * PAGE / nbytes
        return Use(start=0, size=nbytes, rate=rate, from_ns=from_ns, until_ns=until_ns)
    stride = min(pattern.stride, nbytes)
    # Of strides that are no whole number of pages, the nearest one.
    group = max(1, min(round(stride / PAGE), nbytes // PAGE, 65536))
    return Use(
        start=0,
        size=nbytes,
        rate=accesses * stride / nbytes,
        order="sweep",
        from_ns=from_ns,
        until_ns=until_ns,
        group=group,
        regular=True,
    )


def _areas(regions: dict[str, _Region], until_ns: int) -> tuple[Area, ...]:
    """The memory of each region, apart from each other."""
    areas: list[Area] = []
    start = BASE
    for region in regions.values():
        name = f"[anon:{region.name}]"
        areas.append(
            Area(
                start=start,
                size=region.nbytes,
                uses=tuple(region.uses),
                name=name,
                until_ns=until_ns,
            )
        )
        start = -(-areas[-1].end // HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE
    return tuple(areas)
