"""
Long recordings, and damo's: CPU time and memory of reading them.

`benchmarks/recordings.py [--rows 20000000] [--per-window 1000]` makes a recording of
so many region rows, and a record of damo of a million regions as `json.dumps(indent=4)` writes it,
and reads each by the command line, start of the interpreter included. A table, and JSON. Where
there is a Chromium, it also says how long the page of 500,000 region rows takes to draw its map.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import zlib
from array import array
from pathlib import Path

from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target
from isotherm.recording.writer import RecordingWriter

BASE = 0x7F00_0000_0000
PAGE = 4096
T0 = 1_700_000_000_000_000_000
WINDOW_NS = 100_000_000


def make_recording(path: Path, rows: int, per_window: int) -> None:
    """One process whose heap is used here and there; a twentieth changes in each window."""
    rng = random.Random(1)
    start, end, at = array("Q"), array("Q"), BASE
    for _ in range(per_window):
        start.append(at)
        at += rng.randrange(1, 200) * PAGE
        end.append(at)
    target = array("I", bytes(4 * per_window))
    unseen = array("Q", bytes(8 * per_window))
    counts = array("I", [rng.choice((0, 0, 0, 0, 1, 5, 20)) for _ in range(per_window)])
    ages = array("I", bytes(4 * per_window))
    targets = (Target(0, "app", 42, at - BASE, at - BASE),)
    maps = {0: (Mapping(BASE, at, "rw-p", "[heap]"),)}
    with RecordingWriter(path, {"backend": "made up"}) as writer:
        for n in range(rows // per_window):
            for _ in range(per_window // 20):
                changed = rng.randrange(per_window)
                counts[changed], ages[changed] = rng.choice((0, 0, 0, 1, 5, 20)), 0
            writer.write(
                Snapshot(
                    index=n,
                    start_ns=T0 + n * WINDOW_NS,
                    end_ns=T0 + (n + 1) * WINDOW_NS,
                    sample_us=5_000,
                    aggr_us=100_000,
                    targets=targets,
                    columns=Columns(
                        target, start, end, array("I", counts), array("I", ages), unseen
                    ),
                    cost=Cost(cpu_ns=1_000, ticks=20, checks=100),
                    mappings=None if n else maps,
                )
            )


def make_record_of_damo(path: Path, windows: int = 2_500, per_window: int = 400) -> None:
    rng = random.Random(1)
    packer = zlib.compressobj()
    intervals = {"sample_us": "5 ms", "aggr_us": "100 ms", "ops_update_us": "1 s"}
    head = {"kdamond_idx": 0, "context_idx": 0, "intervals": intervals, "target_id": 0}
    text = json.dumps([{**head, "snapshots": []}], indent=4)
    before, after = text.split('"snapshots": []')
    with path.open("wb") as file:
        file.write(packer.compress(f'{before}"snapshots": [\n'.encode()))
        for n in range(windows):
            at, regions = BASE, []
            for _ in range(per_window):
                size = rng.randrange(1, 500) * PAGE
                regions.append(
                    {
                        "start": f"{at:,}",
                        "end": f"{at + size:,}",
                        "nr_accesses": {"samples": rng.randrange(21), "percent": None},
                        "age": {"usec": None, "aggr_intervals": f"{rng.randrange(300):,}"},
                        "probe_hits": [],
                        "sz_filter_passed": "0 B",
                    }
                )
                at += size
            times = {
                "start_time": str(T0 + n * WINDOW_NS),
                "end_time": str(T0 + (n + 1) * WINDOW_NS),
            }
            body = json.dumps({**times, "regions": regions, "total_bytes": "0"}, indent=4)
            body = "\n".join(" " * 12 + line for line in body.split("\n"))
            file.write(packer.compress(f"{',' * (n > 0)}\n{body}".encode()))
        file.write(packer.compress(f"\n        ]{after}".encode()) + packer.flush())


def with_bytecode(folder: Path) -> dict[str, str]:
    """Return the environment of an installed program: what is imported was compiled once."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**env, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def measure(env: dict[str, str], *words: str) -> dict[str, float]:
    """Run the command; CPU seconds and peak memory in MiB of it alone."""
    with subprocess.Popen(
        [sys.executable, "-m", "isotherm", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=env,
    ) as child:
        said = child.stderr.read() if child.stderr else b""
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(said.decode())
    return {"cpu_s": round(used.ru_utime + used.ru_stime, 2), "mib": used.ru_maxrss >> 10}


def draw_page(env: dict[str, str], folder: Path, rows: int) -> dict[str, float]:
    """Return the size of a page of so many rows, and how long its map takes, in milliseconds."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support.chromium import browser, found

    make_recording(folder / "page.isotherm", rows, 1_000)
    page = folder / "page.html"
    used = measure(env, "report", str(folder / "page.isotherm"), "html", "-o", str(page))
    told: dict[str, float] = {"bytes": page.stat().st_size, **used}
    if found() is None:
        return told
    with browser() as chromium:
        chromium.size(1240, 900)
        chromium.load(page)
        chromium.until("document.getElementById('map').dataset.ready > 0")
        told["first_ms"] = float(chromium.run("document.getElementById('map').dataset.drawMs"))
        for _ in range(3):
            ready = chromium.run("+document.getElementById('map').dataset.ready")
            chromium.run("document.querySelector('.reset').click()")
            chromium.until(f"document.getElementById('map').dataset.ready > {ready}")
        told["again_ms"] = float(chromium.run("document.getElementById('map').dataset.drawMs"))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of it all")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--per-window", type=int, default=1_000)
    asked = parser.parse_args()
    part = 100 if asked.quick else 1
    asked.rows //= part
    with tempfile.TemporaryDirectory() as folder:
        env = with_bytecode(Path(folder))
        long, damo = Path(folder, "long.isotherm"), Path(folder, "damon.data")
        short, old = Path(folder, "short.isotherm"), Path(folder, "short.data")
        make_recording(short, asked.per_window, asked.per_window)
        make_record_of_damo(old, 1)
        measure(env, "report", str(short), "html", "-o", str(Path(folder, "short.html")))
        measure(env, "import", str(old), "-o", str(Path(folder, "old.isotherm")))
        make_recording(long, asked.rows, asked.per_window)
        make_record_of_damo(damo, 2_500 // part)
        found = {
            f"report {view}": measure(env, "report", str(long), view)
            for view in ("summary", "heatmap", "wss")
        }
        page = str(Path(folder, "x.html"))
        found["report html"] = measure(env, "report", str(long), "html", "-o", page)
        found["import"] = measure(env, "import", str(damo), "-o", str(Path(folder, "x.isotherm")))
        size = long.stat().st_size
        drawn = draw_page(env, Path(folder), 500_000 // part)
    print(f"{asked.rows:,} region rows, {asked.per_window} a window, {size >> 20} MiB")
    for name, figures in found.items():
        print(f"{name:<16} {figures['cpu_s']:5.2f} s of CPU {figures['mib']:5.0f} MiB")
    print(f"page of {500_000 // part:,} region rows: {drawn}")
    print(
        json.dumps(
            {
                "page": drawn,
                "rows": asked.rows,
                "per_window": asked.per_window,
                "bytes": size,
                **found,
            }
        )
    )


if __name__ == "__main__":
    main()
