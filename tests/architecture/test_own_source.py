"""A way to say who is meant that isotherm knows nothing of: its option, its living members."""

import subprocess
import sys

import pytest

import isotherm
from isotherm.cli import main
from isotherm.errors import BadValueError, TargetGoneError
from isotherm.targets import sources
from isotherm.targets.sources import TargetSource

FAST = {"sample": "5ms", "aggr": "50ms", "update": "50ms"}


class Marked(TargetSource):
    """The processes of a file, a number a line."""

    kind = "marked"
    options = ("--marked",)
    metavar = "FILE"
    help = "The processes that this file lists."
    living = True

    def __init__(self, path):
        self.path = path

    @classmethod
    def parse(cls, text):
        if not text.endswith(".pids"):
            raise BadValueError(f"{text} is no list of processes", hint="NAME.pids")
        return cls(text)

    @property
    def group(self):
        return "marked ones"

    def pids(self):
        with open(self.path) as file:  # noqa: PTH123
            found = [int(line) for line in file]
        if not found:
            raise TargetGoneError("nobody is marked")
        return found


@pytest.fixture
def registered():
    sources.register(Marked)
    yield Marked
    sources.unregister(Marked.kind)


@pytest.fixture
def program():
    started = []

    def start():
        code = "print(flush=True); import time; time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        started.append(child)
        return child.pid

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


def test_the_command_line_has_its_option(registered, program, tmp_path, capsys):
    listed, pid = tmp_path / "some.pids", program()
    listed.write_text(f"{pid}\n")
    output = tmp_path / "own.isotherm"
    words = ["--sample", "5ms", "--aggr", "50ms", "-d", "300ms", "-o", str(output)]
    assert main(["record", "--marked", str(listed), *words]) == 0
    assert str(pid) in capsys.readouterr().err
    assert [target.pid for target in next(iter(isotherm.open(output))).targets] == [pid]
    assert main(["record", "--marked", "some.txt"]) == 2
    assert "hint: NAME.pids" in capsys.readouterr().err
    assert main(["record", "--help"]) == 0
    assert "--marked FILE" in capsys.readouterr().out


def test_members_come_and_go(program, tmp_path):
    """As asked for with a value, without any registration."""
    listed, first = tmp_path / "some.pids", program()
    listed.write_text(f"{first}\n")
    with isotherm.monitor(sources=[Marked(listed)], **FAST) as session:
        stream = iter(session.snapshots())
        assert [target.pid for target in next(stream).targets] == [first]
        second = program()
        listed.write_text(f"{first}\n{second}\n")
        assert until(stream, {first, second})
        listed.write_text(f"{second}\n")
        assert until(stream, {second})


def test_nobody_at_the_start_is_told(tmp_path):
    listed = tmp_path / "some.pids"
    listed.write_text("")
    with pytest.raises(TargetGoneError, match="nobody is marked"):
        isotherm.monitor(sources=[Marked(listed)])


def until(stream, pids):
    """Whether these, and only these, are the targets within a hundred windows."""
    for _, snapshot in zip(range(100), stream, strict=False):
        if {target.pid for target in snapshot.targets} == pids:
            return True
    return False
