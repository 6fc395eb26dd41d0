"""The document spelling, YAML or JSON: monitor, targets and schemes spelled out."""

from __future__ import annotations

from typing import Any

from isotherm.model.attrs import IntervalsGoal
from isotherm.schemefile.documents.scheme import decode_scheme, encode_scheme
from isotherm.schemefile.draft import decode_each
from isotherm.schemefile.filters import format_addresses, parse_addresses
from isotherm.schemefile.scheme_file import Monitor, SchemeFile, TargetSpec
from isotherm.schemefile.source import InexpressibleError, Node
from isotherm.schemefile.values import count, format_share, split_range, whole_share
from isotherm.units import duration_us, exact_duration

VERSION = 1
DOCUMENT_KEYS = ("version", "monitor", "targets", "schemes")
MONITOR_KEYS = ("sample", "aggr", "update", "regions", "goal", "ops")
GOAL_KEYS = ("access", "aggrs", "sample")
TARGET_KEYS = ("pid", "name", "cgroup", "regions", "obsolete")


def decode_document(root: Node) -> SchemeFile:
    """Return what a document says, or a list of schemes alone; raises `SchemeError`."""
    if root.items is not None:
        return SchemeFile(decode_each(root.items, decode_scheme))
    pairs = root.known("a scheme document", DOCUMENT_KEYS)
    if "version" in pairs:
        version = pairs["version"].scalar("version")
        if version.text != str(VERSION):
            raise version.error(f"version {version.text} is unknown", hint=f"it is {VERSION}")
    targets = pairs["targets"].sequence("targets") if "targets" in pairs else ()
    schemes = pairs["schemes"].sequence("schemes") if "schemes" in pairs else ()
    return SchemeFile(
        decode_each(schemes, decode_scheme),
        _monitor(pairs["monitor"]) if "monitor" in pairs else Monitor(),
        tuple(_target(node) for node in targets),
    )


def _duration(node: Node, what: str) -> int:
    word = node.scalar(what)
    if word.text.isdecimal() and word.text != "0":
        raise word.error(f"{what} {word.said} has no unit", hint="write 5ms or 1s")
    with word.placed(what):
        return duration_us(word.text)


def _monitor(node: Node) -> Monitor:
    pairs = node.known("monitor", MONITOR_KEYS)
    times = {
        f"{key}_us": _duration(pairs[key], key)
        for key in ("sample", "aggr", "update")
        if key in pairs
    }
    low: int | None = None
    high: int | None = None
    if "regions" in pairs:
        word = pairs["regions"].scalar("regions")
        ends = split_range(word, "10..1000")
        low, high = (count(end, "a number of regions") if end.text else None for end in ends)
    goal = _intervals_goal(pairs["goal"]) if "goal" in pairs else None
    ops = pairs["ops"].scalar("ops").text if "ops" in pairs else ""
    return Monitor(**times, min_nr_regions=low, max_nr_regions=high, goal=goal, ops=ops)


def _intervals_goal(node: Node) -> IntervalsGoal:
    pairs = node.known("goal of the intervals", GOAL_KEYS)
    known: dict[str, int] = {}
    if "access" in pairs:
        known["access_bp"] = whole_share(pairs["access"].scalar("access"), 10_000, "access")
    if "aggrs" in pairs:
        known["aggrs"] = count(pairs["aggrs"].scalar("aggrs"), "a number of aggregations")
    if "sample" in pairs:
        word = pairs["sample"].scalar("sample")
        low, high = split_range(word, "5ms..10s")
        with word.placed("sample"):
            known["min_sample_us"] = duration_us(low.text or "0")
            known["max_sample_us"] = duration_us(high.text)
    return IntervalsGoal(**known)


def _target(node: Node) -> TargetSpec:
    pairs = node.known("target", TARGET_KEYS)
    texts = {key: pairs[key].scalar(key).text for key in ("name", "cgroup") if key in pairs}
    pid = count(pairs["pid"].scalar("pid"), "a pid") if "pid" in pairs else None
    obsolete = decode_bool(pairs["obsolete"], "obsolete") if "obsolete" in pairs else False
    regions = pairs["regions"].sequence("regions") if "regions" in pairs else ()
    bounds = tuple(parse_addresses(region.scalar("region")) for region in regions)
    with node.word.placed("target"):
        return TargetSpec(pid, regions=bounds, obsolete=obsolete, **texts)


def decode_bool(node: Node, what: str) -> bool:
    """Return true/false, also spelled yes/no or y/n."""
    word = node.scalar(what)
    text = word.text.lower()
    if text not in ("true", "yes", "y", "false", "no", "n"):
        raise word.error(f"{what} must be true or false, not {word.said}")
    return text in ("true", "yes", "y")


def encode_document(file: SchemeFile) -> dict[str, Any]:
    """Return the document that `decode_document` reads back; raises `InexpressibleError`."""
    if file.others:
        raise InexpressibleError(
            f"the file holds {len(file.contexts)} contexts, this spelling one",
            hint="damo-kdamonds holds several",
        )
    check_nothing_kept(file)
    document: dict[str, Any] = {"version": VERSION}
    if file.monitor != Monitor():
        document["monitor"] = _encode_monitor(file.monitor)
    if file.targets:
        document["targets"] = [_encode_target(target) for target in file.targets]
    document["schemes"] = [encode_scheme(scheme) for scheme in file.schemes]
    return document


def check_nothing_kept(file: SchemeFile) -> None:
    """Raise `InexpressibleError` for parts of damo's files that only such files hold."""
    for name in (*file.kdamond_kept, *file.context_kept):
        raise InexpressibleError(
            f"only damo's kdamonds files hold {name!r}",
            hint="--to damo-kdamonds keeps it, --schemes-only drops it",
        )


def _encode_monitor(monitor: Monitor) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if monitor.ops:
        found["ops"] = monitor.ops
    for key in ("sample", "aggr", "update"):
        value = getattr(monitor, f"{key}_us")
        if value is not None:
            found[key] = exact_duration(value)
    low, high = monitor.min_nr_regions, monitor.max_nr_regions
    if low is not None or high is not None:
        found["regions"] = f"{'' if low is None else low}..{'' if high is None else high}"
    goal = monitor.goal
    if goal is not None:
        low_us, high_us = exact_duration(goal.min_sample_us), exact_duration(goal.max_sample_us)
        found["goal"] = {
            "access": format_share(goal.access_bp, 10_000),
            "aggrs": goal.aggrs,
            "sample": f"{low_us}..{high_us}",
        }
    return found


def _encode_target(target: TargetSpec) -> dict[str, Any]:
    found: dict[str, Any] = {} if target.pid is None else {"pid": target.pid}
    found |= {key: getattr(target, key) for key in ("name", "cgroup") if getattr(target, key)}
    if target.regions:
        found["regions"] = [format_addresses(*region) for region in target.regions]
    return found | ({"obsolete": True} if target.obsolete else {})
