"""
Schemes of the kernel's DAMON: `model.scheme.Scheme` to files and back, and what came of them.

Units change here: shares of a window become samples, durations windows. Read back, a pattern is
in samples and windows, as the kernel has no other.
"""

from __future__ import annotations

from collections.abc import Sequence

from isotherm.errors import NotSupportedError
from isotherm.kernel.damon.files import DamonFiles, lacks
from isotherm.model.attrs import UINT_MAX, Attrs
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
from isotherm.model.scheme_state import SchemeStats

_HINT = "let isotherm do the work itself: --backend bpf"
_BOUNDS = {FilterType.ADDR: ("addr_start", "addr_end")}
_MIN_MAX = ("min", "max")


def put_schemes(files: DamonFiles, folder: str, schemes: Sequence[Scheme], attrs: Attrs) -> None:
    """Write schemes into `folder` (".../schemes"), patterns in the counts of `attrs`."""
    for scheme in schemes:
        if scheme.own is not None:
            raise NotSupportedError(
                f"scheme {scheme.title}: the kernel cannot call an action of Python", hint=_HINT
            )
        if rule := next((one for one in scheme.filters if one.type in OWN_FILTERS), None):
            raise NotSupportedError(
                f"scheme {scheme.title}: the kernel has no filter {rule.type}", hint=_HINT
            )
    files.resize(folder, "schemes", len(schemes))
    for index, scheme in enumerate(schemes):
        _put_scheme(files, f"{folder}/{index}", scheme, attrs)


def _put_scheme(files: DamonFiles, at: str, scheme: Scheme, attrs: Attrs) -> None:
    files.write(f"{at}/action", scheme.action.value)
    limits = scheme.pattern.limits(attrs)
    for name, low, high in zip(
        ("sz", "nr_accesses", "age"), limits[::2], limits[1::2], strict=True
    ):
        files.write(f"{at}/access_pattern/{name}/min", low)
        files.write(f"{at}/access_pattern/{name}/max", high)
    files.put(f"{at}/apply_interval_us", scheme.apply_interval_us, 0)
    nid = -1 if scheme.target_nid is None else scheme.target_nid
    files.put(f"{at}/target_nid", nid, -1)
    files.put(f"{at}/stats/max_nr_snapshots", scheme.max_nr_snapshots, 0)
    _put_quota(files, f"{at}/quotas", scheme.quota or Quota(reset_ms=0))
    marks = scheme.watermarks
    for name in ("metric", "interval_us", "high", "mid", "low"):
        files.write(f"{at}/watermarks/{name}", getattr(marks, name))
    _put_filters(files, at, scheme)
    files.resize(f"{at}/dests", "dests", len(scheme.destinations))
    for index, destination in enumerate(scheme.destinations):
        files.write(f"{at}/dests/{index}/id", destination.nid)
        files.write(f"{at}/dests/{index}/weight", destination.weight)


def _put_quota(files: DamonFiles, at: str, quota: Quota) -> None:
    files.write(f"{at}/ms", quota.time_ms)
    files.write(f"{at}/bytes", quota.size_bytes)
    files.write(f"{at}/reset_interval_ms", quota.reset_ms)
    for name, weight in zip(("sz", "nr_accesses", "age"), quota.weights, strict=True):
        files.write(f"{at}/weights/{name}_permil", weight)
    files.put(f"{at}/goal_tuner", quota.tuner, "consist")
    files.put(f"{at}/fail_charge_num", quota.fail_charge[0], 0)
    files.put(f"{at}/fail_charge_denom", quota.fail_charge[1], 0)
    files.resize(f"{at}/goals", "goals", len(quota.goals))
    for index, goal in enumerate(quota.goals):
        _put_goal(files, f"{at}/goals/{index}", goal)


def _put_goal(files: DamonFiles, at: str, goal: Goal) -> None:
    if goal.complement:
        raise lacks(f"{at}/complement", "Y")
    metric = Metric.USER_INPUT if goal.metric is Metric.OWN else goal.metric
    files.put(f"{at}/target_metric", metric.value, Metric.USER_INPUT.value)
    files.write(f"{at}/target_value", goal.target)
    files.put(f"{at}/nid", goal.nid, 0)
    files.put(f"{at}/path", goal.memcg, "")
    put_goal_value(files, at, goal)


def put_goal_value(files: DamonFiles, at: str, goal: Goal) -> None:
    """Write the present value of a goal that the kernel does not measure itself."""
    files.write(f"{at}/current_value", goal.measured()[0])


def _put_filters(files: DamonFiles, at: str, scheme: Scheme) -> None:
    """Write filters into the directories of their layers, or into the one of older kernels."""
    core, ops = scheme.core_filters, scheme.ops_filters
    if files.has(f"{at}/core_filters"):
        lists = {"core_filters": core, "ops_filters": ops, "filters": ()}
    else:
        lists = {"filters": scheme.filters}
    for name, filters in lists.items():
        files.resize(f"{at}/{name}", "filters", len(filters))
        for index, one in enumerate(filters):
            _put_filter(files, f"{at}/{name}/{index}", one)


def _put_filter(files: DamonFiles, at: str, one: Filter) -> None:
    files.write(f"{at}/type", one.type.value)
    files.write(f"{at}/matching", one.matching)
    files.put(f"{at}/allow", one.allow, default=False)
    if one.memcg:
        files.write(f"{at}/memcg_path", one.memcg)
    if one.type is FilterType.TARGET:
        files.write(f"{at}/damon_target_idx", one.target)
    if one.bounds is not None:
        for name, bound in zip(_BOUNDS.get(one.type, _MIN_MAX), one.bounds, strict=True):
            files.write(f"{at}/{name}", bound)


def get_schemes(files: DamonFiles, folder: str) -> tuple[Scheme, ...]:
    """Return the schemes in `folder`; patterns are in samples and windows."""
    return tuple(_get_scheme(files, f"{folder}/{index}") for index in files.numbered(folder))


def _get_scheme(files: DamonFiles, at: str) -> Scheme:
    bounds = [
        files.number(f"{at}/access_pattern/{name}/{end}")
        for name in ("sz", "nr_accesses", "age")
        for end in _MIN_MAX
    ]
    nid = _number(files, f"{at}/target_nid", -1)
    quota = _get_quota(files, f"{at}/quotas")
    marks = f"{at}/watermarks"
    on = files.read(f"{marks}/metric") != "none"
    return Scheme(
        action=Action(files.read(f"{at}/action")),
        pattern=Pattern(
            bounds[0],
            bounds[1],
            Access(bounds[2], _high(bounds[3]), "samples"),
            Age(bounds[4], _high(bounds[5]), "windows"),
        ),
        apply_interval_us=_number(files, f"{at}/apply_interval_us", 0),
        quota=None if quota == Quota(reset_ms=0) else quota,
        watermarks=Watermarks(
            "free_mem_rate" if on else "none",
            *(files.number(f"{marks}/{name}") for name in ("interval_us", "high", "mid", "low")),
        ),
        filters=tuple(
            _get_filter(files, f"{at}/{layer}/{index}")
            for layer in ("core_filters", "ops_filters", "filters")
            for index in files.numbered(f"{at}/{layer}")
        ),
        target_nid=None if nid < 0 else nid,
        destinations=tuple(
            Destination(files.number(f"{at}/dests/{i}/id"), files.number(f"{at}/dests/{i}/weight"))
            for i in files.numbered(f"{at}/dests")
        ),
        max_nr_snapshots=_number(files, f"{at}/stats/max_nr_snapshots", 0),
    )


def _high(bound: int) -> int | None:
    return None if bound >= UINT_MAX else bound


def _number(files: DamonFiles, path: str, default: int) -> int:
    return files.number(path) if files.has(path) else default


def _get_quota(files: DamonFiles, at: str) -> Quota:
    temporal = files.has(f"{at}/goal_tuner") and files.read(f"{at}/goal_tuner") == "temporal"
    goals = [f"{at}/goals/{index}" for index in files.numbered(f"{at}/goals")]
    return Quota(
        time_ms=files.number(f"{at}/ms"),
        size_bytes=files.number(f"{at}/bytes"),
        reset_ms=files.number(f"{at}/reset_interval_ms"),
        weights=Weights(
            *(files.number(f"{at}/weights/{name}_permil") for name in ("sz", "nr_accesses", "age"))
        ),
        # The kernel skips goals without a target.
        goals=tuple(
            _get_goal(files, goal) for goal in goals if files.number(f"{goal}/target_value")
        ),
        tuner="temporal" if temporal else "consist",
        fail_charge=(
            _number(files, f"{at}/fail_charge_num", 0),
            _number(files, f"{at}/fail_charge_denom", 0),
        ),
    )


def _get_goal(files: DamonFiles, at: str) -> Goal:
    metric = f"{at}/target_metric"
    return Goal(
        metric=Metric(files.read(metric)) if files.has(metric) else Metric.USER_INPUT,
        target=files.number(f"{at}/target_value"),
        current=files.number(f"{at}/current_value"),
        nid=_number(files, f"{at}/nid", 0),
        memcg=files.read(f"{at}/path") if files.has(f"{at}/path") else "",
    )


def _get_filter(files: DamonFiles, at: str) -> Filter:
    kind = FilterType(files.read(f"{at}/type"))
    ranged = kind in (FilterType.ADDR, FilterType.HUGEPAGE_SIZE)
    low, high = _BOUNDS.get(kind, _MIN_MAX)
    return Filter(
        type=kind,
        matching=files.flag(f"{at}/matching"),
        allow=files.has(f"{at}/allow") and files.flag(f"{at}/allow"),
        bounds=(files.number(f"{at}/{low}"), files.number(f"{at}/{high}")) if ranged else None,
        memcg=files.read(f"{at}/memcg_path") if kind is FilterType.MEMCG else "",
        target=files.number(f"{at}/damon_target_idx") if kind is FilterType.TARGET else 0,
    )


def get_stats(files: DamonFiles, at: str) -> SchemeStats:
    """Return the statistics of the scheme directory `at`, as of the last update_schemes_stats."""

    def count(name: str) -> int:
        return _number(files, f"{at}/stats/{name}", 0)

    return SchemeStats(
        nr_tried=count("nr_tried"),
        sz_tried=count("sz_tried"),
        nr_applied=count("nr_applied"),
        sz_applied=count("sz_applied"),
        sz_ops_filter_passed=count("sz_ops_filter_passed"),
        qt_exceeds=count("qt_exceeds"),
        nr_snapshots=count("nr_snapshots"),
    )
