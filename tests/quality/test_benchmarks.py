"""The benchmark scripts start and explain themselves; their figures are not tests."""

import importlib
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "\ndef main()" in path.read_text("utf-8"))


def test_every_script_is_described():
    text = (FOLDER / "README.md").read_text("utf-8")
    assert SCRIPTS
    assert [path.name for path in SCRIPTS if f"benchmarks/{path.name}" not in text] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_names_the_quick_way(script):
    command = [sys.executable, str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout


@pytest.fixture
def truth(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("truth_workload", "truth_witness", "truth_sets")
    modules = SimpleNamespace(**{name[6:]: importlib.import_module(name) for name in names})
    if modules.workload.compiler() is None:
        pytest.skip("the programs of benchmarks/truth.py are made with a C compiler")
    return modules


def wait_for(program, nr):
    """Until the program has done so much more."""
    upto = program.done() + nr
    while program.done() < upto:
        time.sleep(0.01)


MIB = 1 << 20
#: Of memory: pattern, its areas, what is used of them within a few sweeps.
PATTERNS = {
    "eighth": (8 * MIB, 1 * MIB),
    "moving": (10 * MIB, 1 * MIB),
    "half": (8 * MIB, 4 * MIB),
    "file": (8 * MIB, 2 * MIB),
    "forbidden": (8 * MIB, 4 * MIB),
    "ending": (8 * MIB, 8 * MIB),
    "stacks": (16 * MIB, 16 * MIB),
    "prefork": (152 * 64 * 1024, 40 * 64 * 1024),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_programs_write_down_what_they_use(truth, pattern):
    nbytes, used = PATTERNS[pattern]
    with truth.workload.scheduled(pattern, nbytes, 20) as program:
        since = truth.workload.now_ms()
        # Each thread and child sweeps on its own: enough for all of them to have had a turn.
        wait_for(program, 10 * used // 4096)
        account = program.last_used()
        assert program.area_bytes() == nbytes
        assert truth.workload.used_since(account, since) == used
        idle = truth.workload.idle_by_age(account, truth.workload.now_ms(), (0, 10**15))
        assert idle[1] <= nbytes - used <= idle[0] <= nbytes


@pytest.mark.parametrize("pattern", ["eighth", "half", "file", "forbidden"])
def test_the_kernel_bears_the_programs_out(truth, pattern):
    nbytes, used = PATTERNS[pattern]
    with truth.workload.scheduled(pattern, nbytes, 20) as program:
        truth.witness.clear([program.pid])
        wait_for(program, 4 * used // 4096)
        witness = truth.witness.used_by([program.pid], 0.0)
        # Its code, libraries, stack and account are used besides: well under a MiB.
        assert used * 0.99 <= witness.low <= witness.high <= used + MIB


def test_memory_that_is_shared_counts_once(truth):
    def mapping(name, rss, pss, referenced):
        return truth.witness.Mapping(0, rss, name, rss, pss, referenced)

    # a segment that two share, of which they used 30 and 50; private memory of 10 each
    first = [mapping("segment", 100, 50, 30), mapping("[heap]", 20, 20, 10)]
    second = [mapping("segment", 100, 50, 50), mapping("[heap]", 20, 20, 10)]
    assert truth.witness.bounds([first, second]) == (50 + 20, 80 + 20)
    # a library that three others map as well: perhaps all of its share was used
    library = [mapping("libc", 100, 20, 60)]
    assert truth.witness.bounds([library, library]) == (0, 40)
    assert truth.witness.bounds([library]) == (0, 20)
    # of one that is nearly private nearly all is told
    assert truth.witness.bounds([[mapping("libc", 100, 95, 60)]]) == (55, 60)


def test_errors_count_from_the_range_of_the_witnesses(truth):
    found = truth.sets.Truth(1.0, 100.0, 104.0, 500.0)
    assert found.known
    assert found.error(102) == 0
    assert found.error(90) == pytest.approx(0.10)
    assert found.error(114) == pytest.approx(0.10)
    assert not truth.sets.Truth(1.0, 50.0, 104.0, 500.0).known
