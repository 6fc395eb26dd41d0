"""`isotherm cold`: what it says would go, and come back, is what `apply` then does."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import settings, swap  # noqa: F401 - fixtures
from bpf_kit import HUGE, MIB, PAGE, anon_huge_kib
from rolling_kit import away, faults, rolling_program

import isotherm
from isotherm.cli import main

pytestmark = pytest.mark.kernel

COLD, ROLLING, KEPT = 48 * MIB, 6 * MIB, 8 * MIB
PERIOD_S = 6
DENSE, SPARSE, IDLE = 32 * MIB, 32 * MIB, 8 * MIB


@pytest.fixture
def program():
    with rolling_program(PERIOD_S, cold=COLD, rolling=ROLLING, kept=KEPT) as started:
        yield started


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@pytest.mark.usefixtures("swap")
def test_what_it_says_is_what_apply_does(program, capsys):
    pid, (cold, rolling, kept) = program
    names = "[anon:cold]|[anon:rolling]"
    asked = ["--what", names, "--idle", "1s", "-d", "10s", "--overhead", "20%"]
    assert not main(["cold", str(pid), *asked, "--format", "json"])
    said = json.loads(capsys.readouterr().out)
    (age,) = said["ages"]
    assert {part["what"] for part in said["mappings"]} == set(names.split("|"))
    assert age["command"].startswith("sudo isotherm apply ")

    seen = []
    timer = threading.Timer(6, lambda: seen.append((faults(pid), time.monotonic())))
    timer.start()
    isotherm.apply(age["scheme"], pid=pid, duration=11, overhead="20%")
    timer.join()
    came_back, since = faults(pid) - seen[0][0], time.monotonic() - seen[0][1]
    gone = away(pid, cold, COLD) + away(pid, rolling, ROLLING)

    assert away(pid, kept, KEPT) == 0
    assert gone == pytest.approx(age["could_free_bytes"], rel=0.15)
    assert came_back / since == pytest.approx(age["refaults_per_s"], rel=0.15)


#: Of dense all is used, in small pages; of sparse a page of each huge one; idle is half zeros.
LOOKED_INTO = f"""
import ctypes, mmap, os, time
import isotherm

def made(size, name, advice=None):
    memory = mmap.mmap(-1, size + {HUGE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if advice is not None:
        memory.madvise(advice)
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    isotherm.name(memory, name)
    return memory, -at % {HUGE}, at

dense, first, _ = made({DENSE}, "dense")
sparse, begin, _ = made({SPARSE}, "sparse", 14)
idle, _, _ = made({IDLE}, "idle", 15)
locked, _, at = made({IDLE}, "locked", 15)
assert not ctypes.CDLL(None).mlock2(ctypes.c_void_p(at), ctypes.c_size_t({IDLE}), 0)
shared = mmap.mmap(-1, {IDLE})
shared[::{PAGE}] = bytes({IDLE} // {PAGE})
for page in range(begin, begin + {SPARSE}, {HUGE}):
    sparse[page] = 1
for page in range(0, {IDLE}, {PAGE}):
    idle[page : page + {PAGE} // 2] = os.urandom({PAGE} // 2)
pages = range(first, first + {DENSE}, {PAGE})
for page in pages:
    dense[page] = 1
print("ready", flush=True)
while True:
    for page in pages:
        dense[page]
    time.sleep(0.02)
"""


@pytest.fixture
def looked_into(setting):
    setting(Path("/sys/kernel/mm/transparent_hugepage/enabled"), "madvise")
    process = subprocess.Popen([sys.executable, "-c", LOOKED_INTO], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_what_memory_holds_is_told_where_it_is_asked_for(looked_into, capsys):
    pid = looked_into
    before = anon_huge_kib(pid)
    names = "[anon:*]|shared anonymous"
    asked = ["--what", names, "-d", "4s", "--overhead", "20%", "--shared", "off"]
    looks = ["--sample-compression", "--look-at-zeros"]
    assert not main(["cold", str(pid), *asked, *looks, "--format", "json"])
    said = json.loads(capsys.readouterr().out)
    huge = {of["what"]: of for of in said["huge"]}
    assert huge["[anon:dense]"]["could_be_huge_bytes"] == DENSE
    assert huge["[anon:dense]"]["huge_bytes"] == 0
    assert huge["[anon:sparse]"]["huge_bytes"] == SPARSE == before << 10
    assert huge["[anon:sparse]"]["could_be_huge_bytes"] == 0
    pages = (SPARSE // HUGE) * (HUGE // PAGE - 1)
    assert huge["[anon:sparse]"]["zero_bytes"] == pages * PAGE
    assert huge["[anon:idle]"] == {
        "what": "[anon:idle]",
        "huge_bytes": 0,
        "could_be_huge_bytes": 0,
        "looked_at_bytes": 0,
        "zero_bytes": 0,
    }
    goes = {of["what"]: of["ages"][-1]["could_go_bytes"] for of in said["mappings"]}
    assert goes["[anon:idle]"] == pytest.approx(IDLE, rel=0.01)
    assert goes["[anon:locked]"] == goes["shared anonymous"] == 0
    assert said["compression"]["pages"] > 500
    # Of a sixth of what is idle half is random; the rest is zeros but for a byte a huge page.
    assert 0.05 < said["compression"]["zstd_share"] < 0.3
    assert said["compression"]["filled_pages"] > 0.4 * said["compression"]["pages"]

    assert not main(["cold", str(pid), *asked, "--look-at-zeros"])
    text = capsys.readouterr().out.replace("\\\n", " ")
    assert "'hugepage access=5%.. filter=name:\"[anon:dense]\"'" in text
    command = next(line for line in text.splitlines() if "'nohugepage" in line)
    resident = resident_bytes(pid)
    isotherm.apply(shlex.split(command)[3], pid=pid, duration=4)
    assert anon_huge_kib(pid) == 0
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12):
        freed = resident - resident_bytes(pid)
        assert freed == pytest.approx(huge["[anon:sparse]"]["zero_bytes"], rel=0.15)
