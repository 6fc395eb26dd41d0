"""Control groups: where hierarchies are mounted, v1, v2 or both, and what they say of a group."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from isotherm.errors import BadValueError, NotSupportedError, quoted
from isotherm.kernel.procfs import read_file
from isotherm.model.ranges import PAGE

#: Where hierarchies are mounted by custom, each below it or one in its place.
_CUSTOM = PurePosixPath("/sys/fs/cgroup")
#: What systemd calls its own hierarchy of v1.
_SYSTEMD = "name=systemd"
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """
    A mounted hierarchy of cgroups.

    mount: where; root: the path of the cgroup that is shown there; controllers: of v1 ("memory",
    "name=systemd"), of v2 those that it has; unified: whether it is v2.
    """

    mount: Path
    root: str
    controllers: tuple[str, ...]
    unified: bool

    def folder(self, path: str) -> Path:
        """Return where the cgroup of a normal path is, if it is there."""
        if self.root != "/" and (path == self.root or path.startswith(f"{self.root}/")):
            path = path[len(self.root) :]
        return self.mount / path.lstrip("/")

    def path(self, folder: str) -> str:
        """Return the path of the cgroup whose folder this is, "/app"."""
        return folder[len(str(self.mount)) :] or "/"


def hierarchies() -> tuple[Hierarchy, ...]:
    """
    Return the mounted hierarchies, the one to look first for a group in before the others.

    That is the one of the memory controller, then v2, then systemd's of v1, then others.
    """
    return parsed(Path("/proc/self/mountinfo").read_text(errors="replace"))


@cache
def parsed(mountinfo: str) -> tuple[Hierarchy, ...]:
    """Return the hierarchies of a /proc/PID/mountinfo, as `hierarchies`."""
    found: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        _, _, _, root, mount, *_ = left.split(" ")
        kind, _, options = right.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        where = Path(_unescaped(mount))
        if kind == "cgroup2":
            controllers = _controllers(where)
        else:
            flags = options.rsplit(" ", 1)[-1].split(",")
            controllers = tuple(flag for flag in flags if flag not in ("rw", "ro", "xattr"))
        one = Hierarchy(where, _unescaped(root), controllers, kind == "cgroup2")
        if not any(other.controllers == controllers and other.unified == one.unified
                   for other in found):  # fmt: skip
            found.append(one)
    return tuple(sorted(found, key=_rank))


def _controllers(mount: Path) -> tuple[str, ...]:
    try:
        return tuple((mount / "cgroup.controllers").read_text("ascii").split())
    except OSError:  # it is shadowed by another mount
        return ()


def _rank(hierarchy: Hierarchy) -> int:
    if "memory" in hierarchy.controllers:
        return 0
    return 1 if hierarchy.unified else 2 if _SYSTEMD in hierarchy.controllers else 3


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def memory_root() -> Path | None:
    """Return where the hierarchy with the memory controller is mounted; None if nowhere."""
    for hierarchy in hierarchies():
        if "memory" in hierarchy.controllers:
            return hierarchy.mount
    return None


#: A line of /proc/PID/cgroup, number:controllers:path, or controllers:path as cgexec has it.
_NAMED = re.compile(r"(?:\d+:)?([^:/]*):(/.*)")


@dataclass(frozen=True, slots=True)
class GroupPath:
    """
    Which cgroup is meant.

    path: "/app", may hold wildcards; controller: in the hierarchy of this one alone ("" is v2),
    None: in whichever has it.
    """

    path: str
    controller: str | None = None

    def hierarchies(self) -> list[Hierarchy]:
        """Return those it may be in, in the order in which to look."""
        if self.controller is None:
            return list(hierarchies())
        wanted = set(self.controller.split(","))
        return [
            one
            for one in hierarchies()
            if (one.unified if not self.controller else not one.unified)
            and (not self.controller or wanted & set(one.controllers))
        ]


def group_path(text: str) -> GroupPath:
    """
    Return the cgroup of any spelling that people use.

    "/app", "app", "/app/", its folder "/sys/fs/cgroup/app" or "/sys/fs/cgroup/memory/app", a line
    of /proc/PID/cgroup "0::/app" or "4:memory:/app", and "memory:/app". Raises `BadValueError`
    for what leads out of the hierarchy, and for what is no path.
    """
    if not text or "\0" in text or "\n" in text or len(text) > _LONGEST:
        raise BadValueError(f"{quoted(text)} is no path of a cgroup", hint="such as /app")
    named = _NAMED.fullmatch(text)
    controller, path = (named[1], named[2]) if named else (None, text)
    if named is None:
        controller, path = _of_folder(text)
    parts = PurePosixPath("/", path).parts[1:]
    if ".." in parts:
        raise BadValueError(
            f"{quoted(text)} leads out of the hierarchy of cgroups", hint="a path such as /app"
        )
    return GroupPath("/" + "/".join(part.strip("/") for part in parts), controller)


def _of_folder(text: str) -> tuple[str | None, str]:
    """Return the controller and the path of a folder's name; None and `text` if it is none."""
    mounts = [(str(one.mount), one) for one in hierarchies()]
    for mount, one in sorted(mounts, key=lambda pair: -len(pair[0])):
        if text == mount or text.startswith(f"{mount}/"):
            return "" if one.unified else one.controllers[0], text[len(mount) :] or "/"
    given = PurePosixPath(text)
    if given != _CUSTOM and given.is_relative_to(_CUSTOM):
        return None, str(given.relative_to(_CUSTOM))
    return None, text


def normal_path(text: str) -> str:
    """Return the path of a cgroup, "/app", of any spelling; as `group_path`, and raises so."""
    return group_path(text).path


def memory_group(path: str) -> Path | None:
    """
    Return the folder of a cgroup under the memory controller; None if it is not there.

    path: as the kernel writes it, "/app", or of the folder itself. What leads outside of the
    hierarchy is no cgroup.
    """
    root = memory_root()
    if root is None:
        return None
    root, given = root.resolve(), Path(path)
    try:
        folder = (given if given.is_relative_to(root) else root / path.lstrip("/")).resolve()
        inside = folder.is_relative_to(root) and folder.is_dir()
    except (OSError, ValueError):  # longer than names can be; with a NUL
        return None
    return folder if inside else None


def group_inode(path: str) -> int:
    """
    Return what /proc/kpagecgroup calls a memory cgroup: its inode.

    Raises `NotSupportedError` if there is none at `path`, which is as for `memory_group`.
    """
    folder = memory_group(path)
    if folder is None:
        raise NotSupportedError(
            f"there is no memory cgroup {quoted(path)}",
            hint="its path below the memory controller, such as /app",
        )
    return folder.stat().st_ino


def processes_of(folder: str) -> list[int]:
    """
    Return the processes of one cgroup, those of groups in it left out; none if it is gone.

    folder: its directory. A process of another PID namespace than ours is 0.
    """
    try:
        return list(map(int, read_file(f"{folder}/cgroup.procs").split()))
    except OSError as err:
        if err.errno != errno.EOPNOTSUPP:
            return []
    # A threaded group of v2 has threads only.
    found = set()
    try:
        for thread in read_file(f"{folder}/cgroup.threads").split():
            status = read_file(f"/proc/{int(thread)}/status")
            found.add(int(status.partition(b"Tgid:")[2].split(None, 1)[0]))
    except (OSError, ValueError, IndexError):
        pass
    return sorted(found)


def node_bytes(path: str, nid: int) -> int | None:
    """Return the anonymous and file memory of a cgroup on a node, in bytes; None if unknown."""
    folder = memory_group(path)
    if folder is None:
        return None
    try:
        text = read_file(str(folder / "memory.numa_stat")).decode(errors="replace")
    except OSError:
        return None
    return parse_numa_stat(text, nid)


def parse_numa_stat(text: str, nid: int) -> int | None:
    """
    Parse memory.numa_stat for a node, into bytes.

    v2 has bytes, "anon N0=1 N1=2", v1 pages, "hierarchical_anon=3 N0=1 N1=2".

    Children are included: v2 is hierarchical, v1 has lines of its own for that.
    """
    total: int | None = None
    for line in text.splitlines():
        name, *values = line.split()
        label, equals, _ = name.partition("=")
        if label not in ("hierarchical_anon", "hierarchical_file") and not (
            not equals and label in ("anon", "file")
        ):
            continue
        for value in values:
            node, _, count = value.partition("=")
            if node == f"N{nid}":
                total = (total or 0) + int(count) * (PAGE if equals else 1)
    return total
