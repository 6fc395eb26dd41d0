"""An address map: thousands of mappings in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from operator import eq
from typing import overload

from isotherm.model.target import Mapping


class Mappings(Sequence[Mapping]):
    """
    An immutable address map of 20 bytes a mapping, whose items are made when they are asked for.

    bounds: start and end of each, u64; kinds: u32, which of `texts` is its; texts: (permissions,
    name), of which many mappings share a few. Equal to any sequence of equal mappings.
    """

    __slots__ = ("bounds", "kinds", "texts")

    def __init__(
        self, bounds: array[int], kinds: array[int], texts: Sequence[tuple[str, str]]
    ) -> None:
        self.bounds = bounds
        self.kinds = kinds
        self.texts = texts

    @classmethod
    def of(cls, mappings: Sequence[Mapping]) -> Mappings:
        """Return a sequence of mappings as one of these; itself if it is one."""
        if isinstance(mappings, Mappings):
            return mappings
        bounds, kinds = array("Q"), array("I")
        texts: dict[tuple[str, str], int] = {}
        for mapping in mappings:
            bounds.extend((mapping.start, mapping.end))
            kinds.append(texts.setdefault((mapping.permissions, mapping.name), len(texts)))
        return cls(bounds, kinds, tuple(texts))

    def rows(self) -> Iterator[tuple[int, int, str, str]]:
        """Return start, end, permissions and name of each."""
        rights, names = zip(*self.texts, strict=True) if self.texts else ((), ())
        return zip(
            self.bounds[::2],
            self.bounds[1::2],
            map(rights.__getitem__, self.kinds),
            map(names.__getitem__, self.kinds),
            strict=True,
        )

    def __len__(self) -> int:
        return len(self.kinds)

    @overload
    def __getitem__(self, index: int) -> Mapping: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Mapping, ...]: ...

    def __getitem__(self, index: int | slice) -> Mapping | tuple[Mapping, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        kind = self.kinds[index]
        at = 2 * (index % len(self.kinds))
        return Mapping(self.bounds[at], self.bounds[at + 1], *self.texts[kind])

    def __iter__(self) -> Iterator[Mapping]:
        return (Mapping(*row) for row in self.rows())

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Mappings):
            if self.bounds != other.bounds:
                return False
            if self.texts is other.texts or self.texts == other.texts:
                return self.kinds == other.kinds
            mine, its = (
                map(self.texts.__getitem__, self.kinds),
                map(other.texts.__getitem__, other.kinds),
            )
            return all(map(eq, mine, its))
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Mappings({len(self)})"
