"""Who is watched: all groups of the machine, or those of a configuration, which may change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from isotherm.agent.openmetrics import Labels, plain
from isotherm.errors import BadValueError, NotSupportedError, TargetGoneError
from isotherm.model.target import Group
from isotherm.targets.catalog import Catalog, container_of
from isotherm.targets.everybody import EverybodySource
from isotherm.targets.source import TargetSource

#: A cgroup of what a user runs: units and containers of his own, which he calls what he likes.
_OF_USER = re.compile(r"/user-(\d{1,10})\.slice/.*?user@\d{1,10}\.service/")


class MachineSource(EverybodySource):
    """
    All processes of the machine by container, else unit, else cgroup, with what these are.

    What a user runs by himself is a group of his own: whatever he calls it, it is not taken for
    a pod, a container or a unit of the machine. `described` has the labels of each group that was
    told, `paths` its cgroups.
    """

    def __init__(self, catalog: Catalog | None = None) -> None:
        super().__init__(catalog)
        self._names = catalog or Catalog()
        self.described: dict[Group, Labels] = {}
        self.paths: dict[Group, tuple[str, ...]] = {}

    def _named(self, path: str) -> Group:
        group, labels = self._described(path)
        if found := _OF_USER.search(path):
            group = Group(group.kind, f"{group.name} (user {found[1]})")
            labels = (*labels, ("user", found[1]))
        self.described[group] = labels
        self.paths[group] = (*self.paths.get(group, ()), path)
        return group

    def _described(self, path: str) -> tuple[Group, Labels]:
        if (container_id := container_of(path)) is None:
            group = super()._named(path)
            return group, ((group.kind, plain(group.name)),)
        container = self._names.container(container_id, path)
        group = Group("container", container.title)
        name = container.names[0] if container.names else container.title
        if container.pod is None or _OF_USER.search(path):
            return group, (("container", plain(name)),)
        return group, (
            ("namespace", plain(container.pod.namespace)),
            ("pod", plain(container.pod.name)),
            ("container", plain(name)),
        )

    def _forget(self, path: str, group: Group) -> None:
        left = tuple(one for one in self.paths.get(group, ()) if one != path)
        if left:
            self.paths[group] = left
        else:
            self.paths.pop(group, None)
            self.described.pop(group, None)


class WatchedGroups(TargetSource):
    """
    Several sources as one, which may be others later: who stays keeps what is known of him.

    A process that several of them tell of is one of the first one's. A source that has nobody
    tells of nobody, as one whose processes are of another PID namespace.
    """

    kind = "agent"
    living = True

    def __init__(self, sources: Sequence[TargetSource]) -> None:
        self.sources = tuple(sources)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise `BadValueError`: there is no text for it."""
        del text
        raise BadValueError("the groups of an agent are those of its configuration")

    def pids(self) -> list[int]:
        """Return who is watched now."""
        return sorted(self.members())

    def members(self) -> dict[int, Group | None]:
        """Return who is watched with what each is one of; raises `TargetGoneError` for nobody."""
        found: dict[int, Group | None] = {}
        for source in self.sources:
            try:
                told = source.members()
            except (TargetGoneError, NotSupportedError):
                continue
            found = {**told, **found}
        if not found:
            raise TargetGoneError("there is no process in any of the groups")
        return found

    def labels(self, group: Group) -> Labels:
        """Return what a group is called in metrics."""
        for source in self.sources:
            if isinstance(source, MachineSource) and group in source.described:
                return source.described[group]
        if group.kind == "pod" and group.name.count("/") == 1:
            namespace, _, pod = group.name.partition("/")
            return ("namespace", plain(namespace)), ("pod", plain(pod))
        return ((label_name(group.kind), plain(group.name)),)

    def paths(self, group: Group) -> tuple[str, ...]:
        """Return the cgroups of a group, as far as they are known."""
        for source in self.sources:
            if isinstance(source, MachineSource) and group in source.paths:
                return source.paths[group]
        return (group.name,) if group.kind == "cgroup" else ()


def label_name(kind: str) -> str:
    """Return the kind of a group as the name of a label; kinds of own sources may be anything."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", kind)
    return name if name and not name[0].isdigit() and not name.startswith("__") else "group"
