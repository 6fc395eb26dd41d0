"""
Services of several processes or of a virtual machine, started for benchmarks/truth.py alone.

Each runs in a folder of its own, on a free port of the loopback or a socket, under a load of its
own; only processes that were started here are ended.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from programs import ended

QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
POSTGRES_USER = "postgres"

JAVA = """
import java.io.RandomAccessFile;
import java.nio.*;
import java.nio.channels.FileChannel;
import java.util.*;

class Service {
    public static void main(String[] args) throws Exception {
        int records = Integer.parseInt(args[0]), hot = Integer.parseInt(args[1]);
        LongBuffer counter = new RandomAccessFile(args[2], "rw").getChannel()
            .map(FileChannel.MapMode.READ_WRITE, 0, 4096)
            .order(ByteOrder.nativeOrder()).asLongBuffer();
        Map<Integer, byte[]> table = new HashMap<>();
        for (int i = 0; i < records; i++) table.put(i, new byte[1000]);
        Random random = new Random(1);
        System.out.println("ready");
        long sum = 0, done = 0;
        for (;;) {
            for (int k = 0; k < 1000; k++) {
                byte[] found = table.get(records / 3 + random.nextInt(hot));
                sum += found[random.nextInt(1000)] + new byte[64].length;
            }
            done += 1000;
            counter.put(0, done);
            if (done % 10000 == 0) Thread.sleep(1);
        }
    }
}
"""

NUMPY = """
import mmap, os, sys, time
import numpy as np
counter = memoryview(mmap.mmap(int(sys.argv[1]), 4096)).cast("Q")
nbytes, hot = int(sys.argv[2]), int(sys.argv[3])
data = np.ones(nbytes // 8)
part = data[len(data) // 2 : len(data) // 2 + hot // 8]
print("ready", os.getpid(), flush=True)
while True:
    part.sum()
    counter[0] += 1
    time.sleep(0.02)
"""

GUNICORN = """
import random
DATA = [{"id": i, "text": random.randbytes(700)} for i in range(100_000)]
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [DATA[40_000 + int(random.random() * 5_000)]["text"][:10].hex().encode()]
"""

NGINX = """
daemon off; worker_processes 4; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} reuseport; root {folder}/files; }}
}}
"""


def free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


class Client:
    """Asks a server over connections of HTTP, about `per_s` times a second; counts the answers."""

    def __init__(self, port: int, paths: list[str], per_s: int = 400) -> None:
        self.answers, self._end = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port, paths, per_s), daemon=True)
        self._thread.start()

    def _run(self, port: int, paths: list[str], per_s: int) -> None:
        number = 0
        while not self._end.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as link:
                path = paths[number * 7919 % len(paths)]
                request = f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
                link.sendall(request.encode())
                while link.recv(1 << 16):
                    pass
                self.answers += 1
            number += 1
            self._end.wait(1 / per_s)

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


def listening(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"{process.args} did not start")


@contextmanager
def orderly(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """End a server that has children by asking it first."""
    try:
        with ended(process):
            yield process
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def nginx(nr_files: int, nbytes: int) -> Iterator[tuple[int, Client]]:
    """nginx with four workers, which serves files; the master's number, and who asks."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder).chmod(0o755)
        (Path(folder) / "files").mkdir()
        for i in range(nr_files):
            (Path(folder) / "files" / f"f{i}").write_bytes(os.urandom(nbytes))
        port = free_port()
        configuration = Path(folder) / "conf"
        configuration.write_text(NGINX.format(folder=folder, port=port), "ascii")
        command = ["nginx", "-c", str(configuration), "-p", folder]
        process = subprocess.Popen(command, start_new_session=True, **QUIET)
        stack.enter_context(orderly(process))
        listening(port, process)
        client = Client(port, [f"/f{i}" for i in range(nr_files)])
        stack.callback(client.stop)
        yield process.pid, client


@contextmanager
def gunicorn() -> Iterator[tuple[int, Client]]:
    """A Python application loaded before four workers are forked; they use 5 % of its data."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(folder) / "application.py").write_text(GUNICORN, "ascii")
        port = free_port()
        command = ["uv", "run", "-q", "--no-project", "--with", "gunicorn", "gunicorn", "-w", "4"]
        command += ["--preload", "-b", f"127.0.0.1:{port}", "--chdir", folder, "application:app"]
        process = subprocess.Popen(command, start_new_session=True, **QUIET)
        stack.enter_context(orderly(process))
        listening(port, process)
        client = Client(port, ["/"])
        stack.callback(client.stop)
        yield process.pid, client


@contextmanager
def java(records: int, hot: int) -> Iterator[tuple[int, Path]]:
    """A service on the JVM; its number, and the file where it counts."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        source, counter = Path(folder) / "Service.java", Path(folder) / "counter"
        source.write_text(JAVA, "ascii")
        counter.write_bytes(bytes(4096))
        command = ["java", "-Xmx1g", str(source), str(records), str(hot), str(counter)]
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )
        stack.enter_context(ended(process))
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("java did not start")
        yield process.pid, counter


def postgres_folder() -> Path | None:
    """Where the server's programs are."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in folders if (one / "initdb").exists()), None)


class Postgres:
    """A PostgreSQL of its own, with `pgbench -S` that can be stopped and started again."""

    SEGMENT = "/dev/zero"

    def __init__(self, folder: Path, programs: Path, clients: int, rate: int) -> None:
        self.folder, self.programs, self.clients, self.rate = folder, programs, clients, rate
        self.load: subprocess.Popen[Any] | None = None
        self.pid = 0

    def run(self, program: str, *options: str, **more: Any) -> str:
        command = [str(self.programs / program), *options]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True,
            user=POSTGRES_USER, cwd=self.folder, **more,
        )  # fmt: skip
        return done.stdout

    def start(self, shared_buffers: str, scale: int) -> None:
        data = self.folder / "data"
        self.run("initdb", "-D", str(data), "--no-sync", "-A", "trust")
        settings = f"-k {self.folder} -h '' -c shared_buffers={shared_buffers} -c fsync=off"
        command = [str(self.programs / "pg_ctl"), "-D", str(data), "-w", "-o", settings]
        command += ["-l", str(self.folder / "log"), "start"]
        subprocess.run(command, check=True, user=POSTGRES_USER, cwd=self.folder, **QUIET)
        self.pid = int((data / "postmaster.pid").read_text("ascii").split()[0])
        self.run("pgbench", "-h", str(self.folder), "-i", "-q", "-s", str(scale), "postgres")

    def go(self) -> None:
        command = [str(self.programs / "pgbench"), "-h", str(self.folder), "-S", "-n"]
        command += ["-c", str(self.clients), "-T", "100000", "postgres"]
        command += ["-R", str(self.rate)] if self.rate else []
        self.load = subprocess.Popen(command, user=POSTGRES_USER, cwd=self.folder, **QUIET)

    def pause(self) -> None:
        """No new statements, at once; the backends stay."""
        if self.load is not None:
            self.load.send_signal(signal.SIGSTOP)

    def rest(self) -> None:
        """End the load, and wait until its backends are gone."""
        if self.load is None:
            return
        self.load.kill()
        self.load.wait()
        self.load = None
        for _ in range(200):
            if not self._backends():
                return
            time.sleep(0.01)

    def _backends(self) -> list[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        found = []
        for pid in text.split():
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"[local]" in line:
                    found.append(int(pid))
        return found

    def done(self) -> int:
        """Transactions so far."""
        query = "select sum(xact_commit) from pg_stat_database"
        text = self.run("psql", "-h", str(self.folder), "-At", "-c", query, "postgres")
        return int(text)

    def stop(self) -> None:
        self.rest()
        data = str(self.folder / "data")
        with suppress(subprocess.CalledProcessError):
            self.run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@contextmanager
def postgres(
    shared_buffers: str, scale: int, clients: int = 4, *, rate: int = 0
) -> Iterator[Postgres]:
    """
    PostgreSQL under `pgbench -S`; its servers refuse to run as root, so as another user.

    rate: transactions a second, 0 for as many as there can be.
    """
    programs = postgres_folder()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="isotherm-pg-") as name:
        shutil.chown(name, POSTGRES_USER)
        one = Postgres(Path(name), programs, clients, rate)
        try:
            one.start(shared_buffers, scale)
            one.go()
            yield one
        finally:
            if (Path(name) / "data" / "postmaster.pid").exists():
                one.stop()


@contextmanager
def numpy(nbytes: int, hot: int) -> Iterator[tuple[int, memoryview]]:
    """NumPy on a large array, in huge pages where there are; its number, and its counter."""
    fd = os.memfd_create("counter")
    os.ftruncate(fd, 4096)
    counter = memoryview(mmap.mmap(fd, 4096)).cast("Q")
    command = ["uv", "run", "-q", "--no-project", "--with", "numpy", "python", "-c", NUMPY]
    with subprocess.Popen(
        [*command, str(fd), str(nbytes), str(hot)],
        stdout=subprocess.PIPE,
        pass_fds=(fd,),
        start_new_session=True,
    ) as process:
        os.close(fd)
        with orderly(process):
            assert process.stdout is not None
            said = process.stdout.readline().split()
            if said[:1] != [b"ready"]:
                raise SystemExit("numpy did not start")
            yield int(said[1]), counter
