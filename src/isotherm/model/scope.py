"""Which addresses are monitored, in the terms of DAMON's operations sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from isotherm.errors import BadValueError
from isotherm.model.ranges import Range, aligned

Operations = Literal["vaddr", "fvaddr", "paddr"]
OPERATIONS: tuple[Operations, ...] = get_args(Operations)


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What of memory to look at.

    operations: "vaddr" follows the address maps of processes, "fvaddr" stays within `ranges` of
    one process, "paddr" within `ranges` of physical memory, all of it where there are none.
    ranges: bytes, of whole pages, in order of address and apart.
    """

    operations: Operations = "vaddr"
    ranges: tuple[Range, ...] = ()


def scope_of(
    operations: str | None = None, ranges: Iterable[tuple[int, int]] | None = None
) -> Scope:
    """
    Return the scope that was asked for, ranges in order and aligned outwards to pages.

    Raises `BadValueError` for unknown operations, ranges that are empty or overlap, "vaddr" with
    ranges and "fvaddr" without.
    """
    name = next((known for known in OPERATIONS if known == (operations or "vaddr")), None)
    if name is None:
        raise BadValueError(
            f"no operations set {operations!r}", hint=f"there are {', '.join(OPERATIONS)}"
        )
    given = sorted(ranges or ())
    for start, end in given:
        if not 0 <= start < end <= 1 << 64:
            raise BadValueError(
                f"{start:#x}-{end:#x} is no range of addresses",
                hint="it ends above its start, and below 2^64",
            )
    pages = tuple(aligned(start, end) for start, end in given)
    for before, after in pairwise(pages):
        if before.end > after.start:
            raise BadValueError(
                f"ranges overlap: {before.start:#x}-{before.end:#x} and "
                f"{after.start:#x}-{after.end:#x}, in whole pages"
            )
    if name == "vaddr" and pages:
        raise BadValueError(
            "vaddr follows the address maps of processes: it takes no ranges",
            hint="fvaddr stays within ranges of a process, paddr within those of physical memory",
        )
    if name == "fvaddr" and not pages:
        raise BadValueError(
            "fvaddr stays within given ranges, and there are none",
            hint="give some, such as 0x7f0000000000-0x7f0010000000",
        )
    return Scope(name, pages)
