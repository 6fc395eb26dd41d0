"""All processes of the machine, in groups by their cgroups."""

from __future__ import annotations

import sys
from typing import Self

from isotherm.errors import TargetGoneError
from isotherm.kernel import procfs
from isotherm.model.target import Group
from isotherm.targets.catalog import Catalog, container_of
from isotherm.targets.remembered import Remembered
from isotherm.targets.source import TargetSource

_UNITS = (".service", ".scope")
#: So many cgroups without a process may be remembered.
_FEW = 64
#: In which hierarchy a process stands in a group first: as for cgroups.
_FIRST = ("memory", "", "name=systemd")


class EverybodySource(TargetSource):
    """
    All processes of the machine but ourselves, as they come and go.

    Each is one of its container, else of its systemd unit, else of its cgroup.
    """

    kind = "all"
    options = ("-a", "--all")
    help = "All processes of the machine, as they come and go."
    flag = True
    living = True

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog or Catalog()
        #: By the path of a cgroup, of those that had processes of late.
        self._groups: dict[str, Group] = {}
        self._all = Remembered(self._path_of)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source; there is nothing to say."""
        del text
        return cls()

    def pids(self) -> list[int]:
        """Return all processes that have memory of their own."""
        return sorted(self.members())

    def members(self) -> dict[int, Group | None]:
        """Return all processes with what each is one of."""
        found = self._all.look()
        if not found:
            raise TargetGoneError("there is no process but isotherm itself")
        paths = set(found.values())
        if len(self._groups) > 2 * len(paths) + _FEW:
            for path in self._groups.keys() - paths:
                self._forget(path, self._groups.pop(path))
        for path in paths - self._groups.keys():
            self._groups[path] = self._named(path)
        return {pid: self._groups[path] for pid, path in sorted(found.items())}

    def _path_of(self, pid: int) -> str | None:
        if not procfs.program_of(pid) and procfs.is_kernel_thread(pid):
            return None
        return sys.intern(procfs.cgroup_of(pid, _FIRST))

    def _forget(self, path: str, group: Group) -> None:
        """Forget what a cgroup was that has no process any more."""

    def _named(self, path: str) -> Group:
        if (container_id := container_of(path)) is not None:
            return Group("container", self._catalog.container(container_id, path).title)
        for name in reversed(path.split("/")):
            if name.endswith(_UNITS):
                return Group("unit", name)
        return Group("cgroup", path)
