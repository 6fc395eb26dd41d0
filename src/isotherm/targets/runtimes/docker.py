"""Docker: /var/lib/docker/containers/ID/config.v2.json, else its socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isotherm.targets.runtimes.container import Container, Pod, named
from isotherm.targets.runtimes.files import get_json, read_json, text_at, texts

#: Where its data are, besides what /etc/docker/daemon.json says.
_DATA = ("var/lib/docker", "var/snap/docker/common/var-lib-docker")
#: Podman's server speaks the same language.
_SOCKETS = ("run/docker.sock", "run/podman/podman.sock")


def describe(container_id: str, root: Path, home: Path | None) -> Container | None:
    """
    Return what Docker's files say of a container; None if it is none of Docker's.

    root: of the machine's files; home: of the user who runs it without root, if somebody does.
    """
    if home is not None:
        folders = [home / ".local/share/docker"]
    else:
        told = text_at(read_json(root / "etc/docker/daemon.json"), "data-root")
        folders = [root / data for data in ([told.lstrip("/")] if told else []) + [*_DATA]]
    for folder in folders:
        config = read_json(folder / "containers" / container_id / "config.v2.json")
        if isinstance(config, dict):
            labels = config.get("Config")
            labels = labels.get("Labels") if isinstance(labels, dict) else None
            return _labelled(container_id, [text_at(config, "Name")], labels)
    return None


def listed(root: Path) -> list[Container]:
    """Return the running containers that daemons tell of through their sockets."""
    found: list[Container] = []
    for name in _SOCKETS:
        answer = get_json(root / name, "/containers/json")
        found += [
            _labelled(text_at(one, "Id"), texts(one.get("Names")), one.get("Labels"))
            for one in (answer if isinstance(answer, list) else ())
            if text_at(one, "Id")
        ]
    return found


def _labelled(container_id: str, names: list[str], labels: Any) -> Container:
    found = named(container_id, names)
    if found.pod is not None:
        return found
    pod = text_at(labels, "io.kubernetes.pod.name")
    if pod:
        namespace = text_at(labels, "io.kubernetes.pod.namespace")
        uid = text_at(labels, "io.kubernetes.pod.uid")
        inner = text_at(labels, "io.kubernetes.container.name")
        names_of = (inner, *found.names) if inner else found.names
        return Container(container_id, names_of, Pod(namespace, pod, uid))
    return found
