"""`isotherm report diff A B`: what changed, as far as it can be told, and limits for CI."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.analysis.compare import (
    Change,
    Metric,
    growth,
    parse_condition,
    parse_conditions,
    parse_metric,
)
from isotherm.analysis.figures import Figure, figures
from isotherm.analysis.recorded import open_recording
from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.model.target import Target
from isotherm.recording.writer import RecordingWriter
from support.snapshots import HEAP, MIB, S, page_use, phases, snapshot, use_row

APP = Target(0, "app", 42)
HELPER = Target(1, "helper", 43, group="unit h.service")


def write(path, snapshots):
    with RecordingWriter(path, {"backend": "sim"}) as writer:
        for one in snapshots:
            writer.write(one)
    return path


def told(path, hot, *more, doubt=0, watched=(10, 20, 30), targets=(APP,), rest=50):
    """A recording in which maps of pages knew so many MiB to be used within a second, by turns."""
    made = []
    for i, mib in enumerate(hot):
        seconds = watched[min(i, len(watched) - 1)]
        heap = use_row(
            {0: mib * MIB, seconds: rest * MIB}, watched_ns=seconds * S, doubt=doubt * MIB
        )
        rows = (heap, *(row(seconds * S) for row in more))
        one = snapshot(i, [(0, HEAP, HEAP + 64 * MIB, 9, 1, 0)], targets=targets)
        made.append(replace(one, page_use=page_use(*rows, watched_ns=seconds * S)))
    return write(path, made)


def helper(mib, **changes):
    return lambda watched_ns: use_row(
        {0: mib * MIB}, target=1, what="/lib/h.so", kind="file", watched_ns=watched_ns, **changes
    )


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*args):
        status = main(["report", "diff", *map(str, args)])
        out, err = capsys.readouterr()
        return status, out, err

    def as_json(*args):
        status, out, err = call(*args, "--format", "json")
        return status, json.loads(out), err

    call.json = as_json
    return call


def changes(document):
    return {(row["metric"], row["group"]): row for row in document["changes"]}


def test_what_changed_of_everything(run, tmp_path):
    told(tmp_path / "a", [10, 10, 12])
    told(tmp_path / "b", [13, 15, 15])
    status, document, err = run.json("a", "b")
    assert (status, err) == (0, "")
    assert document["schema"] == "isotherm.report.diff/1"
    found = changes(document)
    p50 = found["wss@1s.p50", None]
    assert (p50["before_bytes"], p50["after_bytes"]) == (10 * MIB, 15 * MIB)
    assert (p50["change_percent"], p50["told"]) == (50.0, "more")
    assert found["wss@1s.max", None]["before_bytes"] == 12 * MIB
    assert found["resident", None]["after_bytes"] == 65 * MIB
    assert found["idle@10s", None]["told"] == "same"
    assert found["unknown", None]["after_bytes"] == 0
    assert document["mappings"] == [
        {
            "what": "[heap]", "kind": "anon", "before_bytes": 62 * MIB, "after_bytes": 65 * MIB,
            "used_before_bytes": 12 * MIB, "used_after_bytes": 15 * MIB,
        }
    ]  # fmt: skip
    table = run("a", "b")[1].splitlines()[-1].split("  ")
    assert [cell.strip() for cell in table if cell] == [
        "[heap]", "anon", "12.0 MiB", "15.0 MiB", "+3.0 MiB", "+3.0 MiB",
    ]  # fmt: skip


def test_a_difference_within_the_bounds_cannot_be_told(run, tmp_path):
    told(tmp_path / "a", [10] * 3)
    told(tmp_path / "b", [12] * 3, doubt=3)
    status, out, err = run("a", "b", "--fail-if", "wss.p50>+10%")
    assert (status, err) == (0, "")
    assert " wss@1s.p50  10.0 MiB  12.0 MiB    unsure" in out
    assert "unsure     wss.p50>+10%: 10.0 MiB, then 12.0 MiB, cannot be told" in out
    status, out, err = run("a", "b", "--fail-if", "wss.p50>+10%", "--unsure", "fail")
    assert status == 6
    assert "cannot be told" in err
    # 9 to 15 MiB is more than half as much again in no case, and more than -20 % in any.
    assert run("a", "b", "--fail-if", "wss.p50>+51%", "--unsure", "fail")[0] == 0
    assert run("a", "b", "--fail-if", "wss.p50>-20%")[0] == 6


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("wss.p50>+10%", 6),
        ("wss.p50>+50%", 0),  # it is +50 %, not more
        ("wss.p50>=+50%", 6),
        ("wss.p50>+4M", 6),
        ("wss.p50 > +5M", 0),
        ("wss.p50>14M", 6),
        ("wss.p50>15M", 0),
        ("wss.max>+10%,resident>+1G", 6),
        ("resident>+1G", 0),
        ("idle<-1%", 0),
        ("wss@10s.mean>+10%", 6),
        ("unknown>0", 0),
    ],
)
def test_conditions_decide_the_exit_status(run, tmp_path, condition, status):
    told(tmp_path / "a", [10, 10, 10])
    told(tmp_path / "b", [15, 15, 15])
    assert run("a", "b", "--fail-if", condition)[0] == status
    assert run.json("a", "b", "--fail-if", condition)[1]["failed"] == (status == 6)


def test_every_condition_is_judged_and_told(run, tmp_path):
    told(tmp_path / "a", [10] * 3)
    told(tmp_path / "b", [15] * 3)
    args = ("a", "b", "--fail-if", "wss.p50>+10%", "--fail-if", "resident>+90%,idle>+1%")
    status, document, err = run.json(*args)
    verdicts = [(one["condition"], one["verdict"]) for one in document["conditions"]]
    assert verdicts == [
        ("wss.p50>+10%", "crossed"), ("resident>+90%", "kept"), ("idle>+1%", "kept"),
    ]  # fmt: skip
    assert status == 6
    assert err.startswith("isotherm: wss.p50>+10% (10.0 MiB, then 15.0 MiB: +5.0 MiB +50.0%)\n")


def test_groups_beside_each_other(run, tmp_path):
    both = (APP, HELPER)
    told(tmp_path / "a", [10] * 3, helper(4), targets=both)
    told(tmp_path / "b", [10] * 3, helper(6), targets=(replace(APP, pid=77), HELPER))
    status, document, _ = run.json("a", "b", "--fail-if", "wss.p50[h.service]>+10%")
    found = changes(document)
    assert status == 6
    assert document["conditions"][0]["group"] == "unit h.service"
    assert found["wss@1s.p50", "unit h.service"]["change_percent"] == 50.0
    assert found["resident", "app"]["told"] == "same"  # whatever its number is
    assert run("a", "b", "--fail-if", "wss.p50[app]>+10%")[0] == 0
    assert run("a", "b", "--fail-if", "resident[*]>+60%")[0] == 0
    status, _, err = run("a", "b", "--fail-if", "resident[nobody]>+1%")
    assert status == 2
    assert "there is no group 'nobody'" in err


def test_a_group_that_is_new_grew_from_nothing(run, tmp_path):
    told(tmp_path / "a", [10] * 3)
    told(tmp_path / "b", [10] * 3, helper(6), targets=(APP, HELPER))
    status, out, _ = run("a", "b", "--fail-if", "resident[unit h.service]>+500%")
    assert status == 6
    assert "0 B, then 6.0 MiB: +6.0 MiB" in " ".join(out.split())
    assert run("b", "a", "--fail-if", "resident[unit h.service]>+0%")[0] == 0


def test_memory_that_nobody_saw_may_be_idle_or_used(run, tmp_path):
    told(tmp_path / "a", [10] * 3, helper(4), targets=(APP, HELPER))
    told(tmp_path / "b", [10] * 3, helper(4, unseen=9 * MIB), targets=(APP, HELPER))
    found = changes(run.json("a", "b")[1])
    assert found["unknown", None]["after_bytes"] == 9 * MIB
    for metric in ("wss@1s.p50", "idle@10s"):
        change = found[metric, None]
        assert change["told"] == "unsure"
        assert change["after_high_bytes"] - change["after_bytes"] == 9 * MIB


def test_the_first_window_knows_not_what_was_before_it(tmp_path):
    one = told(tmp_path / "a", [10, 10, 10], watched=(1, 20, 30), doubt=0)
    wide = list(open_recording(one))
    first = wide[0].page_use.rows[0]
    high = tuple(first.resident for _ in first.used_high)
    wide[0] = replace(
        wide[0],
        page_use=replace(wide[0].page_use, rows=(first._replace(used_high=high),)),
    )
    found = figures(open_recording(write(tmp_path / "b", wide)))
    assert found.working_set(100, S) == Figure.exact(10 * MIB)
    assert found.nr_windows(S) == 2


def test_without_maps_of_pages_regions_are_compared(run, tmp_path):
    write(tmp_path / "a", phases(120))
    told(tmp_path / "b", [10] * 3)
    status, document, _ = run.json("a", "a")
    assert (status, document["by"]) == (0, "regions")
    assert changes(document)["wss.p50", None]["before_bytes"] == 8 * MIB + MIB * 3 // 4
    assert changes(document)["resident", None]["told"] == "same"
    # A quarter of the stack and 4 MiB of the helper may have been used.
    wss = changes(document)["wss.p50", None]
    assert wss["before_high_bytes"] - wss["before_bytes"] == 4 * MIB + MIB // 4
    assert wss["told"] == "unsure"
    assert run.json("a", "b")[1]["by"] == "regions"
    status, _, err = run("a", "b", "--fail-if", "wss@10s.p50>+10%")
    assert status == 2
    assert "wss@10s.p50 is not known of A" in err


def test_filters_narrow_both(run, tmp_path):
    told(tmp_path / "a", [10] * 3, helper(4), targets=(APP, HELPER))
    told(tmp_path / "b", [30] * 3, helper(4), targets=(APP, HELPER))
    found = changes(run.json("a", "b", "--name", "/lib/*")[1])
    assert found["resident", None]["after_bytes"] == 4 * MIB
    assert found["wss@1s.p50", None]["told"] == "same"


def test_windows_of_chosen_lengths(run, tmp_path):
    told(tmp_path / "a", [10] * 3)
    told(tmp_path / "b", [30] * 3)
    metrics = [row["metric"] for row in run.json("a", "b", "--window", "1s,5s")[1]["changes"]]
    assert metrics[:6] == [
        f"wss@{t}.{rank}" for t in ("1s", "5s") for rank in ("p50", "p95", "max")
    ]


def test_a_damaged_recording_decides_nothing(run, tmp_path):
    told(tmp_path / "a", [10] * 3)
    whole = told(tmp_path / "b", [30] * 3).read_bytes()
    (tmp_path / "b").write_bytes(whole[:-20])
    status, out, err = run("a", "b", "--fail-if", "wss.p50>+10%")
    assert status == 5
    assert "CROSSED" in out
    assert "is damaged" in err
    # Nor one of which nothing can be read.
    (tmp_path / "b").write_bytes(whole[: len(whole) // 4])
    status, _, err = run("a", "b", "--fail-if", "wss.p50>+10%")
    assert status == 5
    assert "is damaged" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("a",), "is of two recordings, and there is one"),
        ((), "is of two recordings, and there are none"),
        (("a", "a", "a"), "two files and one view are enough"),
        (("a", "b"), "there is no recording 'b'"),
        (("a", "a", "--fail-if", "wss>+10%"), "does not say which working set"),
        (("a", "a", "--fail-if", "wss.p50"), "is no condition"),
        (("a", "a", "--fail-if", "wss.p50>10%"), "10% of what?"),
        (("a", "a", "--fail-if", "wss.p50>+much"), "is not a size"),
        (("a", "a", "--fail-if", "rss>+10%"), "is no figure of a recording"),
        (("a", "a", "--fail-if", "resident.p50>+1%"), "is no figure of a recording"),
        (("a", "a", "--unsure", "x"), "x is neither keep nor fail"),
    ],
)
def test_what_makes_no_sense_is_refused(run, tmp_path, args, said):
    told(tmp_path / "a", [10] * 3)
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert said in err


def test_of_a_group_that_ended_nothing_is_left(run, tmp_path):
    both = (APP, HELPER)
    told(tmp_path / "a", [10] * 3, helper(4), targets=both)
    lived = told(tmp_path / "lived", [10] * 2, helper(4), targets=both)
    alone = told(tmp_path / "alone", [10] * 3)
    parts = [*open_recording(lived), list(open_recording(alone))[2]]
    write(tmp_path / "b", parts)
    conditions = ["resident[unit h.service]<-3M", "unknown[h.service]>0", "wss.max[h.service]>8M"]
    status, document, err = run.json("a", "b", *(f"--fail-if={one}" for one in conditions))
    assert [one["verdict"] for one in document["conditions"]] == ["crossed", "kept", "kept"]
    assert (status, document["conditions"][0]["after_bytes"]) == (6, 0)
    assert "resident[unit h.service]<-3M" in err
    of = changes(document)
    assert of["idle@10s", "unit h.service"]["after_bytes"] == 0
    # By regions likewise.
    regions = [replace(one, page_use=None) for one in parts]
    write(tmp_path / "c", [replace(one, targets=(APP,)) if one.index else one for one in regions])
    status, document, err = run.json("c", "c", "--fail-if", "resident[unit h.service]>0")
    assert (status, document["conditions"][0]["verdict"]) == (0, "kept")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("wss.p95>+10%,idle>+20%", ["wss.p95>+10%", "idle>+20%"]),
        ("wss.p95[a,b]>+10% , idle[c]<=1G", ["wss.p95[a,b]>+10%", "idle[c]<=1G"]),
        ("resident[a,wss.p95>=1]>+1M", ["resident[a,wss.p95>=1]>+1M"]),
        ("resident[x[1],2]>+1M,unknown[*,?]>1M", ["resident[x[1],2]>+1M", "unknown[*,?]>1M"]),
        (" wss@0.5s.p50 > +1M ", ["wss@0.5s.p50 > +1M"]),
    ],
)
def test_a_comma_in_a_name_parts_no_conditions(text, parts):
    assert [one.text for one in parse_conditions(text)] == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no condition"),
        ("idle>1,", "'' is no condition"),
        (",idle>1", "'' is no condition"),
        ("idle>1,,idle>2", "'' is no condition"),
        ("idle>1,nonsense", "'nonsense' is no condition"),
        ("wss.p50[a,b", "'wss.p50[a,b' is no condition"),
        ("idle[a]x>1", "'idle[a]x' is no figure"),
    ],
)
def test_a_part_that_is_no_condition_is_named(text, said):
    with pytest.raises(BadValueError, match=re.escape(said)):
        parse_conditions(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rss>+10%", "did you mean resident?"),
        ("residen>+10%", "did you mean resident?"),
        ("working_set.p50>+10%", "did you mean wss?"),
        ("temperature>3", "there are wss: the working set, wss.p50"),
        ("resident.p50>3", "resident is what is in memory"),
        ("idle.p50>3", "idle is idle or idle@10s"),
    ],
)
def test_who_names_a_figure_that_there_is_not_is_told_which_there_are(text, hint):
    with pytest.raises(BadValueError) as caught:
        parse_condition(text)
    assert hint in caught.value.hint


def test_names_of_figures():
    assert parse_metric("wss@0.5s.p99.9[a.b]") == Metric("wss", S // 2, "p99.9", "a.b")
    assert parse_metric("idle@1m").title == "idle@1m"
    assert parse_metric("wss.mean").percent is None
    for text in ("wss.p101", "wss.p", "resident@1s", "", "wss@.p50"):
        with pytest.raises(BadValueError):
            parse_metric(text)


sizes = st.integers(0, 2**40)
bounded = st.tuples(sizes, sizes, sizes).map(sorted).map(lambda s: Figure(s[1], s[0], s[2]))


@given(
    before=bounded,
    after=bounded,
    truth=st.tuples(st.fractions(0, 1), st.fractions(0, 1)),
    op=st.sampled_from([">", ">=", "<", "<="]),
    limit=st.sampled_from(["+10%", "-10%", "+0%", "+1M", "-1M", "1M", "0"]),
)
def test_a_verdict_holds_wherever_the_truth_is(before, after, truth, op, limit):
    condition = parse_condition(f"resident{op}{limit}")
    a, b = (
        math.floor(figure.low + share * (figure.high - figure.low))
        for figure, share in zip((before, after), truth, strict=True)
    )
    value = growth(a, b) if condition.relative else b - a if condition.change else b
    met = {
        ">": value > condition.limit,
        ">=": value >= condition.limit,
        "<": value < condition.limit,
        "<=": value <= condition.limit,
    }[op]
    verdict = condition.judge(before, after)
    assert verdict == "unsure" or (verdict == "crossed") == met
    exact = condition.judge(Figure.exact(a), Figure.exact(b))
    assert exact == ("crossed" if met else "kept")
    change = Change(Metric("resident"), before, after).told
    assert change == "unsure" or change == ("more" if b > a else "less" if b < a else "same")


def test_growth_from_nothing_is_without_end():
    assert growth(0, 0) == 0
    assert growth(0, 1) == math.inf
    assert growth(4, 5) == Fraction(1, 4)
