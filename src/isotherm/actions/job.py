"""A scheme, as a survey of memory is asked for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isotherm._core import Survey
from isotherm.actions import filters as action_filters
from isotherm.actions.ways import (
    HUGE_BYTES,
    MIN_DENSE_PAGES,
    MIN_PRESENT_PAGES,
    NEVER,
    WAYS,
    Way,
)
from isotherm.kernel.pages import madvise
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Filter, FilterType, Scheme, rejects_rest


@dataclass(frozen=True, slots=True)
class Job:
    """
    A scheme, as a survey is asked for it.

    by_name: its filters, if one asks for names; reads: contents of memory decide; only_huge: small
    pages are kept out.
    """

    scheme: Scheme
    way: Way
    rules: bytes
    reject_rest: bool
    clears_young: bool
    detail: int
    need: Fact
    avoid: Fact
    dry: bool
    idle_ns: int
    age_ns: int
    by_name: tuple[Filter, ...]
    reads: bool
    only_huge: bool

    @classmethod
    def of(cls, scheme: Scheme, *, filtered: bool, look_again: bool, dry: bool) -> Job:
        filters = scheme.ops_filters if filtered else ()
        types = {rule.type for rule in filters}
        way = WAYS[Action.STAT if scheme.own is not None else scheme.action]
        need, avoid = way.need, way.avoid
        if scheme.own is None and scheme.action is not Action.STAT:
            # A page of zeros costs a block nothing that most of its pages do not gain.
            avoid |= NEVER & ~Fact.ZERO if way.blocks else NEVER
        # As the kernel's pageout: who asks about age himself is not asked again.
        look = look_again and not types & {FilterType.YOUNG, FilterType.IDLE}
        if look and way.look == "old":
            avoid |= Fact.USED | Fact.EARLY
        if look and way.look == "young":
            need |= Fact.USED
        return cls(
            scheme,
            way,
            action_filters.rules(filters).tobytes(),
            rejects_rest(filters),
            bool(avoid & Fact.USED) or (FilterType.YOUNG in types and way.look == "old"),
            2 if FilterType.MEMCG in types else 1,
            need,
            avoid,
            dry,
            1000 * scheme.idle_us if filtered else 0,
            _age_ns(scheme),
            filters if FilterType.NAME in types else (),
            FilterType.UNDERUSED in types,
            action_filters.only_huge(filters),
        )

    def about(self, title: str) -> Job:
        """Return the same, as it is asked of a mapping that is called so."""
        if not self.by_name:
            return self
        return replace(self, rules=action_filters.rules(self.by_name, title).tobytes())

    @property
    def action(self) -> Action:
        """What isotherm does itself: nothing in place of an own action."""
        return Action.STAT if self.scheme.own is not None else self.scheme.action

    @property
    def takes_files(self) -> bool:
        """Whether shared mappings of files are acted on: dropping clean pages harms nobody."""
        return self.action is Action.PAGEOUT

    def choose(
        self,
        survey: Survey,
        region: Range,
        need: Fact,
        avoid: Fact,
        contents_of: tuple[int, int] = (0, 0),
    ) -> tuple[bytes, int]:
        """
        Return the runs to act on, and the bytes that the filters let through.

        contents_of: pid and number of the address space; else nothing depends on contents.
        """
        choose = survey.blocks if self.way.blocks else survey.pick
        return choose(
            *region,
            need,
            avoid,
            rules=self.rules,
            reject_rest=self.reject_rest,
            strict=bool(self.scheme.core_filters),
            max_run=self._longest_run(),
            min_present=MIN_PRESENT_PAGES,
            min_dense=MIN_DENSE_PAGES,
            contents_of=contents_of,
        )

    def _longest_run(self) -> int:
        if self.action in (Action.MIGRATE_HOT, Action.MIGRATE_COLD):
            return 1  # each folio has a destination of its own
        return HUGE_BYTES if self.action is Action.NOHUGEPAGE else madvise.CALL_BYTES


def _age_ns(scheme: Scheme) -> int:
    """Return for how long the memory that a scheme is for has been so, 0 if it counts windows."""
    age = scheme.pattern.age
    return 1000 * age.low if age.unit == "us" else 0
