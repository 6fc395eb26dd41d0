"""The live view without a terminal: what it shows at which size, and what keys do to it."""

import os
import re
import time
from array import array
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from isotherm.analysis.usage import Figures
from isotherm.live.chronicle import Chronicle, Feed
from isotherm.live.layout import age, columns, text_of
from isotherm.live.rows import SORTS, Wish
from isotherm.live.stage import Stage
from isotherm.model.page_use import WINDOWS_NS
from isotherm.terminal.text import columns_of
from support.living import DB, EVIL, HOSTILE, WORKER, stage, window
from support.snapshots import MIB, T0, S, phases

DATA = Path(__file__).parents[1] / "data" / "live"
SIZES = [(80, 24), (60, 20), (200, 50)]


@pytest.fixture(autouse=True)
def _greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def screen(shown, width=80, height=24):
    return [text_of(line) for line in shown.lines(width, height)]


def names(shown, width=120):
    lines = screen(shown, width, 24)[3:-1]
    return [re.match(r"[ 0-9]*(.*?)(  |$)", line)[1] for line in lines if line.strip()]


def compare(name, lines):
    """Demand that lines are those of a file, or write it if ISOTHERM_UPDATE_SNAPSHOTS is set."""
    path = DATA / name
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    if os.environ.get("ISOTHERM_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("what", ["list", "detail", "help"])
def test_it_looks_as_it_did(what, width, height):
    shown = stage(colour=False)
    shown.wish = replace(shown.wish, open=frozenset({DB.group}))
    if what == "detail":
        shown.move(1)
        shown.enter()
    shown.helping = what == "help"
    compare(f"{what}-{width}x{height}.txt", screen(shown, width, height))


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("detail", [True, False])
@pytest.mark.parametrize(("width", "height"), [*SIZES, (40, 10), (20, 5), (61, 24), (137, 33)])
def test_every_line_has_the_width_of_the_screen(width, height, detail, colour):
    shown = stage(5, colour=colour)
    shown.detail = DB.id if detail else None
    lines = screen(shown, width, height)
    assert len(lines) == height
    assert {columns_of(line) for line in lines} == {width}


@pytest.mark.parametrize("width", range(60, 240, 7))
def test_columns_fill_the_width_and_have_room(width):
    shown = columns(width, Wish())
    assert sum(column.width for column in shown) == width
    assert min(column.width for column in shown) >= 6
    assert {"pid", "name", "resident", "wss", "idle", "unknown", "age", "heat"} <= {
        column.what for column in shown
    }


@pytest.mark.parametrize("detail", [None, DB.id, EVIL.id])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_do_not_reach_the_terminal(width, detail):
    shown = stage(colour=True)
    shown.detail = detail
    text = "".join(screen(shown, width))
    assert text.isprintable()
    assert "x1b" in text or detail is None


def test_unknown_is_neither_idle_nor_nothing():
    shown = stage(colour=False)
    shown.group()
    web = next(line for line in screen(shown) if " web " in line)
    # 40 MiB that cannot be seen: nobody knows what was used of them.
    assert web.split()[2:6] == ["40.0M", "?", "?", "40.0M"]
    assert "????" in web
    late = next(line for line in screen(shown) if " late " in line)
    assert late.split()[2:6] == ["10.0M", "-", "-", "10.0M"]


def test_groups_are_sums_and_open():
    shown = stage(colour=False)
    closed = names(shown)
    assert closed[0] == "+ unit db.service (2)"
    assert "database" not in closed
    line = next(line for line in screen(shown, 120) if "unit db.service" in line)
    assert line.split()[4] == "300M"
    shown.enter()
    assert names(shown)[:3] == ["- unit db.service (2)", "database", "db-worker"]
    shown.enter()
    assert names(shown) == closed
    shown.open_all()
    assert {"database", "db-worker", "web"} <= set(names(shown))
    shown.group()
    assert names(shown)[:2] == ["database", "db-worker"]


@pytest.mark.parametrize("sort", SORTS)
def test_rows_are_in_the_order_that_is_asked_for(sort):
    shown = stage()
    shown.group()
    shown.wish = replace(shown.wish, sort=sort)
    rows = shown.rows()
    values = {
        "wss": lambda row: row.figures.used[1],
        "idle": lambda row: row.figures.idle[1],
        "age": lambda row: row.figures.age_ns,
        "resident": lambda row: row.figures.resident,
        "unknown": lambda row: row.figures.unknown,
        "name": lambda row: row.name.lower(),
    }
    found = [value for value in map(values[sort], rows) if value is not None]
    assert found == sorted(found, reverse=sort != "name")
    assert list(map(values[sort], rows))[: len(found)] == found
    shown.reverse()
    again = [value for value in map(values[sort], shown.rows()) if value is not None]
    assert again == sorted(found, reverse=sort == "name")


def test_the_order_has_a_mark_and_goes_round():
    shown = stage()
    for sort in (*SORTS, SORTS[0]):
        assert shown.wish.sort == sort
        shown.sort()


def test_words_are_of_names_numbers_and_groups():
    shown = stage()
    for words, found in (("WORK", {2}), ("103", {3}), ("db.service", {1, 2}), ("db 101", {1})):
        shown.filter(words)
        assert {row.key for row in shown.rows() if not row.is_group} == found
    shown.filter("nobody")
    assert any("nobody has these words" in line for line in screen(shown))
    shown.back()
    assert len(names(shown)) == 4


def test_the_selected_row_stays_selected_when_others_move():
    shown = stage()
    shown.group()
    shown.move(1)
    selected = WORKER.id
    shown.wish = replace(shown.wish, sort="unknown")
    shown.enter()
    assert shown.detail == selected


def test_a_window_that_was_not_reached_is_not_asked_of():
    young = stage(3)
    assert "WSS1s" in screen(young)[2]
    old = stage(45)
    assert "WSS10s" in screen(old)[2]
    old.window()
    assert "WSS10s" in screen(old)[2]  # a minute was not reached
    old.window()
    assert "WSS1s" in screen(old)[2]


def test_time_is_held_and_gone_through():
    shown = stage(45)
    assert not shown.paused
    shown.go(-10)
    assert shown.paused
    assert shown.moment.at_ns == T0 + 35 * S
    assert "PAUSED 10s ago" in screen(shown)[0]
    shown.chronicle.take(window(45))
    assert shown.moment.at_ns == T0 + 35 * S
    shown.go(-1000)
    assert shown.at == 0
    shown.go(3)
    assert shown.at == 3
    shown.newest()
    assert shown.moment.at_ns == T0 + 46 * S
    shown.pause()
    shown.chronicle.take(window(46))
    assert shown.moment.at_ns == T0 + 46 * S
    shown.pause()
    assert shown.moment.at_ns == T0 + 47 * S


def test_what_is_held_may_be_forgotten_at_last():
    shown = stage(5)
    shown.go(-4)
    for second in range(5, 320):
        shown.chronicle.take(window(second))
    assert len(shown.chronicle) == 300
    assert shown.at == 0


def test_figures_that_are_old_are_told_to_be():
    shown = stage(46)
    for second in range(46, 50):
        shown.chronicle.take(replace(window(second), page_use=None))
    assert any("as of 4s ago" in line for line in screen(shown))


def test_the_heat_of_a_process_moves_where_it_moved():
    shown = stage(40, colour=False)
    shown.detail = DB.id
    lines = screen(shown, 120, 40)
    picture = [line[32:] for line in lines if "█" in line[90:] and "used" not in line]
    assert picture
    rows = [line for line in lines[3:] if line[32:].count("█") in (30, 10)]
    assert len(rows) >= 2
    higher, lower = rows[0][32:].rstrip(), rows[-1][32:].rstrip()
    # The hot 32 MiB were low for 30 s, and are high for 10 s by now.
    assert higher.endswith("█" * 10)
    assert lower.endswith("█" * 30 + "·" * 10)
    assert any(line.startswith("[heap]") for line in lines)


def test_detail_goes_from_one_process_to_the_next():
    shown = stage()
    shown.group()
    shown.enter()
    assert shown.detail == DB.id
    shown.move(1)
    assert shown.detail == WORKER.id
    shown.move(-5)
    assert shown.detail == DB.id
    shown.back()
    assert shown.detail is None


def test_who_was_not_there_then_is_told():
    shown = stage()
    shown.detail = 99
    assert any("was not there" in line for line in screen(shown))


def test_help_has_the_notes_that_were_not_read():
    shown = stage()
    shown.notes.append(f"left out: {HOSTILE}")
    assert "1 notes: ?" in screen(shown)[0]
    shown.helping = True
    assert any("left out" in line for line in screen(shown))
    shown.back()
    assert "notes" not in screen(shown)[0]


def test_nothing_is_known_at_first():
    shown = Stage(Chronicle(), lambda moment: ())
    assert any("nothing is known yet" in line for line in screen(shown))
    for key in (shown.enter, shown.pause, shown.back, shown.group, shown.open_all):
        key()
    shown.move(1)
    shown.go(-1)


def test_who_takes_snapshots_never_waits():
    feed = Feed()
    for second in range(500):
        feed.take(window(second))
    taken = list(feed.snapshots())
    assert [one.index for one in taken] == list(range(436, 500))
    # Address maps are told once: they are there though the snapshot that had them is not.
    chronicle = Chronicle()
    for mappings in feed.maps():
        chronicle.take_maps(mappings)
    for one in taken:
        chronicle.take(one)
    assert chronicle.moments[-1].mappings[DB.id][0].name == "[heap]"
    assert list(feed.snapshots()) == []


def test_a_long_recording_is_thinned_and_has_its_ends():
    chronicle = Chronicle(10, thin=True)
    made = phases(100)
    for one in made:
        chronicle.take(one)
    chronicle.end()
    assert 5 <= len(chronicle) <= 11
    places = [moment.snapshot.index for moment in chronicle.moments]
    assert places[-1] == 99
    assert places == sorted(places)
    assert len({b - a for a, b in pairwise(places[:-1])}) == 1
    assert not chronicle.moments[-1].usage.by_pages


def test_the_trend_is_of_windows_where_regions_tell():
    shown = stage(3)
    one = window(3)
    used = array("Q", [0, 5 * MIB, 0, 0, 7 * MIB, 0, 0, 0])
    told = replace(one, columns=replace(one.columns, used=used))
    shown.chronicle.take(told)
    assert shown.chronicle.trend(DB.id, 0, 3, 1) == [5 * MIB]
    assert shown.chronicle.trend(DB.group, 0, 3, 1) == [12 * MIB]
    assert shown.chronicle.trend(DB.id, 0, 2, 1) == [32 * MIB]


@pytest.mark.parametrize("width", [60, 66, 70, 80, 100, 200])
def test_how_old_figures_are_is_told_at_any_width(width):
    shown = stage(44, colour=False)
    moment = shown.chronicle.moments[-1]
    usage = replace(moment.usage, at_ns=moment.at_ns - 27 * S)
    shown.chronicle.moments[-1] = replace(moment, usage=usage)
    assert "27s ago" in screen(shown, width)[1]
    shown.enter()
    shown.move(1)
    shown.enter()
    assert "as of 27s ago" in screen(shown, width)[1]


@pytest.mark.parametrize("age_ns", [None, 0, *WINDOWS_NS])
def test_an_age_has_a_gap_beside_it(age_ns):
    figures = Figures(MIB, 0, (None,) * 3, (None,) * 3, age_ns)
    assert len(age(figures)) <= 5
