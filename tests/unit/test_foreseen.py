"""`isotherm simulate RECORDING SCHEMES`: known schedules, and the answer worked out by hand."""

import csv
import io
import json
from itertools import pairwise
from pathlib import Path

import pytest

from isotherm.backends.opening import Wish
from isotherm.backends.sim.workload import SECOND, Area, Use, Workload
from isotherm.cli import main
from isotherm.recording.sink import RecordingSink
from isotherm.recording.writer import RecordingWriter
from isotherm.session.run import run
from isotherm.session.simulated import Simulation
from support.snapshots import phases

MIB = 1 << 20
PAGE = 4096
LENGTH_S = 60
HOT, NOW_AND_THEN, COLD = 16, 16, 32
#: Every 20 s for 2 s: what is out by then comes back at 20 and 40 s.
PERIOD_S, ON_S = 20, 2


def recorded(path, *areas):
    """Write what a simulated program does."""
    wish = Wish(sample="25ms", aggr="500ms", regions="10..60")
    simulation = Simulation(workload=Workload("known", areas, 20.0), wish=wish)
    session, _ = simulation.start()
    with session:
        assert run(session, [RecordingSink(path)], duration=LENGTH_S)
    return str(path)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    uses = (
        Use(start=0, size=HOT * MIB, rate=100.0),
        Use(
            start=HOT * MIB,
            size=NOW_AND_THEN * MIB,
            rate=50.0,
            period_ns=PERIOD_S * SECOND,
            on_ns=ON_S * SECOND,
        ),
    )
    area = Area(size=(HOT + NOW_AND_THEN + COLD) * MIB, uses=uses, name="[heap]")
    return recorded(tmp_path_factory.mktemp("recorded") / "known.isotherm", area)


@pytest.fixture
def said(capsys):
    def simulate(*args, swap="1G"):
        assert not main(["simulate", *args, "--format", "json", "--swap", swap])
        return json.loads(capsys.readouterr().out)

    return simulate


@pytest.fixture
def refused(capsys):
    def simulate(*args):
        status = main(["simulate", *args])
        printed = capsys.readouterr()
        assert not printed.out
        assert printed.err.count("isotherm: ") == printed.err.count("hint: ") == 1
        return status, printed.err

    return simulate


def out_at(second, age_s):
    """MiB that are out at a time, by the program's schedule: what is idle for long enough goes."""
    quiet_s = second % PERIOD_S - ON_S
    return COLD * (second >= age_s) + NOW_AND_THEN * (quiet_s >= age_s)


def on_average(age_s):
    seconds = [step / 10 for step in range(LENGTH_S * 10)]
    return sum(out_at(second, age_s) for second in seconds) / len(seconds)


def holds(bounds, truth, slack=0.02):
    return bounds["low"] <= truth * (1 + slack) and bounds["high"] >= truth * (1 - slack)


@pytest.mark.parametrize("age_s", [5, 10])
def test_idle_pages_go_and_come_back_as_the_program_has_it(known, said, age_s):
    found = said(known, f"pageout filter=idle:{age_s}s quota=none")
    assert found["schema"] == "isotherm.foreseen/1"
    mean = found["saved_mean_bytes"]
    assert mean["best"] == pytest.approx(on_average(age_s) * MIB, rel=0.1)
    assert found["saved_peak_bytes"]["best"] == pytest.approx(
        (COLD + NOW_AND_THEN) * MIB, rel=0.03
    )
    returned = 2 * NOW_AND_THEN * MIB
    assert found["refaulted_bytes"]["best"] == pytest.approx(returned, rel=0.1)
    # What goes out more than once is paged out more than once.
    assert found["paged_out_bytes"]["best"] == pytest.approx(
        (COLD + 3 * NOW_AND_THEN) * MIB, rel=0.05
    )
    assert mean["low"] <= mean["best"] <= mean["high"]
    last = found["moments"][-1]
    assert last["saved_bytes"] == found["saved_end_bytes"]["best"]


@pytest.mark.parametrize("age_s", [7, 13, 16])
def test_an_age_between_two_that_are_known_is_within_bounds(known, said, age_s):
    found = said(known, f"pageout filter=idle:{age_s}s quota=none")
    assert found["saved_mean_bytes"]["low"] < found["saved_mean_bytes"]["high"]
    assert holds(found["saved_mean_bytes"], on_average(age_s) * MIB)
    assert holds(found["refaulted_bytes"], 2 * NOW_AND_THEN * MIB)


def test_regions_that_are_idle_go(known, said):
    found = said(known, "pageout access=0% age=5s.. quota=none")
    assert holds(found["saved_mean_bytes"], on_average(5) * MIB, slack=0.1)
    assert holds(found["saved_peak_bytes"], (COLD + NOW_AND_THEN) * MIB, slack=0.05)
    assert found["saved_peak_bytes"]["best"] == pytest.approx(
        (COLD + NOW_AND_THEN) * MIB, rel=0.15
    )


def test_a_quota_bounds_what_goes_at_once(known, said):
    found = said(known, "pageout filter=idle:5s quota=1M/s")
    assert found["schemes"][0]["quota_windows_used_up"] > 20
    assert found["schemes"][0]["quota_bytes"] == MIB
    assert found["paged_out_bytes"]["high"] <= (LENGTH_S + 1) * MIB
    saved = [0, *(moment["saved_high"] for moment in found["moments"])]
    times = [0, *(moment["since_ns"] for moment in found["moments"])]
    for (low, high), (since, until) in zip(pairwise(saved), pairwise(times), strict=True):
        assert high - low <= ((until - since) / SECOND + 2) * MIB
    assert found["saved_mean_bytes"]["high"] < on_average(5) * MIB


def test_a_goal_feeds_the_quota_as_the_engine_does(known, said):
    found = said(known, "pageout filter=idle:5s quota=8M/s goal=user=10000:5000")
    scheme = found["schemes"][0]
    assert scheme["goal_score"] == 0.5
    assert scheme["quota_bytes"] <= 8 * MIB


def test_swap_space_and_names_bound_it(known, said, capsys):
    found = said(known, "pageout filter=idle:5s quota=none", swap="8M")
    assert found["saved_peak_bytes"]["high"] == 8 * MIB
    assert said(known, "pageout filter=idle:5s", swap="0")["paged_out_bytes"]["high"] == 0
    other = said(known, "pageout filter=idle:5s filter=name:elsewhere quota=none")
    assert other["saved_peak_bytes"]["high"] == 0
    mine = said(known, "pageout filter=idle:5s filter=name:[heap] quota=none")
    assert mine["saved_peak_bytes"]["best"] == pytest.approx((COLD + NOW_AND_THEN) * MIB, rel=0.03)
    assert not main(["simulate", known, "prcl", "--swap", "0"])
    assert "so anonymous memory stays" in capsys.readouterr().out


def test_memory_that_cannot_be_seen_is_never_saved(tmp_path, said):
    seen = Area(size=16 * MIB, name="seen")
    hidden = Area(start=seen.end + 64 * MIB, size=32 * MIB, name="hidden", hidden=True)
    path = recorded(tmp_path / "hidden.isotherm", seen, hidden)
    found = said(path, "pageout filter=idle:5s quota=none")
    assert found["unknown_bytes"] == 32 * MIB
    assert found["saved_peak_bytes"]["high"] == 16 * MIB


def test_counting_and_what_cannot_be_told(known, said):
    found = said(known, "stat access=0% age=5s..; migrate_cold access=0% age=5s.. to=node1")
    count, moved = found["schemes"]
    assert (count["nr_tried"] > 0, count["effect_known"]) == (True, True)
    assert (moved["nr_tried"] > 0, moved["effect_known"]) == (True, False)
    assert moved["nr_applied"] is None
    assert found["saved_peak_bytes"]["high"] == 0


def test_a_grid_is_what_single_runs_are(known, said, capsys):
    ages, quotas = ["5s"], ["1M/s", "none"]
    grid = ["--grid", "age=" + ",".join(ages), "quota=" + ",".join(quotas)]
    found = said(known, "pageout filter=idle:30s", *grid)
    assert found["schema"] == "isotherm.foreseen-grid/1"
    points = [{"age": age, "quota": quota} for age in ages for quota in quotas]
    assert [one.pop("point") for one in found["points"]] == points
    for point, one in zip(points, found["points"], strict=True):
        scheme = f"pageout filter=idle:{point['age']} fail_charge=1/64 weights=0/1/1"
        alone = said(known, f"{scheme} quota={point['quota']}")
        alone.pop("schema")
        alone.pop("moments")
        assert alone == one
    assert not main(["simulate", known, "prcl", *grid, "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{"age": row["age"], "quota": row["quota"]} for row in rows] == points


@pytest.mark.parametrize(
    ("scheme", "why"),
    [
        ("pageout filter=idle:5s filter=young", "young"),
        ("pageout filter=!idle:5s access=0% age=5s..", "idle for at least so long"),
        ("pageout access=5%.. age=5s..", "come back"),
        ("pageout access=0%", "has to be a time"),
        ("pageout filter=idle:5s watermark=free:50%/40%/20%", "free memory"),
        ("pageout filter=idle:5s quota=1M/s goal=free:node0=5%", "not in a recording"),
        ("pageout filter=idle:5s; pageout filter=idle:9s", "leaves to another"),
        ("stat filter=anon", "filter anon"),
    ],
)
def test_what_no_recording_can_tell_is_refused(known, refused, scheme, why):
    status, told = refused(known, scheme)
    assert status == 4
    assert why in told


@pytest.mark.parametrize(
    "args",
    [
        ("prcl", "more"),
        ("prcl", "--grid", "size=4K"),
        ("prcl", "--grid", "age=,"),
        ("prcl", "--grid", "age=soon"),
        ("prcl", "--grid", "quota=much"),
        ("prcl", "--size", "1G"),
        ("prcl", "--swap", "much"),
        ("nonsense",),
        (),
    ],
)
def test_bad_values_are_one_error(known, refused, args):
    assert refused(known, *args)[0] == 2


def test_what_can_be_read_of_a_damaged_recording_is_told(known, tmp_path, capsys):
    whole = Path(known).read_bytes()
    cut = tmp_path / "cut.isotherm"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    for more in ((), ("--grid", "age=5s,10s")):
        assert main(["simulate", str(cut), "prcl", *more, "--format", "json"]) == 5
        printed = capsys.readouterr()
        assert json.loads(printed.out)["schema"].startswith("isotherm.foreseen")
        assert "damaged" in printed.err
    cut.write_bytes(whole[:4000])
    assert main(["simulate", str(cut), "prcl"]) in (2, 5)


def test_recordings_that_know_no_pages_are_refused(tmp_path, refused):
    path = tmp_path / "regions.isotherm"
    with RecordingWriter(path, {}) as writer:
        for snapshot in phases(3):
            writer.write(snapshot)
    status, told = refused(str(path), "prcl")
    assert status == 2
    assert "does not know pages" in told
    assert refused(str(tmp_path / "none"), "prcl")[0] == 2
