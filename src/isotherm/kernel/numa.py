"""The memory nodes of this machine."""

import re
from collections.abc import Sequence
from pathlib import Path

_NODES = Path("/sys/devices/system/node")
_ZONES = Path("/proc/zoneinfo")


def parse_list(text: str) -> tuple[int, ...]:
    """Parse a list of the kernel's, "0-3,8", into numbers."""
    found: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    return tuple(found)


def memory_nodes() -> tuple[int, ...]:
    """Return the nodes that have memory; (0,) where the kernel knows of none."""
    for name in ("has_memory", "online"):
        try:
            return parse_list((_NODES / name).read_text()) or (0,)
        except OSError:
            continue
    return (0,)


def frames_by_node() -> Sequence[tuple[int, int, int]]:
    """
    Return which page frames are of which node: (first, end, node), () on a machine with one node.

    As /proc/zoneinfo tells of their zones; those of two nodes do not overlap.
    """
    try:
        found = parse_zones(_ZONES.read_text())
    except OSError:
        return ()
    return found if len({node for _, _, node in found}) > 1 else ()


def parse_zones(text: str) -> list[tuple[int, int, int]]:
    """Return (first frame, end, node) of each zone in the text of /proc/zoneinfo."""
    found, node, spanned = [], 0, 0
    for line in text.splitlines():
        if match := re.match(r"Node (\d+), zone", line):
            node, spanned = int(match[1]), 0
        elif match := re.match(r"\s+spanned\s+(\d+)", line):
            spanned = int(match[1])
        elif (match := re.match(r"\s+start_pfn:\s+(\d+)", line)) and spanned:
            found.append((int(match[1]), int(match[1]) + spanned, node))
    return found
