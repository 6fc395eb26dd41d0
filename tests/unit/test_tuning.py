"""`isotherm tune`: a known schedule, whose best scheme is worked out by hand."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from isotherm.analysis.foreseen import Bounds, Foreseen
from isotherm.analysis.tuning import Param, Wish, measured, search
from isotherm.backends.opening import Wish as Opening
from isotherm.backends.sim.workload import SECOND, Area, Use, Workload
from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.recording.sink import RecordingSink
from isotherm.recording.writer import RecordingWriter
from isotherm.session.run import run
from isotherm.session.simulated import Simulation
from support.snapshots import phases

MIB, PAGE = 1 << 20, 4096
LENGTH_S, PERIOD_S = 24, 8


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """16 MiB in use, 16 MiB for 1 s of each 8, 32 MiB never."""
    path = tmp_path_factory.mktemp("tuned") / "known.isotherm"
    uses = (
        Use(start=0, size=16 * MIB, rate=100.0),
        Use(start=16 * MIB, size=16 * MIB, rate=50.0, period_ns=PERIOD_S * SECOND,
            on_ns=SECOND),
    )  # fmt: skip
    area = Area(size=64 * MIB, uses=uses, name="[heap]")
    wish = Opening(sample="50ms", aggr="1s", regions="10..60")
    session, _ = Simulation(workload=Workload("known", (area,), 20.0), wish=wish).start()
    with session:
        assert run(session, [RecordingSink(path)], duration=LENGTH_S)
    return str(path)


IDLE = "pageout filter=idle:10s quota=none"
AGES = "age=1s,5s,10s,20s"


@pytest.fixture(autouse=True)
def one_cpu():
    """Answers are worked out in this process, but where a test gives it more than one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield before
    os.sched_setaffinity(0, before)


@pytest.fixture
def tuned(capsys):
    def tune(*args, status=0):
        assert main(["tune", *args, "--swap", "1G", "-s", IDLE, "--format", "json"]) == status
        return json.loads(capsys.readouterr().out)

    return tune


def test_it_finds_the_shortest_age_after_which_little_comes_back(known, tuned):
    found = tuned(known, "--goal", "saved max, refaults < 10/s", "--param", AGES)
    assert found["schema"] == "isotherm.tuned/1"
    # What is idle for 7 s at most comes back twice: 341 pages/s.
    assert found["best"] == {
        "point": {"age": "10s"}, "schemes": ["pageout quota=none filter=idle:10s"],
    }  # fmt: skip
    goals = {trial["point"]["age"]: trial["goal"] for trial in found["trials"]}
    assert goals == {"1s": "missed", "5s": "missed", "10s": "met", "20s": "met"}
    other = tuned(known, "--goal", "saved max, refaults < 1000/s", "--param", AGES)
    assert other["best"]["point"] == {"age": "1s"}


def test_it_searches_between_two_ages(known, tuned):
    goal = ("--goal", "saved max, refaults < 10/s", "--param", "age=1s..20s:log")
    found = tuned(known, *goal, "--trials", "12")
    (best,) = [trial for trial in found["trials"] if trial["point"] == found["best"]["point"]]
    assert best["refaults_per_s"]["high"] < 10
    assert best["trade_off"]
    # Nothing below 10 s is sure, and the shorter the better above.
    age = float(found["best"]["point"]["age"].removesuffix("s"))
    known_ages = [float(trial["point"]["age"].removesuffix("s")) for trial in found["trials"]]
    assert age == min(one for one in known_ages if one >= 10)
    assert found == tuned(known, *goal, "--trials", "12")


def test_the_trade_off_is_what_nothing_beats(known, tuned):
    trials = tuned(known, "--param", AGES)["trials"]
    places = [
        (-trial["saved_mean_bytes"]["best"], trial["refaults_per_s"]["best"]) for trial in trials
    ]
    for trial, (saved, back) in zip(trials, places, strict=True):
        beaten = any(
            a <= saved and b <= back and (a, b) != (saved, back) for a, b in places
        )  # fmt: skip
        assert trial["trade_off"] == (not beaten)


def test_two_parameters(known, tuned):
    found = tuned(
        known, "--param", "age=5s,10s", "--param", "quota=1M/s,none", "--goal",
        "saved max, paged_out < 1500K/s", "--trials", "12",
    )  # fmt: skip
    # At 5 s 48 MiB go and then 16 MiB twice, where 35 MiB are allowed in these 24 s.
    assert found["best"]["point"] == {"age": "10s", "quota": "none"}
    assert len(found["trials"]) == 4


def test_text_and_rows(known, capsys):
    shared = ["tune", known, "-s", IDLE, "--swap", "1G", "--param", AGES]
    assert main([*shared, "--goal", "saved max, refaults < 10/s"]) == 0
    text = capsys.readouterr().out
    assert " found      pageout quota=none filter=idle:10s\n" in text
    assert "trade-off: " in text
    assert "curve: all that was tried, by age" in text
    assert main([*shared, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["age"] for row in rows] == AGES.removeprefix("age=").split(",")
    assert {row["goal"] for row in rows} == {"met", "missed"}


def test_it_is_the_same_on_several_cpus(known, tuned, one_cpu):
    alone = tuned(known, "--param", "age=5s,10s")
    os.sched_setaffinity(0, one_cpu)
    assert tuned(known, "--param", "age=5s,10s") == alone


def test_a_goal_that_nothing_meets_is_status_6(known, tuned, capsys):
    found = tuned(known, "--goal", "refaults min, saved > 99%", "--param", AGES, status=6)
    assert found["best"] is None
    assert {trial["goal"] for trial in found["trials"]} == {"missed"}
    assert main(["tune", known, "--swap", "1G", "--param", "age=5s,10s", "--goal",
                 "refaults min, saved > 60M"]) == 6  # fmt: skip
    printed = capsys.readouterr()
    assert "nothing that was tried meets it" in printed.out
    assert printed.err.count("isotherm: ") == printed.err.count("hint: ") == 1


@pytest.mark.parametrize(
    "args",
    [
        ["--goal", "saved"],
        ["--goal", "saved max, saved min"],
        ["--goal", "refaults < 5/s"],
        ["--goal", "speed max"],
        ["--goal", "saved max, refaults < much"],
        ["--goal", "saved max, refaults < -1"],
        ["--goal", "saved max,"],
        ["--param", "age"],
        ["--param", "age=10s..1s"],
        ["--param", "age=0s..1s"],
        ["--param", "age=1s..10s:exp"],
        ["--param", "age=1s,,2s"],
        ["--param", "age=1s,soon"],
        ["--param", "weights=1..2"],
        ["--param", "age=1s", "--param", "age=2s"],
        ["--param", "quota=much..more"],
        ["-s", "nonsense"],
        ["-o", "x"],
    ],
    ids=" ".join,
)
def test_bad_values_are_one_error(known, capsys, args):
    assert main(["tune", known, *args]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("isotherm: ") == printed.err.count("hint: ") == 1


def test_what_no_recording_can_tell_is_refused(known, tmp_path, capsys):
    assert main(["tune", known, "-s", "pageout access=10%.."]) == 4
    without = tmp_path / "without.isotherm"
    with RecordingWriter(without, {}) as writer:
        for snapshot in phases(3):
            writer.write(snapshot)
    assert main(["tune", str(without), "-s", IDLE]) == 2
    assert "does not know pages one by one" in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(known, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", known]) == 4
    printed = capsys.readouterr()
    assert "hint: pip install 'isotherm[tune]'" in printed.err
    assert not printed.out


def test_optuna_is_imported_by_nothing_else():
    code = "import sys, isotherm.cli.tune; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def foreseen(saved, refaulted):
    bounds = [None if value is None else Bounds(*value) for value in (saved, refaulted)]
    return Foreseen(
        (), 10**10, 100 * MIB, 0, bounds[0], bounds[0], bounds[0], Bounds(0, 0, 0), bounds[1], (),
        None,
    )  # fmt: skip


def test_limits_hold_by_all_bounds_or_by_the_best_estimate():
    found = foreseen((10 * MIB, 20 * MIB, 30 * MIB), (0, 50 * PAGE, 200 * PAGE))
    assert measured("saved", found) == (0.1, 0.2, 0.3)
    assert measured("refaults", found) == (0, 5, 20)
    sure = Wish.parse("saved max, refaults < 20/s, saved > 10%")
    perhaps = Wish.parse("saved max, refaults < 10, saved > 15M")
    missed = Wish.parse("saved max, refaults <= 4/s")
    assert sure.excess(found) == sure.excess(found, surely=True) == 0
    assert perhaps.excess(found) == 0
    assert perhaps.excess(found, surely=True) == pytest.approx(1 + 1 / 3)
    assert missed.excess(found) == pytest.approx(0.25)
    assert missed.score(found) < perhaps.score(found) < sure.score(found)


def test_what_was_not_counted_cannot_be_a_goal():
    found = foreseen((0, 0, 0), None)
    assert Wish.parse("saved max").score(found) == 0
    with pytest.raises(BadValueError, match="did not count"):
        Wish.parse("saved max, refaults < 1/s").score(found)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("age=1s..10m:log", 12_340_000_000, "age=12s"),
        ("age=1s..10m", 1_234_000_000, "age=1.2s"),
        ("age=1ms..1s", 12_340_000, "age=12ms"),
        ("age=1s..10m", 10**20, "age=600s"),
        ("quota=1M/s..1G/s:log", 123 * MIB, "quota=120M/s"),
        ("quota=1M/s..64M/s", 64 * MIB, "quota=64M/s"),
        ("quota=1..2", 1, "quota=1K/s"),
        ("quota=100K/s..2M/s", 1234 * 1024, "quota=1200K/s"),
        ("quota=1M/s..2M/s", MIB, "quota=1M/s"),
        ("quota=12345K/s..90M/s", 12345 * 1024, "quota=13M/s"),
    ],
)
def test_values_are_round_and_within_their_ends(text, value, said):
    assert Param.parse(text).text(value) == said


def test_few_values_end_the_search_early():
    asked = []

    def ask(points):
        asked.extend(points)
        return [foreseen((0, 0, 0), (0, 0, 0)) for _ in points]

    found = search([Param.parse("age=1s,2s")], Wish.parse("saved max"), ask, trials=400, seed=0)
    assert len(asked) == len(found.tried) == 2
