"""`isotherm report tree`: memory by group, process, kind and name."""

import csv
import io
import json
from dataclasses import replace

import pytest

from isotherm.analysis.tree import tree
from isotherm.cli import main
from isotherm.model.page_use import GroupUse
from isotherm.model.target import Target
from isotherm.recording.writer import RecordingWriter
from support.snapshots import MIB, S, page_use, phases, use_row

APP, DB = Target(7, "app", 42), Target(9, "db", 43, group="db.service")
USE = page_use(
    use_row({0.05: 8 * MIB, 25: 40 * MIB}, node=0),
    use_row({0.05: 2 * MIB}, node=1),
    use_row({12: 3 * MIB}, what="/usr/lib/libx.so", kind="file"),
    use_row({0.2: 30 * MIB}, what="[stack:worker]", target=1),
    use_row({}, what="/dev/shm/x", kind="shmem", unseen=100 * MIB, own=False, target=1),
)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(use, *args):
        made = [replace(one, page_use=use if one.index == 119 else None) for one in phases(120)]
        made = [
            replace(one, targets=(one.targets[0], replace(one.targets[1], group="db.service")))
            for one in made
        ]
        with RecordingWriter(tmp_path / "x.isotherm", {"backend": "sim"}, force=True) as writer:
            for one in made:
                writer.write(one)
        status = main(["report", "tree", "x.isotherm", *args])
        out, err = capsys.readouterr()
        assert not err
        assert not status
        return out

    return call


def test_sums_are_those_of_the_parts_and_all_is_there_once():
    found = tree(USE, (APP, DB))

    def check(node):
        if node.parts:
            for figure in ("resident", "unseen", "uncovered"):
                parts = sum(getattr(part.row, figure) for part in node.parts)
                assert getattr(node.row, figure) == parts
            for figure in ("used", "used_low", "used_high", "idle"):
                for i in range(len(USE.windows_ns)):
                    parts = sum(getattr(part.row, figure)[i] for part in node.parts)
                    assert getattr(node.row, figure)[i] == parts
        for part in node.parts:
            check(part)

    for group in found.groups:
        check(group)
    assert sum(group.row.resident for group in found.groups) == USE.resident
    assert [group.name for group in found.groups] == ["db.service", ""]


def test_the_window_is_the_longest_that_is_known_up_to_what_is_asked():
    assert tree(USE, (APP, DB)).window_ns == 10 * S
    assert tree(USE, (APP, DB), 3 * S).window_ns == 2 * S
    assert tree(USE, (APP, DB), 1).window_ns == S // 10
    assert tree(USE, (APP, DB), 3600 * S).window_ns == 30 * S
    assert tree(page_use(), ()).groups == ()
    # Of all of the time it was watched nothing can be seen to be idle for as long.
    short = page_use(use_row({1: MIB}, watched_ns=6 * S), watched_ns=6 * S)
    assert tree(short, (APP,)).window_ns == 5 * S
    assert tree(short, (APP,), 6 * S).window_ns == 6 * S


def test_people_see_names_indented_and_figures(run):
    lines = [" ".join(line.split()) for line in run(USE).splitlines()]
    assert lines == [
        "memory 183 MiB resident",
        "what resident used in 10s idle 10s+ unknown",
        "db.service 130 MiB 30.0 MiB 0 B 100 MiB",
        "helper 43 130 MiB 30.0 MiB 0 B 100 MiB",
        "shared memory 100 MiB 0 B 0 B 100 MiB",
        "/dev/shm/x 100 MiB 0 B 0 B 100 MiB",
        "anonymous memory 30.0 MiB 30.0 MiB 0 B 0 B",
        "[stack:worker] 30.0 MiB 30.0 MiB 0 B 0 B",
        "app 42 53.0 MiB 10.0 MiB 43.0 MiB 0 B",
        "anonymous memory 50.0 MiB 10.0 MiB 40.0 MiB 0 B",
        "[heap] 50.0 MiB 10.0 MiB 40.0 MiB 0 B",
        "memory of files 3.0 MiB 0 B 3.0 MiB 0 B",
        "/usr/lib/libx.so 3.0 MiB 0 B 3.0 MiB 0 B",
    ]


def test_many_names_are_summed_up_and_all_can_be_asked_for(run):
    use = page_use(*(use_row({1: (20 - i) * MIB}, what=f"[anon:{i}]") for i in range(9)))
    assert "4 more" in run(use)
    assert "[anon:5]" not in run(use)
    assert "more" not in run(use, "--top", "0")
    assert "7 more" in run(use, "--top", "2")


def test_programs_get_a_tree_and_rows_whose_sum_is_all_memory(run):
    document = json.loads(run(USE, "--format", "json"))
    assert document["schema"] == "isotherm.report.tree/1"
    assert document["window_ns"] == 10 * S
    assert [group["name"] for group in document["groups"]] == ["db.service", ""]
    (process,) = document["groups"][0]["parts"]
    assert (process["level"], process["pid"], process["target"]) == ("process", 43, 9)
    assert "parts" not in process["parts"][0]["parts"][0]
    rows = list(csv.DictReader(io.StringIO(run(USE, "--format", "csv"))))
    assert sum(int(row["resident_bytes"]) for row in rows) == USE.resident
    assert rows[0]["group"] == "db.service"
    assert rows[0]["name"] == "/dev/shm/x"


def test_what_a_group_shares_counts_once_in_it(run):
    row = use_row({0.05: 60 * MIB}, unseen=140 * MIB)
    use = replace(USE, groups=(GroupUse("db.service", *row[4:11]),))
    lines = [" ".join(line.split()) for line in run(use).splitlines()]
    assert lines[1:4] == [
        "what resident once used in 10s idle 10s+ unknown",
        "db.service 130 MiB 200 MiB 30.0 MiB 0 B 100 MiB",
        "helper 43 130 MiB 30.0 MiB 0 B 100 MiB",
    ]
    document = json.loads(run(use, "--format", "json"))
    assert [group["once_bytes"] for group in document["groups"]] == [200 * MIB, None]
    # Which of it is of some names alone nobody knows.
    assert "once" not in run(use, "--name", "/dev/shm/*").split()


def test_without_a_map_of_pages_it_says_so(run):
    assert "no map of pages was kept" in run(None)
    assert json.loads(run(None, "--format", "json"))["groups"] == []
