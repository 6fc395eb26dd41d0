"""What schemes would have done to a recording, through the engine that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from isotherm.analysis.paged_out import LEANS, Lean, PagedOut
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.clock import VirtualClock
from isotherm.core.act import CountOnly, Done
from isotherm.core.region_list import ListedRegion, RegionList
from isotherm.core.scheme_runner import Round
from isotherm.errors import BadValueError, DamagedRecordingError, NotSupportedError
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE, Range, subtract
from isotherm.model.scheme import Action, FilterType, Goal, Metric, Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot
from isotherm.schemes.engine import Engine
from isotherm.schemes.goals import Metrics
from isotherm.units import U64_MAX

#: Filters of memory that a recording can answer for.
_KNOWN = (FilterType.IDLE, FilterType.NAME, FilterType.ANON)


def why_not(scheme: Scheme) -> str:
    """Say why a recording cannot tell what a scheme would have done; "" if it can."""
    if scheme.own is not None:
        return "what an action of your own does is not in a recording"
    if scheme.watermarks.metric != "none":
        return "the machine's free memory, which watermarks look at, is not in a recording"
    filters = [rule for rule in scheme.ops_filters if rule.type not in _KNOWN]
    if filters or (scheme.ops_filters and scheme.action is not Action.PAGEOUT):
        rule = filters[0] if filters else scheme.ops_filters[0]
        return f"which pages filter {rule.type} lets through is not in a recording"
    if any(rule.allow for rule in scheme.filters):
        return "what filters let through page by page is not in a recording"
    for rule in scheme.ops_filters:
        whole = rule.bounds is not None and rule.bounds[1] == U64_MAX
        if rule.type is FilterType.IDLE and (rule.matching or not whole):
            return "only 'filter=idle:TIME', idle for at least so long, can be looked up"
    if scheme.action is Action.PAGEOUT and not scheme.idle_us:
        if scheme.pattern.access.high != 0:
            return "pages that are in use come back, and when each of them is not in a recording"
        if scheme.pattern.age.unit != "us" or not scheme.pattern.age.low:
            return "for how long pages must have been idle has to be a time"
    return ""


def check(schemes: Sequence[Scheme]) -> None:
    """Raise `NotSupportedError` for what no recording can tell."""
    for scheme in schemes:
        why = why_not(scheme) or next(
            (why for goal in _goals(scheme) if (why := _Metrics().why_not(goal))), ""
        )
        if why:
            raise NotSupportedError(
                f"scheme {scheme.title!r} cannot be simulated: {why}",
                hint="leave it out to see the rest: pageout with filter=idle:TIME, "
                "or access=0% age=TIME.., and stat can be simulated",
            )
    if sum(scheme.action is Action.PAGEOUT for scheme in schemes) > 1:
        raise NotSupportedError(
            "which pages one pageout scheme leaves to another is not in a recording",
            hint="simulate one at a time",
        )


def _goals(scheme: Scheme) -> tuple[Goal, ...]:
    return scheme.quota.goals if scheme.quota is not None else ()


class _Metrics(Metrics):
    """What a recording knows of the machine's figures: nothing but what the scheme says."""

    def psi_some_us(self) -> int:
        return 0

    def node_bytes(self, nid: int) -> None:
        del nid

    def memcg_bytes(self, path: str, nid: int) -> None:
        del path, nid

    def lru_bytes(self) -> tuple[int, int]:
        return 0, 0

    def free_permil(self) -> int:
        return 0

    def why_not(self, goal: Goal) -> str:
        if goal.metric is Metric.USER_INPUT and not goal.complement:
            return ""
        return f"goal {goal.title} looks at the machine, which is not in a recording"


class _Act(CountOnly):
    """Pages out of recorded memory; of other actions it is only counted what they get."""

    def __init__(self, memory: PagedOut | None) -> None:
        super().__init__("recording")
        self._memory = memory

    def act(
        self,
        scheme: Scheme,
        target: int,
        start: int,
        end: int,
        *,
        filtered: bool,
        dry: bool = False,
    ) -> Done:
        del filtered, dry
        if scheme.action is not Action.PAGEOUT or self._memory is None:
            return Done(end - start)
        given = self._memory.page_out(target, start, end)
        return Done(given, given if scheme.ops_filters else 0)


class _Table(RegionList[ListedRegion]):
    """Regions of a window, no older than since something was done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self._renewed: dict[int, list[tuple[Range, int]]] = {}

    def fill(self, snapshot: Snapshot) -> None:
        """Take the regions of a window."""
        self.now_us = snapshot.end_ns // 1000
        self.ids = [target.id for target in snapshot.targets]
        self.regions = []
        for one in snapshot.columns:
            count = one.nr_accesses
            unseen = one.size if count is None else one.unobservable
            whole = Range(one.start, one.end)
            rest = [whole]
            pieces = []
            for done, at_us in self._renewed.get(self.ids[one.target], ()):
                low, high = max(done.start, one.start), min(done.end, one.end)
                if low < high:
                    age = min(one.age, (self.now_us - at_us) // max(1, snapshot.aggr_us))
                    pieces.append((Range(low, high), age))
                    rest = list(subtract(rest, [Range(low, high)]))
            pieces.extend((piece, one.age) for piece in rest)
            for piece, age in sorted(pieces):
                hidden = unseen * piece.size // max(1, one.size)
                self.regions.append(
                    ListedRegion(
                        one.target, piece.start, piece.end, count or 0, count or 0, age, hidden
                    )
                )

    def renew(self, place: int, /) -> None:
        """Remember when something was done to a region."""
        super().renew(place)
        one = self.regions[place]
        done = Range(one.start, one.end)
        kept = [
            (Range(*piece), at_us)
            for old, at_us in self._renewed.get(self.ids[one.target], ())
            for piece in subtract([old], [done])
        ]
        self._renewed[self.ids[one.target]] = [*kept, (done, self.now_us)]


class _Run:
    """The engine at work on a recording, with one idea of what is not known."""

    def __init__(self, schemes: Sequence[Scheme], lean: Lean, swap_bytes: int | None) -> None:
        pageout = [scheme for scheme in schemes if scheme.action is Action.PAGEOUT]
        self.memory = PagedOut(pageout[0], lean, swap_bytes) if pageout else None
        self._engine = Engine(schemes, PAGE, _Metrics(), clock=VirtualClock())
        self._act, self._table = _Act(self.memory), _Table()
        self._attrs: Attrs | None = None
        self._sis = 0
        self.area, self.peak = 0.0, 0.0
        self._before = 0.0

    def take(self, snapshot: Snapshot, passed_ns: int) -> None:
        """Go on by one window."""
        attrs = Attrs(snapshot.sample_us, snapshot.aggr_us)
        if attrs != self._attrs:
            self._attrs = attrs
            self._engine.begin(attrs, self._sis)
        self._sis += max(1, round(passed_ns / 1000 / max(1, snapshot.sample_us)))
        if self.memory is not None:
            self.memory.see(snapshot)
        self._table.fill(snapshot)
        self._engine.apply(
            Round(self._table, self._act, attrs, self._sis, 0, U64_MAX, snapshot.end_ns // 10**6)
        )
        self._engine.take_states()
        saved = self.saved
        self.area += self._before * passed_ns
        self._before, self.peak = saved, max(self.peak, saved)

    @property
    def saved(self) -> float:
        return 0.0 if self.memory is None else self.memory.bytes

    @property
    def refaulted(self) -> float:
        return 0.0 if self.memory is None else self.memory.refaulted

    @property
    def most_refaulted(self) -> float:
        return 0.0 if self.memory is None else self.memory.most_refaulted

    def states(self) -> tuple[SchemeState, ...]:
        return self._engine.states()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes: at least, by best estimate, at most."""

    low: int
    best: int
    high: int

    @staticmethod
    def of(values: Sequence[float]) -> Bounds:
        """Return those of what came of each of `LEANS`."""
        low, best, high = min(values), values[LEANS.index("best")], max(values)
        return Bounds(round(low), round(best), round(high))


@dataclass(frozen=True, slots=True)
class Moment:
    """At `since_ns` after the beginning: bytes saved, and bytes that came back by then."""

    since_ns: int
    saved: Bounds
    refaulted: Bounds


@dataclass(frozen=True, slots=True)
class Foreseen:
    """
    What schemes would have done.

    length_ns: of the recording; resident, unknown: bytes at its last look at the pages, and those
    of them of which nobody knows when they were used; saved_mean, saved_peak, saved_end: bytes out
    of memory, on average over time, at most, at the end; applied: paged out, each time anew;
    refaulted: bytes that came back, None where the recording did not count; states: of each
    scheme, by best estimate; moments: one for each look at the pages; swap_bytes: swap space that
    was free, None where that is not known; damage: why not all of the recording could be read.
    """

    schemes: tuple[Scheme, ...]
    length_ns: int
    resident: int
    unknown: int
    saved_mean: Bounds
    saved_peak: Bounds
    saved_end: Bounds
    applied: Bounds
    refaulted: Bounds | None
    states: tuple[SchemeState, ...]
    swap_bytes: int | None
    moments: tuple[Moment, ...] = field(repr=False, default=())
    damage: DamagedRecordingError | None = None


def _refaulted(runs: Sequence[_Run]) -> Bounds:
    """Return what came back; at most what was used again of what may have been out."""
    found = Bounds.of([run.refaulted for run in runs])
    return replace(found, high=max(found.high, round(runs[LEANS.index("most")].most_refaulted)))


def _mean(means: Sequence[float], moments: Sequence[Moment], length_ns: int) -> Bounds:
    """Return a mean over time; when between two looks at the pages it changed nobody knows."""
    low, high, before = 0, 0, Moment(0, Bounds(0, 0, 0), Bounds(0, 0, 0))
    for one in moments:
        passed_ns = one.since_ns - before.since_ns
        low += min(before.saved.low, one.saved.low) * passed_ns
        high += max(before.saved.high, one.saved.high) * passed_ns
        before = one
    rest_ns = max(0, length_ns - before.since_ns)
    low += before.saved.low * rest_ns
    high += before.saved.high * rest_ns
    return Bounds.of([low / length_ns, means[LEANS.index("best")], high / length_ns])


def foresee(
    recording: AnalysedRecording, schemes: Sequence[Scheme], *, swap_bytes: int | None = None
) -> Foreseen:
    """
    Return what schemes would have done while this was recorded.

    swap_bytes: with so much swap space, rather than what was free when it began.
    Raises `NotSupportedError` for schemes of which no recording can tell, and `BadValueError` for
    a recording without a map of pages.
    """
    check(schemes)
    if swap_bytes is None:
        swap = recording.info.get("swap_free_bytes")
        swap_bytes = swap if isinstance(swap, int) else None
    runs = [_Run(schemes, lean, swap_bytes) for lean in LEANS]
    begun = before = 0
    last = None
    moments = []
    for snapshot in recording.readable():
        begun = begun or snapshot.start_ns
        passed_ns = max(0, snapshot.end_ns - (before or snapshot.start_ns))
        before = snapshot.end_ns
        for run in runs:
            run.take(snapshot, passed_ns)
        if snapshot.page_use is not None:
            last = snapshot.page_use
            saved = Bounds.of([run.saved for run in runs])
            back = _refaulted(runs)
            moments.append(Moment(snapshot.end_ns - begun, saved, back))
    if last is None and recording.damage is not None:
        raise recording.damage
    if last is None or not last.exact:
        raise BadValueError(
            "this recording does not know pages one by one, so nobody knows what would be freed",
            hint="record as root, without --no-map, for longer than a few seconds",
        )
    length = max(1, before - begun)
    counted = all(run.memory is None or run.memory.counted for run in runs)
    applied = [
        sum(state.stats.sz_applied for state in run.states() if state.action == Action.PAGEOUT)
        for run in runs
    ]
    return Foreseen(
        tuple(schemes),
        length,
        last.resident,
        last.unseen + last.uncovered,
        _mean([run.area / length for run in runs], moments, length),
        Bounds.of([run.peak for run in runs]),
        Bounds.of([run.saved for run in runs]),
        Bounds.of(applied),
        _refaulted(runs) if counted else None,
        runs[LEANS.index("best")].states(),
        swap_bytes,
        tuple(moments),
        recording.damage,
    )
