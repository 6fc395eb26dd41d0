"""Readers of /proc/PID/smaps: per mapping, what is resident, referenced, huge, locked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isotherm.kernel.procfs import parse_maps_line, read
from isotherm.model.page_use import Kind
from isotherm.model.target import Mapping

_KINDS: dict[bytes, Kind] = {b"Anon": "anon", b"File": "file", b"Shmem": "shmem"}
#: A mapping's first line and the fields after it, up to the next mapping's first line.
_BLOCK = re.compile(rb"^([0-9a-f]+-[0-9a-f]+ \S{4} .*)\n((?:[A-Z].*\n?)*)", re.MULTILINE)
_FIELD = re.compile(
    rb"^(Rss|Pss|Private_Clean|Private_Dirty|Referenced|AnonHugePages|Swap|Locked|Shared_Hugetlb"
    rb"|Private_Hugetlb): +(\d+) kB",
    re.MULTILINE,
)
_PSS = re.compile(rb"^Pss: +(\d+) kB", re.MULTILINE)
_PSS_OF = re.compile(rb"^Pss_(Anon|File|Shmem): +(\d+) kB", re.MULTILINE)
_FLAGS = re.compile(rb"^VmFlags: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SmapsEntry:
    """
    One mapping and what it holds; sizes in bytes.

    pss_bytes: of each page one over the number of all who map it; private_bytes: pages that nobody
    else maps; referenced_bytes: pages whose accessed bit is set, whole folios of huge ones;
    hugetlb_bytes: part of no other size; flags: the two letters of VmFlags, "lo" locked, "ht"
    hugetlb, "pf" PFN-mapped, "io" device memory, "nh" and "hg" the huge page advice.
    """

    mapping: Mapping
    rss_bytes: int
    pss_bytes: int
    private_bytes: int
    referenced_bytes: int
    anon_huge_bytes: int
    swap_bytes: int
    locked_bytes: int
    hugetlb_bytes: int
    flags: frozenset[str]


def parse_smaps(text: bytes) -> list[SmapsEntry]:
    """Parse the text of /proc/PID/smaps."""
    entries = []
    for head, body in _BLOCK.findall(text):
        size = {name: int(kib) * 1024 for name, kib in _FIELD.findall(body)}
        flags = _FLAGS.search(body)
        entries.append(
            SmapsEntry(
                mapping=parse_maps_line(head)[0],
                rss_bytes=size.get(b"Rss", 0),
                pss_bytes=size.get(b"Pss", 0),
                private_bytes=size.get(b"Private_Clean", 0) + size.get(b"Private_Dirty", 0),
                referenced_bytes=size.get(b"Referenced", 0),
                anon_huge_bytes=size.get(b"AnonHugePages", 0),
                swap_bytes=size.get(b"Swap", 0),
                locked_bytes=size.get(b"Locked", 0),
                hugetlb_bytes=size.get(b"Shared_Hugetlb", 0) + size.get(b"Private_Hugetlb", 0),
                flags=frozenset(flags[1].decode().split()) if flags else frozenset(),
            )
        )
    return entries


def proportional_bytes(pid: int) -> int | None:
    """
    Return the Pss of process `pid`, of /proc/PID/smaps_rollup; None where that does not tell.

    Walks all its page tables: 20 to 60 ms per GiB of 4 KiB pages.
    """
    found = _PSS.search(read(pid, "smaps_rollup"))
    return int(found[1]) * 1024 if found else None


def proportional_parts(pid: int) -> dict[Kind, int] | None:
    """
    Return the Pss of process `pid` by whose memory it is; None where the kernel does not tell.

    Costs as much as `proportional_bytes`.
    """
    text = read(pid, "smaps_rollup")
    parts = {_KINDS[name]: int(kib) * 1024 for name, kib in _PSS_OF.findall(text)}
    if parts or not (found := _PSS.search(text)):
        return parts or None
    return {"anon": int(found[1]) * 1024}


def smaps(pid: int) -> list[SmapsEntry]:
    """
    Return the mappings of process `pid` with their contents.

    Walks all its page tables: 30 ms per GiB of 4 KiB pages, under a lock that delays its mmap().
    """
    return parse_smaps(read(pid, "smaps"))
