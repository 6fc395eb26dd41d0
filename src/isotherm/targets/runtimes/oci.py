"""runc and crun by themselves: /run/runc/ID/state.json, /run/crun/ID/status."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from typing import Any

from isotherm.targets.runtimes.files import names_in, read_json, text_at, texts

_STATES = (("run/runc", "state.json"), ("run/crun", "status"))


class States:
    """
    The containers that these runtimes say they run.

    root: of the machine's files. A state that did not change is not read again.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, tuple[int, list[str]]] = {}

    def listed(self, known: Container[str]) -> dict[str, list[str]]:
        """
        Return ids with their cgroups, in any spelling of these.

        known: ids that need not be looked at.
        """
        found: dict[str, list[str]] = {}
        read: dict[Path, tuple[int, list[str]]] = {}
        for folder, name in _STATES:
            for container_id in names_in(self._root / folder):
                path = self._root / folder / container_id / name
                if container_id in known:
                    continue
                try:
                    changed_ns = os.stat(path).st_mtime_ns  # noqa: PTH116
                except OSError:
                    continue
                before = self._read.get(path)
                if before is None or before[0] != changed_ns:
                    before = changed_ns, _paths(read_json(path))
                read[path] = before
                if before[1]:
                    found[container_id] = before[1]
        self._read = read
        return found


def bundle_of(container_id: str, root: Path) -> Path | None:
    """Return the folder that a container was started from; None where that is not told."""
    for folder, name in _STATES:
        state = read_json(root / folder / container_id / name)
        if bundle := text_at(state, "bundle"):
            return Path(bundle)
        config = state.get("config") if isinstance(state, dict) else None
        for label in texts(config.get("labels")) if isinstance(config, dict) else ():
            if label.startswith("bundle="):
                return Path(label.removeprefix("bundle="))
    return None


def _paths(state: Any) -> list[str]:
    if not isinstance(state, dict):
        return []
    if path := text_at(state, "cgroup-path"):
        return [path]
    paths = state.get("cgroup_paths")
    if not isinstance(paths, dict):
        return []
    # By controller; those of v2 stand under "".
    first = [paths.get(controller) for controller in ("memory", "", "name=systemd")]
    return list(dict.fromkeys(path for path in first if isinstance(path, str) and path))
