"""
A small server in one thread: each connection asks once, is answered, and is closed.

Who asks is not trusted: a request has a limit of bytes and of time, and there is one of
connections. When there are too many the oldest goes, so that nobody is locked out by who waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

#: Connections at a time; bytes of a request; seconds for a whole connection.
MOST_CONNECTIONS = 32
MOST_BYTES = 8192
PATIENCE_S = 5.0
#: When no descriptor is left nobody is let in for so long.
_DEAF_S = 1.0
_READ = 4096
#: What is said after the answer is read and dropped up to here: who closes on bytes unread resets
#: the connection, and the answer may be lost.
_MOST_DROPPED = 1 << 16


class Talk(Protocol):
    """What is said on the connections of one listening socket."""

    def greet(self, connection: socket.socket) -> bytes | None:
        """Return an answer for who may not even ask, None for who may."""

    def answer(self, heard: bytes, connection: socket.socket) -> bytes | None:
        """Return the answer to what was heard so far, None while it is not all of a request."""

    def too_long(self) -> bytes:
        """Return the answer to a request that is longer than `MOST_BYTES`."""


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    talk: Talk
    deadline: float
    heard: bytearray = field(default_factory=bytearray)
    left: memoryview | None = None
    answered: bool = False
    dropped: int = 0


class Server:
    """
    Serves listening sockets, and calls back for other descriptors; `step` again and again.

    now: seconds of a clock that only goes on.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._selector = selectors.DefaultSelector()
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._listening: list[tuple[socket.socket, Talk]] = []
        self._deaf_until: float | None = None
        self._watched: set[int] = set()

    def listen(self, listening: socket.socket, talk: Talk) -> None:
        """Let others in; the socket is closed with this."""
        listening.setblocking(False)
        self._listening.append((listening, talk))
        self._selector.register(listening, selectors.EVENT_READ, (listening, talk))

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call back when there is something to read."""
        self._selector.register(descriptor, selectors.EVENT_READ, call)
        self._watched.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """Call back no more; of no effect for what is not watched."""
        if descriptor in self._watched:
            self._watched.remove(descriptor)
            self._selector.unregister(descriptor)

    def step(self, seconds: float) -> None:
        """Do what is to be done within so many seconds, or until something was done."""
        for key, _ in self._selector.select(self._until(seconds)):
            if isinstance(key.data, _Connection):
                self._serve(key.data)
            elif isinstance(key.data, tuple):
                self._accept(*key.data)
            else:
                key.data()
        self._expire()

    def close(self) -> None:
        """Close everything."""
        for connection in list(self._connections):
            self._drop(connection)
        for listening, _ in self._listening:
            listening.close()
        self._listening = []
        self._selector.close()

    def _until(self, seconds: float) -> float:
        times = [one.deadline for one in self._connections]
        if self._deaf_until is not None:
            times.append(self._deaf_until)
        return max(0.0, min([seconds, *(at - self._now() for at in times)]))

    def _accept(self, listening: socket.socket, talk: Talk) -> None:
        try:
            made, _ = listening.accept()
        except OSError as err:
            if err.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._be_deaf()
            return
        made.setblocking(False)
        while len(self._connections) >= MOST_CONNECTIONS:
            self._drop(next(iter(self._connections)))
        connection = _Connection(made, talk, self._now() + PATIENCE_S)
        self._connections[connection] = None
        self._selector.register(made, selectors.EVENT_READ, connection)
        refused = talk.greet(made)
        if refused is not None:
            self._reply(connection, refused)

    def _be_deaf(self) -> None:
        if self._deaf_until is None:
            for listening, _ in self._listening:
                self._selector.unregister(listening)
            self._deaf_until = self._now() + _DEAF_S

    def _serve(self, connection: _Connection) -> None:
        try:
            if connection.left is not None:
                self._send(connection)
            elif connection.answered:
                self._drain(connection)
            else:
                self._hear(connection)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)

    def _hear(self, connection: _Connection) -> None:
        data = connection.socket.recv(_READ)
        if not data:
            self._drop(connection)
            return
        connection.heard += data
        answer = connection.talk.answer(bytes(connection.heard[:MOST_BYTES]), connection.socket)
        if answer is None and len(connection.heard) >= MOST_BYTES:
            answer = connection.talk.too_long()
        if answer is not None:
            self._reply(connection, answer)

    def _reply(self, connection: _Connection, answer: bytes) -> None:
        connection.heard.clear()
        connection.left, connection.answered = memoryview(answer), True
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _send(self, connection: _Connection) -> None:
        assert connection.left is not None  # noqa: S101 - the caller's check
        connection.left = connection.left[connection.socket.send(connection.left) :]
        if not connection.left:
            connection.left = None
            connection.socket.shutdown(socket.SHUT_WR)
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _drain(self, connection: _Connection) -> None:
        """Wait until the other side has closed too, or has said more than anybody needs to."""
        data = connection.socket.recv(_READ)
        connection.dropped += len(data)
        if not data or connection.dropped > _MOST_DROPPED:
            self._drop(connection)

    def _expire(self) -> None:
        now = self._now()
        for connection in [one for one in self._connections if one.deadline <= now]:
            self._drop(connection)
        if self._deaf_until is not None and self._deaf_until <= now:
            self._deaf_until = None
            for listening, talk in self._listening:
                self._selector.register(listening, selectors.EVENT_READ, (listening, talk))

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection, 0) is None:
            self._selector.unregister(connection.socket)
            connection.socket.close()


def unix_socket(path: str, group: int | None) -> socket.socket:
    """
    Return a socket that listens at a path: for us, and the members of `group` if there is one.

    What an agent that was killed left there is replaced; raises `OSError`, for anything else that
    is there as well.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            _check_left(path)
            os.unlink(path)  # noqa: PTH108
        before = os.umask(0o177)
        try:
            made.bind(path)
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group)
            os.chmod(path, 0o660)  # noqa: PTH101
        made.listen(MOST_CONNECTIONS)
    except BaseException:
        made.close()
        raise
    return made


def _check_left(path: str) -> None:
    """Raise `OSError` unless this is a socket that nobody listens at."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EEXIST, "a file of somebody else is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1)
        with contextlib.suppress(ConnectionRefusedError):
            probe.connect(path)
            raise OSError(errno.EADDRINUSE, "somebody listens there already")


def tcp_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address of this machine; raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(MOST_CONNECTIONS)
    except BaseException:
        made.close()
        raise
    return made
