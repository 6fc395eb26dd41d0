"""What a report is narrowed to: by address, rate, age, size, time and name; its order."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.analysis.filtered import Selection, is_like, open_selected
from isotherm.analysis.recorded import open_recording
from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.model.scheme import Access, Age
from isotherm.model.target import Mapping
from isotherm.recording.writer import RecordingWriter
from isotherm.report.filters import selection
from support.snapshots import HEAP, MIB, STACK, S, page_use, phases, snapshot, use_row


def write(path, snapshots):
    with RecordingWriter(path, {"backend": "sim"}) as writer:
        for one in snapshots:
            writer.write(one)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*args):
        status = main(["report", "run.isotherm", *args])
        out, err = capsys.readouterr()
        return status, out, err

    def rows(*args):
        status, out, err = call(*args, "--format", "json")
        assert (status, err) == (0, "")
        return json.loads(out)

    call.json = rows
    write(tmp_path / "run.isotherm", phases(120))
    return call


def spans(document):
    return [(row["target"], row["start"], row["end"]) for row in document["regions"]]


def test_regions_are_chosen_whole_by_their_pattern(run):
    hot = (7, HEAP + 40 * MIB, HEAP + 48 * MIB)
    assert spans(run.json("regions", "--access", "100%")) == [hot]
    assert spans(run.json("regions", "--access", "20samples..")) == [hot]
    assert spans(run.json("regions", "--size", "..2M")) == [(7, STACK, STACK + MIB)]
    assert spans(run.json("regions", "--access", "1%..99%")) == [(7, STACK, STACK + MIB)]
    # Hot only since the middle of the twelve seconds; the others are as they were at first.
    assert spans(run.json("regions", "--age", "..6s")) == [hot]
    assert len(spans(run.json("regions", "--age", "10s.."))) == 4


def test_regions_are_cut_to_addresses_and_names(run):
    where = f"{HEAP + 47 * MIB:#x}-{HEAP + 49 * MIB:#x}"
    assert spans(run.json("regions", "--address", where, "--name", "[heap]")) == [
        (7, HEAP + 47 * MIB, HEAP + 48 * MIB),
        (7, HEAP + 48 * MIB, HEAP + 49 * MIB),
    ]
    # The size is that of the region, as with schemes: what it was cut to is smaller.
    assert spans(
        run.json("regions", "--address", where, "--size", "10M..", "--name", "[heap]")
    ) == [(7, HEAP + 48 * MIB, HEAP + 49 * MIB)]
    both = run.json("regions", "--name", "[stack]", "--name", "anon*")
    assert [row["what"] for row in both["regions"]] == ["[stack]", "anonymous"]


def test_every_view_is_of_what_was_chosen(run):
    summary = run.json("summary", "--name", "[heap]")
    assert [row["what"] for row in summary["what"]] == ["[heap]"]
    assert summary["monitored_bytes"] == 64 * MIB
    assert summary["unobservable_bytes"] == 0
    assert summary["resident_bytes"] is None  # of the heap nobody knows
    assert run.json("wss", "--name", "[heap]")["percentiles"][2]["bytes"] == 8 * MIB
    rows = run.json("heatmap", "--address", f"{HEAP:#x}-{HEAP + MIB:#x}", "--target", "7")["rows"]
    assert min(row["start"] for row in rows) == HEAP
    assert max(row["end"] for row in rows) == HEAP + MIB


def test_times_are_of_windows_that_begin_then(run):
    info = run.json("info", "--time", "3s..5s")
    assert info["snapshots"] == 20
    assert info["duration_ns"] == 2 * S
    summary = run.json("summary", "--time", "3s..")
    assert summary["snapshots"] == 90
    assert summary["lost_snapshots"] == 0  # they were left out, not lost
    assert {row["what"] for row in summary["what"]} == {"[heap]", "[stack]", "anonymous"}
    assert spans(run.json("regions", "--time", "..6s", "--access", "50%..")) == [
        (7, HEAP + 8 * MIB, HEAP + 16 * MIB)
    ]


def test_maps_of_addresses_that_change_outside_of_the_times_are_known_inside(tmp_path):
    first, *others = phases(40)
    library = Mapping(HEAP, HEAP + 64 * MIB, "r-xp", "/lib/libc.so.6")
    others[9] = replace(others[9], mappings={7: (library,)})
    path = write(tmp_path / "x.isotherm", [first, *others])
    chosen = Selection(times=(2 * S, 3 * S), names=("*/libc*",))
    found = list(open_selected(path, chosen).readable())
    assert [one.index for one in found] == list(range(10))
    assert {(r.start, r.end) for r in found[0].regions} == {
        (r.start, r.end) for r in others[19].regions if r.target == 0 and r.end <= HEAP + 64 * MIB
    }


def test_a_map_of_pages_knows_names_and_times_and_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    use = page_use(use_row({0: 3 * MIB, 20: 5 * MIB}), use_row({20: 7 * MIB}, what="/lib/x.so"))
    row = (0, HEAP, HEAP + 16 * MIB, 1, 1, 0)
    maps = {0: (Mapping(HEAP, HEAP + 16 * MIB, "rw-p", "[heap]"),)}
    one = replace(snapshot(0, [row], mappings=maps), page_use=use)
    write(tmp_path / "run.isotherm", [one, snapshot(1, [row])])

    def json_of(*args):
        assert main(["report", "run.isotherm", *args, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert json_of()["resident_bytes"] == 15 * MIB
    named = json_of("--name", "[heap]")
    assert (named["by"], named["resident_bytes"]) == ("pages", 8 * MIB)
    assert [row["what"] for row in named["mappings"]] == ["[heap]"]
    assert json_of("--size", "1M..")["by"] == "regions"
    assert main(["report", "run.isotherm", "tree", "--size", "1M.."]) == 0
    assert "knows nothing of address" in capsys.readouterr().out
    assert main(["report", "run.isotherm", "cold", "--size", "1M.."]) == 0
    told = capsys.readouterr().out
    assert "knows nothing of address" in told
    assert "no map of pages was kept" not in told
    # In the second window nothing is said of pages: as of the time that is meant.
    assert json_of("--time", "0.1s..")["by"] == "regions"


def test_nothing_that_matches_is_said(run):
    for args in (
        ("--name", "nothing"),
        ("regions", "--size", "1E.."),
        ("heatmap", "--age", "9h.."),
    ):
        status, out, err = run(*args)
        assert (status, out) == (2, "")
        assert "nothing in the recording matches" in err


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--time", "10s", "is not a range"),
        ("--time", "10s..5s", "ends before it begins"),
        ("--size", "1x..", "suffixes"),
        ("--access", "5", "5%"),
        ("--age", "5..", "unit"),
        ("--address", "12", "in hexadecimal digits"),
    ],
)
def test_what_makes_no_sense_is_refused(run, option, text, told):
    status, _, err = run(option, text)
    assert status == 2
    assert told in err


def test_order_of_lists(run):
    def sizes(*args):
        return [row["end"] - row["start"] for row in run.json("regions", *args)["regions"]]

    assert sizes("--sort", "size") == sorted(sizes(), reverse=True)
    assert sizes("--sort", "-size") == sorted(sizes())
    names = [row["what"] for row in run.json("summary", "--sort", "name")["what"]]
    assert names == sorted(names)
    idle = [row["idle_bytes"] for row in run.json("summary", "--sort", "-idle")["what"]]
    assert idle == sorted(idle)
    status, _, err = run("summary", "--sort", "colour")
    assert status == 2
    assert "by size, used, idle, unknown, name" in err


def test_unknown_is_last_in_any_order(run, tmp_path):
    blind = (0, HEAP, HEAP + MIB, 0, 0, MIB)
    write(tmp_path / "b.isotherm", [snapshot(0, [blind, (0, STACK, STACK + MIB, 3, 0, 0)])])
    (tmp_path / "b.isotherm").replace(tmp_path / "run.isotherm")
    for key in ("access", "-access"):
        rows = run.json("regions", "--sort", key)["regions"]
        assert [row["access_percent"] for row in rows] == [15.0, None]


def test_names_are_meant_as_they_are_written():
    assert is_like("[heap]", "[heap]")
    assert not is_like("h", "[heap]")
    assert is_like("/usr/lib/libc.so.6", "*/libc.so.?")
    assert is_like("a\nb", "a*")
    assert not is_like("xa", "a*")


def test_the_times_of_a_range():
    assert selection({"--time": "1.5s..2m"}).times == (1_500_000_000, 120 * S)
    assert selection({"--time": "..1s"}).times == (0, S)
    assert selection({"--time": "1s.."}).times == (S, 2**63 - 1)
    with pytest.raises(BadValueError):
        selection({"--time": ".."})


def test_addresses_in_either_spelling():
    for text in ("0x1000-0x2000", "1000..2000", "0x1000..2000"):
        assert selection({"--address": [text]}).addresses == ((0x1000, 0x2000),)


rows = st.lists(
    st.tuples(st.integers(1, 64), st.integers(0, 20), st.integers(0, 90), st.integers(0, 100)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(
    made=rows,
    size=st.tuples(st.integers(0, 64), st.integers(0, 64)).map(sorted),
    rate=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted),
    age=st.tuples(st.integers(0, 90), st.integers(0, 90)).map(sorted),
    cut=st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted),
)
def test_what_matches_is_what_arithmetic_says(tmp_path_factory, made, size, rate, age, cut):
    regions, at = [], HEAP
    for pages, count, windows, unseen in made:
        regions.append((0, at, at + pages * 4096, count, windows, unseen * pages * 4096 // 100))
        at += pages * 4096
    path = tmp_path_factory.mktemp("x") / "x.isotherm"
    write(path, [snapshot(0, regions)])
    addresses = HEAP + cut[0] * 4096, HEAP + cut[1] * 4096
    chosen = Selection(
        addresses=(addresses,),
        access=Access(*rate),
        age=Age(age[0] * 100_000, age[1] * 100_000),
        sizes=(size[0] * 4096, size[1] * 4096),
    )
    recording = open_selected(path, chosen)
    found = {
        address
        for region in next(recording.readable()).regions
        for address in range(region.start, region.end, 4096)
    }
    assert found == {
        address
        for _, start, end, count, windows, unseen in regions
        if size[0] <= (end - start) / 4096 <= size[1]
        and rate[0] <= Fraction(100 * count, 20) <= rate[1]
        and age[0] <= windows <= age[1]
        and 2 * unseen <= end - start
        for address in range(start, end, 4096)
        if addresses[0] <= address < addresses[1]
    }


def test_all_is_the_recording_itself(tmp_path):
    path = write(tmp_path / "x.isotherm", phases(30))
    everything = Selection(times=(0, 10**12))
    assert list(open_selected(path, everything).readable()) == list(open_recording(path))
    assert len(open_selected(path, everything)) == 30
