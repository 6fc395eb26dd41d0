"""The kernel's DAMON at work in a thread of ours: its news, its end, and what it leaves behind."""

import threading
import time

import pytest

from isotherm.errors import IsothermError, NotSupportedError
from isotherm.kernel.damon.ager import FolioAger, hindrance
from isotherm.kernel.damon.background import BackgroundAger, Cleared, Ready
from isotherm.kernel.damon.claim import claimed
from isotherm.kernel.damon.context import KdamondFiles
from isotherm.kernel.damon.sysfs import LEAVE_DAMON
from isotherm.model.ranges import Range
from support.waiting import wait_for

MIB = 1 << 20
RANGES = (Range(4 * MIB, 6 * MIB), Range(9 * MIB, 10 * MIB))


@pytest.fixture(autouse=True)
def _not_left_alone(monkeypatch):
    monkeypatch.delenv(LEAVE_DAMON, raising=False)


@pytest.fixture
def ager(files, folder):
    one = BackgroundAger(lambda: FolioAger(files, folder))
    yield one
    one.close()


def news_of(ager):
    found = []
    wait_for(lambda: found or found.extend(filter(None, [ager.take()])))
    return found[0]


def test_nothing_is_claimed_before_it_is_needed(files, folder, ager):
    assert ager.take() is None
    assert claimed(folder) == frozenset()
    assert files.number("nr_kdamonds") == 0
    ager.close()


def test_it_clears_only_when_it_is_told_to_begin(files, folder, ager):
    for ranges in (RANGES, RANGES[1:], RANGES):
        files.commands.clear()
        ager.prepare(ranges)
        assert news_of(ager) == Ready()
        assert files.commands == []
        assert KdamondFiles(files, 0).get().targets[0].regions == ranges
        before = time.monotonic_ns()
        ager.begin()
        cleared = news_of(ager)
        assert isinstance(cleared, Cleared)
        assert before <= cleared.ended_ns <= time.monotonic_ns()
        assert cleared.cpu_ns > 0
        assert files.commands == [(0, "on"), (0, "off")]
    assert claimed(folder) == {0}


def test_it_does_not_wait_for_the_kernel(files, ager):
    entered, leave = threading.Event(), threading.Event()

    def hang(index, keyword):
        if keyword == "off":
            entered.set()
            leave.wait(30)

    files.on_command = hang
    ager.prepare(RANGES)
    news_of(ager)
    ager.begin()
    assert entered.wait(30)
    assert ager.take() is None
    leave.set()
    assert isinstance(news_of(ager), Cleared)


@pytest.mark.parametrize("begun", [False, True])
def test_all_is_given_back_at_the_end(files, folder, ager, begun):
    ager.prepare(RANGES)
    news_of(ager)
    if begun:
        ager.begin()
    ager.close()
    ager.close()
    assert files.number("nr_kdamonds") == 0
    assert claimed(folder) == frozenset()
    assert not list(folder.glob("*.json"))


def test_what_fails_is_told_and_given_back(files, folder, ager):
    files.on_command = lambda index, keyword: files.show(index, "off", -1)
    ager.prepare(RANGES)
    news_of(ager)
    ager.begin()
    with pytest.raises(IsothermError, match="ended before"):
        news_of(ager)
    ager.close()
    assert claimed(folder) == frozenset()


def test_a_tree_that_was_taken_away_is_told(files, ager):
    ager.prepare(RANGES)
    news_of(ager)
    files.write("nr_kdamonds", 0)
    ager.begin()
    with pytest.raises(IsothermError, match="took the kernel's DAMON away"):
        news_of(ager)


def test_somebody_elses_is_told(files, folder, ager):
    files.resize("", "kdamonds", 1)
    other = KdamondFiles(files, 0)
    other.resize(1)
    other.command("on")
    ager.prepare(RANGES)
    with pytest.raises(NotSupportedError, match="in use by somebody else"):
        news_of(ager)
    assert other.running


def test_what_speaks_against_it_shows_without_a_change(files, tmp_path, monkeypatch):
    assert hindrance(files) == ""
    assert files.number("nr_kdamonds") == 0
    (tmp_path / "damon_stat/parameters").mkdir(parents=True)
    (tmp_path / "damon_stat/parameters/enabled").write_text("Y\n")
    assert "damon_stat" in hindrance(files, modules=tmp_path)
    monkeypatch.setenv(LEAVE_DAMON, "1")
    assert LEAVE_DAMON in hindrance(files)
    monkeypatch.delenv(LEAVE_DAMON)
    (files.root / "nr_kdamonds").unlink()
    assert hindrance(files) == "this kernel has no DAMON"
