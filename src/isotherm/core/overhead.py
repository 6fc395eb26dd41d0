"""
Keeps the monitor within its share of CPU: intervals become longer, and many targets take turns.

A tick costs the same whatever its length: waking up, a look at each region. Twice the sampling
interval is half the cost. The samples of a window stay as many, so counts mean the same. Of many
targets that is not enough, and windows would become too long to see who comes: then only some of
them are looked at in each window.
"""

from __future__ import annotations

from dataclasses import replace

from isotherm.model.attrs import Attrs
from isotherm.model.snapshot import Snapshot

#: Decide after so many windows, and not before so much time: single windows are noisy.
_WINDOWS = 5
_SPAN_NS = 1_000_000_000
#: The first time: what the intervals cost here is not known, and may be many times too much.
_FIRST_WINDOWS = 3
_FIRST_SPAN_NS = 300_000_000
#: A step so long the first time, and of many targets wherever it costs so many times too much; of
#: few that is more likely a sum of the map of pages, which comes seldom.
_FIRST_STEP = 8.0
_FAR_TOO_MUCH = 2.0
#: Between these shares of the target nothing changes.
_TOO_MUCH = 0.95
_TOO_LITTLE = 0.62
#: One step changes the interval by no more than this factor.
_STEP = 2.0
#: Intervals are multiples of this, and at most so many times the shortest.
_GRAIN_US = 500
_LONGEST = 20
#: Of at least so many targets some rest before intervals are longer than so many times the
#: shortest, and the least part of them that is looked at in a window.
_MANY = 32
_LONG = 10
_LEAST = 1 / 64


class Governor:
    """
    Watches what snapshots cost, and says when the intervals should change.

    share: of one CPU to stay under; shortest: attributes with the shortest wanted intervals;
    turns: whether it may have targets take turns.

    Invariants: the sampling interval is between that of `shortest` and twenty times it; the ratio
    of aggregation to sampling interval is that of `shortest`.
    """

    def __init__(self, share: float, shortest: Attrs, *, turns: bool = False) -> None:
        self._share = share
        self._shortest = shortest
        self._takes_turns = turns
        #: The part of all targets that is looked at in a window from now on.
        self.turns = 1.0
        self._first = True
        self._forget()

    def observe(self, snapshot: Snapshot, thread_cpu_ns: int, attrs: Attrs) -> Attrs | None:
        """
        Take a snapshot's cost; return the attributes to go on with, or None for no change.

        thread_cpu_ns: CPU time of the monitoring thread since the snapshot before, the reader's
        part included; attrs: those in force.
        """
        self._windows += 1
        self._wall_ns += max(1, snapshot.end_ns - snapshot.start_ns)
        self._cpu_ns += thread_cpu_ns
        windows, span_ns = (
            (_FIRST_WINDOWS, _FIRST_SPAN_NS) if self._first else (_WINDOWS, _SPAN_NS)
        )
        if self._windows < windows or self._wall_ns < span_ns:
            return None
        load = self._cpu_ns / self._wall_ns / self._share
        many = self._takes_turns and len(snapshot.targets) >= _MANY
        step = _FIRST_STEP if self._first or (many and load > _FAR_TOO_MUCH) else _STEP
        self._first = False
        self._forget()
        if _TOO_LITTLE <= load <= _TOO_MUCH:
            return None
        factor = max(1 / _STEP, min(step, load / (0.5 * (_TOO_LITTLE + _TOO_MUCH))))
        low = self._shortest.sample_us
        long = _LONG if many else _LONGEST
        wanted_us = attrs.sample_us / self.turns * factor
        # First longer intervals, then turns, and longer intervals again where turns are too dear.
        self.turns = min(1.0, max(_LEAST, long * low / wanted_us)) if long < _LONGEST else 1.0
        sample_us = round(wanted_us * self.turns / _GRAIN_US) * _GRAIN_US
        sample_us = max(low, min(_LONGEST * low, sample_us))
        if sample_us == attrs.sample_us:
            return None
        aggr_us = sample_us * self._shortest.samples_per_aggr
        return replace(attrs, sample_us=sample_us, aggr_us=aggr_us)

    def _forget(self) -> None:
        self._windows = self._wall_ns = self._cpu_ns = 0
