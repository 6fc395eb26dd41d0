"""How much memory paging out would free: idle for long enough, nobody else's, and movable."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isotherm.analysis.idleness import HEADLINES_NS, is_reached
from isotherm.model.page_use import PageUse
from isotherm.model.target import Mapping, Target

#: Memory of these kinds goes to swap space; that of files goes back to its file.
NEEDS_SWAP = frozenset({"anon", "shmem"})


@dataclass(frozen=True, slots=True)
class CouldFree:
    """
    What `pageout` of idle pages could free.

    age_ns: it was not used for so long, or longer; file_bytes: what goes back to files;
    swap_bytes: what needs as much swap space; swap_free_bytes: what there is of that, None where
    it is not known.
    """

    age_ns: int
    file_bytes: int
    swap_bytes: int
    swap_free_bytes: int | None

    @property
    def bytes(self) -> int:
        """What would be freed with the swap space that there is."""
        return self.file_bytes + self.swap_bytes - self.lacking_bytes

    @property
    def lacking_bytes(self) -> int:
        """What more would be freed with swap space, or zram."""
        if self.swap_free_bytes is None:
            return 0
        return max(0, self.swap_bytes - self.swap_free_bytes)


def idle_age_ns(use: PageUse) -> int | None:
    """Return an idle time, worth telling, that memory can have reached; None for none."""
    known = (ns for ns in HEADLINES_NS if ns in use.windows_ns)
    return next((ns for ns in known if is_reached(ns, use.watched_ns)), None)


def movable(
    use: PageUse, targets: Sequence[Target], mappings: MappingOf[int, Sequence[Mapping]]
) -> PageUse:
    """
    Return the same without shared mappings (MAP_SHARED) that schemes leave alone.

    Clean pages of shared files are paged out; where pages are not told apart, none are promised.

    targets: those that rows speak of; mappings: their address maps, by target id.
    """
    shared: dict[tuple[int, str], bool] = {}
    for index, target in enumerate(targets):
        for mapping in mappings.get(target.id, ()):
            key = index, mapping.title
            shared[key] = shared.get(key, True) and mapping.permissions.endswith("s")
    rows = tuple(
        row
        for row in use.rows
        if (use.exact and row.kind == "file") or not shared.get((row.target, row.what), False)
    )
    return replace(use, rows=rows)


def could_free(use: PageUse, swap_free_bytes: int | None) -> CouldFree | None:
    """
    Return what could be freed of memory that was idle for `idle_age_ns`; None without such an age.

    use: of `movable` memory; swap_free_bytes: swap space that is free, None where it is not known.
    """
    age_ns = idle_age_ns(use)
    if age_ns is None:
        return None
    at = use.windows_ns.index(age_ns)
    file, swap = 0, 0
    for row in use.rows:
        if row.kind in NEEDS_SWAP:
            swap += row.idle_own[at]
        else:
            file += row.idle_own[at]
    return CouldFree(age_ns, file, swap, swap_free_bytes)
