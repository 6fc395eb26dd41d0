"""Anonymous folios of one size only, for memory that asks for huge pages."""

from contextlib import contextmanager
from pathlib import Path

_THP = Path("/sys/kernel/mm/transparent_hugepage")
#: KiB -> the file that tells who gets such folios; Linux 6.8 and newer.
SIZES = {kib: _THP / f"hugepages-{kib}kB" / "enabled" for kib in (64, 2048)}


def join_free_memory():
    """What tests before have left in pieces has no room for huge pages."""
    Path("/proc/sys/vm/compact_memory").write_text("1")


@contextmanager
def large_folios(kib):
    """Give memory that is advised so folios of 64 or 2048 KiB, and no others."""
    for size, file in SIZES.items():
        file.write_text("madvise" if size == kib else "never")
    try:
        yield
    finally:
        SIZES[64].write_text("never")
        SIZES[2048].write_text("inherit")
