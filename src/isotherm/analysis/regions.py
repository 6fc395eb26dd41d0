"""Which regions there were in one window, and what they were part of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isotherm.analysis.extent import no_such_target
from isotherm.analysis.idleness import idle_ns
from isotherm.analysis.mappings import title_of_most
from isotherm.errors import BadValueError
from isotherm.model.snapshot import Region, Snapshot
from isotherm.model.target import Mapping, Target
from isotherm.units import format_duration


@dataclass(frozen=True, slots=True)
class NamedRegion:
    """
    A region of a window and the title of the mapping that most of it lies in ("" for none).

    share: samples that found an access, 0..1, None where nothing could be observed; age_ns,
    idle_ns: for how long its rate is what it is, and for how long it has been idle.
    """

    region: Region
    target: Target
    what: str
    share: float | None
    age_ns: int
    idle_ns: int


@dataclass(frozen=True, slots=True)
class WindowRegions:
    """The regions of the window `snapshot`, which began `offset_ns` after the first one."""

    snapshot: Snapshot
    offset_ns: int
    regions: list[NamedRegion]


def window_regions(
    snapshots: Iterable[Snapshot], *, at_ns: int | None = None, target_id: int | None = None
) -> WindowRegions:
    """
    Return the regions of the last window that has some, or of the last one begun by `at_ns`.

    at_ns: since the beginning of the recording; target_id: of this target only. Reads all of the
    snapshots. Raises `BadValueError` without regions, for a time beyond the end, and for a target
    that was never seen, or not in that window.
    """
    chosen: Snapshot | None = None
    mappings: dict[int, Sequence[Mapping]] = {}
    targets: dict[int, Target] = {}
    begin, end = None, 0
    for snapshot in snapshots:
        begin = snapshot.start_ns if begin is None else begin
        end = max(end, snapshot.end_ns)
        targets.update((target.id, target) for target in snapshot.targets)
        late = at_ns is not None and snapshot.start_ns - begin > at_ns
        if late and chosen is not None:
            continue  # the end is still to be found, and damage further back
        mappings.update(snapshot.mappings or {})
        if len(snapshot.columns):
            chosen = snapshot
    if chosen is None or begin is None:
        raise BadValueError("the recording holds no regions")
    if at_ns is not None and at_ns > end - begin:
        length = format_duration(end - begin)
        raise BadValueError(
            f"the recording ends before {format_duration(at_ns)}: it is {length} long",
            hint="without a time it is the last window",
        )
    regions = _named(chosen, mappings, target_id)
    if target_id is not None and not regions:
        if target_id not in targets:
            raise no_such_target(target_id, targets.values())
        when = format_duration(chosen.start_ns - begin)
        raise BadValueError(
            f"target {target_id} has no regions {when} after the beginning",
            hint="it had not begun, had ended, or could not be observed: try another time",
        )
    return WindowRegions(chosen, chosen.start_ns - begin, regions)


def _named(
    snapshot: Snapshot, mappings: dict[int, Sequence[Mapping]], target_id: int | None
) -> list[NamedRegion]:
    maps = {id_: sorted(entries, key=lambda m: m.start) for id_, entries in mappings.items()}
    found = []
    for region, heat in zip(snapshot.columns, snapshot.heats(), strict=True):
        target = snapshot.targets[region.target]
        if target_id in (None, target.id):
            found.append(
                NamedRegion(
                    region,
                    target,
                    what=title_of_most(maps.get(target.id, []), region.start, region.end),
                    share=None if region.nr_accesses is None else heat,
                    age_ns=region.age * snapshot.aggr_us * 1000,
                    idle_ns=idle_ns(region, snapshot.aggr_us),
                )
            )
    return found
