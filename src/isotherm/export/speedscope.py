"""Stacks for speedscope.app: a profile for each figure."""

from __future__ import annotations

import json
from typing import BinaryIO

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.export.formats import Wishes
from isotherm.export.stacks import stacks

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write one JSON object."""
    del wishes
    found = stacks(recording)
    frames: dict[str, int] = {}
    for names, _ in found.rows:
        for name in names:
            frames.setdefault(name, len(frames))
    profiles = []
    for i, name in enumerate(found.names):
        rows = [(names, values[i]) for names, values in found.rows if values[i]]
        profiles.append(
            {
                "type": "sampled",
                "name": name,
                "unit": "bytes",
                "startValue": 0,
                "endValue": sum(value for _, value in rows),
                "samples": [[frames[one] for one in names] for names, _ in rows],
                "weights": [value for _, value in rows],
            }
        )
    document = {
        "$schema": _SCHEMA,
        "exporter": "isotherm",
        "name": "; ".join(found.about),
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": profiles,
    }
    out.write(json.dumps(document).encode() + b"\n")
    return []
