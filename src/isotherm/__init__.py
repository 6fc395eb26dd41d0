"""Data access monitoring and access-aware memory operations for every Linux."""

from typing import TYPE_CHECKING, Any

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
    from isotherm.api import MonitorSession, monitor, open, record  # noqa: A004
    from isotherm.naming.own import name
    from isotherm.session.applying import apply


def __getattr__(name: str) -> Any:
    """Import the running parts when they are first used: `import isotherm` stays cheap."""
    if name in {"MonitorSession", "monitor"}:
        from isotherm.session import start

        return getattr(start, name)
    if name in {"open", "record"}:
        from isotherm import api

        return getattr(api, name)
    if name == "name":
        from isotherm.naming import own

        return own.name
    if name == "apply":
        from isotherm.session import applying

        return applying.apply
    raise AttributeError(f"module 'isotherm' has no attribute {name!r}")
