"""The filter of idle pages: page-exact between pages in use, and never too early."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from bpf_kit import MIB, PAGE, Child, cleared, taken_by_damon, watching
from memory_kit import cached_file, pagemap

import isotherm
from isotherm.actions.obstacles import NOT_WATCHED
from isotherm.model.scheme import Action, Age, Filter, FilterType, Pattern, Scheme

pytestmark = pytest.mark.kernel

PAGES, STEP = 1531, 7  # prime; every 7th page is in use
IDLE_US = 300_000


def idle(microseconds=IDLE_US):
    return Filter(FilterType.IDLE, False, False, (microseconds, 2**64 - 1))


STAT, OUT = (Scheme(action, filters=(idle(),)) for action in (Action.STAT, Action.PAGEOUT))


@pytest.fixture
def child():
    child = Child()
    yield child
    child.close()


@pytest.fixture
def start(child):
    start = child.make(f"memory.small({PAGES} * 4096)")
    child.run(f"kit.write({start}, {PAGES * PAGE})")
    return start


@pytest.fixture
def ops(child, start):
    with watching(child.pid, with_map=True) as ops:
        yield ops


def used(start):
    return [start + page * PAGE for page in range(0, PAGES, STEP)]


def use(child, start):
    child.run(f"[kit.touch(a) for a in range({start}, {start + PAGES * PAGE}, {STEP * PAGE})]")


def act(ops, scheme, start, **options):
    return ops.act(scheme, 0, start, start + PAGES * PAGE, filtered=True, **options)


def present(child, start):
    return {
        start + page * PAGE
        for page, (here, _, _) in enumerate(pagemap(start, PAGES, child.pid))
        if here
    }


def watch(ops, seconds, act=lambda: None):
    """Let the map work so long once all was looked at, and `act` now and then."""
    end = None
    while end is None or time.monotonic() < end:
        act()
        if end is None and ops.map.covered():
            end = time.monotonic() + seconds
        wait_ns = ops.map.step() - time.monotonic_ns()
        time.sleep(min(0.02, max(0, wait_ns) / 1e9))


@pytest.mark.usefixtures("swap")
def test_only_pages_that_were_idle_so_long_go_out(child, ops, start):
    done = act(ops, OUT, start)
    assert done.applied_bytes == 0
    watch(ops, 0)
    assert act(ops, OUT, start).applied_bytes == 0
    assert len(present(child, start)) == PAGES
    watch(ops, IDLE_US / 1e6, lambda: use(child, start))
    gone = PAGES - len(used(start))
    assert act(ops, OUT, start, dry=True).applied_bytes == gone * PAGE
    assert len(present(child, start)) == PAGES
    assert act(ops, OUT, start).applied_bytes == gone * PAGE
    assert present(child, start) == set(used(start))
    # What is not used any more goes as well, once it was cleared anew: epochs take 1 to 16 s.
    for _ in range(50):
        watch(ops, IDLE_US / 1e6)
        act(ops, OUT, start)
        if not present(child, start):
            break
    assert present(child, start) == set()


def test_what_nobody_watched_for_so_long_is_left_alone_and_counted_once(ops, start):
    watch(ops, 0)
    scheme = Scheme(Action.STAT, filters=(idle(3_600_000_000),))
    assert act(ops, scheme, start).errors == {NOT_WATCHED: 1}
    done = act(ops, scheme, start)
    assert (done.passed_bytes, done.errors) == (0, {})


def test_without_a_map_nobody_tells(child):
    with watching(child.pid) as ops:
        assert "map of pages" in ops.why_not(STAT)


def test_memory_that_is_mapped_anew_is_not_idle(child, ops, start):
    watch(ops, IDLE_US / 1e6)
    child.run(
        f"kit.check(kit.libc.mmap({start}, {PAGES} * 4096, 3, "
        f"kit.PRIVATE | kit.ANON | 0x10, -1, 0)); kit.write({start}, {PAGES * PAGE})"
    )
    away = act(ops, STAT, start).passed_bytes // PAGE
    assert away <= taken_by_damon(PAGES)


def test_pages_that_the_sampler_cleared_are_not_idle(child, ops, start):
    watch(ops, IDLE_US / 1e6)
    use(child, start)
    assert set(cleared(ops, used(start)))
    idle = act(ops, STAT, start).passed_bytes // PAGE
    assert 0 <= idle - (PAGES - len(used(start))) <= taken_by_damon(PAGES)


@pytest.mark.parametrize("action", [Action.COLD, Action.LRU_DEPRIO])
def test_pages_that_an_action_cleared_are_not_idle(child, ops, start, action):
    watch(ops, IDLE_US / 1e6)
    use(child, start)
    assert act(ops, Scheme(action), start).applied_bytes >= (PAGES - 20) * PAGE
    idle = act(ops, STAT, start).passed_bytes // PAGE
    assert 0 <= idle - (PAGES - len(used(start))) <= taken_by_damon(PAGES)


def test_pages_that_the_map_cleared_are_in_use_for_a_look_just_before(child, ops, start):
    """A plain scheme that asks for an age: the map clears again and again in that time."""
    scheme = Scheme(Action.PAGEOUT, Pattern(age=Age(IDLE_US)))
    watch(ops, IDLE_US / 1e6, lambda: use(child, start))
    use(child, start)
    watch(ops, 0)
    idle = act(ops, scheme, start, dry=True).applied_bytes // PAGE
    assert idle <= PAGES - len(used(start)) + taken_by_damon(PAGES)


_SPARSE = """
import ctypes, mmap, time
memory = mmap.mmap(-1, {size}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(15)
for at in range(0, {size}, 4096):
    memory[at] = 1
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
while True:
    for at in range(0, {size}, 8 * 4096):
        memory[at]
    time.sleep(0.02)
"""


def major_faults(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[9])


@pytest.mark.usefixtures("swap")
def test_one_page_in_eight_is_used_and_all_others_go():
    """Sampler, map and action at once on one program: whoever clears, no used page is taken."""
    size = 32 * MIB
    process = subprocess.Popen(
        [sys.executable, "-c", _SPARSE.format(size=size)], stdout=subprocess.PIPE
    )
    try:
        start = int(process.stdout.readline())
        before = major_faults(process.pid)
        isotherm.apply(
            "pageout filter=idle:2s every=200ms quota=none",
            pid=process.pid,
            sample="5ms",
            aggr="100ms",
            duration=12,
        )
        faults = major_faults(process.pid) - before
        here = [here for here, _, _ in pagemap(start, size // PAGE, process.pid)]
    finally:
        process.kill()
        process.communicate()
    assert all(here[::8])
    assert sum(here) == size // PAGE // 8
    assert faults <= 2


def promised(ops, at_least_ns):
    """Bytes that could be taken out of memory by what a map knows, by the name of the mapping."""
    use = ops.map.sum()
    place = next(i for i, ns in enumerate(use.windows_ns) if ns >= at_least_ns)
    return {Path(row.what).name: row.idle_own[place] for row in use.rows}


@pytest.mark.parametrize("written", [False, True])
def test_a_promise_of_shared_files_is_what_the_action_does(child, tmp_path, written):
    file, size = cached_file(tmp_path / "mapped", 4 * MIB), 4 * MIB
    at = child.make(f"memory.file(kit.Path({str(file)!r}), {size})")
    child.run(f"kit.{'write' if written else 'touch'}({at}, {size})")
    with watching(child.pid, with_map=True) as ops:
        watch(ops, IDLE_US / 1e6)
        said = promised(ops, 100_000_000)["mapped"]
        scheme = Scheme(Action.PAGEOUT, filters=(idle(100_000),))
        done = ops.act(scheme, 0, at, at + size, filtered=True)
    assert done.applied_bytes == said == (0 if written else size)


def test_no_shared_memory_is_promised_that_stays(child):
    size = 4 * MIB
    at = child.make(f"memory.map({size}, kit.SHARED | kit.ANON)")
    child.run(f"kit.write({at}, {size})")
    with watching(child.pid, with_map=True) as ops:
        watch(ops, IDLE_US / 1e6)
        found = [
            size for what, size in promised(ops, 100_000_000).items() if what == "shared anonymous"
        ]
    assert found == [0]
