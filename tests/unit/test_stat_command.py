"""`isotherm stat`: what stands on a line, when one is printed, and what is not imported."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, MS, fixed
from isotherm.cli import main
from isotherm.cli.stat import StatSink
from isotherm.clock import VirtualClock
from isotherm.model.target import Target
from isotherm.report.stat import Line, document, header, record, text
from isotherm.session.run import run
from support.snapshots import T0, S, page_use, snapshot, use_row

TOTAL = 3 * MIB
HOT = (MIB, MIB)
ROW = use_row({0.05: 8 * MIB, 0.7: 2 * MIB, 4: 6 * MIB, 25: 40 * MIB}, unseen=5 * MIB)


def simulated(form, interval_ns, duration):
    """A simulated program of 3 MiB, of which 1 MiB is used all the time."""
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(TOTAL, (HOT,)), clock)
    with isotherm.monitor(ops=look, policy="map", clock=clock, overhead="6400%") as session:
        run(session, [StatSink(form, interval_ns)], duration=duration)


def test_a_line_comes_each_interval_and_is_the_truth(capsys):
    simulated("jsonl", 2 * S, 9)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [round(line["interval_ns"] / S) for line in lines] == [2] * 4
    last = lines[-1]
    assert last["schema"] == "isotherm.stat/1"
    assert last["resident_bytes"] == TOTAL
    assert {point["window_ns"]: point["bytes"] for point in last["curve"]}[S] == HOT[1]
    assert {idle["age_ns"]: idle["bytes"] for idle in last["idle"]}[S] == TOTAL - HOT[1]
    assert last["unknown_bytes"] == 0


def test_json_is_an_object_a_line_too(capsys):
    simulated("json", S, 3)
    lines = capsys.readouterr().out.splitlines()
    assert len([json.loads(line) for line in lines]) == 3


def test_rows_have_the_same_columns_from_the_first_to_the_last(capsys):
    simulated("csv", S, 12)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 12
    assert rows[0]["used_10000ms_bytes"] == ""
    assert int(rows[-1]["used_10000ms_bytes"]) == HOT[1]
    assert {row["resident_bytes"] for row in rows} == {str(TOTAL)}


def line(**changes):
    made = Line(T0 + 5 * S, S, 3, page_use(ROW), T0 + 5 * S, 0.0123)
    return replace(made, **changes)


def test_a_table_names_what_it_has_and_titles_stand_once(capsys):
    simulated("table", S, 3)
    titles, *lines = capsys.readouterr().out.splitlines()
    assert titles.split()[:3] == ["time", "procs", "resident"]
    assert len(lines) == 3
    assert all("3.0 MiB" in one and "1.0 MiB" in one for one in lines)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_fit_and_unknown_and_cost_always_stand(width):
    titles, told = header(width), text(line(), width)
    assert len(told) <= len(titles) <= width
    for word in ("resident", "used 1s", "used 10s", "idle 10s", "unknown", "cpu"):
        assert word in titles
    for figure in ("61.0 MiB", "10.0 MiB", "16.0 MiB", "40.0 MiB", "5.0 MiB", "1.2%"):
        assert figure in told


def test_what_was_not_reached_is_not_nothing():
    young = line(use=page_use(use_row({0.05: MIB}, watched_ns=2 * S), watched_ns=2 * S))
    assert text(young, 80).split()[-5:] == ["-", "-", "0", "B", "1.2%"]
    assert record(young)["used_10000ms_bytes"] is None
    assert all(idle["age_ns"] <= 2 * S for idle in document(young)["idle"])


def test_figures_that_are_old_are_told_to_be():
    for width in (66, 80, 200):
        assert header(width).endswith(" as of")
        assert text(line(use_ns=T0 + S), width).endswith(" -4s")
        assert not text(line(), width).endswith("s")
    # Without room for a column the time is that of the figures.
    assert text(line(use_ns=T0 + S), 60).split()[0] < text(line(), 60).split()[0]
    assert text(line(use_ns=T0 - 2000 * S), 80).endswith(" -33m")
    assert document(line(use_ns=T0 + S))["known_ns"] == T0 + S


def test_who_was_not_looked_at_yet_is_unknown(capsys):
    targets = (Target(0, "app", 42), Target(1, "late", 43, 90 * MIB, 30 * MIB, 7 * MIB))
    one = replace(snapshot(9, targets=targets), page_use=page_use(ROW))
    sink = StatSink("table", 100 * MS)
    sink.take(one)
    told = capsys.readouterr().out.splitlines()[-1]
    assert "68.0 MiB" in told  # 61 and 7
    assert "12.0 MiB" in told  # 5 and 7
    assert record(line(unlooked=7 * MIB))["unlooked_bytes"] == 7 * MIB


def test_nothing_is_printed_before_anything_is_known(capsys):
    sink = StatSink("table", S)
    for index in range(20):
        sink.take(snapshot(index))
    assert capsys.readouterr().out == ""
    sink.take(replace(snapshot(20), page_use=page_use(ROW)))
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("args", "code", "phrase"),
    [
        ([], 2, "nothing to monitor"),
        (["1", "-I", "100ms"], 2, "too short"),
        (["1", "-d", "0s"], 2, "0 seconds"),
        (["no-such-process-name"], 3, "no-such-process-name"),
    ],
)
def test_nonsense_is_told(args, code, phrase, capsys):
    assert main(["stat", *args]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert phrase in err


def test_who_monitors_imports_nothing_that_draws_or_is_heavy():
    program = (
        "import sys\n"
        "import isotherm.cli.apply, isotherm.cli.record, isotherm.cli.stat, isotherm.cli.wss\n"
        "import isotherm.session.start, isotherm.backends.bpf.look, isotherm.recording.sink\n"
        "heavy = {'textual', 'rich', 'numpy', 'pyarrow', 'nanoarrow', 'asyncio'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
