"""Which memory of a process an action may touch at all: its mappings, without the special ones."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from isotherm.errors import TargetGoneError
from isotherm.kernel import procfs
from isotherm.model.ranges import Range, parts, subtract, union
from isotherm.model.target import Mapping
from isotherm.targets.processes import Process
from isotherm.targets.ranges import SPECIAL_NAMES, why_unobservable

#: A map is read again when it is older than this, or than so many times what reading it took: a
#: round of many small regions reads it once.
_FRESH_NS = 20_000_000
_FRESH_READS = 20
_MOST_MAPS = 256


class Piece(NamedTuple):
    """Part of one mapping: addresses [start, end), whether anonymous, where the mapping starts."""

    start: int
    end: int
    anonymous: bool
    mapping_start: int


@dataclass(slots=True)
class _Map:
    text: bytes
    mappings: tuple[Mapping, ...]
    read_at_ns: int
    fresh_ns: int
    guest: bool


class Maps:
    """The maps of processes, by target id, read again when they are old."""

    def __init__(self) -> None:
        self._maps: dict[int, _Map] = {}

    def pieces(
        self, process: Process, start: int, end: int, avoid: Iterable[Range] = ()
    ) -> Iterator[Piece]:
        """
        Yield what may be acted on in [start, end), in address order; nothing of `avoid`.

        Left out are mappings that are shared (MAP_SHARED), without access rights, of the kernel
        ([vdso] and such), hugetlb, and devices. Raises `TargetGoneError`.
        """
        apart = union(avoid)
        for mapping, whole in parts(self._current(process).mappings, start, end):
            for part in subtract([whole], apart):
                yield Piece(part.start, part.end, mapping.is_anonymous, mapping.start)

    def mappings(self, process: Process) -> tuple[Mapping, ...]:
        """Return the mappings that may be acted on, in address order; as `pieces`."""
        return self._current(process).mappings

    def runs_guest(self, process: Process) -> bool:
        """Tell whether the process runs a virtual machine by now."""
        return process.kvm or self._current(process).guest

    def _current(self, process: Process) -> _Map:
        old = self._maps.get(process.target_id)
        now = time.monotonic_ns()
        if old and now - old.read_at_ns < old.fresh_ns:
            return old
        text = procfs.read(process.pid, "maps")
        if not text or not is_held(process):
            self._maps.pop(process.target_id, None)
            raise TargetGoneError(f"no process {process.pid}")
        known = old.mappings if old and old.text == text else _may_be_acted_on(text)
        guest = procfs.runs_kvm_guest(process.pid)
        after = time.monotonic_ns()
        fresh = max(_FRESH_NS, (after - now) * _FRESH_READS)
        self._maps.pop(process.target_id, None)
        while len(self._maps) >= _MOST_MAPS:
            del self._maps[next(iter(self._maps))]  # the one that was read longest ago
        self._maps[process.target_id] = found = _Map(text, known, after, fresh, guest)
        return found


def is_held(process: Process) -> bool:
    """Tell whether the process still lives: what was opened by its pid before is its own."""
    if process.pidfd < 0:
        return False
    poll = select.poll()
    poll.register(process.pidfd, select.POLLIN)
    return not poll.poll(0)


def _may_be_acted_on(text: bytes) -> tuple[Mapping, ...]:
    found = []
    for line in text.split(b"\n"):
        if line:
            mapping, device = procfs.parse_maps_line(line)
            refused = (
                mapping.permissions.endswith("s")
                or mapping.permissions.startswith("---")
                or mapping.name in SPECIAL_NAMES
                or why_unobservable(mapping, device) is not None
            )
            if not refused:
                found.append(mapping)
    return tuple(found)
