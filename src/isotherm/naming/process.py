"""The names of one process' memory, found again when its map or its threads may have changed."""

from __future__ import annotations

import time

from isotherm.model.mappings import Mappings
from isotherm.naming import hotspot, rules
from isotherm.naming.side_file import Part, read_parts
from isotherm.naming.symbols import symbols
from isotherm.naming.threads import Threads

#: Threads are looked at again after so long, and so many times what it took, for each process.
_AGAIN_NS = 5_000_000_000
_AGAIN_COSTS = 2000


class ProcessNames:
    """
    What the memory of a process is called.

    pid: the process, whose files in /proc are read; start_ticks: when it began.
    """

    def __init__(self, pid: int, start_ticks: int) -> None:
        self._pid = pid
        self._start_ticks = start_ticks
        self._threads = Threads(pid)
        self._data_file: str | None = None
        self._heap_size: int | None = None
        self._names: rules.Names = {}
        self._parts: list[Part] = []
        self._symbols: list[Part] = []
        self._mappings: Mappings | None = None
        self._named: tuple[Mappings, Mappings] | None = None
        self._due_ns = 0

    def of(self, mappings: Mappings, now_ns: int, among: int = 1) -> tuple[Mappings, Mappings]:
        """
        Return an address map with all names that are certain; the same two if nothing changed.

        among: of so many processes. In the second map mappings are cut where the program calls
        parts of them by names.
        """
        same = mappings is self._mappings
        if same and self._named is not None and now_ns < self._due_ns:
            return self._named
        begun_ns = time.thread_time_ns()
        names, parts = self._found(mappings), read_parts(self._pid, self._start_ticks)
        if not same:
            self._symbols = symbols(self._pid, mappings)
        if not same or names != self._names or parts != self._parts or self._named is None:
            whole = rules.named(mappings, names)
            self._named = whole, rules.told_apart(whole, parts, self._symbols)
        self._mappings, self._names, self._parts = mappings, names, parts
        cost_ns = time.thread_time_ns() - begun_ns
        self._due_ns = now_ns + max(_AGAIN_NS, among * _AGAIN_COSTS * cost_ns)
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
