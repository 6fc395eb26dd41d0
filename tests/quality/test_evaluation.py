"""The evaluation: its arithmetic and page by runs made up, its witnesses by real programs."""

import importlib
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
MIB = 1 << 20


@pytest.fixture
def bench(monkeypatch):
    """The modules of benchmarks/eval.py, by the last part of their names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("figures", "totals", "page", "chart", "measure", "workloads")
    found = {name: importlib.import_module(f"eval_{name}") for name in names}
    for name in ("scheme_programs", "scheme_setup"):
        found[name] = importlib.import_module(name)
    return SimpleNamespace(**found)


def ran(condition, process, rate=100.0, *, cpu=None, pss=100, end=None, p99=None, **more):
    """A run; rate is work a second, cpu work per CPU second, memory in MiB."""
    acting = condition not in ("none", "huge pages")
    return {
        "condition": condition,
        "process": process,
        "rate": rate,
        "per_cpu_s": rate if cpu is None else cpu,
        "p99_ms": p99,
        "pss_mean": pss * MIB,
        "pss_end": (pss if end is None else end) * MIB,
        "swap_end": 0,
        "huge_end": 0,
        "refaults": 0.0,
        "back_per_s": 0.0 if acting else None,
        "monitor": 0.01 if acting else None,
        "zram": {},
    } | more


def workload(*runs, name="one", **more):
    about = {"name": name, "about": "of a test", "version": "1", "server": False, "took_s": 1.0}
    return about | {"runs": list(runs), "foreseen": None} | more


def results(*workloads, quick=False, **more):
    machine = {
        "kernel": "6.1", "machine": "x86_64", "cpus": 2, "load": [0.0, 0, 0], "swap": "zram",
        "begun": "2026-01-01", "commit": "abc", "load at the end": [1.0, 0, 0],
    }  # fmt: skip
    return {
        "machine": machine, "quick": quick, "rounds": 1, "took_s": 60.0,
        "workloads": list(workloads), "absent": {}, "failed": {},
    } | more  # fmt: skip


def row(bench, one, condition):
    (found,) = [row for row in bench.figures.rows_of(one) if row.condition == condition]
    return found


def test_a_run_is_held_against_what_was_just_before_and_after_it(bench):
    one = workload(
        ran("none", 0, 100.0, pss=100, p99=1.0),
        ran("record", 0, 99.0, pss=100, p99=1.0),
        ran("none", 0, 80.0, cpu=100.0, pss=100, p99=1.0),
        ran("prcl", 0, 45.0, cpu=99.0, pss=40, p99=2.2),
        # not all of what went has come back by now
        ran("none", 0, 100.0, pss=60, p99=1.0),
        # of another process, which it is not held against
        ran("none", 1, 1000.0, pss=100, p99=1.0),
    )
    assert row(bench, one, "record").slower == pytest.approx(100 * (1 - 99 / 90))
    prcl = row(bench, one, "prcl")
    assert prcl.slower == pytest.approx(50)
    assert prcl.per_cpu == pytest.approx(1)
    assert prcl.saved == pytest.approx(60)
    assert row(bench, one, "none").mean == pytest.approx(100)
    assert prcl.p99 == pytest.approx(120)
    assert prcl.monitor == pytest.approx(1)
    assert row(bench, one, "none").monitor is None


def test_what_began_with_huge_pages_is_held_against_all_without(bench):
    one = workload(
        ran("none", 0, 100.0), ran("none", 1, 110.0), ran("none", 1, 120.0),
        ran("huge pages", 2, 132.0), ran("ethp from huge", 2, 121.0),
    )  # fmt: skip
    assert row(bench, one, "huge pages").slower == pytest.approx(-20)
    assert row(bench, one, "ethp from huge").slower == pytest.approx(-10)


def test_noise_is_the_most_that_runs_without_anything_differ(bench):
    one = workload(ran("none", 0, 100.0), ran("record", 0, 50.0), ran("none", 1, 110.0))
    noise = bench.figures.noise_of(one)
    assert noise.slower == pytest.approx(100 * 10 / 105)
    assert noise.p99 is None
    assert bench.figures.told(9.6, noise.slower)
    assert not bench.figures.told(-9.4, noise.slower)
    assert not bench.figures.told(1.0, None)


def test_shares_of_huge_pages_are_not_taken_of_noise(bench):
    def huge(always, acting, *, noise=0.0, bloat=200, left=110):
        one = workload(
            ran("none", 0, 100.0), ran("none", 1, 100.0 + noise), ran("ethp", 1, acting, pss=left),
            ran("huge pages", 2, always, pss=bloat),
        )  # fmt: skip
        (found,) = bench.figures.huge_of(one)
        return found

    kept = huge(120.0, 118.0)
    assert (kept.gain, kept.kept) == (pytest.approx(20), pytest.approx(90))
    assert (kept.bloat, kept.removed) == (pytest.approx(100), pytest.approx(90))
    assert huge(102.0, 101.0).kept is None
    assert huge(110.0, 101.0, noise=30.0).kept is None
    assert huge(90.0, 101.0).kept is None
    assert huge(120.0, 110.0, bloat=102).removed is None


def foreseen(best, back):
    bounds = {"low": best - MIB, "best": best, "high": best + MIB}
    return {"saved": bounds, "unknown": 0, "back_per_s": dict.fromkeys(bounds, back)}


@pytest.mark.parametrize(
    ("said", "back", "holds", "near"),
    [
        (50, 30.0, True, True),
        (58, 19.0, False, False),
        (43, 46.0, True, False),
        (57, 20.0, True, True),
    ],
)
def test_what_was_foreseen_is_held_against_what_came(bench, said, back, holds, near):
    one = workload(
        ran("none", 0, pss=100), ran("prcl", 0, pss=60, end=50, back_per_s=30.0),
        ran("none", 0, pss=100), foreseen=foreseen(said * MIB, back),
    )  # fmt: skip
    found = bench.figures.foreseen_of(one)
    assert found.was == pytest.approx(50)
    assert (found.bytes_hold, found.back_holds) == (holds, near)


def test_less_than_one_page_a_second_is_none(bench):
    one = workload(
        ran("none", 0), ran("prcl", 0, end=50, back_per_s=0.4), foreseen=foreseen(0, 1.4)
    )
    assert bench.figures.foreseen_of(one).back_holds
    one["foreseen"] = {"why not": "it does not know pages"}
    assert bench.figures.foreseen_of(one).bytes_hold is None


def test_totals_have_means_worst_lines_and_verdicts(bench):
    def of(name, slow, saved, noise):
        return workload(
            ran("none", 0, 100.0), ran("none", 0, 100.0),
            ran("prcl", 0, 100.0 - slow, pss=100 - saved), ran("none", 0, 100.0),
            ran("none", 1, 100.0 + noise), name=name,
        )  # fmt: skip

    found = bench.totals.totals([of("a", 0.5, 40, 0.0), of("b", 6.5, 60, 1.0)])
    lines = {one.what: one for one in found}
    saved = lines["prcl: resident memory saved, mean"]
    assert (saved.value, saved.verdict, saved.of) == (pytest.approx(50), "met", "2 workloads")
    worst = lines["prcl: slower per CPU time, worst"]
    assert (worst.value, worst.verdict, worst.of) == (pytest.approx(6.5), "missed", "b")
    assert lines["prcl: slower per CPU time, mean"].verdict == "missed"
    noisy = bench.totals.totals([of("b", 6.5, 20, 30.0)])
    lines = {one.what: one for one in noisy}
    assert lines["prcl: slower per CPU time, worst"].verdict == "cannot be told from noise"
    assert lines["prcl: resident memory saved, mean"].verdict == "missed"
    assert lines["prcl: p99 higher, worst"].verdict == "not measured"


def whole(name="one"):
    return workload(
        ran("none", 0, 100.0), ran("record", 0, 99.9), ran("none", 0, 101.0),
        ran("prcl", 0, 80.0, pss=40), ran("none", 0, 100.0),
        ran("none", 1, 100.0), ran("ethp", 1, 112.0), ran("huge pages", 2, 115.0, pss=150),
        ran("ethp from huge", 2, 113.0, pss=104),
        name=name, foreseen=foreseen(61 * MIB, 0.0),
    )  # fmt: skip


def test_the_page_says_everything_of_the_json(bench, tmp_path):
    page = tmp_path / "evaluation.md"
    absent = {"two": "gizmo not installed"}
    bench.page.write(page, results(whole(), absent=absent, failed={"three": "it broke"}))
    text = page.read_text("utf-8")
    assert "- two, not on this machine: gizmo not installed" in text
    assert "- three, failed: it broke" in text
    for part in ("## Totals", "## None", "## Record", "## Prcl", "## Ethp from huge", "| one |"):
        assert part in text
    # A difference within noise stands in parentheses, another does not.
    record = text.split("## Record")[1].split("| one |")[1]
    assert record.startswith(" (0.6) |")
    assert text.split("## Prcl")[1].split("| one |")[1].startswith(" 20.4 |")
    assert "missed" in text
    widths = {line.count("|") for line in text.split("## Record")[1].split("\n\n")[2].splitlines()}
    assert len(widths) == 1
    for name in ("memory", "slower", "huge"):
        assert f"(evaluation-{name}.svg)" in text
        root = ET.fromstring((tmp_path / f"evaluation-{name}.svg").read_text("utf-8"))
        assert "one" in "".join(root.itertext())


def test_a_quick_run_has_no_verdicts(bench):
    text = "\n".join(bench.page.lines(results(whole(), quick=True)))
    assert "A quick run" in text
    assert "missed" not in text
    assert "| met" not in text


def test_a_page_of_nothing_can_be_written(bench, tmp_path):
    bench.page.write(tmp_path / "page.md", results())
    half = workload(ran("none", 0), name="half")
    bench.page.write(tmp_path / "page.md", results(half))
    assert "| half |" in (tmp_path / "page.md").read_text("utf-8")


def test_bars_reach_as_far_as_they_should(bench):
    groups = [bench.chart.Group("a", [10.0, None], 2.0), bench.chart.Group("b", [-5.0, 5.0])]
    text = bench.chart.bars("title", "note", ("x", "y"), groups).decode()
    widths = {
        colour: [
            float(part.get("width"))
            for part in ET.fromstring(text).iter()
            if part.get("fill") == colour and part.get("height") == str(bench.chart.BAR - 2)
        ]
        for colour in ("#969caa", "#481286")
    }
    across = (bench.chart.WIDTH - bench.chart.LEFT - bench.chart.RIGHT) / 15
    assert widths["#969caa"] == pytest.approx([10 * across, 5 * across], rel=1e-3)
    assert widths["#481286"] == pytest.approx([5 * across], rel=1e-3)


def test_there_are_twelve_workloads_and_what_is_absent_is_said(bench):
    known = bench.workloads.WORKLOADS
    assert len(known) >= 12
    kinds = {"redis", "memcached", "postgres", "sqlite", "lmdb", "java", "node", "gunicorn",
             "duckdb", "lightgbm", "igraph", "compile", "zstd"}  # fmt: skip
    assert kinds <= set(known)
    made = bench.workloads.Workload(
        "none", known["redis"].start, ("no-such-program",), ("nosuch",)
    )
    assert made.why_not() == "no-such-program, nosuch not installed"
    assert known["python"].why_not() == ""
    assert "Python 3" in known["python"].said_version()


def test_a_counted_program_tells_its_work_and_its_cpu(bench):
    code = "def work():\n    sum(range(20_000))\nserve(work)\n"
    with bench.scheme_programs.child("made", code) as program:
        first, cpu = program.done(), bench.scheme_setup.tree_cpu_ns(program.pid)
        speed = program.measure(0.5)
        last, spent = program.done(), bench.scheme_setup.tree_cpu_ns(program.pid) - cpu
        assert 0 < speed.work <= last - first
        # CPU time is counted in ticks of 10 ms.
        assert speed.work / speed.per_cpu_s <= spent / 1e9 + 0.03
        memory = bench.scheme_setup.tree_memory(program.pid)
        assert MIB < memory["pss"] < 200 * MIB
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)


def test_a_tree_has_its_children_and_what_ended(bench):
    code = (
        "import subprocess, sys\n"
        "burn = 'import time\\nwhile time.process_time() < 0.2: pass'\n"
        "subprocess.run([sys.executable, '-c', burn])\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid, flush=True)\nsys.stdin.read()\nchild.kill()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        sleeper = int(process.stdout.readline())
        assert bench.scheme_setup.tree(process.pid) == [process.pid, sleeper]
        assert bench.scheme_setup.tree_cpu_ns(process.pid) >= 190_000_000
        process.stdin.close()
    assert bench.scheme_setup.tree_memory(process.pid)["pss"] == 0


def test_a_client_asks_within_its_keys_and_times_what_is_paced(bench, monkeypatch):
    client = importlib.import_module("eval_client")
    asked = []
    block = memoryview(bytearray(client.BLOCK_BYTES)).cast("Q")
    block[client.DOING] = client.FULL

    class DoneError(Exception):
        pass

    def ask(keys):
        asked.append(keys)
        if len(asked) == 5:
            block[client.DOING] = client.PACED
        if len(asked) == 9:
            raise DoneError

    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(DoneError):
        client.serve(block, ask, 30, 10)
    assert {key for keys in asked for key in keys} <= set(range(30, 40))
    assert [len(keys) for keys in asked] == [client.BATCH] * 5 + [1] * 4
    assert block[client.ANSWERS] == 5 * client.BATCH + 3
    assert block[client.TIMED] == 3
