"""What is monitored: a process (or any address space) and its mappings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping of an address space: a line of /proc/PID/maps, or of /proc/iomem."""

    start: int
    end: int
    permissions: str
    name: str  # path, "[heap]", "[anon:...]", or "" for anonymous memory

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Target:
    """
    An address space under monitoring.

    `id` is unique within a session and never reused; `pid` is None where there is no process
    (physical memory, simulation). Sizes are bytes, None where unknown.
    """

    id: int
    name: str
    pid: int | None = None
    mapped_bytes: int | None = None
    resident_bytes: int | None = None

    @property
    def title(self) -> str:
        """Return "redis-server 4242", or the name alone where there is no process."""
        return self.name if self.pid is None else f"{self.name} {self.pid}"


@dataclass(frozen=True, slots=True)
class Unobservable:
    """Addresses of a target whose accesses cannot be seen, and why (a short phrase)."""

    target_id: int
    start: int
    end: int
    reason: str

    @property
    def size(self) -> int:
        return self.end - self.start
