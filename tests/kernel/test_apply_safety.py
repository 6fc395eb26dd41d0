"""Where all memory matches and nothing holds back, what must not be touched is not touched."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import huge_kib, swap  # noqa: F401 - a fixture
from apply_kit import ALL, MIB, applying, own_states, target  # noqa: F401 - a fixture
from bpf_kit import HUGE, vmstat
from memory_kit import PAGE, cached_file, entries

from isotherm.actions.memory import SHARED
from isotherm.actions.obstacles import LOCKED

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("swap", "states")]
SIZE = 2 * MIB


@pytest.fixture
def child():
    with target(cold=16 * MIB, hot=0) as one:
        yield one


def refused(log, at, size):
    """What the kernel was asked for in vain within [at, at + size)."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [
        line["error"]
        for line in lines
        if line["error"] and at <= int(line["start"], 16) and int(line["end"], 16) <= at + size
    ]


def test_locked_and_shared_memory_stays_while_all_else_goes(child, tmp_path):
    file = cached_file(tmp_path / "mapped", SIZE)
    made = {
        "locked": child.make(f"memory.small({SIZE})"),
        "MAP_SHARED": child.make(f"memory.map({SIZE}, kit.SHARED | kit.ANON)"),
        "memfd": child.make(
            f"(lambda fd: (os.ftruncate(fd, {2 * SIZE}), memory.map({SIZE}, kit.SHARED, fd=fd, "
            "align=4096))[1])(os.memfd_create('x'))"
        ),
        "shared file": child.make(f"memory.file(kit.Path({str(file)!r}), {SIZE})"),
    }
    child.run(f"kit.check(kit.libc.mlock2({made['locked']}, {SIZE}, 0))")
    for name, at in made.items():
        child.run(f"kit.{'touch' if name == 'shared file' else 'write'}({at}, {SIZE})")
    log = tmp_path / "log"
    with applying(ALL, "-p", child.pid, "--log", log, "--regions", "100..1000") as running:
        child.wait_until_away(child.cold)
        child.run("time.sleep(0.4)")
        result = running.tell().end()
    assert child.away() == child.cold
    for name, at in made.items():
        # Clean pages of a file that nobody else maps are dropped, whatever the mapping is called.
        assert child.away(at, SIZE) == (SIZE if name == "shared file" else 0), name
        ours = {"locked": [{LOCKED: 1}], "shared file": []}.get(name, [{SHARED: 1}])
        # Told once, wherever it was met first.
        assert refused(log, at, SIZE) in ([], ours), f"{name}: the kernel refused it, we did not"
    assert result["schemes"][0]["errors"][SHARED] == 1
    assert result["schemes"][0]["sz_applied"] >= child.cold
    assert child.intact


def test_memory_shared_after_a_fork_is_left_alone_until_it_is_one_s_own(child, tmp_path):
    shared, own = (child.make(f"memory.small({SIZE})") for _ in range(2))
    child.run(f"kit.write({shared}, {SIZE}); kit.write({own}, {SIZE})")
    forked = int(
        child.run(
            "import signal; result = os.fork()\n".replace("\n", "")
            + "; result or (signal.pause(), os._exit(0))"
        )
    )
    child.run(f"kit.write({own}, {SIZE})")  # copies: now the parent's alone
    log = tmp_path / "log"
    with applying(ALL, "-p", child.pid, "--no-children", "--log", log) as running:
        child.wait_until(lambda: child.away(own, SIZE) == SIZE)
        child.run("time.sleep(0.4)")
        assert refused(log, child.at, child.cold) == [], "the kernel refused it, we did not"
        assert child.away(shared, SIZE) == 0
        assert child.away() == 0  # the cold memory of before the fork is shared as well
        child.run(f"os.kill({forked}, 9); os.waitpid({forked}, 0)")
        child.wait_until_away(child.cold)
        child.wait_until(lambda: child.away(shared, SIZE) == SIZE)
        running.tell().end()
    assert child.intact


def test_with_children_what_both_share_stays_with_both(child):
    forked = int(child.run("import signal; result = os.fork(); result or (signal.pause(), 0)"))
    with applying(ALL, "-p", child.pid) as running:
        running.wait_for("applying to")
        child.run("time.sleep(1)")
        running.tell().end()
    words = entries(f"/proc/{forked}/pagemap", child.at // PAGE, child.cold // PAGE)
    assert all(word >> 63 for word in words)
    assert child.away() == 0
    child.run(f"os.kill({forked}, 9); os.waitpid({forked}, 0)")
    assert child.intact


def test_huge_pages_go_whole_or_not_at_all(child):
    """Eight huge pages, and filters of addresses that cut the first and the last one."""
    at = child.make(f"memory.huge({8 * HUGE})")
    child.run(f"kit.write({at}, {8 * HUGE})")
    if huge_kib(child.pid, at) < 8 * 2048:
        pytest.skip("the memory did not become huge pages")
    before = vmstat("thp_split_page ")["thp_split_page"]
    low, high = at + HUGE // 2, at + 8 * HUGE - 5 * PAGE
    own = f"pageout quota=none filter=+addr:{low:#x}-{high:#x}"
    with applying(own, "-p", child.pid, "--regions", "3..6") as run:
        child.wait_until(lambda: child.away(at + HUGE, 6 * HUGE) == 6 * HUGE)
        child.run("time.sleep(0.4)")
        result = run.tell().end()
    assert child.away(at, HUGE) == child.away(at + 7 * HUGE, HUGE) == 0
    assert huge_kib(child.pid, at) == 2 * 2048
    assert result["schemes"][0]["sz_applied"] == 6 * HUGE
    split = vmstat("thp_split_page ")["thp_split_page"] - before
    # Splits of others on this machine count as well; ours would be one for each that was cut.
    assert child.away() == 0
    assert split <= 6


def test_small_regions_split_no_huge_page(child):
    """Regions of any size and place, all the time: a folio goes with the one of its middle."""
    at = child.make(f"memory.huge({8 * HUGE})")
    child.run(f"kit.write({at}, {8 * HUGE}); kit.write({at + 3 * HUGE}, {HUGE})")
    if huge_kib(child.pid, at) < 8 * 2048:
        pytest.skip("the memory did not become huge pages")
    child.run(
        f"exec('def use():\\n while True:\\n  kit.write({at + 3 * HUGE}, 8 * 4096)\\n"
        "  time.sleep(0.001)'); threading.Thread(target=use, daemon=True).start()"
    )
    with applying(ALL, "-p", child.pid, "--regions", "500..1000") as running:
        child.wait_until(lambda: child.away(at, 3 * HUGE) == 3 * HUGE)
        child.wait_until_away(child.cold)
        child.run("time.sleep(0.3)")
        running.tell().end()
    gone = [child.away(at + i * HUGE, HUGE) for i in range(8)]
    assert set(gone) <= {0, HUGE}, gone


def test_a_huge_page_of_which_a_part_was_given_back_is_left_alone(child):
    """To page it out the kernel would have to split it."""
    at = child.make(f"memory.huge({4 * HUGE})")
    child.run(f"kit.write({at}, {4 * HUGE})")
    if huge_kib(child.pid, at) < 4 * 2048:
        pytest.skip("the memory did not become huge pages")
    hole = at + HUGE + 7 * PAGE
    child.run(f"kit.check(kit.libc.madvise({hole}, {9 * PAGE}, 4))")  # MADV_DONTNEED
    with applying(ALL, "-p", child.pid) as running:
        child.wait_until(lambda: child.away(at, HUGE) == child.away(at + 3 * HUGE, HUGE) == HUGE)
        child.wait_until_away(child.cold)
        child.run("time.sleep(0.4)")
        running.tell().end()
    assert child.away(at + HUGE, HUGE) == 9 * PAGE
