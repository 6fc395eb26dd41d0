"""Processes by container, by Kubernetes pod, and by systemd unit."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Self

from isotherm.errors import BadValueError, IsothermError, TargetGoneError, quoted
from isotherm.model.target import Group
from isotherm.targets.catalog import Catalog, Seen, is_container
from isotherm.targets.cgroups import members_of, other_namespace
from isotherm.targets.runtimes.container import Container
from isotherm.targets.source import TargetSource

_HEX = frozenset("0123456789abcdef")
#: Fewer digits of an id say nothing.
_LEAST_DIGITS = 3
_LONGEST = 1024
_SUFFIXES = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")
#: Of what else could be meant so much is told.
_TOLD = 5


class _OfCgroups(TargetSource):
    """
    What has cgroups of its own, found by a name.

    catalog: of this machine by default.
    """

    living = True

    def __init__(self, name: str, catalog: Catalog | None = None) -> None:
        self._name = checked(name, self.kind)
        self._catalog = catalog or Catalog()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of what has this name."""
        return cls(text)

    @property
    def group(self) -> str:
        """The name as it was given."""
        return self._name

    def pids(self) -> list[int]:
        """Return the members as of now."""
        return sorted(self.members())

    def members(self) -> dict[int, Group | None]:
        """Return the members, each with what it is one of; raises as `pids`."""
        seen = self._catalog.look()
        found: dict[int, Group | None] = {}
        meant = self._meant(seen)
        hidden = False
        for group, folders in meant:
            for folder in folders:
                inside = members_of(dict.fromkeys(seen.inside(folder), group))
                hidden |= bool(inside.pop(0, None))
                if inside:
                    found |= inside
                    break
        if found:
            return found
        what = f"{self.kind} {quoted(self._name)}"
        if hidden:
            raise other_namespace(f"the processes of {what}")
        if meant:
            raise TargetGoneError(f"no process is in {what}", hint="--wait waits for the first")
        raise self._unknown(seen)

    def _meant(self, seen: Seen) -> list[tuple[Group, list[str]]]:
        """Return the groups that are meant, each with its folders, the one to ask first first."""
        raise NotImplementedError

    def _unknown(self, seen: Seen) -> IsothermError:
        """Return the error that there is nothing of this name."""
        raise NotImplementedError


class ContainerSource(_OfCgroups):
    """
    The processes of a container, as they come and go.

    name: as Docker, Podman, nerdctl, containerd, CRI-O, runc and crun know it, or the beginning of
    its id; in a pod the container's own name, of every pod that has one. It may hold wildcards.
    """

    kind = "container"
    options = ("--container",)
    metavar = "NAME|ID"
    help = "The processes of this container, as they come and go; may be repeated."

    def _meant(self, seen: Seen) -> list[tuple[Group, list[str]]]:
        chosen = _chosen(self._catalog.containers(seen), self._name)
        return [(Group(self.kind, one.title), seen.containers[one.id]) for one in chosen]

    def _unknown(self, seen: Seen) -> IsothermError:
        titles = sorted(one.title for one in self._catalog.containers(seen))
        hint = f"there are {_list(titles)}" if titles else "no container runs here"
        return TargetGoneError(f"no container {quoted(self._name)}", hint=hint)


def _chosen(containers: Sequence[Container], name: str) -> list[Container]:
    """Return whose id it is, else whose name, else whose id begins so; raises for several."""
    if found := [one for one in containers if one.id == name]:
        return found
    plain = name.lstrip("/")
    if found := [one for one in containers if plain == one.title or plain in one.names]:
        return found
    if found := [one for one in containers
                 if any(fnmatchcase(of, plain) for of in (one.title, *one.names))]:  # fmt: skip
        return found
    if len(name) < _LEAST_DIGITS or not set(name) <= _HEX:
        return []
    found = [one for one in containers if one.id.startswith(name)]
    if len(found) > 1:
        raise BadValueError(
            f"{quoted(name)} begins the ids of {len(found)} containers",
            hint=f"more digits: {_list([one.id[:12] for one in found])}",
        )
    return found


class PodSource(_OfCgroups):
    """
    The processes of a Kubernetes pod, as they and its containers come and go.

    name: "namespace/name", a name alone is of the namespace default; both may hold wildcards.
    """

    kind = "pod"
    options = ("--pod",)
    metavar = "NS/NAME"
    help = "The processes of this Kubernetes pod, as they come and go; may be repeated."

    def __init__(self, name: str, catalog: Catalog | None = None) -> None:
        super().__init__(name if "/" in name else f"default/{name}", catalog)
        if self._name.count("/") > 1 or not all(self._name.split("/")):
            raise BadValueError(f"{quoted(name)} is no pod", hint="NAMESPACE/NAME")

    def _meant(self, seen: Seen) -> list[tuple[Group, list[str]]]:
        namespace, name = self._name.split("/")
        return [
            (Group(self.kind, pod.title), seen.pods[uid])
            for uid, pod in self._catalog.pod_uids(seen).items()
            if fnmatchcase(pod.namespace, namespace) and fnmatchcase(pod.name, name)
        ]

    def _unknown(self, seen: Seen) -> IsothermError:
        titles = sorted(pod.title for pod in self._catalog.pod_uids(seen).values())
        hint = f"there are {_list(titles)}" if titles else "no pod was found here"
        return TargetGoneError(f"no pod {quoted(self._name)}", hint=hint)


class UnitSource(_OfCgroups):
    """
    The processes of a systemd unit, as they come and go; it may restart.

    name: "nginx.service", or "nginx" for that; it may hold wildcards.
    """

    kind = "unit"
    options = ("--unit",)
    metavar = "UNIT"
    help = "The processes of this systemd unit, as they come and go; may be repeated."

    def __init__(self, name: str, catalog: Catalog | None = None) -> None:
        super().__init__(name, catalog)
        if "/" in self._name:
            raise BadValueError(
                f"{quoted(name)} is no name of a unit", hint="nginx.service; a path goes with -G"
            )
        if not self._name.endswith(_SUFFIXES):
            self._name += ".service"

    def _meant(self, seen: Seen) -> list[tuple[Group, list[str]]]:
        found: dict[Group, list[str]] = {}
        for tree in seen.trees:
            at: dict[str, list[str]] = {}
            for folder in _outside_of_containers(tree):
                name = folder.rpartition("/")[2]
                if name == self._name or fnmatchcase(name, self._name):
                    at.setdefault(name, []).append(folder)
            for name, folders in at.items():
                # Users may have units of one name; all are in the first hierarchy that has any.
                found.setdefault(Group(self.kind, name), []).extend(folders)
        return [(group, [folder]) for group, folders in found.items() for folder in folders]

    def _unknown(self, seen: Seen) -> IsothermError:
        stem = self._name.rpartition(".")[0]
        names = {
            folder.rpartition("/")[2]
            for tree in seen.trees
            for folder in _outside_of_containers(tree)
        }
        close = sorted(name for name in names if stem in name and name.endswith(_SUFFIXES))
        hint = f"there are {_list(close)}" if close else "`systemctl status` says; --wait waits"
        return TargetGoneError(f"unit {quoted(self._name)} does not run here", hint=hint)


def _outside_of_containers(folders: Sequence[str]) -> list[str]:
    """Return those that are not in a container, where a second systemd may run."""
    outside, inner = [], "\0"
    for folder in folders:  # parents come first, with their children behind them
        if folder.startswith(inner):
            continue
        if is_container(folder):
            inner = f"{folder}/"
        outside.append(folder)
    return outside


def checked(name: str, kind: str) -> str:
    """Return a name; raise `BadValueError` for what cannot be one."""
    if not name.strip() or len(name) > _LONGEST or not name.isprintable():
        raise BadValueError(f"{quoted(name)} is no name of a {kind}")
    return name


def _list(names: Sequence[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(map(quoted, names[:_TOLD])) + (f" and {more} more" if more > 0 else "")
