"""containerd: the bundles that run, .../io.containerd.runtime.v2.task/NAMESPACE/ID/config.json."""

from __future__ import annotations

from pathlib import Path

from isotherm.targets.runtimes.container import SANDBOX, Container, Pod
from isotherm.targets.runtimes.files import names_in, read_json, text_at

#: Of containerd itself, of k3s, of MicroK8s.
_STATES = (
    "run/containerd",
    "run/k3s/containerd",
    "var/snap/microk8s/common/run/containerd",
)
_TASKS = "io.containerd.runtime.v2.task"
_CRI = "io.kubernetes.cri."


def describe(container_id: str, root: Path) -> Container | None:
    """Return what the annotations of a running bundle say; None if there is no such one."""
    for state in _STATES:
        tasks = root / state / _TASKS
        for namespace in names_in(tasks):
            spec = read_json(tasks / namespace / container_id / "config.json")
            if isinstance(spec, dict):
                return _annotated(container_id, spec.get("annotations"))
    return None


def _annotated(container_id: str, notes: object) -> Container | None:
    pod = text_at(notes, f"{_CRI}sandbox-name")
    name = text_at(notes, f"{_CRI}container-name") or text_at(notes, "nerdctl/name")
    if pod:
        if not name and text_at(notes, f"{_CRI}container-type") == "sandbox":
            name = SANDBOX
        namespace = text_at(notes, f"{_CRI}sandbox-namespace")
        uid = text_at(notes, f"{_CRI}sandbox-uid")
        return Container(container_id, (name,) if name else (), Pod(namespace, pod, uid))
    # Of Docker's, which runs in containerd, Docker knows the name.
    return Container(container_id, (name,)) if name else None
