"""The Python face on a real process: monitor, record, open, for and async for."""

import asyncio
import os

import pytest

import isotherm

pytestmark = pytest.mark.kernel


def test_record_and_open(tmp_path):
    path = tmp_path / "self.isotherm"
    count = isotherm.record(path, pid=os.getpid(), duration="1s", children=False)
    recording = isotherm.open(path)
    assert recording.info["backend"] == "bpf"
    assert [snapshot.index for snapshot in recording] == list(range(count))
    assert isotherm.open(path).wss().percentiles(50, 95)
    with pytest.raises(isotherm.OutputError, match="exists"):
        isotherm.record(path, pid=os.getpid(), duration="1s")


def test_async_for(tmp_path):
    async def first_three():
        found = []
        with isotherm.monitor(pid=os.getpid(), children=False) as session:
            async for snapshot in session.snapshots("5s"):
                found.append(snapshot)
                if len(found) == 3:
                    return found
        return found

    snapshots = asyncio.run(first_three())
    assert [snapshot.index for snapshot in snapshots] == [0, 1, 2]
    assert all(s.targets[0].pid == os.getpid() for s in snapshots)


def test_stop_from_another_thread_ends_the_stream():
    import threading

    with isotherm.monitor(pid=os.getpid(), children=False, aggr="10s") as session:
        threading.Timer(0.5, session.stop).start()
        assert list(session.snapshots()) == []
