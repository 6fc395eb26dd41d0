"""`isotherm wss`: who is meant, what is printed when, and what belongs to the figures."""

import csv
import io
import json
import os
from array import array
from dataclasses import replace

import pytest

from isotherm.cli import main
from isotherm.cli.wss import WatchSink, recording_of, sources_of
from isotherm.errors import BadValueError
from isotherm.recording.writer import RecordingWriter
from isotherm.report.working_set import Watched, report
from isotherm.session.options import Options
from isotherm.targets.sources import NameSource, PidSource
from isotherm.terminal.screen import Screen
from support.snapshots import HEAP, MIB, S, page_use, phases, snapshot, use_row

ROW = use_row({0.05: 8 * MIB, 0.7: 2 * MIB, 4: 6 * MIB, 25: 40 * MIB})


def watched(use, **changes):
    targets = snapshot(0).targets
    return Watched(use, targets, {}, 1 << 40, "bpf", 0.0123, **changes)


def test_the_document_has_the_curve_and_what_belongs_to_it():
    made = report(watched(page_use(ROW)), 80)
    read = json.loads(made.render("json"))
    assert read["schema"] == "isotherm.wss/1"
    by_length = {point["window_ns"]: point for point in read["curve"]}
    assert by_length[S]["bytes"] == 10 * MIB
    assert set(by_length[S]) == {"window_ns", "bytes", "low_bytes", "high_bytes", "covered"}
    assert read["resident_bytes"] == 56 * MIB
    assert {"age_ns", "bytes"} <= set(read["idle"][0])
    assert read["unknown_bytes"] == 0
    assert read["could_free_bytes"] == 40 * MIB
    assert read["cpu_share"] == 0.0123
    rows = list(csv.DictReader(io.StringIO(made.render("csv"))))
    assert [int(row["window_ns"]) for row in rows] == sorted(by_length)


def test_the_text_has_a_line_for_each_time_and_fits():
    for width in (40, 80):
        lines = report(watched(page_use(ROW)), width).text
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        for word in ("100ms", "8.0 MiB", "resident", "unknown", "could free", "1.2%"):
            assert word in text


def test_what_is_not_seen_is_told_with_a_remedy():
    blind = use_row({}, what="/dev/shm/x", kind="shmem", unseen=10 * MIB, own=False)
    text = " ".join(" ".join(report(watched(page_use(ROW, blind)), 80).text).split())
    assert "10.0 MiB shared memory cannot be seen" in text
    assert "--shared=clear-refs" in text
    assert "unknown 10.0 MiB cannot be seen" in text


def taken(sink, capsys, use):
    sink.take(replace(snapshot(0), page_use=use))
    return capsys.readouterr().out


def test_without_a_terminal_a_line_is_printed_when_its_time_is_over(capsys):
    use = page_use(ROW)
    early = replace(use, watched_ns=S, windows_ns=use.windows_ns)
    sink = WatchSink("table", Screen(live=False), live=False)
    # Nobody has looked at all of it: nothing is worth a line yet.
    uncovered = replace(use, rows=(ROW._replace(uncovered=MIB),))
    assert taken(sink, capsys, replace(uncovered, watched_ns=S)) == ""
    assert taken(sink, capsys, early) == ""
    first = taken(sink, capsys, replace(use, watched_ns=4 * S)).splitlines()
    assert [line.split()[0] for line in first[1:]] == ["100ms", "200ms", "500ms", "1s", "2s"]
    then = taken(sink, capsys, replace(use, watched_ns=7 * S)).splitlines()
    assert [line.split()[0] for line in then] == ["5s"]
    sink.close()
    rest = capsys.readouterr().out
    assert rest.split()[0] == "10s"
    assert "could free" in rest


def test_data_come_at_the_end_only(capsys):
    sink = WatchSink("json", Screen(live=False), live=False)
    assert taken(sink, capsys, page_use(ROW)) == ""
    sink.close()
    assert capsys.readouterr().out == ""
    assert sink.watched() is not None


def test_words_are_pids_names_or_a_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers, name = sources_of(("12,34", "redis-server"))
    assert isinstance(numbers, PidSource)
    assert numbers.pids() == [12, 34]
    assert isinstance(name, NameSource)
    (tmp_path / "x.isotherm").write_bytes(b"")
    assert recording_of(("x.isotherm",)) is not None
    assert recording_of(("redis-server",)) is None
    assert recording_of(("x.isotherm", "12")) is None
    with pytest.raises(BadValueError, match=r"there is no recording 'y\.isotherm'"):
        recording_of(("y.isotherm",))


def test_of_a_recording_it_is_the_view(tmp_path, capsys):
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {"backend": "sim"}) as writer:
        for one in phases(20):
            writer.write(one)
    outputs = []
    for args in (["report", str(path), "wss"], ["wss", str(path)]):
        assert main(args) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != ""


@pytest.mark.parametrize(
    ("args", "code", "phrase"),
    [
        ([], 2, "nothing to monitor"),
        (["1", "--", "true"], 2, "only one of"),
        (["1", "-d", "0s"], 2, "0 seconds"),
        (["1", "--shared", "some"], 2, "says nothing about shared memory"),
        (["no-such-process-name"], 3, "no-such-process-name"),
        (["none.isotherm"], 2, "there is no recording"),
    ],
)
def test_nonsense_is_told(args, code, phrase, capsys):
    assert main(["wss", *args]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert phrase in err


def test_a_map_alone_and_another_policy_contradict_each_other(capsys):
    args = ["record", "-p", str(os.getpid()), "--map", "--policy", "damon"]
    assert main(args) == 2
    assert "leave out one of them" in capsys.readouterr().err


@pytest.mark.parametrize("shared", ["auto", "off", "clear-refs"])
def test_what_is_asked_of_shared_memory_is_kept(shared):
    assert Options.of(pid=1, shared=shared).pages.shared == shared
    assert (Options.of(pid=1, shared=shared).pages.stall_ns > 0) == (shared != "off")


def test_regions_are_reported_with_what_was_used_of_them(tmp_path, capsys):
    one = snapshot(
        0, [(0, HEAP, HEAP + 4 * MIB, 1, 1, 0), (0, HEAP + 8 * MIB, HEAP + 9 * MIB, 0, 1, 0)]
    )
    known = replace(one, columns=replace(one.columns, used=array("Q", [3 * MIB, 0])))
    for made, used in ((known, [3 * MIB, 0]), (one, [None, None])):
        path = tmp_path / "x.isotherm"
        with RecordingWriter(path, {}, force=True) as writer:
            writer.write(made)
        assert main(["report", str(path), "regions", "--format", "json"]) == 0
        read = json.loads(capsys.readouterr().out)
        assert [region["used_bytes"] for region in read["regions"]] == used
        assert main(["report", str(path), "regions"]) == 0
        assert ("used" in capsys.readouterr().out) == (made is known)
