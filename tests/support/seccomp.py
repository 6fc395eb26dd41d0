"""A seccomp filter that has one system call fail: as containers and service managers do."""

from __future__ import annotations

import ctypes
import struct

#: Of every architecture since Linux 5.1.
PROCESS_MADVISE = 440

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERRNO, _ALLOW = 0x0005_0000, 0x7FFF_0000


def forbid(number: int, error: int) -> None:
    """Have system call `number` fail with `error` in this process and its children, for good."""
    code = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD_NUMBER, 0, 0, 0),
            (_JUMP_IF_EQUAL, 0, 1, number),
            (_RETURN, 0, 0, _ERRNO | error),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    text = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), None, None, None),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), program, None, None),
    ):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")
