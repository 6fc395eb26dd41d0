"""The folders of a hierarchy of cgroups, kept from one look to the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Nobody nests deeper; more groups than that are not followed.
_DEEPEST, _MOST = 100, 100_000


@dataclass(slots=True, eq=False)
class _Node:
    folder: str
    inode: int
    links: int
    children: dict[str, _Node] = field(default_factory=dict)


class GroupTree:
    """
    The cgroup of a folder and all groups in it.

    A group that is as it was costs one stat(2) a look: the kernel counts the folders in a folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._root: _Node | None = None
        self._left = _MOST

    def folders(self) -> list[str]:
        """Look; return the folders there are, each before those in it. None if all are gone."""
        self._left = _MOST
        self._root = self._look(self.folder, self._root, _DEEPEST)
        return [] if self._root is None else list(_folders(self._root))

    def _look(self, folder: str, old: _Node | None, deep: int) -> _Node | None:
        try:
            status = os.stat(folder)  # noqa: PTH116 - many of them
        except OSError:
            return None
        self._left -= 1
        links = status.st_nlink
        if old is None or old.inode != status.st_ino:
            old = None
        elif old.links == links and links > 1:
            found = {name: self._look(child.folder, child, deep - 1)
                     for name, child in old.children.items()}  # fmt: skip
            children = {name: child for name, child in found.items() if child is not None}
            if len(children) == len(found):
                old.children = children
                return old
        node = _Node(folder, status.st_ino, links)
        known = old.children if old else {}
        for name in _inside(folder) if deep else ():
            child = self._look(f"{folder}/{name}", known.get(name), deep - 1)
            if child is not None and self._left > 0:
                node.children[name] = child
        return node


def _inside(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _folders(node: _Node) -> Iterator[str]:
    yield node.folder
    for child in node.children.values():
        yield from _folders(child)
