"""Earlier findings of every fuzzer, and a few new inputs for each, so that none is dead."""

import importlib
import random

import pytest
from harness import HERE, SEEDS, Fuzzer, Run, limited, mutate

FUZZERS = [importlib.import_module(path.stem).FUZZER for path in sorted(HERE.glob("fuzz_*.py"))]


@pytest.mark.parametrize(
    ("fuzzer", "seed"),
    [(one, path) for one in FUZZERS for path in one.seeds()],
    ids=lambda value: value.name,
)
def test_what_was_found_once_stays_mended(fuzzer, seed):
    with limited(fuzzer.cpu_s * 5):  # sanitizers and coverage are slow
        fuzzer.check(seed.read_bytes())


@pytest.mark.parametrize("fuzzer", FUZZERS, ids=lambda one: one.name)
def test_a_fuzzer_runs_and_finds_nothing(fuzzer, tmp_path, capfd):
    run = Run(fuzzer, 100, seed=1, first=0, findings=tmp_path)
    assert run.run(), capfd.readouterr().out
    assert sum(run.outcomes.values()) == 100


def test_every_seed_has_its_fuzzer():
    assert {path.name for path in SEEDS.glob("*")} <= {one.name for one in FUZZERS}


def _bad(data):
    """Fail in each of the ways that a finding can: by the first byte."""
    if data[0] == 1:
        raise KeyError("not allowed")
    if data[0] == 2:
        while True:
            pass
    if data[0] == 3:
        return str(len(bytes(1 << 40)))
    if data[0] == 4:
        import ctypes

        ctypes.string_at(8)
    if data[0] == 5:  # C code that hears no signals
        sum(range(10**12))
    return "fine"


@pytest.mark.parametrize(
    ("byte", "cause"),
    [(1, "KeyError"), (2, "TooSlow"), (3, "MemoryError"), (4, "SIGSEGV"), (5, "SIGVTALRM")],
)
def test_the_harness_notices(byte, cause, tmp_path, capfd):
    fuzzer = Fuzzer(
        "bad", lambda rng: bytes([rng.choice((0, 0, 0, byte))]), _bad, cpu_s=0.05, grows_mib=64
    )
    run = Run(fuzzer, 12, seed=3, first=0, findings=tmp_path)
    assert not run.run()
    bad = sum(fuzzer.input(3, number)[0] == byte for number in range(12))
    assert bad > 1
    assert [cause in why for why in run.causes] == [True]
    assert run.causes.total() == bad
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [bytes([byte])]
    assert f"{bad} findings of 1 causes" in run.report(0.0)


def test_inputs_are_the_same_for_ever_whatever_came_before():
    fuzzer = Fuzzer("same", lambda rng: mutate(rng, b"a=1 b=2", b"c=3"), len)
    assert fuzzer.input(5, 77) == fuzzer.input(5, 77)
    assert len({fuzzer.input(5, number) for number in range(200)}) > 150
    assert fuzzer.input(5, 77) != fuzzer.input(6, 77)


def test_mutation_changes_any_text():
    rng = random.Random(4)
    for text in (b"", b"x", b"pageout access=0%"):
        assert any(mutate(rng, text) != text for _ in range(20))
