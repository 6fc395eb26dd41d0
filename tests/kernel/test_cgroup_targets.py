"""Who is in a cgroup: real groups of each mounted version, with real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.errors import NotSupportedError, TargetGoneError
from isotherm.model.target import Group
from isotherm.targets.processes import ProcessSet
from isotherm.targets.sources import CgroupSource
from isotherm.targets.target_set import ProcessTargets
from support.cgroups import groups_in, mounted

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["v1", "v2"])
def groups(request):
    hierarchy = mounted().get(request.param)
    if hierarchy is None:
        pytest.skip(f"no hierarchy of {request.param} is mounted")
    with groups_in(hierarchy) as made:
        yield made


@pytest.fixture
def watch():
    opened = []

    def start(*sources, **options):
        opened.append(ProcessSet(sources, **options))
        return opened[-1]

    yield start
    for processes in opened:
        processes.close()


def pids(processes):
    return {process.pid for process in processes.refresh()}


def test_every_spelling_is_the_same_group(groups):
    process = groups.start("app")
    path = groups.path("app")
    with open(f"/proc/{process.pid}/cgroup") as file:  # noqa: PTH123
        lines = [line.rstrip("\n") for line in file if line.rstrip("\n").endswith(f":{path}")]
    spellings = [path, path[1:], f"{path}/", str(groups.root / "app"), f".{path}", *lines]
    assert len(spellings) > 5
    for spelling in spellings:
        assert CgroupSource(spelling).pids() == [process.pid], spelling
        assert set(CgroupSource(spelling).members().values()) == {Group("cgroup", path)}


def test_groups_in_the_group_and_who_joins_and_leaves(groups, watch):
    first = groups.start("app")
    processes = watch(CgroupSource(groups.path("app")))
    inner = groups.start("app/web/worker")
    assert pids(processes) == {first.pid, inner.pid}
    groups.join("other", first.pid)
    assert pids(processes) == {inner.pid}
    groups.join("app/late", first.pid)
    assert pids(processes) == {inner.pid, first.pid}
    assert [p.target_id for p in processes.members] == [1, 2]


def test_a_group_that_is_replaced_between_two_looks(groups, watch):
    keeper = groups.start("app/a")
    gone = groups.start("app/in/b")
    processes = watch(CgroupSource(groups.path("app")))
    assert pids(processes) == {keeper.pid, gone.pid}
    groups.end(gone)
    groups.remove("app/in/b")
    new = groups.start("app/in/c")  # as many folders as before
    assert pids(processes) == {keeper.pid, new.pid}


def test_wildcards_are_groups_of_their_own(groups, watch):
    web, api = groups.start("web.service"), groups.start("api.service/inner")
    other = groups.start("other")
    processes = watch(CgroupSource(f"{groups.path()}/*.service"))
    assert {p.pid: p.group for p in processes.members} == {
        web.pid: Group("cgroup", groups.path("web.service")),
        api.pid: Group("cgroup", groups.path("api.service")),
    }
    late = groups.start("late.service")
    assert pids(processes) == {web.pid, api.pid, late.pid}
    deep = CgroupSource(f"{groups.path()}/**/inner")
    assert deep.members() == {api.pid: Group("cgroup", groups.path("api.service/inner"))}
    assert other.pid not in CgroupSource(f"{groups.path()}/?p[a-i].service").pids()


def test_a_name_with_wildcards_is_that_group_where_there_is_one(groups):
    odd, plain = groups.start("a[b]"), groups.start("ab")
    assert CgroupSource(groups.path("a[b]")).pids() == [odd.pid]
    groups.end(odd)
    groups.remove("a[b]")
    assert CgroupSource(groups.path("a[b]")).pids() == [plain.pid]


def test_targets_know_their_group(groups):
    process = groups.start("app")
    targets = ProcessTargets([CgroupSource(groups.path("app"))])
    try:
        (found,) = targets.targets(16)
        assert found.target.pid == process.pid
        assert found.target.group == f"cgroup {groups.path('app')}"
    finally:
        targets.close()


def test_a_process_of_two_sources_stays_while_one_tells_of_it(groups, watch):
    process = groups.start("app/web")
    keeper = groups.start("app")
    processes = watch(CgroupSource(groups.path("app/web")), CgroupSource(groups.path("app")))
    (id_before,) = [p.target_id for p in processes.members if p.pid == process.pid]
    groups.join("app", process.pid)
    processes.refresh()
    found = {p.pid: p for p in processes.members}
    assert found[process.pid].target_id == id_before
    assert found[process.pid].group == Group("cgroup", groups.path("app"))
    assert keeper.pid in found


def test_nobody_is_told_with_what_could_be_meant(groups):
    groups.make("empty")
    with pytest.raises(TargetGoneError, match="no process is in cgroup"):
        CgroupSource(groups.path("empty")).pids()
    with pytest.raises(TargetGoneError, match="no cgroup '/empty'") as found:
        CgroupSource("/empty").pids()
    assert groups.path("empty") in found.value.hint
    with pytest.raises(TargetGoneError, match="no cgroup"):
        CgroupSource("/isotherm-there-is-no-such-group").pids()


def test_a_session_waits_for_who_comes(groups, watch):
    groups.make("app")
    processes = watch(CgroupSource(groups.path("app")), wait=True)
    assert processes.members == []
    assert processes.alive()
    process = groups.start("app")
    assert pids(processes) == {process.pid}
    groups.end(process)
    assert pids(processes) == set()
    assert processes.alive()
    again = groups.start("app")
    assert [p.target_id for p in processes.refresh()] == [1]
    assert pids(processes) == {again.pid}


def test_members_of_another_pid_namespace(groups):
    """A group whose processes we have no numbers for, as a container sees its neighbours."""
    groups.start("app")
    code = (
        "import sys\n"
        "from isotherm.targets.sources import CgroupSource\n"
        "from isotherm.errors import IsothermError\n"
        "try: CgroupSource(sys.argv[1]).pids()\n"
        "except IsothermError as err: print(type(err).__name__, err.hint)\n"
    )
    words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    told = subprocess.run(
        [*words, groups.path("app")], capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith(NotSupportedError.__name__)
    assert "--pid=host" in told


def test_ourselves_are_never_a_member(groups):
    controllers = ",".join(groups.hierarchy.controllers if not groups.hierarchy.unified else ())
    (line,) = [
        line
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line.split(":", 2)[1] == controllers
    ]
    before = groups.hierarchy.folder(line.split(":", 2)[2])
    groups.join("us", os.getpid())
    try:
        with pytest.raises(TargetGoneError, match="no process is in"):
            CgroupSource(groups.path("us")).pids()
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
