"""Monitoring attributes: intervals, region bounds and the interval goal."""

from dataclasses import dataclass

from isotherm.errors import BadValueError
from isotherm.units import exact_duration

UINT_MAX = 2**32 - 1
#: The most samples an aggregation may hold (damon: nr_accesses is an unsigned int).
MAX_SAMPLES = UINT_MAX


@dataclass(frozen=True, slots=True)
class IntervalsGoal:
    """
    Aim of interval auto-tuning, as damon's intervals_goal.

    access_bp: wanted share of observed accesses among all possible, in 1/10,000; aggrs:
    aggregations per tuning step; min_sample_us, max_sample_us: bounds of the result.
    """

    access_bp: int = 400
    aggrs: int = 3
    min_sample_us: int = 5_000
    max_sample_us: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Attrs:
    """
    How to monitor. Durations are microseconds.

    sample_us: between two looks at a sampled page; aggr_us: a window, after which counters become
    a snapshot; update_us: between two readings of the target's address map. Raises
    `BadValueError` for what damon_set_attrs() refuses with EINVAL.
    """

    sample_us: int = 5_000
    aggr_us: int = 100_000
    update_us: int = 1_000_000
    min_nr_regions: int = 100
    max_nr_regions: int = 1000
    goal: IntervalsGoal | None = None

    def __post_init__(self) -> None:
        if min(self.sample_us, self.aggr_us, self.update_us) < 0:
            raise BadValueError("intervals cannot be negative")
        if self.min_nr_regions < 3:
            raise BadValueError(
                f"at least {self.min_nr_regions} regions are too few",
                hint="the lower bound must be 3 or more",
            )
        if self.min_nr_regions > self.max_nr_regions:
            raise BadValueError(
                f"region bounds {self.min_nr_regions}..{self.max_nr_regions} are upside down"
            )
        if self.sample_us > self.aggr_us:
            raise BadValueError(
                f"sampling interval {exact_duration(self.sample_us)} is longer than "
                f"aggregation interval {exact_duration(self.aggr_us)}",
                hint="an aggregation is made of samples: about 20 of them is usual",
            )
        goal = self.goal
        if goal is not None and goal.aggrs:
            if goal.min_sample_us > goal.max_sample_us:
                raise BadValueError("interval goal: min_sample_us is above max_sample_us")
            if not goal.min_sample_us <= self.sample_us <= goal.max_sample_us:
                raise BadValueError("interval goal: the sampling interval is outside its bounds")

    @property
    def samples_per_aggr(self) -> int:
        """W, the most accesses a region can have in a window; at least 1 (damon-spec 1.3)."""
        return max(1, min(MAX_SAMPLES, self.aggr_us // max(1, self.sample_us)))
