"""The live view in a (simulated) terminal: keys, sizes, the filter, and how it ends."""

import asyncio

import pytest

from isotherm.live.app import TopApp
from isotherm.live.replay import Player, Replay
from isotherm.live.stage import Stage
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.living import DB, HOSTILE, stage, window
from support.snapshots import T0, S


def drive(app, keys, size=(80, 24)):
    """Press keys; return what the terminal shows after each, the first before any."""

    async def run():
        shown = []
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            shown.append(lines_of(app))
            for key in keys:
                await (pilot.resize_terminal(*key) if isinstance(key, tuple) else pilot.press(key))
                await pilot.pause()
                shown.append(lines_of(app))
        return shown

    return asyncio.run(run())


def lines_of(app):
    return [
        "".join(part.text for part in strip) for strip in app.screen._compositor.render_strips()
    ]


def app_of(shown, news=False):
    return TopApp(shown, lambda: news)


def has(lines, text):
    return any(text in line for line in lines)


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (200, 50)])
def test_it_shows_what_the_stage_says(size):
    (first,) = drive(app_of(stage()), [], size)
    expected = ["".join(text for text, _ in line) for line in stage().lines(*size)]
    assert first == expected


def test_keys_do_what_the_footer_says():
    shown = stage()
    pressed = ["enter", "down", "enter", "escape", "s", "r", "w", "g", "left", "p"]
    pressed += ["question_mark", "x", "f1"]
    states = drive(app_of(shown), pressed)
    assert has(states[1], "- unit db.service")
    assert has(states[3], "database 101  resident 240M")
    assert has(states[4], "TREND")
    assert shown.wish.sort == "idle"
    assert shown.wish.reverse
    assert shown.wish.window == 2
    assert shown.wish.grouped is False
    assert has(states[9], "PAUSED 1s ago")
    assert not has(states[10], "PAUSED")
    assert has(states[11], "pgup pgdn")
    assert has(states[12], "pgup pgdn")
    assert not has(states[13], "pgup pgdn")


def test_another_size_is_drawn_anew():
    states = drive(app_of(stage()), [(60, 20), (200, 50), (30, 6)])
    for lines, (width, height) in zip(states[1:], [(60, 20), (200, 50), (30, 6)], strict=True):
        assert len(lines) == height
        assert {len(line) for line in lines} == {width}


def test_the_filter_is_typed_and_taken_back():
    shown = stage()
    states = drive(app_of(shown), ["slash", "w", "e", "b", "enter", "q"])
    assert has(states[4], "web")
    assert not has(states[4], "database")
    assert has(states[5], "filter web")
    assert shown.wish.words == "web"
    again = stage()
    app = app_of(again)
    drive(app, ["slash", "w", "q", "escape", "q"])
    assert again.wish.words == ""
    assert app._exit


@pytest.mark.parametrize("key", ["q", "f10", "ctrl+c", "ctrl+q"])
def test_it_ends_when_it_is_told_to(key):
    async def run():
        app = app_of(stage())
        async with app.run_test() as pilot:
            await pilot.press(key)
            await pilot.pause()
            return app._exit

    assert asyncio.run(run())


def test_control_c_ends_it_while_a_filter_is_typed():
    async def run():
        app = app_of(stage())
        async with app.run_test() as pilot:
            await pilot.press("slash", "q", "ctrl+c")
            await pilot.pause()
            return app._exit

    assert asyncio.run(run())


def test_it_ends_when_there_is_nothing_more():
    async def run():
        app = TopApp(stage(), lambda: None)
        async with app.run_test() as pilot:
            await pilot.pause()
            return app._exit

    assert asyncio.run(run())


def test_what_names_say_is_not_done():
    shown = stage()
    for detail in (None, DB.id):
        shown.detail = detail
        (lines,) = drive(app_of(shown), [], (200, 50))
        assert "".join(lines).isprintable()
        # As it is written: no markup of the toolkit, no sequence of the terminal.
        if detail is None:
            assert has(lines, "[red]x[/red]")
            assert has(lines, "x1b]0;")
    shown.notes.append(HOSTILE)
    *_, lines = drive(app_of(shown), ["question_mark"], (120, 30))
    assert has(lines, "[red]x[/red]")
    assert "".join(lines).isprintable()


def test_without_blocks_it_is_ascii():
    async def run():
        app = TopApp(stage(colour=False), lambda: False, unicode=False)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            return "".join(lines_of(app))

    assert asyncio.run(run()).isascii()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {"backend": "sim"}) as writer:
        for second in range(45):
            writer.write(window(second))
    return path


def test_a_recording_is_gone_through(recording):
    replay = Replay(open_recording(recording))
    shown = Stage(replay.chronicle, lambda moment: [str((moment.at_ns - T0) // S)], endless=False)
    replay.read_all()
    player = Player(shown, replay, "20s")
    states = drive(TopApp(shown, player.tick), ["left", "right", "right", "n", "less_than_sign"])
    told = [lines[0].split()[0] for lines in states]
    assert told == ["20", "19", "20", "21", "45", "35"]


def test_a_recording_plays_and_ends(recording):
    replay = Replay(open_recording(recording))
    replay.read_all()
    shown = Stage(replay.chronicle, lambda moment: [], endless=False)
    shown.go_to(T0 + 40 * S)
    shown.pause()
    assert shown.playing
    assert shown.play(2 * S)
    assert shown.moment.at_ns == T0 + 42 * S
    assert not shown.play(S // 100)
    assert shown.play(100 * S)
    assert not shown.playing
    shown.pause()  # from its end it begins anew
    assert shown.at == 0
    shown.pause()
    assert not shown.play(S)
