"""DAMON's arithmetic: fractions as the kernel rounds them, and ranges divided evenly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from isotherm.model.ranges import aligned, total


def mult_frac(x: int, n: int, d: int) -> int:
    """Return n/d of x, rounded as the kernel's helper of this name does."""
    return x // d * n + x % d * n // d


def evenly(start: int, end: int, nr: int, unit: int) -> list[tuple[int, int]]:
    """
    Divide a range into `nr` equal pieces, the last takes what is left over.

    As damon_va_evenly_split_region(); a range that is too small for so many, or none, stays whole.
    """
    size = (end - start) // nr // unit * unit if nr else 0
    if not size:
        return [(start, end)]
    return list(pairwise([*range(start, start + nr * size, size), end]))


def divided(ranges: Sequence[tuple[int, int]], min_nr: int, unit: int) -> list[tuple[int, int]]:
    """
    Divide ranges, aligned outwards, into about `min_nr` pieces (__damon_va_init_regions of 6.12).

    Each range for itself; one that is smaller than such a piece stays whole.
    """
    whole = [aligned(start, end, unit) for start, end in ranges]
    piece = max(total(whole) // max(1, min_nr), unit)
    return [part for a, b in whole for part in evenly(a, b, (b - a) // piece, unit)]
