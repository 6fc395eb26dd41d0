"""The threads of a process: what they are called, and where their stacks are."""

from __future__ import annotations

import os
from typing import NamedTuple

from isotherm.kernel import procfs

#: More threads are not asked for.
_MOST_THREADS = 4096


class Thread(NamedTuple):
    """A thread: its name (comm), and an address in its stack."""

    name: str
    stack_pointer: int


class Threads:
    """
    Those of one process, main thread aside, whose stack the kernel names.

    pid: the process. A thread that runs does not tell where its stack is: it is asked again the
    next time, and known from then on.
    """

    def __init__(self, pid: int) -> None:
        self._folder = f"/proc/{pid}/task"
        self._main = str(pid)
        self._pointers: dict[str, int] = {}

    def look(self) -> list[Thread]:
        """Return the living threads whose stack is known; none where that may not be read."""
        try:
            tids = os.listdir(self._folder)  # noqa: PTH208
        except OSError:
            return []
        found: list[Thread] = []
        known: dict[str, int] = {}
        for tid in tids[:_MOST_THREADS]:
            if tid == self._main:
                continue
            try:
                pointer = self._pointers.get(tid) or self._pointer(tid)
                if pointer is None:
                    continue
                comm = procfs.read_file(f"{self._folder}/{tid}/comm")
            except PermissionError:
                break
            except OSError:
                continue  # it has ended
            known[tid] = pointer
            found.append(Thread(comm.decode(errors="replace").rstrip("\n"), pointer))
        self._pointers = known
        return found

    def _pointer(self, tid: str) -> int | None:
        """Return the stack pointer of a thread that waits: the word before the last."""
        words = procfs.read_file(f"{self._folder}/{tid}/syscall").split()
        try:
            return int(words[-2], 16) if len(words) >= 3 else None
        except ValueError:
            return None
