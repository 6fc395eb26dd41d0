"""A quota at work: what was charged, what is allowed, where to go on in the next window."""

from __future__ import annotations

from collections.abc import Collection

from isotherm.core.damon.arithmetic import mult_frac
from isotherm.core.damon.profile import NEWEST, Profile
from isotherm.model.scheme import Quota
from isotherm.schemes.goals import GoalState, Metrics, score_bp, tuned_bp
from isotherm.units import U64_MAX

#: Bytes per ms that actions are thought to achieve before any was timed (PAGE_SIZE * 1024).
FIRST_THROUGHPUT = 4096 * 1024


class QuotaState:
    """
    What happened to a quota, by the rules of damos_adjust_quota() and its helpers.

    effective: bytes allowed per window; charged: of this window; exceeded: windows that were used
    up; failed_tries: of this window, in a row; share: of the effective quota that
    a guard leaves, 0..1; (resume_target, resume_address): where the next window goes on, if this
    one was used up.
    """

    def __init__(self, quota: Quota | None, unit: int, profile: Profile = NEWEST) -> None:
        self._unit = unit
        self._profile = profile
        self.effective = 0
        self.charged = 0
        self.total_charged = 0
        self.total_charged_ns = 0
        self.size_bp = 0
        self.score_bp: int | None = None
        self.share = 1.0
        self.min_score = 0
        self.resume_target: int | None = None
        self.resume_address = 0
        self.failed_tries = 0
        self.exceeded = 0
        self._begun_ms: int | None = None
        self.goals: list[GoalState] = []
        self._forgiven_ms = 0
        self.commit(quota)

    def commit(self, quota: Quota | None) -> None:
        """
        Take a changed quota; what was charged stays, goals begin anew.

        But for pressure where its first look is not neutral: all since boot would count again.
        """
        before = self.goals
        self.quota = quota or Quota()
        self.goals = [GoalState(goal, self._profile) for goal in self.quota.goals]
        if not self._profile.psi_starts_neutral:
            for old, new in zip(before, self.goals, strict=False):
                new.go_on_from(old)

    @property
    def is_set(self) -> bool:
        """Whether the quota is in force (damos_quota_is_set)."""
        asked = self._profile.quota_holds_from_start and self.quota.limits
        return asked or bool(self.effective)

    @property
    def limit(self) -> int:
        """Bytes allowed in this window, the guard's part taken off."""
        return self.effective if self.share >= 1 else int(self.effective * self.share)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be done in this window (damos_quota_is_full)."""
        if not self.is_set:
            return self.share < 1
        least = self._unit if self._profile.fills_below_unit else 1
        return self.limit - self.charged < least

    def adjust(self, now_ms: int, metrics: Metrics) -> bool:
        """Begin a window if it is time; tell whether the effective size was set or changed."""
        if now_ms >= self._forgiven_ms + self.quota.reset_ms:  # without limits there is no window
            self._forgiven_ms, self.failed_tries = now_ms, 0
        if not self.quota.limits:
            return False
        before: int | None = self.effective
        if not self.total_charged and self._begun_ms is None:
            self._begun_ms = now_ms
            if self._profile.computes_first_window:
                before = None
                self._set_effective(metrics)
        if now_ms >= (self._begun_ms or 0) + self.quota.reset_ms:
            self.exceeded += self.is_full
            self.total_charged += self.charged
            self._begun_ms, self.charged = now_ms, 0
            self._set_effective(metrics)
        return before is None or before != self.effective

    def _set_effective(self, metrics: Metrics) -> None:
        """Compute what the new window allows (damos_set_effective_quota)."""
        quota = self.quota
        if not quota.time_ms and not quota.goals:
            self.effective = quota.size_bytes
            return
        size = U64_MAX
        if self.goals:
            self.score_bp = score_bp(self.goals, metrics, quota.tuner, self.effective)
            self.size_bp = tuned_bp(quota, self.size_bp, self.score_bp)
            size = self.size_bp // 10_000
        if quota.time_ms:
            size = min(size, max(self._unit, self._throughput() * quota.time_ms))
        if quota.size_bytes:
            size = min(size, quota.size_bytes)
        self.effective = size

    def _throughput(self) -> int:
        """Bytes per ms over the whole life so far."""
        if not self.total_charged_ns:
            return FIRST_THROUGHPUT
        return mult_frac(self.total_charged, 1_000_000, self.total_charged_ns)

    def charge(self, size: int, applied: int) -> None:
        """Charge a try on `size` bytes of which `applied` were treated (damos_charge_quota)."""
        share, whole = self.quota.fail_charge
        if not whole or applied > size:
            self.charged += size
        else:
            self.charged += applied + mult_frac(size - applied, share, whole)

    def resume_at(self, target: int, address: int) -> None:
        """Remember where the next window goes on."""
        self.resume_target, self.resume_address = target, address

    def forget_mark_outside(self, targets: Collection[int]) -> None:
        """Begin anew if the target to go on with is gone: others would be left out for ever."""
        if self.resume_target not in targets:
            self.resume_target, self.resume_address = None, 0

    def skips(self, target: int, start: int, end: int, *, is_last: bool) -> tuple[bool, int]:
        """
        Tell whether a region was had in the window before, and after how many bytes to cut it.

        As damos_skip_charged_region(): targets and addresses before the mark are left out; the
        mark is gone behind it, and at the latest with its target's last region.
        """
        if self.resume_target is None:
            return False, 0
        if target != self.resume_target:
            return True, 0
        left = 0
        if start < self.resume_address < end:
            left = (self.resume_address - start) // self._unit * self._unit
            left = left or min(self._unit, end - start)
            left = 0 if left == end - start else left
        skipped = start < self.resume_address
        if not skipped or (is_last and not left):
            self.resume_target, self.resume_address = None, 0
        return skipped, left
