"""Heat maps as PNG and SVG: what is drawn where, read by others than who wrote it."""

from __future__ import annotations

import base64
import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.pictures.axis import exact_time, ticks_of_time
from isotherm.pictures.glyphs import PIXELS, fitted, width_of
from isotherm.pictures.heat_figure import COLUMNS, GROUND, LEFT, ROWS, TOP, WIDTH, heat_figure
from isotherm.pictures.palette import IDLE, UNKNOWN, heat_colours
from isotherm.recording.writer import RecordingWriter
from support.pixels import Pixels
from support.snapshots import MIB, phases, snapshot

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script>\x1b]0;x\x07&\n"


def made(name: str = "[heap]", target: str = "app") -> list[Snapshot]:
    """MiB 0..8 hot at first, 8..24 idle, 24..32 unknown; 32..40 is idle, and then not mapped."""
    unseen = (Unobservable(0, 24 * MIB, 32 * MIB, "shared"),)
    maps = {0: (Mapping(0, 40 * MIB, "rw-p", name),)}
    windows = []
    for i in range(20):
        rows = [(0, 0, 8 * MIB, 20 * (i < 10), 0, 0), (0, 8 * MIB, 24 * MIB, 0, 0, 0)]
        rows += [(0, 32 * MIB, 40 * MIB, 0, 0, 0)] * (i < 10)
        windows.append(
            snapshot(
                i, rows, targets=(Target(0, target, 42),), unobservable=unseen,
                mappings=maps if not i else None,
            )
        )  # fmt: skip
    return windows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, windows: list[Snapshot]) -> None:
    with RecordingWriter(path, {}) as writer:
        for one in windows:
            writer.write(one)


def place(mib: float, share: float) -> tuple[float, float]:
    """Return where an address, at a share of the time, is on the picture."""
    return (LEFT + COLUMNS * share) * PIXELS, (TOP + ROWS * (1 - mib / 40)) * PIXELS


def test_lines_where_memory_is_left_out_do_not_hide_what_lies_between(here: Path) -> None:
    rows = [(0, n * 64 * MIB, n * 64 * MIB + 8192, 20, 0, 0) for n in range(150)]
    rows.append((0, 150 * 64 * MIB, 154 * 64 * MIB, 0, 0, 0))
    write(here / "run.isotherm", [snapshot(i, rows) for i in range(5)])
    assert main(["report", "run.isotherm", "heatmap", "-o", "map.svg"]) == 0
    lines = sorted(
        float(rect.get("y", "0"))
        for rect in ET.parse(here / "map.svg").iter(f"{SVG}rect")
        if float(rect.get("x", "0")) == LEFT - 6 and float(rect.get("width", "0")) > COLUMNS
    )
    assert len(lines) > 2
    assert all(after - before >= 3 for before, after in itertools.pairwise(lines))


def test_each_kind_of_memory_is_where_it_belongs(here: Path) -> None:
    write(here / "run.isotherm", made())
    assert main(["report", "run.isotherm", "heatmap", "-o", "map.png"]) == 0
    picture = Pixels((here / "map.png").read_bytes())
    assert picture.at(*place(4, 0.25)) == heat_colours()[-1]
    assert picture.at(*place(4, 0.75)) == IDLE
    assert picture.at(*place(16, 0.25)) == IDLE
    assert picture.at(*place(36, 0.25)) == IDLE
    assert picture.at(*place(36, 0.75)) == GROUND
    x, y = map(int, place(28, 0.5))
    assert picture.area(x, y, 16, 16) == set(UNKNOWN)
    # Hot up to the very pixel.
    x, y = place(8, 0.25)
    assert (picture.at(x, y - 1), picture.at(x, y)) == (IDLE, heat_colours()[-1])
    x, y = place(4, 0.5)
    assert (picture.at(x - 1, y), picture.at(x, y)) == (heat_colours()[-1], IDLE)
    # The title, an address, a name.
    for left, top in ((LEFT, 14), (LEFT - 60, TOP), (LEFT + COLUMNS + 72, TOP + ROWS // 2 - 10)):
        area = picture.area(left * PIXELS, top * PIXELS, 60, 30)
        assert len(area) > 5
        assert GROUND in area


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_every_time_and_of_any_grid(here: Path, suffix: str) -> None:
    import isotherm

    write(here / "run.isotherm", phases())
    recording = isotherm.open(here / "run.isotherm")
    grid, names = recording.named_heatmap(5, 9)
    for kind in ("log", "quantile", "linear"):
        assert heat_figure(grid, names, suffix, kind=kind) == heat_figure(
            grid, names, suffix, kind=kind
        )
    with pytest.raises(BadValueError, match=r"cannot be drawn as .gif"):
        heat_figure(grid, names, ".gif")


def test_what_stands_in_names_stays_text(here: Path) -> None:
    write(here / "run.isotherm", made(HOSTILE, HOSTILE))
    assert main(["report", "run.isotherm", "heatmap", "-o", "map.svg"]) == 0
    data = (here / "map.svg").read_bytes()
    assert b"<script" not in data
    assert b"\x1b" not in data
    root = ET.fromstring(data)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "defs", "pattern", "rect", "image", "text",
    }  # fmt: skip
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert sum("</text>" in text for text in texts) == 2
    assert all(float(element.get("x", "0")) < WIDTH for element in root.iter(f"{SVG}text"))
    href = next(root.iter(f"{SVG}image")).get("href", "")
    cells = Pixels(base64.b64decode(href.removeprefix("data:image/png;base64,")))
    assert (cells.width, cells.height) == (COLUMNS, ROWS)
    assert cells.at(10, ROWS - 10) == heat_colours()[-1]
    assert all(
        value.startswith(("data:image/png;base64,", "url(#unknown)"))
        for element in root.iter()
        for name, value in element.attrib.items()
        if name == "href" or "url" in value
    )
    assert main(["report", "run.isotherm", "heatmap", "-o", "map.png"]) == 0
    Pixels((here / "map.png").read_bytes())


def test_files_are_not_overwritten_and_kinds_are_known(
    here: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    write(here / "run.isotherm", phases())
    command = ["report", "run.isotherm", "heatmap", "-o"]
    assert main([*command, "map.PNG"]) == 0
    assert b"saved map.PNG" in capsysbinary.readouterr().err
    assert main([*command, "map.PNG"]) == 2
    assert b"exists already" in capsysbinary.readouterr().err
    assert main([*command, "map.PNG", "--force"]) == 0
    for name in ("map.jpg", "map", "map.html"):
        assert main([*command, name]) == 2
        assert b"heatmap: .png, .svg" in capsysbinary.readouterr().err
    assert main(["report", "run.isotherm", "wss", "-o", "x.png"]) == 2
    assert b"the view wss is not written as '.png'" in capsysbinary.readouterr().err
    assert main([*command, "no/map.png"]) == 1
    assert b"no such directory" in capsysbinary.readouterr().err
    assert main([*command, "-"]) == 0
    assert capsysbinary.readouterr().out == (here / "map.PNG").read_bytes()


def test_damage_is_told_after_what_could_be_drawn(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "run.isotherm", phases())
    whole = (here / "run.isotherm").read_bytes()
    (here / "run.isotherm").write_bytes(whole[:-40])
    assert main(["report", "run.isotherm", "heatmap", "-o", "map.png"]) == 5
    assert (here / "map.png").exists()
    (here / "none.isotherm").write_bytes(whole[:300])
    assert main(["report", "none.isotherm", "heatmap", "-o", "none.png"]) == 5
    assert not (here / "none.png").exists()
    capsys.readouterr()


def test_texts_are_measured_and_cut() -> None:
    assert width_of("iii") < width_of("WWW")
    for text in ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "\x1b[2J" * 30, "漢字" * 40, "a"):
        short = fitted(text, 100)
        assert width_of(short) <= 100
        assert short
    assert fitted("abc", 0.5) == ""


def test_ticks_are_round() -> None:
    second = 10**9
    assert ticks_of_time(10 * second, 8) == [n * second for n in (0, 2, 4, 6, 8, 10)]
    assert len(ticks_of_time(10**19, 8)) <= 8
    assert ticks_of_time(1, 8) == [0, 1]
    told = [exact_time(n * second) for n in (0, 59, 60, 90, 3600, 3660)]
    assert told == ["0s", "59s", "1m", "1m30s", "1h", "1h1m"]
    assert exact_time(200_000_000) == "200ms"


def test_the_scale_names_each_rate_once(here: Path) -> None:
    rows = [(0, i * MIB, (i + 1) * MIB, 1 + (i == 7), 0, 0) for i in range(8)]
    write(here / "run.isotherm", [snapshot(0, rows)])
    how = ("--scale", "quantile", "-o", "map.svg")
    assert main(["report", "run.isotherm", "heatmap", *how]) == 0
    texts = [one.text for one in ET.parse(here / "map.svg").iter(f"{SVG}text")]
    rates = [text for text in texts if text and re.fullmatch(r">?[\d.]+%", text)]
    assert rates == [">0%", "5%", "10%"]
