"""Data access monitoring and access-aware memory operations for every Linux."""

from __future__ import annotations

# Nothing is imported before the command took care of interrupts: not even typing.
TYPE_CHECKING = False

__all__ = [
    "Access",
    "Action",
    "Age",
    "Attrs",
    "BadValueError",
    "Check",
    "Columns",
    "Cost",
    "DamagedRecordingError",
    "Destination",
    "Done",
    "Filter",
    "FilterType",
    "Goal",
    "IntervalsGoal",
    "IsothermError",
    "Mapping",
    "Metric",
    "MonitorSession",
    "NotPermittedError",
    "NotSupportedError",
    "Ops",
    "OutputError",
    "Pattern",
    "Quota",
    "Range",
    "Region",
    "Samples",
    "Scheme",
    "SchemeState",
    "SchemeStats",
    "Snapshot",
    "Target",
    "TargetGoneError",
    "TargetRanges",
    "ThresholdError",
    "TriedRegion",
    "Unobservable",
    "Watermarks",
    "Weights",
    "apply",
    "monitor",
    "name",
    "open",
    "record",
    "register_action",
    "register_metric",
]

if TYPE_CHECKING:
    from typing import Any

    from isotherm.api import open, record  # noqa: A004
    from isotherm.core.act import Done
    from isotherm.core.look import Check, Samples, TargetRanges
    from isotherm.core.ops import Ops
    from isotherm.errors import (
        BadValueError,
        DamagedRecordingError,
        IsothermError,
        NotPermittedError,
        NotSupportedError,
        OutputError,
        TargetGoneError,
        ThresholdError,
    )
    from isotherm.model.attrs import Attrs, IntervalsGoal
    from isotherm.model.own import register_action, register_metric
    from isotherm.model.ranges import Range
    from isotherm.model.scheme import (
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
    from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
    from isotherm.model.snapshot import Columns, Cost, Region, Snapshot
    from isotherm.model.target import Mapping, Target, Unobservable
    from isotherm.naming.own import name
    from isotherm.session.applying import apply
    from isotherm.session.session import MonitorSession
    from isotherm.session.start import monitor

#: Module -> what it has of `__all__`.
_HOMES = {
    "api": "open record",
    "core.act": "Done",
    "core.look": "Check Samples TargetRanges",
    "core.ops": "Ops",
    "errors": """
        BadValueError DamagedRecordingError IsothermError NotPermittedError
        NotSupportedError OutputError TargetGoneError ThresholdError
    """,
    "model.attrs": "Attrs IntervalsGoal",
    "model.own": "register_action register_metric",
    "model.ranges": "Range",
    "model.scheme": """
        Access Action Age Destination Filter FilterType Goal Metric Pattern Quota
        Scheme Watermarks Weights
    """,
    "model.scheme_state": "SchemeState SchemeStats TriedRegion",
    "model.snapshot": "Columns Cost Region Snapshot",
    "model.target": "Mapping Target Unobservable",
    "naming.own": "name",
    "session.applying": "apply",
    "session.session": "MonitorSession",
    "session.start": "monitor",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import each when it is first used: `import isotherm` stays cheap."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'isotherm' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"isotherm.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
