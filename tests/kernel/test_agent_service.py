"""The agent as its systemd unit runs it: with few capabilities, and a manager that listens."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter

import pytest

from isotherm.agent.unit import TEMPLATE
from isotherm.kernel import cgroupfs
from support.cgroups import groups_in

pytestmark = pytest.mark.kernel


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(60)
        yield made


def capabilities():
    """Return the unit's as setpriv takes them."""
    names = re.search(r"^CapabilityBoundingSet=(.*)$", TEMPLATE.read_text(), re.MULTILINE)[1]
    return "".join(f",+{name.removeprefix('CAP_').lower()}" for name in names.split())


def heard_until(manager, text, seen):
    """Count what is said until a message begins with this; return that."""
    while True:
        message = manager.recv(4096).decode()
        seen[message.partition("=")[0]] += 1
        if message.startswith(text):
            return message


def test_a_manager_hears_how_it_fares(manager, tmp_path):
    with groups_in(cgroupfs.hierarchies()[0], "isotherm-service-test") as groups:
        groups.start("web")
        config = tmp_path / "agent.yaml"
        config.write_text(f"""
            targets: [{{cgroup: '{groups.path()}/*'}}]
            monitor: {{sample: 100ms, aggr: 1s, update: 1s}}
            agent: {{ring: off, overhead: 20%}}
        """)
        log = (tmp_path / "log").open("wb")
        process = subprocess.Popen(
            ["setpriv", "--bounding-set", f"-all{capabilities()}", "--inh-caps=-all",
             sys.executable, "-m", "isotherm", "agent", config, "--run-folder", tmp_path],
            env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"),
                              "WATCHDOG_USEC": "1000000"},
            stdin=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        try:
            seen = Counter()
            heard_until(manager, "READY=1", seen)
            assert seen == {"READY": 1}
            heard_until(manager, "STATUS=watching, backend bpf: 1 groups", seen)
            for _ in range(3):
                heard_until(manager, "WATCHDOG=1", seen)
            process.send_signal(signal.SIGHUP)
            assert "\nMONOTONIC_USEC=" in heard_until(manager, "RELOADING=1", seen)
            heard_until(manager, "READY=1", seen)
            process.send_signal(signal.SIGTERM)
            heard_until(manager, "STOPPING=1", seen)
            assert process.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()
            log.close()
