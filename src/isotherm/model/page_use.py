"""What is known of memory page by page: used within which time, idle for how long, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

_MS = 1_000_000
_S = 1_000_000_000

#: Lengths of time, ascending, in ns: the scale of working sets and of idle ages. Steps of about 2.
WINDOWS_NS: tuple[int, ...] = (
    100 * _MS, 200 * _MS, 500 * _MS, 1 * _S, 2 * _S, 5 * _S, 10 * _S, 20 * _S, 30 * _S,
    60 * _S, 120 * _S, 300 * _S, 600 * _S, 1800 * _S, 3600 * _S, 7200 * _S, 21600 * _S, 86400 * _S,
)  # fmt: skip

Kind = Literal["anon", "file", "shmem"]

#: How accesses of memory that several processes map may be looked at: by holding their address
#: maps for a moment (/proc/PID/clear_refs) if it is short, else by the kernel's DAMON; not at all;
#: by holding address maps, whatever it takes; by DAMON only.
Shared = Literal["auto", "off", "clear-refs", "damon"]
CLEAR_REFS: Shared = "clear-refs"
DAMON: Shared = "damon"
#: Title of rows of memory that no map had a look at: of processes that were not known when
#: targets were last looked for, and of those that executed another program since.
MISSED = "(not looked at)"
#: Title of a row of what was used and is not in memory any more.
FREED = "(freed since)"


class UseRow(NamedTuple):
    """
    A part of the resident memory of a target: of one mapping title, kind and NUMA node.

    Memory that several processes map counts for each of them with one over the number of all who
    map it, as in the kernel's Pss: the sum of all rows counts it once. A page is used if anybody
    among the targets used it.

    target: index into `Snapshot.targets`; what: title of its mappings; kind: whose memory it is;
    node: NUMA node, None where that is not told; resident: bytes in memory. unseen: those of them
    whose accesses cannot be seen here; uncovered: those that nobody had a look at yet.

    Per length of time T of `PageUse.windows_ns`: used_low, used, used_high: bytes used within a
    window of T, at least, by best estimate, at most (unseen and uncovered memory included).
    Of what was used and freed since there is a row for each target, `FREED`, of which nothing is
    resident: how much, not where.
    idle: bytes that were surely not used for T or longer; idle_own: those of them that nobody else
    maps, and that are not shared memory or written pages of shared files, which stay: they could
    be taken out of memory. returned: bytes of such memory that were used again after they had not
    been for T or longer, each time that it happened since the targets are watched; a huge page
    counts whole. () where nobody counted.
    """

    target: int
    what: str
    kind: Kind
    node: int | None
    resident: int
    unseen: int
    uncovered: int
    used_low: tuple[int, ...]
    used: tuple[int, ...]
    used_high: tuple[int, ...]
    idle: tuple[int, ...]
    idle_own: tuple[int, ...]
    returned: tuple[int, ...] = ()


class GroupUse(NamedTuple):
    """
    What a group of targets has in memory, with memory that several of it map counted once, whoever
    else maps it too.

    group: title, as of `Target.group`. The other figures are as of a `UseRow`.
    """

    group: str
    resident: int
    unseen: int
    uncovered: int
    used_low: tuple[int, ...]
    used: tuple[int, ...]
    used_high: tuple[int, ...]
    idle: tuple[int, ...]

    def with_row(self, row: UseRow) -> GroupUse:
        """Return this group with what is in a row besides."""
        sizes = (
            self.resident + row.resident,
            self.unseen + row.unseen,
            self.uncovered + row.uncovered,
        )
        return self._with(sizes, row, 1)

    def without_row(self, row: UseRow) -> GroupUse:
        """Return this group without a row of it, as if nobody else of it had a part of that."""
        resident = max(0, self.resident - row.resident)
        unseen = min(resident, max(0, self.unseen - row.unseen))
        uncovered = min(resident - unseen, max(0, self.uncovered - row.uncovered))
        return self._with((resident, unseen, uncovered), row, -1)

    def _with(self, sizes: tuple[int, int, int], row: UseRow, sign: int) -> GroupUse:
        def changed(mine: tuple[int, ...], its: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(
                max(0, min(sizes[0], a + sign * b)) for a, b in zip(mine, its, strict=True)
            )

        high = changed(self.used_high, row.used_high)
        used = tuple(map(min, changed(self.used, row.used), high))
        low = tuple(map(min, changed(self.used_low, row.used_low), used))
        return GroupUse(self.group, *sizes, low, used, high, changed(self.idle, row.idle))


def summed(rows: Sequence[UseRow], *, what: str = "") -> UseRow:
    """
    Return the sum of rows of one PageUse.

    rows: at least one; what: the title of them all. Target, kind and node are the first one's.
    """
    columns = list(zip(*rows, strict=True))
    numbers = [sum(column) for column in columns[4:7]]
    figures = [
        tuple(map(sum, zip(*column, strict=True))) if all(column) else () for column in columns[7:]
    ]
    first = rows[0]
    return UseRow(first.target, what, first.kind, first.node, *numbers, *figures)


@dataclass(frozen=True, slots=True)
class PageUse:
    """
    What a map of pages knows of the targets' memory at a moment; immutable.

    monotonic_ns: CLOCK_MONOTONIC of the moment; watched_ns: for how long the targets have been
    watched: used within that time is all that was ever seen used. windows_ns: ascending lengths of
    time that the figures of the rows are for, at most `watched_ns`, which is the last of them.
    exact: every page is known, rather than the share of each mapping. shared_by: how accesses of
    memory that several processes map are seen, "" where they cannot be; held_ns: the longest time
    that a target's address map was held for that, so that page faults of it may have waited.
    stopped_ns: for so much of `watched_ns` the target that did so longest stood still, stopped or
    frozen; the ages and windows of a target are of the time in which it ran. None: nobody looked.
    shared_cpu_ns: CPU time that the kernel's DAMON took to see what is shared; shared_note: why it
    was not asked, or is not any more, "" where that is no loss. missed: how many processes had
    come since targets were last looked for, or executed another program since. Nothing is known of
    what they used: their memory is in rows called `MISSED`, with the target that they descend
    from, or are. groups: what each group of targets has that is looked at, memory that it shares
    counted once; () where nothing is grouped, or it is not known which memory is the same.
    """

    monotonic_ns: int
    watched_ns: int
    windows_ns: tuple[int, ...]
    rows: tuple[UseRow, ...]
    exact: bool = True
    shared_by: str = ""
    held_ns: int = 0
    stopped_ns: int | None = None
    shared_cpu_ns: int = 0
    shared_note: str = ""
    missed: int = 0
    groups: tuple[GroupUse, ...] = ()

    @property
    def running_ns(self) -> int | None:
        """For how long they ran while they were watched; None where nobody looked."""
        return None if self.stopped_ns is None else self.watched_ns - self.stopped_ns

    @property
    def resident(self) -> int:
        """Bytes in memory, shared memory counted once (see `UseRow`)."""
        return sum(row.resident for row in self.rows)

    @property
    def unseen(self) -> int:
        """Bytes of them whose accesses cannot be seen."""
        return sum(row.unseen for row in self.rows)

    @property
    def uncovered(self) -> int:
        """Bytes of them that nobody had a look at yet."""
        return sum(row.uncovered for row in self.rows)

    @property
    def missed_bytes(self) -> int:
        """Bytes of them of the processes that were missed."""
        return sum(row.resident for row in self.rows if row.what == MISSED)


def groups_since(
    groups: Sequence[GroupUse],
    titles: Sequence[str],
    ended: Sequence[UseRow],
    came: Sequence[UseRow],
) -> tuple[GroupUse, ...]:
    """
    Return what groups have since, in proportion: memory of who ended or came is not known apart.

    titles: of the targets' groups, by `UseRow.target`, "" for none; ended: rows that are no more;
    came: others.
    """
    found = {one.group: one for one in groups}
    for rows, way in ((ended, GroupUse.without_row), (came, GroupUse.with_row)):
        for row in rows:
            title = titles[row.target] if row.target < len(titles) else ""
            if row.resident and title in found:
                found[title] = way(found[title], row)
    return tuple(one for one in found.values() if one.resident)


def never_seen(target: int, kind: Kind, size: int, nr_windows: int) -> UseRow:
    """Return a row of `size` bytes of which nothing is known, but that they are in memory."""
    none, most = (0,) * nr_windows, (size,) * nr_windows
    return UseRow(target, MISSED, kind, None, size, 0, size, none, none, most, none, none, none)
