"""The memory of a recording in parts: what is resident, used and idle, by process and mapping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isotherm.analysis.hotness import UNKNOWN, by_target
from isotherm.analysis.page_use import idle_of
from isotherm.analysis.summary import Summary
from isotherm.model.page_use import UseRow, summed
from isotherm.model.target import Mapping, Target

#: The length of time that "used" is about: a second, or the nearest that was reached.
_USED_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """
    A part of the memory: of a target, of one kind and title of mappings.

    kind: anon, file, shmem, or "" where it is not known; resident: bytes in memory, None where
    only what is mapped is known; used, idle, unknown: bytes, as `MemoryParts` says.
    """

    target: Target
    kind: str
    what: str
    resident: int | None
    mapped: int
    used: int
    idle: int
    unknown: int

    @property
    def frames(self) -> tuple[str, ...]:
        """Where it is, from the outside in: group, process, kind and name of the mappings."""
        places = (self.target.group, self.target.title, self.kind, self.what)
        return tuple(place for place in places if place)


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """
    All parts, largest first.

    by_pages: counted page by page, else by whole regions of the last window; used_ns: "used" is
    within so much time; idle_ns: "idle" is for so long or longer.
    """

    parts: tuple[MemoryPart, ...]
    by_pages: bool
    used_ns: int
    idle_ns: int


def memory_parts(summary: Summary) -> MemoryParts:
    """Return the parts as of the end of a recording: by pages where a map of them was kept."""
    found = _by_pages(summary) if summary.use is not None else _by_regions(summary)
    ordered = sorted(found.parts, key=lambda part: (-_size(part), part.frames))
    return MemoryParts(tuple(ordered), found.by_pages, found.used_ns, found.idle_ns)


def _size(part: MemoryPart) -> int:
    return part.mapped if part.resident is None else part.resident


def _by_pages(summary: Summary) -> MemoryParts:
    use, targets = summary.use, summary.use_targets
    assert use is not None  # noqa: S101 - what the caller looked at
    windows = use.windows_ns
    used_at = min(range(len(windows)), key=lambda i: abs(windows[i] - _USED_NS), default=None)
    after = summary.idle_after_ns
    idle_at = next((i for i, ns in enumerate(windows) if ns >= after), len(windows) - 1)
    groups: dict[tuple[int, str, str], list[UseRow]] = {}
    for row in use.rows:
        groups.setdefault((row.target, row.kind, row.what), []).append(row)
    parts = []
    for (target, kind, what), rows in groups.items():
        row = summed(rows)
        parts.append(
            MemoryPart(
                targets[target],
                kind,
                what,
                row.resident,
                row.resident,
                0 if used_at is None else row.used[used_at],
                idle_of(rows)[idle_at] if windows else 0,
                row.unseen + row.uncovered,
            )
        )
    return MemoryParts(
        tuple(parts),
        by_pages=True,
        used_ns=0 if used_at is None else windows[used_at],
        idle_ns=windows[idle_at] if windows else after,
    )


def _by_regions(summary: Summary) -> MemoryParts:
    last = summary.last
    if last is None:
        return MemoryParts((), by_pages=False, used_ns=0, idle_ns=summary.idle_after_ns)
    heats = by_target(last, summary.mappings, long_idle_ns=summary.idle_after_ns)
    targets = {target.id: target for target in last.targets}
    kinds = {id_: _kinds(entries) for id_, entries in summary.mappings.items()}
    parts = [
        MemoryPart(
            targets.get(id_, Target(id_, f"target {id_}")),
            kinds.get(id_, {}).get(what, ""),
            "memory" if what == UNKNOWN else what,
            None,
            heat.size,
            heat.hot + heat.warm,
            heat.idle_long,
            heat.unobservable,
        )
        for (id_, what), heat in heats.items()
    ]
    return MemoryParts(
        tuple(parts),
        by_pages=False,
        used_ns=last.aggr_us * 1000,
        idle_ns=summary.idle_after_ns,
    )


def _kinds(mappings: Sequence[Mapping]) -> dict[str, str]:
    return {m.title: "anon" if m.is_anonymous else "file" for m in mappings}


def is_known(parts: Iterable[MemoryPart]) -> bool:
    """Tell whether it is known of every part what is resident."""
    return all(part.resident is not None for part in parts)
