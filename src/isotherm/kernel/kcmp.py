"""Whether two processes have one address space: kcmp(2)."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache

_KCMP_VM = 1  # include/uapi/linux/kcmp.h
_NUMBERS = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "loongarch64": 272}
#: What the system call says of the first: the same, before the second one, behind it.
_ORDER = (0, -1, 1)


@cache
def _kcmp() -> Callable[[int, int], int]:
    number = _NUMBERS.get(os.uname().machine, -1)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = (ctypes.c_long,) * 6
    return lambda first, second: call(number, first, second, _KCMP_VM, 0, 0)


def order_of_spaces(first: int, second: int) -> int:
    """
    Compare the address spaces of two threads: 0 for one and the same, below 0 or above it.

    That is an order of all address spaces there are. Threads that have ended have none, which
    compares as if they shared one. Raises `OSError`: ENOSYS without CONFIG_KCMP and on machines
    whose number of the call is not known, EPERM where we may not look, `ProcessLookupError` for a
    thread that does not exist.
    """
    found = _kcmp()(first, second)
    if 0 <= found < len(_ORDER):
        return _ORDER[found]
    error = ctypes.get_errno() if found < 0 else errno.ENOSYS
    raise OSError(error, os.strerror(error))
