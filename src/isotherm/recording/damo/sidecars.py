"""
What damo writes beside a record: whose the targets are, their mappings and their sizes.

All of it is optional: what cannot be read is noted, and left out.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from isotherm.errors import quoted
from isotherm.model.target import Mapping
from isotherm.units import U64_MAX

_MAX_BYTES: Final = 32 << 20
_MAX_MAPPINGS: Final = 1 << 18
#: Of the machine that was recorded; damo does not tell it.
_PAGE: Final = 4096
#: Times of a sidecar and of a record that are further apart are of different clocks.
_SAME_CLOCK_NS: Final = 86_400_000_000_000


@dataclass(slots=True)
class Timeline:
    """What was so from which time on (ns, time of day): the newest by a moment, else the first."""

    times: list[int] = field(default_factory=list)
    values: list[dict[int, Any]] = field(default_factory=list)

    def add(self, time_ns: int, value: dict[int, Any]) -> None:
        """Add what was so at a later time than all before."""
        if not self.times or time_ns >= self.times[-1]:
            self.times.append(time_ns)
            self.values.append(value)

    def index(self, time_ns: int) -> int | None:
        """Return the place in `values` of what was so; None without any."""
        if not self.times:
            return None
        if abs(time_ns - self.times[0]) > _SAME_CLOCK_NS:
            return 0
        return max(0, bisect_right(self.times, time_ns) - 1)


@dataclass(slots=True)
class Sidecars:
    """
    What the files beside a record tell.

    pids: by kdamond, context and target; physical: the contexts whose targets are no processes;
    names: of processes; mappings, resident: by process.
    """

    pids: dict[tuple[int, int, int], int] = field(default_factory=dict)
    physical: set[tuple[int, int]] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    mappings: Timeline = field(default_factory=Timeline)
    resident: Timeline = field(default_factory=Timeline)
    notes: list[str] = field(default_factory=list)


def read_sidecars(path: Path) -> Sidecars:
    """Return what stands beside the record `path`."""
    found = Sidecars()
    for suffix, reader in _READERS.items():
        beside = path.with_name(path.name + suffix)
        try:
            with beside.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
            if len(data) > _MAX_BYTES:
                raise ValueError("it is too long")  # noqa: TRY301 - one place for all
            reader(json.loads(data), found)
        except FileNotFoundError:
            continue
        except OSError as err:
            found.notes.append(f"{quoted(str(beside))} cannot be read: {err.strerror}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found.notes.append(f"{quoted(str(beside))} is not as damo writes it, and left out")
    return found


def _pid(value: Any) -> int | None:
    if value is None:
        return None
    pid = int(value)
    if not 0 < pid < 1 << 32:
        raise ValueError("no process")
    return pid


def _kdamonds(value: Any, found: Sidecars) -> None:
    kdamonds = value["kdamonds"] if isinstance(value, dict) else value
    for i, kdamond in enumerate(kdamonds):
        for j, context in enumerate(kdamond["contexts"]):
            if context.get("ops") == "paddr":
                found.physical.add((i, j))
                continue
            for k, target in enumerate(context["targets"]):
                pid = _pid(target.get("pid"))
                if pid is not None:
                    found.pids[i, j, k] = pid


def _time_ns(value: Any) -> int:
    ns = int(float(value) * 1e9)
    if not 0 <= ns <= U64_MAX:
        raise ValueError("no time")
    return ns


def _footprints(value: Any, found: Sidecars) -> None:
    for moment in value:
        sizes = {}
        for one in moment["footprints"]:
            pid = _pid(one.get("pid"))
            if pid is not None:
                size = int(one["footprint"]["resident"]) * _PAGE
                if not 0 <= size <= U64_MAX:
                    raise ValueError("no size")
                sizes[pid] = size
        found.resident.add(_time_ns(moment["time"]), sizes)


def _vmas(value: Any, found: Sidecars) -> None:
    left = _MAX_MAPPINGS
    for moment in value:
        maps = {}
        for one in moment["procvmas"]:
            pid = _pid(one.get("pid"))
            left -= len(one["vmas"])
            if left < 0:
                raise ValueError("too many")
            if pid is not None:
                maps[pid] = tuple(_in_order(one["vmas"]))
        found.mappings.add(_time_ns(moment["time"]), maps)


def _in_order(vmas: list[dict[str, Any]]) -> Iterator[Mapping]:
    before = 0
    for start, end, name in sorted(
        (int(vma["start"]), int(vma["end"]), str(vma["name"] or "")) for vma in vmas
    ):
        if not before <= start < end <= U64_MAX:
            raise ValueError("no mapping")
        before = end
        yield Mapping(start, end, "", name)


def _proc_stats(value: Any, found: Sidecars) -> None:
    for moment in value:
        for one in moment["proc_stats"]:
            fields = one["fields"]
            pid = _pid(fields[0])
            if pid is not None:
                found.names[pid] = str(fields[1]).removeprefix("(").removesuffix(")")


_READERS: Final = {
    ".kdamonds": _kdamonds,
    ".mem_footprint": _footprints,
    ".vmas": _vmas,
    ".proc_stats": _proc_stats,
}
