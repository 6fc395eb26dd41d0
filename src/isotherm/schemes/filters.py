"""Core filters: those that look at a region's place only, and may cut it to have it match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from isotherm.model.scheme import Filter, FilterType, rejects_rest


class Verdict(NamedTuple):
    """
    What a list of core filters says of a region.

    size: of the left part that it is about, in bytes; the rest is to be cut off. out: keep hands
    off; allowed: by a filter that matched, so that ops filters are not asked.
    """

    size: int
    out: bool
    allowed: bool


def match_address(start: int, end: int, bounds: tuple[int, int], unit: int) -> tuple[bool, int]:
    """
    Tell whether a region is inside [bounds), and which left part of it that is said of, in bytes.

    Bounds are aligned down to `unit`. A region that lies across a border is cut there, as
    damos_filter_match() does: a left part outside is no match, one inside is.
    """
    low, high = (bound // unit * unit for bound in bounds)
    if low <= start and end <= high:
        return True, end - start
    if end <= low or high <= start:
        return False, end - start
    if start < low:
        return False, low - start
    return True, high - start


def judge(
    filters: Sequence[Filter], target: int, start: int, end: int, unit: int, *, ops_follow: bool
) -> Verdict:
    """
    Ask core filters in order about region [start, end) of a target (damos_core_filter_out).

    The first that matches decides. If none does, the rest is kept out when the last one allows,
    but for filters of the ops to follow (`ops_follow`), which then decide.
    """
    for rule in filters:
        if rule.type is FilterType.ADDR and rule.bounds is not None:
            inside, size = match_address(start, end, rule.bounds, unit)
            end = start + size
        else:
            inside = rule.target == target
        if inside == rule.matching:
            return Verdict(end - start, out=not rule.allow, allowed=rule.allow)
    return Verdict(end - start, out=rejects_rest(filters) and not ops_follow, allowed=False)


def evaluate(filters: Sequence[Filter], test: Callable[[Filter], bool]) -> bool:
    """
    Tell whether memory passes a list of filters; `test` says whether it is of a filter's type.

    For the filters of the ops, page by page; the rules are those of `judge`.
    """
    for rule in filters:
        if test(rule) == rule.matching:
            return rule.allow
    return not rejects_rest(filters)
