"""Each core function against the kernel's: both twins, all vectors, exactly."""

from isotherm.core import schedule as intervals
from isotherm.core.reference import region, regions
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.ranges import join_adjacent
from isotherm.model.scheme import (
    Filter,
    FilterType,
    Goal,
    Metric,
    Quota,
    Watermarks,
    Weights,
    rejects_rest,
)
from isotherm.schemes import filters, score
from isotherm.schemes.goals import GoalState
from isotherm.schemes.quota import QuotaState
from isotherm.schemes.visit import visit
from isotherm.schemes.watermarks import WatermarkState

PATTERN = "unit_*.json"


def plain(table, like):
    """The table's rows as lists, as long as those of `like`."""
    return [
        [list(map(as_list, row[: len(model)])) for row, model in zip(got, rows, strict=False)]
        + [list(row) for row in got[len(rows) :]]
        for got, rows in zip(table.rows(), like, strict=True)
    ]


def as_list(value):
    return list(value) if isinstance(value, tuple) else value


def errno_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except BadValueError:
        return -22
    return 0


def samples(sample_us, aggr_us):
    return Attrs(sample_us=sample_us, aggr_us=aggr_us).samples_per_aggr


def damon_rand(engine, case):
    return engine.rng("draws", draws=case["draws"]).range(case["l"], case["r"]), case["out"]


def set_regions(engine, case):
    table = engine.table([case["old"]], case["min_region_sz"])
    err = errno_of(table.set_regions, 0, case["ranges"])
    return (err, plain(table, [case["out"]])), (case["err"], [case["out"]])


def commit_target_regions(engine, case):
    table = engine.table([case["dst"]], case["src_min_region_sz"])
    ranges = join_adjacent((start, end) for start, end, *_ in case["src"])
    err = errno_of(table.set_regions, 0, ranges) if ranges else 0
    return (err, plain(table, [case["out"]])), (case["err"], [case["out"]])


def merge_two(engine, case):
    table = engine.table([case["in"]])
    table.merge(2**32, 2**62, count_age=False)
    return plain(table, [case["out"]]), [case["out"]]


def merge_regions_of(engine, case):
    table = engine.table([case["regions"]])
    table.merge(
        case["threshold"],
        case["sz_limit"],
        count_age=case["count_age"],
        weights=case["probe_weights"],
    )
    return plain(table, [case["out"]]), [case["out"]]


def kdamond_merge_regions(engine, case):
    table = engine.table(case["targets"])
    table.merge_to(
        case["max_nr_regions"],
        case["threshold"],
        case["sz_limit"],
        samples(case["sample_us"], case["aggr_us"]),
    )
    return plain(table, case["out"]), case["out"]


def apply_min_nr_regions(engine, case):
    table = engine.table(case["targets"], case["min_region_sz"])
    limit = table.enforce_min(case["min_nr_regions"])
    return (limit, plain(table, case["out"])), (case["max_region_sz"], case["out"])


def split_regions_of(engine, case):
    table = engine.table([case["regions"]], case["min_region_sz"])
    table.split_all(case["nr_subs"], engine.rng("draws", draws=case["prng_draws"]))
    return plain(table, [case["out"]]), [case["out"]]


def split_some_regions(engine, case):
    table = engine.table([], case["min_region_sz"])
    rng = engine.rng("draws", draws=case["prng_draws"])
    for _ in range(case["rotation_before"]):
        table.split_every(case["split_step"], rng)
    table.load(case["targets"])
    table.split_every(case["split_step"], rng)
    return plain(table, case["out"]), case["out"]


def mvsum(engine, case):
    current, last, left_bp = case["in"]
    if engine.name == "native" and left_bp < 10_000:
        return engine.table([[[0, 1, current, last, 0]]]).mvsum(left_bp)[0], case["out"]
    return region.mvsum(current, last, left_bp), case["out"]


def nr_accesses_mvsum(engine, case):
    sample_us, aggr_us, sis, next_aggr, now, last = case["in"]
    left_bp = intervals.left_window_bp(sis, next_aggr, samples(sample_us, aggr_us))
    return engine.table([[[0, 1, now, last, 0]]]).mvsum(left_bp)[0], case["out"]


def moving_sum_pre73(_engine, case):
    return region.moving_sum(*case["in"]), case["out"]


def update_monitoring_result(engine, case):
    now, last, age, old, new, aggregating = case["in"]
    table = engine.table([[[0, 1, now, last, age]]])
    table.rescale(samples(*old), samples(*new), old[1], new[1], aggregating=aggregating)
    return list(table.rows()[0][0][2:5]), case["out"]


def set_attrs(_engine, case):
    def build():
        goal = IntervalsGoal(*case["goal"])
        Attrs(
            sample_us=case["sample_us"],
            aggr_us=case["aggr_us"],
            min_nr_regions=case["min_nr_regions"],
            max_nr_regions=case["max_nr_regions"],
            goal=goal,
        )

    return errno_of(build), case["err"]


def tune_intervals(engine, case):
    table = engine.table([case["regions"]], 4096)
    goal = IntervalsGoal(*case["goal"])
    count = case["aggr_samples"]
    old = Attrs(sample_us=case["sample_us"], aggr_us=case["sample_us"] * count, goal=goal)
    events, size_bytes = table.access_events()
    score = intervals.events_score(events, size_bytes, count, goal.access_bp)
    new = intervals.tuned(old, count, events, size_bytes) or old
    if new is not old:
        table.rescale(
            old.samples_per_aggr,
            new.samples_per_aggr,
            old.aggr_us,
            new.aggr_us,
            aggregating=False,
        )
    got = (score, intervals.adaptation(score), new.sample_us, new.aggr_us)
    names = ("score_bp", "adaptation_bp", "new_sample_us", "new_aggr_us")
    after = [case["regions_after"]]
    return (got, plain(table, after)), (tuple(case[name] for name in names), after)


def three_regions(_engine, case):
    err = errno_of(regions.three_regions, case["vmas"])
    found = None if err else list(map(list, regions.three_regions(case["vmas"])))
    return (err, found), (case["err"], case["regions"])


def feed_loop_next_input(_engine, case):
    return intervals.feed(*case["in"]), case["out"]


def probe_params_valid(_engine, case):
    count = samples(case["sample_us"], case["aggr_us"])
    return region.probe_weights_valid(count, case["weights"]), case["valid"]


def filter_match_addr(_engine, case):
    (start, end), unit = case["region"], case["min_region_sz"]
    inside, size = filters.match_address(start, end, case["range"], unit)
    pieces = [[start, start + size, 0, 0, 0], [start + size, end, 0, 0, 0]]
    got = (inside == case["matching"], [piece for piece in pieces if piece[0] < piece[1]])
    return got, (case["match"], case["out"])


def core_filter_chain(_engine, case):
    chain = [
        Filter(FilterType.ADDR, matching, allow, (low, high))
        for low, high, matching, allow in case["filters"]
    ]
    last = case["ops_last_allow"]
    ops = [] if last is None else [Filter(FilterType.ANON, allow=last)]
    start, end = case["region"]
    unit = case.get("min_region_sz", 1)
    verdict = filters.judge(chain, 0, start, end, unit, ops_follow=bool(ops))
    pieces = [[start, start + verdict.size, 0, 0, 0], [start + verdict.size, end, 0, 0, 0]]
    default = rejects_rest(chain) and not ops
    got = (default, rejects_rest(ops), verdict.out, verdict.allowed)
    names = ("core_default_reject", "ops_default_reject", "filtered_out", "core_allowed")
    kept = [piece for piece in pieces if piece[0] < piece[1]]
    return (got, end, kept[0]), (tuple(case[n] for n in names), end, case["out"][0])


def charge_quota(_engine, case):
    fail = (case["fail_num"], case["fail_denom"])
    state = QuotaState(Quota(size_bytes=case["esz"], fail_charge=fail), case["min_region_sz"])
    state.effective, state.charged = case["esz"], case["charged_sz"]
    before = state.is_full
    state.charge(case["sz_region"], case["sz_applied"])
    got = (before, state.charged, state.is_full)
    return got, (case["full_before"], case["new_charged_sz"], case["full_after"])


def effective_quota(_engine, case):
    goals = tuple(Goal(Metric.USER_INPUT, target, now) for target, now in case["goals"])
    tuner = ("consist", "temporal")[case["tuner"]]
    quota = Quota(time_ms=case["ms"], size_bytes=case["sz"], goals=goals, tuner=tuner)
    state = QuotaState(quota, case["min_region_sz"])
    state.total_charged, state.total_charged_ns = (
        case["total_charged_sz"],
        case["total_charged_ns"],
    )
    state.size_bp = case["esz_bp"]
    state._set_effective(metrics=None)
    return (state.effective, state.size_bp), (case["esz"], case["esz_bp_after"])


def hot_cold_score(_engine, case):
    rate, age, sample_us, aggr_us, of_access, of_age = case["in"]
    attrs = Attrs(sample_us=sample_us, aggr_us=aggr_us)
    weights = Weights(0, of_access, of_age)
    got = [score.score(order, rate, age, attrs, weights) for order in ("hot", "cold")]
    return got, [case["hot"], case["cold"]]


class FixedPsi:
    def __init__(self, total):
        self.total = total

    def psi_some_us(self):
        return self.total


def psi_goal(_engine, case):
    state = GoalState(Goal(Metric.SOME_MEM_PSI_US, case["target"]))
    tuner = ("consist", "temporal")[case["tuner"]]
    got = [state.current(FixedPsi(s["total"]), tuner, s["esz"]) for s in case["steps"]]
    return got, [step["current"] for step in case["steps"]]


def skip_charged(engine, case):
    table = engine.table([case["regions"]], case["min_region_sz"])
    state = QuotaState(None, case["min_region_sz"])
    target = {"same": 0, "other": 1, "none": None}[str(case["from_target"] or "none")]
    state.resume_target, state.resume_address = target, case["charge_addr_from"]
    visits = []
    for at in visit(table, range(len(table))):
        start, end, *_ = table.region(at.place, 0)
        skip, size = state.skips(0, start, end, is_last=at.is_last)
        if size:
            table.cut(at.place, size)
        visits.append([*table.region(at.place, 0)[:2], skip])
    after = {0: "same", 1: "other", None: None}[state.resume_target]
    got = (visits, plain(table, [case["out"]]), after, state.resume_address)
    names = ("from_target_after", "charge_addr_from_after")
    return got, (case["visits"], [case["out"]], *(case[name] for name in names))


class FreePages:
    def __init__(self, step):
        self.step = step

    def free_permil(self):
        return self.step["free_pages"] * 1000 // self.step["total_pages"]


def wmark(_engine, case):
    marks = Watermarks(
        "free_mem_rate", case["interval_us"], case["high"], case["mid"], case["low"]
    )
    state = WatermarkState(marks)
    state.active = case["activated0"]
    got = [(state.wait_us(FreePages(step)), state.active) for step in case["steps"]]
    return got, [(step["wait_us"], step["activated"]) for step in case["steps"]]


CHECKS = {
    check.__name__: check
    for check in (
        damon_rand,
        set_regions,
        commit_target_regions,
        merge_two,
        merge_regions_of,
        kdamond_merge_regions,
        apply_min_nr_regions,
        split_regions_of,
        split_some_regions,
        mvsum,
        nr_accesses_mvsum,
        moving_sum_pre73,
        update_monitoring_result,
        set_attrs,
        tune_intervals,
        three_regions,
        feed_loop_next_input,
        probe_params_valid,
        filter_match_addr,
        core_filter_chain,
        charge_quota,
        effective_quota,
        hot_cold_score,
        psi_goal,
        skip_charged,
        wmark,
    )
}


def test_every_vector(engine, vectors):
    group = vectors["group"]
    assert group in CHECKS, f"nothing here knows what to do with group {group}"
    assert vectors["cases"]
    for number, case in enumerate(vectors["cases"]):
        got, expected = CHECKS[group](engine, case)
        assert got == expected, f"case {number}: {case}"
