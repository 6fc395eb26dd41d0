"""move_pages(2): which node each page of another process is on, and moving them."""

import ctypes
import os
import sys
from array import array
from collections.abc import Sequence

#: By machine; musl and older C libraries have no wrapper, libnuma is another dependency.
_NUMBERS = {"x86_64": 279, "aarch64": 239, "riscv64": 239, "ppc64le": 301, "s390x": 310}
_MPOL_MF_MOVE = 2  # pages that only this process maps
_BATCH = 512

_libc = ctypes.CDLL(None, use_errno=True)


def move_pages(pid: int, addresses: Sequence[int], nodes: Sequence[int] | None) -> list[int]:
    """
    Move the folio at each address to the node of `nodes`, or only ask where it is (None).

    Returns for each address the node afterwards, or a negative errno. Raises `OSError` where the
    call as a whole is refused; ESRCH as `ProcessLookupError`.
    """
    where: list[int] = []
    for first in range(0, len(addresses), _BATCH):
        some = array("Q", addresses[first : first + _BATCH])
        wanted = None if nodes is None else array("i", nodes[first : first + _BATCH])
        where += _call(pid, some, wanted)
    return where


def _call(pid: int, addresses: "array[int]", nodes: "array[int] | None") -> list[int]:
    number = _NUMBERS.get(os.uname().machine)
    if number is None or sys.maxsize < 2**32:
        raise OSError(38, "move_pages is not known on this machine")
    status = array("i", [-2] * len(addresses))
    done = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_long(pid),
        ctypes.c_long(len(addresses)),
        ctypes.c_void_p(addresses.buffer_info()[0]),
        ctypes.c_void_p(nodes.buffer_info()[0] if nodes is not None else None),
        ctypes.c_void_p(status.buffer_info()[0]),
        ctypes.c_long(_MPOL_MF_MOVE if nodes is not None else 0),
    )
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return list(status)
