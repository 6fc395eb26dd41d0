"""Whole monitoring loops against the kernel's: same windows, same intervals, same random state."""

import pytest

from isotherm.clock import VirtualClock
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops, TargetRanges
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.target import Range, Target

PATTERN = "e2e_*.json"
NEVER_US = 10**15


class ScenarioOps(Ops):
    """The fake operations set of the scenarios: an oracle of what is accessed in which sample."""

    name = "scenario"

    def __init__(self, scenario):
        self.scenario = scenario
        self.sample = 0
        self.batch = ()
        self.at_end = lambda: None

    def targets(self):
        return [
            TargetRanges(Target(index, str(index)), tuple(Range(*r) for r in ranges))
            for index, ranges in enumerate(self.scenario["targets"])
        ]

    def alive(self):
        return self.sample < self.scenario["nr_samples"]

    def prepare(self, addresses):
        self.batch = list(addresses)

    def check(self):
        self.sample += 1
        if not self.alive():
            self.at_end()
        k = self.sample
        hot = [
            (start, end)
            for start, end, period, phase, first, last in self.scenario["hot"]
            if first <= k < last and k % period == phase
        ]
        return bytes(any(start <= a < end for start, end in hot) for a in self.batch)


def monitor_of(scenario, engine):
    goal = IntervalsGoal(*scenario["intervals_goal"])
    attrs = Attrs(
        sample_us=scenario["sample_us"],
        aggr_us=scenario["aggr_us"],
        update_us=NEVER_US,
        min_nr_regions=scenario["min_nr_regions"],
        max_nr_regions=scenario["max_nr_regions"],
        goal=goal if goal.aggrs else None,
    )
    ops = ScenarioOps(scenario)
    ops.min_region_bytes = scenario["min_region_sz"]
    return ops, Monitor(
        ops,
        attrs,
        clock=VirtualClock(),
        seed=scenario["prng_seed"],
        native=engine.name == "native",
        prng="lcg",
    )


def plan_events(monitor, ops, scenario, windows):
    """Have the control calls of the scenario, and its end, happen after their samples."""
    for sample, kind, values in scenario["events"]:
        assert kind == 0, "goals and free memory belong to schemes"
        sample_us, aggr_us, low, high = values
        monitor._control.append((sample, Attrs(sample_us, aggr_us, NEVER_US, low, high)))
    last = scenario["nr_samples"]
    if last not in windows:
        # Ends amid a window: have the run end there, so that no further sample is chosen.
        monitor._control.append((last, monitor.attrs))
        ops.at_end = monitor.stop


def rows(snapshot):
    found = [[] for _ in snapshot.targets]
    for region in snapshot.regions:
        found[region.target].append([region.start, region.end, region.nr_accesses, region.age])
    return found


def test_scenario(engine, vectors):
    scenario, expected = vectors["scenario"], vectors["expected"]
    if scenario["schemes"]:
        pytest.skip("of the scheme engine, which does not exist yet")
    windows = [event for event in expected if event["ev"] == "aggr"]
    ops, monitor = monitor_of(scenario, engine)
    plan_events(monitor, ops, scenario, {window["sis"] for window in windows})
    tuned = {event["sis"]: event["sample_us"] for event in expected if event["ev"] == "tune"}
    with monitor:
        snapshots = list(monitor.snapshots())
    assert len(snapshots) == len(windows)
    for snapshot, window in zip(snapshots, windows, strict=True):
        assert snapshot.end_ns == window["us"] * 1000
        assert rows(snapshot) == window["targets"], f"window that ends at {window['sis']}"
        if window["sis"] in tuned:
            assert snapshot.sample_us == tuned[window["sis"]]
    assert {e["err"] for e in expected if e["ev"] == "commit_attrs"} <= {0}
    (end,) = [event for event in expected if event["ev"] == "end"]
    assert ops.sample == end["sis"]
    assert monitor._rng.state == end["prng_state"]
    assert monitor._clock.now_ns() == end["us"] * 1000
