"""Stacks as lines, as flame graphs are made of: `a;b;c 4096`."""

from __future__ import annotations

from typing import BinaryIO

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.export.formats import VALUES, Wishes
from isotherm.export.stacks import stacks


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write a line for each part that has such bytes."""
    found = stacks(recording)
    place = VALUES.index(wishes.value)
    for frames, values in found.rows:
        if values[place]:
            stack = ";".join(frame.replace(";", ":") for frame in frames)
            out.write(f"{stack} {values[place]}\n".encode())
    return [found.about[place]]
