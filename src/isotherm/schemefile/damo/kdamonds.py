"""damo's kdamonds files: several kdamonds with contexts, targets and schemes, without loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from isotherm.model.attrs import IntervalsGoal
from isotherm.schemefile.damo import keys, numbers
from isotherm.schemefile.damo.keys import notes_on_keys
from isotherm.schemefile.damo.scheme import decode_scheme, encode_scheme
from isotherm.schemefile.draft import decode_each
from isotherm.schemefile.scheme_file import Monitor, SchemeFile, TargetSpec
from isotherm.schemefile.source import InexpressibleError, Node

INTERVAL_KEYS = ("sample_us", "aggr_us", "ops_update_us")


def decode_kdamonds(root: Node) -> SchemeFile:
    """Return all contexts of a kdamonds file; raises `SchemeError`."""
    notes = tuple(notes_on_keys(root, "the file", keys.KDAMONDS) if root.pairs is not None else ())
    node = root.pairs["kdamonds"] if root.pairs is not None else root
    contexts: list[SchemeFile] = []
    for index, kdamond in enumerate(node.sequence("kdamonds")):
        pairs = kdamond.mapping("a kdamond")
        if root.pairs is None:
            notes += tuple(notes_on_keys(kdamond, "a kdamond", keys.KDAMOND))
        if "contexts" not in pairs:
            raise kdamond.word.error("a kdamond needs contexts")
        kept = _kept(kdamond, ("contexts",))
        listed = pairs["contexts"].sequence("contexts")
        contexts += [_context(context, index, kept) for context in listed]
    if not contexts:
        raise node.word.error("there is no context in this file")
    return replace(contexts[0], others=tuple(contexts[1:]), notes=notes)


def _kept(node: Node, used: tuple[str, ...]) -> dict[str, object]:
    """Return what is not used, as it stands."""
    return {key: value.native() for key, value in (node.pairs or {}).items() if key not in used}


def _context(node: Node, kdamond: int, kdamond_kept: Mapping[str, object]) -> SchemeFile:
    pairs = node.mapping("a context")
    schemes = pairs["schemes"].sequence("schemes") if "schemes" in pairs else ()
    targets = pairs["targets"].sequence("targets") if "targets" in pairs else ()
    specs = tuple(map(_target, targets))
    monitor = _monitor(pairs)
    return SchemeFile(
        decode_each(schemes, decode_scheme),
        monitor if monitor.ops else replace(monitor, ops=_usual_ops(specs)),
        specs,
        kdamond,
        kdamond_kept,
        _kept(node, ("ops", "targets", "intervals", "nr_regions", "schemes")),
    )


def _monitor(pairs: Mapping[str, Node]) -> Monitor:
    found: dict[str, Any] = {}
    if "intervals" in pairs:
        known = pairs["intervals"].mapping("intervals")
        names = {"sample_us": "sample_us", "aggr_us": "aggr_us", "ops_update_us": "update_us"}
        found = {ours: numbers.us(known[key], key) for key, ours in names.items() if key in known}
        if "intervals_goal" in known:
            found["goal"] = _intervals_goal(known["intervals_goal"])
    if "nr_regions" in pairs:
        low, high = numbers.ends(pairs["nr_regions"], "nr_regions")
        found["min_nr_regions"] = numbers.whole(Node(low, low.text), "a number of regions")
        found["max_nr_regions"] = numbers.whole(Node(high, high.text), "a number of regions")
    ops = pairs["ops"].scalar("ops").text if "ops" in pairs else ""
    return Monitor(**found, ops=ops)


def _intervals_goal(node: Node) -> IntervalsGoal:
    pairs = node.mapping("intervals_goal")
    readers = {
        "access_bp": lambda value: numbers.share(value, "access_bp", 10_000),
        "aggrs": lambda value: numbers.whole(value, "aggrs"),
        "min_sample_us": lambda value: numbers.us(value, "min_sample_us"),
        "max_sample_us": lambda value: numbers.us(value, "max_sample_us"),
    }
    return IntervalsGoal(*(readers[key](pairs[key]) if key in pairs else 0 for key in readers))


def _target(node: Node) -> TargetSpec:
    pairs = node.mapping("a target")
    regions = pairs["regions"].sequence("regions") if "regions" in pairs else ()
    bounds = []
    for region in regions:
        known = region.mapping("a region")
        if "start" not in known or "end" not in known:
            raise region.word.error("a region needs start and end")
        bounds.append(
            (numbers.nbytes(known["start"], "start"), numbers.nbytes(known["end"], "end"))
        )
    return TargetSpec(
        numbers.whole(pairs["pid"], "pid") if "pid" in pairs else None,
        regions=tuple(bounds),
        obsolete=numbers.flag(pairs["obsolete"], "obsolete") if "obsolete" in pairs else False,
    )


def encode_kdamonds(file: SchemeFile) -> dict[str, Any]:
    """Return damo's document of all contexts; raises `InexpressibleError`."""
    kdamonds: dict[int, dict[str, Any]] = {}
    for context in file.contexts:
        kdamond = kdamonds.setdefault(context.kdamond, {**context.kdamond_kept, "contexts": []})
        kdamond["contexts"].append(_encode_context(context))
    return {"kdamonds": list(kdamonds.values())}


def _encode_context(file: SchemeFile) -> dict[str, Any]:
    monitor = file.monitor
    found: dict[str, Any] = {"ops": monitor.ops or _usual_ops(file.targets)}
    found["targets"] = [_encode_target(target) for target in file.targets]
    times = (monitor.sample_us, monitor.aggr_us, monitor.update_us)
    if times != (None, None, None) or monitor.goal is not None:
        if None in times:
            raise InexpressibleError(
                "monitor: damo needs the three intervals together",
                hint="give sample, aggr and update",
            )
        found["intervals"] = dict(zip(INTERVAL_KEYS, times, strict=True))
        if monitor.goal is not None:
            found["intervals"]["intervals_goal"] = {
                key: getattr(monitor.goal, key) for key in keys.INTERVALS_GOAL
            }
    bounds = (monitor.min_nr_regions, monitor.max_nr_regions)
    if bounds != (None, None):
        if None in bounds:
            raise InexpressibleError("monitor: damo needs both bounds of the regions")
        found["nr_regions"] = dict(zip(("min", "max"), bounds, strict=True))
    found |= file.context_kept
    found["schemes"] = [encode_scheme(scheme) for scheme in file.schemes]
    return found


def _usual_ops(targets: Sequence[TargetSpec]) -> str:
    return "vaddr" if any(target.pid is not None for target in targets) else "paddr"


def _encode_target(target: TargetSpec) -> dict[str, Any]:
    if target.name or target.cgroup:
        raise InexpressibleError(
            f"target {target.name or target.cgroup}: damo knows processes by pid only"
        )
    return {
        "pid": target.pid,
        "obsolete": target.obsolete,
        "regions": [{"start": start, "end": end} for start, end in target.regions],
    }
