"""Which transparent huge pages a process, and what it starts, may have: prctl(2)."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager

from isotherm.errors import NotSupportedError

# linux/prctl.h
_SET, _GET = 41, 42  # PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
_OFF, _EXCEPT_ADVISED = 1, 2  # the latter from Linux 6.18 on


@contextmanager
def off_for_children() -> Iterator[None]:
    """
    Let programs that are started meanwhile have no huge pages but those that somebody asks for.

    Where the kernel knows no such exception (`can_except_advised`), none at all. For the moment it
    holds for this process as well. Raises `NotSupportedError`.
    """
    before = _prctl(_GET, 0, 0)
    if before < 0:
        raise NotSupportedError(
            "huge pages of a command cannot be switched off: prctl PR_SET_THP_DISABLE is missing",
            hint="leave out --no-thp",
        )
    if not before & _OFF and _prctl(_SET, 1, _EXCEPT_ADVISED) < 0:
        _prctl(_SET, 1, 0)
    try:
        yield
    finally:
        if not before & _OFF:
            _prctl(_SET, 0, 0)


def can_except_advised() -> bool:
    """Tell whether huge pages can be off but for those that somebody asks for."""
    before = _prctl(_GET, 0, 0)
    if before & _OFF:
        return bool(before & _EXCEPT_ADVISED)
    if _prctl(_SET, 1, _EXCEPT_ADVISED) < 0:
        return False
    _prctl(_SET, 0, 0)
    return True


def _prctl(option: int, value: int, flags: int) -> int:
    """Return what prctl does, or a negative errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(one) for one in (value, flags, 0, 0)]
    found = int(libc.prctl(ctypes.c_int(option), *words))
    return found if found >= 0 else -(ctypes.get_errno() or errno.EINVAL)
