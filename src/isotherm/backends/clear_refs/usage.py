"""
What one look at smaps says of the use of mappings, shared memory in its proportion.

`Referenced:` counts a page as a whole, `Pss:` as one over the number of who map it. Which of the
pages of a mapping are shared is not told, nor by how many: where some are, there is a least and a
most that the used ones can weigh, and an estimate between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isotherm.kernel.smaps import SmapsEntry
from isotherm.model.page_use import Kind
from isotherm.model.target import Mapping

#: Mappings whose accesses show in no accessed bit that smaps counts.
_UNSEEN_FLAGS = frozenset({"ht", "pf", "io", "mm"})
_SHMEM = ("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero", "[anon_shmem")  # noqa: S108

#: Title of the mappings, and whose memory it is.
Key = tuple[str, Kind]


@dataclass(slots=True)
class Use:
    """
    Bytes of some mappings, in proportion, at one look.

    resident: in memory; unseen: those whose accesses cannot be seen; low, used, high: used since
    the clear, at least, by best estimate, at most (unseen ones not among them); referenced: used,
    each page as a whole; own_idle: not used, and mapped and held by nobody else.
    """

    resident: int = 0
    unseen: int = 0
    low: int = 0
    used: int = 0
    high: int = 0
    referenced: int = 0
    own_idle: int = 0

    def add(self, other: Use) -> None:
        self.resident += other.resident
        self.unseen += other.unseen
        self.low += other.low
        self.used += other.used
        self.high += other.high
        self.referenced += other.referenced
        self.own_idle += other.own_idle

    def not_below(self, before: Use) -> None:
        """Keep what was used earlier in the epoch: somebody else may clear accessed bits too."""
        seen = self.resident - self.unseen
        self.low = max(self.low, min(seen, before.low))
        self.used = max(self.used, min(seen, before.used))
        self.high = max(self.high, min(seen, before.high))
        self.referenced = max(self.referenced, before.referenced)


def is_unseen(entry: SmapsEntry) -> bool:
    """Tell whether accesses of this mapping cannot be seen."""
    return bool(entry.flags & _UNSEEN_FLAGS)


def kind_of(mapping: Mapping) -> Kind:
    """Return whose memory a mapping mostly holds, by its name."""
    if mapping.is_anonymous:
        return "anon"
    return "shmem" if mapping.name.startswith(_SHMEM) else "file"


def use_of(entry: SmapsEntry, *, alone: bool) -> Use:
    """
    Return the use of one mapping.

    alone: no other process is watched, which may have used what this one shares with it.
    """
    if is_unseen(entry) or entry.hugetlb_bytes:
        resident = entry.pss_bytes + entry.hugetlb_bytes
        return Use(resident=resident, unseen=resident)
    rss, pss = entry.rss_bytes, entry.pss_bytes
    private = min(entry.private_bytes, rss)
    shared, shared_pss = rss - private, max(0, pss - private)
    referenced = min(entry.referenced_bytes, rss)
    # Of pages that are shared each weighs a half at most, and all of them `shared_pss`.
    most_shared, least_shared = min(referenced, shared), max(0, referenced - private)
    low = referenced - most_shared + max(0, shared_pss - (shared - most_shared) // 2)
    high = referenced - least_shared + min(least_shared // 2, shared_pss)
    if not alone:
        high = min(referenced, private) + shared_pss
    high = min(high, pss)
    used = referenced * pss // rss if rss else 0
    return Use(
        resident=pss,
        low=min(low, high),
        used=max(min(low, high), min(used, high)),
        high=high,
        referenced=referenced,
        # Locked memory is seen, but nobody can take it out.
        own_idle=0 if "lo" in entry.flags else max(0, private - referenced),
    )


def by_title(entries: Iterable[SmapsEntry], *, alone: bool) -> dict[Key, Use]:
    """Return the use of all mappings of a process, those of one title and kind together."""
    found: dict[Key, Use] = {}
    for entry in entries:
        if entry.rss_bytes or entry.hugetlb_bytes:
            key = entry.mapping.title, kind_of(entry.mapping)
            found.setdefault(key, Use()).add(use_of(entry, alone=alone))
    return found
