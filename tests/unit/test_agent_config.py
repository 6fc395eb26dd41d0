"""The configuration of an agent: what is read, what is refused where, what may change."""

import json
import subprocess
from dataclasses import replace

import pytest

from isotherm.agent.config import Ring, Settings, check_change
from isotherm.agent.groups import MachineSource, WatchedGroups
from isotherm.agent.reading import command, passed_on, read
from isotherm.agent.reclaim import Reclaim
from isotherm.agent.reload import read_once
from isotherm.errors import BadValueError
from isotherm.kernel import procfs
from isotherm.model.target import Group
from isotherm.targets.catalog import Catalog
from isotherm.targets.runtimes.container import Container, Pod

WHOLE = """
version: 1
monitor: {sample: 2s, aggr: 40s, regions: 10..500}
targets:
  - cgroup: /app/*
  - unit: nginx
  - pod: shop/web-*
schemes:
  - pageout access=0% age=2m.. quota=128M/s
  - name: stays
    action: stat
    when: {access: 0%}
agent:
  overhead: 0.5%
  apply: yes
  guard: psi=10ms/s
  metrics: {listen: "127.0.0.1:0", windows: [1m, 10s], groups: 40, referenced: 1m}
  ring: {folder: /tmp/ring, for: 2h, size: 64M, every: 10s}
  control: {socket: /tmp/ctl.sock, group: staff}
  reclaim:
    - {cgroup: /app/web, idle: 1h, quota: 1M/s, guard: refault=100/s}
    - {cgroup: "/app/*", idle: 30m, quota: 16M/s}
"""


def written(tmp_path, text):
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    return path


def test_a_whole_configuration(tmp_path):
    settings = read(written(tmp_path, WHOLE))
    assert settings.targets == (("cgroup", "/app/*"), ("unit", "nginx"), ("pod", "shop/web-*"))
    assert [one.title for one in settings.schemes] == ["pageout", "stays"]
    assert settings.monitor.aggr_us == 40_000_000
    assert settings.monitor.update_us == 60_000_000
    assert settings.overhead == 0.005
    assert settings.apply
    assert settings.windows_ns == (10_000_000_000, 60_000_000_000)
    assert (settings.groups, settings.referenced_ns) == (40, 60_000_000_000)
    assert settings.ring.for_ns == 7_200_000_000_000
    assert settings.ring.size == 64 << 20
    assert (settings.socket, settings.group) == ("/tmp/ctl.sock", "staff")
    assert settings.reclaim == (
        Reclaim("/app/web", 3600 * 10**9, 1 << 20, "refault=100/s"),
        Reclaim("/app/*", 1800 * 10**9, 16 << 20, "psi=10ms/s"),
    )
    assert len(settings.sources()) == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "null\n"])
def test_an_empty_file_is_all_by_default(tmp_path, text):
    assert read(written(tmp_path, text)) == Settings()
    assert read_once(written(tmp_path, text)) == Settings()


def test_a_process_that_reads_says_the_same(tmp_path):
    path = written(tmp_path, WHOLE)
    assert read_once(path) == read(path)


def test_no_ring(tmp_path):
    assert read(written(tmp_path, "agent: {ring: off}")).ring is None
    assert read(written(tmp_path, "agent: {ring: true}")).ring == Ring()


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("agent: {overhed: 1%}", "1:9", "did you mean overhead"),
        ("agent: {overhead: 0%}", "1:19", "overhead"),
        ("targets: [{pid: 1}]", "1:12", "no key 'pid'"),
        ("targets: []", "1:10", "1 to"),
        ("targets: [{cgroup: /a, unit: b}]", "1:11", "a target is one"),
        ("targets: [{cgroup: ../..}]", "1:20", "leads out"),
        ("targets: [{all: no}]", "1:17", "all: true"),
        ("agent: {metrics: {windows: [7s]}}", "1:29", "none of the windows"),
        ("agent: {metrics: {listen: 0.0.0.0:9753}}", "1:27", "this machine alone"),
        ("agent: {metrics: {listen: '127.0.0.1:70000'}}", "1:28", "no place"),
        ("agent: {metrics: {groups: 0}}", "1:27", "groups"),
        ("agent: {ring: {folder: here}}", "1:24", "no whole path"),
        ("agent: {ring: {size: 1K}}", "1:22", "4M at least"),
        ("agent: {guard: nobody}", "1:16", "not a guard"),
        ("agent: {reclaim: [{cgroup: /a, idle: 1h}]}", "1:19", "needs quota"),
        ("agent: {reclaim: [{cgroup: /, idle: 1h, quota: 1M/s}]}", "1:28", "no path of groups"),
        ("agent: {reclaim: [{cgroup: /a, idle: 1h, quota: 1M}]}", "1:49", "no quota"),
        ("agent: {reclaim: [{cgroup: /a, idle: 7s, quota: 1M/s}]}", "1:38", "none of the windows"),
        ("agent: {reclaim: [{cgroup: /a, guard: 1}]}", "1:19", "needs idle"),
        ("agent: {apply: perhaps}", "1:16", "true or false"),
        ("monitor: {ops: paddr}", "1:10", "follows processes"),
        ("monitor: {sample: 5}", "1:19", "no unit"),
        ("schemes: [pageout heat=0%]", "1:", "heat"),
        (
            "schemes: ['pageout access=0% watermark=free:50%/40%/20%']",
            "1:10",
            "nothing is watched",
        ),
        ("a: b: c", "1:5", "no YAML"),
    ],
)
def test_an_error_knows_its_place(tmp_path, text, place, problem):
    path = written(tmp_path, text)
    with pytest.raises(BadValueError) as caught:
        read(path)
    assert caught.value.message.startswith(f"{path}:{place}")
    assert problem in str(caught.value)
    done = subprocess.run(command(path), stdout=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == caught.value.message


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(BadValueError, match="No such file"):
        read(tmp_path / "none")
    path = tmp_path / "latin"
    path.write_bytes(b"agent: \xff")
    with pytest.raises(BadValueError, match="UTF-8"):
        read(path)
    with pytest.raises(BadValueError, match="could not be read"):
        passed_on(b"Traceback")


def test_what_may_change_and_what_may_not():
    old = Settings()
    check_change(old, replace(old, groups=7, targets=(("unit", "a"),), windows_ns=()))
    for change in ({"ring": None}, {"overhead": 0.5}, {"apply": True}, {"listen": "unix:/x"}):
        with pytest.raises(BadValueError, match=next(iter(change))):
            check_change(old, replace(old, groups=7, **change))


POD = Container("a1" * 32, ("web",), Pod("shop", "web-1", "uid"))


class Named(Catalog):
    def container(self, container_id, path):
        return POD


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/app", {"cgroup": "/app"}),
        ("/system.slice/nginx.service", {"unit": "nginx.service"}),
        (f"/kubepods/podX/{POD.id}", {"namespace": "shop", "pod": "web-1", "container": "web"}),
        # What a user calls his own is taken for no pod and no unit of the machine.
        (
            f"/user.slice/user-7.slice/user@7.service/app.slice/libpod-{POD.id}.scope",
            {"container": "web", "user": "7"},
        ),
        (
            "/user.slice/user-7.slice/user@7.service/app.slice/nginx.service",
            {"unit": "nginx.service", "user": "7"},
        ),
    ],
)
def test_what_a_group_is_called(path, labels, monkeypatch):
    monkeypatch.setattr(procfs, "cgroup_of", lambda *_: path)
    watched = WatchedGroups([MachineSource(Named())])
    (group,) = set(watched.members().values())
    assert dict(watched.labels(group)) == labels
    assert watched.paths(group) == (path,)


def test_groups_of_other_sources():
    (source,) = Settings(targets=(("name", "sleep"),)).sources()
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            assert source.members()[child.pid] == Group("name", "sleep")
        finally:
            child.kill()
    watched = WatchedGroups(())
    assert dict(watched.labels(Group("pod", "shop/web"))) == {"namespace": "shop", "pod": "web"}
    assert dict(watched.labels(Group("cgroup", "/a"))) == {"cgroup": "/a"}
    assert watched.paths(Group("cgroup", "/a")) == ("/a",)


def test_cgroups_that_are_gone_are_forgotten(monkeypatch):
    source, turn = MachineSource(), [0]
    monkeypatch.setattr(procfs, "cgroup_of", lambda *_: f"/g{turn[0]}/x.service")
    monkeypatch.setattr(procfs, "pids", lambda: [10_000_000 + turn[0]])
    monkeypatch.setattr(procfs, "program_of", lambda *_: "/bin/x")
    for turn[0] in range(1000):
        source.members()
    assert len(source._groups) < 100
    assert len(source.paths[Group("unit", "x.service")]) < 100
