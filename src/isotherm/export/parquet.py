"""Regions as Parquet, by arro3: a row for each region of each window (`recording.flat`)."""

from __future__ import annotations

import io
from typing import BinaryIO

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import NotSupportedError
from isotherm.export.formats import Wishes
from isotherm.recording.flat import Readable, flat_stream

_READ_BYTES = 1 << 20


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write a file; raises `NotSupportedError` without arro3-io."""
    del wishes
    try:
        from arro3.io import read_ipc_stream, write_parquet
    except ImportError as err:
        raise NotSupportedError(
            "Parquet is written by arro3-io, which is not installed",
            hint="pip install 'isotherm[parquet]', or --to csv",
        ) from err
    stream = io.BufferedReader(Readable(flat_stream(recording.readable())), _READ_BYTES)
    write_parquet(read_ipc_stream(stream), out, compression="zstd(3)")
    return []
