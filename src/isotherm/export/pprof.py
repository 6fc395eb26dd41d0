"""
Stacks as a profile for `go tool pprof` and whatever else reads profile.proto.

Field numbers are those of github.com/google/pprof/proto/profile.proto.
"""

from __future__ import annotations

import gzip
from typing import BinaryIO

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.export import protobuf as pb
from isotherm.export.formats import Wishes
from isotherm.export.stacks import Stacks, stacks

_I64 = (1 << 63) - 1


class _Strings:
    """The table of texts; the first is empty."""

    def __init__(self) -> None:
        self._places = {"": 0}

    def __call__(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    def message(self) -> bytes:
        return b"".join(pb.text(6, text) for text in self._places)


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write a compressed profile with a sample for each part."""
    del wishes
    found = stacks(recording)
    # No time in the header: the same recording gives the same bytes.
    with gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as packed:
        packed.write(profile(found))
    return list(found.about)


def profile(found: Stacks) -> bytes:
    """Return the message of a profile."""
    strings = _Strings()
    unit = strings("bytes")
    types = [pb.number(1, strings(name)) + pb.number(2, unit) for name in found.names]
    functions: dict[str, int] = {}
    samples = []
    for frames, values in found.rows:
        places = [functions.setdefault(name, len(functions) + 1) for name in reversed(frames)]
        samples.append(pb.packed(1, places) + pb.packed(2, (min(value, _I64) for value in values)))
    # A location is a function here, of the same number: there are no addresses in a stack.
    locations = [
        pb.number(1, i) + pb.data(4, pb.number(1, i) + pb.number(2, 1)) for i in functions.values()
    ]
    called = [
        pb.number(1, i) + pb.number(2, strings(name)) + pb.number(3, strings(name))
        for name, i in functions.items()
    ]
    comments = [strings(line) for line in found.about]
    parts = [
        *(pb.data(1, one) for one in types),
        *(pb.data(2, one) for one in samples),
        *(pb.data(4, one) for one in locations),
        *(pb.data(5, one) for one in called),
        pb.number(9, found.start_ns),
        pb.number(10, found.end_ns - found.start_ns),
        pb.packed(13, comments),
        pb.number(14, strings(found.names[0])),
        strings.message(),
    ]
    return b"".join(parts)
