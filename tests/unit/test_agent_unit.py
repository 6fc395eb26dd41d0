"""The agent's systemd unit: what systemd itself says of it, where it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.agent.unit import unit
from isotherm.errors import BadValueError

#: systemd's figure of how exposed a service is, 0.0 to 10.0, in tenths: what may be, at most.
MOST_EXPOSED = 30


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "isotherm-agent.service"
    made.write_text(unit(Path("/etc/isotherm/agent.yaml")))
    return made


def settings(text):
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def analyzed(*words):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    return subprocess.run(
        ["systemd-analyze", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip


def test_it_starts_this_installation():
    started = settings(unit(Path("/etc/isotherm/agent.yaml")))
    assert (
        started["ExecStart"] == f"{sys.executable} -P -m isotherm agent /etc/isotherm/agent.yaml"
    )
    assert started["Type"] == "notify"


def test_systemd_finds_nothing_wrong(path):
    done = analyzed("verify", "--man=no", path)
    ours = [line for line in done.stdout.splitlines() if "isotherm" in line]
    assert not ours, done.stdout
    assert done.returncode == 0, done.stdout


def test_systemd_calls_it_little_exposed(path):
    done = analyzed("security", "--offline=true", f"--threshold={MOST_EXPOSED}", path)
    assert done.returncode == 0, done.stdout


def test_what_a_unit_would_read_otherwise_is_escaped(tmp_path):
    text = unit(Path('/a b/%i $x"\\;'))
    assert settings(text)["ExecStart"].endswith(' agent "/a b/%%i $$x\\"\\\\;"')
    with pytest.raises(BadValueError):
        unit(Path("/a\nExecStartPost=/bin/sh"))
