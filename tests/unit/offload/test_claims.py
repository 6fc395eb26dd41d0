"""Whose kdamond it is: nothing of others is touched, and what the dead left is cleared away."""

import json
from contextlib import suppress

import pytest

from isotherm.errors import NotSupportedError
from isotherm.kernel import undo
from isotherm.kernel.damon.claim import SLOTS, Claim, claimed
from isotherm.kernel.damon.context import Context, DamonTarget, KdamondFiles
from isotherm.model.ranges import Range
from support.offload import Watched, take


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
