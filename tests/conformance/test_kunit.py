"""The kernel's own unit cases, on both twins."""

from dataclasses import replace

import pytest

from isotherm.core import schedule as intervals
from isotherm.core.damon.arithmetic import evenly
from isotherm.core.reference import region, regions
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import join_adjacent
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Destination,
    Filter,
    FilterType,
    Goal,
    Limits,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Weights,
    rejects_rest,
)
from isotherm.schemes import filters
from isotherm.schemes.engine import Engine
from isotherm.schemes.visit import visit

PATTERN = "kunit_*.json"


def spans(table, target=0):
    return [list(row[:2]) for row in table.rows()[target]]


def covered(engine, case, old, ranges):
    table = engine.table([old], case["min_region_sz"])
    table.set_regions(0, ranges)
    return spans(table)


def nr_regions(engine, case):
    table = engine.table([])
    lengths = [len(table)]
    table.set_targets([0])
    table.set_regions(0, [case["in"]["region"]])
    lengths.append(len(table))
    assert table.rows()[0][0][2] == case["expect"]["nr_accesses"]
    table.set_regions(0, [])
    assert [*lengths, len(table)] == case["expect"]["nr_regions_sequence"]


def nr_targets(engine, case):
    table = engine.table([])
    lengths = []
    for ids in ([], [0], []):
        table.set_targets(ids)
        lengths.append(len(table.target_ids()))
    assert lengths == case["expect"]["nr_targets_sequence"]


def reset(engine, case):
    targets = case["in"]["targets"]
    table = engine.table(targets)
    table.reset()
    got = [[list(row[:4]) for row in rows] for rows in table.rows()]
    assert got == [[[start, end, 0, n] for start, end, n in rows] for rows in targets]


def split_at(engine, case):
    given, left = case["in"]["region"], case["in"]["left_size"]
    history = [given[name] for name in ("nr_accesses", "last_nr_accesses", "age")]
    table = engine.table([[[given["start"], given["end"], *history]]], left)
    # A draw of 0 is a tenth; aligned down to 25 it is nothing, 3 tenths are 30, so 25.
    table.split_all(2, engine.rng("draws", draws=[2 * 2**32 // 9 + 1]))
    assert [list(row[:5]) for row in table.rows()[0]] == [
        [*span, *history] for span in case["expect"]["regions"]
    ]


def merge_two(engine, case):
    left, right, want = case["in"]["left"], case["in"]["right"], case["expect"]
    table = engine.table(
        [[[r["start"], r["end"], r["nr_accesses"], 0, r["age"]] for r in (left, right)]]
    )
    table.merge(100, 2**40, count_age=False)
    ((row,),) = table.rows()
    assert [row[0], row[1], row[2], row[4]] == [
        want[name] for name in ("start", "end", "nr_accesses", "age")
    ]


def merge_regions_of(engine, case):
    given = case["in"]
    table = engine.table([given["regions"]])
    table.merge(given["threshold"], given["sz_limit"], count_age=given["count_age"])
    assert spans(table) == case["expect"]["regions"]


def split_regions_of(engine, case):
    for sub in case["cases"]:
        for seed in range(50):
            table = engine.table([sub["regions"]], sub["min_region_sz"])
            table.split_all(sub["nr_subs"], engine.rng("splitmix", seed))
            assert len(table) <= sub["expect_max_nr_regions"]


def split_above_half(engine, case):
    given = case["in"]
    size = given["region_sz"]
    rows = [
        [i * size, (i + 1) * size, 0 if i % 2 else 100, 0, given["age"]]
        for i in range(given["nr_regions"])
    ]
    table = engine.table([rows], given["min_region_sz"])
    table.split(given["max_nr_regions"], engine.rng("splitmix", 1))
    assert given["nr_regions"] < len(table) <= given["max_nr_regions"]


def set_regions(engine, case):
    for sub in case["cases"]:
        assert covered(engine, sub, sub["old"], sub["new"]) == sub["expect"]


def apply_three_regions(engine, case):
    given = case["in"]
    assert covered(engine, given, given["regions"], given["three"]) == case["expect"]


def three_regions(_engine, case):
    assert list(map(list, regions.three_regions(case["in"]["vmas"]))) == case["expect"]


def update_result(engine, case):
    start, old = case["initial"], case["old_attrs"]
    table = engine.table([[[0, 1, start["nr_accesses"], 0, start["age"]]]])
    for step in case["steps"]:
        new = step["new_attrs"]
        table.rescale(old[1] // old[0], new[1] // new[0], old[1], new[1], aggregating=False)
        ((row,),) = table.rows()
        assert {"nr_accesses": row[2], "age": row[4]} == step["expect"]


def set_attrs(_engine, case):
    for sub in case["cases"]:
        attrs = case["base"] | sub["change"]
        if sub["expect"] == 0:
            Attrs(**attrs)
        else:
            with pytest.raises(BadValueError):
                Attrs(**attrs)


def mvsum(_engine, case):
    for current, last, left_bp, expected in case["cases"]:
        assert region.mvsum(current, last, left_bp) == expected


def nr_accesses_mvsum(engine, case):
    count = Attrs(sample_us=1, aggr_us=10).samples_per_aggr
    for sis, next_aggr, now, last, expected in case["cases"]:
        left_bp = intervals.left_window_bp(sis, next_aggr, count)
        assert engine.table([[[0, 1, now, last, 0]]]).mvsum(left_bp)[0] == expected


def commit_target_regions(engine, case):
    for sub in case["cases"]:
        table = engine.table([sub["dst"]], case["src_min_region_sz"])
        if sub["src"]:
            table.set_regions(0, join_adjacent(map(tuple, sub["src"])))
        assert spans(table) == sub["expect"]


def feed_relations(_engine, _case):
    assert intervals.feed(900_000, 200) > 900_000 > intervals.feed(900_000, 250_000_000)
    assert intervals.feed(900_000, 200) > intervals.feed(900_000, 2000)


def apply_min_nr(engine, case):
    for size, unit, min_nr, limit, nr in case["cases"]:
        table = engine.table([[[0, size]]], unit)
        assert (table.enforce_min(min_nr), len(table)) == (limit, nr)


def moving_sum(_engine, case):
    given, sums = case["in"], []
    last = given["mvsum"]
    for new in given["new_values"]:
        last = region.moving_sum(last, given["nomvsum"], given["len_window"], new)
        sums.append(last)
    assert sums == case["expect"]


def split_evenly(_engine, case):
    for sub in case["cases"]:
        if sub["region"] is None:
            continue
        want = sub["expect"] if isinstance(sub["expect"], list) else [sub["region"]]
        assert evenly(*sub["region"], sub["nr"], 1) == [tuple(piece) for piece in want]


def rand(engine, _case):
    rng = engine.rng("splitmix", 7)
    assert {rng.range(0, 10) for _ in range(10_000)} == set(range(10))


def is_last_region(engine, _case):
    table = engine.table([[]], 1)
    for end in (2, 4, 6, 8):
        table.set_regions(0, [(0, 2), *((at, at + 2) for at in range(2, end, 2))])
        assert [at.is_last for at in visit(table, range(len(table)))][-1]


def committed(scheme, new):
    """The scheme that an engine has after `new` was committed in the place of `scheme`."""
    engine = Engine([scheme], 1, metrics=None)
    engine.commit([new], Attrs(), 0)
    (got,) = engine.schemes
    assert got == new
    return engine


def with_quota(**fields):
    return Scheme(Action.STAT, quota=Quota(**fields))


def goal_of(given):
    return Goal(
        Metric(given["metric"]), given["target"], given.get("current", 0), given.get("nid", 0)
    )


def commit_quota_goal(_engine, case):
    before = with_quota(goals=(goal_of(case["dst"]),))
    for given in case["srcs"]:
        engine = committed(before, with_quota(goals=(goal_of(given),)))
        (state,) = engine._running[0].quota.goals
        assert state._psi_before is None
        before = engine.schemes[0]


def commit_quota_goals(_engine, case):
    for sub in case["cases"]:
        old, new = (
            with_quota(goals=tuple(Goal(Metric(m), target) for m, target in sub[side]))
            for side in ("dst", "src")
        )
        engine = committed(old, new)
        assert [s.goal.target for s in engine._running[0].quota.goals] == [
            target for _, target in sub["src"]
        ]


def quota_of(given):
    return Quota(
        given["ms"],
        given["sz"],
        given["reset_interval"],
        Weights(given["weight_sz"], given["weight_nr_accesses"], given["weight_age"]),
        tuner=given["goal_tuner"],
        fail_charge=(given["fail_charge_num"], given["fail_charge_denom"]),
    )


def commit_quota(_engine, case):
    old, new = (Scheme(Action.STAT, quota=quota_of(case[side])) for side in ("dst", "src"))
    assert committed(old, new)._running[0].quota.quota == new.quota


def commit_dests(_engine, case):
    for sub in case["cases"]:
        committed(
            *(
                Scheme(Action.MIGRATE_HOT, destinations=tuple(Destination(*d) for d in sub[side]))
                for side in ("dst", "src")
            )
        )


def filter_of(given):
    bounds = given.get("sz_range") or given.get("addr_range")
    return Filter(
        FilterType(given["type"]),
        given["matching"],
        given["allow"],
        tuple(bounds) if bounds else None,
        "/group" if given["type"] == "memcg" else "",
        given.get("target_idx", 0),
    )


def commit_filter(_engine, case):
    before = Scheme(Action.STAT, filters=(filter_of(case["dst"]),))
    for given in case["srcs"]:
        before = committed(before, replace(before, filters=(filter_of(given),))).schemes[0]


def new_filter(_engine, case):
    one = filter_of(case["in"])
    assert (str(one.type), one.matching) == (case["expect"]["type"], case["expect"]["matching"])


def pattern_of(numbers):
    return Pattern(
        *numbers[:2], Access(*numbers[2:4], unit="samples"), Age(*numbers[4:], unit="windows")
    )


def commit_scheme(_engine, case):
    given = case["src"]
    migrates = given["action"].startswith("migrate")
    new = Scheme(
        Action(given["action"]),
        pattern_of(given["pattern"]),
        apply_interval_us=given["apply_interval_us"],
        target_nid=given.get("target_nid") if migrates else None,
    )
    engine = committed(Scheme(Action.STAT, pattern_of(range(1, 7))), new)
    assert new.pattern.limits(Attrs()) == Limits(*given["pattern"])
    engine.begin(Attrs(), 7)
    assert engine.next_due(7) == 7 + given["apply_interval_us"] // Attrs().sample_us


def filter_out(_engine, case):
    for sub in case["cases"]:
        start, end = sub["region"]
        inside, size = filters.match_address(start, end, (2, 6), 1)
        pieces = [[start, start + size], [start + size, end]]
        got = [piece for piece in pieces if piece[0] < piece[1]]
        assert (inside, got) == (sub["match"], sub["regions"])


def default_reject(_engine, case):
    for core, ops, core_rejects, ops_rejects in case["cases"]:
        chain = [Filter(FilterType.TARGET, True, allow, target=9) for allow in core]
        verdict = filters.judge(chain, 0, 0, 10, 1, ops_follow=bool(ops))
        assert verdict.out == core_rejects
        after = [Filter(FilterType.ANON, allow=allow) for allow in ops]
        assert rejects_rest(after) == ops_rejects
        assert filters.evaluate(after, lambda _: False) == (not ops_rejects)


CHECKS = {
    "damos_test_new_filter": new_filter,
    "damos_test_commit_quota_goal": commit_quota_goal,
    "damos_test_commit_quota_goals": commit_quota_goals,
    "damos_test_commit_quota": commit_quota,
    "damos_test_commit_dests": commit_dests,
    "damos_test_commit_filter": commit_filter,
    "damos_test_commit_pageout": commit_scheme,
    "damos_test_commit_migrate_hot": commit_scheme,
    "damos_test_filter_out": filter_out,
    "damon_test_set_filters_default_reject": default_reject,
    "damon_test_is_last_region": is_last_region,
    "damon_test_regions": nr_regions,
    "damon_test_target": nr_targets,
    "damon_test_aggregate": reset,
    "damon_test_split_at": split_at,
    "damon_test_merge_two": merge_two,
    "damon_test_merge_regions_of": merge_regions_of,
    "damon_test_split_regions_of": split_regions_of,
    "damon_test_split_above_half_progresses": split_above_half,
    "damon_test_set_regions": set_regions,
    "damon_test_update_monitoring_result": update_result,
    "damon_test_set_attrs": set_attrs,
    "damon_test_mvsum": mvsum,
    "damon_test_nr_accesses_mvsum": nr_accesses_mvsum,
    "damon_test_commit_target_regions": commit_target_regions,
    "damon_test_feed_loop_next_input": feed_relations,
    "damon_test_apply_min_nr_regions": apply_min_nr,
    "damon_test_rand": rand,
    "damon_test_moving_sum": moving_sum,
    "damon_test_split_evenly": split_evenly,
    "damon_test_three_regions_in_vmas": three_regions,
    **{f"damon_test_apply_three_regions{n}": apply_three_regions for n in (1, 2, 3, 4)},
}
NOT_APPLICABLE = {
    "damon_test_walk_control_obsolete": "of the kernel's interface to contexts",
    "damon_test_ops_registration": "of the kernel's registry of operations sets",
    "damon_test_commit_ctx": "of the kernel's interface to contexts",
    "damon_sysfs_": "of the kernel's sysfs interface",
    "damon_dbgfs_": "of the kernel's debugfs interface",
}

#: What no profile asks for any more.
NO_PROFILE = {"damon_test_nr_accesses_to_accesses_bp"}


def test_every_case(engine, vectors):
    ran = 0
    for case in vectors["cases"]:
        name = case["test"]
        if name in NO_PROFILE or any(name.startswith(prefix) for prefix in NOT_APPLICABLE):
            continue
        assert name in CHECKS, f"nothing here knows what to do with {name}"
        CHECKS[name](engine, case)
        ran += 1
    if not ran:
        pytest.skip("all of its cases are of kernel interfaces or older kernels")
