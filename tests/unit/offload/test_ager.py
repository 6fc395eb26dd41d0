"""Clearing accessed bits by the kernel's DAMON: what it is told, and when it is refused."""

import errno
import json
import os

import pytest

from isotherm.errors import IsothermError, NotSupportedError
from isotherm.kernel.damon.ager import FolioAger, obstacle
from isotherm.kernel.damon.claim import SLOTS, claimed
from isotherm.kernel.damon.context import Context, KdamondFiles
from isotherm.kernel.damon.sysfs import LEAVE_DAMON
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, FilterType
from support.fake_damon import FakeDamon

MIB = 1 << 20
RANGES = (Range(4 * MIB, 6 * MIB), Range(9 * MIB, 10 * MIB))


@pytest.fixture(autouse=True)
def _not_left_alone(monkeypatch):
    monkeypatch.delenv(LEAVE_DAMON, raising=False)


@pytest.fixture
def ager(files, folder):
    with FolioAger(files, folder) as one:
        yield one


def context(files):
    return KdamondFiles(files, 0).get()


def test_the_scheme_finds_what_is_young_and_lets_nothing_pass(files, ager):
    ager.clear(RANGES)
    told = context(files)
    assert told.operations == "paddr"
    assert [(one.pid, one.regions) for one in told.targets] == [(None, RANGES)]
    (scheme,) = told.schemes
    assert scheme.action is Action.LRU_PRIO
    filters = [(one.type, one.matching, one.allow) for one in scheme.filters]
    assert filters == [
        (FilterType.YOUNG, True, False),
        (FilterType.ANON, True, False),
        (FilterType.ANON, False, False),
    ]


def test_it_runs_once_for_each_call_and_is_off_between(files, ager):
    for count in (1, 2, 3):
        ager.clear(RANGES)
        assert files.commands == [(0, "on"), (0, "off")] * count
        assert not KdamondFiles(files, 0).running
    assert ager.clear([]) == 0
    assert len(files.commands) == 6


def test_ranges_are_written_when_they_change(files, ager, monkeypatch):
    ager.clear(RANGES)
    written = []
    monkeypatch.setattr(files, "refuse_bad", lambda path, text: written.append((path, text)))
    ager.clear(list(RANGES))
    assert written == []
    ager.clear(RANGES[1:])
    assert context(files).targets[0].regions == RANGES[1:]
    assert all("/targets" in path for path, _ in written)


def test_ranges_that_could_not_be_written_are_written_again(files, ager, monkeypatch):
    ager.clear(RANGES)
    with monkeypatch.context() as patch:
        patch.setattr(files, "resize", lambda *_: pytest.fail("half written"))
        with pytest.raises(pytest.fail.Exception):
            ager.clear(RANGES[1:])
    ager.clear(RANGES)
    assert context(files).targets[0].regions == RANGES


def test_it_stays_ours_and_is_given_back(files, folder):
    with FolioAger(files, folder) as ager:
        ager.clear(RANGES)
        assert claimed(folder) == {0}
        (path,) = folder.glob("*.json")
        (change,) = json.loads(path.read_text())["changes"]
        assert change["thread"] == files.next_pid - 1
        with FolioAger(files, folder) as another:
            another.clear(RANGES)
            assert claimed(folder) == {0, 1}
        assert files.number("nr_kdamonds") == SLOTS
    ager.close()
    assert files.number("nr_kdamonds") == 0
    assert not list(folder.glob("*.json"))


@pytest.mark.parametrize("calls", [0, 2])
def test_one_that_was_killed_amid_a_call_is_stopped_by_the_next(files, folder, monkeypatch, calls):
    lost = FolioAger(files, folder)
    for _ in range(calls):
        lost.clear(RANGES)
    with monkeypatch.context() as patch:
        patch.setattr(FolioAger, "_run_once", lambda _: None)
        lost.clear(RANGES)
    assert KdamondFiles(files, 0).running
    (path,) = folder.glob("*.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"start_ticks": content["start_ticks"] - 1}))
    with FolioAger(files, folder) as heir:
        assert not KdamondFiles(files, 0).running
        heir.clear(RANGES)
    lost._claim.state._content["changes"].clear()


def test_a_kernel_thread_that_ended_by_itself_is_told_of(files, ager):
    def end(index, keyword):
        if keyword == "on":
            files.show(index, "off", -1)

    files.on_command = end
    with pytest.raises(IsothermError, match="ended before"):
        ager.clear(RANGES)


@pytest.mark.parametrize("version", ["6.9", "6.10", "6.15", "7.3"])
def test_a_kernel_without_the_filter_is_refused_and_left_as_it_was(tmp_path, folder, version):
    files = FakeDamon(tmp_path / "other", version, patience_s=0.01)
    if version == "6.9":
        with pytest.raises(NotSupportedError, match=r"young: Linux 6\.10 is the first"):
            FolioAger(files, folder)
    else:
        with FolioAger(files, folder) as ager:
            ager.clear(RANGES)
            assert len(context(files).schemes[0].filters) == 3
    assert files.number("nr_kdamonds") == 0
    assert not list(folder.glob("*.json"))


def test_what_others_run_is_left_alone(files, folder):
    files.resize("", "kdamonds", 1)
    other = KdamondFiles(files, 0)
    other.put(Context("paddr"))
    other.command("on")
    with pytest.raises(NotSupportedError, match="in use by somebody else"):
        FolioAger(files, folder)
    assert other.running


def test_why_not(monkeypatch, tmp_path):
    monkeypatch.setenv(LEAVE_DAMON, "1")
    assert obstacle() == f"the kernel's DAMON is to be left alone: {LEAVE_DAMON} is set"
    monkeypatch.delenv(LEAVE_DAMON)
    monkeypatch.setattr(FakeDamon, "create", lambda *_: None)
    with pytest.raises(NotSupportedError, match="has no DAMON"):
        FolioAger(FakeDamon(tmp_path / "none", "6.12"))


def test_no_thread_of_the_kernel_is_waited_for_long(files, ager, monkeypatch):
    """One that never idles, as this process: after the patience it is stopped all the same."""
    monkeypatch.setattr("isotherm.kernel.damon.ager._PATIENCE_S", 0.001)
    files.next_pid = os.getpid()
    assert ager.clear(RANGES) > 0
    assert files.commands == [(0, "on"), (0, "off")]


@pytest.mark.parametrize(
    "moment",
    ["contexts/0/targets/0/regions/nr_regions", "contexts/0/targets/0/regions/0/start", "state"],
)
def test_a_tree_taken_away_at_any_moment_is_told_as_that(files, folder, monkeypatch, moment):
    def taken_away(path, text):
        if path == f"0/{moment}":
            store("nr_kdamonds", "0")
        store(path, text)

    with FolioAger(files, folder) as ager:
        store = files._store
        monkeypatch.setattr(files, "_store", taken_away)
        with pytest.raises(IsothermError, match="somebody else took the kernel's DAMON away"):
            ager.clear(RANGES)


def test_a_file_that_goes_while_it_is_open_is_told_as_taken_away(files, ager, monkeypatch):
    def gone(_path, _text):
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(files, "_store", gone)
    with pytest.raises(IsothermError, match="somebody else took the kernel's DAMON away"):
        ager.clear(RANGES)
    monkeypatch.undo()
