"""The agent's server: what it answers, and what hostile or slow clients can do to it."""

import contextlib
import http.client
import json
import os
import random
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from isotherm.agent import server as server_module
from isotherm.agent.control import Questions, ask
from isotherm.agent.http import Scrapes
from isotherm.agent.server import MOST_BYTES, MOST_CONNECTIONS, Server, tcp_socket, unix_socket
from isotherm.errors import IsothermError, NotPermittedError, TargetGoneError
from support.waiting import wait_for

TEXT = b"a 1\n# EOF\n"
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def served(clock):
    """A server at a port of this machine, stepped by hand; and the port."""
    server = Server(clock)
    listening = tcp_socket("127.0.0.1", 0)
    server.listen(listening, Scrapes(lambda: TEXT))
    yield server, listening.getsockname()[1]
    server.close()


def connected(port):
    made = socket.create_connection(("127.0.0.1", port))
    made.settimeout(10)
    return made


def steps(server, times=8):
    for _ in range(times):
        server.step(0.002)


def said(server, port, request):
    """What is answered to bytes, by a client that then only reads."""
    with connected(port) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        steps(server)
        client.setblocking(False)
        heard = b""
        while True:
            try:
                data = client.recv(1 << 16)
            except BlockingIOError:
                return heard
            if not data:
                return heard
            heard += data


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET, 200),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics?x=1 HTTP/1.1\nHost: x\n\n", 200),
        (b"\r\nGET /metrics HTTP/1.1\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 505),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nno field\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\na: \x00\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MOST_BYTES, 431),
    ],
)
def test_what_is_answered(served, request_bytes, status):
    heard = said(*served, request_bytes)
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    if status == 200:
        assert b"Content-Type: application/openmetrics-text; version=1.0.0" in head
        assert body == (b"" if request_bytes.startswith(b"HEAD") else TEXT)
        assert b"Content-Length: %d" % len(TEXT) in head


def test_another_program_reads_the_answer(served):
    server, port = served
    stop = threading.Event()

    def run():
        while not stop.is_set():
            server.step(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(3):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("GET", "/metrics")
            assert client.getresponse().read() == TEXT
            client.close()
    finally:
        stop.set()
        thread.join()


def test_200_requests_that_are_none(served):
    random_bytes = random.Random(7)
    for _ in range(200):
        broken = bytearray(GET * random_bytes.randint(1, 3))
        for _ in range(random_bytes.randint(1, 8)):
            at = random_bytes.randrange(len(broken))
            broken[at : at + random_bytes.randint(0, 3)] = random_bytes.randbytes(
                random_bytes.randint(0, 9)
            )
        heard = said(*served, bytes(broken))
        assert heard == b"" or heard.startswith(b"HTTP/1.1 ")
    assert TEXT in said(*served, GET)


def test_who_says_nothing_is_not_waited_for(served, clock):
    server, port = served
    with connected(port) as client:
        client.sendall(b"GET /met")
        steps(server)
        clock.now = server_module.PATIENCE_S
        steps(server)
        assert client.recv(10) == b""


def test_who_does_not_read_is_not_waited_for(clock):
    server = Server(clock)
    listening = tcp_socket("127.0.0.1", 0)
    server.listen(listening, Scrapes(lambda: b"x" * (64 << 20)))
    with connected(listening.getsockname()[1]) as client:
        client.sendall(GET)
        steps(server)
        clock.now = server_module.PATIENCE_S
        steps(server)
        size = 0
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(1 << 20):
                size += len(data)
        assert 0 < size < 64 << 20
    server.close()


def test_who_waits_locks_nobody_out(served):
    server, port = served
    waiting = []
    for _ in range(3 * MOST_CONNECTIONS):
        waiting.append(connected(port))
        steps(server, 1)
    assert TEXT in said(server, port, GET)
    for client in waiting:
        client.close()


def test_without_descriptors_it_waits_and_goes_on(served, clock, monkeypatch):
    server, port = served
    accept = socket.socket.accept
    monkeypatch.setattr(
        socket.socket, "accept", lambda *_: (_ for _ in ()).throw(OSError(24, "none left"))
    )
    with connected(port) as client:
        steps(server)
        monkeypatch.setattr(socket.socket, "accept", accept)
        client.sendall(GET)
        steps(server)
        clock.now = 2.0
        steps(server)
        assert TEXT in client.recv(1 << 16)


def answered(tmp_path, group, question, *, user=None, document=None, changed=None):
    """What a process is told, of another user if need be; `changed` takes what it changes."""
    server = Server()
    path = str(tmp_path / "ctl.sock")
    changes = {"commit": lambda node: (changed or []).append(node.native())}
    questions = Questions({"status": lambda: {"a": 1}}, group, changes)
    server.listen(unix_socket(path, group), questions)
    done = threading.Event()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if user is not None:
                Path(path).chmod(0o666)
                os.setgroups(user[1:])
                os.setgid(65534)
                os.setuid(user[0])
            told = ask(tmp_path / "ctl.sock", question, document)
            os.write(writing, json.dumps(told).encode())
        except IsothermError as err:
            os.write(writing, json.dumps([type(err).__name__, err.message]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    server.watch(reading, done.set)
    while not done.is_set():
        server.step(1)
    server.close()
    os.waitpid(child, 0)
    told = json.loads(os.read(reading, 1 << 16))
    os.close(reading)
    return told


def test_a_question_is_answered(tmp_path):
    told = answered(tmp_path, None, "status")
    assert told == {"schema": "isotherm.agent/1", "status": {"a": 1}}


@pytest.mark.parametrize(
    "question",
    ["nothing", "x" * 100, "commit", "commit {", "commit " + "[" * 5000, "status {}",
     "x y" * 5000, 'commit {"a": 1, "a": 2}'],
)  # fmt: skip
def test_what_is_no_question(tmp_path, question):
    changed = []
    kind, message = answered(tmp_path, None, question, changed=changed)
    assert kind == "IsothermError"
    assert "refuses" in message
    assert not changed


def test_what_changes_something_comes_with_a_document(tmp_path):
    changed = [None]
    document = {"a": [1, "two"]}
    told = answered(tmp_path, None, "commit", document=document, changed=changed)
    assert told == {"schema": "isotherm.agent/1", "commit": None}
    assert changed == [None, document]


@pytest.mark.kernel
def test_others_may_not_ask_but_members_of_the_group():
    with tempfile.TemporaryDirectory() as folder:  # others get into no `tmp_path`
        path = Path(folder)
        path.chmod(0o755)
        assert answered(path, 4321, "status", user=(65534,))[0] == NotPermittedError.__name__
        assert "status" in answered(path, 4321, "status", user=(65534, 77, 4321))
        changed = [None]
        for user in ((65534,), (65534, 77, 4321)):
            told = answered(path, 4321, "commit", user=user, document={}, changed=changed)
            assert told[0] == NotPermittedError.__name__
        assert changed == [None]


@pytest.mark.kernel
def test_what_another_user_answers_is_not_believed():
    """Who copies what an agent names must not be led to a file of root's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ctl.sock"
        Path(folder).chmod(0o777)
        child = os.fork()
        if not child:
            os.setuid(65534)
            listening = unix_socket(str(path), None)
            connection, _ = listening.accept()
            connection.recv(100)
            os._exit(0)
        try:
            wait_for(lambda: b" 00010000 0001 01" in _listening(path))
            with pytest.raises(NotPermittedError, match="another user"):
                ask(path, "recording", trusted=True)
        finally:
            os.waitpid(child, 0)


def _listening(path):
    lines = Path("/proc/net/unix").read_bytes().splitlines()
    return b"".join(line for line in lines if line.endswith(str(path).encode()))


def test_where_no_agent_is(tmp_path):
    with pytest.raises(TargetGoneError):
        ask(tmp_path / "none", "status")


def test_a_socket_that_was_left_is_replaced_and_no_other_file(tmp_path):
    path = tmp_path / "x.sock"
    unix_socket(str(path), None).close()
    with unix_socket(str(path), None):
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(OSError, match="listens"):
            unix_socket(str(path), None)
    path.unlink()
    path.write_text("precious")
    with pytest.raises(OSError, match="somebody else"):
        unix_socket(str(path), None)
    assert path.read_text() == "precious"
