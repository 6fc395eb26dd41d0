"""How much memory came as large pages, on the whole machine: a fault of those is no 4 KiB."""

from __future__ import annotations

from pathlib import Path

from isotherm.kernel import procfs

_SIZES = Path("/sys/kernel/mm/transparent_hugepage")
_VMSTAT = "/proc/vmstat"
#: Faults that brought a new page of 2 MiB, or mapped one of a file.
_COUNTS = (b"\nthp_fault_alloc ", b"\nthp_file_mapped ")
HUGE = 2 << 20


class HugeFaults:
    """
    Reads how many bytes were faulted in as large pages since the machine started.

    Sizes below 2 MiB count if they are in use when this is made.
    """

    def __init__(self) -> None:
        try:
            self._sizes = _sizes()
        except OSError:
            self._sizes = []

    def __call__(self) -> int | None:
        """Return it in bytes; None where that cannot be told."""
        try:
            text = procfs.read_file(_VMSTAT)
            found = sum(_count(text, name) * HUGE for name in _COUNTS)
            return found + sum(int(procfs.read_file(path)) * size for path, size in self._sizes)
        except (OSError, ValueError):
            return None


def _count(text: bytes, name: bytes) -> int:
    """Return a count; where there are no large pages there is none."""
    at = text.find(name)
    return int(text[at + len(name) : text.index(b"\n", at + 1)]) if at >= 0 else 0


def _sizes() -> list[tuple[str, int]]:
    """Return the file that counts pages of each smaller size that is in use, and that size."""
    found = []
    for folder in sorted(_SIZES.glob("hugepages-*kB")):
        size = int(folder.name.removeprefix("hugepages-").removesuffix("kB")) << 10
        count = folder / "stats" / "anon_fault_alloc"
        if size < HUGE and "[never]" not in (folder / "enabled").read_text() and count.exists():
            found.append((str(count), size))
    return found
