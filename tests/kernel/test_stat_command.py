"""`isotherm stat` on a real process whose use of memory is known."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

MIB = 1 << 20
#: 23 of 97 MiB are used, over and over.
TOUCHER = f"""
import mmap, time
area = mmap.mmap(-1, {97 * MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, {97 * MIB}, 4096):
    area[at] = 1
print("ready", flush=True)
while True:
    for at in range(0, {23 * MIB}, 4096):
        area[at] = 2
    time.sleep(0.005)
"""


def proportional(pid):
    fields = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in fields if line.startswith("Pss:"))


def idle_second(line):
    """Bytes that were idle for a second."""
    return next((one["bytes"] for one in line["idle"] if one["age_ns"] == 1_000_000_000), 0)


def test_lines_tell_what_is_used_and_an_interrupt_ends_them():
    with subprocess.Popen([sys.executable, "-c", TOUCHER], stdout=subprocess.PIPE) as toucher:
        toucher.stdout.readline()
        command = [sys.executable, "-m", "isotherm", "stat", str(toucher.pid), "--format", "json"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as watching:
            # How soon all of it was looked at is as soon as the machine has time for it.
            for line in range(1, 31):
                last = json.loads(watching.stdout.readline())
                if line >= 4 and last["unknown_bytes"] < MIB and idle_second(last) >= 73 * MIB:
                    break
            resident = proportional(toucher.pid)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(60) == 0
        toucher.kill()
    assert abs(last["resident_bytes"] - resident) < MIB
    second = next(point for point in last["curve"] if point["window_ns"] == 1_000_000_000)
    assert second["high_bytes"] >= 23 * MIB
    # The interpreter's own memory is a little more.
    assert 22 * MIB <= second["bytes"] <= 26 * MIB
    assert idle_second(last) >= 73 * MIB
    assert last["unknown_bytes"] < MIB
    assert last["cpu_share"] > 0
