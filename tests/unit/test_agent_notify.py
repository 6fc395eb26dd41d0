"""What a service manager is told, heard at a real socket; and when its watchdog is."""

import os
import socket

import pytest

from isotherm.agent.notify import Notifier, Pulse


class Clock:
    """Seconds that go on when they are told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and its address as NOTIFY_SOCKET has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        if request.param == "path":
            address = str(tmp_path / "notify")
            made.bind(address)
        else:
            made.bind(f"\0isotherm-{os.getpid()}")
            address = f"@isotherm-{os.getpid()}"
        made.setblocking(False)
        yield made, address


def heard(manager):
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_what_is_said(manager):
    listening, address = manager
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "", "A": "b"}
    notifier = Notifier(environ)
    assert environ == {"A": "b"}  # children have nothing to tell
    assert notifier.every_s == 1.5
    notifier.ready()
    notifier.reloading()
    notifier.status("two\nlines")
    notifier.status("two\nlines")
    notifier.stopping()
    ready, reloading, status, stopping = heard(listening)
    assert ready == "READY=1"
    first, _, second = reloading.partition("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0
    assert status == "STATUS=two lines"
    assert stopping == "STOPPING=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "100"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "-3"},
        {"NOTIFY_SOCKET": "/nowhere" * 100},
    ],
)
def test_a_manager_that_is_not_there_does_no_harm(environ):
    notifier = Notifier(environ)
    assert notifier.every_s is None
    notifier.ready()


def test_the_watchdog_hears_of_it_while_windows_end(manager):
    listening, address = manager
    clock = Clock()
    windows = 0
    notifier = Notifier(
        {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
    )
    pulse = Pulse(notifier, lambda: windows, lambda: 30.0, clock)
    told = []
    for second in range(0, 600, 5):
        clock.now = float(second)
        windows = min(second // 30, 3)  # the third is the last that ends, at 90 s
        pulse.beat()
        assert 0 < pulse.until() <= 10
        told += [second] * heard(listening).count("WATCHDOG=1")
    # Every half of the watchdog's time, until four windows and a minute have passed without one.
    assert told == list(range(0, 90 + 4 * 30 + 60 + 1, 10))
    assert pulse.stuck
    windows += 1
    assert not pulse.stuck


def test_without_a_watchdog_nothing_is_due():
    pulse = Pulse(Notifier({}), lambda: 0, lambda: 1.0)
    assert pulse.until() is None
    pulse.beat()
