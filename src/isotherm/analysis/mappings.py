"""What memory is called: the names of mappings, and which one an address range belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from isotherm.model.ranges import parts
from isotherm.model.target import Mapping


def title_of_most(mappings: Sequence[Mapping], start: int, end: int) -> str:
    """Return the title of the mapping with most of [start, end); "" where nothing is mapped."""
    shares = [(part.size, mapping) for mapping, part in parts(mappings, start, end)]
    return max(shares, key=lambda share: share[0])[1].title if shares else ""
