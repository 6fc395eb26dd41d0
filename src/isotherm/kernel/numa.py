"""The memory nodes of this machine."""

from pathlib import Path

_NODES = Path("/sys/devices/system/node")


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
