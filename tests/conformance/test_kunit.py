"""The kernel's own unit cases, on both twins."""

import pytest

from isotherm.core import intervals, region, regions
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs

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
            table.set_regions(0, regions.coalesce(map(tuple, sub["src"])))
        assert spans(table) == sub["expect"]


def feed_relations(_engine, _case):
    assert intervals.feed(900_000, 200) > 900_000 > intervals.feed(900_000, 250_000_000)
    assert intervals.feed(900_000, 200) > intervals.feed(900_000, 2000)


def apply_min_nr(engine, case):
    for size, unit, min_nr, limit, nr in case["cases"]:
        table = engine.table([[[0, size]]], unit)
        assert (table.enforce_min(min_nr), len(table)) == (limit, nr)


def rand(engine, _case):
    rng = engine.rng("splitmix", 7)
    assert {rng.range(0, 10) for _ in range(10_000)} == set(range(10))


CHECKS = {
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
    "damon_test_three_regions_in_vmas": three_regions,
    **{f"damon_test_apply_three_regions{n}": apply_three_regions for n in (1, 2, 3, 4)},
}
NOT_APPLICABLE = {
    "damos_": "of the scheme engine, which does not exist yet",
    "damon_test_is_last_region": "of the scheme engine, which does not exist yet",
    "damon_test_walk_control_obsolete": "of the scheme engine, which does not exist yet",
    "damon_test_set_filters_default_reject": "of the scheme engine, which does not exist yet",
    "damon_test_ops_registration": "of the kernel's registry of operations sets",
    "damon_test_commit_ctx": "of the kernel's interface to contexts",
    "damon_sysfs_": "of the kernel's sysfs interface",
    "damon_dbgfs_": "of the kernel's debugfs interface",
}


def test_every_case(engine, vectors):
    ran = 0
    for case in vectors["cases"]:
        name = case["test"]
        if "until" in case or any(name.startswith(prefix) for prefix in NOT_APPLICABLE):
            continue
        assert name in CHECKS, f"nothing here knows what to do with {name}"
        CHECKS[name](engine, case)
        ran += 1
    if not ran:
        pytest.skip("all of its cases are of kernel interfaces, schemes or older kernels")
