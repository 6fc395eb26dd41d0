"""
damo's scheme: a mapping of `access_pattern`, `quotas` and so on, read and written without loss.

Every number is written bare, in the unit of its field, never in rounded units: damo reads both,
and only the bare one comes back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from isotherm.model import own
from isotherm.model.attrs import UINT_MAX
from isotherm.model.own import NamedMetric
from isotherm.model.scheme import (
    OWN_FILTERS,
    Access,
    Action,
    Age,
    Destination,
    Filter,
    FilterType,
    Goal,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemefile.damo import keys, numbers
from isotherm.schemefile.draft import TUNERS, parse_action
from isotherm.schemefile.draft import check_expressible as check_scheme
from isotherm.schemefile.goals import OF_MEMCG, OF_NODE, check_expressible
from isotherm.schemefile.source import InexpressibleError, Node, Word, unknown
from isotherm.units import U64_MAX

WEIGHT_KEYS = tuple(keys.WEIGHTS)
WATERMARK_KEYS = tuple(keys.WATERMARKS)


def decode_scheme(node: Node) -> Scheme:
    """Return the scheme of damo's mapping; raises `SchemeError`."""
    pairs = node.mapping("a scheme of damo")
    words = {key: pairs[key].scalar(key) for key in ("name", "action") if key in pairs}
    every = (
        numbers.us(pairs["apply_interval_us"], "interval") if "apply_interval_us" in pairs else 0
    )
    snapshots = pairs.get("max_nr_snapshots")
    filters = pairs["filters"].sequence("filters") if "filters" in pairs else ()
    dests = pairs["dests"].sequence("dests") if "dests" in pairs else ()
    target = pairs.get("target_nid")
    action, own_action = (
        parse_action(words["action"]) if "action" in words else (Action.STAT, None)
    )
    with node.word.placed():
        return Scheme(
            action,
            _pattern(pairs["access_pattern"]) if "access_pattern" in pairs else Pattern(),
            name=words["name"].text if "name" in words else "",
            apply_interval_us=every,
            quota=_quota(pairs["quotas"]) if "quotas" in pairs else None,
            watermarks=_watermarks(pairs["watermarks"]) if "watermarks" in pairs else Watermarks(),
            filters=tuple(map(_filter, filters)),
            target_nid=None if target is None else numbers.signed(target, "a node"),
            destinations=tuple(map(_destination, dests)),
            max_nr_snapshots=0 if snapshots is None else numbers.whole(snapshots, "snapshots"),
            own=own_action,
        )


def _pattern(node: Node) -> Pattern:
    pairs = _with_ends(node.mapping("access_pattern"), node.word)
    sizes = (0, U64_MAX)
    if "sz_bytes" in pairs:
        low, high = numbers.ends(pairs["sz_bytes"], "sz_bytes")
        sizes = (
            numbers.nbytes(Node(low, low.text), "a size"),
            numbers.nbytes(Node(high, high.text), "a size"),
        )
    with node.word.placed("access_pattern"):
        return Pattern(
            *sizes,
            numbers.access(pairs["nr_accesses"]) if "nr_accesses" in pairs else Access(),
            numbers.age(pairs["age"]) if "age" in pairs else Age(),
        )


def _with_ends(pairs: Mapping[str, Node], place: Word) -> Mapping[str, Node]:
    """
    Return a pattern with the mappings of today, of flat keys of damo's first years if need be.

    There the units had keys of their own: where they are "samples" or "aggr_intervals", a bare
    number counts those.
    """
    found = dict(pairs)
    units = {"nr_accesses": ("nr_accesses_unit", "samples"), "age": ("age_unit", "aggr_intervals")}
    for key in ("sz_bytes", "nr_accesses", "age"):
        ends = {end: pairs[f"{end}_{key}"] for end in ("min", "max") if f"{end}_{key}" in pairs}
        if key in pairs or not ends:
            continue
        name, counted = units.get(key, ("", ""))
        if name in pairs and pairs[name].scalar(name).text == counted:
            ends = {end: _counted(value, counted) for end, value in ends.items()}
        missing = {end: Node(replace(place, text=end), end) for end in ("min", "max")}
        found[key] = Node(place, pairs=missing | ends)
    return found


def _counted(node: Node, unit: str) -> Node:
    """Return a bare number with its unit; "max" stays."""
    word = node.scalar("a bound")
    if numbers.bare(word.text) is None or word.text == "max":
        return node
    text = f"{0 if word.text == 'min' else word.text} {unit}"
    return Node(replace(word, text=text), text)


def _destination(node: Node) -> Destination:
    pairs = node.mapping("a destination")
    if "id" not in pairs:
        raise node.word.error("a destination needs an id")
    weight = numbers.whole(pairs["weight"], "weight") if "weight" in pairs else 1
    return Destination(numbers.signed(pairs["id"], "a node"), weight)


def _quota(node: Node) -> Quota:
    pairs = node.mapping("quotas")
    weights = {key: pairs[f"weight_{key}"] for key in WEIGHT_KEYS if f"weight_{key}" in pairs}
    if "weights" in pairs:
        weights |= pairs["weights"].mapping("weights")
    tuner = pairs["goal_tuner"].scalar("goal_tuner") if "goal_tuner" in pairs else Word("consist")
    if tuner.text not in TUNERS:
        raise unknown(tuner, "there is no tuner", tuner.text, list(TUNERS))
    goals = pairs["goals"].sequence("goals") if "goals" in pairs else ()
    return Quota(
        numbers.ms(pairs["time_ms"], "time_ms") if "time_ms" in pairs else 0,
        numbers.nbytes(pairs["sz_bytes"], "sz_bytes") if "sz_bytes" in pairs else 0,
        numbers.ms(pairs["reset_interval_ms"], "reset_interval_ms")
        if "reset_interval_ms" in pairs
        else 1000,
        Weights(*(numbers.share(weights[key], key, 1000) if key in weights else 0
                  for key in WEIGHT_KEYS)),
        tuple(map(_goal, goals)),
        TUNERS[tuner.text],
        (_whole(pairs, "fail_charge_num"), _whole(pairs, "fail_charge_denom")),
    )  # fmt: skip


def _whole(pairs: Mapping[str, Node], key: str) -> int:
    return numbers.whole(pairs[key], key) if key in pairs else 0


def _goal(node: Node) -> Goal:
    pairs = node.mapping("a goal")
    metric, read = Metric.USER_INPUT, None
    if "metric" in pairs:
        word = pairs["metric"].scalar("metric")
        read = own.METRICS.known.get(word.text)
        known = [str(metric) for metric in Metric if metric is not Metric.OWN]
        if read is None and word.text not in known:
            known += own.METRICS.known
            raise unknown(word, "there is no goal metric", word.text, known)
        metric = Metric.OWN if read is not None else Metric(word.text)
    target = pairs.get("target_value", pairs.get("target_value_bp"))
    current = pairs.get("current_value", pairs.get("current_value_bp"))
    if target is None:
        raise node.word.error("a goal needs a target_value")
    memcg = pairs["memcg_path"].scalar("memcg_path").text if "memcg_path" in pairs else ""
    with node.word.placed():
        return Goal(
            metric,
            _goal_value(target, metric, read),
            current=0 if current is None else _goal_value(current, metric, read),
            nid=numbers.signed(pairs["nid"], "a node") if "nid" in pairs else 0,
            memcg=memcg if metric in OF_MEMCG else "",
            complement=numbers.flag(pairs["complement"], "complement")
            if "complement" in pairs
            else False,
            read=read,
        )


def _goal_value(node: Node, metric: Metric, read: NamedMetric | None) -> int:
    if read is not None and read.unit == "bytes":
        return numbers.nbytes(node, "a goal's value")
    if metric is Metric.SOME_MEM_PSI_US or (read is not None and read.unit == "us"):
        return numbers.us(node, "a goal's value")
    # The old names say bp also where the metric is the user's.
    return numbers.share(node, "a goal's value", 10_000)


def _watermarks(node: Node) -> Watermarks:
    pairs = node.mapping("watermarks")
    metric = pairs["metric"].scalar("metric") if "metric" in pairs else Word("none")
    if metric.text not in ("none", "free_mem_rate"):
        raise metric.error(f"{metric.said} is no metric", hint="none or free_mem_rate")
    interval = numbers.us(pairs["interval_us"], "interval") if "interval_us" in pairs else 0
    marks = [
        numbers.share(pairs[key], key, 1000) if key in pairs else 0 for key in WATERMARK_KEYS[2:]
    ]
    with node.word.placed():
        return Watermarks("none" if metric.text == "none" else "free_mem_rate", interval, *marks)


#: Those that damo has; idle is read as well, as isotherm once wrote it.
_FILTERS = [str(kind) for kind in FilterType if kind not in OWN_FILTERS or kind is FilterType.IDLE]


def _filter(node: Node) -> Filter:
    pairs = node.mapping("a filter")
    if "filter_type" not in pairs:
        raise node.word.error("a filter needs a filter_type")
    word = pairs["filter_type"].scalar("filter_type")
    if word.text not in _FILTERS:
        raise unknown(word, "there is no filter", word.text, _FILTERS)
    kind = FilterType(word.text)
    allow = pairs.get("allow", pairs.get("filter_pass"))
    memcg = pairs["memcg_path"].scalar("memcg_path").text if "memcg_path" in pairs else ""
    with node.word.placed():
        return Filter(
            kind,
            numbers.flag(pairs["matching"], "matching") if "matching" in pairs else True,
            False if allow is None else numbers.flag(allow, "allow"),
            bounds=_bounds(pairs, kind),
            memcg=memcg if kind is FilterType.MEMCG else "",
            target=_whole(pairs, "damon_target_idx") if kind is FilterType.TARGET else 0,
        )


def _bounds(pairs: Mapping[str, Node], kind: FilterType) -> tuple[int, int] | None:
    if kind is FilterType.ADDR and "address_range" in pairs:
        known = pairs["address_range"].mapping("address_range")
        if "start" in known and "end" in known:
            return numbers.nbytes(known["start"], "start"), numbers.nbytes(known["end"], "end")
    key = {
        FilterType.HUGEPAGE_SIZE: "hugepage_size",
        FilterType.PROBE_HITS_WSUM: "probe_hits_wsum_range",
    }.get(kind)
    if key is None or key not in pairs:
        return None
    node = pairs[key]
    if node.pairs is not None:
        low, high = (Node(word, word.text) for word in numbers.ends(node, key))
    else:
        items = node.sequence(key)
        if len(items) != 2:
            raise node.word.error(f"{key} must be two numbers")
        low, high = items
    return numbers.nbytes(low, key), numbers.nbytes(high, key)


def encode_scheme(scheme: Scheme) -> dict[str, Any]:
    """Return damo's mapping of a scheme; raises `InexpressibleError`."""
    check_scheme(scheme)
    if scheme.own is not None:
        raise InexpressibleError(
            f"scheme {scheme.title}: action {scheme.does} is registered here, and damo lacks it"
        )
    pattern = scheme.pattern
    found: dict[str, Any] = {"name": scheme.name} if scheme.name else {}
    found["action"] = str(scheme.action)
    if scheme.destinations:
        found["dests"] = [
            {"id": destination.nid, "weight": destination.weight}
            for destination in scheme.destinations
        ]
    if scheme.target_nid is not None:
        found["target_nid"] = scheme.target_nid
    found["access_pattern"] = {
        "sz_bytes": {"min": pattern.min_size_bytes, "max": pattern.max_size_bytes},
        "nr_accesses": _encode_access(pattern.access),
        "age": _encode_age(pattern.age),
    }
    found["apply_interval_us"] = scheme.apply_interval_us
    if scheme.quota is not None:
        found["quotas"] = _encode_quota(scheme.quota)
    marks = scheme.watermarks
    if marks != Watermarks():
        values = (marks.metric, marks.interval_us, marks.high, marks.mid, marks.low)
        found["watermarks"] = dict(zip(WATERMARK_KEYS, values, strict=True))
    if scheme.filters:
        found["filters"] = [_encode_filter(rule) for rule in scheme.filters]
    if scheme.max_nr_snapshots:
        found["max_nr_snapshots"] = scheme.max_nr_snapshots
    return found


def _encode_access(bounds: Access) -> dict[str, Any]:
    if bounds.unit == "samples":
        high = UINT_MAX if bounds.high is None else bounds.high
        return {"min": f"{bounds.low} samples", "max": f"{high} samples"}
    return {
        "min": _percent(bounds.low),
        "max": "max" if bounds.high is None else _percent(bounds.high),
    }


def _percent(value: Fraction | int) -> int | float:
    """Return a JSON number that reads back as the same percentage."""
    if isinstance(value, int):
        return value
    if Fraction(str(float(value))) != value:
        raise InexpressibleError(
            f"access {value}%: damo's files hold decimals, and this has no exact one"
        )
    return float(value)


def _encode_age(bounds: Age) -> dict[str, Any]:
    if bounds.unit == "us":
        return {"min": bounds.low, "max": "max" if bounds.high is None else bounds.high}
    high = UINT_MAX if bounds.high is None else bounds.high
    return {"min": f"{bounds.low} aggr_intervals", "max": f"{high} aggr_intervals"}


def _encode_quota(quota: Quota) -> dict[str, Any]:
    return {
        "time_ms": quota.time_ms,
        "sz_bytes": quota.size_bytes,
        "reset_interval_ms": quota.reset_ms,
        "fail_charge_num": quota.fail_charge[0],
        "fail_charge_denom": quota.fail_charge[1],
        "goals": [_encode_goal(goal) for goal in quota.goals],
        "goal_tuner": quota.tuner,
        "weights": dict(zip(WEIGHT_KEYS, quota.weights, strict=True)),
    }


def _encode_goal(goal: Goal) -> dict[str, Any]:
    check_expressible(goal)
    if goal.own is not None:
        raise InexpressibleError(
            f"goal {goal.own.name}: its metric is registered here, and damo lacks it"
        )
    return {
        "metric": str(goal.metric),
        "complement": goal.complement,
        "nid": goal.nid if goal.metric in OF_NODE else None,
        "memcg_path": goal.memcg or None,
        "target_value": goal.target,
        "current_value": goal.current,
    }


def _encode_filter(rule: Filter) -> dict[str, Any]:
    if rule.type is FilterType.IDLE:
        raise InexpressibleError("filter idle: only isotherm judges pages one by one")
    if rule.type is FilterType.NAME:
        raise InexpressibleError("filter name: only isotherm knows mappings by name")
    if rule.type is FilterType.UNDERUSED:
        raise InexpressibleError("filter underused: only isotherm looks at what pages hold")
    found: dict[str, Any] = {
        "filter_type": str(rule.type),
        "matching": rule.matching,
        "allow": rule.allow,
        "memcg_path": rule.memcg or None,
        "address_range": None,
        "damon_target_idx": rule.target if rule.type is FilterType.TARGET else None,
        "hugepage_size": None,
        "probe_hits_wsum_range": None,
    }
    if rule.bounds is not None and rule.type is FilterType.ADDR:
        found["address_range"] = {"start": rule.bounds[0], "end": rule.bounds[1]}
    elif rule.bounds is not None:
        key = "hugepage_size" if rule.type is FilterType.HUGEPAGE_SIZE else "probe_hits_wsum_range"
        found[key] = list(rule.bounds)
    return found
