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

    @property
    def is_anonymous(self) -> bool:
        """Whether it has no file, by its name; shared memory has one, even without a path."""
        return self.name in ("", "[heap]", "[stack]") or self.name.startswith("[anon:")

    @property
    def title(self) -> str:
        """Return what people call it: its path, [heap], [anon:NAME], or "anonymous"."""
        return self.name or "anonymous"


@dataclass(frozen=True, slots=True)
class Target:
    """
    An address space under monitoring.

    id: unique within a session and never reused; pid: None where there is no process (physical
    memory, simulation); mapped_bytes, resident_bytes, proportional_bytes (what is shared divided
    by who shares it, as of some seconds ago): None where unknown; group: what the user asked for
    as one, such as a cgroup, "" where there is no such thing.
    """

    id: int
    name: str
    pid: int | None = None
    mapped_bytes: int | None = None
    resident_bytes: int | None = None
    proportional_bytes: int | None = None
    group: str = ""

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
