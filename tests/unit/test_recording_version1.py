"""Recordings of version 1, as the last program that wrote them left them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import isotherm
from isotherm.cli import main
from isotherm.errors import DamagedRecordingError
from isotherm.model.snapshot import Cost
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import format as layout
from isotherm.recording.messages import batch_message, schema_message
from support.recordings import ending, frame
from support.snapshots import HEAP, MIB, phases, snapshot

DATA = Path(__file__).parents[1] / "data" / "recordings"


def test_two_targets_and_a_gap():
    assert list(isotherm.open(DATA / "version1-phases.isotherm")) == phases(60)


def test_names_that_are_no_text_and_costs_that_nobody_knows():
    read = list(isotherm.open(DATA / "version1-odd.isotherm"))
    assert read == [
        snapshot(0, targets=()),
        snapshot(
            1,
            [(0, 4096, 8192, 3, 7, 0), (1, HEAP, HEAP + MIB, 0, 2**32 - 1, 2 * MIB)],
            targets=(
                Target(2**40, "naïve \udcff\n\x1b[31m", None, None, 2**50),
                Target(1, "", 4194304),
            ),
            unobservable=(Unobservable(1, 0, 4096, "shared"),),
            cost=Cost(1, 2, None, 3, None, None),
            mappings={
                1: (
                    Mapping(HEAP, HEAP + MIB, "rw-p", "/lib/ü.so"),
                    Mapping(HEAP + MIB, HEAP + 2 * MIB, "r--s", ""),
                ),
                2: (),
            },
        ),
        snapshot(30, targets=(Target(1, "late", 5),)),
    ]


def test_a_session_with_schemes():
    opened = isotherm.open(DATA / "version1-schemes.isotherm")
    read = list(opened)
    assert opened.damage is None
    assert [one.index for one in read] == list(range(30))
    assert read[5].schemes == ()
    assert opened.info["profile"] == "7.3"
    assert opened.info["version"] == 1


@pytest.mark.parametrize("view", ["summary", "regions", "heatmap", "wss", "tree", "info"])
def test_they_are_reported(view, capsys):
    assert main(["report", str(DATA / "version1-phases.isotherm"), view]) == 0
    out = capsys.readouterr().out
    assert "60" in out or view in ("heatmap", "regions", "tree")
    assert ("no map of pages" in out) == (view == "tree")


BAD = {
    "targets": [
        "", "{}", "7", "[7]", '[{"id": 1}]', '[{"id": 1.5, "name": "x"}]',
        '[{"id": -1, "name": ""}]',
        '[{"id": 1, "name": 7}]', '[{"id": 1, "name": "a", "pid": "x"}]', "[" * 90_000,
        '[{"id": true, "name": "a"}]', '[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]',
        '[{"id": 1, "name": "a", "resident_bytes": NaN}]',
        '[{"id": 1, "name": "%s"}]' % ("x" * 20_000),
    ],
    "unobservable": ["null", "[[]]", "[[1, 2, 3]]", '[[1, 3, 2, ""]]', "[[1, 2, 3, 4]]", "[{}]"],
    "mappings": [
        "[]", '{"x": []}', '{"-1": []}', '{"1": 7}', '{"1": [7]}', '{"²": []}',
        '{"1": [[2, 1, "", ""]]}', '{"1": [[1, 2, null, ""]]}', '{"%s": []}' % ("9" * 5000),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("column", "text"), [(c, t) for c in BAD for t in BAD[c]])
def test_json_that_nobody_wrote_is_damage(tmp_path, column, text):
    path = tmp_path / "x.isotherm"
    opened = isotherm.open(version1(path, **{column: text}))
    with pytest.raises(DamagedRecordingError):
        list(opened)


def test_what_these_are_made_of_is_no_damage(tmp_path):
    good = json.dumps([{"id": 1, "name": "a", "unknown": 7}])
    [one] = isotherm.open(version1(tmp_path / "x.isotherm", targets=good))
    assert one.targets == (Target(1, "a"),)


def version1(path, **texts):
    """A recording of version 1 with a row without regions."""
    nodes, buffers = [1, 0] * 11, [b"", bytes(8)] * 11
    nodes += [1, 0] + [0, 0] * 7
    buffers += [b"", bytes(8), b""] + [b"", b""] * 6
    for name in ("targets", "unobservable", "mappings"):
        text = texts.get(name)
        data = (text or "").encode()
        nodes += [1, int(text is None)]
        buffers += [
            bytes(1) if text is None else b"",
            bytes(4) + len(data).to_bytes(4, "little"),
            data,
        ]
    begin = schema_message(layout.COLUMNS_1, {layout.METADATA_KEY: '{"version": 1}'})
    header = layout.note(layout.HEADER_TEXT + b"1\n")
    path.write_bytes(
        header + frame(begin) + frame(batch_message(1, nodes, buffers)) + ending(1, 0)
    )
    return path
