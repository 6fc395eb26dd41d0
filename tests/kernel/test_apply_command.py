"""`isotherm apply` on real processes, with the page tables as witness of what it tells."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from apply_kit import (
    ALL,
    MIB,
    PAGE,
    apply,
    applying,
    own_states,  # noqa: F401 - a fixture
    state_files,
    swapped_bytes,
    target,
)

from isotherm.kernel.cgroupfs import memory_root

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("swap", "states")]


@pytest.fixture
def child():
    with target() as one:
        yield one


def applied(result):
    return result["schemes"][0]["sz_applied"]


def test_cold_memory_goes_and_the_numbers_are_those_of_the_page_tables(child, tmp_path, states):
    log = tmp_path / "log"
    with applying(ALL, "-p", child.pid, "--log", log, "--update", "40ms") as running:
        child.wait_until_away(child.cold)
        child.run("time.sleep(0.3)")
        result = running.tell().end()
    assert child.away(child.hot_at, child.hot) <= child.hot // 4
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line["done"] for line in lines) == applied(result)
    assert sum(line["asked"] for line in lines) == result["schemes"][0]["sz_tried"]
    assert len(lines) == result["schemes"][0]["nr_tried"]
    assert {line["pid"] for line in lines} == {child.pid}
    # Within the cold memory itself nothing comes back: it is exactly what went.
    inside = [
        line
        for line in lines
        if int(line["start"], 16) >= child.at and int(line["end"], 16) <= child.at + child.cold
    ]
    assert sum(line["done"] for line in inside) <= child.cold
    went = result["resident_before"] - result["resident_after"]
    assert applied(result) >= child.cold
    assert abs(went - swapped_bytes(child.pid)) < 8 * MIB
    assert sum(row["done"] for row in result["mappings"]) == pytest.approx(
        applied(result), abs=PAGE * result["schemes"][0]["nr_tried"]
    )
    assert child.intact
    assert state_files(states) == set()


def test_with_nothing_that_comes_back_the_result_is_exact(child):
    """Of memory of one kind alone, in one mapping, by filters: what is applied is what is away."""
    own = f"pageout quota=none filter=+addr:{child.at:#x}-{child.at + child.cold:#x}"
    with applying(own, "-p", child.pid) as running:
        child.wait_until_away(child.cold)
        result = running.tell().end()
    assert applied(result) == child.cold
    assert child.intact


def lines(log):
    """The whole lines of a log that is being written."""
    return (
        [line for line in log.read_text().splitlines(True) if line.endswith("\n")]
        if log.exists()
        else []
    )


def test_a_dry_run_changes_nothing_and_says_as_much(child, tmp_path, states):
    log = tmp_path / "log"
    own = f"pageout quota=none filter=+addr:{child.at:#x}-{child.at + child.cold:#x}"
    with applying(own, "-p", child.pid, "--dry-run", "--log", log) as running:
        running.wait_for("dry run on")
        # Of nothing is it known at once that it is idle.
        child.wait_until(
            lambda: sum(json.loads(line).get("done", 0) for line in lines(log)) > child.cold
        )
        assert state_files(states) == set()
        result = running.tell().end()
    assert result["dry_run"] is True
    assert child.away() == 0
    (row,) = result["mappings"]
    assert 0 < row["different"] <= child.cold
    assert applied(result) >= child.cold // 2
    assert all(json.loads(line)["dry_run"] for line in log.read_text().splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(child, number, states):
    with applying(ALL, "-p", child.pid) as running:
        result = running.wait_for("applying to").tell(number).end()
    assert result["schema"] == "isotherm.apply/1"
    assert [row["scheme"] for row in result["schemes"]] == ["pageout"]
    assert state_files(states) == set()
    assert child.intact


def test_ctrl_c_before_the_first_snapshot_is_no_target_that_ended(child):
    with applying(ALL, "-p", child.pid, "--sample", "1s", "--aggr", "30s") as running:
        result = running.wait_for("applying to").tell().end()
    assert result["snapshots"] == 0
    assert "ended" not in running.said


def test_schemes_that_rest_end_after_the_duration(child):
    result, said = apply("pageout quota=none watermark=free:2%/1%/0%", "-p", child.pid, "-d", "1s")
    assert result["snapshots"] == 0
    assert result["schemes"][0]["nr_tried"] == 0
    assert "ended" not in said
    assert child.away() == 0


def test_in_the_middle_of_a_long_action(tmp_path, states):
    """All of 192 MiB in one region: the answer to ctrl-c comes after it, and is complete."""
    with target(cold=192 * MIB, hot=0) as child:
        log = tmp_path / "log"
        args = ("-p", child.pid, "--log", log, "--regions", "3..10")
        with applying(ALL, *args) as running:
            child.wait_until(lambda: child.away(size=8 * MIB) > MIB)
            result = running.tell().end()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert sum(line["done"] for line in lines) == applied(result) >= child.away() - MIB
        assert child.away() >= MIB
        assert state_files(states) == set()
        assert child.intact


def test_the_end_of_the_target_is_the_end(child, states):
    with applying(ALL, "-p", child.pid) as running:
        child.wait_until_away(MIB)
        child.close()
        result = running.end()
    assert applied(result) >= MIB
    assert state_files(states) == set()


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit(23)", 23), ("os.kill(os.getpid(), 9)", 137)]
)
def test_the_status_of_a_command_is_returned(end, status):
    script = f"import os, sys, time; x = bytearray(os.urandom(16 << 20)); time.sleep(1); {end}"
    result, _ = apply(ALL, "--", sys.executable, "-c", script, status=status)
    assert result["snapshots"] > 0
    assert applied(result) > 0


def test_a_command_that_ends_at_once():
    _, said = apply(ALL, "--", "true")
    assert "Traceback" not in said


def test_by_name(child, tmp_path):
    script = tmp_path / "odd-name-17"
    script.symlink_to(sys.executable)
    waiting = "x = bytearray(8 << 20); print('ready', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([script, "-c", waiting], **pipes) as named:
        named.stdout.readline()
        with applying(ALL, "-n", "odd-name-17") as running:
            child.wait_until(lambda: swapped_bytes(named.pid) > 6 * MIB)
            running.tell().end()
        named.communicate(b"\n")
    assert child.away() == 0


@pytest.fixture
def group():
    folder = memory_root() / "isotherm-test-apply"
    folder.mkdir()
    yield folder
    if folder.exists():
        for pid in (folder / "cgroup.procs").read_text().split():
            (folder.parent / "cgroup.procs").write_text(pid)
        folder.rmdir()


def test_the_processes_of_a_cgroup_and_no_others(child, group):
    with target(cold=8 * MIB, hot=0) as other:
        (group / "cgroup.procs").write_text(str(child.pid))
        with applying(ALL, "-G", f"/{group.name}") as running:
            child.wait_until_away(child.cold)
            result = running.tell().end()
        assert applied(result) >= child.cold
        assert other.away() == 0


def test_a_scheme_outlives_the_cgroup_that_it_is_for(child, group):
    scheme = f"pageout quota=none filter=+memcg:/{group.name}"
    (group / "cgroup.procs").write_text(str(child.pid))
    with applying(scheme, "-p", child.pid) as running:
        running.wait_for("applying to")
        (group.parent / "cgroup.procs").write_text(str(child.pid))
        group.rmdir()
        child.run("time.sleep(0.5)")
        assert running.process.poll() is None
        result = running.tell().end()
    assert result["snapshots"] > 5
    # The group is gone and the scheme is for it only: said, counted, and nothing done.
    (reason,) = result["schemes"][0]["errors"]
    assert group.name in reason
    assert applied(result) <= child.away()


def test_who_leaves_the_cgroup_is_let_go(child, group):
    """And with the last member the run is over."""
    (group / "cgroup.procs").write_text(str(child.pid))
    with applying("stat access=0%..", "-G", group, "--update", "50ms") as running:
        running.wait_for("applying to")
        child.run("time.sleep(0.5)")
        (group.parent / "cgroup.procs").write_text(str(child.pid))
        result = running.end()
    assert result["snapshots"] > 0
    assert result["schemes"][0]["nr_tried"] > 0


def test_no_such_cgroup_and_an_empty_one(group):
    _, said = apply(ALL, "-G", "/no/such/group", status=3)
    assert "no cgroup" in said
    assert "hint:" in said
    _, said = apply(ALL, "-G", f"/{group.name}", status=3)
    assert "no process" in said


def test_an_own_scheme_in_a_file(child, tmp_path):
    own = tmp_path / "mine.yaml"
    made = subprocess.run(
        [sys.executable, "-m", "isotherm", "scheme", "convert", "--to", "yaml",
         "pageout name=mine access=0% age=200ms.. quota=none"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    own.write_text(made.stdout)
    with applying(own, "-p", child.pid) as running:
        child.wait_until_away(child.cold - 2 * MIB)
        result = running.tell().end()
    assert result["schemes"][0]["scheme"] == "mine"
    assert child.away(child.hot_at, child.hot) == 0
    assert child.intact


def test_a_guard_holds_back_and_lets_go_on(child, tmp_path):
    healthy = tmp_path / "healthy"
    log = tmp_path / "log"
    guard = f"cmd=test -e {healthy}"
    scheme = "pageout quota=256K/100ms"
    args = ("-p", child.pid, "--guard", guard, "--log", log)
    with applying(scheme, *args) as running:
        running.wait_for("holding back")
        done = log.read_text()
        child.run("time.sleep(1)")
        assert log.read_text() == done
        healthy.touch()
        running.wait_for("going on with 6% of the quota")
        child.wait_until(lambda: log.read_text() != done)
        result = running.tell().end()
    assert f"guard: test -e {healthy} fails: holding back" in running.said
    assert applied(result) < child.cold


def test_a_guard_whose_command_leaves_nothing_running(child):
    with applying(ALL, "-p", child.pid, "--guard", "cmd=sleep 600") as running:
        running.wait_for("applying to")
        threads = Path(f"/proc/{running.process.pid}/task")

        def started():
            return [
                pid for one in threads.iterdir() for pid in (one / "children").read_text().split()
            ]

        child.wait_until(started)
        (guard_pid,) = map(int, started())
        running.tell().end()
    assert not Path(f"/proc/{guard_pid}").exists()


def test_a_full_disk_ends_it_with_one_line(child, states):
    with applying(ALL, "-p", child.pid, "--log", "/dev/full") as running:
        result = running.end(1)
    assert result is None
    assert "No space left" in running.said
    assert state_files(states) == set()
    assert os.path.exists(f"/proc/{child.pid}")  # noqa: PTH110
    assert child.intact


_ASKS = """
import ctypes, time
print(ctypes.CDLL(None).prctl(42, 0, 0, 0, 0), flush=True)
time.sleep(9)
"""


@pytest.mark.parametrize("options", [(), ("--no-thp",)])
def test_a_command_may_begin_without_huge_pages(options):
    words = [sys.executable, "-m", "isotherm", "apply", "stat", "-d", "300ms", *options]
    done = subprocess.run(
        [*words, "--", sys.executable, "-c", _ASKS], capture_output=True, text=True, check=False
    )
    assert int(done.stdout.splitlines()[0]) & 1 == len(options)
