"""The agent as a process of its own, beside real processes in control groups made by hand."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import isotherm
from isotherm.errors import DamagedRecordingError
from isotherm.kernel import cgroupfs
from support.cgroups import groups_in
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

MIB = 1 << 20
#: 23 of 97 MiB are used, over and over; a huge page is there if the machine gives one.
TOUCHER = f"""
import mmap, time
area = mmap.mmap(-1, {97 * MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, {97 * MIB}, 4096):
    area[at] = 1
huge = mmap.mmap(-1, {8 * MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
huge.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, {8 * MIB}, 4096):
    huge[at] = 1
print("ready", flush=True)
while True:
    for at in range(0, {23 * MIB}, 4096):
        area[at] = 2
    time.sleep(0.005)
"""
#: What no agent holds: each costs it megabytes.
HEAVY = {
    "asyncio",
    "http",
    "click",
    "numpy",
    "rich",
    "textual",
    "yaml",
    "argparse",
    "socketserver",
}
#: What it imports, the reading of schemes among it.
LOADED = "import isotherm.agent.__main__, isotherm.agent.ring, sys; print(*sys.modules)"


class Agent:
    """An agent, its folder and its log."""

    def __init__(self, folder, text, *words):
        self.folder = folder
        self.config = folder / "agent.yaml"
        self.config.write_text(text)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "isotherm", "agent", self.config, "--run-folder", folder,
                 *words],
                stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def said(self, text):
        return text in self.log.read_text()

    def started(self):
        wait_for(lambda: self.said("watching") or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def scrape(self):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(30)
            asking.connect(str(self.folder / "metrics.sock"))
            asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            heard = b""
            while data := asking.recv(1 << 16):
                heard += data
        head, _, body = heard.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        found = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                found[sample.name, *sorted(sample.labels.items())] = sample.value
        return found

    def ctl(self, *words):
        command = [sys.executable, "-m", "isotherm", "ctl", *words]
        command += ["--socket", self.folder / "ctl.sock"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def resident_bytes(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) << 10

    def tells(self, holds):
        """Wait until what is scraped is as it should be; return it."""
        while not holds(told := self.scrape()):
            time.sleep(0.1)
        return told

    def reload(self, text, news):
        """Read another configuration, and wait for what comes of it."""
        before = self.log.read_text().count(news)
        self.config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log.read_text().count(news) > before)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def groups():
    with groups_in(cgroupfs.hierarchies()[0], "isotherm-agent-test") as made:
        yield made


def configured(groups, folder, *, more="", targets="*"):
    return f"""
        targets: [{{cgroup: '{groups.path()}/{targets}'}}]
        monitor: {{sample: 100ms, aggr: 1s, update: 1s}}
        agent:
          overhead: 20%
          metrics: {{windows: [1s, 2s, 5s, 10s]}}
          ring: {{folder: {folder}/ring, every: 1s, size: 8M, for: 1h}}
          {more}
    """


@pytest.fixture
def started(tmp_path):
    """Start agents that are ended after the test, whatever happens."""
    with contextlib.ExitStack() as stack:

        def start(folder, *words):
            agent = Agent(folder, *words)
            stack.callback(agent.end, signal.SIGKILL)
            return agent

        yield start


def statistics(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(kib) << 10 for name, kib in re.findall(r"(\w+): +(\d+) kB", text)}


def test_what_groups_use_is_told_for_ever(groups, started, tmp_path):
    toucher = groups.start("web", [sys.executable, "-c", TOUCHER])
    groups.start('db"\\', ["sleep", "600"])
    agent = started(tmp_path, configured(groups, tmp_path)).started()
    web, late = ("cgroup", groups.path("web")), ("cgroup", groups.path("late"))
    idle = ("isotherm_idle_age_seconds_bucket", web, ("le", "2.0"))
    told = agent.tells(
        lambda told: told.get(idle, 0) > 0 and told["isotherm_unknown_bytes", web] < 5 * MIB
    )
    truth = statistics(toucher.pid)
    assert abs(told["isotherm_resident_bytes", web] - truth["Pss"]) < 2 * MIB
    low, used, high = (
        told[f"isotherm_working_set{bound}_bytes", web, ("window", "2s")]
        for bound in ("_low", "", "_high")
    )
    assert low <= used <= high
    assert 23 * MIB <= used <= 30 * MIB
    if cgroupfs.memory_root() is not None:
        huge = told["isotherm_huge_page_bytes", web, ("kind", "anon")]
        assert huge == truth["AnonHugePages"]
        assert told["isotherm_refault_pages_total", web, ("kind", "anon")] == 0
    assert told["isotherm_processes", ("cgroup", groups.path('db"\\'))] == 1
    assert told["isotherm_agent_cpu_seconds_total",] > 0
    assert told["isotherm_sum_age_seconds",] >= 0
    assert not any("pid" in dict(key[1:]) for key in told)

    # A group that comes later is told; another set of groups keeps what is known of who stays.
    groups.start("late", ["sleep", "600"])
    agent.tells(lambda told: ("isotherm_processes", late) in told)
    agent.reload(configured(groups, tmp_path, targets="w*"), "was read again")
    after = agent.tells(lambda told: ("isotherm_processes", late) not in told)
    assert after["isotherm_watched_seconds",] > told["isotherm_watched_seconds",]
    assert after[idle] >= 23 * MIB
    assert after["isotherm_unknown_bytes", web] < 5 * MIB

    # What is wrong changes nothing, and is told.
    for wrong in ("agent: {overhead: lots}", configured(groups, tmp_path).replace("20%", "7%")):
        agent.reload(wrong, "stays as it was")
        told = agent.scrape()
        assert told["isotherm_config_last_reload_successful",] == 0
        assert ("isotherm_processes", web) in told
    schemes = "\n        schemes: [pageout access=0% age=1h..]"
    agent.reload(configured(groups, tmp_path, targets="w*") + schemes, "was read again")
    agent.tells(lambda told: ("isotherm_scheme_dry_run",) in told)
    status = json.loads(agent.ctl("status", "--format", "json"))["status"]
    assert status["schemes"] == ["pageout"]
    assert status["dry_run"]
    assert status["reloads"] == 4
    assert status["pid"] == agent.process.pid
    assert groups.path("web") in agent.ctl("targets", "--format", "json")
    check_asked(agent, groups.path("web"), tmp_path / "now.isotherm")
    check_light(agent)
    check_private(tmp_path)

    assert agent.end() == 0
    assert not (tmp_path / "ring" / "asked.isotherm").exists()
    assert not (tmp_path / "metrics.sock").exists()
    snapshots = list(isotherm.open(next((tmp_path / "ring").glob("*.isotherm"))))
    assert len(snapshots) > 3
    assert any(snapshot.page_use for snapshot in snapshots)


def check_asked(agent, web, output):
    """Root changes schemes, and has it record for a while; `top` looks again and again."""
    lines = ("stat name=used access=1%..", "pageout access=0% age=2h.. quota=8M/s")
    agent.ctl("commit", "; ".join(lines))
    wait_for(lambda: "would have treated" in agent.ctl("schemes"))
    told = agent.ctl("schemes").splitlines()
    assert told[::2] == list(lines)
    agent.ctl("commit", "none")
    assert agent.ctl("schemes") == "no schemes\n"
    agent.ctl("record", "--for", "2s", "-o", output)
    snapshots = list(isotherm.open(output))
    assert sum(snapshot.aggr_us for snapshot in snapshots) >= 1_000_000
    (target,) = snapshots[-1].targets
    assert target.group.endswith(web)
    assert len(snapshots[-1].columns)
    # What is told once was told before, and stands in it nevertheless.
    assert snapshots[0].mappings[target.id]
    assert agent.ctl("top", "--count", "2", "--every", "100ms").count("test/web") == 2


def check_light(agent):
    """The agent is a program of its own, that holds nothing that only a command line needs."""
    words = Path(f"/proc/{agent.process.pid}/cmdline").read_bytes().split(b"\0")
    assert b"isotherm.agent" in words
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()
    maps = Path(f"/proc/{agent.process.pid}/maps").read_text()
    for name in ("numpy", "yaml", "pyarrow", "_asyncio", "_ssl"):
        assert name not in maps
    resident = agent.resident_bytes()
    assert abs(agent.scrape()["isotherm_agent_resident_bytes",] - resident) < 4 * MIB
    assert resident < 40 * MIB


def check_private(folder):
    """Nobody else may look at what an agent writes, or ask it."""
    ring = folder / "ring"
    for path in (ring, *ring.iterdir(), folder / "metrics.sock", folder / "ctl.sock"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_two_agents_refuse_each_other(groups, started, tmp_path):
    groups.start("web", ["sleep", "600"])
    agent = started(tmp_path, configured(groups, tmp_path)).started()
    folder = tmp_path / "other"
    folder.mkdir()
    # In another run folder, but the same ring.
    second = started(folder, configured(groups, tmp_path))
    assert second.process.wait(60) == 1
    assert second.said(f"another agent runs already (process {agent.process.pid})")
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", "agent", "--run-folder", tmp_path],
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "another agent runs already" in done.stderr
    assert agent.scrape()


def test_killed_it_leaves_a_ring_that_is_read_and_starts_again(groups, started, tmp_path):
    groups.start("web", [sys.executable, "-c", TOUCHER])
    agent = started(tmp_path, configured(groups, tmp_path)).started()
    first = tmp_path / "ring" / "ring.0001.isotherm"
    wait_for(lambda: first.exists() and first.stat().st_size > 4096)
    written = agent.scrape()["isotherm_ring_written_bytes_total",]
    assert agent.end(signal.SIGKILL) == -signal.SIGKILL
    count = 0
    with contextlib.suppress(DamagedRecordingError):
        for _ in isotherm.open(first):
            count += 1
    assert count
    assert first.stat().st_size >= written
    again = started(tmp_path, configured(groups, tmp_path)).started()
    second = tmp_path / "ring" / "ring.0002.isotherm"
    wait_for(lambda: second.exists() and second.stat().st_size > 4096)
    assert again.end(signal.SIGINT) == 0
    assert first.exists()


def test_a_ring_that_cannot_be_written_ends_nothing(groups, started, tmp_path):
    groups.start("web", ["sleep", "600"])
    with small_disk(tmp_path / "ring"):
        agent = started(tmp_path, configured(groups, tmp_path)).started()
        agent.tells(lambda told: told["isotherm_ring_failed",] == 1)
        assert agent.said("the ring cannot be written")
        assert agent.end() == 0


@contextlib.contextmanager
def small_disk(folder):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
