"""Metrics as text: what Prometheus' own parser reads of them, whatever groups are called."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from isotherm.agent.config import Settings
from isotherm.agent.exposition import Told, families, scheme_families
from isotherm.agent.groups import WatchedGroups
from isotherm.agent.metrics import MetricsSink
from isotherm.agent.openmetrics import END, LONGEST_VALUE, Family, Sample, plain, text_of
from isotherm.agent.sums import OTHER, Grouping
from isotherm.model.page_use import PageUse, UseRow
from isotherm.model.scheme_state import SchemeState, SchemeStats
from isotherm.model.snapshot import Columns, Snapshot
from isotherm.model.target import Target

S = 1_000_000_000
WINDOWS = (1 * S, 10 * S, 60 * S, 77 * S)
names = st.text(st.characters(codec=None, categories=None), min_size=1, max_size=40)


def parsed(text):
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def row(target, resident=100, *, unseen=0, uncovered=0, used=(10, 20, 30, 40)):
    low = tuple(size // 2 for size in used)
    high = tuple(size + unseen + uncovered for size in used)
    idle = tuple(max(0, resident - unseen - uncovered - size) for size in used)
    return UseRow(
        target, "", "anon", None, resident, unseen, uncovered, low, used, high, idle, idle
    )


def use(*rows):
    return PageUse(5 * S, 77 * S, WINDOWS, rows)


def told(grouping, rows, targets, **more):
    sums = grouping.sums(use(*rows), targets)
    windows = (10 * S, 60 * S)
    return parsed(
        text_of(families(Told(sums, use(*rows), windows, grouping.in_other, **more))) + END
    )


def value(families, name, **labels):
    (found,) = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


@given(st.lists(names, min_size=1, max_size=8, unique=True))
def test_any_name_is_read_back(titles):
    labels = [(("cgroup", plain(title)),) for title in titles]
    labels = list(dict.fromkeys(labels))
    text = text_of([Family("x", "gauge", "", "y", [Sample("", of, 1) for of in labels])]) + END
    read = [tuple(sample.labels.items()) for sample in parsed(text)["x"].samples]
    assert read == labels
    assert all(len(of) <= LONGEST_VALUE for ((_, of),) in labels)


@given(st.lists(names, min_size=1, max_size=8), st.integers(1, 4))
def test_groups_of_any_name_make_no_series_twice(titles, most):
    targets = [
        Target(i, "x", i, resident_bytes=5, group=f"cgroup {title}")
        for i, title in enumerate(titles)
    ]
    grouping = Grouping(WatchedGroups(()), most)
    found = told(grouping, [row(0)], targets)
    for family in found.values():
        series = [(one.name, *sorted(one.labels.items())) for one in family.samples]
        assert len(series) == len(set(series))
    groups = value(found, "isotherm_groups")
    assert groups <= most
    total = sum(one.value for one in found["isotherm_resident_bytes"].samples)
    assert total == 100 + 5 * (len(titles) - 1)
    assert groups + grouping.in_other == len({plain(title) for title in titles})


def test_what_is_said_of_a_group():
    targets = [
        Target(0, "a", 7, group="unit web.service"),
        Target(1, "b", 8, 0, 50, 40, "unit web.service"),
    ]
    found = told(Grouping(WatchedGroups(()), 9), [row(0, unseen=5, uncovered=15)], targets)
    of = {"unit": "web.service"}
    assert value(found, "isotherm_resident_bytes", **of) == 140
    assert value(found, "isotherm_unknown_bytes", **of) == 60
    assert value(found, "isotherm_coverage_ratio", **of) == 1 - 55 / 140
    assert value(found, "isotherm_processes", **of) == 2
    assert value(found, "isotherm_working_set_bytes", **of, window="10s") == 20
    assert value(found, "isotherm_working_set_low_bytes", **of, window="10s") == 10
    # who was not looked at may have used all that it has
    assert value(found, "isotherm_working_set_high_bytes", **of, window="1m") == 30 + 20 + 40
    ages = {
        sample.labels.get("le"): sample.value
        for sample in found["isotherm_idle_age_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert ages == {"1.0": 10, "10.0": 20, "60.0": 30, "+Inf": 80}
    assert value(found, "isotherm_watched_seconds") == 77


def test_of_what_nobody_saw_no_working_set_is_told():
    targets = [
        Target(0, "a", 7, group="unit a"),
        Target(1, "b", 8, resident_bytes=9, group="unit b"),
    ]
    found = told(
        Grouping(WatchedGroups(()), 9), [row(0, uncovered=100, used=(0, 0, 0, 0))], targets
    )
    assert "isotherm_working_set_bytes" not in found
    assert value(found, "isotherm_working_set_high_bytes", unit="a", window="10s") == 100
    assert value(found, "isotherm_unknown_bytes", unit="b") == 9
    assert "isotherm_idle_age_seconds" not in found


def test_who_has_metrics_keeps_them_and_the_rest_is_one():
    def targets(*names):
        return [
            Target(i, "x", i, resident_bytes=10 * i, group=f"unit {n}")
            for i, n in enumerate(names, 1)
        ]

    grouping = Grouping(WatchedGroups(()), 2)
    assert grouping.sums(use(), targets("a", "b")).keys() == {(("unit", "a"),), (("unit", "b"),)}
    sums = grouping.sums(use(), targets("a", "b", "c", "d"))
    assert sums.keys() == {(("unit", "a"),), (("unit", "b"),), OTHER}
    assert (sums[OTHER].resident, grouping.in_other) == (70, 2)
    sums = grouping.sums(use(), targets("b", "c", "d"))
    assert sums.keys() == {(("unit", "b"),), (("unit", "d"),), OTHER}
    grouping.most = 1
    assert len(grouping.sums(use(), targets("b", "c", "d"))) == 2


def test_a_metric_as_cadvisor_had_it():
    class Groups(WatchedGroups):
        def labels(self, group):
            return ("namespace", "shop"), ("pod", "web-1"), ("container", "web")

        def paths(self, group):
            return ("/kubepods/podX/cri-containerd-abc.scope",)

    targets = [Target(0, "a", 7, group="container shop/web-1/web")]
    found = told(Grouping(Groups(()), 9), [row(0)], targets, referenced_ns=60 * S)
    (sample,) = found["container_referenced_bytes"].samples
    assert sample.value == 30
    assert sample.labels == {
        "container": "web", "id": "/kubepods/podX/cri-containerd-abc.scope", "name": "abc",
        "namespace": "shop", "pod": "web-1",
    }  # fmt: skip


def test_what_came_of_schemes():
    states = [SchemeState("pageout", "pageout", SchemeStats(sz_tried=9, sz_applied=4))] * 2
    found = parsed(text_of(scheme_families(states, dry_run=True)) + END)
    assert value(found, "isotherm_scheme_tried_bytes_total", scheme="1 pageout") == 9
    assert value(found, "isotherm_scheme_applied_bytes_total", scheme="2 pageout") == 4
    assert value(found, "isotherm_scheme_dry_run") == 1


def test_before_the_first_sum_the_agent_tells_of_itself():
    sink = MetricsSink(Settings(), WatchedGroups(()))
    found = parsed(sink.text())
    assert "isotherm_resident_bytes" not in found
    assert "isotherm_sum_age_seconds" not in found
    assert value(found, "isotherm_agent_resident_bytes") > 1 << 20


def test_a_sum_is_told_until_there_is_a_newer_one():
    sink = MetricsSink(Settings(), WatchedGroups(()))
    targets = (Target(0, "a", 7, group="unit a"),)
    sink.take(Snapshot(0, 0, 1, 1, 1, targets, Columns(), page_use=use(row(0))))
    sink.take(Snapshot(1, 1, 2, 1, 1, targets, Columns()))
    found = parsed(sink.text())
    assert value(found, "isotherm_resident_bytes", unit="a") == 100
    assert value(found, "isotherm_sum_age_seconds") > 0
    (group,) = sink.targets()
    assert group["labels"] == {"unit": "a"}
    assert group["used_bytes"] == {"10000ms": 20, "60000ms": 30}
