"""What version 1 kept as JSON: targets, ranges that cannot be observed, and address maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import format as layout
from isotherm.recording.batch import Vector
from isotherm.recording.decode import check_range, check_targets
from isotherm.recording.flatbuffer import BadMessageError

_U64: Final = 1 << 64


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > layout.MAX_TEXT_BYTES:
        raise BadMessageError("a name is no text, or too long")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _U64:
        raise BadMessageError("something is no number that can be")
    return value


def _list(value: Any, limit: int, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit or length not in (None, len(value)):
        raise BadMessageError("something is no list, or has not its length")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadMessageError("something is no object")
    return value


def _maybe(value: Any) -> int | None:
    return None if value is None else _number(value)


def _target(entry: Any) -> Target:
    known = _object(entry)
    mapped, resident = (_maybe(known.get(name)) for name in ("mapped_bytes", "resident_bytes"))
    name, pid = _text(known.get("name")), _maybe(known.get("pid"))
    return Target(_number(known.get("id")), name, pid, mapped, resident)


def _gap(entry: Any) -> Unobservable:
    target_id, start, end, reason = _list(entry, 4, 4)
    check_range(_number(start), _number(end))
    return Unobservable(_number(target_id), start, end, _text(reason))


def _mapping(entry: Any) -> Mapping:
    start, end, permissions, name = _list(entry, 4, 4)
    check_range(_number(start), _number(end))
    return Mapping(start, end, _text(permissions), _text(name))


def _mappings(value: Any) -> dict[int, Sequence[Mapping]]:
    found: dict[int, Sequence[Mapping]] = {}
    left = layout.MAX_MAPPINGS
    for key, entries in _object(value).items():
        if not key.isdecimal() or not key.isascii() or len(key) > 20:
            raise BadMessageError("an address map is of no target")
        found[_number(int(key))] = tuple(map(_mapping, _list(entries, left)))
        left -= len(entries)
    return found


def _json(vector: Vector, i: int) -> Any:
    low, high = vector.offsets[i : i + 2]
    try:
        return json.loads(str(vector.text[low:high], "utf-8"))
    except (ValueError, RecursionError):
        raise BadMessageError("JSON of it cannot be read") from None


class Context1:
    """As `decode.Context2`, of version 1."""

    def __init__(self) -> None:
        self._targets: tuple[Target, ...] = ()
        self._unobservable: tuple[Unobservable, ...] = ()

    def read(self, columns: dict[str, Vector], i: int) -> dict[str, Any]:
        """Return the nested fields of the snapshot in row `i`."""
        if columns["targets"].has(i):
            entries = _list(_json(columns["targets"], i), layout.MAX_TARGETS)
            self._targets = check_targets(tuple(map(_target, entries)))
        if columns["unobservable"].has(i):
            entries = _list(_json(columns["unobservable"], i), layout.MAX_MAPPINGS)
            self._unobservable = tuple(map(_gap, entries))
        maps = columns["mappings"]
        return {
            "targets": self._targets,
            "unobservable": self._unobservable,
            "mappings": _mappings(_json(maps, i)) if maps.has(i) else None,
        }
