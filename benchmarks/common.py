"""What every benchmark needs: options, a table, a JSON file, a monitor for a while, CPU time."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isotherm.model.snapshot import Snapshot
from isotherm.session.session import MonitorSession
from isotherm.session.start import monitor

MIB = 1 << 20
GIB = 1 << 30
HOUR_US = 3_600_000_000
OUT = Path(__file__).parent / "out"


def arguments(doc: str, add: Callable[[argparse.ArgumentParser], None] | None = None) -> Any:
    """The options that all benchmarks share, and what `add` adds."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small part, in under a minute")
    parser.add_argument("--backend", default="auto", help="as `isotherm doctor` lists them")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the JSON files")
    if add is not None:
        add(parser)
    return parser.parse_args()


def table(rows: Sequence[dict[str, Any]], *, title: str = "") -> None:
    """Print rows as columns; the keys of the first are the headings."""
    if title:
        print(f"\n{title}")
    if not rows:
        print("  (nothing measured)")
        return
    names = list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, *cells]:
        print(
            "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        )
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else _whole(value)


def _whole(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def write(name: str, args: Any, results: dict[str, Any]) -> Path:
    """Write everything that was measured, and on what, as OUT/NAME.json."""
    about = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": os.getloadavg(),
        "arguments": {key: str(value) for key, value in vars(args).items()},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    path: Path = args.out / f"{name}.json"
    path.write_text(json.dumps({"about": about, **results}, indent=1) + "\n", "utf-8")
    print(f"\nwritten: {path}")
    return path


def progress(text: str) -> None:
    """Say on stderr what runs now."""
    print(f"... {text}", file=sys.stderr, flush=True)


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def own_cpu_ns() -> int:
    """CPU time of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return round((usage.ru_utime + usage.ru_stime) * 1e9)


def cpu_ns_of(pid: int) -> int:
    """CPU time of another process, its threads included."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks)


def fits(nbytes: int) -> bool:
    """Whether this much memory may be used: it is available with a quarter to spare."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return nbytes * 5 // 4 < int(line.split()[1]) * 1024
    return True


@contextmanager
def watching(pid: int, **options: Any) -> Iterator[tuple[MonitorSession, Iterator[Snapshot]]]:
    """A monitoring session on one process, and its one stream of snapshots."""
    with monitor(pid=pid, **options) as session:
        yield session, iter(session.snapshots())


@dataclass(frozen=True, slots=True)
class Spent:
    """What a stretch of monitoring cost: sums of `Snapshot.cost`, and the whole process' CPU."""

    wall_ns: int
    cpu_ns: int
    process_cpu_ns: int
    ticks: int
    checks: int
    missed: int
    cleared: int
    late_ns: int

    @property
    def share(self) -> float:
        """Share of one CPU, by the CPU time of the whole process."""
        return self.process_cpu_ns / max(1, self.wall_ns)


def take(stream: Iterator[Snapshot], seconds: float) -> list[Snapshot]:
    """The snapshots of the next `seconds`, at least one; fewer if the stream ends."""
    taken, begin = [], time.monotonic()
    for snapshot in stream:
        taken.append(snapshot)
        if time.monotonic() - begin >= seconds:
            break
    return taken


def measure(stream: Iterator[Snapshot], seconds: float) -> tuple[list[Snapshot], Spent]:
    """As `take`, and what it cost."""
    begin_ns, cpu = time.monotonic_ns(), own_cpu_ns()
    taken = take(stream, seconds)
    wall, spent = time.monotonic_ns() - begin_ns, own_cpu_ns() - cpu
    costs = [snapshot.cost for snapshot in taken]
    return taken, Spent(
        wall_ns=wall,
        cpu_ns=sum(cost.cpu_ns for cost in costs),
        process_cpu_ns=spent,
        ticks=sum(cost.ticks for cost in costs),
        checks=sum(cost.checks or 0 for cost in costs),
        missed=sum(cost.missed for cost in costs),
        cleared=sum(cost.cleared or 0 for cost in costs),
        late_ns=sum(cost.late_ns or 0 for cost in costs),
    )
