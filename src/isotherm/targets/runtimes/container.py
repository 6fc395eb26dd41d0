"""What runtimes know of a container."""

from __future__ import annotations

from typing import NamedTuple

#: How dockershim, cri-dockerd and CRI-O name containers of pods.
_POD_PREFIX = "k8s"
#: What the container that only holds a pod's namespaces is called, by the same.
SANDBOX = "POD"


class Pod(NamedTuple):
    """A Kubernetes pod, of the namespace and name; uid: as it stands in cgroups, "" if unknown."""

    namespace: str
    name: str
    uid: str = ""

    @property
    def title(self) -> str:
        """Return "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Container(NamedTuple):
    """
    A container as its runtime's files describe it.

    id: 64 hexadecimal digits as a rule; names: what people may call it, the best one first; pod:
    the one that it is in.
    """

    id: str
    names: tuple[str, ...] = ()
    pod: Pod | None = None

    @property
    def title(self) -> str:
        """Return "web", "namespace/pod/web" in a pod, or the beginning of its id."""
        name = self.names[0] if self.names else self.id[:12]
        return f"{self.pod.title}/{name}" if self.pod else name


def named(container_id: str, names: list[str]) -> Container:
    """Return the container of these names, of a pod where a name has the form of Kubernetes'."""
    plain = [name.lstrip("/") for name in names if name.lstrip("/")]
    for name in plain:
        parts = name.split("_")
        if len(parts) >= 6 and parts[0] == _POD_PREFIX:
            pod = Pod(parts[3], parts[2], parts[4])
            return Container(container_id, (parts[1], *plain), pod)
    return Container(container_id, tuple(plain))
