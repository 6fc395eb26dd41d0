"""JSON Schema of scheme documents, from the keys that the reader knows."""

from __future__ import annotations

from typing import Any

from isotherm.model import own
from isotherm.schemefile.documents import document
from isotherm.schemefile.documents import scheme as document_scheme
from isotherm.schemefile.draft import TUNERS, action_names
from isotherm.schemefile.goals import METRICS

_TEXTS: dict[str, Any] = {"type": ["string", "integer", "number"]}
_TRUTH = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}


def _mapping(keys: tuple[str, ...], **known: Any) -> dict[str, Any]:
    """Return the schema of a mapping of these keys; those without a schema are texts."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: known.get(key, _TEXTS) for key in keys},
    }


def _or_text(mapping: dict[str, Any], what: str) -> dict[str, Any]:
    return {"anyOf": [{"type": "string", "description": what}, mapping]}


def _scheme() -> dict[str, Any]:
    weights = _mapping(("size", "access", "age"), size=_COUNT, access=_COUNT, age=_COUNT)
    quota = _mapping(
        document_scheme.QUOTA_KEYS,
        weights=_or_text(weights, "size/access/age, as 0/3/1"),
        tuner={"enum": list(TUNERS)},
    )
    goal = _mapping(
        document_scheme.GOAL_KEYS,
        metric={"type": "string", "description": ", ".join([*METRICS, *own.METRICS.known])},
        complement=_TRUTH,
        tuner={"enum": list(TUNERS)},
    )
    one_filter = _mapping(document_scheme.FILTER_KEYS, matching=_TRUTH, allow=_TRUTH)
    mapping = _mapping(
        document_scheme.SCHEME_KEYS,
        action={"enum": action_names()},
        when=_mapping(document_scheme.WHEN_KEYS),
        quota=_or_text(quota, "128M/s,10ms/s or none"),
        goals={"type": "array", "items": _or_text(goal, "psi:some=10ms/s")},
        filters={"type": "array", "items": _or_text(one_filter, "reject memcg /app")},
        watermarks=_or_text(_mapping(document_scheme.WATERMARK_KEYS), "free:50%/40%/20%@5s"),
        snapshots=_COUNT,
    )
    mapping["required"] = ["action"]
    return _or_text(mapping, "a line: pageout access=0% age=2m.. quota=128M/s")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of scheme documents."""
    target = _mapping(
        document.TARGET_KEYS,
        pid=_COUNT,
        regions={"type": "array", "items": {"type": "string"}},
        obsolete=_TRUTH,
    )
    schema = _mapping(
        document.DOCUMENT_KEYS,
        version={"const": document.VERSION},
        monitor=_mapping(
            document.MONITOR_KEYS, goal=_mapping(document.GOAL_KEYS), ops={"type": "string"}
        ),
        targets={"type": "array", "items": target},
        schemes={"type": "array", "items": {"$ref": "#/$defs/scheme"}},
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "isotherm schemes",
        **schema,
        "$defs": {"scheme": _scheme()},
    }
