"""Filters of the ops layer, which look at memory: as rules for a survey, or why they cannot be."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import takewhile
from typing import TYPE_CHECKING

from isotherm import _core
from isotherm.actions.memory import Piece
from isotherm.errors import IsothermError
from isotherm.kernel.cgroupfs import group_inode
from isotherm.kernel.pages import contents
from isotherm.kernel.pages.pagemap import Fact
from isotherm.kernel.privilege import root_hint
from isotherm.model.scheme import Filter, FilterType
from isotherm.model.text import NamePattern
from isotherm.units import U64_MAX

if TYPE_CHECKING:
    from isotherm._core import SurveySources  # exists in the stub only

NEEDS_BPF = (
    "needs the accessed bits of single pages, which only the backend bpf reads "
    "(`isotherm doctor` says what it lacks here)"
)


class RuleTest(IntEnum):
    """What a rule asks of a folio."""

    FACT = _core.TEST_FACT
    SIZE = _core.TEST_SIZE
    CGROUP = _core.TEST_CGROUP
    ABSENT = _core.TEST_ABSENT
    UNDERUSED = _core.TEST_UNDERUSED


_FACTS = {
    FilterType.ANON: Fact.ANON,
    FilterType.ACTIVE: Fact.ACTIVE,
    FilterType.YOUNG: Fact.USED,
    FilterType.IDLE: Fact.USED | Fact.EARLY,  # and the test the other way round
}


#: What any folio passes.
_ANY = RuleTest.SIZE, 0, U64_MAX


def rules(filters: Sequence[Filter], title: str = "") -> array[int]:
    """
    Return the filters as struct survey_rule: test, low, high, matching, allow.

    title: what the mapping is called that they are asked about.
    """
    words = array("Q")
    for rule in filters:
        if rule.type is FilterType.NAME:
            if NamePattern(rule.name).matches(title) == rule.matching:
                words.extend((*_ANY, True, rule.allow))
            continue
        matching = rule.matching is not (rule.type is FilterType.IDLE)
        words.extend((*_test(rule), matching, rule.allow))
    return words


def only_huge(filters: Sequence[Filter]) -> bool:
    """Tell whether small pages are kept out, whatever they are: by a filter `underused`."""
    for rule in filters:
        if rule.type is FilterType.UNDERUSED and not rule.matching:
            return not rule.allow
        if rule.allow:
            return False
    return False


def not_kept_out(filters: Sequence[Filter], pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Leave out pieces that the first filters keep out by name, without a look at memory."""
    first = list(takewhile(lambda rule: rule.type is FilterType.NAME, filters))
    for piece in pieces:
        found = (NamePattern(rule.name).matches(piece.title) == rule.matching for rule in first)
        decided = next((rule for rule, is_it in zip(first, found, strict=True) if is_it), None)
        if decided is None or decided.allow:
            yield piece


def _test(rule: Filter) -> tuple[int, int, int]:
    if rule.type in _FACTS:
        return RuleTest.FACT, _FACTS[rule.type], 0
    if rule.type is FilterType.HUGEPAGE_SIZE and rule.bounds:
        return RuleTest.SIZE, rule.bounds[0], min(rule.bounds[1], U64_MAX)
    if rule.type is FilterType.MEMCG:
        return RuleTest.CGROUP, group_inode(rule.memcg), 0
    if rule.type is FilterType.UNDERUSED and rule.bounds:
        return RuleTest.UNDERUSED, *rule.bounds
    return RuleTest.ABSENT, 0, 0


def why_not(rule: Filter, sources: SurveySources, *, mapped: bool) -> str:
    """
    Say why a filter cannot be evaluated with these sources; "" if it can.

    mapped: a map of pages knows for how long each was idle.
    """
    what = f"filter {rule.type}: "
    if rule.type is FilterType.PROBE_HITS_WSUM:
        return what + "there are no probes in user space (the kernel's DAMON has them from 7.3 on)"
    if rule.type in (FilterType.YOUNG, FilterType.IDLE) and not sources["accessed"]:
        return what + NEEDS_BPF
    if rule.type is FilterType.UNDERUSED:
        if not sources["huge"]:
            return what + "which pages are huge is told by the backend bpf, or Linux 6.7 and later"
        if not contents.can_read():
            return what + "process_vm_readv is forbidden here, by a seccomp filter"
    if rule.type is FilterType.IDLE and not mapped:
        return what + "needs the map of pages, which was not asked for"
    if rule.type in (FilterType.ACTIVE, FilterType.HUGEPAGE_SIZE) and not sources["flags"]:
        return what + f"needs /proc/kpageflags: {root_hint()}"
    if rule.type is FilterType.MEMCG:
        if not sources["cgroups"]:
            return what + "needs /proc/kpagecgroup (root, and a kernel with CONFIG_MEMCG)"
        try:
            group_inode(rule.memcg)
        except IsothermError as err:
            return what + str(err)
    return ""
