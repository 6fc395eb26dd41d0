"""A session that begins before its first process, and goes on after its last: a restart."""

import json
import subprocess
import sys

import pytest

import isotherm
from isotherm.cli import main
from isotherm.errors import BadValueError, IsothermError
from support.cgroups import groups_in, mounted

pytestmark = pytest.mark.kernel

FAST = {"sample": "5ms", "aggr": "50ms", "update": "50ms"}
MIB = 1 << 20
#: Uses 4 of its 8 MiB, all the time.
SERVICE = """
import time
memory = bytearray(8 << 20)
for i in range(0, len(memory), 4096): memory[i] = 1
print(flush=True)
while True:
    memory[: 4 << 20] = bytes(4 << 20)
    time.sleep(0.02)
"""


@pytest.fixture
def groups():
    with groups_in(next(iter(mounted().values()))) as made:
        yield made


def serve(groups):
    return groups.start("service", (sys.executable, "-c", SERVICE))


def until(stream, condition):
    """The first snapshot of three hundred for which it holds."""
    for _, snapshot in zip(range(300), stream, strict=False):
        if condition({target.pid for target in snapshot.targets}):
            return snapshot
    return None


@pytest.fixture(params=["bpf", "clear-refs"])
def backend(request, groups):
    groups.make("service")
    try:
        with isotherm.monitor(cgroup=groups.path("service"), wait=True, backend=request.param):
            pass
    except IsothermError as err:
        pytest.skip(f"{request.param} cannot be used here: {err.message}")
    return request.param


@pytest.mark.parametrize("policy", ["damon", "map"])
def test_before_the_first_and_after_the_last(groups, backend, policy):
    groups.make("service")
    wish = {"wait": True, "backend": backend, "policy": policy} | FAST
    with isotherm.monitor(cgroup=groups.path("service"), **wish) as session:
        stream = iter(session.snapshots())
        assert next(stream).targets == ()
        ids = set()
        for _ in range(3):
            process = serve(groups)
            found = until(stream, lambda pids, process=process: pids == {process.pid})
            assert found is not None
            (target,) = found.targets
            assert target.group == f"cgroup {groups.path('service')}"
            assert target.id not in ids
            ids.add(target.id)
            assert any(one.regions for _, one in zip(range(300), stream, strict=False))
            groups.end(process)
            assert until(stream, lambda pids: not pids) is not None
        assert session.alive()


def test_one_recording_of_a_service_that_restarts(groups, tmp_path, capsys):
    groups.make("service")
    path = tmp_path / "service.isotherm"
    words = ["-G", groups.path("service"), "--wait", "-d", "6s", "--update", "100ms"]
    command = [sys.executable, "-m", "isotherm", "record", *words, "-o", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as recorder:
        assert "nobody yet" in recorder.stderr.readline()
        first = serve(groups)
        try:
            recorder.wait(1)
        except subprocess.TimeoutExpired:
            groups.end(first)
        second = serve(groups)
        recorder.stderr.read()
    assert recorder.returncode == 0
    pids = [{target.pid for target in one.targets} for one in isotherm.open(path)]
    assert {first.pid} in pids or {first.pid, second.pid} in pids
    assert pids[-1] == {second.pid}
    assert main(["report", str(path), "--format", "json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert (group["kind"], group["name"]) == ("cgroup", groups.path("service"))
    assert len(group["targets"]) == 1
    assert 8 * MIB < group["resident_bytes"] < 64 * MIB


def test_who_cannot_come_again_cannot_be_waited_for():
    with pytest.raises(BadValueError, match="nobody can be waited for"):
        isotherm.monitor(pid=1, wait=True)
    with pytest.raises(BadValueError, match="nobody can be waited for"):
        isotherm.monitor(command=["sleep", "1"], wait=True)
