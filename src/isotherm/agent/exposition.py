"""Metrics of groups, of schemes and of the agent itself: which there are, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isotherm.agent.openmetrics import Family, Labels, Sample
from isotherm.agent.sums import OTHER, GroupSum
from isotherm.model.page_use import PageUse
from isotherm.model.scheme_state import SchemeState
from isotherm.units import exact_duration

Sums = Mapping[Labels, GroupSum]


@dataclass(frozen=True, slots=True)
class Told:
    """
    What metrics are made of.

    sums: of each group; use: where they are from; windows_ns: of which working sets are told;
    in_other: how many groups are told as one; referenced_ns: window of container_referenced_bytes,
    None leaves it out.
    """

    sums: Sums
    use: PageUse
    windows_ns: Sequence[int]
    in_other: int = 0
    referenced_ns: int | None = None


def families(told: Told) -> Iterator[Family]:
    """Return what is told of groups; figures that nobody knows are left out, and no 0."""
    yield _each(told, "isotherm_resident_bytes", "bytes",
                "Memory that is resident, shared memory divided by who maps it.",
                lambda group: group.resident)  # fmt: skip
    yield _each(told, "isotherm_unknown_bytes", "bytes",
                "Resident memory of whose use nothing is known: neither used nor idle.",
                lambda group: group.unknown)  # fmt: skip
    yield _each(told, "isotherm_coverage_ratio", "ratio",
                "Share of the resident memory that somebody had a look at.",
                _coverage)  # fmt: skip
    yield _each(told, "isotherm_processes", "", "Address spaces that are watched.",
                lambda group: group.processes)  # fmt: skip
    yield from _working_sets(told)
    yield _idle_ages(told)
    yield Family("isotherm_huge_page_bytes", "gauge", "bytes",
                 "Memory in transparent huge pages, as the kernel counts it of cgroups.",
                 _by_kind(told, "", lambda group: group.huge))  # fmt: skip
    yield Family("isotherm_refault_pages", "counter", "",
                 "Pages that were read back soon after they had been reclaimed.",
                 _by_kind(told, "_total", lambda group: group.refaults))  # fmt: skip
    yield Family("isotherm_groups", "gauge", "", "Groups with metrics of their own.",
                 [Sample("", (), sum(labels != OTHER for labels in told.sums))])  # fmt: skip
    yield Family("isotherm_groups_in_other", "gauge", "",
                 'Groups beyond the configured number, told together as group="other".',
                 [Sample("", (), told.in_other)])  # fmt: skip
    yield Family("isotherm_watched_seconds", "gauge", "seconds",
                 "For how long memory has been watched.",
                 [Sample("", (), told.use.watched_ns / 1e9)])  # fmt: skip
    if told.referenced_ns is not None:
        yield _referenced(told, told.referenced_ns)


def scheme_families(states: Sequence[SchemeState], *, dry_run: bool) -> Iterator[Family]:
    """Return what came of schemes; dry_run: they only tell what they would do."""
    names = [(("scheme", f"{place} {state.title}"),) for place, state in enumerate(states, 1)]
    pairs = list(zip(names, states, strict=True))
    yield Family("isotherm_scheme_tried_bytes", "counter", "bytes",
                 "Memory that schemes matched and were applied to.",
                 [Sample("_total", name, state.stats.sz_tried)
                  for name, state in pairs])  # fmt: skip
    yield Family("isotherm_scheme_applied_bytes", "counter", "bytes",
                 "Memory that schemes really treated; in a dry run what they would have.",
                 [Sample("_total", name, state.stats.sz_applied)
                  for name, state in pairs])  # fmt: skip
    yield Family("isotherm_scheme_dry_run", "gauge", "",
                 "1: schemes only tell what they would do.",
                 [Sample("", (), int(dry_run))] if states else [])  # fmt: skip


def agent_families(
    served: int, refused: int, *, reload_failed: bool, ring: tuple[int, bool] | None
) -> Iterator[Family]:
    """Return how the agent fares; ring: bytes written, and whether it fails, None without one."""
    yield Family("isotherm_config_last_reload_successful", "gauge", "",
                 "0: the configuration was wrong when it was read again, and is as before.",
                 [Sample("", (), int(not reload_failed))])  # fmt: skip
    yield Family("isotherm_scrapes", "counter", "", "Answers with metrics.",
                 [Sample("_total", (), served)])  # fmt: skip
    yield Family("isotherm_requests_refused", "counter", "", "Requests that were none.",
                 [Sample("_total", (), refused)])  # fmt: skip
    if ring is not None:
        yield Family("isotherm_ring_written_bytes", "counter", "bytes",
                     "Written to the ring since the file of the start was begun.",
                     [Sample("_total", (), ring[0])])  # fmt: skip
        yield Family("isotherm_ring_failed", "gauge", "",
                     "1: the ring cannot be written, and is tried again.",
                     [Sample("", (), int(ring[1]))])  # fmt: skip


def _coverage(group: GroupSum) -> float:
    return 1 - group.uncovered / group.resident if group.resident else 1.0


def _each(
    told: Told, name: str, unit: str, about: str, value: Callable[[GroupSum], float]
) -> Family:
    samples = [Sample("", labels, value(group)) for labels, group in told.sums.items()]
    return Family(name, "gauge", unit, about, samples)


def _working_sets(told: Told) -> Iterator[Family]:
    known = [(i, ns) for i, ns in enumerate(told.use.windows_ns) if ns in told.windows_ns]
    for suffix, what, place in (
        ("", "by best estimate", "used"),
        ("_low", "at the least", "used_low"),
        ("_high", "at the most: what is unknown may have been", "used_high"),
    ):
        samples = [
            Sample("", (*labels, ("window", exact_duration(ns // 1000))), _bytes(group, place, i))
            for labels, group in told.sums.items()
            for i, ns in known
            if group.row is not None and (suffix or group.resident > group.unknown)
        ]
        yield Family(f"isotherm_working_set{suffix}_bytes", "gauge", "bytes",
                     f"Memory that was used within the window, {what}.", samples)  # fmt: skip


def _bytes(group: GroupSum, place: str, window: int) -> int:
    sizes: tuple[int, ...] = getattr(group.row, place)
    # What nobody had a look at may all have been used.
    return sizes[window] + (group.unlooked if place == "used_high" else 0)


def _idle_ages(told: Told) -> Family:
    """Bytes by how long they were not used: what is unknown is in no bucket."""
    windows = [(i, ns) for i, ns in enumerate(told.use.windows_ns) if ns < told.use.watched_ns]
    samples = []
    for labels, group in told.sums.items():
        seen = left = group.resident - group.unknown
        if group.row is None or not seen:
            continue
        for i, ns in windows:
            left = min(left, group.idle(i))  # who is idle for long is idle for less
            samples.append(Sample("_bucket", (*labels, ("le", f"{ns / 1e9}")), seen - left))
        samples.append(Sample("_bucket", (*labels, ("le", "+Inf")), seen))
    return Family("isotherm_idle_age_seconds", "gaugehistogram", "seconds",
                  "Bytes that are resident, by how long they were not used.", samples)  # fmt: skip


def _by_kind(
    told: Told, suffix: str, value: Callable[[GroupSum], Mapping[str, int]]
) -> list[Sample]:
    return [
        Sample(suffix, (*labels, ("kind", of)), size)
        for labels, group in told.sums.items()
        for of, size in value(group).items()
    ]


def _referenced(told: Told, window_ns: int) -> Family:
    """As cAdvisor's metric of this name, with those of its labels that are known."""
    samples = []
    place = next((i for i, ns in enumerate(told.use.windows_ns) if ns == window_ns), None)
    for labels, group in told.sums.items():
        of = dict(labels)
        if place is None or group.row is None or "container" not in of or "user" in of:
            continue
        name = group.path.rpartition("/")[2]
        cadvisor = (
            ("container", of["container"]),
            ("id", group.path),
            ("name", name.removesuffix(".scope").rpartition("-")[2]),
            ("namespace", of.get("namespace", "")),
            ("pod", of.get("pod", "")),
        )
        samples.append(Sample("", cadvisor, group.row.used[place]))
    return Family("container_referenced_bytes", "gauge", "bytes",
                  f"Memory of the container that was used within "
                  f"{exact_duration(window_ns // 1000)}.", samples)  # fmt: skip
