"""`isotherm simulate`: what it says stands beside the truth, and its recording can be reported."""

import csv
import io
import json
from array import array
from pathlib import Path

import pytest

from isotherm import api
from isotherm.backends.opening import Wish
from isotherm.backends.sim.charged import ChargedLook
from isotherm.backends.sim.costs import PROFILES
from isotherm.backends.sim.judge import Judge, judge, judge_use
from isotherm.backends.sim.patterns import RECIPES, workload_named
from isotherm.backends.sim.workload import BASE, SECOND, Area, Use, Workload
from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.model.snapshot import Columns, Snapshot
from isotherm.model.target import Target
from isotherm.session.simulated import Simulation

MIB = 1 << 20
MASIM = "a, 16777216\nb, 16777216\n\none\n2000\na, 1, 64, 1\n\ntwo\n2000\nb, 0, 4096, 1\n"


def look_at(*areas, changes=(), hot_rate=20.0):
    return ChargedLook(Workload("own", areas, hot_rate, changes), PROFILES["cold"])


def half_hot():
    return look_at(Area(size=32 * MIB, uses=(Use(start=0, size=16 * MIB, rate=100.0),)))


def window(look, *regions, from_s=1.0, until_s=1.1):
    """A snapshot of regions (start, end, nr_accesses), in MiB from the base."""
    columns = Columns(
        target=array("I", [0] * len(regions)),
        start=array("Q", [BASE + start * MIB for start, _, _ in regions]),
        end=array("Q", [BASE + end * MIB for _, end, _ in regions]),
        nr_accesses=array("I", [count for _, _, count in regions]),
        age=array("I", [0] * len(regions)),
        unobservable=array("Q", [0] * len(regions)),
    )
    return Snapshot(
        index=0,
        start_ns=round(from_s * SECOND),
        end_ns=round(until_s * SECOND),
        sample_us=5000,
        aggr_us=100_000,
        targets=(Target(0, "process 0"),),
        columns=columns,
        monotonic_ns=round(until_s * SECOND),
    )


@pytest.mark.parametrize(
    ("regions", "found"),
    [
        ([(0, 16, 20), (16, 32, 0)], 1.0),
        ([(0, 16, 0), (16, 32, 20)], 0.0),
        # The hottest 16 MiB: 8 that are, then 8 of 24, of which a third are.
        ([(0, 8, 20), (8, 32, 10)], (8 + 8 / 3) / 16),
        ([(0, 32, 5)], 0.5),
        ([(0, 8, 20), (8, 32, 0)], 0.5),
        ([(0, 32, 0)], 0.0),
        # Memory that no region holds was not found.
        ([(0, 4, 3)], 0.25),
    ],
)
def test_what_was_found_is_counted_by_rank(regions, found):
    look = half_hot()
    judged = judge(look, window(look, *regions))
    assert judged.hot == 16 * MIB
    assert judged.found_share == pytest.approx(found)


def test_what_was_used_is_that_of_the_window():
    look = half_hot()
    judged = judge(look, window(look, (0, 32, 1), until_s=1.01))
    # 100 uses a second for 10 ms.
    assert judged.used == pytest.approx(16 * MIB * 0.63212, rel=1e-4)
    assert judged.said == 32 * MIB


def test_where_nothing_is_hot_nothing_can_be_found():
    look = look_at(Area(size=16 * MIB))
    assert judge(look, window(look, (0, 16, 3))).found_share is None


def test_a_change_is_found_again_in_a_window_after_it():
    first = Use(start=0, size=8 * MIB, rate=100.0, until_ns=2 * SECOND)
    then = Use(start=8 * MIB, size=8 * MIB, rate=100.0, from_ns=2 * SECOND, until_ns=4 * SECOND)
    look = look_at(
        Area(size=32 * MIB, uses=(first, then)), changes=(2 * SECOND, 4 * SECOND, 9 * SECOND)
    )
    judging = Judge(look)
    for at in range(10, 40, 5):
        early = at < 30
        regions = [(0, 8, 20 * early), (8, 16, 20 * (not early))]
        look.clock.sleep_until(round((at + 5) / 10 * SECOND))
        judging.take(window(look, *regions, from_s=at / 10, until_s=(at + 5) / 10))
    verdict = judging.verdict()
    assert verdict.first_s == 1.5
    assert verdict.again_s == (1.5,)
    assert verdict.windows == 6


def test_shared_memory_is_counted_once_beside_a_map():
    use = Use(start=0, size=8 * MIB, rate=1000.0)
    areas = (
        Area(process=0, size=16 * MIB, name="/srv/x", uses=(use,)),
        Area(process=1, size=16 * MIB, name="/srv/x", shows=0),
    )
    look = look_at(*areas)
    page_map = look.page_map(0.5)
    page_map.update(look.targets())
    due = 0
    while look.clock.now_ns() < 5 * SECOND:
        look.clock.sleep_until(due)
        due = page_map.step()
    judged = judge_use(look, page_map.sum())
    page_map.close()
    assert judged is not None
    assert judged.used == pytest.approx(8 * MIB)
    assert judged.low <= 8 * MIB <= judged.high
    assert judge_use(look, page_map_use(look), 3600 * SECOND) is None


def page_map_use(look):
    page_map = look.page_map(0.5)
    page_map.update(look.targets())
    use = page_map.sum()
    page_map.close()
    return use


@pytest.mark.parametrize("name", RECIPES)
def test_every_workload_can_be_simulated(name):
    simulation = Simulation(workload=workload_named(name, 64 * MIB, seed=2), overhead=0.05, seed=2)
    session, look = simulation.start()
    judging = Judge(look)
    with session:
        for snapshot in session.snapshots(4):
            judging.take(snapshot)
    verdict = judging.verdict()
    assert verdict.windows > 3
    assert 0 <= (verdict.found or 0) <= 1
    assert verdict.cpu_share > 0


@pytest.mark.parametrize("name", ["hotspot", "zipf4K", "scat4K", "half-huge", "strided", "shared"])
def test_what_a_map_says_of_a_second_holds_the_truth(name):
    """Counts of pages that are drawn are within 5 standard deviations of what is expected."""
    simulation = Simulation(
        workload=workload_named(name, 64 * MIB, seed=4),
        overhead=0.5,
        seed=4,
        wish=Wish(policy="map"),
    )
    session, look = simulation.start()
    judging = Judge(look)
    with session:
        for snapshot in session.snapshots(6):
            judging.take(snapshot)
    use = judging.verdict().page_use
    assert use is not None
    assert use.uncovered == 0
    bit = 2 * MIB if "huge" in name else 4096
    slack = 5 * (use.used * bit) ** 0.5
    assert use.low - slack <= use.used <= use.high + slack, use


def test_the_command_says_what_it_found_and_the_truth(capsys):
    args = ["simulate", "--workload", "hotspot", "--size", "1G", "-d", "5", "--seed", "3"]
    assert main([*args, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "isotherm.simulation/1"
    assert document["workload"] == "hotspot"
    assert document["mapped_bytes"] == 1 << 30
    assert document["found"] > 0.9
    assert document["first_s"] < 5
    assert main([*args, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert main([*args, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == document["windows"]
    assert float(rows[-1]["hot_bytes"]) == 16 * MIB
    assert main(args) == 0
    out = capsys.readouterr().out
    for word in ("hotspot, 1.0 GiB", "R@k", "80% of what is hot after", "by the model", "seed 3"):
        assert word in " ".join(out.split())


def test_a_configuration_file_is_simulated_as_long_as_it_lasts(tmp_path, capsys):
    path = tmp_path / "two.cfg"
    path.write_text(MASIM, "utf-8")
    assert main(["simulate", "--workload", str(path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["workload"] == "two.cfg"
    # A window that is almost over is still given, however late the monitor is.
    assert 3.5 < document["seconds"] < 4.2
    assert len(document["again_s"]) == 1


def test_a_recording_is_written_that_report_reads(tmp_path, capsys):
    path = tmp_path / "x.isotherm"
    args = ["simulate", "--workload", "half-huge", "--size", "256M", "-d", "5", "-o", str(path)]
    assert main(args) == 0
    assert "saved" in capsys.readouterr().err
    recording = api.open(path)
    assert len(list(recording)) > 10
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    assert "process 0" in out
    assert "256 MiB mapped" in out
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "which workload?"),
        (["--workload", "hotspit"], "Did you mean 'hotspot'?"),
        (["--workload", "hotspot", "--size", "1M"], "of 1M cannot be simulated"),
        (["--workload", "hotspot", "--size", "big"], "is not a size"),
        (["--workload", "hotspot", "--policy", "fast"], "no policy 'fast'"),
        (["--workload", "hotspot", "--costs", "warm"], "no costs are called"),
        (["--workload", "hotspot", "-d", "0"], "too few"),
        (
            ["--workload", "hotspot", "-d", "1s", "--aggr", "2s"],
            "are over before the first window",
        ),
        (["--workload", "hotspot", "--overhead", "0"], "0"),
        (["--workload", "hotspot", "-o", "-"], "for the summary"),
        (["--workload", "/dev/null"], "no masim configuration"),
        (["--workload", "/dev/null", "--size", "1G"], "how large its regions are"),
        (["--workload", "hotspot", "--format", "xml"], "xml"),
    ],
)
def test_what_makes_no_sense_is_refused(args, said, capsys):
    assert main(["simulate", *args]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert "Traceback" not in err


def test_workloads_are_documented_each():
    text = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text("utf-8")
    for name, recipe in RECIPES.items():
        assert f"| `{name}` | {recipe.about} |" in text


def test_workloads_are_listed(capsys):
    assert main(["simulate", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in RECIPES)


def test_a_policy_without_a_map_is_not_charged_for_one():
    tables = {}
    for beside in (True, False):
        simulation = Simulation(workload=workload_named("cold", 1 << 30), beside=beside)
        session, look = simulation.start()
        with session:
            taken = list(session.snapshots(2))
        tables[beside] = look.world.stats()["tables"]
        assert (taken[-1].page_use is not None) == beside
    assert tables[True] >= 512
    assert tables[False] == 0


def test_an_unknown_policy_is_refused_before_anything_is_made():
    with pytest.raises(BadValueError):
        Simulation(workload=workload_named("cold", 1 << 30), wish=Wish(policy="x")).start()
