"""Where recordings and logs are written to: ours, private, and nowhere else."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys

import pytest

from isotherm.errors import OutputError
from isotherm.recording import files
from isotherm.recording.audit import AuditLog
from isotherm.recording.files import RefusedError
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.snapshots import phases

NOBODY = 65534


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write(path, count, **options):
    with RecordingWriter(path, {}, **options) as writer:
        for one in phases(count):
            writer.write(one)
    return path


@pytest.fixture(autouse=True)
def open_to_all():
    """Even with a umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_recordings_and_logs_are_for_their_owner_alone(tmp_path):
    assert mode(write(tmp_path / "r", 3)) == 0o600
    assert mode(write(tmp_path / "r", 3, force=True)) == 0o600
    with AuditLog(tmp_path / "log"):
        pass
    assert mode(tmp_path / "log") == 0o600


def obstacles(folder):
    """Things that stand where a file is to be written; each with a witness that stays as it is."""
    victim = folder / "victim"
    victim.write_text("precious")
    for name, make in {
        "link": lambda path: path.symlink_to(victim),
        "dangling": lambda path: path.symlink_to(folder / "nothing"),
        "hard": lambda path: path.hardlink_to(victim),
        "pipe": os.mkfifo,
        "folder": os.mkdir,
    }.items():
        make(folder / name)
        yield folder / name, victim


def test_nothing_is_written_through_what_stands_there(tmp_path):
    for path, victim in obstacles(tmp_path):
        with pytest.raises(OutputError, match="exists already"):
            RecordingWriter(path, {})
        with pytest.raises(OutputError) as caught:
            RecordingWriter(path, {}, force=True)
        assert caught.value.hint
        with pytest.raises(OutputError):
            AuditLog(path)
        assert victim.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {
        "victim", "link", "dangling", "hard", "pipe", "folder",
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_others_are_left_alone(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(OutputError, match="somebody else"):
        RecordingWriter(theirs, {}, force=True)
    with pytest.raises(OutputError, match="somebody else"):
        AuditLog(theirs)
    assert theirs.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give links away")
def test_folders_are_not_reached_through_links_of_others(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link" / "ours.isotherm", 3)
    os.chown(tmp_path / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(OutputError, match="link that belongs to somebody else"):
        RecordingWriter(tmp_path / "link" / "x.isotherm", {})
    with pytest.raises(OutputError, match="link that belongs to somebody else"):
        AuditLog(tmp_path / "link" / "log")
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["ours.isotherm"]


def test_what_is_forced_away_stays_until_there_is_something_in_its_place(tmp_path):
    path = write(tmp_path / "r.isotherm", 20)
    with path.open("rb") as before:
        writer = RecordingWriter(path, {}, force=True)
        assert len(list(open_recording(path))) == 20
        for one in phases(11):
            writer.write(one)
        assert len(list(open_recording(path).readable())) == 10
        writer.close()
        # Replaced, not written over: who has it open goes on reading.
        assert before.read() != path.read_bytes()
    assert list(open_recording(path)) == phases(11)
    assert [found.name for found in tmp_path.iterdir()] == ["r.isotherm"]


def test_what_is_given_up_leaves_no_traces(tmp_path):
    path = write(tmp_path / "r.isotherm", 20)
    RecordingWriter(path, {}, force=True).discard()
    assert len(list(open_recording(path))) == 20
    other = tmp_path / "other.isotherm"
    RecordingWriter(other, {}).discard()
    assert [found.name for found in tmp_path.iterdir()] == ["r.isotherm"]


def test_a_file_that_is_not_ours_any_more_is_not_removed(tmp_path):
    path = tmp_path / "r.isotherm"
    writer = RecordingWriter(path, {})
    path.unlink()
    path.write_text("of somebody else")
    writer.discard()
    assert path.read_text() == "of somebody else"


def test_a_log_is_appended_to(tmp_path):
    path = tmp_path / "log"
    path.write_text("old\n")
    fd = files.append(path)
    os.write(fd, b"new\n")
    assert os.get_blocking(fd)
    os.close(fd)
    assert path.read_text() == "old\nnew\n"


def test_a_pipe_without_a_reader_does_not_keep_a_log_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedError, match="no regular file"):
        files.append(tmp_path / "pipe")


FULL = """
import resource, signal, sys
sys.path[:0] = {path!r}
from support.snapshots import phases
from isotherm.errors import OutputError
from isotherm.recording.writer import RecordingWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
try:
    with RecordingWriter({file!r}, {{}}) as writer:
        for one in phases(400):
            writer.write(one)
except OutputError as err:
    print(err.message, err.exit_code)
"""


@pytest.mark.parametrize("room", [0, 100, 5000])
def test_a_limit_of_the_kernel_in_the_middle_of_a_frame(tmp_path, room):
    """EFBIG in the place of ENOSPC: the kernel takes a part of a frame, then nothing."""
    path = tmp_path / "r.isotherm"
    code = FULL.format(path=[entry for entry in sys.path if entry], room=room, file=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write recording {path}: File too large 1\n"
    if room < 5000:
        assert not path.exists()
        return
    opened = open_recording(path)
    read = list(opened.readable())
    assert read == phases(400)[: len(read)]
    assert len(read) % 10 == 0
    assert read
    assert path.stat().st_size <= room
    assert "cut short" in str(opened.damage)


def test_a_stream_is_written_without_seeking(tmp_path):
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader:
        with os.fdopen(write_end, "wb", buffering=0) as stream:
            with RecordingWriter(stream, {}) as writer:
                for one in phases(20):
                    writer.write(one)
            assert not stream.closed
            assert writer.bytes_written
        data = reader.read()
    (tmp_path / "r").write_bytes(data)
    assert len(data) == writer.bytes_written
    assert list(open_recording(tmp_path / "r")) == phases(20)


def test_a_stream_that_takes_a_little_at_a_time(tmp_path):
    class Slow(io.RawIOBase):
        def __init__(self):
            self.taken = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.taken += bytes(data[:7])
            return min(7, len(data))

    slow = Slow()
    with RecordingWriter(slow, {}) as writer:
        for one in phases(20):
            writer.write(one)
    (tmp_path / "r").write_bytes(slow.taken)
    assert list(open_recording(tmp_path / "r")) == phases(20)


def test_a_reader_that_went_away_is_said():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as stream:
        with pytest.raises(OutputError, match="Broken pipe") as caught:
            RecordingWriter(stream, {})
        assert caught.value.hint


def test_a_snapshot_that_does_not_fit_ends_the_recording_properly(tmp_path):
    """What was written before stays readable: no torn block follows."""
    path = tmp_path / "r.isotherm"
    writer = RecordingWriter(path, {})
    for one in phases(10):
        writer.write(one)
    bad = phases(11)[10]
    bad.columns.age.append(7)
    with pytest.raises(ValueError, match="age"):
        writer.write(bad)
    writer.close()
    assert list(open_recording(path).readable()) == phases(10)
