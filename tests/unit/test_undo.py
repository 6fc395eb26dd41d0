import json
import os
import subprocess
import sys

import pytest

from isotherm.errors import IsothermError, NotPermittedError
from isotherm.kernel import undo
from support.killed import run_and_kill

NOTE_AND_WAIT = """
import sys, time
from pathlib import Path
from isotherm.kernel.undo import StateFile
state = StateFile("test", {}, Path(sys.argv[1]))
target = Path(sys.argv[2])
state.note("write", path=str(target), text=target.read_text())
target.write_text("changed")
(target.parent / "made").mkdir()
state.note("folder", path=str(target.parent / "made"))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "setting").write_text("before")
    return tmp_path / "state"


def test_changes_are_undone_last_first_and_the_file_goes(folder):
    undone = []
    state = undo.StateFile("test", {"mine": lambda change: undone.append(change["n"])}, folder)
    assert list(folder.iterdir()) == []
    state.note("mine", n=1)
    change = state.note("mine", n=2)
    change["n"] = 3
    state.save()
    (path,) = folder.glob("*.json")
    content = json.loads(path.read_text())
    assert (content["pid"], content["boot_id"]) == (os.getpid(), undo.boot_id())
    assert undo.living("test", folder) == [{"kind": "mine", "n": 1}, {"kind": "mine", "n": 3}]
    assert undo.living("other", folder) == []
    state.undo_all()
    assert undone == [3, 1]
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_what_cannot_be_undone_stays_written(folder):
    def fail(change):
        raise IsothermError("no")

    undone = []
    undoers = {"bad": fail, "good": lambda change: undone.append(1)}
    state = undo.StateFile("test", undoers, folder)
    for kind in ("good", "bad", "good"):
        state.note(kind)
    with pytest.raises(IsothermError, match="no"):
        state.undo_all()
    assert undone == [1, 1]
    assert undo.living("test", folder) == [{"kind": "bad"}]


def test_what_a_killed_process_left_is_undone(folder, tmp_path):
    setting = tmp_path / "setting"
    run_and_kill(NOTE_AND_WAIT, folder, setting)
    assert setting.read_text() == "changed"
    (line,) = undo.recover({}, folder)
    assert "test of process" in line
    assert "undone" in line
    assert setting.read_text() == "before"
    assert not (tmp_path / "made").exists()
    assert undo.recover({}, folder) == []


def test_what_a_living_process_did_stays(folder, tmp_path):
    command = [sys.executable, "-c", NOTE_AND_WAIT, str(folder), str(tmp_path / "setting")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert undo.recover({}, folder) == []
        assert len(undo.living("test", folder)) == 2
        child.kill()
    assert (tmp_path / "setting").read_text() == "changed"
    assert undo.living("test", folder) == []


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"boot_id": "another"}, False),
        ({"pid_namespace": 1}, True),
        ({"changes": [{"kind": "unheard of"}]}, True),
        ({"format": 2}, True),
    ],
)
def test_files_that_are_not_for_us_to_undo(folder, tmp_path, change, kept):
    run_and_kill(NOTE_AND_WAIT, folder, tmp_path / "setting")
    (path,) = folder.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert undo.recover({}, folder) == []
    assert path.exists() == kept
    assert (tmp_path / "setting").read_text() == "changed"


def test_a_folder_that_others_may_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if os.getuid() == 0:
        (tmp_path / "isotherm").mkdir()
        os.chown(tmp_path / "isotherm", 1, 1)
    assert undo.state_folder() == tmp_path / "isotherm"
    (tmp_path / "isotherm").chmod(0o777)
    with pytest.raises(NotPermittedError, match="not ours alone"):
        undo.state_folder()


def test_a_change_may_be_noted_under_the_lock(folder):
    state = undo.StateFile("test", {}, folder)
    with undo.locked(folder), undo.locked(folder):
        state.note("write", path=str(folder / "none"), text="")
    state.undo_all()
