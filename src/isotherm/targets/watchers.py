"""Who else watches a process: two monitors of one memory hide accesses from each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from isotherm.kernel import procfs

#: What every running isotherm maps: its C core, whatever its command line looks like.
_CORE = b"/isotherm/_core."
#: What runs it, by the name of the program's file.
_INTERPRETER = "python"


def other_watchers(pids: AbstractSet[int]) -> Iterator[tuple[int, int]]:
    """
    Yield (pid of another isotherm, pid of `pids` that it monitors), as far as we may look.

    A running isotherm has its C core mapped and holds a descriptor of each process that it
    monitors.
    """
    for watcher in procfs.pids():
        if watcher == os.getpid():
            continue
        try:
            # The dearest question last: maps may have thousands of lines, descriptors hundreds.
            if _INTERPRETER not in os.path.basename(os.readlink(f"/proc/{watcher}/exe")):  # noqa: PTH115, PTH119
                continue
            watched = sorted(_held_by(watcher) & pids)
            if not watched or _CORE not in procfs.read_file(f"/proc/{watcher}/maps"):
                continue
        except OSError:
            continue
        for pid in watched:
            yield watcher, pid


def _held_by(watcher: int) -> set[int]:
    """Return the pids whose descriptors a process holds, from the "Pid:" lines of fdinfo."""
    held = set()
    folder = f"/proc/{watcher}/fd"
    for fd in os.listdir(folder):  # noqa: PTH208
        if os.readlink(f"{folder}/{fd}") != "anon_inode:[pidfd]":  # noqa: PTH115
            continue
        for line in procfs.read_file(f"/proc/{watcher}/fdinfo/{fd}").split(b"\n"):
            if line.startswith(b"Pid:"):
                held.add(int(line.split()[1]))
    return held
