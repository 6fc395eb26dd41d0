"""The audit log: whole lines that say everything, or an error that says why not."""

import json
import os
import re
from dataclasses import replace

import pytest

from isotherm.core.act import Done
from isotherm.core.look import TargetRanges
from isotherm.errors import OutputError
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Scheme
from isotherm.model.scheme_state import TriedRegion
from isotherm.model.target import Mapping, Target
from isotherm.recording import audit
from isotherm.recording.audit import AuditLog
from isotherm.schemes.engine import Event

START, END = 0x1000, 0x9000
WORLD = [
    TargetRanges(
        Target(7, "näme", 4242),
        (Range(START, END),),
        mappings=(
            Mapping(START, 0x3000, "rw-p", "/a b"),
            Mapping(0x3000, 0x4000, "rw-p", ""),
            Mapping(0x4000, 0x5000, "rw-p", "/a b"),
            Mapping(0x8000, END, "rw-p", "/last"),
        ),
    )
]
PAGEOUT = Scheme(Action.PAGEOUT, name="out")


def event(start=START, end=0x8000, done=None, kind="done", target=0):
    done = done or Done(4096)
    return Event(kind, 0, 1, TriedRegion(target, start, end, 0, 0, 0, done.applied_bytes), done)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_what_where_how_much_and_why_not(tmp_path):
    path = tmp_path / "log"
    with AuditLog(path) as log:
        log.write(event(), PAGEOUT, WORLD)
        log.write(event(done=Done(0, 0, {"busy": 3})), PAGEOUT, WORLD)
    first, second = lines(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "schema": "isotherm.audit/1",
        "scheme": "out",
        "action": "pageout",
        "pid": 4242,
        "process": "näme",
        "mappings": ["/a b", "anonymous"],
        "start": "0x1000",
        "end": "0x8000",
        "asked": 0x7000,
        "done": 4096,
        "error": None,
    }
    assert (second["done"], second["error"]) == (0, {"busy": 3})


def test_the_time_is_utc_to_the_millisecond(tmp_path, monkeypatch):
    monkeypatch.setattr(audit.time, "time_ns", lambda: 86_399_999_999_999)
    with AuditLog(tmp_path / "log") as log:
        log.write(event(), PAGEOUT, WORLD)
    assert lines(tmp_path / "log")[0]["time"] == "1970-01-01T23:59:59.999Z"


def test_a_dry_run_says_so_in_each_line(tmp_path):
    with AuditLog(tmp_path / "log", dry_run=True) as log:
        log.write(event(), PAGEOUT, WORLD)
    assert lines(tmp_path / "log")[0]["dry_run"] is True


def test_others_than_done_are_no_lines_and_old_lines_stay(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"old": 1}\n')
    with AuditLog(path) as log:
        log.write(event(kind="apply"), PAGEOUT, WORLD)
        log.write(Event("quota", 0, 1, effective_bytes=3), PAGEOUT, WORLD)
        log.write(event(), PAGEOUT, WORLD)
    assert [("old" in line) for line in lines(path)] == [True, False]


def test_a_target_that_is_not_known_any_more(tmp_path):
    with AuditLog(tmp_path / "log") as log:
        log.write(event(target=1), PAGEOUT, WORLD)
    line = lines(tmp_path / "log")[0]
    assert (line["pid"], line["process"], line["mappings"]) == (None, None, [])


def test_names_that_are_no_text_are_written_all_the_same(tmp_path):
    """Paths and names of processes are bytes; Python keeps what is not UTF-8 as surrogates."""
    known = TargetRanges(
        Target(7, "\udcff", 1), (), mappings=(Mapping(0, END, "rw-p", "/\udcfe"),)
    )
    with AuditLog(tmp_path / "log") as log:
        log.write(event(), PAGEOUT, [known])
    assert lines(tmp_path / "log")[0]["process"]


def test_a_line_reaches_the_file_at_once(tmp_path):
    with AuditLog(tmp_path / "log") as log:
        log.write(event(), PAGEOUT, WORLD)
        assert len(lines(tmp_path / "log")) == 1


@pytest.mark.parametrize("path", ["no/such/folder/log", "."])
def test_a_path_that_cannot_be_written(tmp_path, path):
    with pytest.raises(OutputError, match="cannot write the log") as caught:
        AuditLog(tmp_path / path)
    assert caught.value.hint
    assert caught.value.exit_code == 1


def test_a_full_disk():
    with AuditLog(audit.Path("/dev/full")) as log, pytest.raises(OutputError) as caught:
        log.write(event(), PAGEOUT, WORLD)
    assert "No space left" in caught.value.message
    assert caught.value.hint


def test_a_line_that_was_written_in_part_is_an_error(tmp_path, monkeypatch):
    """A disk that fills up takes some bytes first, and says so by their number only."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    try:
        with AuditLog(tmp_path / "log") as log:
            log._file.close()
            log._file = os.fdopen(write_end, "wb", buffering=0)
            while log._file.write(b"x" * 4096) == 4096:
                pass
            os.read(read_end, 4096)
            long = replace(WORLD[0], target=Target(7, "n" * 8192, 4242))
            with pytest.raises(OutputError, match="cannot write the log"):
                log.write(event(), PAGEOUT, [long])
    finally:
        os.close(read_end)
