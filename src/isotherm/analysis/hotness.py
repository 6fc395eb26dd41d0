"""What is hot, warm and idle, by mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

from isotherm.analysis.idleness import idle_ns
from isotherm.model.ranges import parts
from isotherm.model.snapshot import Region, Snapshot
from isotherm.model.target import Mapping

#: A region is hot when at least half of its samples found an access.
HOT_SHARE = 0.5
#: Name of regions in no mapping that we know of.
UNKNOWN = "(unknown)"


@dataclass(slots=True)
class Heat:
    """
    Bytes of a mapping by heat in one window.

    hot + warm + idle + unobservable = size, the monitored part of the mapping. idle_long:
    bytes of `idle` not accessed for the asked time or longer; idle_own: those of them that are in
    no shared mapping (MAP_SHARED), which schemes leave alone. Where regions are whole mappings
    (`Snapshot.shares`), hot is what was used of them in the window, and nothing is warm.
    """

    name: str
    size: int = 0
    hot: int = 0
    warm: int = 0
    idle: int = 0
    unobservable: int = 0
    idle_long: int = 0
    idle_own: int = 0

    def add(
        self,
        region: Region,
        overlap: int,
        most: int,
        *,
        long: bool,
        shared: bool = False,
        used: Callable[[int, int], int] | None = None,
    ) -> None:
        """
        Account `overlap` bytes of a region of a window with at most `most` accesses.

        used: says how many bytes were, where the rate tells that (`Snapshot.used_bytes`).
        """
        unseen = min(overlap, overlap * region.unobservable // max(1, region.size))
        if region.nr_accesses is None:
            unseen = overlap
        seen = overlap - unseen
        self.size += overlap
        self.unobservable += unseen
        if not region.nr_accesses:
            self.idle += seen
            self.idle_long += seen if long else 0
            self.idle_own += seen if long and not shared else 0
        elif used is not None:
            self.hot += used(seen, region.nr_accesses)
            self.idle += seen - used(seen, region.nr_accesses)
        elif region.nr_accesses >= HOT_SHARE * most:
            self.hot += seen
        else:
            self.warm += seen


def by_mapping(
    snapshot: Snapshot,
    mappings: MappingOf[int, Sequence[Mapping]],
    *,
    long_idle_ns: int = 10_000_000_000,
) -> list[Heat]:
    """
    Return the heat of each mapping name in one window, largest first.

    `mappings` are the address maps in force, by target id. Parts of a region between known
    mappings are holes and not counted; regions of a target without a map are named `UNKNOWN`.
    Known unobservable ranges count as unobservable bytes of their mapping.
    """
    found: dict[str, list[Heat]] = {}
    for (_, name), heat in by_target(snapshot, mappings, long_idle_ns=long_idle_ns).items():
        found.setdefault(name, []).append(heat)
    heats = [total(parts_of, name) for name, parts_of in found.items()]
    return sorted(heats, key=lambda heat: (-heat.size, heat.name))


def by_group(
    snapshot: Snapshot,
    mappings: MappingOf[int, Sequence[Mapping]],
    *,
    long_idle_ns: int = 10_000_000_000,
) -> list[Heat]:
    """
    Return the heat of each group of targets in one window, largest first; as `by_mapping`.

    Targets of no group are left out.
    """
    groups = {target.id: target.group for target in snapshot.targets}
    found: dict[str, list[Heat]] = {}
    for (id_, _), heat in by_target(snapshot, mappings, long_idle_ns=long_idle_ns).items():
        if group := groups.get(id_):
            found.setdefault(group, []).append(heat)
    heats = [total(parts_of, name) for name, parts_of in found.items()]
    return sorted(heats, key=lambda heat: (-heat.size, heat.name))


def by_target(
    snapshot: Snapshot,
    mappings: MappingOf[int, Sequence[Mapping]],
    *,
    long_idle_ns: int = 10_000_000_000,
) -> dict[tuple[int, str], Heat]:
    """Return the same for each target, by its id and the mapping name, in no order."""
    maps = {id_: sorted(entries, key=lambda m: m.start) for id_, entries in mappings.items()}
    found: dict[tuple[int, str], Heat] = {}
    for id_, region in _all_regions(snapshot):
        long = idle_ns(region, snapshot.aggr_us) >= long_idle_ns
        if maps.get(id_):
            shares = [
                (mapping.title, part.size, mapping.permissions.endswith("s"))
                for mapping, part in parts(maps[id_], region.start, region.end)
            ]
        else:
            shares = [(UNKNOWN, region.size, False)]
        for name, size, shared in shares:
            heat = found.setdefault((id_, name), Heat(name))
            used = snapshot.used_bytes if snapshot.shares else None
            heat.add(region, size, snapshot.max_nr_accesses, long=long, shared=shared, used=used)
    return found


def _all_regions(snapshot: Snapshot) -> Iterator[tuple[int, Region]]:
    """Yield target ids and regions; known unobservable ranges as regions nothing is known of."""
    for region in snapshot.columns:
        yield snapshot.targets[region.target].id, region
    for known in snapshot.unobservable:
        yield known.target_id, Region(0, known.start, known.end, None, 0, known.size)


def total(heats: Iterable[Heat], name: str = "total") -> Heat:
    """Return the sum of rows."""
    result = Heat(name)
    for heat in heats:
        for field in ("size", "hot", "warm", "idle", "unobservable", "idle_long", "idle_own"):
            setattr(result, field, getattr(result, field) + getattr(heat, field))
    return result
