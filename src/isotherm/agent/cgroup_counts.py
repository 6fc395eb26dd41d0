"""What the kernel counts of groups by itself: huge pages, and what came back after it went out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from isotherm.kernel import cgroupfs
from isotherm.kernel.procfs import read_file

#: Of memory.stat, in bytes: v2 has the first three, v1 the last, which is of one group alone.
_HUGE = {b"anon_thp": "anon", b"file_thp": "file", b"shmem_thp": "shmem", b"rss_huge": "anon"}
#: Of memory.stat, in pages; older kernels do not tell them apart.
_REFAULTS = {
    b"workingset_refault_anon": "anon",
    b"workingset_refault_file": "file",
    b"workingset_refault": "all",
}


class GroupCounts:
    """
    What memory.stat says of cgroups. A group may be several of them, which come and go.

    What is counted since a cgroup began is added up since we look: it never becomes less.
    """

    def __init__(self) -> None:
        self._before: dict[str, dict[str, int]] = {}
        self._looked: set[str] = set()
        self._folders: dict[str, Path | None] = {}

    def begin(self) -> None:
        """Begin a look at all groups."""
        self._looked = set()

    def look(self, paths: Iterable[str], refaults: dict[str, int]) -> dict[str, int]:
        """
        Return the bytes in huge pages by kind, of those kinds that the kernel counts.

        paths: the group's cgroups; refaults: by kind, what came back is added to it.
        """
        huge: dict[str, int] = {}
        for path in outermost(paths):
            self._looked.add(path)
            counted = self._read(path)
            before = self._before.get(path)
            for name, kind in _HUGE.items():
                if name in counted:
                    huge[kind] = huge.get(kind, 0) + counted[name]
            now = _by_kind(counted)
            for kind, pages in now.items():
                grown = 0 if before is None else max(0, pages - before.get(kind, 0))
                refaults[kind] = refaults.get(kind, 0) + grown
            self._before[path] = now
        return huge

    def end(self) -> None:
        """Forget the cgroups that nobody asked for in this look."""
        for path in self._before.keys() - self._looked:
            del self._before[path]
        for path in self._folders.keys() - self._looked:
            del self._folders[path]

    def _read(self, path: str) -> dict[bytes, int]:
        if path not in self._folders:
            self._folders[path] = cgroupfs.memory_group(path) if path != "/" else None
        folder = self._folders[path]
        if folder is None:
            return {}
        try:
            text = read_file(f"{folder}/memory.stat")
        except OSError:  # it is gone, or has no memory controller
            return {}
        return parsed(text)


def parsed(text: bytes) -> dict[bytes, int]:
    """Return what is wanted of a memory.stat."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(b" ")
        if (name in _HUGE or name in _REFAULTS) and value.isdigit():
            found[name] = int(value)
    return found


def refaults_of(text: bytes) -> dict[str, int]:
    """Return how many pages came back, by kind, of a memory.stat."""
    return _by_kind(parsed(text))


def _by_kind(counted: dict[bytes, int]) -> dict[str, int]:
    return {kind: counted[name] for name, kind in _REFAULTS.items() if name in counted}


def outermost(paths: Iterable[str]) -> list[str]:
    """Return the cgroups that are in none of the others: what v2 says holds those inside."""
    found: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith(f"{of.rstrip('/')}/") for of in found):
            found.append(path)
    return found
