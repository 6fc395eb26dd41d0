"""The backend `bpf` on kernels that are not the host's; Debian 12's has no DAMON at all."""

import json
import os
import subprocess
import sys
from statistics import fmean

import pytest
from kit import KDAMONDS, MIB, judged, running, vmstat

import isotherm
from isotherm.backends.choose import choose
from isotherm.demo.spec import fixed, moving
from isotherm.kernel.features import probe

SERIES = os.uname().release


def command(*words):
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


#: 48 MiB of huge pages, of which 8 MiB at +16 MiB are hot.
HUGE = fixed([(16 * MIB, 8 * MIB)], nbytes=48 * MIB, seconds=100_000, pages="thp")


#: Of an emulated CPU, on which a system call takes ten times as long: 1 % would be a thousandth,
#: and half of it is the map of pages'.
SHARE = "5%"


def scores(work, seconds):
    with isotherm.monitor(pid=work.pid, backend="bpf", seed=1, overhead=SHARE) as session:
        found = [snapshot for snapshot in session.snapshots(seconds) if len(snapshot.columns)]
    return [judged(snapshot, work) for snapshot in found[len(found) // 2 :]]


@pytest.mark.parametrize("spec", [None, HUGE], ids=["small pages", "huge pages"])
def test_the_hot_area_is_found(spec):
    splits = vmstat("thp_split_page") + vmstat("thp_split_pmd")
    with running(spec) as work:
        found = scores(work, 8)
    f1 = sum(one.f1 for one in found) / len(found)
    top = sum(one.recall_at_k for one in found) / len(found)
    print(f"bpf on {SERIES}: F1 {f1:.3f}, R@k {top:.3f} in {len(found)} windows")
    assert f1 > 0.95
    assert top > 0.95
    assert vmstat("thp_split_page") + vmstat("thp_split_pmd") == splits


def test_a_moving_hot_area_is_followed():
    with running(moving(8 * MIB, nbytes=48 * MIB, steps=3, seconds=18)) as work:
        with isotherm.monitor(pid=work.pid, backend="bpf", seed=1, overhead=SHARE) as session:
            found = [snapshot for snapshot in session.snapshots(18) if len(snapshot.columns)]
        truth = work.truth
    last = [s for s in found if truth.phase_of(s) == 2][-10:]
    shares = [judged(snapshot, work, phase=2).recall_at_k for snapshot in last]
    print(f"bpf on {SERIES}, moving: R@k {sum(shares) / len(shares):.3f} in the last place")
    assert sum(shares) / len(shares) > 0.9


def test_the_commands_work(tmp_path):
    choice = choose(probe())
    print(f"on {SERIES}: {choose(probe(), 'bpf').reason}")
    has_damon = KDAMONDS.exists()
    assert has_damon == SERIES.startswith("6.12")
    assert choice.backend == ("kdamond" if has_damon else "bpf"), choice.why_not
    path = tmp_path / "one.isotherm"
    with running() as work:
        options = ("--backend", "bpf", "--overhead", SHARE, "-o", path)
        command("record", "-p", work.pid, "-d", "12s", *options)
        windows = [one for one in isotherm.open(path) if len(one.columns)]
        # Of the second half: one window may err by chance.
        seen = [judged(one, work).f1 for one in windows[len(windows) // 2 :]]
    found = json.loads(command("doctor", "--format", "json").stdout)
    print(f"isotherm doctor on {SERIES}: {found['choice']['backend']}")
    assert found["choice"]["backend"] == choice.backend
    print(f"bpf on {SERIES}, recorded: F1 {fmean(seen):.3f} in {len(seen)} windows")
    assert fmean(seen) > 0.9
    assert "used within" in command("report", path).stdout.lower()
