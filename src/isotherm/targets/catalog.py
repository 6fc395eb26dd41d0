"""Which containers, pods and units there are: by their cgroups, described by runtimes' files."""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass, field
from pathlib import Path

from isotherm.errors import BadValueError
from isotherm.kernel import cgroupfs
from isotherm.kernel.cgroup_tree import GroupTree
from isotherm.targets.runtimes import containerd, docker, oci, storage
from isotherm.targets.runtimes.container import Container, Pod
from isotherm.targets.runtimes.files import names_in

#: The folder of a container: "docker-ID.scope", "libpod-ID", "ID". Not of conmon, beside it.
_CONTAINER = re.compile(r"(?!.*conmon)(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?")
#: The folder of a pod: "podUID", "kubepods-burstable-podU_I_D.slice".
_POD = re.compile(r"(?:kubepods[a-z-]*-)?pod([0-9a-f_-]{32,36})(?:\.slice)?")
_USER = re.compile(r"/user-(\d+)\.slice/")
_POD_LOGS = "var/log/pods"
#: A container that nobody knows of is asked for again so often, and then in one look of so many:
#: its cgroup may have been there before its files.
_FIRST_TRIES, _SELDOM = 5, 16
#: So many hierarchies at most say who is where: of v1 all have the same containers.
_MOST_HIERARCHIES = 3


@dataclass(slots=True, eq=False)
class _Known:
    container: Container
    tries: int = 0
    sure: bool = False


@dataclass(slots=True)
class Seen:
    """
    What a look found, by folders of cgroups, those of the hierarchy to ask first in front.

    containers: by id, pods: by uid, their folders; inside: all folders below one, itself
    included; trees: those of each hierarchy.
    """

    containers: dict[str, list[str]] = field(default_factory=dict)
    pods: dict[str, list[str]] = field(default_factory=dict)
    trees: list[list[str]] = field(default_factory=list)

    def inside(self, folder: str) -> list[str]:
        """Return a folder and those in it."""
        below = f"{folder}/"
        for tree in self.trees:
            if tree and (folder == tree[0] or folder.startswith(f"{tree[0]}/")):
                return [one for one in tree if one == folder or one.startswith(below)]
        return []


class Catalog:
    """
    Looks which containers there are; each is described once, when it is seen first.

    root: of the machine's files, another one in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._trees: dict[str, GroupTree] = {}
        self._known: dict[str, _Known] = {}
        self._plain = oci.States(root)
        self._turn = 0

    def look(self) -> Seen:
        """Return the cgroups of containers and pods that there are now."""
        self._turn += 1
        seen = Seen()
        for hierarchy in cgroupfs.hierarchies()[:_MOST_HIERARCHIES]:
            mount = str(hierarchy.mount)
            folders = self._trees.setdefault(mount, GroupTree(mount)).folders()
            seen.trees.append(folders)
            for folder in folders:
                name = folder.rpartition("/")[2]
                if found := _CONTAINER.fullmatch(name):
                    seen.containers.setdefault(found[1], []).append(folder)
                elif found := _POD.fullmatch(name):
                    uid = found[1].replace("_", "-")
                    seen.pods.setdefault(uid, []).append(folder)
        self._add_plain(seen)
        self._known = {key: of for key, of in self._known.items() if key in seen.containers}
        return seen

    def containers(self, seen: Seen) -> list[Container]:
        """Return the containers of a look, described as well as can be."""
        unknown = []
        for container_id, folders in seen.containers.items():
            known = self._known.setdefault(container_id, _Known(Container(container_id)))
            if not known.sure and (known.tries < _FIRST_TRIES or not self._turn % _SELDOM):
                known.tries += 1
                described = self._describe(container_id, folders[0])
                if described is not None:
                    known.container, known.sure = described, True
                else:
                    unknown.append(container_id)
        if unknown:
            for container in docker.listed(self._root):
                if container.id in unknown:
                    self._known[container.id].container = container
                    self._known[container.id].sure = True
        return [self._known[container_id].container for container_id in seen.containers]

    def container(self, container_id: str, path: str) -> Container:
        """Return what is known of one container, in or below a cgroup of this path."""
        found = self._describe(container_id, path)
        if found is None:
            found = next(
                (one for one in docker.listed(self._root) if one.id == container_id), None
            )
        return found or Container(container_id)

    def pod_uids(self, seen: Seen) -> dict[str, Pod]:
        """Return the pods of a look by their uid, as far as their names are known."""
        found = {}
        for name in names_in(self._root / _POD_LOGS):
            # No name of Kubernetes holds an underscore.
            parts = name.split("_")
            if len(parts) == 3:
                found[parts[2]] = Pod(*parts)
        for container in self.containers(seen) if seen.pods.keys() - found.keys() else ():
            if container.pod is not None and container.pod.uid:
                found.setdefault(container.pod.uid, container.pod)
        # Of pods that a file describes the uid has no dashes.
        plain = {uid.replace("-", ""): pod for uid, pod in found.items()}
        return {
            uid: plain[uid.replace("-", "")] for uid in seen.pods if uid.replace("-", "") in plain
        }

    def _describe(self, container_id: str, folder: str) -> Container | None:
        root = self._root
        if found := _USER.search(folder):
            # A user's own files are believed of a user's own containers only.
            uid = int(found[1]) if len(found[1]) < 11 else -1
            home = _home_of(uid)
            if home is None:
                return None
            running = root / f"run/user/{uid}/containers"
            return storage.describe(container_id, root, home, running) or docker.describe(
                container_id, root, home
            )
        bundle = oci.bundle_of(container_id, root)
        beside = bundle.parent.parent.parent if bundle is not None else None
        return (
            docker.describe(container_id, root, None)
            or containerd.describe(container_id, root)
            or storage.describe(container_id, root, None, beside)
        )

    def _add_plain(self, seen: Seen) -> None:
        """Add what runc and crun run by themselves, whose cgroups may have any name."""
        for container_id, paths in self._plain.listed(seen.containers).items():
            folders = [folder for path in paths for folder in _folders_of(path)]
            if folders:
                seen.containers[container_id] = folders
                known = self._known.setdefault(container_id, _Known(Container(container_id)))
                known.container, known.sure = Container(container_id, (container_id,)), True


def _home_of(uid: int) -> Path | None:
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except (KeyError, OverflowError):
        return None


def _folders_of(path: str) -> list[str]:
    try:
        where = cgroupfs.group_path(path)
    except BadValueError:
        return []
    folders = [str(hierarchy.folder(where.path)) for hierarchy in where.hierarchies()]
    return [folder for folder in folders if Path(folder).is_dir() and where.path != "/"]


def container_of(path: str) -> str | None:
    """Return the id of the outermost container that a cgroup is of, or in; None: of none."""
    for name in path.split("/"):
        if found := _CONTAINER.fullmatch(name):
            return found[1]
    return None


def is_container(folder: str) -> bool:
    """Tell whether this is the folder of a container's cgroup, by its name."""
    return _CONTAINER.fullmatch(folder.rpartition("/")[2]) is not None
