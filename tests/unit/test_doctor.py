import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.backends.choose import try_out
from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.kernel.features import probe


def test_facts_agree_with_other_witnesses():
    support = probe(bpf=False)
    assert support.release == os.uname().release
    assert support.root == (os.geteuid() == 0)
    assert support.pidfd
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert support.memory_bytes == pytest.approx(kib * 1024, rel=0.1)


def test_json_has_a_versioned_schema(capsys):
    status = main(["doctor", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "isotherm.doctor/1"
    assert found["facts"]["release"] == os.uname().release
    if status == 0:
        assert found["choice"]["backend"] in ("bpf", "idle", "clear-refs")
        assert found["choice"]["backend"] not in found["choice"]["why_not"]
        assert found["self_test"]["problem"] == ""
    else:
        assert status == 4
        assert found["error"]


def test_table_is_plain_and_narrow():
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, COLUMNS="200"),
    )
    assert done.returncode in (0, 4), done.stderr
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for word in ("backend", "not kdamond", "cannot see", "huge pages", "shared memory"):
        assert word in done.stdout


def test_it_works_for_a_process(capsys):
    assert main(["doctor", "-p", str(os.getpid())]) in (0, 4)
    capsys.readouterr()
    assert main(["doctor", "-p", "4194305"]) == 3
    assert "no process 4194305" in capsys.readouterr().err


def test_clear_refs_try_out():
    found = try_out("clear-refs")
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this kernel has no /proc/PID/clear_refs")
    assert found.problem == ""
    assert found.round_us > 0


@pytest.mark.kernel
def test_bpf_try_out():
    found = try_out("bpf")
    assert found.problem == ""
    assert found.read_us > 0
    assert found.clear_us > 0


def test_of_an_unknown_backend_nothing_is_tried():
    with pytest.raises(BadValueError, match="no backend 'sim'"):
        try_out("sim")


@pytest.mark.kernel
def test_it_works_without_root():
    # The first call imports everything: the package may lie where nobody may read.
    code = (
        "import contextlib, ctypes, io, os, sys\n"
        "from isotherm.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['doctor'])\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE: as in a process of that user
        "sys.exit(main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert "not root" in done.stdout
    assert "needs root, or CAP_BPF and CAP_PERFMON" in " ".join(done.stdout.split())
