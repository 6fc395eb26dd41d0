"""Which addresses are monitored: what can be asked for, and which backend can do it."""

import dataclasses

import pytest

import isotherm
from isotherm.backends.choose import choose
from isotherm.cli import main
from isotherm.cli.apply import filled
from isotherm.errors import BadValueError, NotSupportedError
from isotherm.model.ranges import Range
from isotherm.model.scope import Scope, scope_of
from isotherm.schemefile.files import load
from isotherm.session import start
from isotherm.targets.sources import PidSource
from isotherm.targets.target_set import TargetFacts
from support.machines import ROOT, USER, kernel_damon

PHYSICAL = TargetFacts(operations="paddr")
FIXED = TargetFacts(pids=(42,), operations="fvaddr")


def test_ranges_are_put_in_order_and_aligned_outwards():
    assert scope_of() == Scope("vaddr", ())
    assert scope_of("paddr") == Scope("paddr", ())
    asked = [(0x5001, 0x6001), (0x1000, 0x1001), (0x2000, 0x3000)]
    aligned = (Range(0x1000, 0x2000), Range(0x2000, 0x3000), Range(0x5000, 0x7000))
    assert scope_of("fvaddr", asked) == Scope("fvaddr", aligned)


@pytest.mark.parametrize(
    ("operations", "ranges", "phrase"),
    [
        ("maddr", (), "no operations set 'maddr'"),
        ("vaddr", [(0, 4096)], "takes no ranges"),
        (None, [(0, 4096)], "takes no ranges"),
        ("fvaddr", (), "there are none"),
        ("fvaddr", [(4096, 4096)], "0x1000-0x1000 is no range"),
        ("paddr", [(8192, 4096)], "no range"),
        ("paddr", [(0, 1 << 65)], "no range"),
        ("paddr", [(0, 4097), (5000, 9000)], "ranges overlap: 0x0-0x2000 and 0x1000-0x3000"),
    ],
)
def test_what_makes_no_sense(operations, ranges, phrase):
    with pytest.raises(BadValueError, match=phrase):
        scope_of(operations, ranges)


def with_damon(support, *operations, **changes):
    damon = dataclasses.replace(kernel_damon(), kdamonds=(), slots=0, operations=operations)
    return dataclasses.replace(support, damon=dataclasses.replace(damon, **changes))


def test_physical_memory_is_for_the_kernel_only(monkeypatch):
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON", raising=False)
    support = with_damon(ROOT, "vaddr", "paddr")
    choice = choose(support, target=PHYSICAL)
    assert choice.backend == "kdamond"
    assert choice.why_not["bpf"] == "it monitors processes, and physical memory was asked for"
    # Without vaddr it is no backend for processes, but one for physical memory.
    assert choose(with_damon(ROOT, "paddr"), target=PHYSICAL).backend == "kdamond"
    assert choose(with_damon(ROOT, "paddr"), target=TargetFacts(pids=(42,))).backend == "bpf"
    with pytest.raises(NotSupportedError, match=r"bpf cannot be used here: it monitors processes"):
        choose(support, "bpf", PHYSICAL)
    with pytest.raises(NotSupportedError, match=r"clear-refs cannot be used here: it monitors"):
        choose(USER, "clear-refs", PHYSICAL)


@pytest.mark.parametrize(
    ("support", "phrase"),
    [
        (ROOT, "only: this kernel has no DAMON"),
        (with_damon(ROOT, "vaddr"), "has no paddr operations, only vaddr"),
        (with_damon(USER, "paddr", readable=False), "needs root"),
    ],
)
def test_what_is_missing_for_physical_memory(monkeypatch, support, phrase):
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON", raising=False)
    with pytest.raises(NotSupportedError, match=phrase):
        choose(support, target=PHYSICAL)


def test_fixed_ranges_are_for_backends_that_see_pages(monkeypatch):
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON", raising=False)
    assert choose(with_damon(ROOT, "vaddr", "fvaddr"), target=FIXED).backend == "kdamond"
    choice = choose(with_damon(ROOT, "vaddr"), target=FIXED)
    assert choice.backend == "bpf"
    assert "has no fvaddr operations" in choice.why_not["kdamond"]
    assert choice.why_not["clear-refs"] == "it sees whole mappings only, and ranges were asked for"
    with pytest.raises(NotSupportedError, match="sees whole mappings only"):
        choose(ROOT, "clear-refs", FIXED)


@pytest.mark.parametrize("command", [["record"], ["apply", "stat"]])
@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["--ops", "maddr", "-p", "1"], "there are vaddr, fvaddr, paddr"),
        (["--ops", "fvaddr", "-p", "1"], "there are none"),
        (["--range", "0-4K", "-p", "1"], "takes no ranges"),
        (["--ops", "fvaddr", "--range", "soon", "-p", "1"], "'soon' is no range of addresses"),
        (["--ops", "fvaddr", "--range", "0x2000-0x1000", "-p", "1"], "upside down"),
        (["--ops", "fvaddr", "--range", "0-4K", "-p", "1,2"], "ranges are of one process"),
        (["--ops", "paddr", "-p", "1"], "belongs to no process"),
        (["--ops", "paddr", "-n", "init"], "belongs to no process"),
        (["-a", "--ops", "fvaddr", "--range", "0-4K"], "ranges are of one process"),
        (["-a", "--seed", "7", "--backend", "nonsense"], "no backend 'nonsense'"),
    ],
)
def test_nonsense_on_the_command_line(command, words, phrase, capsys):
    assert main([*command, *words]) == 2
    out, err = capsys.readouterr()
    assert phrase in err
    assert out == ""


@pytest.mark.parametrize("words", [["--ops", "paddr"], ["-a", "--ops", "paddr"]])
@pytest.mark.parametrize("command", [["record"], ["apply", "stat"]])
def test_without_the_kernels_damon_it_is_told_what_is_missing(command, words, monkeypatch, capsys):
    monkeypatch.setattr(start, "probe", lambda: ROOT)
    assert main([*command, *words]) == 4
    err = capsys.readouterr().err
    assert "physical memory (paddr) is monitored by the kernel's own DAMON only" in err
    assert "this kernel has no DAMON" in err
    assert "hint: monitor processes instead" in err


def test_with_a_profile_nothing_is_left_for_physical_memory(monkeypatch):
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON", raising=False)
    monkeypatch.setattr(start, "probe", lambda: with_damon(ROOT, "vaddr", "paddr"))
    with pytest.raises(NotSupportedError, match=r"and profile 7\.2 was asked for"):
        isotherm.monitor(operations="paddr", profile="7.2")


def test_an_own_operations_set_has_its_own_addresses():
    with pytest.raises(BadValueError, match="has its own addresses"):
        isotherm.monitor(ops=object(), operations="paddr")


FILE = """\
version: 1
monitor: {{{monitor}}}
targets: [{{{target}}}]
schemes: [stat]
"""


@pytest.mark.parametrize(
    ("monitor", "target", "expected"),
    [
        ("ops: paddr", "regions: [0x1000-0x3000]", ("paddr", None, [(0x1000, 0x3000)])),
        ("", "pid: 42, regions: [0x1000-0x3000]", ("fvaddr", [42], [(0x1000, 0x3000)])),
        ("ops: fvaddr", "pid: 42, regions: [1M-2M]", ("fvaddr", [42], [(1 << 20, 2 << 20)])),
        ("ops: vaddr", "pid: 42, regions: [1M-2M]", ("vaddr", [42], None)),
        ("", "pid: 42", (None, [42], None)),
    ],
)
def test_a_scheme_file_says_which_addresses(tmp_path, monitor, target, expected):
    path = tmp_path / "one.yaml"
    path.write_text(FILE.format(monitor=monitor, target=target))
    found = filled({"operations": None, "sources": []}, load(str(path)), command=False)
    assert tuple(found.get(name) for name in ("operations", "pid", "ranges")) == expected
    # Whoever names a target or operations does not want those of the file.
    for other in ({"sources": [PidSource([7])]}, {"operations": "paddr"}):
        found = filled({"operations": None} | other, load(str(path)), command=False)
        assert found.get("operations") == other.get("operations")
        assert found.get("sources") == other.get("sources")
        assert not found.keys() & {"pid", "name", "cgroup", "ranges"}
