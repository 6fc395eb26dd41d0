"""
The layout of a recording (`*.isotherm`): names, bounds and columns.

docs/recording-format.md says what they mean. Bounds hold for both sides: a writer keeps within
them, a reader takes what is beyond for damage.
"""

from __future__ import annotations

import struct
from dataclasses import fields
from typing import Final

from isotherm.model.scheme_state import SchemeStats
from isotherm.model.snapshot import Cost
from isotherm.recording.columns import Column, list_of, numbers

VERSION: Final = 2
#: The versions that are read.
READABLE: Final = (1, 2)
SUFFIX: Final = ".isotherm"
METADATA_KEY: Final = "isotherm"

SKIPPABLE_MAGIC: Final = bytes.fromhex("502a4d18")
ZSTD_MAGIC: Final = bytes.fromhex("28b52ffd")
HEADER_TEXT: Final = b"isotherm recording "
END_TEXT: Final = b"isotherm end "

#: The longest content of a skippable frame.
MAX_NOTE_BYTES: Final = 4096
#: The largest block, inflated: one of a snapshot with 1.8 million regions.
MAX_BLOCK_BYTES: Final = 64 << 20
#: A block is written when it holds this many regions, however young it is...
BLOCK_REGIONS: Final = 1 << 14
#: ...for which a row of what pages were used counts as so many, by its size...
USE_ROW_REGIONS: Final = 16
#: ...or this many snapshots.
BLOCK_ROWS: Final = 1 << 12
#: The most snapshots in a block that is read.
MAX_BLOCK_ROWS: Final = 1 << 16
#: All of it inflates by less than this, or by `FREE_INFLATION_BYTES` altogether.
MAX_INFLATION: Final = 300
FREE_INFLATION_BYTES: Final = MAX_BLOCK_BYTES
#: The longest text in a row: a path is at most 4096 bytes. Longer ones are cut when written.
MAX_TEXT_BYTES: Final = 1 << 14
#: The longest `info`, as JSON, and how deep it may be nested.
MAX_INFO_BYTES: Final = 1 << 20
MAX_INFO_DEPTH: Final = 16
#: The longest schema message, which holds it.
MAX_SCHEMA_BYTES: Final = 2 << 20
#: Of one snapshot.
MAX_TARGETS: Final = 1 << 17
MAX_MAPPINGS: Final = 1 << 20
MAX_SCHEMES: Final = 1 << 12
MAX_USE_ROWS: Final = 1 << 15
MAX_USE_WINDOWS: Final = 24
#: Broken places that are stepped over before the rest is given up.
MAX_BROKEN_FRAMES: Final = 100
#: The longest recording that is taken from a pipe, which is kept in a file meanwhile.
MAX_PIPE_BYTES: Final = 1 << 30

#: Region columns (`model.snapshot.Columns`) and their struct format.
REGION_CODES: Final = {
    "target": "I",
    "start": "Q",
    "end": "Q",
    "nr_accesses": "I",
    "age": "I",
    "unobservable": "Q",
}
#: Columns of what is told of the rates of regions, in the order of `model.snapshot.Columns`.
RATES: Final = ("region_rate", "region_low", "region_high")
#: Columns of numbers of a snapshot itself, and their struct format.
SCALAR_CODES: Final = {
    "index": "Q",
    "start": "q",
    "end": "q",
    "sample_us": "Q",
    "aggr_us": "Q",
    **{cost.name: "Q" for cost in fields(Cost)},
}
#: The counts of `model.scheme_state.SchemeStats` that are numbers.
STATS: Final = tuple(stat.name for stat in fields(SchemeStats) if stat.name != "errors")


def _u32(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "uint32") for name in names)


def _u64(*names: str, nullable: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, "uint64", nullable) for name in names)


def _text(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "utf8") for name in names)


_SCALARS: Final = (
    *_u64("index"),
    Column("start", "timestamp"),
    Column("end", "timestamp"),
    *_u64("sample_us", "aggr_us", "cpu_ns", "ticks"),
    *_u64("checks", nullable=True),
    *_u64("missed"),
    *_u64("cleared", "late_ns", nullable=True),
)
_REGIONS: Final = list_of(
    "regions",
    *_u32("target"),
    *_u64("start", "end"),
    *_u32("nr_accesses", "age"),
    *_u64("unobservable"),
)
_TRIED: Final = list_of(
    "tried",
    *_u32("target"),
    *_u64("start", "end"),
    *_u32("nr_accesses", "age"),
    *_u64("passed_bytes", "applied_bytes"),
)

_PAGE_USE: Final = Column(
    "page_use",
    "struct",
    nullable=True,
    children=(
        *_u64("monotonic_ns", "watched_ns"),
        numbers("windows_ns", "uint64"),
        Column("exact", "bool"),
        *_text("shared_by"),
        *_u64("held_ns"),
        *_u64("stopped_ns", nullable=True),
        list_of(
            "rows",
            *_u32("target"),
            *_text("what", "kind"),
            Column("node", "uint32", nullable=True),
            *_u64("resident", "unseen", "uncovered"),
            numbers("used_low", "uint64", nullable=True),
            numbers("used", "uint64"),
            numbers("used_high", "uint64", nullable=True),
            numbers("idle", "uint64"),
            numbers("idle_own", "uint64", nullable=True),
            numbers("returned", "uint64", nullable=True),
        ),
        *_u64("shared_cpu_ns", nullable=True),
        Column("shared_note", "utf8", nullable=True),
        *_u64("missed", nullable=True),
        list_of(
            "groups",
            *_text("group"),
            *_u64("resident", "unseen", "uncovered"),
            numbers("used_low", "uint64", nullable=True),
            numbers("used", "uint64"),
            numbers("used_high", "uint64", nullable=True),
            numbers("idle", "uint64"),
            nullable=True,
        ),
    ),
)

#: The columns of version 1, whose nested data are JSON.
COLUMNS_1: Final = (
    *_SCALARS,
    _REGIONS,
    *(Column(name, "utf8", nullable=True) for name in ("targets", "unobservable", "mappings")),
)

COLUMNS: Final = (
    *_SCALARS,
    _REGIONS,
    list_of(
        "targets",
        *_u64("id"),
        *_text("name"),
        Column("pid", "uint32", nullable=True),
        *_u64("mapped_bytes", "resident_bytes", "proportional_bytes", nullable=True),
        *_text("group"),
        nullable=True,
    ),
    list_of("unobservable", *_u64("target_id", "start", "end"), *_text("reason"), nullable=True),
    list_of(
        "mappings",
        *_u64("target_id"),
        list_of("mappings", *_u64("start", "end"), *_text("permissions", "name")),
        nullable=True,
    ),
    list_of(
        "schemes",
        *_text("title", "action"),
        *_u64(*STATS),
        list_of("errors", *_text("reason"), *_u64("count")),
        *_u64("effective_bytes", nullable=True),
        *_u64("charged_bytes"),
        Column("score", "float64", nullable=True),
        Column("active", "bool"),
        Column("held", "bool"),
        _TRIED,
    ),
    *_u64("monotonic_ns", "running_ns", nullable=True),
    numbers("region_used", "uint64", nullable=True),
    _PAGE_USE,
    *[numbers(name, "float64", nullable=True) for name in RATES],
    *_u64("explored", nullable=True),
)


def note(text: bytes) -> bytes:
    """Return a skippable frame that holds `text`."""
    return SKIPPABLE_MAGIC + struct.pack("<I", len(text)) + text


def header() -> bytes:
    """Return the first bytes of a recording of this version."""
    return note(HEADER_TEXT + b"%d\n" % VERSION)
