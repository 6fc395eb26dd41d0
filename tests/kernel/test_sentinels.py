"""The policy "sentinels" on programs that use what they are told to use."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

import isotherm

pytestmark = pytest.mark.kernel

MIB = 1 << 20

#: Touches HOT MiB at OFFSET of TOTAL over and over, in single pages or huge ones, and says where
#: its memory is. After a line on its input it does so at the end of it.
PROGRAM = """
import ctypes, mmap, os, select, sys
total, offset, hot, huge = (int(word) for word in sys.argv[1:])
size, step = total << 20, 2 << 20
area = mmap.mmap(-1, size + step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
at = ctypes.addressof(ctypes.c_char.from_buffer(area))
first = -at % step
area.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
for page in range(first, first + size, 4096):
    area[page] = 1
print(at + first, flush=True)
while True:
    begin = first + (offset << 20)
    for page in range(begin, begin + (hot << 20), 4096):
        area[page] = 2
    if select.select([sys.stdin], [], [], 0.001)[0]:
        sys.stdin.readline()
        offset = total - hot
"""


#: The same with a child that waits, and ends with its parent.
FORKED = PROGRAM.replace(
    "while True:",
    """if os.fork() == 0:
    ctypes.CDLL(None).prctl(1, 9)
    select.select([], [], [])
while True:""",
)


@contextmanager
def program(total, offset, hot, huge=0, text=PROGRAM):
    """Run it; yield the process and the address of its memory."""
    words = [sys.executable, "-c", text, *map(str, (total, offset, hot, huge))]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def hottest(snapshot, nbytes):
    """The hottest memory, so much of it, as ranges."""
    found = []
    for region in sorted(snapshot.regions, key=lambda region: -(region.rate or 0)):
        size = min(nbytes, region.size)
        found.append((region.start, region.start + size))
        nbytes -= size
        if not nbytes:
            break
    return found


def found_of(snapshot, start, nbytes):
    """Which share of [start, start + nbytes) is among the hottest memory of that size."""
    return (
        sum(max(0, min(e, start + nbytes) - max(s, start)) for s, e in hottest(snapshot, nbytes))
        / nbytes
    )


def soon(stream, holds, tries=60):
    """The first of some snapshots of which something holds."""
    for _ in range(tries):
        snapshot = next(stream)
        if holds(snapshot):
            return snapshot
    pytest.fail(f"not within {tries} windows")


@pytest.mark.parametrize("huge", [0, 1], ids=["small", "huge"])
def test_hot_memory_is_found_and_found_again_where_it_went(huge):
    total, offset, hot = 512, 100, 32
    with (
        program(total, offset, hot, huge) as (process, base),
        isotherm.monitor(
            pid=process.pid, policy="sentinels", overhead="1%", backend="bpf", seed=1
        ) as session,
    ):
        stream = iter(session.snapshots())
        start = base + offset * MIB
        soon(stream, lambda snapshot: found_of(snapshot, start, hot * MIB) > 0.9)
        process.stdin.write("go\n")
        end = base + (total - hot) * MIB
        last = soon(stream, lambda snapshot: found_of(snapshot, end, hot * MIB) > 0.9)
        sizes = [region.size for region in last.regions]
        assert len(sizes) <= 1000
        assert all(region.low <= region.rate <= region.high for region in last.regions)


@pytest.mark.parametrize(("overhead", "policy"), [("1%", "damon"), ("0.1%", "sentinels")])
def test_the_policy_suits_the_size_and_says_why(overhead, policy):
    with (
        program(512, 64, 32) as (process, _),
        isotherm.monitor(pid=process.pid, policy="auto", overhead=overhead) as session,
    ):
        snapshot = next(iter(session.snapshots()))
        assert (session.choice.backend, session.choice.policy) == ("bpf", policy)
        assert "resident" in session.choice.policy_reason
        assert (snapshot.columns.rate is not None) == (policy == "sentinels")
        assert (snapshot.explored is not None) == (policy == "sentinels")


@pytest.mark.parametrize("overhead", [0.003, 0.01])
def test_its_share_of_a_cpu_is_kept(overhead):
    with (
        program(256, 64, 32) as (process, _),
        isotherm.monitor(
            pid=process.pid, policy="sentinels", overhead=overhead, backend="bpf", seed=1
        ) as session,
    ):
        spent = [(snapshot.end_ns, snapshot.cost.cpu_ns) for snapshot in session.snapshots("20s")]
    begin_ns = spent[0][0]  # of the second window
    early = [cpu_ns for end_ns, cpu_ns in spent if end_ns < begin_ns + 4.5e9]
    late = [cpu_ns for end_ns, cpu_ns in spent if end_ns >= begin_ns + 4.5e9]
    assert sum(early) < 2 * overhead * 5e9
    assert sum(late) < 1.1 * overhead * (spent[-1][0] - begin_ns - 4.5e9)


def test_memory_that_cannot_be_cleared_is_not_called_hot():
    # After a fork both share all of it, until one of them writes: no bit of it can be cleared.
    with (
        program(256, 64, 8, text=FORKED) as (process, base),
        isotherm.monitor(
            pid=process.pid,
            policy="sentinels",
            overhead="2%",
            backend="bpf",
            children=False,
            seed=1,
        ) as session,
    ):
        last = [*session.snapshots("4s")][-1]
        end = base + 256 * MIB
        rest = [r for r in last.regions if base + 80 * MIB <= r.start and r.end <= end]
        assert rest
        assert {region.nr_accesses for region in rest} <= {0, None}
