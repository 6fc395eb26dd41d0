"""In which order lists stand, for all views that have some: --sort."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from isotherm.analysis.hotness import Heat
from isotherm.analysis.page_use import Part
from isotherm.analysis.regions import NamedRegion
from isotherm.errors import BadValueError, quoted
from isotherm.report.view import Option

T = TypeVar("T")
Keys = Mapping[str, Callable[[T], Any]]
#: Keys of which the least comes first; of all others the most does.
_ASCENDING: Final = ("address", "name")


@dataclass(frozen=True, slots=True)
class Sort:
    """An order: by this key, the other way round if asked."""

    key: str
    reverse: bool

    def ordered(self, items: Iterable[T], keys: Keys[T]) -> list[T]:
        """
        Return items in this order, equal ones as they were; those of which it is not known last.

        keys: what a view can sort by. Raises `BadValueError` for another key.
        """
        of = keys.get(self.key)
        if of is None:
            raise BadValueError(
                f"this cannot be sorted by {quoted(self.key)}", hint=f"by {', '.join(keys)}"
            )
        known: list[T] = []
        unknown: list[T] = []
        for item in items:
            (unknown if of(item) is None else known).append(item)
        descending = (self.key not in _ASCENDING) != self.reverse
        return sorted(known, key=of, reverse=descending) + unknown


def parse_sort(text: str) -> Sort:
    """Return the order of "size", or of "-size", which is the other way round."""
    return Sort(text.removeprefix("-").strip().lower(), text.startswith("-"))


#: Views that share it name the keys that they have.
SORT: Final = Option(
    "--sort", "KEY", "order of lists: size, name, used, idle, access, age ...; -KEY: reversed.",
    parse_sort,
)  # fmt: skip

REGION_KEYS: Final[Keys[NamedRegion]] = {
    "address": lambda entry: (entry.target.id, entry.region.start),
    "size": lambda entry: entry.region.size,
    "access": lambda entry: entry.share,
    "age": lambda entry: entry.age_ns,
    "idle": lambda entry: entry.idle_ns,
    "used": lambda entry: entry.region.used,
    "unknown": lambda entry: entry.region.unobservable,
    "name": lambda entry: entry.what,
}
HEAT_KEYS: Final[Keys[Heat]] = {
    "size": lambda heat: heat.size,
    "used": lambda heat: heat.hot + heat.warm,
    "idle": lambda heat: heat.idle,
    "unknown": lambda heat: heat.unobservable,
    "name": lambda heat: heat.name,
}


def part_keys(used: int, idle: Callable[[Part], int | None]) -> Keys[Part]:
    """
    Return the keys of parts of what a map of pages knows.

    used: the place of the window that "used" is about; idle: says how much of a part is idle.
    """
    return {
        "size": lambda part: part.row.resident,
        "used": lambda part: part.row.used[used] if part.row.used else None,
        "idle": idle,
        "unknown": lambda part: part.unknown,
        "name": lambda part: part.name,
    }
