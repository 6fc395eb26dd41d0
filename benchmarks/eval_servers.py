"""
Servers that benchmarks/eval.py measures, each under a load of its own.

Half of a measurement is as fast as the client and the server can, for throughput; the other half
is paced, for latency. Only a part of what each holds is asked for, as of most services.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eval_client as wire
import truth_services as services
from common import MIB
from scheme_programs import Speed, ended_all, p99, rate_of
from scheme_setup import join, tree_cpu_ns

HERE = Path(__file__).parent

#: A record each key; an answer is made of twenty. Half of each payload compresses.
NODE = """
const http = require("http"), crypto = require("crypto");
const [records, port] = process.argv.slice(1).map(Number), table = new Map();
for (let i = 0; i < records; i++)
  table.set(i, {id: i, name: `record ${i}`, tags: [i % 7, i % 11],
                payload: crypto.randomBytes(150).toString("hex") + "x".repeat(300)});
http.createServer((request, response) => {
  const first = Number(request.url.slice(2)), found = [];
  for (let i = 0; i < 20; i++) {
    const one = table.get(first + i);
    found.push({id: one.id, name: one.name, tags: one.tags, start: one.payload.slice(0, 20)});
  }
  const text = JSON.stringify(found);
  response.writeHead(200, {"Content-Length": Buffer.byteLength(text)});
  response.end(text);
}).listen(port, "127.0.0.1");
"""

JAVA = """
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.*;

class Service {
    record Entry(int id, String name, byte[] payload) {}
    public static void main(String[] args) throws Exception {
        int records = Integer.parseInt(args[0]), port = Integer.parseInt(args[1]);
        Map<Integer, Entry> table = new HashMap<>();
        Random random = new Random(1);
        for (int i = 0; i < records; i++) {
            byte[] payload = new byte[600];
            for (int k = 0; k < 300; k++) payload[k] = (byte) random.nextInt();
            table.put(i, new Entry(i, "record " + i, payload));
        }
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/", exchange -> {
            int first = Integer.parseInt(exchange.getRequestURI().getQuery());
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < 20; i++) {
                Entry one = table.get(first + i);
                text.append(one.id()).append(one.name()).append(one.payload()[7]).append("; ");
            }
            byte[] body = text.toString().getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
"""

GUNICORN = """
import os, random
DATA = [{"id": i, "name": f"record {i}", "text": random.randbytes(300) + bytes(300)}
        for i in range(int(os.environ["RECORDS"]))]
def app(environ, start_response):
    first = int(environ["QUERY_STRING"])
    body = b"".join(one["text"][:10].hex().encode() for one in DATA[first:first + 20])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

#: Users that came last are looked up most.
PGBENCH = r"""
\set aid random_zipfian(1, 100000 * :scale, 1.2)
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
"""

#: By its index, since a scan of the whole would keep to a ring of few buffers.
READ = """
set enable_seqscan = off;
set enable_bitmapscan = off;
select count(filler) from pgbench_accounts where aid > 0;
select 'read';
"""


@dataclass
class Server:
    """A server, and its client in a process of its own."""

    name: str
    pid: int
    block: memoryview
    witness: Any = None

    def done(self) -> int:
        """By the server's own account, where it keeps one."""
        return int(self.witness() if self.witness else self.block[wire.ANSWERS])

    def measure(self, seconds: float) -> Speed:
        speed = rate_of(self, seconds / 2)
        before = self.block[wire.TIMED]
        self.block[wire.DOING] = wire.PACED
        time.sleep(seconds / 2)
        self.block[wire.DOING] = wire.FULL
        times = range(before, self.block[wire.TIMED])
        taken = [self.block[wire.RING + at % wire.RING_SIZE] / 1e6 for at in times]
        return Speed(speed.rate, speed.per_cpu_s, p99(taken), speed.work)


def _asked(
    stack: ExitStack, name: str, pid: int, kind: str, address: str, low: int, hot: int
) -> Server:
    """Begin to ask a server that listens."""
    fd = os.memfd_create("client")
    os.ftruncate(fd, wire.BLOCK_BYTES)
    block = memoryview(mmap.mmap(fd, wire.BLOCK_BYTES)).cast("Q")
    block[wire.DOING] = wire.FULL
    command = [sys.executable, str(HERE / "eval_client.py"), str(fd), kind, address]
    client = stack.enter_context(
        subprocess.Popen(
            [*command, str(low), str(hot)],
            stdout=subprocess.PIPE,
            pass_fds=(fd,),
            start_new_session=True,
        )
    )
    os.close(fd)
    stack.enter_context(ended_all(client))
    assert client.stdout is not None
    if client.stdout.readline() != b"ready\n":
        raise SystemExit(f"{name} does not answer")
    return Server(name, pid, block)


def _started(
    stack: ExitStack, command: list[str], group: Path | None, **more: Any
) -> subprocess.Popen[Any]:
    process = subprocess.Popen(command, start_new_session=True, **services.QUIET, **more)
    stack.enter_context(ended_all(process))
    join(group, process.pid)
    return process


@contextmanager
def memcached(keys: int, group: Path | None) -> Iterator[Server]:
    """memcached, filled with values of 512 bytes; 5 % of them are read."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = f"{folder}/socket"
        user = ["-u", "root"] if os.geteuid() == 0 else []
        command = ["memcached", "-s", path, "-m", "4096", "-t", "2", *user]
        process = _started(stack, command, group)
        for _ in range(200):
            with suppress(OSError), socket.socket(socket.AF_UNIX) as link:
                link.connect(path)
                break
            time.sleep(0.05)
        _fill_memcached(path, keys)
        one = _asked(stack, "memcached", process.pid, "memcached", path, keys // 3, keys // 20)
        one.witness = lambda: _commands_of_memcached(path)
        yield one


def _fill_memcached(path: str, keys: int) -> None:
    order, pool = list(range(keys)), random.Random(2).randbytes(MIB)
    random.Random(1).shuffle(order)
    half = wire.VALUE_BYTES // 2
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        for first in range(0, keys, 1000):
            parts = []
            for key in order[first : first + 1000]:
                at = key * 8191 % (MIB - half)
                value = pool[at : at + half] + bytes(half)
                parts.append(b"set %012d 0 0 %d noreply\r\n%b\r\n" % (key, 2 * half, value))
            link.sendall(b"".join(parts))
        link.sendall(b"version\r\n")  # answered once all is stored
        link.recv(100)


def _commands_of_memcached(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            text += link.recv(1 << 16)
    return int(text.split(b"STAT get_hits ")[1].split()[0])


@contextmanager
def node(records: int, group: Path | None) -> Iterator[Server]:
    """A service of Node.js that answers in JSON from a table in its heap."""
    with ExitStack() as stack:
        port = services.free_port()
        options = ["--max-old-space-size=4096", "-e", NODE, str(records), str(port)]
        process = _started(stack, ["node", *options], group)
        services.listening(port, process)
        yield _asked(stack, "node", process.pid, "http", str(port), records // 3, records // 20)


@contextmanager
def java(records: int, heap: str, group: Path | None) -> Iterator[Server]:
    """A service on the JVM, with its collector by default."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        source, port = Path(folder) / "Service.java", services.free_port()
        source.write_text(JAVA, "ascii")
        options = [f"-Xmx{heap}", "-Dsun.net.httpserver.nodelay=true", str(source)]
        process = _started(stack, ["java", *options, str(records), str(port)], group)
        services.listening(port, process)
        yield _asked(stack, "java", process.pid, "http", str(port), records // 3, records // 20)


@contextmanager
def gunicorn(records: int, group: Path | None) -> Iterator[Server]:
    """A Python application that is loaded before four workers are forked."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(folder) / "application.py").write_text(GUNICORN, "ascii")
        port = services.free_port()
        command = [sys.executable, "-m", "gunicorn", "-w", "4", "--preload", "--chdir", folder]
        command += ["-b", f"127.0.0.1:{port}", "application:app"]
        environment = os.environ | {"RECORDS": str(records)}
        process = _started(stack, command, group, env=environment)
        services.listening(port, process)
        yield _asked(
            stack, "gunicorn", process.pid, "http", str(port), records // 3, records // 20
        )


class Pgbench:
    """PostgreSQL, asked by pgbench, whose own count and log are what is told."""

    name = "postgres"

    def __init__(self, server: services.Postgres) -> None:
        self.server, self.pid = server, server.pid
        self._load: subprocess.Popen[Any] | None = None
        (server.folder / "load.sql").write_text(PGBENCH, "ascii")

    def _command(self, seconds: int, *more: str) -> list[str]:
        folder = str(self.server.folder)
        command = [str(self.server.programs / "pgbench"), "-h", folder, "-n", "-c", "2"]
        return [*command, "-f", f"{folder}/load.sql", "-T", str(seconds), *more, "postgres"]

    def go(self) -> None:
        self._load = subprocess.Popen(
            self._command(100_000),
            user=services.POSTGRES_USER,
            cwd=self.server.folder,
            **services.QUIET,
        )

    def rest(self) -> None:
        if self._load is not None:
            self._load.kill()
            self._load.wait()
            self._load = None

    def done(self) -> int:
        return self.server.done()

    def _run(self, seconds: int, *more: str) -> str:
        return subprocess.run(
            self._command(seconds, *more),
            user=services.POSTGRES_USER,
            cwd=self.server.folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def measure(self, seconds: float) -> Speed:
        self.rest()
        half = max(1, int(seconds / 2))
        cpu = tree_cpu_ns(self.pid)
        said = self._run(half)
        cpu = tree_cpu_ns(self.pid) - cpu
        work = int(said.split("actually processed: ")[1].split()[0].split("/")[0])
        rate = float(said.split("tps = ")[1].split()[0])
        self._run(half, "-R", str(wire.PER_S), "-l")
        taken = []
        for log in self.server.folder.glob("pgbench_log.*"):
            taken += [int(line.split()[2]) / 1000 for line in log.read_text("ascii").splitlines()]
            log.unlink()
        self.go()
        return Speed(rate, work / max(1, cpu) * 1e9, p99(taken), work)


@contextmanager
def postgres(shared_buffers: str, scale: int, group: Path | None) -> Iterator[Pgbench]:
    """PostgreSQL with its table in shared buffers, which a session that waits has read."""
    with services.postgres(shared_buffers, scale) as server:
        server.rest()
        join(group, server.pid)
        one = Pgbench(server)
        with ExitStack() as stack:
            reader = subprocess.Popen(
                [str(server.programs / "psql"), "-h", str(server.folder), "-At", "postgres"],
                user=services.POSTGRES_USER,
                cwd=server.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
            stack.enter_context(ended_all(reader))
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(READ)
            reader.stdin.flush()
            while reader.stdout.readline().strip() != "read":
                if reader.poll() is not None:
                    raise SystemExit("postgres cannot read its table")
            stack.callback(one.rest)
            one.go()
            yield one


def version_of(*command: str) -> str:
    """The first line that a program says of its version; "" if it says none."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0].strip() if lines else ""
