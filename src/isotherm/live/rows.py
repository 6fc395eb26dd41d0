"""Which rows the live view has of a moment: groups and processes, sorted, filtered, folded."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from isotherm.analysis.usage import NOTHING, WINDOWS_NS, Figures
from isotherm.live.chronicle import Moment
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.units import format_duration

Sort = Literal["wss", "idle", "age", "resident", "unknown", "name"]
SORTS: Final[tuple[Sort, ...]] = ("wss", "idle", "age", "resident", "unknown", "name")
#: What is asked of unless something else is: 10 s, of `WINDOWS_NS`.
DEFAULT_WINDOW = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What is to be seen.

    window: the place in `WINDOWS_NS` of the time that "used" and "idle" are about; sort, reverse:
    the order; words: only what has all of them in its name, number or group; grouped: processes
    under their groups, None: if there are several; open: groups whose processes are shown.
    """

    window: int = DEFAULT_WINDOW
    sort: Sort = "wss"
    reverse: bool = False
    words: str = ""
    grouped: bool | None = None
    open: AbstractSet[str] = frozenset()

    @property
    def window_text(self) -> str:
        """The time, "10s"."""
        return format_duration(WINDOWS_NS[self.window])


@dataclass(frozen=True, slots=True)
class Row:
    """
    A process, or a group of some.

    key: the target's id, or the title of the group; index: the target's place in the snapshot,
    None for groups; members: how many processes; figures: None where nothing is known yet.
    """

    key: int | str
    name: str
    pid: int | None
    index: int | None
    members: int
    figures: Figures | None
    mapped: int | None
    resident: int | None
    depth: int = 0
    open: bool = False

    @property
    def is_group(self) -> bool:
        """Whether it stands for several."""
        return self.index is None


def rows_of(moment: Moment, wish: Wish) -> list[Row]:
    """Return the rows in their order."""
    processes = [
        _process(moment, index, target)
        for index, target in enumerate(moment.snapshot.targets)
        if _has(target, wish.words)
    ]
    order = _order(wish)
    processes.sort(key=order)
    if not is_grouped(moment, wish):
        return processes
    members: dict[str, list[Row]] = {}
    alone = []
    for row in processes:
        group = moment.snapshot.targets[row.index or 0].group
        if group:
            members.setdefault(group, []).append(row)
        else:
            alone.append(row)
    groups = [_group(moment, title, rows, wish) for title, rows in members.items()]
    found: list[Row] = []
    for row in sorted([*groups, *alone], key=order):
        found.append(row)
        if row.open:
            found += [_deeper(one) for one in members[row.name]]
    return found


def is_grouped(moment: Moment, wish: Wish) -> bool:
    """Tell whether processes stand under their groups."""
    if wish.grouped is not None:
        return wish.grouped
    return len({target.group for target in moment.snapshot.targets} - {""}) > 1


def _has(target: Target, words: str) -> bool:
    text = f"{target.title} {target.group}".lower()
    return all(word in text for word in words.lower().split())


def _process(moment: Moment, index: int, target: Target) -> Row:
    return Row(
        key=target.id,
        name=target.name,
        pid=target.pid,
        index=index,
        members=1,
        figures=moment.usage.targets.get(target.id),
        mapped=target.mapped_bytes,
        resident=target.resident_bytes,
    )


def _group(moment: Moment, title: str, rows: list[Row], wish: Wish) -> Row:
    return Row(
        key=title,
        name=title,
        pid=None,
        index=None,
        members=len(rows),
        figures=moment.usage.groups.get(title),
        mapped=_sum([row.mapped for row in rows]),
        resident=_sum([row.resident for row in rows]),
        open=bool(wish.words) or title in wish.open,
    )


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _deeper(row: Row) -> Row:
    return Row(
        row.key, row.name, row.pid, row.index, row.members, row.figures, row.mapped,
        row.resident, depth=1,
    )  # fmt: skip


def _order(wish: Wish) -> Callable[[Row], tuple[object, ...]]:
    """Return the key that sorts rows: the largest first, what is not known last."""
    sign = -1 if not wish.reverse else 1

    def key(row: Row) -> tuple[object, ...]:
        if wish.sort == "name":
            # Letters have no sign: turned round they are compared by their numbers.
            letters = tuple(-sign * ord(letter) for letter in row.name.lower())
            return (False, letters, row.pid or 0)
        size = _size(row.figures, wish)
        return (size is None, sign * (size or 0), row.name, row.pid or 0)

    return key


def _size(figures: Figures | None, wish: Wish) -> int | None:
    if figures is None:
        return None
    by_sort = {
        "wss": figures.used[wish.window],
        "idle": figures.idle[wish.window],
        "age": figures.age_ns,
        "resident": figures.resident,
        "unknown": figures.unknown,
    }
    return by_sort[wish.sort]


def reached(moment: Moment, window: int) -> int:
    """Return the place of the longest window up to this one that was reached; 0 for none."""
    told = (moment.usage.total or NOTHING).used
    return next((at for at in range(window, -1, -1) if told[at] is not None), 0)


def target_at(snapshot: Snapshot, key: int) -> int | None:
    """Return the place of a target in a snapshot, None if it is not there."""
    return next((i for i, target in enumerate(snapshot.targets) if target.id == key), None)
