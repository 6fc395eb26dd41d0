"""Targets that exit, exec, fork, map and unmap all the time: normal outcomes, and no harm done."""

import os
import random
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bpf_kit import MIB, PAGE, Child, batch, look, watching

from isotherm.core.look import Check
from isotherm.errors import NotSupportedError, TargetGoneError
from isotherm.model.attrs import Attrs
from isotherm.targets.target_set import TargetFacts, refuse_virtual_machines
from support.looks import Composed
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

FAST = Attrs(sample_us=1000, aggr_us=10_000, update_us=20_000)

# Each says a line when it has begun and one when it is done: "ok" if its data are as it left them.
STORMS = {
    "forks": """
import os, mmap
m = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(0, len(m), 4096): m[i] = i >> 12 & 255
print("begun", flush=True)
for n in range(1000):
    child = os.fork()
    if not child:
        m[n % 1024 << 12] = 1
        os._exit(0)
    os.waitpid(child, 0)
print("ok" if all(m[i] == i >> 12 & 255 for i in range(0, len(m), 4096)) else "harmed", flush=True)
""",
    "maps": """
import mmap, random
rng, kept, good = random.Random(1), [], True
print("begun", flush=True)
for n in range(16000):
    m = mmap.mmap(-1, rng.randrange(1, 64) << 12, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for i in range(0, len(m), 4096): m[i] = n & 255
    kept.append((m, n & 255))
    if len(kept) > 100:
        m, value = kept.pop(rng.randrange(100))
        good = good and all(m[i] == value for i in range(0, len(m), 4096))
        m.close()
print("ok" if good else "harmed", flush=True)
""",
    "advice": """
import mmap, random
rng = random.Random(2)
m = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
known = {}
print("begun", flush=True)
for n in range(16000):
    page = rng.randrange(len(m) >> 12)
    at, size = page << 12, min(rng.randrange(1, 16), (len(m) >> 12) - page) << 12
    what = rng.randrange(8)
    if what < 5:
        m[at] = n & 255
        known[page] = n & 255
    elif what == 5:
        m.madvise(4, at, size)  # MADV_DONTNEED
        for gone in range(page, page + (size >> 12)): known.pop(gone, None)
    elif what == 6:
        m.madvise(rng.choice((14, 15)), at & ~0x1fffff, 2 << 20)
    else:
        m.madvise(rng.choice((20, 21)), at, size)
good = all(m[p << 12] == known.get(p, 0) for p in range(len(m) >> 12))
print("ok" if good else "harmed", flush=True)
""",
}


@pytest.fixture
def child():
    started = Child()
    yield started
    started.close()


def kernel_complaints():
    """Messages of level warning and worse; None where the log cannot be read."""
    done = subprocess.run(["dmesg", "-r"], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return [line for line in done.stdout.split("\n") if line[:3] in ("<0>", "<1>", "<2>", "<3>")]


@pytest.mark.parametrize("storm", STORMS)
def test_storms_do_no_harm(storm):
    before = kernel_complaints()
    program = subprocess.Popen(
        [sys.executable, "-c", STORMS[storm]], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout.readline() == "begun\n"
        with (
            Composed([program.pid], overhead=0.2) as composed,
            composed.monitor(FAST, seed=1) as monitor,
        ):
            for snapshot in monitor.snapshots():
                assert snapshot.index < 10_000
        assert program.stdout.readline() == "ok\n"
        assert program.wait(timeout=10) == 0
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    assert kernel_complaints() == before


def test_exit_in_the_middle(child):
    at = child.make(f"memory.small({MIB})")
    with watching(child.pid) as ops:
        addresses = [at + i * PAGE for i in range(100)]
        ops.prepare(batch(addresses))
        child.close()
        assert set(ops.check()) == {Check.MISSED}
        ops.prepare(batch(addresses))
        assert len(ops.check()) == 100
        assert not ops.alive()
        assert ops.targets() == []
    with pytest.raises(TargetGoneError):
        Composed([child.pid])


def test_exec_in_the_middle(child):
    old = child.make(f"memory.small({MIB})")
    child.run(f"kit.write({old}, {MIB})")
    with watching(child.pid) as ops:
        look(ops, [old])
        ops.prepare(batch([old]))
        program = (
            "import mmap, ctypes, sys\n"
            "m = mmap.mmap(-1, 1 << 20, flags=0x22)\n"
            "m.madvise(15)\n"
            "for i in range(0, len(m), 4096): m[i] = 1\n"
            "print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)\n"
            "for line in sys.stdin: print(m[int(line)], flush=True)\n"
        )
        at = int(child.exec(program))
        assert set(ops.check()) == {Check.MISSED}

        def is_found():
            (known,) = ops.targets()
            return any(r.start <= at < r.end for r in known.ranges)

        # Maps are read as often as their share of a CPU allows.
        wait_for(is_found)
        addresses = [at + i * PAGE for i in range(100)]
        found = look(ops, addresses, lambda: child.run(str(13 * PAGE)))
        assert [i for i, value in enumerate(found) if value == Check.ACCESSED] == [13]


def test_children_are_followed_and_keep_their_ids(child):
    at = child.make(f"memory.small({MIB})")
    with watching(child.pid) as ops:
        first = ops.targets()[0].target
        child.run("fork = os.fork() or __import__('time').sleep(100)")
        both = [t.target for t in ops.targets()]
        assert both[0].pid == child.pid
        assert len(both) == 2
        assert both[0].id == first.id != both[1].id
        addresses = [at, at]
        ops.prepare(batch(addresses, [0, 1]))
        os.kill(both[1].pid, signal.SIGKILL)
        child.run("os.wait()")
        assert len(ops.check()) == 2
        assert [t.target.id for t in ops.targets()] == [first.id]


def test_virtual_machines_are_refused():
    with pytest.raises(NotSupportedError, match="virtual machine"):
        refuse_virtual_machines(TargetFacts(kvm=((1, "qemu"),)))


def test_random_addresses_and_targets_are_harmless(child):
    rng = random.Random(5)
    with watching(child.pid, sweep=True) as ops:
        for _ in range(160):
            addresses = sorted(
                rng.randrange(1 << rng.choice((30, 47, 48, 64))) for _ in range(100)
            )
            ops.prepare(batch(addresses, [rng.choice((0, 0, 0, 7, 2**32 - 1)) for _ in addresses]))
            found = ops.check()
            assert len(found) == 100
            assert Check.ACCESSED not in found or child.run("result = 1") == "1"
    assert child.run("result = 2") == "2"


def test_monitoring_finds_the_hot_part(child):
    at = child.make(f"memory.small({64 * MIB})")
    child.run(f"kit.write({at}, {64 * MIB})")
    child.run("import threading, time")
    child.run(
        f"threading.Thread(target=lambda: [kit.touch({at + 32 * MIB}, {4 * MIB}) or "
        "time.sleep(0.002) for _ in range(10**6)], daemon=True).start()"
    )
    attrs = Attrs(min_nr_regions=100)
    hot = missed = 0
    with (
        Composed([child.pid], overhead=0.05) as composed,
        composed.monitor(attrs, seed=3) as monitor,
    ):
        for snapshot in islice(monitor.snapshots(), 200):
            hot = sum(
                max(0, min(r.end, at + 36 * MIB) - max(r.start, at + 32 * MIB))
                for r in snapshot.regions
                if r.nr_accesses
            )
            missed = sum(
                r.size for r in snapshot.regions
                if (r.nr_accesses or 0) > 5 and at <= r.start and r.end <= at + 32 * MIB
            )  # fmt: skip
            if hot >= 3.5 * MIB and missed < MIB:
                break
    assert hot >= 3.5 * MIB
    assert missed < MIB
