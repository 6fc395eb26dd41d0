"""The governor keeps a share of CPU: a simulated monitor whose tick costs what it costs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.core.overhead import Governor
from isotherm.model.attrs import Attrs
from isotherm.model.snapshot import Columns, Snapshot


def window(index, start_ns, attrs):
    end_ns = start_ns + attrs.aggr_us * 1000
    return Snapshot(index, start_ns, end_ns, attrs.sample_us, attrs.aggr_us, (), Columns())


def run(tick_us, windows, share=0.01, shortest=None):
    """Return the attributes after so many windows of ticks that cost `tick_us` each."""
    shortest = shortest or Attrs()
    governor, attrs, now = Governor(share, shortest), shortest, 0
    for index in range(windows):
        length = attrs.aggr_us * 1000
        snapshot = Snapshot(
            index, now, now + length, attrs.sample_us, attrs.aggr_us, (), Columns()
        )
        now += length
        cost = int(attrs.samples_per_aggr * tick_us * 1000)
        attrs = governor.observe(snapshot, cost, attrs) or attrs
        assert shortest.sample_us <= attrs.sample_us <= 20 * shortest.sample_us
        assert attrs.samples_per_aggr == shortest.samples_per_aggr
    return attrs


@pytest.mark.parametrize("tick_us", [100, 200, 400])
def test_the_first_five_seconds_cost_no_more_than_twice_the_share(tick_us):
    governor, attrs, now, spent = Governor(0.01, Attrs()), Attrs(), 0, 0
    while now < 5_000_000_000:
        cost = int(attrs.samples_per_aggr * tick_us * 1000)
        snapshot = window(0, now, attrs)
        now, spent = snapshot.end_ns, spent + cost
        attrs = governor.observe(snapshot, cost, attrs) or attrs
    assert spent <= 2 * 0.01 * now


@given(st.floats(1, 900))
def test_the_share_is_kept_for_every_cost_of_a_tick_that_allows_it(tick_us):
    attrs = run(tick_us, 400)
    share = tick_us / attrs.sample_us
    assert share <= 0.01 + 1e-9
    if attrs.sample_us > Attrs().sample_us:
        assert share >= 0.01 * 0.6


def test_a_cheap_monitor_keeps_its_intervals():
    assert run(30, 100) == Attrs()


def test_a_dear_monitor_stops_at_the_longest_interval():
    assert run(5000, 400).sample_us == 20 * Attrs().sample_us


def test_it_returns_to_short_intervals_when_it_may():
    governor, attrs = (
        Governor(0.01, Attrs()),
        replace(Attrs(), sample_us=50_000, aggr_us=1_000_000),
    )
    for index in range(100):
        snapshot = window(index, 0, attrs)
        attrs = governor.observe(snapshot, attrs.samples_per_aggr * 20_000, attrs) or attrs
    assert attrs == Attrs()


@pytest.mark.parametrize("windows", [1, 2])
def test_nothing_is_decided_from_a_few_windows(windows):
    assert run(5000, windows) == Attrs()
