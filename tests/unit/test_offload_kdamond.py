"""The backend over a fake tree: what the kernel is told, and that everything is put back."""

import json
from contextlib import suppress

import pytest

from isotherm.core.ops import TargetRanges
from isotherm.errors import NotSupportedError, TargetGoneError
from isotherm.kernel import meminfo, undo
from isotherm.kernel.damon_context import Context, DamonTarget, KdamondFiles
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.scheme import Action, Goal, Metric, Pattern, Quota, Scheme, Watermarks
from isotherm.model.target import Mapping, Range, Target
from isotherm.offload import claim
from isotherm.offload.claim import SLOTS, Claim, claimed
from isotherm.offload.kdamond import Kdamond
from isotherm.offload.physical import PhysicalMemory, system_ram
from support.fake_damon import FakeDamon

ATTRS = Attrs(5_000, 100_000, 0, 10, 100)
PAGEOUT = Scheme(Action.PAGEOUT, Pattern(), quota=Quota(size_bytes=1 << 20))


class Watched:
    """Targets that a test changes."""

    def __init__(self, *pids):
        self.found = [self.make(pid) for pid in pids]
        self.closed = False

    def make(self, pid):
        mapping = Mapping(0, 1 << 20, "rw-p", f"memory of {pid}")
        return TargetRanges(Target(pid - 40, f"p{pid}", pid), (Range(0, 1 << 20),), (mapping,))

    def targets(self):
        return self.found

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def _no_modules(monkeypatch, tmp_path):
    monkeypatch.setattr(claim, "_MODULES", tmp_path / "no modules")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def files(tmp_path):
    fake = FakeDamon(tmp_path / "kdamonds", "6.12", patience_s=0.01)
    fake.regions = [(0, 4096, 3, 5), (4096, 1 << 20, 0, 7)]
    return fake


@pytest.fixture
def open_kdamond(files, folder, tmp_path):
    opened = []

    def make(watched, attrs=ATTRS, schemes=(), **options):
        one = Kdamond(
            watched,
            attrs,
            schemes,
            files=files,
            tracing=tmp_path / "none",
            folder=folder,
            **options,
        )
        opened.append(one)
        return one

    yield make
    for one in opened:
        one.close()


def take(kdamond, count):
    found = []
    for snapshot in kdamond.snapshots():
        found.append(snapshot)
        if len(found) == count:
            break
    return found


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
    assert watched.closed
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


def test_new_processes_are_committed_and_dead_ones_are_not(files, open_kdamond):
    watched = Watched(41)
    kdamond = open_kdamond(watched)
    snapshots = kdamond.snapshots()
    next(snapshots)
    watched.found.append(watched.make(43))
    next(snapshots)
    snapshot = next(snapshots)
    assert [target.pid for target in snapshot.targets] == [41, 43]
    assert [target.pid for target in KdamondFiles(files, 0).get().targets] == [41, 43]
    commits = files.commands.count((0, "commit"))
    del watched.found[0]
    next(snapshots)
    assert [target.pid for target in next(snapshots).targets] == [41, 43]
    assert files.commands.count((0, "commit")) == commits == 1


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


def test_a_zombie_is_no_target(open_kdamond):
    """The kernel monitors it for ever: only its parent's wait ends that."""
    watched = Watched(41)
    snapshots = open_kdamond(watched).snapshots()
    next(snapshots)
    watched.found.clear()
    assert list(snapshots) == []


def test_nothing_to_monitor(open_kdamond):
    with pytest.raises(TargetGoneError, match="no target"):
        take(open_kdamond(Watched()), 1)


def test_fvaddr_stays_within_the_ranges_of_its_target(files, open_kdamond):
    take(open_kdamond(Watched(41), operations="fvaddr"), 1)
    context = KdamondFiles(files, 0).get()
    assert context.operations == "fvaddr"
    assert context.targets == (DamonTarget(41, (Range(0, 1 << 20),)),)


def test_several_at_once_and_the_last_one_tidies_up(files, open_kdamond):
    one, two = open_kdamond(Watched(41)), open_kdamond(Watched(43))
    take(one, 1)
    take(two, 1)
    assert (one.index, two.index) == (0, 1)
    one.close()
    assert files.number("nr_kdamonds") == SLOTS
    assert KdamondFiles(files, 1).running
    two.close()
    assert files.number("nr_kdamonds") == 0


def foreign(files, *, running):
    files.resize("", "kdamonds", 1)
    other = KdamondFiles(files, 0)
    other.put(Context("paddr", targets=(DamonTarget(None, (Range(0, 1 << 30),)),)))
    if running:
        other.command("on")
    return other


@pytest.mark.parametrize("running", [True, False])
def test_what_others_configured_is_left_alone(files, folder, open_kdamond, running):
    other = foreign(files, running=running)
    before, commands = other.get(), list(files.commands)
    phrase = "in use by somebody else" if running else "configured by somebody else"
    with pytest.raises(NotSupportedError, match=phrase):
        open_kdamond(Watched(41))
    assert (other.get(), other.running, files.commands) == (before, running, commands)
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_free_directory_of_others_is_used_and_left_free(files, open_kdamond):
    files.resize("", "kdamonds", 2)
    other = KdamondFiles(files, 0)
    other.put(Context("paddr"))
    other.command("on")
    kdamond = open_kdamond(Watched(41))
    take(kdamond, 1)
    assert kdamond.index == 1
    kdamond.close()
    assert files.number("nr_kdamonds") == 2
    assert other.running
    assert KdamondFiles(files, 1).contexts == 0


def test_modules_of_the_kernel_exclude_us(files, folder, tmp_path):
    parameter = tmp_path / "module/damon_stat/parameters/enabled"
    parameter.parent.mkdir(parents=True)
    parameter.write_text("Y\n")
    with pytest.raises(NotSupportedError, match="module damon_stat runs DAMON"):
        Claim(files, folder, modules=tmp_path / "module")
    assert files.number("nr_kdamonds") == 0


def abandon(folder):
    """Make the state file of a living process look like that of a killed one."""
    (path,) = folder.glob("*.json")
    content = json.loads(path.read_text())
    content["start_ticks"] -= 1
    path.write_text(json.dumps(content))


def test_what_a_killed_isotherm_left_is_cleared_away(files, folder, open_kdamond):
    lost = open_kdamond(Watched(41))
    take(lost, 1)
    abandon(folder)
    commands = len(files.commands)
    heir = open_kdamond(Watched(43))
    assert (0, "off") in files.commands[commands:]
    take(heir, 1)
    assert [target.pid for target in KdamondFiles(files, 0).get().targets] == [43]
    assert claimed(folder) == {0}
    # What follows is the end of a process that is dead in truth.
    lost._claim.state._content["changes"].clear()


def test_a_kdamond_that_somebody_took_over_is_not_cleared_away(files, folder, open_kdamond):
    lost = open_kdamond(Watched(41))
    take(lost, 1)
    abandon(folder)
    files.command(0, "off")
    other = KdamondFiles(files, 0)
    other.put(Context("paddr"))
    other.command("on")
    assert undo.recover({"kdamond": lost._claim.state._undoers["kdamond"]}, folder)
    assert other.running
    assert other.get().operations == "paddr"
    lost._claim.state._content["changes"].clear()


def test_a_kernel_thread_that_never_told_its_pid_is_known_by_its_targets(files, folder):
    mine = Claim(files, folder)
    mine.watches([41])
    mine.kdamond.put(Context(targets=(DamonTarget(41),)))
    mine.kdamond.command("on")
    mine.release()
    assert files.number("nr_kdamonds") == 0


def test_the_state_file_tells_before_anything_is_changed(files, folder, monkeypatch):
    def refuse(*arguments):
        (path,) = folder.glob("*.json")
        seen.append(json.loads(path.read_text())["changes"])
        raise NotSupportedError("busy")

    seen = []
    monkeypatch.setattr(files, "resize", refuse)
    with suppress(NotSupportedError):
        Claim(files, folder)
    assert seen[0] == [{"kind": "kdamond", "index": 0, "made": True, "thread": None, "pids": []}]


IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-bffdbfff : System RAM
  01000000-01e02fff : Kernel code
100000000-23fffffff : System RAM
"""


def test_physical_memory_is_one_target_of_all_system_ram(tmp_path, files, open_kdamond):
    (tmp_path / "iomem").write_text(IOMEM)
    ram = system_ram(tmp_path / "iomem")
    assert ram == (
        Range(0x1000, 0x9FC00),
        Range(0x100000, 0xBFFDC000),
        Range(0x100000000, 0x240000000),
    )
    kdamond = open_kdamond(PhysicalMemory(ram=ram), operations="paddr")
    (before,) = kdamond.targets
    (snapshot,) = take(kdamond, 1)
    assert KdamondFiles(files, 0).get().targets == (DamonTarget(None, ram),)
    (target,) = snapshot.targets
    assert before.target == target
    assert (target.title, target.pid, target.mapped_bytes) == ("physical memory", None, None)
    assert [(one.start, one.end, one.name) for one in snapshot.mappings[0]] == [
        (*one, "System RAM") for one in ram
    ]


def test_ranges_of_physical_memory_keep_the_whole_map(files, open_kdamond):
    ram, some = (Range(0, 1 << 30),), (Range(1 << 20, 1 << 21), Range(1 << 24, 1 << 25))
    (snapshot,) = take(open_kdamond(PhysicalMemory(some, ram), operations="paddr"), 1)
    assert KdamondFiles(files, 0).get().targets == (DamonTarget(None, some),)
    assert [one.size for one in snapshot.mappings[0]] == [1 << 30]


ZONEINFO = """\
Node 0, zone      DMA
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone    DMA32
        spanned  1044480
  start_pfn:           4096
Node 0, zone  Movable
        spanned  0
  start_pfn:           0
Node 1, zone   Normal
        spanned  1024
  start_pfn:           2097152
"""


def test_where_iomem_lists_no_memory_zones_tell(tmp_path):
    (tmp_path / "iomem").write_text("00000000-00000fff : Reserved\n")
    (tmp_path / "zoneinfo").write_text(ZONEINFO)
    assert system_ram(tmp_path / "iomem", tmp_path / "zoneinfo") == (
        Range(4096, 1048576 * 4096),
        Range(2097152 * 4096, 2098176 * 4096),
    )


def test_physical_memory_is_hidden_from_others(tmp_path):
    (tmp_path / "iomem").write_text("00000000-00000000 : System RAM\n" * 2)
    with pytest.raises(NotSupportedError, match="does not tell where memory is"):
        system_ram(tmp_path / "iomem")


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


def test_a_dry_run_has_the_kernel_count_only(files, open_kdamond):
    migrate = Scheme(Action.MIGRATE_COLD, target_nid=1)
    kdamond = open_kdamond(Watched(41), schemes=(PAGEOUT, migrate), dry_run=True)
    (snapshot,) = take(kdamond, 1)
    assert [state.action for state in snapshot.schemes] == ["pageout", "migrate_cold"]
    schemes = KdamondFiles(files, 0).get().schemes
    assert [one.action for one in schemes] == [Action.STAT] * 3
    assert schemes[0].quota == PAGEOUT.quota
