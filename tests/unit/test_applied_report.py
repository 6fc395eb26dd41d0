"""What `isotherm apply` shows and prints."""

import csv
import io
import json

import pytest

from isotherm.analysis.applied import Outcomes
from isotherm.core.act import Done
from isotherm.core.look import TargetRanges
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Quota, Scheme
from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.model.target import Mapping, Target
from isotherm.report.applied import HEADER, live_lines, quota_text, report_applied, state_row
from isotherm.schemes.engine import Event
from isotherm.session.applying import Result

MIB = 1 << 20
OUT = Scheme(Action.PAGEOUT, name="out", quota=Quota(size_bytes=64 * MIB))
COUNT = Scheme(Action.STAT, name="count")
STATS = SchemeStats(
    nr_tried=9, sz_tried=96 * MIB, nr_applied=2, sz_applied=40 * MIB, qt_exceeds=3, nr_snapshots=5
)


def outcomes(nr_mappings=2):
    """The mapping number i holds i MiB, and half of each was done."""
    found = Outcomes()
    for i in range(1, nr_mappings + 1):
        name = f"/lib/{i}" if i > 1 else ""
        at = i * 1000 * MIB
        known = TargetRanges(
            Target(0, "x", 1),
            (Range(at, at + i * MIB),),
            mappings=(Mapping(at, at + i * MIB, "rw-p", name),),
        )
        tried = TriedRegion(0, at, at + i * MIB, 0, 0, 0, 0)
        for _ in range(2):
            found.take(Event("done", 0, 1, tried, Done(i * MIB // 4)), [known])
    return found


def result(*, errors=None, nr_mappings=2, before=200 * MIB, after=150 * MIB, **changes):
    stats = SchemeStats(
        **{f: getattr(STATS, f) for f in STATS.__slots__} | {"errors": errors or {}}
    )
    states = (
        SchemeState("out", "pageout", stats, effective_bytes=64 * MIB),
        SchemeState("count", "stat"),
    )
    fields = {
        "schemes": (OUT, COUNT),
        "states": states,
        "outcomes": outcomes(nr_mappings),
        "resident_before": before,
        "resident_after": after,
        "snapshots": 12,
        "seconds": 3.14159,
    }
    return Result(**fields | changes)


def text(*args, dry_run=False, **changes):
    return report_applied(result(*args, **changes), dry_run=dry_run).render("table")


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        (None, "none"),
        (Quota(), "none"),
        (Quota(size_bytes=128 * MIB), "128M/s"),
        (Quota(size_bytes=128 * MIB, time_ms=50), "128M,50ms/s"),
        (Quota(time_ms=50, reset_ms=2000), "50ms/2s"),
        (Quota(size_bytes=12345678), "12345678/s"),
    ],
)
def test_a_quota_in_few_words(quota, said):
    assert quota_text(quota) == said


@pytest.mark.parametrize(
    ("changes", "column", "said"),
    [
        ({}, "tried", "96.0 MiB"),
        ({}, "applied", "40.0 MiB"),
        ({}, "errors", "-"),
        ({"errors": {"a": 2, "b": 5}}, "errors", "7"),
        ({}, "quota", "64.0 MiB"),
        ({"effective_bytes": None}, "quota", "-"),
        ({"effective_bytes": 2**64 - 1}, "quota", "-"),
        ({}, "goal", "-"),
        ({"score": 0.5}, "goal", "0.50"),
        ({}, "state", "3x full"),
        ({"held": True}, "state", "held back"),
        ({"active": False}, "state", "resting"),
    ],
)
def test_a_line_of_the_live_table(changes, column, said):
    stats = SchemeStats(
        **{f: getattr(STATS, f) for f in STATS.__slots__} | {"errors": changes.pop("errors", {})}
    )
    state = SchemeState("out", "pageout", stats, **{"effective_bytes": 64 * MIB} | changes)
    assert dict(zip(HEADER, state_row(OUT, state), strict=True))[column] == said


def test_the_live_table_has_a_line_each_and_a_footer():
    lines = live_lines((OUT, COUNT), result().states, "footer")
    assert len(lines) == 4
    assert lines[0].split() == HEADER
    assert lines[-1] == " footer"
    assert lines[2].split() == ["count", "-", "-", "-", "none", "-", "-"]


def test_the_json_document_has_the_numbers_themselves():
    found = json.loads(report_applied(result(errors={"busy": 3}), dry_run=False).render("json"))
    schemes, mappings = found.pop("schemes"), found.pop("mappings")
    assert found == {
        "schema": "isotherm.apply/1",
        "dry_run": False,
        "seconds": 3.142,
        "snapshots": 12,
        "resident_before": 200 * MIB,
        "resident_after": 150 * MIB,
    }
    assert schemes[0] == {
        "scheme": "out",
        "action": "pageout",
        "quota": "64M/s",
        "nr_tried": 9,
        "sz_tried": 96 * MIB,
        "nr_applied": 2,
        "sz_applied": 40 * MIB,
        "sz_ops_filter_passed": 0,
        "qt_exceeds": 3,
        "nr_snapshots": 5,
        "errors": {"busy": 3},
    }
    assert [row["scheme"] for row in schemes] == ["out", "count"]
    assert mappings == [
        {"scheme": "out", "mapping": name, "asked": 2 * i * MIB, "done": i * MIB // 2,
         "different": i * MIB}
        for i, name in ((2, "/lib/2"), (1, "anonymous"))
    ]  # fmt: skip


def test_rows_are_one_scheme_each():
    report = report_applied(result(errors={"busy": 3, 'a "b"': 1}), dry_run=True)
    lines = [json.loads(line) for line in report.render("jsonl").splitlines()]
    assert [(row["scheme"], row["sz_applied"]) for row in lines] == [
        ("out", 40 * MIB),
        ("count", 0),
    ]
    assert {row["schema"] for row in lines} == {"isotherm.apply/1"}
    out, count = csv.DictReader(io.StringIO(report.render("csv")))
    assert (out["sz_tried"], out["nr_applied"], out["quota"]) == (str(96 * MIB), "2", "64M/s")
    # A cell that is no number or text is JSON, as everywhere else, not Python.
    assert json.loads(out["errors"]) == {"busy": 3, 'a "b"': 1}
    assert json.loads(count["errors"]) == {}


def test_the_text_says_what_was_done_and_what_it_came_to():
    said = text()
    assert "done; 3s, 12 snapshots, resident 200 MiB before, 150 MiB now (-25%)" in said
    assert "would be" not in said
    lines = [line.split() for line in said.splitlines()]
    assert ["/lib/2", "out", "4.0", "MiB", "1.0", "MiB", "2.0", "MiB"] in lines


def test_a_dry_run_never_claims_to_have_done_anything():
    said = text(dry_run=True)
    assert "nothing was done: a dry run; 3s, 12 snapshots\n" in said
    assert "would be done" in said
    assert "now" not in said
    assert "before" not in said


def test_the_most_come_first_and_the_rest_is_counted():
    said = text(nr_mappings=11)
    shown = [line.split()[0] for line in said.splitlines() if "/lib/" in line]
    assert shown == [f"/lib/{i}" for i in range(11, 3, -1)]
    assert " and 3 more\n" in said
    assert "more\n" not in text(nr_mappings=8)


def test_the_worst_errors_are_told_with_their_count():
    said = text(errors={"rare": 1, "often": 500, "some": 7, "two": 2})
    places = [said.index(f"out: {n} times {why}") for n, why in
              ((500, "often"), (7, "some"), (2, "two"))]  # fmt: skip
    assert places == sorted(places)
    assert "rare" not in said
    assert "and 1 more kinds of errors" in said


def test_without_a_snapshot_the_text_says_that_nothing_was_done():
    states = (SchemeState("out", "pageout"), SchemeState("count", "stat"))
    said = text(nr_mappings=0, states=states, snapshots=0, before=0, after=0, seconds=0.0)
    assert "nothing was done" in said


def test_nothing_resident_before_is_no_share():
    assert "%)" not in text(before=0, after=5 * MIB)
    assert "12 snapshots" in text(before=0, after=5 * MIB)
