"""The workloads of benchmarks/eval.py by name: what each needs, its sizes, how it is started."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import eval_servers as servers
import truth_services as services
from scheme_programs import PYTHON, SQLITE, Program, child, redis
from scheme_setup import missing

HERE = Path(__file__).parent

LMDB = """
import lmdb
records, hot = numbers
base = lmdb.open("store", map_size=1 << 33, sync=False)
for first in range(0, records, 10_000):
    with base.begin(write=True) as put:
        for i in range(first, min(records, first + 10_000)):
            put.put(b"%012d" % i, random.randbytes(450) + bytes(450), append=True)
base.sync(True)
with base.begin() as look:
    sum(value[0] for _, value in look.cursor())
low = records // 3
def work():
    with base.begin(buffers=True) as look:
        for _ in range(50):
            look.get(b"%012d" % (low + int(random.random() * hot)))[100]
serve(work)
"""

#: Most questions are about the last tenth of a table, sorted by time.
DUCKDB = """
import duckdb
rows, hot = numbers
base = duckdb.connect(config={"threads": 1})
base.execute("create table sales as select range as day, (hash(range) % 1000)::int as shop, "
             "(hash(range + 7) % 100000)::double as price, hash(range + 13) as buyer "
             f"from range({rows})")
def work():
    first = rows - hot + int(random.random() * hot / 2)
    base.execute("select shop, sum(price), max(buyer) from sales where day between ? and ? "
                 "group by shop order by 2 desc limit 10", (first, first + hot // 20)).fetchall()
serve(work)
"""

#: The table that the features came from stays in memory, as it does in a notebook.
LIGHTGBM = """
import numpy, lightgbm
rows, columns = numbers
draw = numpy.random.default_rng(1)
table = draw.random((rows, columns))
goal = table[:, 0] * table[:, 1] + table[:, 2] > 0.7
how = {"objective": "binary", "num_threads": 1, "verbose": -1, "num_leaves": 31}
data = lightgbm.Dataset(table, goal, params=how).construct()
model, trees = lightgbm.Booster(how, data), 0
def work():
    global model, trees
    if trees == 100:
        model, trees = lightgbm.Booster(how, data), 0
    model.update()
    trees += 1
serve(work)
"""

IGRAPH = """
import igraph
nodes, degree = numbers
random.seed(1)
graph = igraph.Graph.Barabasi(nodes, degree)
graph.vs["name"] = [f"node {i}" for i in range(nodes)]
def work():
    start = random.randrange(nodes)
    graph.random_walk(start, 2000)
    graph.neighborhood_size(start, order=2)
serve(work)
"""

#: A C file of this repository, over and over, as a build does with many.
COMPILE = """
import subprocess
def work():
    subprocess.run(["gcc", "-O2", "-c", "truth_workload.c", "-o", "/dev/null"], check=True)
serve(work)
"""

#: Text of words between noise of sixteen letters, through one compressor with a long window.
ZSTD = """
import subprocess
nbytes, level = numbers
random.seed(1)
words = [bytes(random.choices(b"etaoinshrdlu", k=random.randrange(2, 10))) for _ in range(5000)]
line = b" ".join(random.choices(words, k=100_000))
noise = random.randbytes(nbytes // 2).translate(b"abcdefghijklmnop" * 16)
half = 2048
text = b"".join(
    part
    for at in range(0, nbytes // 2, half)
    for first in [random.randrange(len(line) - half)]
    for part in (line[first : first + half], noise[at : at + half])
)
del noise
packer = subprocess.Popen(["zstd", f"-{level}", "-T1", "--long=27", "-c"],
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
at, part = 0, 1 << 16
def work():
    global at
    packer.stdin.write(text[at : at + part])
    at = (at + part) % (len(text) - part - 977)
for _ in range(200):
    work()
serve(work)
"""

#: Starts a small or a large one in a group.
Start = Callable[[bool, Path | None], AbstractContextManager[Program]]


@dataclass(frozen=True)
class Workload:
    """
    about: what it is, in words; programs, packages: what has to be installed; version: asks what
    runs; server: its p99 counts.
    """

    about: str
    start: Start
    programs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    server: bool = False

    def why_not(self) -> str:
        """Say why it cannot be had here; "" if it can."""
        absent = missing(*self.programs)
        absent += [name for name in self.packages if importlib.util.find_spec(name) is None]
        if "initdb" in absent and services.postgres_folder() is not None:
            absent.remove("initdb")
        return f"{', '.join(absent)} not installed" if absent else ""

    def said_version(self) -> str:
        """What runs, as it says itself."""
        found = [f"{name} {importlib.metadata.version(name)}" for name in self.packages]
        said = [servers.version_of(*self.version)] if self.version else []
        return "; ".join([*said, *found])


def _child(
    name: str, code: str, full: tuple[int, ...], small: tuple[int, ...], own_cpu: bool = True
) -> Start:
    files = (HERE / "truth_workload.c",) if name == "compile" else ()

    def start(quick: bool, group: Path | None) -> AbstractContextManager[Program]:
        numbers = small if quick else full
        return child(name, code, *numbers, group=group, own_cpu=own_cpu, files=files)

    return start


WORKLOADS = {
    "redis": Workload(
        "Redis, 5 % of 1,200,000 keys read",
        lambda quick, group: redis(
            *((100_000, 5_000) if quick else (1_200_000, 60_000)),
            paced_s=0.5 if quick else 4,
            group=group,
        ),
        programs=("redis-server", "redis-benchmark"),
        version=("redis-server", "--version"),
        server=True,
    ),
    "memcached": Workload(
        "memcached, 5 % of 1,000,000 values read",
        lambda quick, group: servers.memcached(100_000 if quick else 1_000_000, group),
        programs=("memcached",),
        version=("memcached", "--version"),
        server=True,
    ),
    "postgres": Workload(
        "PostgreSQL, pgbench reads 3 million rows with a Zipf law",
        lambda quick, group: servers.postgres(*(("64MB", 2) if quick else ("640MB", 30)), group),
        programs=("psql", "initdb"),
        version=("psql", "--version"),
        server=True,
    ),
    "sqlite": Workload(
        "SQLite in memory, 5 % of 600,000 rows read",
        _child("sqlite", SQLITE, (600_000, 30_000), (60_000, 3_000)),
        version=(sys.executable, "-c", "import sqlite3; print('SQLite', sqlite3.sqlite_version)"),
    ),
    "lmdb": Workload(
        "LMDB mapped from a file, 5 % of 600,000 records read",
        _child("lmdb", LMDB, (600_000, 30_000), (60_000, 3_000)),
        packages=("lmdb",),
    ),
    "java": Workload(
        "HTTP service on the JVM, 5 % of 600,000 entries read",
        lambda quick, group: servers.java(
            *((60_000, "512m") if quick else (600_000, "2g")), group
        ),
        programs=("java",),
        version=("java", "-version"),
        server=True,
    ),
    "node": Workload(
        "HTTP service of Node.js, 5 % of 500,000 objects read",
        lambda quick, group: servers.node(50_000 if quick else 500_000, group),
        programs=("node",),
        version=("node", "--version"),
        server=True,
    ),
    "gunicorn": Workload(
        "gunicorn, an application preloaded and forked four times, 5 % of 600,000 records read",
        lambda quick, group: servers.gunicorn(60_000 if quick else 600_000, group),
        packages=("gunicorn",),
        server=True,
    ),
    "duckdb": Workload(
        "DuckDB in memory, questions about the last tenth of 20 million rows",
        _child("duckdb", DUCKDB, (20_000_000, 2_000_000), (2_000_000, 200_000)),
        packages=("duckdb",),
    ),
    "lightgbm": Workload(
        "LightGBM trains on 600,000 rows of 40 columns, whose table stays in memory",
        _child("lightgbm", LIGHTGBM, (600_000, 40), (60_000, 20)),
        packages=("lightgbm",),
    ),
    "igraph": Workload(
        "igraph walks at random through 5 million edges",
        _child("igraph", IGRAPH, (1_000_000, 5), (100_000, 5)),
        packages=("igraph",),
    ),
    "compile": Workload(
        "gcc -O2 compiles a file of C over and over",
        _child("compile", COMPILE, (0,), (0,)),
        programs=("gcc",),
        version=("gcc", "--version"),
    ),
    "zstd": Workload(
        "zstd -9 --long=27 compresses text without end",
        _child("zstd", ZSTD, (160 << 20, 9), (24 << 20, 3), own_cpu=False),
        programs=("zstd",),
        version=("zstd", "--version"),
    ),
    "python": Workload(
        "Python that reads 5 % of 500,000 dictionaries that it made",
        _child("python", PYTHON, (500_000, 25_000), (60_000, 3_000)),
        version=(sys.executable, "--version"),
    ),
}
