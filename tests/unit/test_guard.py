"""Guards: what counts as harm, and what follows from it."""

import sys

import hypothesis.strategies as st
import pytest
from hypothesis import given

from isotherm.errors import BadValueError
from isotherm.kernel import meminfo
from isotherm.schemes.backoff import FIRST_HOLD_NS, LONGEST_HOLD_NS, SECOND_NS, Backoff
from isotherm.session import guard


def test_harm_stops_at_once_and_quiet_lets_go_on_slowly():
    backoff = Backoff()
    assert backoff.observe(harmed=False, now_ns=0) == 1
    assert backoff.observe(harmed=True, now_ns=SECOND_NS) == 0
    assert backoff.observe(harmed=False, now_ns=2 * SECOND_NS) == 0
    now, shares = SECOND_NS + FIRST_HOLD_NS, []
    while not shares or shares[-1] < 1:
        shares.append(backoff.observe(harmed=False, now_ns=now))
        now += SECOND_NS
    assert shares[0] == 1 / 16
    assert 5 < len(shares) < 20
    assert shares == sorted(shares)


def test_what_came_too_soon_waits_longer_and_quiet_forgives():
    backoff = Backoff()
    now, holds = 0, []
    for _ in range(6):
        backoff.observe(harmed=True, now_ns=now)
        begun = now
        while not backoff.observe(harmed=False, now_ns=now):
            now += SECOND_NS
        holds.append(now - begun)
    assert holds == sorted(holds)
    assert (holds[0], holds[-1]) == (FIRST_HOLD_NS, LONGEST_HOLD_NS)
    while backoff.observe(harmed=False, now_ns=now) < 1:
        now += SECOND_NS
    backoff.observe(harmed=False, now_ns=now)
    backoff.observe(harmed=True, now_ns=now)
    assert backoff.observe(harmed=False, now_ns=now + FIRST_HOLD_NS) > 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**10)), max_size=60))
def test_the_share_stays_a_share_and_never_jumps(looks):
    backoff, now, before = Backoff(), 0, 1.0
    for harmed, span in looks:
        now += span
        share = backoff.observe(harmed=harmed, now_ns=now)
        assert 0 <= share <= 1
        assert not harmed or share == 0
        assert share <= max(1.5 * before, 1 / 16)
        before = share


@pytest.mark.parametrize(
    "text",
    [
        "",
        "psi",
        "psi=",
        "psi=10ms",
        "psi=ten/s",
        "refault=x/s",
        "refault=3/m",
        "cmd=",
        "cmd=/no",
        "cmd='true",
    ],
)
def test_nonsense_is_told_with_a_hint(text):
    with pytest.raises(BadValueError) as caught:
        guard.parse_guard(text)
    assert caught.value.hint


def test_a_rate_is_harm_above_its_limit_only(monkeypatch):
    faults = iter([100, 150, 260, 10])
    monkeypatch.setattr(guard, "major_faults", lambda _pids: next(faults))
    sensor = guard.parse_guard("refault=50/s")
    looks = [sensor.harmed([1], second * SECOND_NS) for second in range(4)]
    assert looks == [None, False, True, False]


def test_pressure_is_read_from_psi_or_from_faults_where_it_is_off(monkeypatch):
    stalls = iter([0, 0, 5_000, 25_000])
    monkeypatch.setattr(meminfo, "psi_some_us", lambda: next(stalls))
    sensor = guard.parse_guard("psi=10ms/s")
    assert "10ms" in sensor.describe()
    assert [sensor.harmed([], s * SECOND_NS) for s in range(3)] == [None, False, True]
    monkeypatch.setattr(meminfo, "psi_some_us", lambda: None)
    assert "100 major faults" in guard.parse_guard("psi=10ms/s").describe()


def answer_of(sensor, since_ns):
    """Ask until the command has answered."""
    for look in range(10**6):
        harmed = sensor.harmed([], since_ns + look)
        if harmed is not None:
            return harmed
    raise AssertionError("the command never answers")


@pytest.mark.parametrize(("code", "harmed"), [(0, False), (3, True)])
def test_a_command_that_fails_is_harm(code, harmed):
    sensor = guard.parse_guard(f"cmd={sys.executable} -c 'import sys; sys.exit({code})'")
    assert answer_of(sensor, 0) is harmed
    sensor.close()


def test_a_command_that_does_not_answer_is_harm_and_is_ended():
    sensor = guard.parse_guard("cmd=sleep 600")
    assert sensor.harmed([], 0) is None
    process = sensor._running
    assert sensor.harmed([], SECOND_NS) is None
    assert sensor.harmed([], 11 * SECOND_NS) is True
    assert process.poll() is not None


def test_a_command_that_vanishes_is_harm_and_no_end(tmp_path):
    script = tmp_path / "healthy"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    sensor = guard.parse_guard(f"cmd={script}")
    assert answer_of(sensor, 0) is False
    script.unlink()
    assert answer_of(sensor, SECOND_NS) is True
    sensor.close()


def test_a_guard_looks_once_a_second_and_tells_of_changes():
    class Script:
        answers = iter([None, False, True, True, False])

        def harmed(self, _pids, _now):
            return next(self.answers)

    watch = guard.Guard(Script())
    changed = [watch.look([], tenth * SECOND_NS // 2) for tenth in range(9)]
    assert changed == [False, False, False, False, True, False, False, False, False]
    assert watch.share == 0
