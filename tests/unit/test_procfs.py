import errno
import itertools
import os
import shutil
import subprocess

import pytest

from isotherm.errors import NotPermittedError, TargetGoneError
from isotherm.kernel import procfs, smaps
from isotherm.model.target import Mapping


def test_stat_with_a_name_that_looks_like_fields():
    line = b"42 (a) S 1 (b) R " + b" ".join(str(n).encode() for n in range(50)) + b"\n"
    got = procfs.parse_stat(line)
    assert (got.pid, got.name, got.state, got.ppid) == (42, "a) S 1 (b", "R", 0)


def test_stat_of_ourselves_agrees_with_other_witnesses():
    got = procfs.stat(os.getpid())
    assert got.ppid == os.getppid()
    assert not got.is_kernel_thread
    assert not got.is_zombie
    assert got.processor in range(os.cpu_count() or 1)
    assert got.start_ticks > 0
    times = os.times()
    spent = (times.user + times.system) * procfs.TICKS_PER_SECOND
    assert got.cpu_ticks == pytest.approx(spent, abs=10)


def test_maps_line_forms():
    text = b"7f1200000000-7f1200021000 rw-p 00000000 00:00 0 "
    assert procfs.parse_maps_line(text) == (
        Mapping(0x7F1200000000, 0x7F1200021000, "rw-p", ""),
        "00:00",
    )
    text = b"00400000-00401000 r--s 00001000 fd:01 12345678                  /tmp/a b (deleted)"
    assert procfs.parse_maps_line(text) == (
        Mapping(0x400000, 0x401000, "r--s", "/tmp/a b (deleted)"),
        "fd:01",
    )


def test_maps_and_statm_of_ourselves():
    mappings = procfs.maps(os.getpid())
    assert all(a.end <= b.start for a, b in itertools.pairwise(mappings))
    assert any(m.name == "[stack]" for m in mappings)
    mapped = sum(m.size for m in mappings if m.name != "[vsyscall]")
    assert procfs.statm(os.getpid()).mapped_bytes == pytest.approx(mapped, rel=0.1)


def test_smaps_agrees_with_maps_and_statm():
    entries = smaps.smaps(os.getpid())
    mappings = {m.start for m in procfs.maps(os.getpid())}
    assert len({e.mapping.start for e in entries} & mappings) > len(mappings) // 2
    resident = sum(e.rss_bytes for e in entries)
    assert procfs.statm(os.getpid()).resident_bytes == pytest.approx(resident, rel=0.3)
    assert all(e.referenced_bytes <= e.rss_bytes for e in entries)
    assert any("rd" in e.flags for e in entries)


def test_smaps_text():
    text = b"""\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0                          [anon:Heap Rss: 7 kB]
Size:               4096 kB
Rss:                2052 kB
Pss:                2049 kB
Pss_Dirty:             1 kB
Shared_Clean:          4 kB
Private_Clean:         8 kB
Private_Dirty:      2040 kB
Referenced:         2048 kB
AnonHugePages:      2048 kB
Swap:                  8 kB
Shared_Hugetlb:     4096 kB
Private_Hugetlb:    2048 kB
Locked:                4 kB
VmFlags: rd wr mr lo hg
7f0000400000-7f0000401000 r--p 00000000 00:00 0
Rss:                   0 kB
"""
    first, second = smaps.parse_smaps(text)
    assert first.mapping.name == "[anon:Heap Rss: 7 kB]"
    assert first.rss_bytes == 2052 << 10
    assert (first.pss_bytes, first.private_bytes) == (2049 << 10, 2048 << 10)
    assert first.hugetlb_bytes == 6144 << 10
    assert first.referenced_bytes == first.anon_huge_bytes == 2048 << 10
    assert (first.swap_bytes, first.locked_bytes) == (8192, 4096)
    assert first.flags == {"rd", "wr", "mr", "lo", "hg"}
    assert second.flags == frozenset()


def test_missing_process_is_gone_with_a_hint():
    for reader in (procfs.stat, procfs.statm, procfs.maps, smaps.smaps):
        with pytest.raises(TargetGoneError, match="no process 4194305") as caught:
            reader(4194305)  # above the largest pid the kernel ever gives
        assert caught.value.hint
        assert caught.value.exit_code == 3


def test_find_by_name(tmp_path):
    program = tmp_path / "a-name-longer-than-15-bytes"
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "60"]) as child:
        try:
            assert procfs.find_by_name(program.name) == [child.pid]
            assert procfs.find_by_name("a-name-longer-t") == [child.pid]
            assert procfs.find_by_name("a-name-longer") == []
        finally:
            child.kill()


def test_kvm_is_not_seen_in_ourselves():
    assert not procfs.runs_kvm_guest(os.getpid())


def refuse(pid):
    with procfs.reading(pid, "clear_refs"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_refusal_by_a_zombie_means_that_it_is_gone():
    """Its files in /proc belong to root: its owner is refused what was allowed before."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(TargetGoneError):
            refuse(pid)
    finally:
        os.waitpid(pid, 0)


def test_refusal_by_the_living_is_one():
    with pytest.raises(NotPermittedError, match="clear_refs"):
        refuse(os.getpid())
