"""
What the policy "sentinels" learns from its sentinels, as _native/sentinels/learn.c does it.

A sentinel is a clump of pages whose accessed bits were cleared. It counts first accesses since
then (hits) and the page-seconds in which they could have happened (risk), apart for three ages:
until 80 ms after the clear, until 1.28 s, longer. `known` is believed, `fresh` is of the last
quarter of a second. Gains are log likelihoods, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

AGES = 3
#: How many choices of a place there are (explore, bisect, edge, watch).
POOLS = 4
HUGE, BLIND, READ, PROVISIONAL = 1, 2, 8, 16
_TINY = 1e-12
_CHANGE_PENALTY, _CHANGE_GAIN = 4.0, 6.0
_SEGMENT_PENALTY, _MERGE_GAIN, _MERGE_PASSES = 2.5, 7.0, 24
_SURE_HITS, _SURE_RISK = 3.0, 0.05
_RATE_HITS = 8.0
_WITNESSES = 4.0
_QUIET_S = 0.15
_PROVISIONAL_WAIT_S, _PROVISIONAL_RISK_S = 0.15, 0.3
_SURPRISE = 2.0
_LN2 = 0.69314718055994530942
_NORMAL_95 = 1.959963984540054

Numbers = list[float]


def log(x: float) -> float:
    """Return the natural logarithm to 1e-8, in sums that are the same on every machine."""
    value, exponent = math.frexp(x)
    if value < 0.70710678118654752440:
        value, exponent = value * 2, exponent - 1
    s = (value - 1) / (value + 1)
    q = s * s
    total = 1.0 / 9 * q + 1.0 / 7
    for term in (1.0 / 5, 1.0 / 3, 1.0):
        total = total * q + term
    return 2 * s * total + exponent * _LN2


def likelihood(hits: Sequence[float], risk: Sequence[float]) -> float:
    """Return the log likelihood of one rate for each age, but for what no rate changes."""
    total = 0.0
    for h, r in zip(hits, risk, strict=True):
        if h > 0:
            total += h * log(h / (r + _TINY)) - h
    return total


def gain(hits: float, expected: float, basis: float) -> float:
    """Return how much likelier another rate makes `hits` than one that rests on `basis` hits."""
    apart = (hits + basis) * log((hits + basis) / (expected + basis + _TINY))
    return (hits * log(hits / (expected + _TINY)) if hits > 0 else 0.0) - apart


def _zeros() -> Numbers:
    return [0.0] * AGES


@dataclass(slots=True)
class Evidence:
    """Hits and risk by age."""

    hits: Numbers = field(default_factory=_zeros)
    risk: Numbers = field(default_factory=_zeros)

    def add(self, other: Evidence) -> None:
        for i in range(AGES):
            self.hits[i] += other.hits[i]
            self.risk[i] += other.risk[i]

    def plus(self, other: Evidence) -> Evidence:
        total = Evidence(list(self.hits), list(self.risk))
        total.add(other)
        return total

    @property
    def all_hits(self) -> float:
        return self.hits[0] + self.hits[1] + self.hits[2]

    @property
    def all_risk(self) -> float:
        return self.risk[0] + self.risk[1] + self.risk[2]

    @property
    def likelihood(self) -> float:
        return likelihood(self.hits, self.risk)


@dataclass(slots=True)
class Sentinel:
    """
    What the learn pass knows of a sentinel.

    place: of its first page; pages: how many; touched: pages first accessed since the last pass,
    and waited_s how long after the clear.
    """

    place: int
    pages: int = 16
    flags: int = 0
    pool: int = 0
    touched: int = 0
    waited_s: float = 0.0
    known: Evidence = field(default_factory=Evidence)
    fresh: Evidence = field(default_factory=Evidence)


@dataclass(slots=True)
class Segment:
    """Sentinels [first, end) that are used alike: accesses of a page a second, 95 % bounds."""

    first: int
    end: int
    sum: Evidence
    start: int = 0
    last: int = 0
    rate: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def rated(self) -> None:
        """By the shortest ages that tell enough: long idle pages are unlike the rest."""
        hits = risk = 0.0
        for i in range(AGES):
            if hits >= _RATE_HITS:
                break
            hits += self.sum.hits[i]
            risk += self.sum.risk[i]
        self.rate = hits / (risk + _TINY)
        self.high = _gamma_end(hits + 0.5, _NORMAL_95) / (risk + _TINY)
        self.low = min(self.rate, _gamma_end(hits + 0.5, -_NORMAL_95) / (risk + _TINY))


def _gamma_end(shape: float, normal: float) -> float:
    root = 1 - 1 / (9 * shape) + normal / (3 * math.sqrt(shape))
    return shape * root * root * root if root > 0 else 0.0


@dataclass(slots=True)
class Leaf:
    """Neighbours [first, end) and what they sum up to."""

    first: int
    end: int
    hits: Numbers
    risk: Numbers
    best: float = 0.0
    halves: tuple[Leaf, Leaf] | None = None


def pyramid(leaves: list[Leaf], ages: int, penalty: float) -> list[Leaf]:
    """
    Return the best cut into neighbours that are alike.

    Neighbours are paired, pairs are paired, and so on; a pair stays whole unless its halves are
    better by more than the penalty. `ages`: how many of the numbers count.
    """

    def own(node: Leaf) -> float:
        return likelihood(node.hits[:ages], node.risk[:ages])

    for leaf in leaves:
        leaf.best = own(leaf)
    level = leaves
    while len(level) > 1:
        above: list[Leaf] = []
        for a, b in zip(level[::2], level[1::2], strict=False):
            hits = [x + y for x, y in zip(a.hits, b.hits, strict=True)]
            risk = [x + y for x, y in zip(a.risk, b.risk, strict=True)]
            node = Leaf(a.first, b.end, hits, risk, halves=(a, b))
            node.best = max(own(node), a.best + b.best - penalty)
            above.append(node)
        level = above + level[len(level) // 2 * 2 :]
    found: list[Leaf] = []
    stack = list(level)
    while stack:
        node = stack.pop()
        halves = node.halves
        if halves is not None and halves[0].best + halves[1].best - penalty > own(node):
            stack += [halves[1], halves[0]]
        else:
            found.append(node)
    return found


class Learner:
    """Goes over the sentinels in address order, again and again."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.changes: list[tuple[int, int]] = []
        self.surprise = [0.0] * POOLS

    def learn(self, sentinels: list[Sentinel], weight: float, memory: float) -> None:
        """
        Learn, and change what is known and fresh of the sentinels.

        weight: of fresh evidence that stays fresh; memory: of believed that stays believed.
        """
        self._find_surprises(sentinels)
        self._find_changes(sentinels)
        for sentinel in sentinels:
            _fold(sentinel, weight, memory)
        self._find_segments(sentinels)

    def _segment(self, place: int) -> Segment | None:
        before = [segment for segment in self.segments if segment.start <= place]
        return before[-1] if before else next(iter(self.segments), None)

    def _find_surprises(self, sentinels: list[Sentinel]) -> None:
        """By how much the newly armed are unlike their segments; here everybody votes."""
        for s in sentinels:
            segment = self._segment(s.place)
            if not s.flags & READ or s.flags & BLIND or segment is None or s.known.all_risk > 0:
                continue
            expected = 0.0
            for i in range(AGES):
                rate = (segment.sum.hits[i] + 0.5) / (segment.sum.risk[i] + 1)
                expected += s.fresh.risk[i] * rate
            nats = gain(s.fresh.all_hits, expected, segment.sum.all_hits + 0.5)
            if nats > _SURPRISE:
                self.surprise[s.pool] += nats - _SURPRISE

    def _find_changes(self, sentinels: list[Sentinel]) -> None:
        """Where fresh hits are not what was expected: there, beliefs are forgotten."""
        voters = [i for i, s in enumerate(sentinels) if _has_opinion(s)]
        votes = [
            Leaf(at, at + 1, *_vote(sentinels[i], self._segment(sentinels[i].place)))
            for at, i in enumerate(voters)
        ]
        leaves = pyramid(votes, 1, _CHANGE_PENALTY)
        needed = _CHANGE_GAIN + log(1.0 + len(leaves))
        for leaf in leaves:
            (hits, basis), (expected, quiet, pages) = leaf.hits, leaf.risk
            up = hits > 2 * expected + 1
            # A program that is held up for a moment has not changed.
            down = hits < expected / 2 - 0.5 and quiet >= _QUIET_S * pages
            if not (up or down) or gain(hits, expected, basis) <= needed:
                continue
            own = votes[leaf.first : leaf.end]
            if up:
                # Around what is busier may lie memory that expected nothing and saw nothing.
                busier = [i for i, vote in enumerate(own) if vote.hits[0] > vote.risk[0]]
                own = own[busier[0] : busier[-1] + 1]
            members = sentinels[voters[own[0].first] : voters[own[-1].first] + 1]
            all_hits = all_risk = 0.0
            for s in members:
                all_hits += s.known.all_hits
                all_risk += s.known.all_risk
            for s in members:
                known, risk = s.known.all_hits, s.known.all_risk
                if up or (known >= 1 and known * (all_risk + _TINY) * 2 > all_hits * risk):
                    _forget(s, up=up)
            self.changes.append((members[0].place, members[-1].place))

    def _find_segments(self, sentinels: list[Sentinel]) -> None:
        leaves = []
        for i, s in enumerate(sentinels):
            total = Evidence() if s.flags & BLIND else s.known.plus(s.fresh)
            leaves.append(Leaf(i, i + 1, total.hits, total.risk))
        found = pyramid(leaves, AGES, _SEGMENT_PENALTY)
        self.segments = _merged(
            [Segment(leaf.first, leaf.end, Evidence(leaf.hits, leaf.risk)) for leaf in found]
        )
        for segment in self.segments:
            segment.start = sentinels[segment.first].place
            segment.last = sentinels[segment.end - 1].place
            segment.rated()


def _has_opinion(s: Sentinel) -> bool:
    """A find in a segment that knows nothing of it is no change: it would be forgotten at once."""
    hits, risk = s.known.all_hits, s.known.all_risk
    seen = s.flags & READ and not s.flags & BLIND
    return bool(seen and (hits >= _SURE_HITS or risk >= _SURE_RISK * s.pages))


def _vote(s: Sentinel, segment: Segment | None) -> tuple[Numbers, Numbers]:
    """Return hits and those that the expectation rests on; expected ones, fresh risk, pages."""
    hits, risk = s.known.all_hits, s.known.all_risk
    sure = hits >= _SURE_HITS
    expected = 0.0
    for i in range(AGES):
        prior = hits / (risk + _TINY)
        if not sure:
            prior = 0.5
            if segment is not None:
                prior = (segment.sum.hits[i] + 0.5) / (segment.sum.risk[i] + 1)
        rate = (s.known.hits[i] + 0.5) / (s.known.risk[i] + 0.5 / (prior + 1e-9))
        expected += s.fresh.risk[i] * rate
    # Pages side by side are often accessed together: they are not so many witnesses.
    weight = _WITNESSES / s.pages if s.pages > _WITNESSES else 1.0
    return (
        [s.fresh.all_hits * weight, (hits + 0.5) * weight],
        [expected * weight, s.fresh.all_risk, float(s.pages)],
    )


def _forget(s: Sentinel, *, up: bool) -> None:
    """
    Forget what is believed.

    What is fresh is of since the clear. Long after it that may be of before the change, and would
    dilute what follows; that nothing happened since is what has changed, if use has ended.
    """
    s.known = Evidence()
    if not up or (s.touched and s.waited_s <= _PROVISIONAL_WAIT_S):
        return
    s.fresh = Evidence()
    if s.touched:
        # One first access proves one access; only a sentinel that is armed again proves a rate.
        s.known.hits[1] = float(s.touched)
        s.known.risk[1] = s.pages * min(s.waited_s, _PROVISIONAL_RISK_S)
        s.flags |= PROVISIONAL


def _fold(s: Sentinel, weight: float, memory: float) -> None:
    for mine, fresh in ((s.known.hits, s.fresh.hits), (s.known.risk, s.fresh.risk)):
        for i in range(AGES):
            mine[i] = (mine[i] + (1 - weight) * fresh[i]) * memory
            fresh[i] *= weight
    s.flags &= ~READ
    s.touched = 0


def _merged(segments: list[Segment]) -> list[Segment]:
    """Join neighbours that are alike, the most alike of a neighbourhood first."""
    for _ in range(_MERGE_PASSES):
        gains = [
            a.sum.likelihood + b.sum.likelihood - a.sum.plus(b.sum).likelihood
            for a, b in pairwise(segments)
        ]
        kept: list[Segment] = []
        i = 0
        while i < len(segments):
            near = gains[max(0, i - 1) : i + 2]
            if i < len(gains) and gains[i] < _MERGE_GAIN and gains[i] == min(near):
                joined = segments[i].sum.plus(segments[i + 1].sum)
                kept.append(Segment(segments[i].first, segments[i + 1].end, joined))
                i += 1
            else:
                kept.append(segments[i])
            i += 1
        if len(kept) == len(segments):
            break
        segments = kept
    return segments


def share(segment: Segment, window_s: float) -> float:
    """Return the share of a segment's pages that are accessed within a time."""
    ends = (0.0, 0.08, 1.28, math.inf)
    total = 0.0
    for i in range(AGES):
        if window_s <= ends[i]:
            break
        length = min(window_s, ends[i + 1]) - ends[i]
        risk = segment.sum.risk[i]
        total += length * (segment.sum.hits[i] / risk if risk > 1e-3 else segment.rate)
    return 1 - math.exp(-total)
