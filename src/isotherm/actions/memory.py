"""Which memory of a process an action may touch at all: its mappings, without the special ones."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from isotherm.core.native_map import kind_of
from isotherm.errors import TargetGoneError
from isotherm.kernel import procfs
from isotherm.model.ranges import Range, meets, parts, subtract, union
from isotherm.model.target import Mapping
from isotherm.targets.processes import Process
from isotherm.targets.ranges import SPECIAL_NAMES, why_unobservable

#: A map is read again when it is older than this, or than so many times what reading it took: a
#: round of many small regions reads it once.
_FRESH_NS = 20_000_000
_FRESH_READS = 20
_MOST_MAPS = 256

SHARED = "shared mappings (MAP_SHARED), which may be others' as well: left alone"


class Piece(NamedTuple):
    """
    Part of one mapping: addresses [start, end), whether anonymous, where the mapping starts.

    shared: others that map it as well have the same pages (MAP_SHARED); title: what reports call
    it, which the kernel may have no name for.
    """

    start: int
    end: int
    anonymous: bool
    mapping_start: int
    shared: bool = False
    title: str = ""


@dataclass(slots=True)
class _Map:
    text: bytes
    mappings: tuple[Mapping, ...]
    left: tuple[tuple[Mapping, str], ...]
    read_at_ns: int
    fresh_ns: int
    guest: bool


class Maps:
    """The maps of processes, by target id, read again when they are old."""

    def __init__(self) -> None:
        self._maps: dict[int, _Map] = {}

    def pieces(
        self,
        process: Process,
        start: int,
        end: int,
        avoid: Iterable[Range] = (),
        *,
        files: bool = False,
    ) -> Iterator[Piece]:
        """
        Yield what may be acted on in [start, end), in address order; nothing of `avoid`.

        Left out are mappings that are shared (MAP_SHARED) unless they are of files and `files` are
        wanted, without access rights, of the kernel ([vdso] and such), hugetlb, and devices.
        Raises `TargetGoneError`.
        """
        apart = union(avoid)
        for mapping, whole in parts(self._current(process).mappings, start, end):
            shared = is_shared(mapping)
            if shared and not files:
                continue
            for part in subtract([whole], apart):
                yield Piece(
                    part.start,
                    part.end,
                    mapping.is_anonymous,
                    mapping.start,
                    shared,
                    mapping.title,
                )

    def left_alone(
        self, process: Process, start: int, end: int, *, files: bool = False
    ) -> set[str]:
        """Return why memory in [start, end) is left alone, whatever is done to the rest."""
        current = self._current(process)
        found = {why for mapping, why in current.left if meets(mapping, start, end)}
        if not files and any(is_shared(one) for one, _ in parts(current.mappings, start, end)):
            found.add(SHARED)
        return found

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
        same = old is not None and old.text == text
        known, left = (old.mappings, old.left) if old and same else _sorted_out(text)
        guest = procfs.runs_kvm_guest(process.pid)
        after = time.monotonic_ns()
        fresh = max(_FRESH_NS, (after - now) * _FRESH_READS)
        self._maps.pop(process.target_id, None)
        while len(self._maps) >= _MOST_MAPS:
            del self._maps[next(iter(self._maps))]  # the one that was read longest ago
        self._maps[process.target_id] = found = _Map(text, known, left, after, fresh, guest)
        return found


def called(pieces: Iterable[Piece], names: Sequence[Mapping]) -> Iterator[Piece]:
    """Cut pieces where parts of them have names of their own, and give them those."""
    for piece in pieces:
        at = piece.start
        for mapping, part in parts(names, piece.start, piece.end):
            if at < part.start:
                yield piece._replace(start=at, end=part.start)
            yield piece._replace(start=part.start, end=part.end, title=mapping.title)
            at = part.end
        if at < piece.end:
            yield piece._replace(start=at)


def is_shared(mapping: Mapping) -> bool:
    """Tell whether all who map the same see what one of them writes."""
    return mapping.permissions.endswith("s")


def is_held(process: Process) -> bool:
    """Tell whether the process still lives: what was opened by its pid before is its own."""
    if process.pidfd < 0:
        return False
    poll = select.poll()
    poll.register(process.pidfd, select.POLLIN)
    return not poll.poll(0)


def _sorted_out(text: bytes) -> tuple[tuple[Mapping, ...], tuple[tuple[Mapping, str], ...]]:
    """Return the mappings that may be acted on, and those left alone that hold memory, and why."""
    found: list[Mapping] = []
    left: list[tuple[Mapping, str]] = []
    for line in text.split(b"\n"):
        if not line:
            continue
        mapping, device = procfs.parse_maps_line(line)
        if mapping.permissions.startswith("---") or mapping.name in SPECIAL_NAMES:
            continue
        if why := why_unobservable(mapping, device):
            left.append((mapping, f"{why}: left alone"))
        elif is_shared(mapping) and kind_of(mapping) != "file":
            left.append((mapping, SHARED))
        else:
            found.append(mapping)
    return tuple(found), tuple(left)
