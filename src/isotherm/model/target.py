"""What is monitored: a process (or any address space) and its mappings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

#: How the kernel spells memory that several processes share without a file, and what it is.
_SHARED = (
    (re.compile(r"/memfd:(.*) \(deleted\)", re.DOTALL), "memfd {}"),
    (re.compile(r"/SYSV([0-9a-f]{8}) \(deleted\)"), "SysV shared memory 0x{}"),
    (re.compile(r"/dev/zero \[(.*)\]"), "{}"),
    (re.compile(r"/dev/zero(?: \(deleted\))?"), "shared anonymous"),
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """
    One mapping of an address space: a line of /proc/PID/maps, or of /proc/iomem.

    name: the kernel's, or, where it has none, what `naming` found: "[stack:THREAD]", "[anon:...]".
    """

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
        return self.name in ("", "[heap]", "[stack]") or self.name.startswith(
            ("[anon:", "[stack:")
        )

    @property
    def title(self) -> str:
        """Return what people call it: its path, [heap], [anon:NAME], or "anonymous"."""
        if self.name.startswith(("/memfd:", "/SYSV", "/dev/zero")):
            for spelled, called in _SHARED:
                if found := spelled.fullmatch(self.name):
                    return called.format(*found.groups())
        return self.name or "anonymous"


class Group(NamedTuple):
    """
    What several processes are one of, for who watches them.

    kind: a single word, "cgroup", "unit", "container", "pod", "user" or of an own source; name:
    "/app", "nginx.service", as people call it.
    """

    kind: str
    name: str

    @property
    def title(self) -> str:
        """Return "unit nginx.service", as `Target.group` has it."""
        return f"{self.kind} {self.name}"

    @classmethod
    def of(cls, title: str) -> Self:
        """Return the group of this title; what is none, as in other people's files, is a name."""
        kind, _, name = title.partition(" ")
        return cls(kind, name) if kind and name else cls("group", title)


@dataclass(frozen=True, slots=True)
class Target:
    """
    An address space under monitoring.

    id: unique within a session and never reused; pid: None where there is no process (physical
    memory, simulation); mapped_bytes, resident_bytes, proportional_bytes (what is shared divided
    by who shares it, as of some seconds ago): None where unknown; group: the title of the `Group`
    it is in, such as "unit nginx.service", "" where there is none.
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
