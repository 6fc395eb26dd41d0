"""A scheme at work: its quota, its watermarks, and what came of it."""

from __future__ import annotations

from collections import Counter

from isotherm.core.act import Done
from isotherm.core.damon.profile import NEWEST, Profile
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Limits, Scheme
from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.schemes.quota import QuotaState
from isotherm.schemes.watermarks import WatermarkState


class Running:
    """
    A scheme and what happened to it.

    limits: its pattern in the counts of the attributes in force; next_apply: when it is due, in
    passed samples.
    """

    def __init__(self, index: int, scheme: Scheme, unit: int, profile: Profile = NEWEST) -> None:
        self.index = index
        self.scheme = scheme
        self.core_filters = scheme.core_filters
        self.quota = QuotaState(scheme.quota, unit, profile)
        self.marks = WatermarkState(scheme.watermarks)
        self.next_apply = 0
        self.nr_snapshots = 0
        self._nr_tried = self._tried_bytes = 0
        self._nr_applied = self._applied_bytes = self._passed_bytes = 0
        self._errors: Counter[str] = Counter()
        self._tried: list[TriedRegion] = []
        self._limits: tuple[Attrs, Limits] | None = None

    def commit(self, scheme: Scheme) -> None:
        """Take a changed scheme; statistics and charges stay."""
        if scheme.quota != self.scheme.quota:
            self.quota.commit(scheme.quota)
        self.marks.marks = scheme.watermarks
        self.scheme = scheme
        self.core_filters = scheme.core_filters
        self._limits = None

    def plan(self, attrs: Attrs, sis: int) -> None:
        """Be due an apply interval from now."""
        interval = self.scheme.apply_interval_us or attrs.aggr_us
        self.next_apply = sis + interval // max(1, attrs.sample_us)

    def limits(self, attrs: Attrs) -> Limits:
        """Return the pattern in the counts of these attributes."""
        if self._limits is None or self._limits[0] is not attrs:
            self._limits = attrs, self.scheme.pattern.limits(attrs)
        return self._limits[1]

    @property
    def exhausted(self) -> bool:
        """Whether it has made all the snapshots it may."""
        most = self.scheme.max_nr_snapshots
        return bool(most) and self.nr_snapshots >= most

    @property
    def held(self) -> bool:
        """Whether a guard lets nothing be done."""
        return self.quota.share <= 0

    def count_empty(self) -> None:
        """Count a try for which the quota left nothing."""
        self._nr_tried += 1

    def count(self, tried: TriedRegion, done: Done) -> None:
        """Count a try, and what was done."""
        self._nr_tried += 1
        self._tried_bytes += tried.size
        self._nr_applied += done.applied_bytes > 0
        self._applied_bytes += done.applied_bytes
        self._passed_bytes += done.passed_bytes
        if done.errors:
            self._errors.update(done.errors)
        self._tried.append(tried)

    def take_state(self) -> SchemeState:
        """Return what came of it, and the regions tried since the last call."""
        tried, self._tried = tuple(self._tried), []
        return self.state(tried)

    def state(self, tried: tuple[TriedRegion, ...] = ()) -> SchemeState:
        """Return what came of it."""
        quota = self.quota
        return SchemeState(
            title=self.scheme.title,
            action=self.scheme.does,
            stats=SchemeStats(
                nr_tried=self._nr_tried,
                sz_tried=self._tried_bytes,
                nr_applied=self._nr_applied,
                sz_applied=self._applied_bytes,
                sz_ops_filter_passed=self._passed_bytes,
                qt_exceeds=quota.exceeded,
                nr_snapshots=self.nr_snapshots,
                errors=dict(sum((goal.errors for goal in quota.goals), self._errors.copy())),
            ),
            effective_bytes=quota.limit if quota.is_set else None,
            charged_bytes=quota.charged,
            score=None if quota.score_bp is None else quota.score_bp / 10_000,
            active=self.marks.active,
            held=self.held,
            tried=tried,
        )
