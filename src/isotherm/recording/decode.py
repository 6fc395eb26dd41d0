"""
Arrow record batches to snapshots: what fits the columns is looked at for its meaning.

`BadMessageError` says what makes no sense. What is unusual, but can be, is let through.
"""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from operator import le, lt, sub
from typing import Any, Final, Protocol

from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import format as layout
from isotherm.recording.batch import Batch, Vector, span, text_of
from isotherm.recording.flatbuffer import BadMessageError
from isotherm.recording.page_use import read_use

#: Regions that are looked at as Python's own numbers at a time.
_AT_ONCE: Final = 1 << 14


def checked_info(text: str) -> dict[str, Any]:
    """Return what a recording says of itself; raise `BadMessageError` if it is not believable."""
    if len(text) > layout.MAX_INFO_BYTES:
        raise BadMessageError("what it says of itself is too long")
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessageError("what it says of itself is no JSON") from None
    if not isinstance(info, dict):
        raise BadMessageError("what it says of itself is no JSON object")
    _check_json(info, layout.MAX_INFO_DEPTH)
    for name in ("start_ns", "start_monotonic_ns", "level", "weight", "swap_free_bytes"):
        value = info.get(name, 0)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise BadMessageError(f"its {name} makes no sense")
    return info


def _check_json(value: Any, depth: int) -> None:
    if not depth:
        raise BadMessageError("what it says of itself is nested too deeply")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_json(inner, depth - 1)
    elif isinstance(value, int | float) and not abs(value) < 2**64:
        raise BadMessageError("what it says of itself holds an impossible number")


def rows(batch: Batch, context: Context) -> Iterator[Snapshot]:
    """Yield the snapshots of a block; `context` reads what is nested in them."""
    columns = batch.columns
    scalars = [columns[name].numbers() for name in layout.SCALAR_CODES]
    regions = columns["regions"]
    members = [(code, regions.children[name].values) for name, code in layout.REGION_CODES.items()]
    for i, values in enumerate(islice(zip(*scalars, strict=False), batch.length)):
        index, start, end, sample, aggr, *cost = values
        nested = context.read(columns, i)
        low, high = regions.offsets[i : i + 2]
        yield Snapshot(
            index=index,
            start_ns=start,
            end_ns=end,
            sample_us=sample,
            aggr_us=aggr,
            columns=_with_rates(
                _with_told(_regions(members, low, high, len(nested["targets"])), columns, i),
                [columns.get(name) for name in layout.RATES],
                i,
            ),
            cost=Cost(*cost),
            **nested,
        )


def snapshot_of(
    columns: dict[str, Vector], i: int, nested: dict[str, Any], *, shares: bool
) -> Snapshot:
    """Return the snapshot in row `i`, whose nested fields are known; raises `BadMessageError`."""
    index, start, end, sample, aggr, *cost = (
        columns[name].number(i) for name in layout.SCALAR_CODES
    )
    regions = columns["regions"]
    members = [(code, regions.children[name].values) for name, code in layout.REGION_CODES.items()]
    low, high = regions.offsets[i : i + 2]
    made = _regions(members, low, high, len(nested["targets"]))
    return Snapshot(
        index=index,
        start_ns=start,
        end_ns=end,
        sample_us=sample,
        aggr_us=aggr,
        columns=_with_told(made, columns, i),
        cost=Cost(*cost),
        shares=shares,
        **nested,
    )


def _regions(
    members: list[tuple[str, memoryview]], low: int, high: int, nr_targets: int
) -> Columns:
    made = [_items(code, values, low, high) for code, values in members]
    target, start, end, count, age, unseen = made
    columns = Columns(target, start, end, count, age, unseen)
    check_regions(columns, nr_targets)
    return columns


def _items(code: str, values: memoryview, low: int, high: int) -> array[Any]:
    items = array(code)
    items.frombytes(values[low:high].tobytes())
    return items


def _told_items(code: str, lists: Vector | None, i: int) -> array[Any] | None:
    """Return what list `i` tells of each region; None where it is null, or in no column."""
    if lists is None or not lists.has(i):
        return None
    low, high = lists.offsets[i : i + 2]
    return _items(code, lists.values, low, high)


def _with_told(columns: Columns, told: dict[str, Vector], i: int) -> Columns:
    """Add what a map of pages knew of the regions."""
    used = _with_used(columns, told.get("region_used"), i)
    return _with_share(used, told.get("region_share"), i)


def _with_share(columns: Columns, share: Vector | None, i: int) -> Columns:
    """Add the heat of the regions where it is told apart from the counts."""
    if (items := _told_items("d", share, i)) is None:
        return columns
    if len(items) != len(columns):
        raise BadMessageError("the heat of regions is not told of each of them")
    if not all(0 <= heat <= 1 for heat in items):
        raise BadMessageError("the heat of a region is no share")
    return replace(columns, share=items)


def _with_used(columns: Columns, used: Vector | None, i: int) -> Columns:
    """Add what was used of the regions, where that was known."""
    if (items := _told_items("Q", used, i)) is None:
        return columns
    if len(items) != len(columns):
        raise BadMessageError("what was used of regions is not told of each of them")
    if not all(map(le, items, map(sub, columns.end, columns.start))):
        raise BadMessageError("more was used of a region than there is")
    return replace(columns, used=items)


def _with_rates(columns: Columns, told: list[Vector | None], i: int) -> Columns:
    """Add the rates of the regions and their bounds, where they are told."""
    read = (_told_items("d", vector, i) for vector in told)
    found = [items for items in read if items is not None]
    if not found:
        return columns
    if len(found) != len(told) or any(len(items) != len(columns) for items in found):
        raise BadMessageError("rates of regions are not told of each of them")
    if not all(
        0 <= low <= rate <= high < math.inf for rate, low, high in zip(*found, strict=True)
    ):
        raise BadMessageError("rates of regions are not within their bounds")
    rate, lowest, highest = found
    return replace(columns, rate=rate, low=lowest, high=highest)


def check_regions(columns: Columns, nr_targets: int) -> None:
    """
    Raise `BadMessageError` unless the regions are in order, apart, and of targets that exist.

    nr_targets: how many targets the snapshot has.
    """
    for low, high in _runs(columns.target, nr_targets):
        for at in range(low, high, _AT_ONCE):
            upto = min(at + _AT_ONCE, high)
            start = columns.start[at : min(upto + 1, high)].tolist()
            end = columns.end[at:upto].tolist()
            if not all(map(lt, start, end)):
                raise BadMessageError("a region ends before it begins")
            if not all(map(le, end, islice(start, 1, None))):
                raise BadMessageError(
                    "regions overlap, or are not in the order of their addresses"
                )


def _runs(target: array[int], nr_targets: int) -> Iterator[tuple[int, int]]:
    """Yield where the regions of each target begin and end."""
    low, before = 0, -1
    while low < len(target):
        index = target[low]
        high = bisect_right(target, index, low)
        if not before < index or target[low:high] != array("I", [index]) * (high - low):
            raise BadMessageError("regions are not in the order of their targets")
        if index >= nr_targets:
            raise BadMessageError("a region is of a target that is not there")
        yield low, high
        low, before = high, index


class Context(Protocol):
    """Reads what is nested in rows, which may stand for what the row before had."""

    def read(self, columns: dict[str, Vector], i: int) -> dict[str, Any]:
        """Return the nested fields of the snapshot in row `i`."""


class Context2:
    """What is nested in the rows of version 2; null stands for what the row before had."""

    def __init__(self) -> None:
        self._targets: tuple[Target, ...] = ()
        self._unobservable: tuple[Unobservable, ...] = ()

    def copy(self) -> Context2:
        """Return another one that knows the same."""
        made = Context2()
        made._targets, made._unobservable = self._targets, self._unobservable
        return made

    def read(self, columns: dict[str, Vector], i: int) -> dict[str, Any]:
        """Return the nested fields of the snapshot in row `i`."""
        if columns["targets"].has(i):
            self._targets = check_targets(_targets(columns["targets"], i))
        if columns["unobservable"].has(i):
            self._unobservable = _gaps(columns["unobservable"], i)
        count = len(self._targets)
        return {
            "targets": self._targets,
            "unobservable": self._unobservable,
            "mappings": _mappings(columns["mappings"], i),
            "schemes": _schemes(columns["schemes"], i, count),
            "monotonic_ns": columns["monotonic_ns"].number(i),
            "running_ns": columns["running_ns"].number(i),
            "page_use": read_use(columns["page_use"], i, count),
            "explored": columns["explored"].number(i),
        }


def check_targets(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return `targets`; raise `BadMessageError` if two have the same id."""
    if len({target.id for target in targets}) != len(targets):
        raise BadMessageError("two targets have the same id")
    return targets


def check_range(start: int, end: int) -> None:
    """Raise `BadMessageError` for a range that ends before it begins."""
    if start > end:
        raise BadMessageError("a range ends before it begins")


def _targets(lists: Vector, i: int) -> tuple[Target, ...]:
    of = lists.children
    return tuple(
        Target(
            id=of["id"].values[at],
            name=text_of(of["name"], at),
            pid=of["pid"].number(at),
            mapped_bytes=of["mapped_bytes"].number(at),
            resident_bytes=of["resident_bytes"].number(at),
            proportional_bytes=of["proportional_bytes"].number(at),
            group=text_of(of["group"], at),
        )
        for at in span(lists, i, layout.MAX_TARGETS)
    )


def _gaps(lists: Vector, i: int) -> tuple[Unobservable, ...]:
    of = lists.children
    found = []
    for at in span(lists, i, layout.MAX_MAPPINGS):
        start, end = of["start"].values[at], of["end"].values[at]
        check_range(start, end)
        reason = text_of(of["reason"], at)
        found.append(Unobservable(of["target_id"].values[at], start, end, reason))
    return tuple(found)


def _mappings(lists: Vector, i: int) -> dict[int, Sequence[Mapping]] | None:
    if not lists.has(i):
        return None
    ids, inner = lists.children["target_id"], lists.children["mappings"]
    found: dict[int, Sequence[Mapping]] = {}
    left = layout.MAX_MAPPINGS
    for at in span(lists, i, layout.MAX_TARGETS):
        target_id = ids.values[at]
        if target_id in found:
            raise BadMessageError("a target has two address maps")
        found[target_id] = _map(inner, at, left)
        left -= len(found[target_id])
    return found


def _map(lists: Vector, i: int, limit: int) -> tuple[Mapping, ...]:
    of = lists.children
    found = []
    for at in span(lists, i, limit):
        start, end = of["start"].values[at], of["end"].values[at]
        check_range(start, end)
        permissions, name = text_of(of["permissions"], at), text_of(of["name"], at)
        found.append(Mapping(start, end, permissions, name))
    return tuple(found)


def _schemes(lists: Vector, i: int, nr_targets: int) -> tuple[SchemeState, ...]:
    of = lists.children
    found = []
    for at in span(lists, i, layout.MAX_SCHEMES):
        score = of["score"].number(at)
        if score is not None and not math.isfinite(score):
            raise BadMessageError("the score of a scheme is no number")
        found.append(
            SchemeState(
                title=text_of(of["title"], at),
                action=text_of(of["action"], at),
                stats=SchemeStats(
                    **{name: of[name].values[at] for name in layout.STATS},
                    errors=_errors(of["errors"], at),
                ),
                effective_bytes=of["effective_bytes"].number(at),
                charged_bytes=of["charged_bytes"].values[at],
                score=score,
                active=of["active"].is_true(at),
                held=of["held"].is_true(at),
                tried=_tried(of["tried"], at, nr_targets),
            )
        )
    return tuple(found)


def _errors(lists: Vector, i: int) -> dict[str, int]:
    keys, values = lists.children["reason"], lists.children["count"]
    places = span(lists, i, layout.MAX_SCHEMES)
    found = {text_of(keys, at): values.values[at] for at in places}
    if len(found) != len(places):
        raise BadMessageError("an error is counted twice")
    return found


def _tried(lists: Vector, i: int, nr_targets: int) -> tuple[TriedRegion, ...]:
    low, high = lists.offsets[i : i + 2]
    members = [lists.children[name].values[low:high] for name in TriedRegion._fields]
    target, start, end, *_ = members
    if not all(map(lt, start, end)) or (target and max(target) >= nr_targets):
        raise BadMessageError("a scheme tried a region that cannot be")
    return tuple(map(TriedRegion, *members))


def check_order(before: int | None, snapshot: Snapshot) -> int:
    """
    Return the index of `snapshot`; raise `BadMessageError` if it does not come after `before`.

    before: the index of the snapshot before, None for the first.
    """
    if before is not None and snapshot.index <= before:
        raise BadMessageError("snapshots are not in order")
    return snapshot.index
