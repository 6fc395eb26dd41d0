"""Real containers, run by runc on a directory with busybox in it, without network."""

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from isotherm.errors import NotSupportedError, TargetGoneError
from isotherm.model.target import Group
from isotherm.targets.catalog import Catalog
from isotherm.targets.containers import ContainerSource, PodSource
from isotherm.targets.processes import ProcessSet
from support.cgroups import removed
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

NAME = "isotherm-test-web"
TREES = "isotherm-test-containers", "isotherm-test-kubepods"
HEX = "d4" * 32
UID = "7b5dbb1e-9f0c-4a52-8a2c-3a4cbe3b2d17"
#: A master and a worker.
SERVE = "/bin/busybox sleep 600 & exec /bin/busybox sleep 601"


class Runtime:
    def __init__(self, folder):
        self.bundle = folder / "bundle"
        (self.bundle / "rootfs" / "bin").mkdir(parents=True)
        for name in ("proc", "dev", "sys"):
            (self.bundle / "rootfs" / name).mkdir()
        shutil.copy(shutil.which("busybox"), self.bundle / "rootfs" / "bin" / "busybox")
        call("spec", cwd=self.bundle)
        self.config = json.loads((self.bundle / "config.json").read_text())
        self.ids = []

    def run(self, container_id, cgroup):
        """Run a container; return the pids in it, the first one first."""
        process = self.config["process"]
        process |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", SERVE]}
        self.config["linux"]["cgroupsPath"] = cgroup
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        self.ids.append(container_id)
        call("run", "-d", container_id, cwd=self.bundle)
        wait_for(lambda: len(self.pids(container_id)) == 2)
        return self.pids(container_id)

    def pids(self, container_id):
        return json.loads(call("ps", "-f", "json", container_id))

    def close(self):
        for container_id in self.ids:
            with suppress(subprocess.CalledProcessError):
                call("delete", "-f", container_id)
        # runc leaves the groups that it made on the way, in each hierarchy.
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        for words in mounts:
            for name in TREES if words[2].startswith("cgroup") else ():
                remove_tree(Path(words[1]) / name)


def remove_tree(folder):
    if folder.is_dir():
        for below in folder.iterdir():
            remove_tree(below)
        wait_for(lambda: removed(folder))


def call(*words, cwd=None):
    # What runs on holds the pipes of who started it.
    with open("/dev/null", "r+b") as nothing:  # noqa: PTH123
        out = subprocess.PIPE if words[0] == "ps" else nothing
        ran = subprocess.run(
            ["runc", *words], cwd=cwd, check=True, stdin=nothing, stdout=out, stderr=nothing
        )
    return ran.stdout


@pytest.fixture
def runtime(tmp_path):
    missing = [name for name in ("runc", "busybox") if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on this machine")
    made = Runtime(tmp_path)
    yield made
    made.close()


def test_a_container_by_its_name_while_it_runs_and_when_it_starts_anew(runtime):
    first = runtime.run(NAME, f"/{TREES[0]}/web")
    processes = ProcessSet([ContainerSource(NAME)], wait=True)
    try:
        members = processes.refresh()
        assert {one.pid for one in members} == set(first)
        assert {one.group for one in members} == {Group("container", NAME)}
        call("kill", NAME, "KILL")
        wait_for(lambda: not processes.refresh())
        call("delete", "-f", NAME)
        second = runtime.run(NAME, f"/{TREES[0]}/web")
        assert {one.pid for one in processes.refresh()} == set(second)
    finally:
        processes.close()
    with pytest.raises(TargetGoneError, match=NAME):
        ContainerSource("isotherm-test-we").members()


def test_a_container_in_a_tree_of_pods_as_the_kubelet_makes_it(runtime, tmp_path):
    (tmp_path / "var" / "log" / "pods" / f"shop_web-1_{UID}").mkdir(parents=True)
    pod = f"/{TREES[1]}/burstable/pod{UID}"
    pids = set(runtime.run(HEX, f"{pod}/{HEX}"))
    catalog = Catalog(tmp_path)
    assert PodSource("shop/web-1", catalog).members() == dict.fromkeys(
        pids, Group("pod", "shop/web-1")
    )
    assert set(PodSource("shop/*", catalog).members()) == pids
    assert set(ContainerSource(HEX[:12], catalog).members()) == pids


def test_from_another_pid_namespace_it_is_said_what_to_do(runtime):
    runtime.run(NAME, f"/{TREES[0]}/web")
    ask = f"from isotherm.targets.containers import *\nContainerSource({NAME!r}).members()"
    ran = subprocess.run(
        ["unshare", "-p", "-f", "--mount-proc", shutil.which("python"), "-c", ask],
        capture_output=True,
        text=True,
        check=False,
    )
    assert NotSupportedError.__name__ in ran.stderr
    assert "another PID namespace" in ran.stderr
