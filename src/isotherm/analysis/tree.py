"""Memory as a tree: group, process, kind, name. From what a map of pages knows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from isotherm.analysis.page_use import extent_of
from isotherm.model.page_use import Kind, PageUse, UseRow, summed
from isotherm.model.target import Target

K = TypeVar("K", bound=Hashable)
Level = Literal["group", "process", "kind", "name"]
KINDS: dict[Kind, str] = {
    "anon": "anonymous memory",
    "file": "memory of files",
    "shmem": "shared memory",
}
_DEFAULT_NS = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """
    A part of the memory, and the parts that it is made of, largest first.

    level: what it is; name: of a group, a process ("app 42"), a kind of memory, or a mapping; row:
    the sum of its rows; target: the process it belongs to, None for groups. once: bytes in memory
    of a group, what several of it map counted once, whoever maps it too; None where not known.
    """

    level: Level
    name: str
    row: UseRow
    target: Target | None = None
    parts: tuple[Node, ...] = ()
    once: int | None = None

    @property
    def unknown(self) -> int:
        """Bytes whose accesses cannot be seen, or that nobody had a look at."""
        return self.row.unseen + self.row.uncovered


@dataclass(frozen=True, slots=True)
class Tree:
    """
    All memory of a moment.

    window_ns: within which time memory counts as used, and idle is what was not used for as long;
    place: its place in the figures of rows. groups: one without a name where nothing was grouped.
    """

    window_ns: int
    place: int
    groups: tuple[Node, ...]


def tree(use: PageUse, targets: Sequence[Target], window_ns: int | None = None) -> Tree:
    """
    Return what a map knows as a tree.

    targets: whose memory it is, in the order of `UseRow.target`; window_ns: the longest known
    length of time up to this, the shortest one if none is as short; by default 10 s, and less than
    all of the time, in which nothing can be seen to be idle.
    """
    known_ns = use.windows_ns if window_ns or len(use.windows_ns) < 2 else use.windows_ns[:-1]
    place = max(0, bisect_right(known_ns, window_ns or _DEFAULT_NS) - 1)
    known = [row for row in use.rows if row.target < len(targets)]
    groups = _split(known, lambda row: targets[row.target].group)
    once = {one.group: one.resident for one in use.groups}
    nodes = [
        replace(_group(name, rows, targets), once=once.get(name)) for name, rows in groups.items()
    ]
    length = use.windows_ns[place] if use.windows_ns else 0
    return Tree(length, place, _largest_first(nodes))


def _group(name: str, rows: list[UseRow], targets: Sequence[Target]) -> Node:
    processes = [
        _process(targets[index], of_one)
        for index, of_one in _split(rows, lambda row: row.target).items()
    ]
    return Node("group", name, summed(rows), None, _largest_first(processes))


def _process(target: Target, rows: list[UseRow]) -> Node:
    kinds = [
        _kind(target, kind, of_kind)
        for kind, of_kind in _split(rows, lambda row: row.kind).items()
    ]
    return Node("process", target.title, summed(rows), target, _largest_first(kinds))


def _kind(target: Target, kind: Kind, rows: list[UseRow]) -> Node:
    names = [
        Node("name", what, summed(of_name), target)
        for what, of_name in _split(rows, lambda row: row.what).items()
    ]
    return Node("kind", KINDS[kind], summed(rows), target, _largest_first(names))


def _largest_first(nodes: list[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: (-extent_of(node.row), node.name)))


def _split(rows: Sequence[UseRow], key: Callable[[UseRow], K]) -> dict[K, list[UseRow]]:
    found: dict[K, list[UseRow]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
