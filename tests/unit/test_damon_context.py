"""The admin tree as typed values, over the files of three releases."""

import pytest

from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel.damon.context import Context, DamonTarget, KdamondFiles, Probe, free_slot
from isotherm.kernel.damon.files import DamonFiles
from isotherm.kernel.damon.versions import first_release, first_release_of
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.ranges import Range
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Destination,
    Filter,
    FilterType,
    Goal,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemefile.lines.key_value import parse_line
from support.fake_damon import LAYOUT, FakeDamon, keywords

MIB = 1 << 20
COUNTS = Pattern(4096, 7 * MIB, Access(0, 3, "samples"), Age(5, None, "windows"))
ATTRS = Attrs(10_000, 200_000, 3_000_000, 13, 307)
#: What Linux 6.1 can do.
OLD = Context(
    "vaddr",
    ATTRS,
    (DamonTarget(41), DamonTarget(43, (Range(4096, 8192), Range(MIB, 2 * MIB)))),
    (
        Scheme(
            Action.PAGEOUT,
            COUNTS,
            quota=Quota(7, 11 * MIB, 1300, Weights(1, 2, 3)),
            watermarks=Watermarks("free_mem_rate", 5_000_000, 500, 400, 200),
        ),
        Scheme(
            Action.STAT, Pattern(access=Access(0, None, "samples"), age=Age(0, None, "windows"))
        ),
    ),
)
#: What 6.12 can do more.
LONGTERM = Context(
    "paddr",
    ATTRS,
    (DamonTarget(None, (Range(0, 64 * MIB),)),),
    (
        Scheme(
            Action.MIGRATE_COLD,
            COUNTS,
            apply_interval_us=700_000,
            target_nid=1,
            quota=Quota(
                goals=(
                    Goal(Metric.SOME_MEM_PSI_US, 17),
                    Goal(Metric.USER_INPUT, 10_000, current=9_000),
                )
            ),
            filters=(
                Filter(FilterType.ANON, matching=False),
                Filter(FilterType.MEMCG, memcg="/some/group"),
                Filter(FilterType.ADDR, bounds=(4096, 8192)),
                Filter(FilterType.TARGET, target=2),
                Filter(FilterType.YOUNG),
            ),
        ),
    ),
)
NEW = Context(
    "paddr",
    Attrs(10_000, 200_000, goal=IntervalsGoal(401, 3, 5_000, 900_000)),
    (DamonTarget(None, (Range(0, 64 * MIB),), obsolete=True),),
    (
        Scheme(
            Action.MIGRATE_HOT,
            COUNTS,
            quota=Quota(
                goals=(Goal(Metric.NODE_MEMCG_USED_BP, 9_970, nid=1, memcg="/group"),),
                tuner="temporal",
                fail_charge=(1, 4096),
            ),
            filters=(
                Filter(FilterType.ADDR, bounds=(4096, 8192), allow=True),
                Filter(FilterType.HUGEPAGE_SIZE, bounds=(2 * MIB, 2 * MIB)),
                Filter(FilterType.ACTIVE, allow=True),
            ),
            destinations=(Destination(0, 3), Destination(2, 1)),
            max_nr_snapshots=19,
        ),
        Scheme(Action.COLLAPSE, COUNTS),
    ),
    addr_unit=4096,
    pause=True,
    probes=(
        Probe((Filter(FilterType.ANON, allow=True),), 2),
        Probe((Filter(FilterType.MEMCG, memcg="/g"),)),
    ),
    refresh_ms=250,
)


def kdamond(tmp_path, version, **options):
    files = FakeDamon(tmp_path / "kdamonds", version, **options)
    files.resize("", "kdamonds", 2)
    return KdamondFiles(files, 1)


@pytest.mark.parametrize(
    ("version", "context"),
    [
        ("6.1", OLD),
        ("6.12", OLD),
        ("6.12", LONGTERM),
        ("7.3", OLD),
        ("7.3", NEW),
    ],
)
def test_what_is_written_is_read_back(tmp_path, version, context):
    one = kdamond(tmp_path, version)
    one.put(context)
    assert one.get() == context
    one.put(OLD)
    assert one.get() == OLD


def test_filters_of_layers_are_read_core_first(tmp_path):
    one = kdamond(tmp_path, "7.3")
    one.put(LONGTERM)
    (scheme,) = one.get().schemes
    before = LONGTERM.schemes[0]
    assert scheme.filters == before.core_filters + before.ops_filters


def changed(**changes):
    return Context(schemes=(Scheme(Action.PAGEOUT, COUNTS, **changes),))


@pytest.mark.parametrize(
    ("version", "context", "phrase"),
    [
        (
            "6.1",
            Context(attrs=Attrs(goal=IntervalsGoal())),
            "intervals_goal/access_bp: Linux 6.15",
        ),
        ("6.12", Context(attrs=Attrs(goal=IntervalsGoal())), r"intervals_goal/\w+: Linux 6\.15"),
        ("6.12", Context(refresh_ms=100), "refresh_ms: Linux 6.17 "),
        ("6.12", Context(addr_unit=4096), "addr_unit: Linux 6.18 "),
        ("6.12", Context(pause=True), "pause: Linux 7.2 "),
        ("6.12", Context(probes=(Probe(),)), "probes/nr_probes: Linux 7.2 "),
        ("6.12", Context(schemes=(Scheme(Action.COLLAPSE),)), r"action collapse: Linux 7\.2 "),
        ("6.1", changed(apply_interval_us=1), "apply_interval_us: Linux 6.7 "),
        ("6.1", changed(filters=(Filter(FilterType.ANON),)), "nr_filters: Linux 6.3 "),
        (
            "6.12",
            changed(filters=(Filter(FilterType.ANON, allow=True),)),
            r"filters/\*/allow: Linux 6\.14 ",
        ),
        (
            "6.12",
            changed(filters=(Filter(FilterType.UNMAPPED),)),
            r"filters/\*/type unmapped: Linux 6\.15 ",
        ),
        ("6.12", changed(max_nr_snapshots=3), "stats/max_nr_snapshots: Linux 7.0 "),
        ("6.12", changed(quota=Quota(tuner="temporal")), "goal_tuner: Linux 7.1 "),
        ("6.12", changed(quota=Quota(fail_charge=(1, 2))), "fail_charge_num: Linux 7.2 "),
        ("6.1", changed(quota=Quota(goals=(Goal(Metric.USER_INPUT, 1),))), "nr_goals: Linux 6.8 "),
        (
            "6.12",
            changed(quota=Quota(goals=(Goal(Metric.ACTIVE_MEM_BP, 1),))),
            r"target_metric active_mem_bp: Linux 7\.0 ",
        ),
        (
            "7.3",
            changed(quota=Quota(goals=(Goal(Metric.USER_INPUT, 1, complement=True),))),
            "complement Y: no Linux has it",
        ),
    ],
)
def test_what_a_kernel_lacks_is_named_with_its_first_release(tmp_path, version, context, phrase):
    with pytest.raises(NotSupportedError, match=phrase):
        kdamond(tmp_path, version).put(context)


def test_own_goals_become_user_input(tmp_path):
    values = iter((3, 5))
    schemes = (
        Scheme(Action.STAT, quota=Quota(goals=(Goal(Metric.OWN, 10, read=lambda: next(values)),))),
    )
    one = kdamond(tmp_path, "6.12")
    one.put(Context(schemes=schemes))
    goal = Goal(Metric.USER_INPUT, 10, current=3)
    assert one.get().schemes[0].quota.goals == (goal,)
    assert one.put_goal_values(schemes)
    assert one.get().schemes[0].quota.goals[0].current == 5
    assert not one.put_goal_values((Scheme(Action.STAT),))


def test_own_actions_are_refused(tmp_path):
    scheme = Scheme(Action.STAT, own=lambda target, start, end: 0)
    with pytest.raises(NotSupportedError, match="cannot call an action of Python"):
        kdamond(tmp_path, "7.3").put(Context(schemes=(scheme,)))


@pytest.mark.parametrize(
    ("filters", "name"), [("idle:30s", "idle"), ("anon,underused:80%..", "underused")]
)
def test_filters_of_our_own_are_refused(tmp_path, filters, name):
    schemes = (parse_line(f"nohugepage filter={filters}"),)
    with pytest.raises(NotSupportedError, match=f"the kernel has no filter {name}"):
        kdamond(tmp_path, "7.3").put(Context(schemes=schemes))


def test_shares_and_durations_become_samples_and_windows(tmp_path):
    pattern = Pattern(access=Access(10, 50), age=Age(1_000_000, 2_500_000))
    one = kdamond(tmp_path, "6.12")
    one.put(Context(attrs=ATTRS, schemes=(Scheme(Action.COLD, pattern),)))
    (scheme,) = one.get().schemes
    assert scheme.pattern.access == Access(2, 10, "samples")
    assert scheme.pattern.age == Age(5, 12, "windows")


def test_busy_is_tried_again_with_a_bound(tmp_path):
    one = kdamond(tmp_path, "6.12", patience_s=0.05)
    one.files.busy = 3
    one.resize(1)
    one.files.busy = 1 << 20
    with pytest.raises(NotSupportedError, match="stays busy: schemes/nr_schemes"):
        one.files.write("1/contexts/0/schemes/nr_schemes", 1)


def test_commands_and_results(tmp_path):
    one = kdamond(tmp_path, "6.12")
    one.put(OLD)
    assert (one.running, one.pid, one.contexts) == (False, None, 1)
    assert one.available_operations() == ("vaddr", "fvaddr", "paddr")
    with pytest.raises(BadValueError, match="refuses 'commit' as state"):
        one.command("commit")
    one.command("on")
    assert (one.running, one.pid) == (True, 1001)
    one.files.regions = [(4096, 8192, 3, 5), (8192, 16384, 0, 7)]
    one.command("update_schemes_tried_regions")
    assert [tuple(region)[1:5] for region in one.tried_regions(1)] == one.files.regions
    assert one.intervals() == (10_000, 200_000)
    assert one.effective_bytes(0) == 0
    assert one.stats(0).nr_tried == 0
    with pytest.raises(BadValueError, match="refuses 'update_tuned_intervals'"):
        one.command("update_tuned_intervals")


def test_tried_bytes_and_probe_hits(tmp_path):
    one = kdamond(tmp_path, "7.3")
    one.put(NEW)
    one.command("on")
    one.files.regions = [(4096, 8192, 3, 5), (8192, 16384, 0, 7)]
    one.command("update_schemes_tried_regions")
    assert one.probe_hits(0) == [(), ()]
    folder = one.files.root / "1/contexts/0/schemes/0/tried_regions"
    for probe in (0, 1):
        (folder / f"1/probes/{probe}").mkdir(parents=True)
        (folder / f"1/probes/{probe}/hits").write_text(f"{probe + 7}\n")
    (folder / "total_bytes").write_text("12288\n")
    assert one.probe_hits(0) == [(), (7, 8)]
    assert one.tried_bytes(0) == 12288
    old = kdamond(tmp_path / "old", "6.2")
    old.put(OLD)
    with pytest.raises(NotSupportedError, match=r"tried_regions/total_bytes: Linux 6\.6"):
        old.tried_bytes(0)


def test_slots_that_somebody_configured_are_not_free(tmp_path):
    one = kdamond(tmp_path, "6.12")
    assert free_slot(one.files) == 0
    KdamondFiles(one.files, 0).resize(1)
    assert free_slot(one.files) == 1
    one.put(OLD)
    assert free_slot(one.files) is None
    assert free_slot(DamonFiles(tmp_path / "nothing")) is None


def test_versions_are_those_of_the_layout():
    for one in LAYOUT["files"]:
        path = one["path"].removeprefix("kdamonds/")
        for letter in "KCTRSGFDP":
            path = path.replace(f"<{letter}>", "0")
        assert first_release(path) == one["since"], path
        name = path.rpartition("/")[2]
        if name in ("action", "target_metric") or (name == "type" and "probes" not in path):
            for keyword, since in keywords(one["note"]).items():
                assert first_release_of(path, keyword) == since, keyword
    for one in LAYOUT["state_keywords"]:
        assert first_release_of("0/state", one["keyword"]) == one["since"]
