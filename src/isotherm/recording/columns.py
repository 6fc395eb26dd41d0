"""Arrow types as recordings use them: what a column is called, holds, and is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "uint32", "uint64", "float64", "bool", "timestamp", "utf8", "list", "struct",
    "fixed", "varied", "null", "fixed_list", "map", "large_list",
]  # fmt: skip

#: Struct format of the items of a kind.
CODES: Final[dict[str, str]] = {
    "uint32": "I",
    "uint64": "Q",
    "float64": "d",
    "timestamp": "q",
}
#: How many buffers a column has of its own; its children have theirs.
BUFFERS: Final[dict[str, int]] = {
    **dict.fromkeys(CODES, 2),
    "bool": 2,
    "utf8": 3,
    "list": 2,
    "struct": 1,
    # Of columns that are not ours to understand, and are passed over:
    "fixed": 2,  # integers, dates, decimals, ... of any width
    "varied": 3,  # binary and text with offsets of any width
    "null": 0,
    "fixed_list": 1,
    "map": 2,
    "large_list": 2,
}


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column, or a part of a nested one.

    name: as in the Arrow schema; kind: its Arrow type (timestamp is in ns, UTC); nullable: whether
    null is a value of it; children: of a list its items, of a struct its members.
    """

    name: str
    kind: Kind
    nullable: bool = False
    children: tuple[Column, ...] = ()

    def fits(self, wanted: Column) -> bool:
        """
        Whether all that `wanted` has is here as well, with the same types.

        Members that `wanted` does not know may come besides, and those that may be null may be
        missing; whether something may be null is not compared.
        """
        if self.kind != wanted.kind:
            return False
        if self.kind != "struct":
            pairs = zip(self.children, wanted.children, strict=True)
            return all(mine.fits(asked) for mine, asked in pairs)
        mine = {child.name: child for child in self.children}
        return len(mine) == len(self.children) and all(
            mine[asked.name].fits(asked) if asked.name in mine else asked.nullable
            for asked in wanted.children
        )


def list_of(name: str, *members: Column, nullable: bool = False) -> Column:
    """Return a list of structs with these members."""
    return Column(name, "list", nullable, (Column("item", "struct", children=members),))


def numbers(name: str, kind: Kind, *, nullable: bool = False) -> Column:
    """Return a list of numbers of this kind."""
    return Column(name, "list", nullable, (Column("item", kind),))
