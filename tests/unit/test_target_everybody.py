"""All processes of the machine, in the groups of their cgroups."""

import os
import subprocess
import sys

import pytest

from isotherm.kernel import procfs
from isotherm.model.target import Group
from isotherm.session.options import Options
from isotherm.targets.everybody import EverybodySource
from isotherm.targets.remembered import Remembered

CONTAINER = "a1" * 32


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/", Group("cgroup", "/")),
        ("/app/web", Group("cgroup", "/app/web")),
        ("/system.slice/nginx.service", Group("unit", "nginx.service")),
        ("/system.slice/nginx.service/worker", Group("unit", "nginx.service")),
        (
            "/user.slice/user-7.slice/user@7.service/app.slice/tool.service",
            Group("unit", "tool.service"),
        ),
        (f"/docker/{CONTAINER}", Group("container", CONTAINER[:12])),
        (f"/system.slice/docker-{CONTAINER}.scope/init.scope", Group("container", CONTAINER[:12])),
    ],
)
def test_what_a_process_is_one_of(path, group, monkeypatch):
    monkeypatch.setattr(procfs, "cgroup_of", lambda *_: path)
    assert EverybodySource().members()[os.getppid()] == group


def test_all_but_ourselves_and_the_kernels_threads():
    # Who ends while this goes on has no memory either.
    threads = {pid for pid in procfs.pids() if procfs.is_kernel_thread(pid)}
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            told = EverybodySource().members()
        finally:
            child.kill()
    assert child.pid in told
    assert os.getppid() in told
    assert os.getpid() not in told
    assert not threads & told.keys()


def test_options():
    (source,) = Options.of(all=True).sources
    assert isinstance(source, EverybodySource)
    assert Options.of(all=True, operations="paddr").sources == ()


def test_who_is_old_is_seldom_asked():
    asked = []
    remembered = Remembered(lambda pid: asked.append(pid) or pid)
    for _ in range(8):
        remembered.look()
    asked.clear()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = remembered.look()
        child.communicate(b"\n")
    assert child.pid in asked
    assert found[os.getppid()] == os.getppid()
    assert len(asked) < len(found) / 2 or len(found) < 20
    assert child.pid not in remembered.look()
