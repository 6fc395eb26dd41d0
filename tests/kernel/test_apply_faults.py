"""`isotherm apply` while targets, swap and privileges fail: counted, told, and it goes on."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from apply_kit import ALL, MIB, applying, descriptors, own_states, state_files, target  # noqa: F401

from isotherm.actions import treat as action_treat
from isotherm.kernel import undo
from isotherm.kernel.pages import madvise
from isotherm.schemefile.files import load
from isotherm.session.applying import Applying
from isotherm.session.options import Options
from support.sinks import Each

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("states")]


@pytest.fixture
def child():
    with target() as one:
        yield one


def no_swap_of_others(ours):
    """Give the test up if there is more swap: that of others cannot be filled or turned off."""
    if len(Path("/proc/swaps").read_text().splitlines()) > 1 + ours:
        pytest.skip("this machine has swap of somebody else")


@pytest.fixture
def tiny_swap(tmp_path):
    """4 MiB of swap, the only one with room as far as the test is asked."""
    no_swap_of_others(0)
    file = tmp_path / "tiny"
    file.touch(mode=0o600)
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, 4 << 20)
    subprocess.run(["mkswap", file], check=True, capture_output=True)
    subprocess.run(["swapon", file], check=True)
    yield file
    subprocess.run(["swapoff", file], check=True)
    file.unlink()


def only_cold(child):
    return f"pageout quota=none filter=+addr:{child.at:#x}-{child.at + child.cold:#x}"


@pytest.mark.usefixtures("tiny_swap")
def test_full_swap_is_counted_and_the_loop_goes_on(child, tmp_path):
    log = tmp_path / "log"
    with applying(only_cold(child), "-p", child.pid, "--log", log) as running:
        child.wait_until_away(2 * MIB)
        size = log.stat().st_size
        child.run("time.sleep(1)")
        assert log.stat().st_size > size
        result = running.tell().end()
    no_swap_of_others(1)
    (row,) = result["schemes"]
    assert 2 * MIB <= row["sz_applied"] == child.away() < 4 * MIB
    assert sum(row["errors"].values()) > 0
    errors = [json.loads(line)["error"] for line in log.read_text().splitlines()]
    counted = {}
    for one in filter(None, errors):
        for why, count in one.items():
            counted[why] = counted.get(why, 0) + count
    assert counted == row["errors"]
    assert any("swap" in why or "space" in why for why in counted)
    assert child.intact


def test_without_swap_it_is_told_beforehand_and_counted(child):
    no_swap_of_others(0)
    with applying(only_cold(child), "-p", child.pid) as running:
        running.wait_for("warning: no swap")
        child.run("time.sleep(0.5)")
        result = running.tell().end()
    no_swap_of_others(0)
    (row,) = result["schemes"]
    assert row["sz_applied"] == 0
    assert row["errors"]["no free swap: anonymous memory stays"] > 1
    assert child.away() == 0


@pytest.mark.usefixtures("swap")
def test_one_target_of_two_ends_and_the_other_is_gone_on_with(child):
    """In the middle of a window of the quota, which then would go on with the one that ended."""
    with target(cold=32 * MIB, hot=0) as other:
        args = ("-p", f"{child.pid},{other.pid}", "--update", "40ms")
        with applying("pageout quota=512K/100ms", *args) as running:
            child.wait_until_away(2 * MIB)
            child.close()
            other.wait_until_away(3 * MIB)
            running.tell().end()
        assert other.intact


@pytest.mark.usefixtures("swap")
def test_an_exec_in_the_middle(child):
    with applying(ALL, "-p", child.pid, "--update", "40ms") as running:
        child.wait_until_away(MIB)
        assert child.exec(
            "import random, sys; x = bytearray(random.Random(5).randbytes(24 << 20));"
            "print('new', flush=True); sys.stdin.readline();"
            "print(x == random.Random(5).randbytes(24 << 20), flush=True); sys.stdin.readline()"
        )
        text = Path(f"/proc/{child.pid}/status")
        child.wait_until(lambda: int(text.read_text().split("VmSwap:")[1].split()[0]) > 20 << 10)
        assert running.process.poll() is None
        running.tell().end()
    child._process.stdin.write("\n")
    child._process.stdin.flush()
    assert child._process.stdout.readline() == "True\n"


@pytest.mark.usefixtures("swap")
def test_memory_that_comes_and_goes_all_the_time(child):
    """Mapped, written, unmapped and mapped again elsewhere: what is there holds what it should."""
    child.run(
        "exec('wrong = 0\\nstop = False\\ndef churn():\\n global wrong\\n while not stop:\\n"
        "  m = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\\n"
        "  m[:] = random.Random(1).randbytes(4 << 20)\\n  time.sleep(0.02)\\n"
        "  wrong += m[:] != random.Random(1).randbytes(4 << 20)\\n  m.close()',"
        " globals().update(mmap=__import__('mmap')) or globals());"
        "import threading; t = threading.Thread(target=churn); t.start()"
    )
    with applying(ALL, "-p", child.pid, "--update", "20ms") as running:
        child.wait_until_away(child.cold - 2 * MIB)
        child.run("time.sleep(1)")
        running.tell().end()
    assert child.run("stop = True; t.join(); result = wrong") == "0"
    assert child.intact


@pytest.mark.usefixtures("swap")
def test_children_come_and_go(child):
    with applying(ALL, "-p", child.pid, "--update", "20ms") as running:
        running.wait_for("applying to")
        child.wait_until_away(MIB)  # all is open by now
        before = descriptors(running.process.pid)
        for _ in range(10):
            child.run(
                "pids = [os.fork() or (time.sleep(0.05), os._exit(whole() != before))"
                " for _ in 'ab']"
            )
            assert child.run("result = [os.waitpid(p, 0)[1] for p in pids]") == "[0, 0]"
        child.wait_until_away(child.cold)
        child.wait_until(lambda: descriptors(running.process.pid) <= before + 1)
        running.tell().end()
    assert child.intact


def done_in_process(child, states, monkeypatch, answer):
    """Apply within this process, with `answer` for the kernel's to each advice to page out."""
    real = action_treat.advise

    def advise(pidfd, advice, max_bytes, runs):
        if advice == madvise.PAGEOUT:
            return [answer] * (len(runs) // 16)
        return real(pidfd, advice, max_bytes, runs)

    monkeypatch.setattr(action_treat, "advise", advise)
    monkeypatch.setattr(undo, "state_folder", lambda: states)
    (one,) = load(only_cold(child)).schemes
    options = {"sample": "2ms", "aggr": "20ms", "pid": child.pid}
    with Applying(Options.of(schemes=(one,), **options)) as applying_here:
        # Memory is young at first, and told of from the second round on.
        session = applying_here.session
        applying_here.run("60s", Each(lambda snapshot: snapshot.index < 9 or session.stop()))
        return applying_here.result()


@pytest.mark.usefixtures("swap")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (0, action_treat.STAYED),  # as when swap is full
        (errno.EPERM, "not permitted"),
        (errno.ENOMEM, None),
        (errno.EINVAL, None),
        (errno.EIO, None),
    ],
)
def test_an_action_that_fails_for_each_region(child, states, monkeypatch, answer, said):
    result = done_in_process(child, states, monkeypatch, answer)
    stats = result.states[0].stats
    assert stats.nr_applied == stats.sz_applied == 0
    (reason,) = stats.errors
    assert said in (None, reason)
    assert stats.errors[reason] > 5
    assert result.snapshots == 10
    assert state_files(states) == set()
    monkeypatch.undo()
    assert child.away() == 0
    assert child.intact


@pytest.mark.usefixtures("swap")
def test_the_pid_of_a_target_that_ended_is_somebody_else_s_now(child):
    """Neither seen nor touched: what was opened by the pid before belongs to the old process."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    pid = child.pid
    with applying(ALL, "-p", pid, "--update", "5s", "--sample", "100ms", "--aggr", "200ms") as run:
        child.wait_until_away(MIB)
        os.kill(run.process.pid, 19)  # stop it, so that it cannot notice
        try:
            child.close()
            for _ in range(50):
                last.write_text(str(pid - 1))
                new = target(cold=8 * MIB, hot=0)
                other = new.__enter__()
                if other.pid == pid:
                    break
                new.__exit__(None, None, None)
            else:
                pytest.skip("the pid could not be had again")
        finally:
            os.kill(run.process.pid, 18)
        try:
            run.end()
            other.run("time.sleep(0.3)")
            assert other.away() == 0
            assert other.intact
        finally:
            new.__exit__(None, None, None)


@pytest.mark.usefixtures("swap")
def test_a_target_that_ends_within_an_action():
    for delay_ms in (0, 3, 7, 13, 29):
        with target(cold=128 * MIB, hot=0) as child:
            with applying(ALL, "-p", child.pid, "--regions", "3..10") as running:
                child.wait_until(lambda: child.away(size=4 * MIB) > 0)
                time.sleep(delay_ms / 1000)
                child.close()
                result = running.end()
            assert result["schemes"][0]["sz_applied"] <= 160 * MIB
