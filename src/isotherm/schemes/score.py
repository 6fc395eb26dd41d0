"""Which regions come first when the quota does not last for all: hot and cold scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from isotherm.core.damon.arithmetic import mult_frac
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Action, Weights

MAX_SCORE = 99
#: 2^32 seconds: the age from which regions are equally old (DAMON_MAX_AGE_IN_LOG).
_MAX_AGE_LOG = 32
_MAX_SUBSCORE = 100
_U32 = 2**32 - 1

Order = Literal["hot", "cold"]

#: Order in which an action takes regions; any other takes them as they come.
KERNEL_ORDER: Mapping[Action, Order] = {
    Action.PAGEOUT: "cold",
    Action.LRU_DEPRIO: "cold",
    Action.MIGRATE_COLD: "cold",
    Action.LRU_PRIO: "hot",
    Action.MIGRATE_HOT: "hot",
}
#: The same for the actions that the kernel takes in order of addresses, though they have a sense.
FULL_ORDER: Mapping[Action, Order] = {
    **KERNEL_ORDER,
    Action.COLD: "cold",
    Action.NOHUGEPAGE: "cold",
    Action.HUGEPAGE: "hot",
    Action.COLLAPSE: "hot",
    Action.WILLNEED: "hot",
}


def hot_score(rate: int, age: int, samples: int, aggr_us: int, weights: Weights) -> int:
    """
    Return how hot a region is, 0..99 (damon_hot_score).

    rate: accesses of a window of `samples`; age: in windows of aggr_us. The weight of the size has
    no effect; without weights every region scores 0. 32-bit arithmetic, as in the kernel.
    """
    frequency = mult_frac(rate, _MAX_SUBSCORE, max(1, samples))
    age_log = min((age * aggr_us // 1_000_000).bit_length(), _MAX_AGE_LOG)
    if not frequency:
        age_log = -age_log
    age_score = (age_log + _MAX_AGE_LOG) * _MAX_SUBSCORE // _MAX_AGE_LOG // 2
    hotness = (weights.access * frequency + weights.age * age_score) & _U32
    divisor = (weights.access + weights.age) & _U32
    if divisor:
        hotness //= divisor
    return max(0, min(MAX_SCORE, hotness * MAX_SCORE // _MAX_SUBSCORE))


def score(order: Order | None, rate: int, age: int, attrs: Attrs, weights: Weights) -> int:
    """Return a region's priority, 0..99, for an action that takes regions in this order."""
    if order is None:
        return MAX_SCORE
    hot = hot_score(rate, age, attrs.samples_per_aggr, attrs.aggr_us, weights)
    return hot if order == "hot" else MAX_SCORE - hot
