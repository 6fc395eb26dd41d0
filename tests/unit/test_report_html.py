"""`isotherm report html` in a real Chromium: what is drawn, said, and asked for."""

from __future__ import annotations

import json
import os
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import isotherm
from isotherm.analysis.extent import extent
from isotherm.analysis.wanted import Names
from isotherm.cli import main
from isotherm.model.scheme_state import SchemeState, SchemeStats
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.pictures.page.columns import of_grids, of_windows
from isotherm.pictures.palette import IDLE, UNKNOWN, heat_colours
from isotherm.recording.writer import RecordingWriter
from support.chromium import Browser, browser, found
from support.snapshots import HEAP, MIB, STACK, page_use, phases, snapshot, use_row

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`&<!--\x1b]0;x\x07"
if found() is None and not os.environ.get("CI"):
    pytest.skip("no Chromium is installed", allow_module_level=True)
READY = "+document.getElementById('map').dataset.ready > {}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def made(name: str = "[heap]", target: str = "app", count: int = 20) -> list[Snapshot]:
    """MiB 0..8 hot at first, 8..24 idle, 24..32 unknown; 32..40 is idle, and then not mapped."""
    unseen = (Unobservable(0, HEAP + 24 * MIB, HEAP + 32 * MIB, name),)
    maps = {0: (Mapping(HEAP, HEAP + 40 * MIB, "rw-p", name),)}
    use = page_use(use_row({0.2: 8 * MIB, 20: 24 * MIB}, what=name, doubt=MIB, unseen=8 * MIB))
    state = SchemeState(name, "stat", SchemeStats(3, 5 * MIB, 2, 4 * MIB, errors={name: 2}))
    windows = []
    for i in range(count):
        early = i < count // 2
        rows = [
            (0, HEAP, HEAP + 8 * MIB, 20 * early, 0, 0),
            (0, HEAP + 8 * MIB, HEAP + 24 * MIB, 0, 0, 0),
        ]
        rows += [(0, HEAP + 32 * MIB, HEAP + 40 * MIB, 0, 0, 0)] * early
        one = snapshot(
            i, rows, targets=(Target(0, target, 42, resident_bytes=40 * MIB, group=name),),
            unobservable=unseen, mappings=maps if not i else None,
        )  # fmt: skip
        windows.append(replace(one, page_use=use if i == count - 1 else None, schemes=(state,)))
    return windows


def write(path: Path, windows: list[Snapshot], **told: int) -> Path:
    with RecordingWriter(path, {"backend": "sim", "policy": "", **told}) as writer:
        for one in windows:
            writer.write(one)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def html(path: Path, windows: list[Snapshot], *words: str) -> Path:
    write(path / "run.isotherm", windows)
    assert main(["report", "run.isotherm", "html", *words]) == 0
    return path / "run.html"


class Place:
    """Where an address of `made` is on the page, at a share of the time."""

    def __init__(self, chromium: Browser) -> None:
        self.box = chromium.run(
            "(r => [r.left, r.top, r.width, r.height])("
            "document.querySelector('#map .stage canvas').getBoundingClientRect())"
        )

    def __call__(self, mib: float, share: float) -> tuple[float, float]:
        left, top, width, height = self.box
        # The margins that map.js leaves: left 112, top 22, below 30, right 200 and two strips.
        wide, high = width - 112 - 200 - 62, height - 22 - 30
        return left + 112 + wide * share, top + 22 + high * (1 - mib / 40)


def shown(chromium: Browser, path: Path, **how: object) -> Place:
    chromium.size(1200, 800, **how)  # type: ignore[arg-type]
    chromium.load(path)
    chromium.until(READY.format(0))
    return Place(chromium)


def settled(chromium: Browser, script: str) -> None:
    """Do something, and wait until the map was drawn again."""
    before = chromium.run("+document.getElementById('map').dataset.ready")
    chromium.run(script)
    chromium.until(READY.format(before))


def test_each_kind_of_memory_is_where_it_belongs(here: Path, chromium: Browser) -> None:
    path = html(here, made())
    place = shown(chromium, path)
    hot = heat_colours()[-1]
    assert chromium.at(*place(4, 0.25)) == hot
    assert chromium.at(*place(4, 0.75)) == IDLE
    assert chromium.at(*place(16, 0.25)) == IDLE
    assert chromium.at(*place(36, 0.75)) == (255, 255, 255)
    x, y = map(int, place(28, 0.5))
    assert chromium.area(x, y, 12, 12) == set(UNKNOWN)
    x, y = place(8, 0.25)
    assert (chromium.at(x, y - 2), chromium.at(x, y + 2)) == (IDLE, hot)
    assert chromium.at(4, 4) == (255, 255, 255)
    dark_place = shown(chromium, path, dark=True)
    assert max(chromium.at(4, 4)) < 40
    assert chromium.at(*dark_place(4, 0.25)) == hot
    # What is not mapped is unlike idle in the dark as well.
    assert min(chromium.at(*dark_place(36, 0.75))) > max(IDLE) + 15
    assert (chromium.complaints, chromium.requests) == ([], [path.absolute().as_uri()])


def test_what_is_under_the_pointer_is_said(here: Path, chromium: Browser) -> None:
    place = shown(chromium, html(here, made()))
    tips = {}
    for mib, share in ((4, 0.25), (16, 0.775), (28, 0.5), (36, 0.75)):
        chromium.mouse("mouseMoved", *place(mib, share))
        tips[mib] = chromium.run("document.querySelector('.tip').innerText").splitlines()
    address, *_ = tips[4][0].split()
    assert abs(int(address, 16) - HEAP - 4 * MIB) < MIB / 8
    assert float(tips[4][0].split()[1].removesuffix("ms")) == pytest.approx(500, abs=3)
    assert tips[4][1:] == [
        "[heap]", "accessed in 100% of samples, at most 100%", "region of 8.0 MiB",
    ]  # fmt: skip
    assert tips[16][2:] == [
        "accessed in 0% of samples, at most 0%",
        "region of 16.0 MiB, idle or absent for 1.6s or longer",
    ]  # fmt: skip
    assert tips[28][2] == "unknown: could not be observed"
    assert tips[36][2] == "not mapped"
    chromium.mouse("mouseMoved", 3, 3)
    assert chromium.run("document.querySelector('.tip').hidden")


def test_zoom_and_back(here: Path, chromium: Browser) -> None:
    place = shown(chromium, html(here, made()))
    view = "JSON.parse(document.getElementById('map').dataset.view)"
    before = chromium.run("+document.getElementById('map').dataset.ready")
    chromium.drag(place(10, 0.25), place(6, 0.45))
    chromium.until(READY.format(before))
    near = chromium.run(view)
    assert near["t0"] == pytest.approx(500, abs=5)
    assert near["t1"] == pytest.approx(900, abs=5)
    assert near["y0"] == pytest.approx(6 / 40, abs=0.005)
    assert near["y1"] == pytest.approx(10 / 40, abs=0.005)
    # The lower half of it is hot: 6..8 MiB.
    assert chromium.at(*place(18, 0.5)) == heat_colours()[-1]
    assert chromium.at(*place(22, 0.5)) == IDLE
    chromium.mouse("mouseWheel", *place(20, 0.5), deltaX=0, deltaY=100)
    chromium.until(f"{view}.t1 - {view}.t0 > 450")
    settled(chromium, "document.querySelector('.reset').click()")
    assert chromium.run(view) == {"t0": 0, "t1": 2000, "y0": 0, "y1": 1}
    chromium.run("document.querySelector('#map canvas').focus()")
    chromium.call("Input.dispatchKeyEvent", type="keyDown", key="+", text="+")
    chromium.until(f"{view}.t1 - {view}.t0 === 1000")
    before = chromium.run(view)
    chromium.drag(place(20, 0.5), place(20, 0.25), modifiers=8)
    chromium.until(f"{view}.t0 > {before['t0'] + 200}")
    assert chromium.complaints == []


def test_maximum_scale_process_and_order(here: Path, chromium: Browser) -> None:
    shown(chromium, html(here, phases(20)))
    options = "[...document.querySelectorAll('[name=target] option')].map(o => o.textContent)"
    assert chromium.run(options) == ["app 42", "helper 43"]
    for name, value in (("metric", "max"), ("scale", "linear"), ("target", "1")):
        settled(
            chromium,
            f"(() => {{ const e = document.querySelector('[name={name}]'); e.value = '{value}';"
            " e.dispatchEvent(new Event('change')); })()",
        )
    assert chromium.run("document.querySelector('.marks').innerText").split() == [
        ">0%", "25%", "50%", "75%", "100%",
    ]  # fmt: skip
    column = "[...document.querySelector('table').tBodies[0].rows].map(r => r.cells[0].innerText)"
    first = chromium.run(column)
    chromium.run("document.querySelectorAll('table th')[1].click()")
    chromium.run("document.querySelectorAll('table th')[1].click()")
    assert chromium.run(column) == first[::-1]
    assert chromium.complaints == []


def test_what_stands_in_names_stays_text(here: Path, chromium: Browser) -> None:
    path = html(here, made(HOSTILE, HOSTILE))
    place = shown(chromium, path)
    chromium.mouse("mouseMoved", *place(4, 0.25))
    assert "<img src=x" in chromium.run("document.querySelector('.tip').innerText")
    assert chromium.run("document.images.length + document.querySelectorAll('iframe').length") == 0
    assert chromium.run("document.scripts.length") == 2
    said = chromium.run("document.body.innerText")
    assert said.count("<img src=x onerror=alert(1)>") >= 4
    assert "\x1b" not in path.read_text()
    assert (chromium.complaints, chromium.requests) == ([], [path.absolute().as_uri()])


def test_scripts_that_got_in_would_not_run(here: Path, chromium: Browser) -> None:
    path = html(here, made())
    bad = "<script>document.title = 'owned'</script><img src='https://example.invalid/x'>"
    path.write_text(path.read_text().replace("<header>", f"<header>{bad}"))
    shown(chromium, path)
    assert chromium.run("document.title") == "app 42 - isotherm"
    assert chromium.requests == [path.absolute().as_uri()]
    assert any("Content Security Policy" in told for told in chromium.complaints)


def test_in_a_notebook_it_is_the_same_map(here: Path, chromium: Browser) -> None:
    said = isotherm.open(write(here / "run.isotherm", made(HOSTILE)))._repr_html_()
    assert "<script" not in said
    (here / "book.html").write_text(f"<!DOCTYPE html><title>book</title>{said}")
    chromium.size(1200, 800)
    chromium.load(here / "book.html")
    hot = heat_colours()[-1]
    # The frame cannot be looked into: it is drawn when its colours are on the screen.
    for _ in range(200):
        if hot in chromium.area(250, 100, 1, 500):
            break
        chromium.run("new Promise(done => requestAnimationFrame(done))")
    else:
        pytest.fail("the map in the frame is not drawn")
    assert chromium.complaints == []
    assert chromium.run("document.querySelector('iframe').contentDocument") is None


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_says_what_the_summary_says(here: Path) -> None:
    text = html(here, made()).read_text()
    plain = re.sub(r"<[^>]*>", " ", text[text.index("<body>") : text.index('id="map-data"')])
    plain += re.sub(r"<[^>]*>", " ", text[text.index("How much is used") :])
    for told in ("used within 10s", "40.0 MiB", "Working set W(T)", "Idle ages", "stat", "4.0 MiB",
                 "looked at", "8.0 MiB cannot be seen", "unknown"):  # fmt: skip
        assert told in plain
    assert "<dd></dd>" not in text
    # The curves have their intervals.
    assert text.count('<polygon class="band0"') >= 2
    assert "(7.0 MiB to 17.0 MiB)" in text
    elements = Elements(text).found
    assert all(not name.startswith("on") for _, attrs in elements for name in attrs)
    assert not any(name in ("src", "href") for _, attrs in elements for name in attrs)


@pytest.mark.parametrize(
    ("swap", "said"),
    [
        (0, "0 B pageout after 10s frees; 4.0 MiB more with swap or zram"),
        (1 << 30, "4.0 MiB pageout after 10s frees"),
    ],
)
def test_what_pageout_frees_is_said_with_what_swap_would_give(
    swap: int, said: str, here: Path
) -> None:
    use = page_use(use_row({0: 3 * MIB, 20: 4 * MIB}, kind="anon"))
    one = replace(snapshot(0, [(0, HEAP, HEAP + 8 * MIB, 1, 1, 0)]), page_use=use)
    write(here / "run.isotherm", [one], swap_free_bytes=swap)
    assert main(["report", "run.isotherm", "html"]) == 0
    text = (here / "run.html").read_text()
    tiles = re.findall(r"<li><b>(.*?)</b><span>(.*?)</span></li>", text)
    assert said in [" ".join(tile) for tile in tiles]


def test_what_was_used_over_time_is_by_pages_where_they_are_known(here: Path) -> None:
    windows = made()
    text = html(here, windows).read_text()
    assert "used within 1s" in text
    assert "whole regions" not in text
    (here / "run.isotherm").unlink()
    text = html(here, [replace(one, page_use=None) for one in windows], "--force").read_text()
    assert "accessed in a window, whole regions" in text
    assert "used within 1s" not in text


def columns(document: dict[str, object]) -> tuple[list[float], list[tuple[int, int, int, int]]]:
    """Begin of each window, and (window, place, size, rate) of each region."""
    raw = zlib.decompress(b64decode(str(document["data"])))
    n, m = int(str(document["windows"])), int(str(document["regions"]))
    at = 0

    def take(code: str, count: int) -> list[float]:
        nonlocal at
        part = memoryview(raw)[at : at + count * {"d": 8, "I": 4, "H": 2, "B": 1}[code]]
        at += part.nbytes
        return part.cast(code).tolist()

    begins, _, counts = take("d", n), take("d", n), take("I", n)
    gaps, sizes, rates = take("I", m), take("I", m), take("H", m)
    if document["has_peaks"]:
        take("H", m)
    take("B", m)
    assert at == len(raw)
    found, i = [], 0
    for window, count in enumerate(counts):
        place = 0
        for _ in range(int(count)):
            place = int(place + gaps[i]) % 2**32
            found.append((window, place, int(sizes[i]), int(rates[i])))
            place += int(sizes[i])
            i += 1
    return begins, found


def test_columns_hold_every_region(here: Path) -> None:
    windows = phases(10)
    where = extent(windows)
    (one,) = of_windows(windows, where, [7], 1000) or []
    document = one.document(Names())
    begins, found = columns(document)
    assert begins == [100.0 * i for i in range(10)]
    assert document["unit"] == 4096
    assert [segment["start"] for segment in document["segments"]] == [f"{HEAP:x}", f"{STACK:x}"]
    mine = [
        (s.index, (r.start - HEAP if r.start < STACK else 64 * MIB) // 4096, r.size // 4096,
         65535 * (r.nr_accesses or 0) // 20)
        for s in windows for r in s.regions if r.target == 0
    ]  # fmt: skip
    assert found == mine
    assert of_windows(windows, where, [7], 30) is None


def test_of_too_many_regions_it_is_cells(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = made()
    where = extent(windows)
    (one,) = of_grids(windows, where, [0])
    begins, found = columns(one.document(Names()))
    assert len(begins) == 1000
    hot = [region for region in found if region[3]]
    assert {(place, size) for _, place, size, _ in hot} == {(0, 8 * MIB // 4096)}
    assert [window for window, *_ in hot] == list(range(500))
    monkeypatch.setattr("isotherm.report.views.html.MOST_REGIONS", 10)
    text = html(here, windows).read_text()
    assert "more regions than a page holds" in text


def test_a_part_and_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = html(here, phases(), "--time", "1s..2s", "--target", "9")
    found = json.loads(re.search('id="map-data">(.*?)</script>', path.read_text())[1])  # type: ignore[index]
    assert [target["title"] for target in found["targets"]] == ["helper 43"]
    assert found["duration_ms"] == 1000
    assert found["targets"][0]["windows"] == 10
    assert main(["report", "run.isotherm", "html"]) == 2
    assert main(["report", "run.isotherm", "html", "--force", "--format", "json"]) == 2
    assert main(["report", "run.isotherm", "html", "--force", "--time", "9s.."]) == 2
    write(here / "empty.isotherm", [snapshot(0)])
    assert main(["report", "empty.isotherm", "html"]) == 0
    assert "holds no regions" in (here / "empty.html").read_text()
    assert "saved empty.html" in capsys.readouterr().err
