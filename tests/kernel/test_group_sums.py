"""What groups have in memory, once and in proportion: held against pagemap and smaps_rollup."""

import os
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import isotherm
from isotherm.kernel import procfs
from isotherm.kernel.smaps import proportional_bytes
from support.cgroups import groups_in, mounted
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

PAGE, MIB = 4096, 1 << 20
SHARED = 16 * MIB
#: Shares 16 MiB with its two children, which share 2 MiB of its own as long as nobody writes.
FAMILY = f"""
import mmap, os, time
shared = mmap.mmap(-1, {SHARED})
own = bytearray(b"x" * {2 * MIB})
shared[:] = bytes([1]) * len(shared)
for _ in range(2):
    if not os.fork():
        break
for at in range(0, len(shared), {PAGE}):
    shared[at]
time.sleep(600)
"""
_NO_MEMORY = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")
_ZERO_PAGE = 1 << 24


@pytest.fixture
def family():
    with groups_in(next(iter(mounted().values()))) as groups:
        first = groups.start("together", (sys.executable, "-S", "-c", FAMILY))
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
        wait_for(lambda: len(children.read_text().split()) == 2)
        pids = [first.pid, *map(int, children.read_text().split())]
        wait_for(lambda: all(procfs.statm(pid).shared_bytes > SHARED for pid in pids))
        groups.join("apart", pids[2])
        try:
            yield groups, pids
        finally:
            for pid in pids[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def frames(pid):
    """The page frames that a process maps, but for those of the kernel's own pages."""
    found = set()
    with (
        open(f"/proc/{pid}/maps") as maps,  # noqa: PTH123
        open(f"/proc/{pid}/pagemap", "rb") as pagemap,  # noqa: PTH123
        open("/proc/kpageflags", "rb") as flags,  # noqa: PTH123
    ):
        for line in maps:
            words = line.split()
            if len(words) > 5 and words[5] in _NO_MEMORY:
                continue
            start, end = (int(text, 16) for text in words[0].split("-"))
            pagemap.seek(start // PAGE * 8)
            for (entry,) in struct.iter_unpack("Q", pagemap.read((end - start) // PAGE * 8)):
                if entry >> 63 and entry & (1 << 55) - 1:
                    found.add(entry & (1 << 55) - 1)
        for frame in list(found):
            flags.seek(frame * 8)
            if struct.unpack("Q", flags.read(8))[0] & _ZERO_PAGE:
                found.remove(frame)
    return found


def test_what_a_group_has_counts_once_and_in_proportion(family):
    groups, pids = family
    wish = {"cgroup": groups.path("*"), "backend": "bpf", "policy": "map", "overhead": "50%"}
    with isotherm.monitor(**wish) as session:
        taken = zip(range(100), session.snapshots(), strict=False)
        use, targets = next(
            (one.page_use, one.targets)
            for _, one in taken
            if one.page_use is not None and not one.page_use.uncovered
        )
    once = {one.group: one for one in use.groups}
    together, apart = (f"cgroup {groups.path(name)}" for name in ("together", "apart"))
    assert set(once) == {together, apart}
    for title, members in ((together, pids[:2]), (apart, pids[2:])):
        distinct = len(set().union(*map(frames, members))) * PAGE
        assert once[title].resident == pytest.approx(distinct, abs=16 * PAGE)
        rows = [row for row in use.rows if targets[row.target].group == title]
        proportional = sum(proportional_bytes(pid) for pid in members)
        assert sum(row.resident for row in rows) == pytest.approx(proportional, rel=0.02)
    # The 16 MiB are whole in each group, though a third of them is of each process.
    assert once[apart].resident > SHARED
    of_all = sum(row.resident for row in use.rows if row.kind == "shmem")
    assert of_all == pytest.approx(SHARED, abs=3)
