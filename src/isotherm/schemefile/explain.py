"""A scheme in one sentence of English, and in the numbers that the kernel would get."""

from __future__ import annotations

from isotherm.errors import shown
from isotherm.model.attrs import Attrs
from isotherm.model.own import NamedAction
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Filter,
    FilterType,
    Goal,
    Metric,
    Quota,
    Scheme,
    Watermarks,
    rejects_rest,
)
from isotherm.schemefile.filters import format_addresses
from isotherm.schemefile.goals import format_own
from isotherm.schemefile.values import exact_number, format_share
from isotherm.units import U64_MAX, exact_duration, exact_size

VERBS = {
    Action.WILLNEED: "Read in ahead",
    Action.COLD: "Mark as cold",
    Action.PAGEOUT: "Page out",
    Action.HUGEPAGE: "Allow huge pages for",
    Action.NOHUGEPAGE: "Forbid huge pages for",
    Action.COLLAPSE: "Collapse to huge pages now",
    Action.LRU_PRIO: "Move up in the LRU lists",
    Action.LRU_DEPRIO: "Move down in the LRU lists",
    Action.MIGRATE_HOT: "Migrate, hottest first,",
    Action.MIGRATE_COLD: "Migrate, coldest first,",
    Action.STAT: "Only count",
}
_MEMORY = {
    FilterType.ANON: "anonymous memory",
    FilterType.ACTIVE: "pages on the active list",
    FilterType.YOUNG: "pages accessed since the last look",
    FilterType.UNMAPPED: "unmapped pages",
}
_GOALS = {
    Metric.NODE_MEM_USED_BP: "{value} of node {nid} is used",
    Metric.NODE_MEM_FREE_BP: "{value} of node {nid} is free",
    Metric.NODE_MEMCG_USED_BP: "cgroup {memcg} uses {value} of node {nid}",
    Metric.NODE_MEMCG_FREE_BP: "all but cgroup {memcg} is {value} of node {nid}",
    Metric.ACTIVE_MEM_BP: "{value} of the LRU lists is active",
    Metric.INACTIVE_MEM_BP: "{value} of the LRU lists is inactive",
    Metric.NODE_ELIGIBLE_MEM_BP: "{value} of the memory that it is for is on node {nid}",
}


def sentence(scheme: Scheme) -> str:
    """Return what a scheme does, in one sentence."""
    pattern = scheme.pattern
    sizes = (pattern.min_size_bytes, pattern.max_size_bytes)
    parts = [f"{_verb(scheme)} {_where(sizes, pattern.access, pattern.age)}"]
    if scheme.destinations:
        shares = ", ".join(
            f"node {destination.nid} (weight {destination.weight})"
            for destination in scheme.destinations
        )
        parts.append(f"to {shares}")
    elif scheme.target_nid is not None:
        parts.append(f"to node {scheme.target_nid}")
    parts += [_filter(rule) for rule in scheme.filters]
    if rejects_rest(scheme.filters):
        parts.append("nothing else")
    if scheme.apply_interval_us:
        parts.append(f"every {exact_duration(scheme.apply_interval_us)}")
    parts += _limits(scheme.quota)
    if scheme.watermarks.metric != "none":
        parts.append(_watermarks(scheme.watermarks))
    if scheme.max_nr_snapshots:
        parts.append(f"for {scheme.max_nr_snapshots} snapshots")
    return ", ".join(parts) + "."


def _verb(scheme: Scheme) -> str:
    if isinstance(scheme.own, NamedAction):
        return scheme.own.about or f"Call the own action {scheme.own.name} on"
    return VERBS[scheme.action] if scheme.own is None else "Call the own action on"


def _where(sizes: tuple[int, int], access: Access, age: Age) -> str:
    words = [_access(access)]
    regions = _between(
        exact_size(sizes[0]) if sizes[0] else "",
        "" if sizes[1] == U64_MAX else exact_size(sizes[1]),
    )
    if regions:
        words.append(f"in regions of {regions}")
    unit = "" if age.unit == "us" else " aggregation intervals"
    ends = [
        "" if not end else (exact_duration(end) if age.unit == "us" else f"{end}{unit}")
        for end in (age.low, age.high)
    ]
    if age.high == 0:
        words.append("changed just now")
    elif any(ends):
        words.append(f"for {_between(*ends)}")
    return " ".join(words)


def _access(access: Access) -> str:
    unit = "%" if access.unit == "percent" else ""
    of = "of samples" if access.unit == "percent" else "samples of a window"
    if access.high == 0:
        return "memory that was not accessed"
    low = f"{exact_number(access.low)}{unit}" if access.low else ""
    high = "" if access.high is None else f"{exact_number(access.high)}{unit}"
    if not low and not high:
        return "all memory"
    return f"memory accessed in {_between(low, high)} {of}"


def _between(low: str, high: str) -> str:
    if low and high:
        return low if low == high else f"{low} to {high}"
    return f"at least {low}" if low else (f"at most {high}" if high else "")


def _shares(low: int, high: int) -> str:
    """Return bounds in 1/1,000, of which one at least bounds anything."""
    said = _between(
        format_share(low, 1000) if low else "", format_share(high, 1000) if high < 1000 else ""
    )
    return said or "any share"


def _filter(rule: Filter) -> str:
    what = _MEMORY.get(rule.type)
    if rule.type is FilterType.MEMCG:
        what = f"memory of cgroup {shown(rule.memcg, 200)}"
    elif rule.type is FilterType.NAME:
        what = f"memory of mappings called {shown(rule.name, 200)}"
    elif rule.type is FilterType.TARGET:
        what = f"memory of target {rule.target}"
    elif rule.bounds is not None:
        low, high = rule.bounds
        what = {
            FilterType.ADDR: f"addresses {format_addresses(low, high)}",
            FilterType.IDLE: f"pages that were not accessed for {exact_duration(low)}",
            FilterType.UNDERUSED: f"huge pages of which {_shares(low, high)} is zeros",
            FilterType.HUGEPAGE_SIZE: f"pages of {_between(exact_size(low), exact_size(high))}",
        }.get(rule.type, f"regions whose probes hit {low} to {high} times")
    if rule.allow:
        return f"letting through {what}" if rule.matching else f"letting through all but {what}"
    return f"without {what}" if rule.matching else f"only {what}"


def _limits(quota: Quota | None) -> list[str]:
    if quota is None:
        return []
    if not quota.limits:
        return ["without a limit"]
    limits = [exact_size(quota.size_bytes)] if quota.size_bytes else []
    if quota.time_ms:
        limits.append(f"{exact_duration(quota.time_ms * 1000)} of work")
    per = f"per {exact_duration(quota.reset_ms * 1000)}" if quota.reset_ms else "per round"
    parts = [f"at most {' and '.join(limits)} {per}"] if limits else []
    parts += [_goal(goal, per) for goal in quota.goals]
    if any(quota.weights):
        names = {"access rate": quota.weights.access, "age": quota.weights.age}
        known = [f"{name} (weight {weight})" for name, weight in names.items() if weight]
        parts.append(f"first by {' and '.join(known) or 'nothing known'}")
    return parts


def _goal(goal: Goal, per: str) -> str:
    but = "until all but the following holds: " if goal.complement else "until "
    if goal.metric is Metric.SOME_MEM_PSI_US:
        return f"{but}some task waits for memory {exact_duration(goal.target)} {per}"
    if goal.own is not None:
        about = f" ({goal.own.about})" if goal.own.about else ""
        return f"{but}{goal.own.name} is {format_own(goal.own, goal.target)}{about}"
    if goal.metric in (Metric.USER_INPUT, Metric.OWN):
        return f"{but}its measure is {goal.target}"
    value = format_share(goal.target, 10_000)
    return but + _GOALS[goal.metric].format(
        value=value, nid=goal.nid, memcg=shown(goal.memcg, 200)
    )


def _watermarks(marks: Watermarks) -> str:
    low, mid, high = (format_share(mark, 1000) for mark in (marks.low, marks.mid, marks.high))
    return (
        f"while {low} to {high} of memory is free (again below {mid}, looked at every "
        f"{exact_duration(marks.interval_us)})"
    )


def kernel_units(scheme: Scheme, attrs: Attrs) -> str:
    """Return the scheme in the kernel's units at these intervals."""
    limits = scheme.pattern.limits(attrs)
    parts = [
        f"action={scheme.does}",
        f"sz={limits.min_size}..{limits.max_size}",
        f"nr_accesses={limits.min_accesses}..{limits.max_accesses} of {attrs.samples_per_aggr}",
        f"age={limits.min_age}..{limits.max_age}",
    ]
    if scheme.apply_interval_us:
        parts.append(f"apply_interval_us={scheme.apply_interval_us}")
    quota, marks = scheme.quota, scheme.watermarks
    if quota is not None:
        weights = "/".join(map(str, quota.weights))
        parts.append(
            f"quotas: ms={quota.time_ms} bytes={quota.size_bytes} "
            f"reset_interval_ms={quota.reset_ms} weights={weights}"
        )
        parts += [f"goal {goal.title}={goal.target}" for goal in quota.goals]
    if marks.metric != "none":
        parts.append(
            f"watermarks: {marks.metric} interval_us={marks.interval_us} "
            f"high/mid/low={marks.high}/{marks.mid}/{marks.low}"
        )
    return " ".join(parts)


def warnings(scheme: Scheme, attrs: Attrs) -> list[str]:
    """Say where a pattern matches nothing at these intervals, or not what it says."""
    limits = scheme.pattern.limits(attrs)
    found = []
    if limits.min_accesses > attrs.samples_per_aggr:
        found.append(
            f"matches nothing: a window has {attrs.samples_per_aggr} samples, "
            f"{limits.min_accesses} accesses are asked for"
        )
    if limits.min_accesses > limits.max_accesses:
        found.append(
            "matches nothing: no number of accesses lies between the bounds; "
            f"a window has {attrs.samples_per_aggr} samples"
        )
    if limits.min_age > limits.max_age:
        window = exact_duration(attrs.aggr_us)
        found.append(f"matches nothing: no age in windows of {window} lies between the bounds")
    return found
