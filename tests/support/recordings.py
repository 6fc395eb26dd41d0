"""Recordings made by hand: frames, messages and blocks that the writer would not write."""

from __future__ import annotations

import json

from isotherm.recording import encode, zstd
from isotherm.recording import format as layout
from isotherm.recording.messages import END, schema_message

INFO = '{"version": 2}'


def frame(data):
    return zstd.Compressor().frame(data)


def schema(info=INFO, columns=layout.COLUMNS):
    return schema_message(columns, {layout.METADATA_KEY: info})


def block(*snapshots):
    """The message of a block; nothing in it is looked at."""
    made = encode.Block()
    for one in snapshots:
        made.add(one)
    return b"".join(made.parts())


def ending(snapshots=0, regions=0):
    text = json.dumps({"snapshots": snapshots, "regions": regions}).encode()
    return frame(END) + layout.note(layout.END_TEXT + text)


def recording(path, *messages, begin=None, rest=None):
    """A recording at `path` with these messages; `rest` instead of an end of nothing."""
    contents = [schema() if begin is None else begin, *messages]
    rest = ending() if rest is None else rest
    path.write_bytes(layout.header() + b"".join(map(frame, contents)) + rest)
    return path
