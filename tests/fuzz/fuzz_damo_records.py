"""
Records of damo and text of tracers: any bytes, near what is written.

What is imported is a recording without damage, whose snapshots keep the rules; what is not ends in
a documented error and leaves no file behind.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import sys
import zlib
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from harness import NASTY, Fuzzer, main, mutate

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.recording.damo.importer import import_record


def _region(n, **members):
    return {
        "start": f"{4096 * n:,}",
        "end": 4096 * n + 4096,
        "nr_accesses": {"samples": n, "percent": None},
        "age": {"usec": "3 s 400 ms", "aggr_intervals": f"{n:,}"},
        "probe_hits": [],
        "sz_filter_passed": "143.027 MiB",
        **members,
    }


def _records():
    old = _region(9, nr_accesses={"percent": "5 %"}, age={"usec": "1 m", "aggr_intervals": None})
    snapshots = [
        {"start_time": 1, "end_time": "1,000,000", "regions": [_region(n) for n in range(5)]},
        {"end_time": "2 ms", "sample_interval_us": "80 ms", "regions": [_region(7), _region(8)]},
        {"end_time": 3e9, "regions": [old], "damos_stats": {"nr_tried": 1}},
    ]
    intervals = {"sample_us": "5 ms", "aggr_us": 100000, "intervals_goal": None}
    return [
        {"kdamond_idx": 0, "target_id": n, "intervals": intervals, "snapshots": snapshots}
        for n in (0, "1")
    ] + [{"scheme_idx": 1, "target_id": None, "intervals": None, "snapshots": snapshots[:2]}]


def _script():
    lines = [
        f"kdamond.{t}  {t} [000] {1 + n + 1e-5 * r:.6f}: damon:damon_aggregated: "
        f"target_id={t} nr_regions=3 {4096 * r}-{4096 * r + 4096}: {n} {n}"
        for n in range(3)
        for r in range(3)
        for t in range(2)
    ]
    lines.insert(5, "kdamond.0  0 [000] 1.5: damon:damon_monitor_intervals_tune: sample_us=80000")
    lines.append("x 9.0: damon_aggregated: target_id=0 nr_regions=1 0-0: -1 -1")
    return "\n".join(lines).encode()


def _binary():
    data = b"damon_recfmt_ver" + struct.pack("<i", 2)
    for n in range(3):
        data += struct.pack("<qqIQIQQI", n + 1, 5, 1, 7, 1, 4096, 8192, n)
    return data


JSON = [json.dumps(_records(), indent=indent).encode() for indent in (None, 4)]
EXAMPLES = [*JSON, _script(), _script() + b"\n", _binary(), _binary()[20:]]
WORDS = (b"max", b"-1", b"null", b"1e999", b'"', b"\\", b"[", b"{", b"},", b"\n", b"0-0: -1 -1")


def generate(rng):
    data = rng.choice(EXAMPLES)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        if rng.random() < 0.5:
            at = rng.randrange(len(data) + 1)
            word = rng.choice(
                (*WORDS, rng.choice(NASTY) if isinstance(NASTY[0], bytes) else b"\0")
            )
            data = data[:at] + word + data[at + rng.choice((0, 1, len(word))) :]
        else:
            data = mutate(rng, data)
    if rng.random() < 0.3:
        data = zlib.compress(data)
        if rng.random() < 0.3:
            data = mutate(rng, data)
    return data


class _Output(io.BytesIO):
    """Grows in memory; is never closed for us."""


def check(data):
    output = _Output()
    try:
        result = import_record(io.BytesIO(data), output)
    except (BadValueError, DamagedRecordingError):
        assert not output.getvalue()
        return "refused"
    fd = os.memfd_create("imported")
    try:
        os.write(fd, output.getvalue())
        recording = AnalysedRecording(f"/proc/self/fd/{fd}")
        found = list(recording)  # without damage, or this raises
        assert len(found) == result.snapshots > 0
        assert sum(len(one.columns) for one in found) == result.regions
        with contextlib.suppress(BadValueError):
            recording.heatmap(5, 5)
        recording.summary()
    finally:
        os.close(fd)
    return "accepted" if result.damage is None else "in part"


FUZZER = Fuzzer("damo_records", generate, check)

if __name__ == "__main__":
    main(FUZZER)
