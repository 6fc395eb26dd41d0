"""
The DAMOS engine: applies schemes to the regions of a monitor.

Pure: memory is behind `Ops.act`, the machine's figures behind `Metrics`, time behind a clock. With
the same table, ops, metrics and clock the same is done. Rules are those of Linux 7.3's
kdamond_apply_schemes(), whose helpers the docstrings name, or of an older profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from isotherm.clock import Clock, SystemClock, cpu_ns_of
from isotherm.core.act import Act, Done
from isotherm.core.damon.profile import NEWEST, Profile
from isotherm.core.scheme_runner import Round
from isotherm.errors import IsothermError, NotSupportedError, TargetGoneError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Action, Limits, Scheme
from isotherm.model.scheme_state import SchemeState, TriedRegion
from isotherm.schemes.filters import Verdict, judge
from isotherm.schemes.goals import Metrics
from isotherm.schemes.older import check_profile
from isotherm.schemes.running import Running
from isotherm.schemes.score import FULL_ORDER, MAX_SCORE, Order, score
from isotherm.schemes.visit import Visit, visit

#: Fruitless tries in a row, per reset interval of a quota, after which a scheme waits for the next
#: one: where failed work is charged little, an action that always fails would spin.
MOST_FAILED_TRIES = 1000


_NOTHING = Done()


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that happened to a scheme, for logs and tests.

    kind: "apply" just before an action, with the region's numbers; "done" after it, with what it
    did; "quota" when the effective quota was set or changed.
    """

    kind: str
    scheme: int
    sis: int
    tried: TriedRegion | None = None
    done: Done | None = None
    effective_bytes: int = 0


class Engine:
    """
    Applies `schemes` in their order; a `core.scheme_runner.SchemeRunner`.

    unit: the ops' min_region_bytes; metrics: what goals and watermarks are read from; order: in
    which each action takes regions under a quota; observe: called with each `Event`. careful:
    beyond the kernel's rules, regions of which nothing could be observed match nothing, tries that
    fail are bounded, and watermarks are looked at when something is due, not with every sample.
    dry: nothing is done, and all counted as if it were; own actions are not called. profile: whose
    rules hold, that of the monitor; raises `BadValueError` for schemes that it does not have.

    Invariants: what a window of a quota charges stays below its limit, but for actions that do
    more than was asked; statistics only grow; after `apply` the regions cover what they covered.
    """

    def __init__(
        self,
        schemes: Sequence[Scheme],
        unit: int,
        metrics: Metrics,
        *,
        clock: Clock | None = None,
        order: Mapping[Action, Order] = FULL_ORDER,
        observe: Callable[[Event], None] | None = None,
        careful: bool = True,
        dry: bool = False,
        profile: Profile = NEWEST,
    ) -> None:
        check_profile(profile, schemes)
        self._profile = profile
        self._unit = unit
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._order = order
        self._observe = observe
        self._careful = careful
        self._dry = dry
        self._acted_ns = 0
        self._running = [Running(i, scheme, unit, profile) for i, scheme in enumerate(schemes)]

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        return tuple(running.scheme for running in self._running)

    def check(self, act: Act, schemes: Sequence[Scheme]) -> None:
        check_profile(self._profile, schemes)
        for scheme in schemes:
            goals = scheme.quota.goals if scheme.quota is not None else ()
            reasons = [self._metrics.why_not(goal) for goal in goals]
            reasons.append(act.why_not(scheme) if _by_ops(scheme) else "")
            for why in filter(None, reasons):
                raise NotSupportedError(
                    f"scheme {scheme.title!r} cannot be done here: {why}",
                    hint="`isotherm scheme check` says it of every scheme of a file",
                )

    def begin(self, attrs: Attrs, sis: int) -> None:
        for running in self._running:
            running.plan(attrs, sis)

    def commit(self, schemes: Sequence[Scheme], attrs: Attrs, sis: int) -> None:
        for running, scheme in zip(self._running, schemes, strict=False):
            running.commit(scheme)
        del self._running[len(schemes) :]
        for index in range(len(self._running), len(schemes)):
            self._running.append(Running(index, schemes[index], self._unit, self._profile))
            self._running[-1].plan(attrs, sis)

    def throttle(self, share: float) -> None:
        for running in self._running:
            running.quota.share = max(0.0, min(1.0, share))

    def wait_us(self) -> int:
        return min((running.marks.wait_us(self._metrics) for running in self._running), default=0)

    def next_due(self, sis: int) -> int | None:
        if not self._running:
            return None
        watched = any(running.scheme.watermarks.metric != "none" for running in self._running)
        if watched and not self._careful:
            return sis + 1
        return min(running.next_apply for running in self._running)

    def take_states(self) -> tuple[SchemeState, ...]:
        return tuple(running.take_state() for running in self._running)

    def states(self) -> tuple[SchemeState, ...]:
        return tuple(running.state() for running in self._running)

    def take_acted_ns(self) -> int:
        acted, self._acted_ns = self._acted_ns, 0
        return acted

    def apply(self, now: Round) -> None:
        due = [running for running in self._running if now.sis >= running.next_apply]
        working = [running for running in due if running.marks.active]
        if not working:
            return
        for running in working:
            self._adjust(running, now)
        if not all(running.quota.is_full for running in working):
            self._walk(now, working)
        now.table.rejoin(now.size_limit)
        for running in due:
            running.plan(now.attrs, now.sis)

    # The quota of a round.

    def _adjust(self, running: Running, now: Round) -> None:
        """Begin a window if it is time, and find the least score worth its quota."""
        quota = running.quota
        if quota.adjust(now.now_ms, self._metrics) and self._observe is not None:
            size = quota.effective
            self._observe(Event("quota", running.index, now.sis, effective_bytes=size))
        if not quota.quota.limits:
            return
        sizes = [0] * (MAX_SCORE + 1)
        places = now.table.matching(running.limits(now.attrs), now.left_bp, known=self._careful)
        for at in visit(now.table, places):
            start, end, rate, age, _ = now.table.region(at.place, now.left_bp)
            if matches(running.limits(now.attrs), end - start, rate, age):
                size, out = end - start, False
                if self._profile.ranks_filtered:
                    size, out, _ = self._judge(running, now, at)
                if not out:
                    sizes[self._score(running, now, rate, age)] += size
        total = 0
        for value in range(MAX_SCORE, -1, -1):
            total += sizes[value]
            quota.min_score = value
            if total >= quota.limit:
                break

    def _score(self, running: Running, now: Round, rate: int, age: int) -> int:
        weights = running.quota.quota.weights
        order = self._order.get(running.scheme.action)
        return score(order, rate, age, now.attrs, weights)

    # The regions of a round.

    def _walk(self, now: Round, working: Sequence[Running]) -> None:
        """Offer regions to the schemes in their order, pieces that were cut off as well."""
        table = now.table
        ids = table.target_ids()
        living = {ids[i] for i, (first, end) in enumerate(table.spans()) if end > first}
        for running in working:
            running.quota.forget_mark_outside(living)
        marked = any(running.quota.resume_target is not None for running in working)
        if marked:  # who goes on from the last window cuts a region there, whatever it is like
            places: set[int] = set(range(len(table)))
        else:
            places = {end - 1 for first, end in table.spans() if end > first}
            for running in working:
                places.update(
                    table.matching(running.limits(now.attrs), now.left_bp, known=self._careful)
                )
        for at in visit(table, sorted(places)):
            for running in working:
                self._offer(running, now, at, ids[at.target])

    def _offer(self, running: Running, now: Round, at: Visit, target_id: int) -> None:
        quota, table = running.quota, now.table
        if quota.is_full or running.held or self._gave_up(running):
            return
        start, end, rate, age, unseen = table.region(at.place, now.left_bp)
        skip, size = quota.skips(target_id, start, end, is_last=at.is_last)
        if size:
            table.cut(at.place, size)
        if skip or running.exhausted:
            return
        unknown = self._careful and unseen >= end - start
        if not unknown and matches(running.limits(now.attrs), end - start, rate, age):
            limited = quota.is_set
            if not limited or self._score(running, now, rate, age) >= quota.min_score:
                self._apply(running, now, at, target_id)
        if at.is_last:
            running.nr_snapshots += 1

    def _gave_up(self, running: Running) -> bool:
        return self._careful and running.quota.failed_tries >= MOST_FAILED_TRIES

    def _judge(self, running: Running, now: Round, at: Visit) -> Verdict:
        """Ask the core filters; cut off what they do not speak of."""
        start, end, *_ = now.table.region(at.place, now.left_bp)
        if not running.core_filters:
            return Verdict(end - start, out=False, allowed=False)
        follow = bool(running.scheme.ops_filters)
        verdict = judge(running.core_filters, at.target, start, end, self._unit, ops_follow=follow)
        if verdict.size < end - start:
            now.table.cut(at.place, verdict.size)
        return verdict

    def _apply(self, running: Running, now: Round, at: Visit, target_id: int) -> None:
        """Do it to one region, as far as quota and core filters go (damos_apply_scheme)."""
        quota, table = running.quota, now.table
        start, end, rate, age, _ = table.region(at.place, now.left_bp)
        if quota.is_set and quota.charged + end - start > quota.limit:
            size = (quota.limit - quota.charged) // self._unit * self._unit
            if not size:
                running.count_empty()
                return
            table.cut(at.place, size)
        verdict = self._judge(running, now, at)
        if verdict.out:
            return
        tried = TriedRegion(at.target, start, start + verdict.size, rate, age, 0, 0)
        if self._observe is not None:
            self._observe(Event("apply", running.index, now.sis, tried))
        done = self._act(running, now, tried, filtered=not verdict.allowed)
        tried = tried._replace(passed_bytes=done.passed_bytes, applied_bytes=done.applied_bytes)
        quota.charge(tried.size, done.applied_bytes)
        quota.failed_tries = 0 if done.applied_bytes else quota.failed_tries + 1
        if quota.is_full or self._gave_up(running):
            quota.resume_at(target_id, tried.end)
        if _renews(running.scheme):
            table.renew(at.place)
        running.count(tried, done)
        if self._observe is not None:
            self._observe(Event("done", running.index, now.sis, tried, done))

    def _act(self, running: Running, now: Round, tried: TriedRegion, *, filtered: bool) -> Done:
        """Have the ops, or the user's own action, work; what it raises is counted."""
        scheme = running.scheme
        if not _by_ops(scheme) and scheme.own is None:
            return _NOTHING
        begun, cpu_ns = self._clock.now_ns(), cpu_ns_of(self._clock)
        try:
            if scheme.own is None or scheme.ops_filters:
                return now.act.act(
                    scheme,
                    tried.target,
                    tried.start,
                    tried.end,
                    filtered=filtered,
                    dry=self._dry,
                )
            return Done(tried.size if self._dry else scheme.own(*tried[:3]))
        except TargetGoneError:
            return Done()
        except (IsothermError, OSError) as err:
            return Done(errors={str(err).split("\n")[0]: 1})
        except Exception as err:  # an own action may raise anything, and must not end the loop
            if scheme.own is None:
                raise
            return Done(errors={f"{type(err).__name__}: {err}": 1})
        finally:
            running.quota.total_charged_ns += self._clock.now_ns() - begun
            self._acted_ns += cpu_ns_of(self._clock) - cpu_ns


def _renews(scheme: Scheme) -> bool:
    """
    Whether a try makes a region young again, so that it is left alone for the scheme's age.

    Counting changes nothing; and where pages are judged one by one, they have their own time.
    """
    return (scheme.action is not Action.STAT or scheme.own is not None) and not scheme.judges_pages


def _by_ops(scheme: Scheme) -> bool:
    """Whether the ops is needed: counting and own actions need it for filters of memory only."""
    alone = scheme.own is not None or scheme.action is Action.STAT
    return not alone or bool(scheme.ops_filters)


def matches(limits: Limits, size: int, rate: int, age: int) -> bool:
    """Tell whether a region is of a pattern (damos_valid_target)."""
    return (
        limits.min_size <= size <= limits.max_size
        and limits.min_accesses <= rate <= limits.max_accesses
        and limits.min_age <= age <= limits.max_age
    )
