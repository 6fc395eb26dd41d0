"""Processes by their control group."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Self

from isotherm.errors import IsothermError, NotSupportedError, TargetGoneError, quoted
from isotherm.kernel import cgroupfs
from isotherm.kernel.cgroup_tree import GroupTree
from isotherm.kernel.features import initial_pid_namespace
from isotherm.model.target import Group
from isotherm.targets.source import TargetSource

_WILD = frozenset("*?[")


class CgroupSource(TargetSource):
    """
    The processes of a cgroup and of the groups in it, as they come and go.

    path: in any spelling of `kernel.cgroupfs.group_path`; the wildcards `*`, `?` and `[...]` stand
    for parts of a name, `**` for any names. Each cgroup that matches is a group of its own, with
    those in it that do not match. Where there are several hierarchies and none is named, the
    first one counts in which the cgroup has members.
    """

    kind = "cgroup"
    options = ("-G", "--cgroup")
    metavar = "PATH"
    help = "The processes of this cgroup, as they come and go; may hold *; may be repeated."
    living = True

    def __init__(self, path: str) -> None:
        self._where = cgroupfs.group_path(path)
        self._trees: dict[str, GroupTree] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of this cgroup."""
        return cls(text)

    @property
    def group(self) -> str:
        """The path of the cgroup, with its wildcards."""
        return self._where.path

    def pids(self) -> list[int]:
        """Return the members as of now."""
        return sorted(self.members())

    def members(self) -> dict[int, Group | None]:
        """Return the members, each with the cgroup that matched; raises as `pids`."""
        hidden = matched = False
        for hierarchy in self._where.hierarchies():
            groups = self._groups(hierarchy)
            found = members_of(groups)
            matched |= bool(groups)
            hidden |= bool(found.pop(0, None))
            if found:
                return found
        raise self._nobody(matched=matched, hidden=hidden)

    def _groups(self, hierarchy: cgroupfs.Hierarchy) -> dict[str, Group]:
        """Return the folders of all groups that are meant, with what their members are one of."""
        path = self._where.path
        wild = bool(_WILD & set(path)) and not hierarchy.folder(path).is_dir()
        fixed = _fixed(path) if wild else path
        root = str(hierarchy.folder(fixed)).rstrip("/")
        tree = self._trees.setdefault(root, GroupTree(root))
        folders = tree.folders()
        if not wild:
            return dict.fromkeys(folders, Group(self.kind, path))
        pattern = path[len(fixed.rstrip("/")) + 1 :].split("/")
        groups: dict[str, Group] = {}
        for folder in folders:
            below = folder[len(root) + 1 :].split("/") if folder != root else []
            parent = groups.get(folder.rpartition("/")[0])
            if _matches(pattern, below):
                groups[folder] = Group(self.kind, f"{fixed.rstrip('/')}/{'/'.join(below)}")
            elif parent is not None:
                groups[folder] = parent
        return groups

    def _nobody(self, *, matched: bool, hidden: bool) -> IsothermError:
        path = quoted(self._where.path)
        if hidden or (matched and not initial_pid_namespace()):
            # v1 does not tell that there are any.
            who = f"the processes of cgroup {path}"
            return other_namespace(who if hidden else f"{who}, if there are any,")
        if matched:
            return TargetGoneError(
                f"no process is in cgroup {path}", hint="--wait waits for the first one"
            )
        mounted = [str(one.mount) for one in self._where.hierarchies()]
        if not mounted:
            return TargetGoneError(f"no cgroup {path}: no such hierarchy is mounted")
        if close := self._close_to():
            return TargetGoneError(f"no cgroup {path}", hint=f"did you mean {quoted(close)}?")
        return TargetGoneError(
            f"no cgroup {path}", hint=f"its path below {mounted[0]}, as /proc/PID/cgroup has it"
        )

    def _close_to(self) -> str:
        """Return the path of a cgroup that has the same last name; "" if there is none."""
        name = self._where.path.rpartition("/")[2]
        for hierarchy in self._where.hierarchies():
            for folder in GroupTree(str(hierarchy.mount)).folders():
                if folder.endswith(f"/{name}"):
                    return hierarchy.path(folder)
        return ""


def members_of(groups: dict[str, Group]) -> dict[int, Group | None]:
    """
    Return the processes of cgroups, ourselves left out.

    groups: by their folders. Those of another PID namespace than ours are 0.
    """
    found: dict[int, Group | None] = {
        pid: group for folder, group in groups.items() for pid in cgroupfs.processes_of(folder)
    }
    found.pop(os.getpid(), None)
    return found


def other_namespace(who: str) -> IsothermError:
    """Return the error that somebody is in a PID namespace that we do not see."""
    return NotSupportedError(
        f"{who} are in another PID namespace than isotherm",
        hint="run isotherm outside of its container (or that with --pid=host), or within theirs",
    )


def _fixed(path: str) -> str:
    """Return the part of a path before the first name with wildcards."""
    names = path.split("/")
    first = next(i for i, name in enumerate(names) if _WILD & set(name))
    return "/".join(names[:first]) or "/"


def _matches(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether names match a pattern, name by name; `**` is any number of them."""
    reached = {0}
    for name in names:
        after = set()
        for at in _through(pattern, reached):
            if at < len(pattern) and pattern[at] == "**":
                after.add(at)
            elif at < len(pattern) and fnmatchcase(name, pattern[at]):
                after.add(at + 1)
        reached = after
    return len(pattern) in _through(pattern, reached)


def _through(pattern: Sequence[str], reached: set[int]) -> set[int]:
    """Return the places that are reached, those behind a `**` that is nothing as well."""
    found = set(reached)
    for at in range(len(pattern)):
        if at in found and pattern[at] == "**":
            found.add(at + 1)
    return found
