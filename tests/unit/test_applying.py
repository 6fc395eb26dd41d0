"""`Applying` over a simulated world: what it tells is what the engine and the world say."""

import json
import os
from contextlib import contextmanager

import pytest

from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import BASE, MIB, MS, fixed
from isotherm.backends.sim.world import Area, Space, World
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError, NotSupportedError, OutputError, TargetGoneError
from isotherm.kernel import undo
from isotherm.model.scheme import Access, Action, Pattern, Quota, Scheme
from isotherm.schemefile.files import load
from isotherm.session.applying import Applying
from isotherm.session.options import Options
from support.killed import run_and_kill
from support.sinks import Each

TOTAL, HOT = 64 * MIB, 8 * MIB
COLD = Pattern(access=Access(0, 0))
OUT = Scheme(Action.PAGEOUT, COLD, quota=Quota())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    where = tmp_path / "state"
    where.mkdir(mode=0o700)
    monkeypatch.setattr(undo, "state_folder", lambda: where)
    return where


def states_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


@contextmanager
def applying(*schemes, world=None, **options):
    clock = VirtualClock(1000 * MS)
    ops = SimOps(world or fixed(TOTAL, ((0, HOT),)), clock)
    options = {"ops": ops, "clock": clock, "seed": 7} | options
    log = options.pop("log", None)
    with Applying(Options.of(schemes=schemes or (OUT,), **options), log=log) as one:
        yield one, ops


def audit(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_numbers_are_those_of_the_engine_the_log_and_the_world(tmp_path):
    log = tmp_path / "log"
    with applying(log=log, update="100ms") as (one, ops):
        one.run(2)
        found = one.result()
        away = TOTAL - ops.resident_bytes(0)
        come_back = ops.refaulted_bytes(0)
    stats = found.states[0].stats
    assert away >= TOTAL - HOT - MIB
    assert stats.sz_applied == away + come_back
    lines = audit(log)
    assert sum(line["done"] for line in lines) == stats.sz_applied
    assert sum(line["asked"] for line in lines) == stats.sz_tried
    assert len(lines) == stats.nr_tried
    outcome = found.outcomes.by_scheme[0]
    assert sum(outcome.asked.values()) == stats.sz_tried
    assert sum(outcome.done.values()) == stats.sz_applied
    assert found.resident_before - found.resident_after <= away
    assert found.resident_after == TOTAL - away
    assert found.snapshots == pytest.approx(20, abs=1)
    assert found.seconds == pytest.approx(2, abs=0.2)


def test_a_dry_run_says_the_same_of_the_first_round_and_does_nothing(tmp_path, folder):
    log = tmp_path / "log"
    with applying(dry_run=True, log=log) as (one, ops):
        one.run(0.1)
        dry = one.result().states[0].stats
        assert states_in(folder) == []
        assert ops.resident_bytes(0) == TOTAL
    with applying() as (one, ops):
        one.run(0.1)
        assert one.result().states[0].stats == dry
        assert TOTAL - ops.resident_bytes(0) == dry.sz_applied
    assert dry.sz_applied > 0
    assert all(line["dry_run"] for line in audit(log))


def test_what_was_done_since_the_last_snapshot_counts(tmp_path):
    """Schemes may apply more often than there are snapshots, and a stop comes at any time."""
    slowly = Quota(size_bytes=MIB, reset_ms=100)
    often = Scheme(Action.PAGEOUT, COLD, quota=slowly, apply_interval_us=10_000)
    log = tmp_path / "log"
    with applying(often, log=log, aggr="1s") as (one, ops):
        seen = []
        take = one.outcomes.take

        def stop_soon(event, targets):
            take(event, targets)
            if seen and event.done.applied_bytes and event.sis % 200:
                one.session.stop()

        one.outcomes.take = stop_soon
        one.run(30, Each(seen.append))
        found = one.result()
        away = TOTAL - ops.resident_bytes(0)
    assert found.states[0].stats.sz_applied == away > seen[-1].schemes[0].stats.sz_applied
    assert sum(line["done"] for line in audit(log)) == away


def test_before_the_first_snapshot_each_scheme_has_a_state():
    with applying(OUT, Scheme(Action.STAT)) as (one, _):
        found = one.result()
    assert [state.action for state in found.states] == ["pageout", "stat"]
    assert found.snapshots == found.resident_before == found.resident_after == 0


def test_the_state_file_is_there_while_it_works_and_gone_afterwards(folder):
    with applying() as (one, _):
        (name,) = states_in(folder)
        one._saved = float("-inf")
        one.run(0.5)
        content = json.loads((folder / name).read_text())
        (change,) = content["changes"]
        assert content["pid"] == os.getpid()
        assert change["schemes"] == ["pageout"]
        assert change["applied_bytes"][0] > 0
    assert states_in(folder) == []


def test_counting_leaves_no_state_file(folder):
    with applying(Scheme(Action.STAT)) as (one, _):
        one.run(0.5)
        assert states_in(folder) == []


_KILLED = """
import sys
from pathlib import Path
from isotherm.kernel.undo import StateFile
state = StateFile("apply", {"apply": lambda _: None}, Path(sys.argv[1]))
state.note("apply", targets=["redis 42"], schemes=["a", "b"], begun=0, applied_bytes=[5 << 20, 0])
print("ready", flush=True)
import time
time.sleep(100)
"""


def test_a_killed_run_is_told_once(folder):
    run_and_kill(_KILLED, folder)
    assert len(states_in(folder)) == 1
    with applying() as (one, _):
        (note,) = one.notes
        assert "redis 42 was killed after a 5.0 MiB, b 0 B" in note
    assert states_in(folder) == []
    with applying() as (one, _):
        assert one.notes == []


@pytest.mark.parametrize("bad", [{"pid": 2**22 + 1, "ops": None, "clock": None}, {"ops": None}])
def test_a_start_that_fails_leaves_the_news_of_a_killed_run_to_the_next(folder, bad):
    run_and_kill(_KILLED, folder)
    with pytest.raises((TargetGoneError, BadValueError)), applying(**bad):
        pass
    assert len(states_in(folder)) == 1
    with applying() as (one, _):
        assert len(one.notes) == 1


def test_a_dry_run_leaves_the_news_of_a_killed_run_to_the_next(folder):
    run_and_kill(_KILLED, folder)
    with applying(dry_run=True) as (one, _):
        assert one.notes == []
    assert len(states_in(folder)) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        json.dumps({"format": 1}),
        json.dumps(
            {
                "format": 1,
                "boot_id": "BOOT",
                "pid": 2**22 + 1,
                "start_ticks": 1,
                "pid_namespace": "NS",
                "purpose": "apply",
                "changes": [{"kind": "apply"}],
            }
        ),
    ],
)
def test_a_broken_state_file_keeps_nobody_from_working(folder, content):
    text = content.replace("BOOT", undo.boot_id()).replace('"NS"', str(undo._pid_namespace()))
    (folder / "apply.1.json").write_text(text)
    with applying() as (one, _):
        one.run(0.5)
        assert one.result().states[0].stats.sz_applied > 0


def test_what_a_kill_left_of_writing_a_state_file_is_removed(folder):
    run_and_kill(_KILLED, folder)
    (name,) = states_in(folder)
    (folder / name).with_suffix(".new").write_text("{")  # killed between writing and renaming
    with applying():
        pass
    assert states_in(folder) == []


def test_a_log_that_cannot_be_written_is_told_before_anything_is_started(tmp_path, folder):
    marker = tmp_path / "started"
    with pytest.raises(OutputError):
        Applying(
            Options.of(schemes=(OUT,), command=["touch", str(marker)]), log=tmp_path / "no" / "log"
        )
    assert not marker.exists()
    assert states_in(folder) == []


def test_a_disk_that_fills_up_ends_it_in_good_order(folder):
    with pytest.raises(OutputError), applying(log=type(folder)("/dev/full")) as (one, _):
        one.run(0.5)
    assert states_in(folder) == []


def test_what_the_set_cannot_do_is_told_at_the_start(folder):
    with pytest.raises(NotSupportedError, match="cold"), applying(Scheme(Action.COLD, COLD)):
        pass
    assert states_in(folder) == []


def test_an_own_action_that_raises_is_counted_and_the_loop_goes_on():
    def broken(target, start, end):
        raise RuntimeError("my own fault")

    own = Scheme(Action.STAT, COLD, own=broken, quota=Quota())
    with applying(own, OUT) as (one, ops):
        one.run(1)
        found = one.result()
        assert TOTAL - ops.resident_bytes(0) >= TOTAL - HOT - MIB
    assert found.states[0].stats.errors == {
        "RuntimeError: my own fault": found.states[0].stats.nr_tried
    }
    assert found.states[0].stats.sz_applied == 0
    assert found.states[1].stats.sz_applied > 0


def test_a_world_that_ends_ends_it():
    area = Area(BASE, BASE + TOTAL)
    world = World((Space("short", (area,), (), until_ns=2000 * MS),))
    with applying(world=world) as (one, _):
        one.run()
        found = one.result()
    assert 7 <= found.snapshots <= 11
    assert found.states[0].stats.sz_applied == TOTAL


def test_default_quotas_hold():
    with applying(load("pageout access=0%").schemes[0]) as (one, _):
        assert one.schemes[0].quota.size_bytes == 128 * MIB
