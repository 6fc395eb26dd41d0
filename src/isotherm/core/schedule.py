"""When windows end, and how long they are: the schedule, and interval auto-tuning."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from isotherm.core.damon.arithmetic import mult_frac
from isotherm.model.attrs import Attrs

_BP = 10_000
_U64_MAX = 2**64 - 1


def feed(last_input: int, score_bp: int) -> int:
    """
    Return the next input of a feedback loop (damon_feed_loop_next_input).

    score_bp: achievement of the goal in 1/10,000. Grows by at most the double below the goal,
    shrinks to the floor of 10,000 at twice the goal.
    """
    if score_bp == _BP:
        return last_input
    if score_bp >= 2 * _BP:
        return _BP
    distance = abs(score_bp - _BP)
    if last_input * distance > _U64_MAX:
        change = last_input // _BP * distance
    else:
        change = last_input * distance // _BP
    if score_bp > _BP:
        return max(last_input - change, _BP)
    return min(last_input + change, _U64_MAX)


def events_score(events: int, size_bytes: int, aggr_samples: int, access_bp: int) -> int:
    """
    Return how far observed accesses meet the goal, in 1/10,000 (damon_get_intervals_score).

    events: Σ region size * nr_accesses; size_bytes: Σ region size.
    """
    target = max(1, mult_frac(size_bytes * aggr_samples, access_bp, _BP))
    return mult_frac(events, _BP, target)


def adaptation(score_bp: int) -> int:
    """
    Return the factor for the intervals, in 1/10,000: 5,000 (too many events) to 20,000 (none).

    As damon_get_intervals_adaptation_bp().
    """
    factor = feed(100_000_000, score_bp) // _BP
    return factor if factor >= _BP else _BP // 2 + factor // 2


def tuned(attrs: Attrs, aggr_samples: int, events: int, size_bytes: int) -> Attrs | None:
    """
    Return the attributes with intervals nearer to the goal, or None if they are right.

    As kdamond_tune_intervals(): the number of samples per window stays `aggr_samples`.
    """
    goal = attrs.goal
    if goal is None or not goal.aggrs:
        return None
    factor = adaptation(events_score(events, size_bytes, aggr_samples, goal.access_bp))
    if factor == _BP:
        return None
    sample_us = min(goal.max_sample_us, attrs.sample_us * factor // _BP)
    sample_us = max(goal.min_sample_us, sample_us)
    return replace(attrs, sample_us=sample_us, aggr_us=sample_us * aggr_samples)


def left_window_bp(sis: int, next_aggr: int, samples: int) -> int:
    """Return the share of the window still to come, in 1/10,000; for `RegionTable.mvsum`."""
    return mult_frac(max(0, next_aggr - sis), _BP, samples)


class Due(NamedTuple):
    """When the next window and the next address-map update are due, in passed samples."""

    aggr: int
    update: int


class Schedule:
    """
    What is due when, counted in passed sampling intervals ("sis"), as kdamond_fn().

    sis: passed since the start; aggr_samples: samples per window as the user set them, which
    tuning keeps.
    """

    def __init__(self, attrs: Attrs) -> None:
        self.sis = 0
        self.next_aggr = attrs.samples_per_aggr
        self.next_update = self._update_samples(attrs)
        self.aggr_samples = attrs.samples_per_aggr
        self.next_tune = self._tune_samples(attrs)

    @staticmethod
    def _update_samples(attrs: Attrs) -> int:
        return max(1, attrs.update_us // max(1, attrs.sample_us))

    def _tune_samples(self, attrs: Attrs) -> int:
        return self.aggr_samples * attrs.goal.aggrs if attrs.goal else 0

    @property
    def aggregating(self) -> bool:
        """Whether a window is under way."""
        return self.sis < self.next_aggr

    def latch(self) -> Due:
        """Return what is due; changes made meanwhile act from the next iteration on."""
        return Due(self.next_aggr, self.next_update)

    def commit(self, attrs: Attrs) -> None:
        """Begin anew with attributes that the user set (damon_set_attrs)."""
        self.next_aggr = self.sis + attrs.samples_per_aggr
        self.next_update = self.sis + self._update_samples(attrs)
        self.aggr_samples = attrs.samples_per_aggr
        self.next_tune = self.sis + self._tune_samples(attrs)

    def tune_due(self, due: Due, attrs: Attrs) -> bool:
        """Tell, at a window's end, whether it is time to tune; if so, plan the next time."""
        if not attrs.goal or not attrs.goal.aggrs or self.sis < self.next_tune:
            return False
        self.next_aggr = due.aggr
        self.next_tune += self._tune_samples(attrs)
        return True

    def retime(self, old: Attrs, new: Attrs) -> None:
        """
        Follow tuned intervals.

        The address-map update keeps its time. The kernel restarts its count, so that a tuning
        period shorter than update_us puts the update off for ever.
        """
        self.next_aggr = self.sis + new.samples_per_aggr
        left = max(0, self.next_update - self.sis) * old.sample_us // max(1, new.sample_us)
        self.next_update = self.sis + left

    def end_window(self, due: Due, attrs: Attrs) -> None:
        """Plan the next window."""
        self.next_aggr = due.aggr + attrs.samples_per_aggr

    def end_update(self, attrs: Attrs, least: int = 0) -> None:
        """Plan the next address-map update; least: of so many samples at the least."""
        self.next_update = self.sis + max(least, self._update_samples(attrs))
