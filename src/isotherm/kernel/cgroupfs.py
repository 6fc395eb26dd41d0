"""Control groups: where the memory controller is, v1 or v2, and what it says of a group."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path, PurePosixPath

from isotherm.errors import BadValueError, NotSupportedError, quoted
from isotherm.kernel.procfs import read_file
from isotherm.model.ranges import PAGE


@cache
def memory_root() -> Path | None:
    """Return where the hierarchy with the memory controller is mounted; None if nowhere."""
    unified: Path | None = None
    for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(where)
        if kind == "cgroup2":
            unified = Path(where)
    if unified is not None:
        controllers = (unified / "cgroup.controllers").read_text("ascii").split()
        if "memory" in controllers:
            return unified
    return None


#: A line of /proc/PID/cgroup: hierarchy number, controllers, path.
_PROC_LINE = re.compile(r"\d+:[^:]*:(/.*)")


def normal_path(text: str) -> str:
    """
    Return the path of a cgroup, "/app", of any spelling that people use.

    "app", "/app/", "/sys/fs/cgroup/app" below a mounted hierarchy, "0::/app" of /proc/PID/cgroup.
    Raises `BadValueError` for what leads out of the hierarchy, and for what is no path.
    """
    if not text or "\0" in text or "\n" in text or len(text) > 4096:
        raise BadValueError(f"{quoted(text)} is no path of a cgroup", hint="such as /app")
    line = _PROC_LINE.fullmatch(text)
    path = line[1] if line else text
    root = memory_root()
    if root is not None and (path == str(root) or path.startswith(f"{root}/")):
        path = path.removeprefix(str(root))
    parts = PurePosixPath("/", path).parts[1:]
    if ".." in parts:
        raise BadValueError(
            f"{quoted(text)} leads out of the hierarchy of cgroups", hint="a path such as /app"
        )
    return "/" + "/".join(parts)


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


def group_pids(path: str) -> list[int] | None:
    """Return the processes of a cgroup and of the groups in it; None if it is not there."""
    folder = memory_group(path)
    if folder is None:
        return None
    found: set[int] = set()
    for procs in (folder / "cgroup.procs", *folder.glob("**/cgroup.procs")):
        try:
            found.update(map(int, read_file(str(procs)).split()))
        except OSError:  # a group that vanishes meanwhile
            continue
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
