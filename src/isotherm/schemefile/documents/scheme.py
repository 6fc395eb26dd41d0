"""One scheme of a document: a string is a line, a mapping spells everything out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from isotherm.model.scheme import (
    NO_WEIGHTS,
    Access,
    Age,
    Filter,
    Goal,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemefile.draft import Draft, check_expressible
from isotherm.schemefile.filters import parse_detail, parse_filter, parse_type, say_filter
from isotherm.schemefile.goals import (
    check_aim,
    format_aim,
    format_value,
    parse_aim,
    parse_value,
)
from isotherm.schemefile.lines.classic import looks_classic, parse_classic
from isotherm.schemefile.lines.key_value import parse_line
from isotherm.schemefile.source import Node, Word
from isotherm.schemefile.values import (
    QuotaLimits,
    count,
    format_access,
    format_age,
    format_interval_ms,
    format_share,
    format_sizes,
    format_time_limit,
    format_to,
    parse_interval_ms,
    parse_node,
    parse_size_limit,
    parse_time_limit,
    whole_share,
)
from isotherm.units import U64_MAX, duration_us, exact_duration, exact_size

SCHEME_KEYS = (
    "name", "action", "when", "every", "quota", "goals", "filters", "watermarks", "to",
    "snapshots",
)  # fmt: skip
WHEN_KEYS = ("size", "access", "age")
QUOTA_KEYS = ("size", "time", "per", "weights", "tuner", "fail_charge")
GOAL_KEYS = ("metric", "value", "current", "node", "memcg", "complement", "tuner")
FILTER_KEYS = ("type", "matching", "allow", "value")
WATERMARK_KEYS = ("metric", "interval", "high", "mid", "low")


def decode_scheme(node: Node) -> Scheme:
    """Return the scheme of a string or a mapping; raises `SchemeError`."""
    if node.pairs is None:
        line = node.scalar("a scheme")
        return parse_classic(line) if looks_classic(line.text) else parse_line(line)
    pairs = node.known("a scheme", SCHEME_KEYS)
    draft = Draft(node.word)
    if "action" in pairs:
        draft.set_action(pairs["action"].scalar("action"))
    if "name" in pairs:
        draft.name = pairs["name"].scalar("name").text
    for key, value in (pairs["when"].known("when", WHEN_KEYS) if "when" in pairs else {}).items():
        draft.set(key, value.scalar(key))
    for key in ("every", "to", "snapshots"):
        if key in pairs:
            draft.set(key, pairs[key].scalar(key))
    if "quota" in pairs:
        _quota(draft, pairs["quota"])
    if "goals" in pairs:
        for goal in pairs["goals"].sequence("goals"):
            _goal(draft, goal)
    if "filters" in pairs:
        draft.filters.extend(map(_filter, pairs["filters"].sequence("filters")))
    if "watermarks" in pairs:
        _watermarks(draft, pairs["watermarks"])
    return draft.build()


def _quota(draft: Draft, node: Node) -> None:
    if node.pairs is None:
        draft.set("quota", node.scalar("quota"))
        return
    pairs = node.known("quota", QUOTA_KEYS)
    size = parse_size_limit(pairs["size"].scalar("size")) if "size" in pairs else 0
    time = parse_time_limit(pairs["time"].scalar("time")) if "time" in pairs else 0
    per = parse_interval_ms(pairs["per"].scalar("per"), "per") if "per" in pairs else 1000
    draft.limits = QuotaLimits(size, time, per)
    weights = pairs.get("weights")
    if weights is not None and weights.pairs is not None:
        known = weights.known("weights", Weights._fields)
        draft.weights = Weights(
            **{key: count(value.scalar(key), "a weight") for key, value in known.items()}
        )
    elif weights is not None:
        draft.set("weights", weights.scalar("weights"))
    for key in ("tuner", "fail_charge"):
        if key in pairs:
            draft.set(key, pairs[key].scalar(key))


def _goal(draft: Draft, node: Node) -> None:
    if node.pairs is None:
        draft.add_goal(node.scalar("a goal"))
        return
    pairs = node.known("a goal", GOAL_KEYS)
    words = {key: value.scalar(key) for key, value in pairs.items()}
    for key in ("metric", "value"):
        if key not in words:
            raise node.word.error(f"a goal needs a {key}")
    aim = parse_aim(words["metric"])
    nid = parse_node(words["node"]) if "node" in words else aim.nid
    memcg = words["memcg"].text if "memcg" in words else aim.memcg
    aim = replace(aim, nid=nid, memcg=memcg)
    check_aim(words["metric"], aim)
    current = count(words["current"], "a present value") if "current" in words else 0
    complement = _truth(words["complement"]) if "complement" in words else False
    if "tuner" in words:
        draft.set_tuner(words["tuner"])

    def build(reset_ms: int) -> Goal:
        target = parse_value(words["value"], aim, reset_ms)
        with node.word.placed():
            return Goal(
                aim.metric,
                target,
                current=current,
                nid=nid or 0,
                memcg=memcg,
                complement=complement,
                read=aim.own,
            )

    draft.goals.append(build)


def _truth(word: Word) -> bool:
    if word.text not in ("true", "false"):
        raise word.error(f"{word.said} is neither true nor false")
    return word.text == "true"


def _filter(node: Node) -> Filter:
    if node.pairs is None:
        return parse_filter(node.scalar("a filter"))
    pairs = node.known("a filter", FILTER_KEYS)
    words = {key: value.scalar(key) for key, value in pairs.items()}
    if "type" not in words:
        raise node.word.error("a filter needs a type", hint="or write it as: reject memcg /app")
    return parse_detail(
        words.get("value", node.word.part(len(node.word.text))),
        parse_type(words["type"]),
        matching=_truth(words["matching"]) if "matching" in words else True,
        allow=_truth(words["allow"]) if "allow" in words else False,
    )


def _watermarks(draft: Draft, node: Node) -> None:
    if node.pairs is None:
        draft.set("watermark", node.scalar("watermarks"))
        return
    pairs = node.known("watermarks", WATERMARK_KEYS)
    words = {key: value.scalar(key) for key, value in pairs.items()}
    metric: Literal["none", "free_mem_rate"] = "free_mem_rate"
    if "metric" in words and words["metric"].text not in ("free", "free_mem_rate"):
        if words["metric"].text != "none":
            raise words["metric"].error(
                f"there is no watermark metric {words['metric'].said}", hint="free_mem_rate"
            )
        metric = "none"
    marks = [
        whole_share(words[key], 1000, "a watermark") if key in words else 0
        for key in ("high", "mid", "low")
    ]
    with node.word.placed("watermarks"):
        interval = 5_000_000 if metric != "none" else 0
        if "interval" in words:
            interval = duration_us(words["interval"].text)
        draft.watermarks = Watermarks(metric, interval, *marks)


def encode_scheme(scheme: Scheme) -> dict[str, Any]:
    """Return the mapping that `decode_scheme` reads back; raises `InexpressibleError`."""
    check_expressible(scheme)
    pattern = scheme.pattern
    found: dict[str, Any] = {"name": scheme.name} if scheme.name else {}
    found["action"] = scheme.does
    when: dict[str, str] = {}
    if (pattern.min_size_bytes, pattern.max_size_bytes) != (0, U64_MAX):
        when["size"] = format_sizes(pattern.min_size_bytes, pattern.max_size_bytes)
    if pattern.access != Access():
        when["access"] = format_access(pattern.access)
    if pattern.age != Age():
        when["age"] = format_age(pattern.age)
    if when:
        found["when"] = when
    if scheme.apply_interval_us:
        found["every"] = exact_duration(scheme.apply_interval_us)
    if scheme.quota is not None:
        found["quota"] = _encode_quota(scheme.quota)
        goals = [_encode_goal(goal, scheme.quota.reset_ms) for goal in scheme.quota.goals]
        found |= {"goals": goals} if goals else {}
    if scheme.filters:
        found["filters"] = [say_filter(rule) for rule in scheme.filters]
    if scheme.watermarks != Watermarks():
        found["watermarks"] = _encode_watermarks(scheme.watermarks)
    if scheme.target_nid is not None or scheme.destinations:
        found["to"] = format_to(scheme.target_nid, scheme.destinations)
    if scheme.max_nr_snapshots:
        found["snapshots"] = scheme.max_nr_snapshots
    return found


def _encode_quota(quota: Quota) -> dict[str, Any] | str:
    found: dict[str, Any] = {}
    if quota.size_bytes:
        found["size"] = exact_size(quota.size_bytes)
    if quota.time_ms:
        found["time"] = format_time_limit(quota.time_ms)
    found["per"] = per_text(quota.reset_ms)
    if quota.weights != NO_WEIGHTS:
        found["weights"] = quota.weights._asdict()
    if quota.tuner != "consist":
        found["tuner"] = quota.tuner
    if any(quota.fail_charge):
        found["fail_charge"] = "{}/{}".format(*quota.fail_charge)
    return "none" if quota == Quota() else found


def per_text(reset_ms: int) -> str:
    """Return the interval with its number: "1s", not "s"."""
    text = format_interval_ms(reset_ms)
    return text if text == "max" or text[0].isdecimal() else f"1{text}"


def _encode_goal(goal: Goal, reset_ms: int) -> dict[str, Any]:
    found: dict[str, Any] = {"metric": format_aim(goal), "value": format_value(goal, reset_ms)}
    if goal.current:
        found["current"] = goal.current
    return found | ({"complement": True} if goal.complement else {})


def _encode_watermarks(marks: Watermarks) -> dict[str, Any]:
    found: dict[str, Any] = {"metric": marks.metric, "interval": exact_duration(marks.interval_us)}
    shares = {"high": marks.high, "mid": marks.mid, "low": marks.low}
    return found | {key: format_share(value, 1000) for key, value in shares.items()}
