"""The self-test of the access check, while its thread is moved between CPUs all the time."""

import os
import subprocess
import sys

import pytest

from isotherm._core import AccessBpf
from isotherm.kernel.bpf import open_walker

pytestmark = pytest.mark.kernel

RUNS = 2000
MOVER = """
import os, sys, time
cpus, moves = sorted(os.sched_getaffinity(0)), 0
print(flush=True)
while os.getppid() == int(sys.argv[1]):
    os.sched_setaffinity(int(sys.argv[1]), [cpus[moves % len(cpus)]])
    moves += 1
    if moves % 100 == 0:
        print(moves, flush=True)
    time.sleep(0.00002)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="moving takes two CPUs")
@pytest.mark.parametrize("ignore_folios", [False, True])
def test_no_move_between_cpus_makes_it_fail(ignore_folios, tmp_path):
    """Pages that were faulted in on another CPU wait there, and cannot be cleared."""
    before = os.sched_getaffinity(0)
    access = AccessBpf(open_walker(), overhead_ns=10_000_000, ignore_folios=ignore_folios)
    problems = []
    with (tmp_path / "moves").open("w+") as moves:
        mover = subprocess.Popen([sys.executable, "-c", MOVER, str(os.getpid())], stdout=moves)
        try:
            for _ in range(RUNS):
                try:
                    access.self_test()
                except OSError as error:
                    problems.append(str(error))
        finally:
            mover.kill()
            mover.wait()
            os.sched_setaffinity(0, before)
            access.close()
        moves.seek(0)
        assert int(moves.read().split()[-1]) > RUNS // 10
    assert not problems, f"{len(problems)} of {RUNS}: {problems[0]}"
