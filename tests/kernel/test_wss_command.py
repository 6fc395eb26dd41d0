"""`isotherm wss` on real processes whose use of memory is known."""

import json
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.kernel

MIB = 1 << 20
S = 1_000_000_000
SIZE = 64 * MIB
EIGHTH = SIZE // 8
#: One page in eight, over and over: what regions cannot tell.
TOUCHER = f"""
import mmap, time
area = mmap.mmap(-1, {SIZE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, {SIZE}, 4096):
    area[at] = 1
print("ready", flush=True)
while True:
    for at in range(0, {SIZE}, 8 * 4096):
        area[at] = 2
    time.sleep(0.005)
"""


def isotherm(*args):
    return subprocess.run(
        [sys.executable, "-m", "isotherm", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def toucher():
    process = subprocess.Popen([sys.executable, "-c", TOUCHER], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_one_page_in_eight_is_an_eighth(toucher):
    done = isotherm("wss", toucher.pid, "-d", "8s", "--format", "json")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["schema"] == "isotherm.wss/1"
    assert read["exact"]
    assert read["resident_bytes"] > SIZE
    second = next(point for point in read["curve"] if point["window_ns"] == S)
    assert second["covered"] == 1
    (anon,) = [part for part in read["kinds"] if part["kind"] == "anon"]
    used = {point["window_ns"]: point["bytes"] for point in anon["curve"]}
    # The interpreter's own memory is a little more.
    assert EIGHTH - MIB <= used[S] <= EIGHTH + 3 * MIB
    idle = {entry["age_ns"]: entry["bytes"] for entry in read["idle"]}
    assert 7 * EIGHTH - MIB <= idle[S] <= read["resident_bytes"]


def test_lines_come_while_it_runs_and_an_interrupt_ends_it_in_good_order(toucher):
    command = [sys.executable, "-m", "isotherm", "wss", str(toucher.pid), "-d", "1h"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert "bytes used within a time" in watching.stdout.readline()
        assert watching.stdout.readline().split()[0] == "100ms"
        watching.send_signal(signal.SIGINT)
        rest = watching.stdout.read()
        assert watching.wait(60) == 0
    assert "resident" in rest
    assert "could free" in rest


def test_the_status_of_a_command_is_returned():
    program = "import sys, time; time.sleep(3); sys.exit(7)"
    done = isotherm("wss", "--", sys.executable, "-c", program)
    assert done.returncode == 7
    assert "working set of" in done.stdout


def test_an_ended_process_is_told(toucher):
    ended = subprocess.Popen(["true"])
    ended.wait()
    done = isotherm("wss", ended.pid)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_alone_it_records_regions_with_what_was_used_of_them(toucher):
    import isotherm as product

    with product.monitor(pid=toucher.pid, policy="map") as session:
        snapshots = list(session.snapshots("6s"))
    last = snapshots[-1]
    assert last.cost.checks == 0
    assert EIGHTH - MIB <= last.working_set_bytes <= EIGHTH + 12 * MIB
