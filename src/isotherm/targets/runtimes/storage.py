"""Podman and CRI-O: the index of containers/storage, .../overlay-containers/containers.json."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from isotherm.targets.runtimes.container import Container, named
from isotherm.targets.runtimes.files import names_in, read_json, text_at, texts

#: Where storage is, besides what storage.conf says; what is volatile lies with what runs.
_ROOTS = ("var/lib/containers/storage", "run/containers/storage")
_CONFS = ("etc/containers/storage.conf", "usr/share/containers/storage.conf")
_SETTING = re.compile(r'^\s*(?:graphroot|runroot)\s*=\s*"(/[^"\n]+)"', re.MULTILINE)
_INDICES = ("containers.json", "volatile-containers.json")
#: Of storage that belongs to users.
_MOST_OF_USERS = 1 << 20


def describe(
    container_id: str, root: Path, home: Path | None, beside: Path | None = None
) -> Container | None:
    """
    Return what the index says of a container; None if it does not stand there.

    root: of the machine's files; home: of the user who runs it without root, if somebody does;
    beside: a further place to look in, the storage's or the user's own /run/user/UID/containers.
    """
    if home is not None:
        roots, most = [home / ".local/share/containers/storage"], _MOST_OF_USERS
    else:
        roots = [root / where.lstrip("/") for where in (*_settings(root), *_ROOTS)]
        most = 4 * _MOST_OF_USERS
    for index in _indices([*roots, *([beside] if beside is not None else [])]):
        found = read_json(index, most)
        for one in found if isinstance(found, list) else ():
            if text_at(one, "id") == container_id:
                return named(container_id, texts(one.get("names")))
    return None


def _indices(roots: list[Path]) -> Iterator[Path]:
    for folder in roots:
        # The driver of storage is in the name: overlay, vfs, btrfs.
        for name in names_in(folder):
            if name.endswith("-containers"):
                for index in _INDICES:
                    yield folder / name / index


def _settings(root: Path) -> list[str]:
    for name in _CONFS:
        try:
            with open(root / name, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                return [os.path.normpath(path) for path in _SETTING.findall(file.read(1 << 16))]
        except OSError:
            continue
    return []
