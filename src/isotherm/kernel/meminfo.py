"""The machine's memory in figures: /proc/meminfo, nodes, pressure."""

from __future__ import annotations

from pathlib import Path

from isotherm.kernel.procfs import read_file

PSI_MEMORY = "/proc/pressure/memory"
_NODES = "/sys/devices/system/node"


def parse_kib(text: bytes) -> dict[str, int]:
    """Return the fields of lines "Name: 123 kB", in bytes; a node's prefix is dropped."""
    fields = {}
    for line in text.decode(errors="replace").splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and words and words[0].isdecimal():
            fields[name.split()[-1]] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return fields


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo, in bytes."""
    return parse_kib(read_file("/proc/meminfo"))


def free_permil() -> int:
    """Return the free share of memory, in 1/1,000, as DAMON's free_mem_rate."""
    fields = meminfo()
    return fields["MemFree"] * 1000 // fields["MemTotal"]


def node_meminfo(nid: int) -> dict[str, int] | None:
    """Return the memory of a node, in bytes; None without such a node."""
    try:
        return parse_kib(read_file(f"{_NODES}/node{nid}/meminfo"))
    except OSError:
        return None


def psi_some_us(group: Path | None = None) -> int | None:
    """
    Return how long some task waited for memory since boot, in µs; None where PSI is off.

    group: the folder of a cgroup of v2; of its tasks, since it was made.
    """
    try:
        text = read_file(PSI_MEMORY if group is None else f"{group}/memory.pressure")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(b"some "):
            total = line.rpartition(b"total=")[2]
            return int(total) if total.isdigit() else None
    return None
