"""
Asks a server of benchmarks/eval.py, as fast as it answers or 500 times a second: a child of it.

Arguments: descriptor of a shared block, `memcached` or `http`, where it listens, the first key
that is asked for, and how many. The block's words: what to do, how many answers there were, how
many times are in the ring, and a ring of how long each took while paced, in ns from when it was
due (or sent, if nothing was late).
"""

from __future__ import annotations

import mmap
import random
import socket
import sys
import time
from collections.abc import Callable

BLOCK_BYTES = 1 << 20
DOING, ANSWERS, TIMED, RING = 0, 1, 2, 8
RING_SIZE = BLOCK_BYTES // 8 - RING
REST, FULL, PACED = 0, 1, 2
PER_S = 500
VALUE_BYTES = 512
#: Keys that are asked for at once, when as fast as can be.
BATCH = 16


class Memcached:
    """One connection over a socket file; values are of one size, so are answers."""

    answer = len("VALUE 000000000000 0 512\r\n") + VALUE_BYTES + len("\r\nEND\r\n")

    def __init__(self, address: str) -> None:
        self.link = socket.socket(socket.AF_UNIX)
        self.link.settimeout(30)
        self.link.connect(address)

    def ask(self, keys: list[int]) -> None:
        self.link.sendall(b"".join(b"get %012d\r\n" % key for key in keys))
        need = self.answer * len(keys)
        while need > 0:
            got = self.link.recv(1 << 16)
            if not got or got.startswith(b"END"):
                raise SystemExit("memcached lost a key")
            need -= len(got)


class Http:
    """A connection that is kept for as long as the server keeps it."""

    def __init__(self, address: str) -> None:
        self.address = ("127.0.0.1", int(address))
        self.link: socket.socket | None = None

    def ask(self, keys: list[int]) -> None:
        for key in keys:
            self._one(key)

    def _one(self, key: int) -> None:
        if self.link is None:
            self.link = socket.create_connection(self.address, 30)
            self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.sendall(b"GET /?%d HTTP/1.1\r\nHost: here\r\n\r\n" % key)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._more()
        head, body = got.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if not head.startswith(b"HTTP/1.1 200") or b"content-length" not in fields:
            raise SystemExit(f"no answer: {head!r}")
        need = int(fields[b"content-length"]) - len(body)
        while need > 0:
            need -= len(self._more())
        if fields.get(b"connection") == b"close":
            self.link.close()
            self.link = None

    def _more(self) -> bytes:
        assert self.link is not None
        got = self.link.recv(1 << 16)
        if not got:
            raise SystemExit("the server hung up")
        return got


def serve(block: memoryview, ask: Callable[[list[int]], None], low: int, hot: int) -> None:
    """Do what the first word says, for ever."""
    due = 0.0
    while True:
        doing = block[DOING]
        count = BATCH if doing == FULL else 1
        keys = [low + int(random.random() * hot) for _ in range(count)]
        if doing == REST:
            time.sleep(0.005)
            continue
        if doing == FULL:
            ask(keys)
            block[ANSWERS] += count
            due = 0.0
            continue
        now = time.perf_counter()
        due = due + 1 / PER_S if due else now
        if now < due:
            time.sleep(due - now)
            due = now = time.perf_counter()
        ask(keys)
        block[RING + block[TIMED] % RING_SIZE] = int(1e9 * (time.perf_counter() - due))
        block[TIMED] += 1
        block[ANSWERS] += 1


if __name__ == "__main__":
    fd, kind, address, low, hot = sys.argv[1:]
    shared = memoryview(mmap.mmap(int(fd), BLOCK_BYTES)).cast("Q")
    client = {"memcached": Memcached, "http": Http}[kind](address)
    client.ask([int(low)])
    print("ready", flush=True)
    serve(shared, client.ask, int(low), int(hot))
