"""The backend over a fake tree: what the kernel is told, and that everything is put back."""

import errno

import pytest

from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel import meminfo
from isotherm.kernel.damon.claim import claimed
from isotherm.kernel.damon.context import DamonTarget, KdamondFiles
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.scheme import Action, Goal, Metric, Quota, Scheme, Watermarks
from support.fake_damon import FakeDamon
from support.offload import ATTRS, PAGEOUT, Watched, take


def test_windows_become_snapshots_and_everything_is_put_back(files, folder, open_kdamond):
    watched = Watched(41)
    kdamond = open_kdamond(watched)
    assert kdamond.source == "tried_regions"
    first, second = take(kdamond, 2)
    assert claimed(folder) == {0}
    context = KdamondFiles(files, 0).get()
    assert context.targets == (DamonTarget(41),)
    assert context.attrs == ATTRS
    assert [scheme.action for scheme in context.schemes] == [Action.STAT]
    assert [tuple(region)[:5] for region in first.regions] == [
        (0, 0, 4096, 3, 5),
        (0, 4096, 1 << 20, 0, 7),
    ]
    assert (first.index, second.index) == (0, 1)
    assert first.targets == (watched.found[0].target,)
    assert first.mappings == {1: watched.found[0].mappings}
    assert second.mappings is None
    assert first.max_nr_accesses == 20
    assert first.end_ns - first.start_ns == 100_000_000
    kdamond.close()
    assert files.number("nr_kdamonds") == 0
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_statistics_of_schemes_come_along(files, open_kdamond):
    def work(index, keyword):
        at = files.root / f"{index}/contexts/0/schemes/0"
        if keyword == "update_schemes_stats":
            (at / "stats/nr_tried").write_text("7\n")
            (at / "stats/sz_applied").write_text("8192\n")
        if keyword == "update_schemes_effective_quotas":
            (at / "quotas/effective_bytes").write_text("4096\n")

    files.on_command = work
    kdamond = open_kdamond(Watched(41), schemes=(PAGEOUT,))
    (snapshot,) = take(kdamond, 1)
    (state,) = snapshot.schemes
    assert (state.title, state.action) == ("pageout", "pageout")
    assert (state.stats.nr_tried, state.stats.sz_applied) == (7, 8192)
    assert state.effective_bytes == 4096
    assert [region.start for region in state.tried] == [0, 4096]
    actions = [scheme.action for scheme in KdamondFiles(files, 0).get().schemes]
    assert actions == [Action.PAGEOUT, Action.STAT]


def test_whether_watermarks_let_a_scheme_work(files, open_kdamond, monkeypatch):
    """Above high and below low it rests, below mid it starts again, in between it stays so."""
    looks = [300, 600, 450, 390, 450, 100, 200]
    seen = iter(looks)
    monkeypatch.setattr(meminfo, "free_permil", lambda: next(seen))
    marks = Watermarks("free_mem_rate", 5_000_000, 500, 400, 200)
    schemes = (Scheme(Action.COLD, watermarks=marks), PAGEOUT)
    snapshots = take(open_kdamond(Watched(41), schemes=schemes), len(looks))
    active = [[state.active for state in snapshot.schemes] for snapshot in snapshots]
    assert [first for first, _ in active] == [True, False, False, True, True, False, True]
    assert all(second for _, second in active)


def test_what_the_kernel_does_not_tell_is_unknown(open_kdamond):
    (snapshot,) = take(open_kdamond(Watched(41)), 1)
    cost = snapshot.cost
    assert (cost.checks, cost.cleared, cost.late_ns) == (None, None, None)
    assert cost.ticks == 20


def test_own_goals_are_read_for_each_window(files, open_kdamond):
    values = iter(range(1, 100))
    goal = Goal(Metric.OWN, 10, read=lambda: next(values))
    kdamond = open_kdamond(Watched(41), schemes=(Scheme(Action.COLD, quota=Quota(goals=(goal,))),))
    first, second = take(kdamond, 2)
    assert 0 < first.schemes[0].score < second.schemes[0].score
    assert [one for _, one in files.commands].count("commit_schemes_quota_goals") == 2


def test_commit_changes_attributes_and_schemes(files, open_kdamond):
    kdamond = open_kdamond(Watched(41))
    snapshots = kdamond.snapshots()
    next(snapshots)
    slower = Attrs(10_000, 400_000)
    kdamond.commit(slower, (PAGEOUT,))
    snapshot = next(snapshots)
    assert (snapshot.sample_us, snapshot.aggr_us) == (10_000, 400_000)
    assert kdamond.attrs == slower
    assert [state.action for state in snapshot.schemes] == ["pageout"]
    assert (0, "commit") in files.commands
    kdamond.commit(ATTRS)
    assert [state.action for state in next(snapshots).schemes] == ["pageout"]


def test_attributes_that_the_kernel_refuses_are_told(files, open_kdamond):
    def refuse(index, keyword):
        if keyword == "commit":
            raise OSError(errno.EINVAL, "no")

    files.on_command = refuse
    kdamond = open_kdamond(Watched(41))
    snapshots = kdamond.snapshots()
    next(snapshots)
    kdamond.commit(Attrs(7_000, 140_000))
    with pytest.raises(BadValueError):
        next(snapshots)


@pytest.mark.parametrize(
    ("version", "when", "refresh_ms"),
    [("6.15", "update_tuned_intervals", None), ("7.3", "update_schemes_tried_regions", 100)],
)
def test_tuned_intervals_are_recorded(tmp_path, folder, version, when, refresh_ms):
    """Asked for each time, or read from files that the kernel refreshes."""
    files = FakeDamon(tmp_path / "kdamonds", version)
    files.regions = [(0, 4096, 3, 5)]

    def tune(index, keyword):
        if keyword == when:
            at = files.root / f"{index}/contexts/0/monitoring_attrs/intervals"
            (at / "sample_us").write_text("7000\n")
            (at / "aggr_us").write_text("140000\n")

    files.on_command = tune
    attrs = Attrs(goal=IntervalsGoal())
    with Kdamond(
        Watched(41), attrs, files=files, tracing=tmp_path / "none", folder=folder
    ) as kdamond:
        (snapshot,) = take(kdamond, 1)
        assert (snapshot.sample_us, snapshot.aggr_us) == (7_000, 140_000)
        assert kdamond.attrs.sample_us == 7_000
        if refresh_ms is not None:
            assert files.number("0/refresh_ms") == refresh_ms
        asked = {keyword for _, keyword in files.commands}
        assert ("update_tuned_intervals" in asked) == (refresh_ms is None)


def test_it_ends_when_the_kernel_ends_it_or_stop_is_called(files, open_kdamond):
    kdamond = open_kdamond(Watched(41))
    snapshots = kdamond.snapshots()
    next(snapshots)
    files.command(0, "off")
    assert list(snapshots) == []
    stopped = open_kdamond(Watched(43))
    again = stopped.snapshots()
    next(again)
    stopped.stop()
    assert list(again) == []


def test_without_tracepoint_and_tried_regions_nothing_can_be_told(tmp_path, folder):
    files = FakeDamon(tmp_path / "kdamonds", "6.1")
    options = {"files": files, "tracing": tmp_path / "none", "folder": folder}
    with Kdamond(Watched(41), **options) as kdamond:
        with pytest.raises(NotSupportedError, match=r"tried_regions: Linux 6\.2 is the first"):
            take(kdamond, 1)
        assert files.commands == []
    with pytest.raises(NotSupportedError, match="damon_aggregated cannot be used"):
        Kdamond(Watched(41), source="tracepoint", **options)
    assert files.number("nr_kdamonds") == 0


def test_operations_that_were_not_built_are_refused_at_once(files, folder, open_kdamond):
    create = files.create

    def built(at):
        create(at)
        if (files.root / at / "avail_operations").exists():
            (files.root / at / "avail_operations").write_text("paddr\n")

    files.create = built
    with pytest.raises(NotSupportedError, match="has no vaddr operations, only paddr"):
        open_kdamond(Watched(41))
    assert files.number("nr_kdamonds") == 0
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_events_share_out_what_was_applied_in_sum(files, open_kdamond):
    applied = 0

    def work(index, keyword):
        nonlocal applied
        if keyword == "update_schemes_stats":
            applied += 1 << 19
            stats = files.root / f"{index}/contexts/0/schemes/0/stats"
            (stats / "sz_applied").write_text(f"{applied}\n")

    files.on_command = work
    seen = []
    kdamond = open_kdamond(Watched(41), schemes=(PAGEOUT,), observe=seen.append)
    take(kdamond, 2)
    assert [event.kind for event in seen] == ["done"] * 4
    assert [event.tried.start for event in seen] == [0, 4096] * 2
    assert sum(event.done.applied_bytes for event in seen) == 1 << 20
    assert seen[0].done.applied_bytes == (1 << 19) // 256


def test_what_was_counted_before_its_window_was_told_is_told_with_the_next(files, open_kdamond):
    counts = iter([3 << 19, 4 << 19])

    def work(index, keyword):
        if keyword == "update_schemes_stats":
            stats = files.root / f"{index}/contexts/0/schemes/0/stats"
            (stats / "sz_applied").write_text(f"{next(counts)}\n")

    files.on_command = work
    seen = []
    take(open_kdamond(Watched(41), schemes=(PAGEOUT,), observe=seen.append), 2)
    assert sum(event.done.applied_bytes for event in seen) == 4 << 19


def test_a_dry_run_has_the_kernel_count_only(files, open_kdamond):
    migrate = Scheme(Action.MIGRATE_COLD, target_nid=1)
    kdamond = open_kdamond(Watched(41), schemes=(PAGEOUT, migrate), dry_run=True)
    (snapshot,) = take(kdamond, 1)
    assert [state.action for state in snapshot.schemes] == ["pageout", "migrate_cold"]
    schemes = KdamondFiles(files, 0).get().schemes
    assert [one.action for one in schemes] == [Action.STAT] * 3
    assert schemes[0].quota == PAGEOUT.quota
