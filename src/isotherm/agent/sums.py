"""What is known of each group at a moment: the sums that metrics tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from isotherm.agent.cgroup_counts import GroupCounts
from isotherm.agent.groups import WatchedGroups
from isotherm.agent.openmetrics import Labels
from isotherm.analysis.page_use import likely_idle
from isotherm.model.page_use import PageUse, UseRow, summed
from isotherm.model.target import Group, Target

#: What groups beyond the cap are called, all together; and processes of none.
OTHER: Labels = (("group", "other"),)
_NONE: Labels = (("group", "none"),)


@dataclass(slots=True)
class GroupSum:
    """
    What is known of a group.

    row: the sum of its rows, None where nobody had a look at any of it; processes: how many;
    unlooked: bytes in memory of those of which there is no row. huge: bytes in huge pages,
    refaults: pages that came back since we look, each by kind where the kernel counts it; path:
    its cgroup, "" where that is not known.
    """

    row: UseRow | None = None
    processes: int = 0
    unlooked: int = 0
    huge: dict[str, int] = field(default_factory=dict)
    refaults: dict[str, int] = field(default_factory=dict)
    path: str = ""

    @property
    def resident(self) -> int:
        """Bytes in memory, shared memory divided by who maps it."""
        return self.unlooked + (self.row.resident if self.row is not None else 0)

    @property
    def uncovered(self) -> int:
        """Bytes that nobody had a look at yet."""
        return self.unlooked + (self.row.uncovered if self.row is not None else 0)

    @property
    def unknown(self) -> int:
        """Bytes of whose use nothing is known: nobody looked yet, or it cannot be seen."""
        return self.uncovered + (self.row.unseen if self.row is not None else 0)

    def idle(self, window: int) -> int:
        """Return the bytes not used for the window of this number, by best estimate."""
        return 0 if self.row is None else likely_idle(self.row, window)

    def add(self, other: GroupSum) -> None:
        """Make this the sum of both, of which no cgroup is known."""
        rows = [row for row in (self.row, other.row) if row is not None]
        self.row = summed(rows) if rows else None
        self.processes += other.processes
        self.unlooked += other.unlooked
        for mine, its in ((self.huge, other.huge), (self.refaults, other.refaults)):
            for kind, size in its.items():
                mine[kind] = mine.get(kind, 0) + size
        self.path = ""


class Grouping:
    """
    Sums up what a map of pages knows by group.

    Who has metrics of its own keeps them while it lives, whoever else comes; free places are for
    the largest. groups: what groups are called; most: how many are told.
    """

    def __init__(self, groups: WatchedGroups, most: int) -> None:
        self._groups = groups
        self.most = most
        self._counts = GroupCounts()
        self._refaults: dict[Labels, dict[str, int]] = {}
        self._told: set[Labels] = set()
        self.in_other = 0

    def sums(self, use: PageUse, targets: Sequence[Target]) -> dict[Labels, GroupSum]:
        """
        Return the sum of each group by its labels, with those beyond the cap as one.

        targets: of the snapshot that `use` is of. Groups of equal labels are one.
        """
        found: dict[Labels, GroupSum] = {}
        names = [self._labels(target) for target in targets]
        rows: dict[Labels, list[UseRow]] = {}
        with_rows = set()
        for row in use.rows:
            if row.target < len(names):
                rows.setdefault(names[row.target], []).append(row)
                with_rows.add(row.target)
        for index, target in enumerate(targets):
            group = found.setdefault(names[index], GroupSum())
            group.processes += 1
            if index not in with_rows:
                shared = target.proportional_bytes
                group.unlooked += (target.resident_bytes if shared is None else shared) or 0
        for labels, of in rows.items():
            found[labels].row = summed(of)
        self._count(found, dict(zip(names, targets, strict=True)))
        return self._capped(found)

    def _labels(self, target: Target) -> Labels:
        return self._groups.labels(Group.of(target.group)) if target.group else _NONE

    def _count(self, found: dict[Labels, GroupSum], members: dict[Labels, Target]) -> None:
        """Add what the kernel counts of the groups."""
        self._counts.begin()
        self._refaults = {one: of for one, of in self._refaults.items() if one in found}
        for labels, group in found.items():
            title = members[labels].group
            paths = self._groups.paths(Group.of(title)) if title else ()
            refaults = self._refaults.setdefault(labels, {})
            group.huge = self._counts.look(paths, refaults)
            group.refaults = dict(refaults)
            group.path = min(paths, key=len, default="")
        self._counts.end()

    def _capped(self, found: dict[Labels, GroupSum]) -> dict[Labels, GroupSum]:
        """Return the groups that are told, and the rest as one."""
        self._told &= found.keys()
        free = self.most - len(self._told)
        fresh = found.keys() - self._told
        if free > 0:
            self._told |= set(_largest(((one, found[one]) for one in fresh), free))
        elif free < 0:  # the cap was lowered
            self._told = set(_largest(((one, found[one]) for one in self._told), self.most))
        told = {labels: found[labels] for labels in found if labels in self._told}
        rest = [found[labels] for labels in found if labels not in self._told]
        self.in_other = len(rest)
        if rest:
            other = told.setdefault(OTHER, GroupSum())
            for group in rest:
                other.add(group)
        return told


def _largest(groups: Iterable[tuple[Labels, GroupSum]], most: int) -> list[Labels]:
    """Return the labels of the groups with most in memory, the same ones each time."""
    ordered = sorted(groups, key=lambda pair: (-pair[1].resident, pair[0]))
    return [labels for labels, _ in ordered[:most]]
