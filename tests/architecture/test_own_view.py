"""A view that isotherm knows nothing of: registered from outside, used like its own."""

from __future__ import annotations

import csv
import io
import json

import pytest

from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.recording.writer import RecordingWriter
from isotherm.report import views
from isotherm.report.view import TARGET, Option, View, whole_number
from isotherm.terminal.table import Column, names, table
from support.snapshots import phases

EVIL = "app\x1b[2J"


class Peaks(View[list[tuple[str, int]]]):
    """The windows with the largest working set."""

    name = "peaks"
    help = "the windows with the largest working set"
    schema = "example.peaks/1"
    options = (
        Option("--most", "COUNT", "so many windows.", whole_number(1, 100), default="3"),
        TARGET,
    )

    def analyse(self, recording, options):
        found = [(f"{EVIL} {s.index}", s.working_set_bytes) for s in recording.readable()]
        found.sort(key=lambda entry: entry[1], reverse=True)
        return found[: options["--most"]]

    def document(self, value):
        return {"peaks": self.rows(value)}

    def rows(self, value):
        return [{"window": window, "bytes": size} for window, size in value]

    def text(self, value, page):
        cells = [(window, str(size)) for window, size in value]
        return table([names("window"), Column("bytes")], cells, page.width)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with RecordingWriter(tmp_path / "run.isotherm", {"backend": "sim"}) as writer:
        for snapshot in phases(10):
            writer.write(snapshot)
    view = Peaks()
    views.register(view)

    def call(*args):
        status = main(["report", *args])
        return status, *capsys.readouterr()

    yield call
    views.unregister(view.name)


def test_it_is_printed_as_a_table(run):
    status, out, err = run("run.isotherm", "peaks")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["window", "bytes"]
    assert len(lines) == 4
    assert lines[1].split()[0] == "app\\x1b[2J"


def test_it_is_printed_as_data_with_its_own_schema(run):
    status, out, _ = run("peaks", "--format", "json", "--most", "1")
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "example.peaks/1"
    (peak,) = document["peaks"]
    assert peak["window"].startswith(EVIL)
    assert peak["bytes"] > 0
    lines = run("peaks", "--format", "jsonl")[1].splitlines()
    assert [json.loads(line)["schema"] for line in lines] == ["example.peaks/1"] * 3
    rows = list(csv.DictReader(io.StringIO(run("peaks", "--format", "csv")[1])))
    assert [set(row) for row in rows] == [{"window", "bytes"}] * 3


def test_its_name_and_options_are_in_the_help(run):
    status, out, _ = run("--help")
    text = " ".join(out.split())
    assert status == 0
    assert "peaks the windows with the largest working set" in text
    assert "--most COUNT peaks: so many windows [3]." in text
    assert "--target ID regions, heatmap, html, peaks: only this target." in text


def test_its_options_are_read_and_are_of_no_other_view(run):
    status, _, err = run("peaks", "--most", "0")
    assert status == 2
    assert "0 is not possible" in err
    status, _, err = run("wss", "--most", "2")
    assert status == 2
    assert "the view wss has no option --most" in err
    assert "Did you mean 'peaks'?" in run("peeks")[2]


def test_the_options_of_the_command_are_its_own(run):
    clash = type("Clash", (Peaks,), {"name": "clash", "options": (Option("--format", "X", "x"),)})
    with pytest.raises(BadValueError, match="cannot have the option --format"):
        views.register(clash())


def test_without_it_nothing_is_left_of_it(run):
    views.unregister("peaks")
    assert "peaks" not in run("--help")[1]


def test_a_view_of_the_same_name_replaces_it(run):
    views.register(type("Other", (Peaks,), {"schema": "example.peaks/2"})())
    assert json.loads(run("peaks", "--format", "json")[1])["schema"] == "example.peaks/2"
