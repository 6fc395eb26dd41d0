"""Processes by name, as pidof -x finds them, and by user."""

import os
import shutil
import subprocess
import sys

import pytest

from isotherm.errors import BadValueError, TargetGoneError
from isotherm.targets.processes import ProcessSet
from isotherm.targets.sources import NameSource, UserSource
from support.waiting import wait_for

WAIT = "import time; print(flush=True); time.sleep(600)"


@pytest.fixture
def run():
    started = []

    def start(*words, **options):
        child = subprocess.Popen(words, stdout=subprocess.PIPE, **options)
        started.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "isotherm-a-script-with-a-long-name.py"
    path.write_text(f"#!{sys.executable}\n{WAIT}\n")
    path.chmod(0o755)
    return path


def found(name):
    try:
        return NameSource(name).pids()
    except TargetGoneError:
        return []


def test_a_script_by_its_name_and_its_path(run, script):
    child = run(str(script))
    assert found(script.name) == [child.pid]
    assert found(str(script)) == [child.pid]
    assert found(script.name[:15]) == [child.pid]  # what ps shows


def test_the_same_as_pidof(run, script):
    if shutil.which("pidof") is None:
        pytest.skip("pidof is not installed")
    run(str(script))
    run(sys.executable, str(script))  # not by its own name
    run("odd name", "-c", WAIT, executable=sys.executable)
    run("/somewhere/isotherm-program", "-c", WAIT, executable=sys.executable)
    for name in (script.name, str(script), "odd name", "isotherm-program", "isotherm-nobody"):
        told = subprocess.run(
            ["pidof", "-x", name], capture_output=True, text=True, check=False
        ).stdout
        assert sorted(map(int, told.split())) == found(name), name


def test_a_program_by_its_path_whatever_it_calls_itself(run):
    child = run("a title of its own", "-c", WAIT, executable=sys.executable)
    assert child.pid in found(os.path.realpath(sys.executable))


def test_a_regular_expression_in_slashes(run):
    first, second = (
        run(f"isotherm-worker-{i}", "-c", WAIT, executable=sys.executable) for i in (1, 22)
    )
    assert found("/^isotherm-worker-[0-9]$/") == [first.pid]
    assert found("/otherm-worker/") == sorted([first.pid, second.pid])
    assert found("/^worker/") == []
    with pytest.raises(BadValueError, match="no regular expression"):
        NameSource("/wor(ker/")


def test_who_takes_the_name_later_and_who_execs(run):
    first = run("isotherm-late", "-c", WAIT, executable=sys.executable)
    processes = ProcessSet([NameSource("isotherm-late")])
    try:
        becomes = (
            "import os, sys; print(flush=True); sys.stdin.readline(); "
            f"os.execv(sys.executable, ['isotherm-late', '-c', {WAIT!r}])"
        )
        second = run(sys.executable, "-c", becomes, stdin=subprocess.PIPE)
        assert [p.pid for p in processes.refresh()] == [first.pid]
        second.stdin.write(b"\n")
        second.stdin.close()
        wait_for(lambda: second.pid in [p.pid for p in processes.refresh()])
    finally:
        processes.close()


def test_children_of_who_has_the_name_are_followed_whatever_they_are_called(run):
    code = f"import subprocess, sys; subprocess.Popen(['sleep', '600']); {WAIT}"
    parent = run("isotherm-parent", "-c", code, executable=sys.executable)
    processes = ProcessSet([NameSource("isotherm-parent")])
    try:
        wait_for(lambda: len(processes.refresh()) == 2)
        child = next(p for p in processes.members if p.pid != parent.pid)
        assert child.source.kind == "name"
    finally:
        processes.close()
        os.kill(child.pid, 9)


def test_the_processes_of_a_user(run):
    if os.geteuid():
        mine = run(sys.executable, "-c", WAIT)
        assert mine.pid in UserSource(str(os.geteuid())).pids()
        return
    nobody = run("sh", "-c", "echo; exec sleep 600", user=65534)
    root = run(sys.executable, "-c", WAIT)
    assert nobody.pid in UserSource("nobody").pids()
    assert nobody.pid in UserSource("65534").pids()
    assert root.pid not in UserSource("nobody").pids()
    assert root.pid in UserSource("root").pids()
    with pytest.raises(TargetGoneError, match="no process belongs to user"):
        UserSource("54321").pids()


def test_there_is_no_such_user():
    with pytest.raises(BadValueError, match="there is no user"):
        UserSource("isotherm-nobody")
    with pytest.raises(BadValueError, match="there is no user"):
        UserSource("99999999999")
