"""`isotherm top`: who is meant, what is printed where there is no terminal, and how it ends."""

import os
import signal
import subprocess
import sys

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, MS, fixed
from isotherm.cli import main
from isotherm.clock import VirtualClock
from isotherm.live.plain import PlainSink
from isotherm.live.rows import Wish
from isotherm.recording.writer import RecordingWriter
from isotherm.session.run import run
from support.living import HOSTILE, window
from support.snapshots import S, phases
from support.terminals import Terminal


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {"backend": "sim"}) as writer:
        for second in range(45):
            writer.write(window(second))
    return path


def test_a_moment_of_a_recording_is_printed(recording, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["top", "--replay", str(recording), "-t", "20s ago", "--sort", "name"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["x.isotherm", "25s", "of", "45s"]
    assert "resident 370M" in lines[1]
    assert lines[2].split()[:3] == ["PID", "NAME", "RES"]
    assert "x1b]0;" in "".join(lines)
    assert "".join(lines).isprintable()
    assert HOSTILE not in "".join(lines)


def test_rows_beyond_those_asked_for_are_counted(recording, capsys):
    assert main(["top", "--replay", str(recording), "--rows", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == " 3 more"
    assert main(["top", "--replay", str(recording), "--rows", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3 + 4


def test_without_a_map_of_pages_it_says_that_regions_count(tmp_path, capsys):
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {"backend": "kdamond"}) as writer:
        for one in phases(30):
            writer.write(one)
    assert main(["top", "--replay", str(path)]) == 0
    assert "by whole regions" in capsys.readouterr().out


def test_a_damaged_recording_is_shown_as_far_as_it_goes(recording, capsys):
    data = recording.read_bytes()
    recording.write_bytes(data[: len(data) - 40])
    assert main(["top", "--replay", str(recording)]) == 5
    out, err = capsys.readouterr()
    assert "database" in out or "unit db.service" in out
    assert "damaged" in err


def test_a_simulated_program_is_printed_each_interval(capsys):
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(3 * MIB, ((MIB, MIB),)), clock)
    with isotherm.monitor(ops=look, policy="map", clock=clock, overhead="6400%") as session:
        sink = PlainSink(Wish(), lambda moment: ["head"], 2 * S, 0)
        run(session, [sink], duration=6)
    blocks = capsys.readouterr().out.split("\n\n")
    assert len(blocks) == 3
    last = blocks[-1].splitlines()
    assert last[0] == " head"
    assert "resident 3.0M  used 1s 1.0M  idle 1s 2.0M  unknown 0" in last[1]
    assert "3.0M" in last[3]


def test_nothing_that_draws_is_imported_without_a_terminal(recording):
    program = (
        "import sys\n"
        "from isotherm.cli import main\n"
        f"assert main(['top', '--replay', {str(recording)!r}]) == 0\n"
        "sys.exit(' '.join({'textual', 'rich', 'numpy', 'asyncio'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signal_ends_the_view_and_gives_the_terminal_back(recording):
    with Terminal("top", "--replay", recording) as terminal:
        terminal.until(b"TREND")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait() == 0
    assert terminal.was_given_back()


def test_a_terminal_that_goes_away_ends_the_view(recording):
    with Terminal("top", "--replay", recording) as terminal:
        terminal.until(b"TREND")
        terminal.hang_up()
        assert terminal.wait() == 0


@pytest.mark.parametrize(
    ("args", "code", "phrase"),
    [
        (["-I", "10ms"], 2, "a second apart"),
        (["-t", "5s"], 2, "a time of a recording"),
        (["--replay", "FILE", "-t", "yesterday"], 2, "no time of a recording"),
        (["--replay", "FILE", "1"], 2, "its own processes"),
        (["--replay", "none.isotherm"], 2, "cannot read"),
        (["--sort", "colour"], 2, "colour"),
        (["no-such-process-name"], 3, "no-such-process-name"),
    ],
)
def test_nonsense_is_told(args, code, phrase, recording, capsys):
    words = [str(recording) if word == "FILE" else word for word in args]
    assert main(["top", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert phrase in err


def test_without_a_target_it_is_everybody_or_all_of_the_own(monkeypatch):
    from isotherm.cli import top
    from isotherm.targets.sources import EverybodySource, UserSource

    asked = []
    monkeypatch.setattr(top, "_plain", lambda wanted, *_: asked.append(wanted.sources) or 0)
    for uid, kind in ((0, EverybodySource), (65534, UserSource)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        assert main(["top", "--plain"]) == 0
        (source,) = asked.pop()
        assert isinstance(source, kind)
