"""Containers, pods and units: by cgroups, and by files as their runtimes write them."""

import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from isotherm.errors import BadValueError, TargetGoneError
from isotherm.kernel import cgroupfs
from isotherm.model.target import Group
from isotherm.targets.catalog import Catalog
from isotherm.targets.containers import ContainerSource, PodSource, UnitSource
from isotherm.targets.processes import ProcessSet
from isotherm.targets.runtimes import docker, files
from isotherm.targets.runtimes.container import Container, Pod

DATA = Path(__file__).parent.parent / "data" / "runtimes"
WEB, DB, CACHE = "a1" * 32, "b2" * 32, "c3" * 32
POD = "0f5dbb1e-9f0c-4a52-8a2c-3a4cbe3b2d11"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine's files, with cgroups in a folder that looks like v2's."""
    made = Machine(tmp_path)
    monkeypatch.setattr(cgroupfs, "hierarchies", lambda: made.hierarchies)
    yield made
    made.close()


class Machine:
    def __init__(self, folder):
        self.root = folder / "root"
        self.cgroups = folder / "cgroup"
        self.cgroups.mkdir()
        self.hierarchies = (cgroupfs.Hierarchy(self.cgroups, "/", ("memory",), unified=True),)
        self.root.mkdir()
        self._processes = []

    def start(self, path):
        """Start a process in a group; return its number."""
        process = subprocess.Popen(["sleep", "600"])
        self._processes.append(process)
        folder = self.cgroups / path
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "cgroup.procs").open("a") as procs:
            procs.write(f"{process.pid}\n")
        return process.pid

    def remove(self, path):
        """Remove a group, and what is in it."""
        shutil.rmtree(self.cgroups / path)

    def install(self, runtime):
        """Put the files of a runtime where it has them."""
        shutil.copytree(DATA / runtime, self.root, dirs_exist_ok=True)

    def write(self, path, value):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value if isinstance(value, str) else json.dumps(value))
        return file

    @property
    def catalog(self):
        return Catalog(self.root)

    def members(self, kind, name):
        return kind(name, self.catalog).members()

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()


RUNTIMES = [
    ("docker", f"docker/{WEB}", "web"),
    ("docker", f"system.slice/docker-{WEB}.scope", "web"),
    ("podman", f"libpod_parent/libpod-{WEB}", "web"),
    ("podman", f"machine.slice/libpod-{WEB}.scope/container", "web"),
    ("containerd", f"system.slice/nerdctl-{WEB}.scope", "web"),
]


@pytest.mark.parametrize(("runtime", "path", "name"), RUNTIMES)
def test_a_container_by_its_name_and_its_id(machine, runtime, path, name):
    machine.install(runtime)
    pid = machine.start(path)
    machine.start("system.slice/other.service")
    expected = {pid: Group("container", name)}
    for text in (name, f"/{name}", WEB, WEB[:12], WEB[:3], "w[a-e]b"):
        assert machine.members(ContainerSource, text) == expected, text
    for text in ("we", "a2", WEB[:2], "eb"):
        with pytest.raises(TargetGoneError, match="no container"):
            machine.members(ContainerSource, text)


KUBERNETES = [
    ("containerd", f"kubepods/burstable/pod{POD}/{CACHE}"),
    (
        "containerd",
        (
            "kubepods.slice/kubepods-burstable.slice/"
            f"kubepods-burstable-pod{POD.replace('-', '_')}.slice/cri-containerd-{CACHE}.scope"
        ),
    ),
    (
        "crio",
        (
            "kubepods.slice/kubepods-besteffort.slice/"
            f"kubepods-besteffort-pod{POD.replace('-', '_')}.slice/crio-{CACHE}.scope"
        ),
    ),
    ("cri-dockerd", f"kubepods/pod{POD}/{CACHE}"),
]


@pytest.mark.parametrize("logs", [True, False])
@pytest.mark.parametrize(("runtime", "path"), KUBERNETES)
def test_a_pod_and_a_container_in_it(machine, runtime, path, logs):
    machine.install(runtime)
    if logs:
        (machine.root / "var/log/pods" / f"prod_cache-0_{POD}").mkdir(parents=True)
    pid = machine.start(path)
    beside = machine.start(path.replace(CACHE, "d4" * 32))
    pod = {pid: Group("pod", "prod/cache-0"), beside: Group("pod", "prod/cache-0")}
    assert machine.members(PodSource, "prod/cache-0") == pod
    assert machine.members(PodSource, "prod/cache-*") == pod
    container = {pid: Group("container", "prod/cache-0/redis")}
    for text in ("redis", "prod/cache-0/redis", CACHE):
        assert machine.members(ContainerSource, text) == container
    with pytest.raises(TargetGoneError) as found:
        machine.members(PodSource, "cache-0")
    assert found.value.hint == "there are 'prod/cache-0'"


def test_the_process_beside_a_container_that_watches_it_is_none_of_it(machine):
    machine.install("podman")
    pid = machine.start(f"libpod_parent/libpod-{WEB}")
    machine.start(f"libpod_parent/libpod-conmon-{WEB}")
    assert list(machine.members(ContainerSource, "web")) == [pid]


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_container_whose_cgroup_has_a_name_of_its_own(machine, runtime):
    pid = machine.start("my/jobs/one")
    for state in (DATA / runtime).rglob("*"):
        if state.is_file():
            text = state.read_text().replace("@CGROUP@", str(machine.cgroups))
            machine.write(state.relative_to(DATA / runtime), text)
    assert machine.members(ContainerSource, "job-one") == {pid: Group("container", "job-one")}


def test_files_of_users_say_the_names_of_their_own_containers_only(machine, monkeypatch):
    """Else anybody could give the name of a container to another one."""
    home = machine.root / "home/user"
    monkeypatch.setattr("isotherm.targets.catalog._home_of", {1000: home}.get)
    index = home / ".local/share/containers/storage/overlay-containers/containers.json"
    index.parent.mkdir(parents=True)
    index.write_text(json.dumps([{"id": WEB, "names": ["web"]}, {"id": DB, "names": ["db"]}]))
    roots = machine.start(f"machine.slice/libpod-{WEB}.scope")
    own = machine.start(
        f"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{DB}.scope"
    )
    assert machine.members(ContainerSource, "db") == {own: Group("container", "db")}
    with pytest.raises(TargetGoneError):
        machine.members(ContainerSource, "web")
    assert list(machine.members(ContainerSource, WEB[:6])) == [roots]


def test_an_id_that_several_begin_with(machine):
    machine.start(f"docker/{WEB}")
    machine.start(f"docker/{WEB[:20] + DB[:44]}")
    with pytest.raises(BadValueError, match="begins the ids of 2 containers"):
        machine.members(ContainerSource, WEB[:8])


def test_a_container_that_starts_anew_under_its_name(machine):
    machine.install("docker")
    first = machine.start(f"docker/{WEB}")
    processes = ProcessSet([ContainerSource("web", machine.catalog)], wait=True)
    try:
        assert [p.pid for p in processes.refresh()] == [first]
        machine.remove(f"docker/{WEB}")
        assert processes.refresh() == []
        again = machine.start(f"docker/{DB}")
        assert processes.refresh() == []  # nobody has said its name
        config = {"ID": DB, "Name": "/web"}
        machine.write(f"var/lib/docker/containers/{DB}/config.v2.json", config)
        assert [p.pid for p in processes.refresh()] == [again]
    finally:
        processes.close()


def test_units(machine):
    nginx = machine.start("system.slice/nginx.service")
    inner = machine.start("system.slice/nginx.service/worker")
    machine.start("system.slice/nginx-extra.service")
    machine.start(f"docker/{WEB}/system.slice/nginx.service")
    user = machine.start("user.slice/user-1.slice/user@1.service/app.slice/tool.service")
    group = Group("unit", "nginx.service")
    assert machine.members(UnitSource, "nginx") == {nginx: group, inner: group}
    assert machine.members(UnitSource, "nginx.service") == {nginx: group, inner: group}
    assert machine.members(UnitSource, "tool") == {user: Group("unit", "tool.service")}
    assert user in machine.members(UnitSource, "user.slice")
    assert {of.name for of in machine.members(UnitSource, "nginx*").values()} == {
        "nginx.service",
        "nginx-extra.service",
    }
    with pytest.raises(TargetGoneError, match="does not run here") as found:
        machine.members(UnitSource, "ngin")
    assert "'nginx.service'" in found.value.hint


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ContainerSource, ""),
        (ContainerSource, "a\x1bb"),
        (ContainerSource, "x" * 2000),
        (PodSource, "a/b/c"),
        (PodSource, "/b"),
        (UnitSource, "/system.slice/nginx.service"),
    ],
)
def test_what_is_no_name(kind, name):
    with pytest.raises(BadValueError):
        kind.parse(name)


DEEP = "[" * 100_000
HOSTILE = [
    "",
    "null",
    "[]",
    "7",
    '{"Name": 7, "Config": []}',
    '{"Name": "/", "Config": {"Labels": 3}}',
    '{"annotations": [1]}',
    '[{"id": [], "names": 7}, 3, null]',
    "\xff\xfe",
    DEEP,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_files_that_make_no_sense(machine, text):
    pid = machine.start(f"docker/{WEB}")
    for path in (
        f"var/lib/docker/containers/{WEB}/config.v2.json",
        "etc/docker/daemon.json",
        f"run/containerd/io.containerd.runtime.v2.task/moby/{WEB}/config.json",
        "var/lib/containers/storage/overlay-containers/containers.json",
        f"run/runc/{WEB}/state.json",
        "run/runc/odd/state.json",
        "run/crun/odd/status",
    ):
        machine.write(path, text)
    assert list(machine.members(ContainerSource, WEB)) == [pid]


def test_what_is_no_file_or_too_large_is_not_read(machine):
    pid = machine.start(f"docker/{WEB}")
    config = machine.write(f"var/lib/docker/containers/{WEB}/config.v2.json", "")
    config.unlink()
    os.mkfifo(config)
    assert list(machine.members(ContainerSource, WEB)) == [pid]
    config.unlink()
    with config.open("wb") as file:
        file.truncate(1 << 40)
    assert list(machine.members(ContainerSource, WEB)) == [pid]
    config.unlink()
    config.symlink_to(config)
    assert list(machine.members(ContainerSource, WEB)) == [pid]


@pytest.fixture
def daemon(machine, monkeypatch):
    """Who answers on Docker's socket, in pieces."""
    monkeypatch.setattr(files, "_PATIENCE_S", 0.2)
    path = machine.root / "run/docker.sock"
    path.parent.mkdir(parents=True)
    served = socket.socket(socket.AF_UNIX)
    served.bind(os.path.relpath(path))  # a long path is none for a socket
    served.listen()
    monkeypatch.setattr(docker, "_SOCKETS", ("run/docker.sock",))
    threads = []

    def answer(*pieces, keep=False):
        def serve():
            talk, _ = served.accept()
            talk.recv(4096)
            with talk:
                try:
                    for piece in pieces:
                        talk.sendall(piece)
                    if keep:
                        talk.recv(1)  # until the other end has had enough
                except OSError:
                    pass

        threads.append(threading.Thread(target=serve))
        threads[-1].start()

    yield answer
    for thread in threads:
        thread.join()
    served.close()


OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.fixture(autouse=True)
def short_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_socket_where_no_files_can_be_read(machine, daemon):
    pid = machine.start(f"docker/{WEB}")
    answer = [{"Id": WEB, "Names": ["/web"], "Labels": {}}]
    text = json.dumps(answer).encode()
    daemon(OK, text[:10], text[10:])
    found = ContainerSource("web", Catalog(Path("root"))).members()
    assert found == {pid: Group("container", "web")}


@pytest.mark.parametrize(
    ("pieces", "keep"),
    [
        ((), True),
        ((OK, b"["), True),
        ((OK,), False),
        ((OK, b"{}"), False),
        ((OK, DEEP.encode()), False),
        ((b"HTTP/1.0 500 no\r\n\r\n[]",), False),
        ((b"\xff" * 100,), False),
        ((b"x" * 65536,) * 1000, False),
        ((OK, b'[{"Id": 7}, 3, {"Id": "a", "Names": "b", "Labels": []}]'), False),
    ],
)
def test_a_socket_that_hangs_or_lies(machine, daemon, pieces, keep):
    pid = machine.start(f"docker/{WEB}")
    daemon(*pieces, keep=keep)
    assert list(ContainerSource(WEB, Catalog(Path("root"))).members()) == [pid]


def test_names_of_containers_of_pods():
    pod = Pod("prod", "cache-0", POD)
    name = f"/k8s_redis_cache-0_prod_{POD}_0"
    from isotherm.targets.runtimes.container import named

    assert named(CACHE, [name]) == Container(CACHE, ("redis", name[1:]), pod)
    assert named(CACHE, ["/k8s_odd"]) == Container(CACHE, ("k8s_odd",))
    assert Container(CACHE).title == CACHE[:12]
