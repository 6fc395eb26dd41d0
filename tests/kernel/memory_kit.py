"""
Memory of every kind in this process, and what /proc says of it, for tests of page tables.

Everything made is given back by `Memory.close()`.
"""

import ctypes
import mmap
import os
import struct
from pathlib import Path

PAGE, HUGE = 4096, 2 << 20
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
SHARED, PRIVATE, ANON, NORESERVE, HUGETLB = 1, 2, 0x20, 0x4000, 0x40000
HUGEPAGE, NOHUGEPAGE, COLD, PAGEOUT = 14, 15, 20, 21
MAYMOVE, FIXED = 1, 2
MAP_FIXED = 0x10

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
# mlock2 and not mlock: the address sanitizer makes that one do nothing
for call in (libc.madvise, libc.mprotect, libc.mlock2):
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mremap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 2, ctypes.c_int, ctypes.c_void_p]


def check(result):
    if result in (-1, 2**64 - 1, None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Memory:
    def __init__(self):
        self.areas = []

    def map(self, size, flags=PRIVATE | ANON, prot=PROT_READ | PROT_WRITE, fd=-1, align=HUGE):
        start = check(libc.mmap(None, size + align, prot, flags, fd, 0))
        self.areas.append((start, size + align))
        return (start + align - 1) & ~(align - 1)

    def small(self, size, flags=PRIVATE | ANON):
        at = self.map(size, flags)
        check(libc.madvise(at, size, NOHUGEPAGE))
        return at

    def huge(self, size):
        at = self.map(size)
        check(libc.madvise(at, size, HUGEPAGE))
        return at

    def file(self, path, size, flags=SHARED):
        with path.open("r+b") as file:
            return self.map(size, flags, fd=file.fileno(), align=0x1000)

    def close(self):
        for start, size in self.areas:
            libc.munmap(start, size)


def map_file_at(path, size, at):
    """Put a mapping of the file over the memory at `at`."""
    with path.open("r+b") as file:
        return check(
            libc.mmap(at, size, PROT_READ | PROT_WRITE, SHARED | MAP_FIXED, file.fileno(), 0)
        )


def write(at, size=1, step=PAGE):
    for address in range(at, at + size, step):
        ctypes.c_char.from_address(address).value = b"x"


def touch(at, size=1, step=PAGE):
    for address in range(at, at + size, step):
        _ = ctypes.c_char.from_address(address).value


def entries(name, first, nr):
    """64-bit words of a /proc file of them."""
    with Path(name).open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), nr * 8, first * 8)
    return list(struct.unpack(f"<{len(data) // 8}Q", data))


def pagemap(at, nr=1, pid="self"):
    """(present, swapped, frame) of each page."""
    return [
        (word >> 63, word >> 62 & 1, word & ((1 << 55) - 1) if word >> 63 else 0)
        for word in entries(f"/proc/{pid}/pagemap", at // PAGE, nr)
    ]


def folio_sizes(pid, at, nr):
    """Of each page the pages of the folio that begins with it, 0 within a folio."""
    frames = [frame for _, _, frame in pagemap(at, nr, pid)]
    tails = [entries("/proc/kpageflags", frame, 1)[0] >> 16 & 1 for frame in frames]
    sizes, head = [0] * nr, 0
    for i, tail in enumerate(tails):
        head = head if tail else i
        sizes[head] += 1
    return sizes


def cached_file(path, size):
    """A file with content, in the page cache."""
    path.write_bytes(os.urandom(1 << 16) * (size >> 16))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ):
        os.fsync(file.fileno())
    return path
