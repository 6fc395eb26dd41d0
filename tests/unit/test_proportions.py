"""How much of what is resident is whose: Pss, within its thousandth of a CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from isotherm.kernel.smaps import proportional_bytes
from isotherm.targets import proportions
from isotherm.targets.proportions import Proportions
from isotherm.targets.target_set import ProcessTargets

MIB, S = 1 << 20, 1_000_000_000


def test_it_is_what_the_kernel_says():
    # Of a process that stands, so that nothing changes between the two.
    with subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        try:
            text = Path(f"/proc/{child.pid}/smaps").read_text()
            told = sum(int(kib) for kib in re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE))
            targets = ProcessTargets([child.pid])
            (target,) = [found.target for found in targets.targets(64)]
            targets.close()
            # Other processes come and go that share its libraries.
            assert target.proportional_bytes == pytest.approx(told << 10, rel=0.2)
            assert 0 < target.proportional_bytes <= target.resident_bytes
        finally:
            child.kill()
    assert proportional_bytes(os.getpid()) > 0


class Reads:
    """Reads that cost 10 ms each, and a clock."""

    def __init__(self, monkeypatch):
        self.now_ns = self.cpu_ns = 0
        self.of = []
        monkeypatch.setattr(proportions, "proportional_bytes", self.read)
        self.made = Proportions(lambda: self.now_ns, lambda: self.cpu_ns)

    def read(self, pid):
        self.of.append(pid)
        self.cpu_ns += 10_000_000
        return pid * MIB

    def look(self, after_ns, *members):
        self.now_ns += after_ns
        return self.made.of([(SimpleNamespace(target_id=n, tid=n), size) for n, size in members])


def test_all_processes_together_cost_a_thousandth_of_a_cpu(monkeypatch):
    reads = Reads(monkeypatch)
    members = [(number, MIB) for number in range(20)]
    for _ in range(1000):
        found = reads.look(S, *members)
    assert len(found) == 20
    assert reads.cpu_ns <= 1000 * S // 1000 + 20_000_000 + 10_000_000
    # Each in its turn.
    counts = [reads.of.count(number) for number in range(20)]
    assert max(counts) - min(counts) <= 1


def test_a_large_process_waits_until_its_read_is_earned(monkeypatch):
    reads = Reads(monkeypatch)
    large = 1, 10 << 30  # expected to cost 0.6 s
    assert reads.look(0, large, (2, MIB)) == {2: 2 * MIB}
    assert reads.look(500 * S, large) == {}
    assert reads.look(200 * S, large) == {1: MIB}
    assert reads.look(0) == {}


def test_what_stays_as_large_among_the_same_is_read_seldom(monkeypatch):
    reads = Reads(monkeypatch)
    for _ in range(25):  # 250 s
        reads.look(10 * S, (1, 64 * MIB), (2, 64 * MIB))
    assert reads.of.count(1) <= 250 // 30 + 1
    before = len(reads.of)
    reads.look(10 * S, (1, 64 * MIB), (2, 80 * MIB))
    assert reads.of[before:].count(2) == 1
    before = len(reads.of)
    reads.look(10 * S, (1, 64 * MIB), (2, 80 * MIB), (3, MIB))
    assert set(reads.of[before:]) == {1, 2, 3}
