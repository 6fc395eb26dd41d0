"""Regions as CSV: a row for each region of each window."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import escaped
from isotherm.export.formats import Wishes

HEAD = (
    *("window", "start_ns", "end_ns", "sample_us", "aggr_us", "target", "name", "pid", "group"),
    *("start", "end", "nr_accesses", "max_nr_accesses", "age", "unobservable", "used"),
    *("rate", "low", "high", "share"),
)


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write a head and the rows; what is not known is empty."""
    del wishes
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
    try:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(HEAD)
        for one in recording.readable():
            window = one.index, one.start_ns, one.end_ns, one.sample_us, one.aggr_us
            targets = [(t.id, escaped(t.name), t.pid, escaped(t.group)) for t in one.targets]
            most = one.max_nr_accesses
            rows.writerows(
                (*window, *targets[r.target], r.start, r.end, r.nr_accesses, most, *r[4:])
                for r in one.columns
            )
        text.flush()
    finally:
        text.detach()
    return []
