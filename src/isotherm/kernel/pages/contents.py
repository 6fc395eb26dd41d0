"""What other processes' pages are and hold: huge or not, nothing but zeros, how compressible."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from array import array
from collections.abc import Iterator, Sequence

from isotherm.errors import IsothermError, NotPermittedError, NotSupportedError, TargetGoneError
from isotherm.kernel.privilege import root_hint
from isotherm.model.ranges import Range

_PAGEMAP_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg) of linux/fs.h, Linux 6.7
#: Categories of linux/fs.h.
FILE, PRESENT, ZERO_FRAME, HUGE = 1 << 2, 1 << 3, 1 << 5, 1 << 6
_REGIONS = 512
_MOST_PLACES = 512  # below UIO_MAXIOV


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.process_vm_readv.restype = ctypes.c_ssize_t
_libc.process_vm_readv.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong
]  # fmt: skip


def scan(descriptor: int, start: int, end: int, need: int, avoid: int = 0) -> Iterator[Range]:
    """
    Yield, in order, what of [start, end) has pages of all of `need` and none of `avoid`.

    descriptor: of `pagemap.opened`. Raises `NotSupportedError` before Linux 6.7; nothing comes of
    memory that is gone.
    """
    found = array("Q", bytes(24 * _REGIONS))
    while start < end:
        # size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, return
        wish = array(
            "Q",
            (
                96,
                0,
                start,
                end,
                0,
                found.buffer_info()[0],
                _REGIONS,
                0,
                avoid,
                need | avoid,
                0,
                need,
            ),
        )
        try:
            nr = fcntl.ioctl(descriptor, _PAGEMAP_SCAN, wish)
        except OSError as err:
            if err.errno == errno.ESRCH:
                return
            raise NotSupportedError(
                "which pages are huge is not known here", hint="it needs Linux 6.7 or later"
            ) from err
        for i in range(nr):
            yield Range(found[3 * i], found[3 * i + 1])
        if wish[4] <= start:
            return
        start = wish[4]


def read_pages(pid: int, addresses: Sequence[int], size: int) -> Iterator[memoryview]:
    """
    Yield what is at each of `addresses`, `size` bytes, by process_vm_readv; the view is reused.

    What cannot be read is passed over. Raises `TargetGoneError` and `NotPermittedError`.
    """
    room = max(1, min(_MOST_PLACES, (4 << 20) // size))
    buffer = bytearray(room * size)
    view = memoryview(buffer)
    at = ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
    done = 0
    while done < len(addresses):
        some = addresses[done : done + room]
        whole = _read(pid, at, some, size) // size
        for i in range(whole):
            yield view[i * size : (i + 1) * size]
        done += whole + (whole < len(some))  # behind what was read stands one that cannot be


def can_read() -> bool:
    """Tell whether this kernel lets process_vm_readv be called, on ourselves."""
    word = ctypes.c_uint64()
    at = ctypes.addressof(word)
    try:
        return _read(os.getpid(), at, [at], 8) == 8
    except (IsothermError, OSError):
        return False


def _read(pid: int, at: int, places: Sequence[int], size: int) -> int:
    to = _IoVec(at, len(places) * size)
    remote = (_IoVec * len(places))(*(_IoVec(place, size) for place in places))
    nr = _libc.process_vm_readv(pid, ctypes.byref(to), 1, remote, len(places), 0)
    if nr >= 0:
        return int(nr)
    code = ctypes.get_errno()
    if code == errno.ESRCH:
        raise TargetGoneError(f"no process {pid}")
    if code == errno.EPERM:
        raise NotPermittedError(f"cannot read the memory of {pid}", hint=root_hint())
    if code in (errno.EFAULT, errno.EINTR):
        return 0
    raise OSError(code, os.strerror(code))
