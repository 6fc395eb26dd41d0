"""Sessions that end in ways nobody plans: cancelled, closed from other threads, from within."""

import asyncio
import os
import random
import subprocess
import sys
import threading

import pytest

import isotherm
from isotherm.errors import IsothermError

pytestmark = pytest.mark.kernel

BUSY = """
memory = bytearray(16 << 20)
print(flush=True)
while True:
    for at in range(0, len(memory), 4096):
        memory[at] = 1
"""


@pytest.fixture(scope="module")
def busy():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        yield child.pid
        child.kill()


def test_cancelling_an_asynchronous_reader_is_safe(busy):
    """At any moment: in C, between two windows, before the first."""
    rng, cancelled = random.Random(3), 0

    async def watch():
        with isotherm.monitor(pid=busy, sample="1ms", aggr="10ms") as session:
            async for _ in session.snapshots():
                pass

    async def cancel_often():
        nonlocal cancelled
        for _ in range(30):
            task = asyncio.create_task(watch())
            await asyncio.sleep(rng.random() * 0.1)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1

    before = threading.active_count()
    asyncio.run(cancel_often())
    assert cancelled == 30
    assert threading.active_count() == before


def test_an_asynchronous_stream_ends_by_itself(busy):
    async def windows():
        with isotherm.monitor(pid=busy, sample="1ms", aggr="10ms") as session:
            return [s.index async for s in session.snapshots(duration="200ms")]

    found = asyncio.run(windows())
    assert found == list(range(len(found)))
    assert len(found) > 5


def test_what_an_asynchronous_reader_meets_is_raised_there(busy):
    async def close_under_it():
        with isotherm.monitor(pid=busy, sample="1ms", aggr="10ms") as session:
            async for snapshot in session.snapshots():
                assert snapshot.index < 1000
                session.close()

    asyncio.run(close_under_it())


def test_closing_from_other_threads_waits_for_who_is_inside(busy):
    """Several at once, and again afterwards; the iterating thread ends in order."""

    def iterate(session, met, begun):
        try:
            for _ in session.snapshots():
                begun.set()
        except IsothermError as err:
            met.append(err)

    for _ in range(20):
        session = isotherm.monitor(pid=busy, sample="1ms", aggr="10ms")
        met, begun = [], threading.Event()
        reader = threading.Thread(target=iterate, args=(session, met, begun))
        reader.start()
        assert begun.wait(20)
        closers = [threading.Thread(target=session.close) for _ in range(3)]
        for closer in closers:
            closer.start()
        for thread in (*closers, reader):
            thread.join(20)
            assert not thread.is_alive()
        session.close()
        assert not session.alive()
        assert all("closed" in str(err) for err in met)
        assert list(session.snapshots()) == []


def test_an_own_action_may_close_its_session(busy):
    """From within the backend: it is closed when that returns."""
    called = []

    def own(target, start, end):
        called.append(target)
        session.close()
        return end - start

    scheme = isotherm.Scheme(isotherm.Action.STAT, own=own)
    session = isotherm.monitor(pid=busy, sample="1ms", aggr="10ms", schemes=[scheme])
    found = list(session.snapshots(duration="20s"))
    assert called
    assert len(found) < 100
    assert not session.alive()


def test_descriptors_are_given_back(busy):
    def opened():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = opened()
    for _ in range(5):
        with isotherm.monitor(pid=busy, sample="1ms", aggr="10ms") as session:
            for _ in session.snapshots(duration="50ms"):
                pass
    assert opened() == before
