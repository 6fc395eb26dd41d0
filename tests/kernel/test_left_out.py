"""Members that may not be read are told once and left out; the others go on."""

import contextlib
import os
import subprocess

import pytest

from isotherm.errors import NotPermittedError
from isotherm.targets.processes import ProcessSet
from isotherm.targets.refusals import left_out
from isotherm.targets.sources import CgroupSource
from support.cgroups import groups_in, mounted

pytestmark = pytest.mark.kernel

NOBODY = 65534


@contextlib.contextmanager
def as_nobody():
    """Have the rights of nobody for a while, as who runs isotherm without root."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def groups():
    if os.geteuid():
        pytest.skip("the rights of another user can be taken by root only")
    with groups_in(next(iter(mounted().values()))) as made:
        yield made


@pytest.fixture
def readable():
    child = subprocess.Popen(["sleep", "600"], user=NOBODY, group=NOBODY, extra_groups=[])
    yield child
    child.kill()
    child.wait()


def test_others_go_on_and_who_comes_later_is_told_too(groups, readable):
    roots = groups.start("app")
    groups.join("app", readable.pid)
    with as_nobody():
        processes = ProcessSet([CgroupSource(groups.path("app"))])
        try:
            assert [p.pid for p in processes.members] == [readable.pid]
            (told,) = processes.take_refused()
            assert told.pid == roots.pid
            assert f"process {roots.pid} (sleep): left out" in left_out([told])
            for _ in range(40):
                processes.refresh()
            assert processes.take_refused() == []
        finally:
            processes.close()


def test_nobody_that_may_be_read_is_an_error(groups):
    groups.start("app")
    with as_nobody(), pytest.raises(NotPermittedError, match="not allowed to read"):
        ProcessSet([CgroupSource(groups.path("app"))])
