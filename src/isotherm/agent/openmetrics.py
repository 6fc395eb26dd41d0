"""OpenMetrics text, as the specification 1.0 has it: names, labels, samples, families."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
#: A value of a label is no longer than this, in characters.
LONGEST_VALUE = 512
END = b"# EOF\n"

#: Names and values of labels, in the order in which they are written.
Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """A line of a family: what follows its name, the labels, the figure."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """
    A metric with all its samples.

    kind: "gauge", "counter", "info" or "gaugehistogram"; unit: the end of the name, "" for none.
    """

    name: str
    kind: str
    unit: str
    help: str
    samples: Sequence[Sample]


def plain(text: str) -> str:
    r"""
    Return a text from outside as the value of a label: UTF-8, and not longer than is allowed.

    What is no UTF-8 is spelled "\udc80"; of a longer text the beginning and the end are left.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= LONGEST_VALUE:
        return text
    half = (LONGEST_VALUE - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def escaped(text: str) -> str:
    """Return a text as it stands between the quotes of a label, and in a HELP line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def number(value: float) -> str:
    """Return a figure as samples have it."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def text_of(families: Iterable[Family]) -> bytes:
    """Return families as text, without the end; those without a sample are left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# TYPE {family.name} {family.kind}\n")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}\n")
        lines.append(f"# HELP {family.name} {escaped(family.help)}\n")
        for suffix, labels, value in family.samples:
            told = ",".join(f'{name}="{escaped(of)}"' for name, of in labels)
            braces = f"{{{told}}}" if told else ""
            lines.append(f"{family.name}{suffix}{braces} {number(value)}\n")
    return "".join(lines).encode()
