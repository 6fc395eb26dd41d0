"""
Records of damo (`json_compressed`): one of each target and of each pair of intervals.

damo tells one target after the other. What was written of each waits in a nameless file.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from array import array
from typing import BinaryIO

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError
from isotherm.export.formats import Wishes
from isotherm.model.snapshot import Region, Snapshot

_DEFAULT_UPDATE_US = 1_000_000
_COPY_BYTES = 1 << 20
_Key = tuple[int, int, int]  # id of the target, sampling and aggregation interval in us


class _Pieces:
    """Texts in a nameless file, by what they belong to; close it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._at = 0
        self.places: dict[_Key, tuple[array[int], array[int]]] = {}

    def close(self) -> None:
        self._file.close()

    def add(self, key: _Key, text: bytes) -> None:
        at, sizes = self.places.setdefault(key, (array("Q"), array("Q")))
        at.append(self._at)
        sizes.append(len(text))
        self._at += self._file.write(text)

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, at)

    def flush(self) -> None:
        self._file.flush()


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write a record; regions of which nothing is known are left out: damo has no word for it."""
    del wishes
    attrs = recording.info.get("attrs")
    update_us = attrs.get("update_us") if isinstance(attrs, dict) else None
    pieces = _Pieces()
    left_out = 0
    try:
        for snapshot in recording.readable():
            left_out += _add(pieces, snapshot)
        if not pieces.places:
            raise BadValueError("the recording holds no regions, so there is nothing to export")
        pieces.flush()
        _assemble(pieces, out, update_us if isinstance(update_us, int) else _DEFAULT_UPDATE_US)
    finally:
        pieces.close()
    if not left_out:
        return []
    return [
        f"{left_out} regions that could not be observed are left out: damo knows no such thing"
    ]


def _add(pieces: _Pieces, snapshot: Snapshot) -> int:
    """Add what a window says of each target; return how many regions were left out."""
    regions: dict[int, list[Region]] = {}
    left_out = 0
    for region in snapshot.columns:
        of = regions.setdefault(region.target, [])
        if region.nr_accesses is None:
            left_out += 1
        else:
            of.append(region)
    for index, known in regions.items():
        key = snapshot.targets[index].id, snapshot.sample_us, snapshot.aggr_us
        pieces.add(key, _snapshot(snapshot, known).encode())
    return left_out


def _snapshot(snapshot: Snapshot, regions: list[Region]) -> str:
    # Numbers as text, as damo has them: whole, so that nothing is rounded.
    rows = ", ".join(
        f'{{"start": "{r.start}", "end": "{r.end}", '
        f'"nr_accesses": {{"samples": {r.nr_accesses}, "percent": null}}, '
        f'"age": {{"usec": null, "aggr_intervals": "{r.age}"}}, '
        '"probe_hits": [], "sz_filter_passed": "0"}'
        for r in regions
    )
    size = sum(region.size for region in regions)
    return (
        f'{{"start_time": "{snapshot.start_ns}", "end_time": "{snapshot.end_ns}", '
        f'"regions": [{rows}], "total_bytes": "{size}", "damos_stats": null, '
        f'"sample_interval_us": "{snapshot.sample_us}"}}'
    )


def _assemble(pieces: _Pieces, out: BinaryIO, update_us: int) -> None:
    packer = zlib.compressobj()

    def put(text: bytes) -> None:
        out.write(packer.compress(text))

    put(b"[")
    for number, (key, (at, sizes)) in enumerate(pieces.places.items()):
        put(b", " * (number > 0) + _head(key, update_us))
        for i, (place, size) in enumerate(zip(at, sizes, strict=True)):
            put(b", " * (i > 0))
            for part in range(place, place + size, _COPY_BYTES):
                put(pieces.read(part, min(_COPY_BYTES, place + size - part)))
        put(b"]}")
    put(b"]")
    out.write(packer.flush())


def _head(key: _Key, update_us: int) -> bytes:
    target, sample_us, aggr_us = key
    head = {
        "kdamond_idx": 0,
        "context_idx": 0,
        "intervals": {
            "sample_us": f"{sample_us}",
            "aggr_us": f"{aggr_us}",
            "ops_update_us": f"{update_us}",
        },
        "scheme_idx": None,
        "target_id": target,
        "scheme_filters": [],
        "data_source": "unknown",
    }
    return json.dumps(head)[:-1].encode() + b', "snapshots": ['
