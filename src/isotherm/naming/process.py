"""The names of one process' memory, found again when its map or its threads may have changed."""

from __future__ import annotations

import time

from isotherm.model.mappings import Mappings
from isotherm.naming import hotspot, rules
from isotherm.naming.threads import Threads

#: Threads are looked at again after so long, and after so many times what it took.
_AGAIN_NS = 5_000_000_000
_AGAIN_COSTS = 2000


class ProcessNames:
    """
    What the memory of a process is called.

    pid: the process, whose files in /proc are read.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._threads = Threads(pid)
        self._data_file: str | None = None
        self._heap_size: int | None = None
        self._names: rules.Names = {}
        self._mappings: Mappings | None = None
        self._named: Mappings | None = None
        self._due_ns = 0

    def of(self, mappings: Mappings, now_ns: int) -> Mappings:
        """Return an address map with all names that are certain; the same if nothing changed."""
        if mappings is self._mappings and now_ns < self._due_ns:
            assert self._named is not None  # noqa: S101 - both are set together
            return self._named
        begun_ns = time.thread_time_ns()
        names = self._found(mappings)
        if mappings is not self._mappings or names != self._names or self._named is None:
            self._named = rules.named(mappings, names)
        self._mappings, self._names = mappings, names
        cost_ns = time.thread_time_ns() - begun_ns
        self._due_ns = now_ns + max(_AGAIN_NS, _AGAIN_COSTS * cost_ns)
        return self._named

    def _found(self, mappings: Mappings) -> rules.Names:
        """Later rules have the last word."""
        names = rules.arenas(mappings)
        names |= rules.stacks(mappings, self._threads.look())
        names |= rules.go_heap(mappings)
        names |= rules.postgres(mappings)
        data_file = hotspot.data_file(mappings)
        if data_file != self._data_file:
            self._data_file, self._heap_size = data_file, None
        if data_file:
            # While it starts the size is not there yet.
            self._heap_size = self._heap_size or hotspot.heap_size(self._pid, data_file)
            names |= rules.jvm(mappings, self._heap_size)
        return names
