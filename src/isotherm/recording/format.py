r"""
The layout of a recording (`*.isotherm`), version 1.

A recording is a sequence of zstd frames (RFC 8878), so that `zstd -dc FILE` gives an Arrow IPC
stream (Arrow columnar format 1.0, little endian, no dictionaries, no body compression) for any
Arrow reader::

    skippable frame 0x184D2A50   "isotherm recording 1\n"
    zstd frame                   Arrow schema message; its metadata holds key "isotherm"
    zstd frame                   Arrow record batch message: a block of snapshots     (repeated)
    zstd frame                   Arrow end-of-stream (ff ff ff ff 00 00 00 00)
    skippable frame 0x184D2A50   "isotherm end " + JSON {"snapshots": n, "regions": n}

A skippable frame is its magic number and the length of its content, both u32 little endian, then
the content. Every zstd frame states its content size (at most `MAX_BLOCK_BYTES`), carries the
checksum of its content, and holds whole Arrow messages. A writer hands each frame to the kernel
in one piece, so a killed writer loses the block it was filling and nothing else. A reader
believes a frame only when its checksum fits; it may skip a broken one and go on at the next
frame. Without the last skippable frame the recording was cut short (or is being written).

Metadata "isotherm" is a JSON object, the recording's `info`: `version` (this layout, 1),
`isotherm` (version of the program), `host`, `kernel`, `machine`, `command_line`, `start_ns` (ns
since 1970), and what the session says, usually `backend`, `operations` (DAMON's name of what was
monitored: vaddr, fvaddr or paddr), `targets`, `attrs` and `profile` (the Linux release whose rules
were followed, null where the kernel's own DAMON ran). Readers ignore keys they do not know.

One row is one snapshot; all columns are non-null unless noted.

=========================  =======================  ===========================================
column                     Arrow type               meaning
=========================  =======================  ===========================================
index                      uint64                   counts from 0; a jump is lost data
start, end                 timestamp(ns, UTC)       the aggregation window
sample_us, aggr_us         uint64                   intervals in force in the window
cpu_ns .. late_ns          uint64 (6 columns)       `model.snapshot.Cost`, same names; checks,
                                                    cleared and late_ns nullable: not known
regions                    list<struct>             in target and address order:
  target                   uint32                     index into `targets` of this snapshot
  start, end               uint64                     bytes, [start, end)
  nr_accesses              uint32                     samples that found an access; without
                                                      meaning where unobservable >= end - start
  age                      uint32                     windows since the rate last changed
  unobservable             uint64                     estimated bytes nothing is known of
targets                    utf8, nullable           JSON list of {"id", "name", "pid",
                                                    "mapped_bytes", "resident_bytes"}
unobservable               utf8, nullable           JSON list of [target id, start, end, reason]:
                                                    ranges known to be unobservable, outside
                                                    of the regions
mappings                   utf8, nullable           JSON object: target id -> list of
                                                    [start, end, permissions, name]
=========================  =======================  ===========================================

null in `targets` and `unobservable` says "as in the row before"; the first row of each block
spells them out, so that a block can be understood alone. null in `mappings` says that no
address map was read for this snapshot or that it has not changed.
"""

from __future__ import annotations

import struct
from dataclasses import fields
from typing import Final

from isotherm.model.snapshot import Cost

VERSION: Final = 1
SUFFIX: Final = ".isotherm"
METADATA_KEY: Final = "isotherm"

SKIPPABLE_MAGIC: Final = bytes.fromhex("502a4d18")
ZSTD_MAGIC: Final = bytes.fromhex("28b52ffd")
HEADER_TEXT: Final = b"isotherm recording "
END_TEXT: Final = b"isotherm end "
#: The longest content of a skippable frame that a reader accepts.
MAX_NOTE_BYTES: Final = 4096
#: The largest Arrow message; a block of one snapshot with six million regions.
MAX_BLOCK_BYTES: Final = 256 << 20
#: A block is written when it holds this many regions, however young it is.
MAX_BLOCK_REGIONS: Final = 1 << 16

#: Name, struct format and Arrow type of a snapshot's own fixed-size columns, in file order.
SCALARS: Final = (
    ("index", "Q", "uint64"),
    ("start", "q", "timestamp"),
    ("end", "q", "timestamp"),
    ("sample_us", "Q", "uint64"),
    ("aggr_us", "Q", "uint64"),
    *((name.name, "Q", "uint64") for name in fields(Cost)),
)
#: Those of them that may be null.
NULLABLE: Final = frozenset({"checks", "cleared", "late_ns"})
#: The same for the columns of `model.snapshot.Columns`.
REGION_COLUMNS: Final = (
    ("target", "I", "uint32"),
    ("start", "Q", "uint64"),
    ("end", "Q", "uint64"),
    ("nr_accesses", "I", "uint32"),
    ("age", "I", "uint32"),
    ("unobservable", "Q", "uint64"),
)
#: JSON columns, nullable.
TEXTS: Final = ("targets", "unobservable", "mappings")


def note(text: bytes) -> bytes:
    """Return a skippable frame that holds `text`."""
    return SKIPPABLE_MAGIC + struct.pack("<I", len(text)) + text


def header() -> bytes:
    """Return the first bytes of a recording of this version."""
    return note(HEADER_TEXT + b"%d\n" % VERSION)
