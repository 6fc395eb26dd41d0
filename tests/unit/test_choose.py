import dataclasses
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from isotherm.backends import registry
from isotherm.backends.choose import choose
from isotherm.errors import BadValueError, NotPermittedError, NotSupportedError
from isotherm.kernel.bpf import BpfSupport
from isotherm.session import start
from isotherm.targets.target_set import ProcessTargets, TargetFacts
from support.machines import NOTHING, ROOT, USER, kernel_damon


def test_root_gets_bpf_and_everybody_else_a_reason():
    choice = choose(ROOT)
    assert choice.backend == "bpf"
    assert "process_madvise(MADV_COLD)" in choice.reason
    assert set(choice.why_not) == set(registry.names()) - {"bpf"}
    assert all(choice.why_not.values())
    assert set(choice.cannot_see) == set(registry.names())
    assert choice.why_not["kdamond"] == "this kernel has no DAMON"
    assert choice.warnings == ()


def test_page_idle_is_preferred_for_clearing():
    choice = choose(dataclasses.replace(ROOT, page_idle=True))
    assert choice.backend == "bpf"
    assert "the page_idle bitmap" in choice.reason
    assert not any("mapped by several" in text for text in choice.cannot_see["bpf"])


def test_without_rights_clear_refs_is_left_and_says_what_root_would_add():
    choice = choose(USER)
    assert choice.backend == "clear-refs"
    assert choice.why_not["bpf"] == "needs root, or CAP_BPF and CAP_PERFMON"
    assert any("needs rights" in warning for warning in choice.warnings)


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"initial_pid_namespace": False}, "PID namespace"),
        ({"lockdown": "confidentiality"}, "locked down"),
        ({"bpf": BpfSupport(available=False, why_not="no BTF")}, "no BTF"),
        ({"process_madvise": False}, "no way to clear"),
        ({"pidfd": False}, "no way to clear"),
    ],
)
def test_what_stands_in_the_way_of_bpf(change, phrase):
    choice = choose(dataclasses.replace(ROOT, **change))
    assert choice.backend == "clear-refs"
    assert phrase in choice.why_not["bpf"]


def test_integrity_lockdown_is_fine():
    assert choose(dataclasses.replace(ROOT, lockdown="integrity")).backend == "bpf"


def test_a_wish_is_met_or_refused_with_the_reason():
    assert choose(ROOT, "clear-refs").backend == "clear-refs"
    asked = choose(ROOT, "clear-refs").why_not
    assert asked["bpf"] == "works here, but clear-refs was asked for"
    assert choose(ROOT).why_not["clear-refs"] == "works here, but bpf sees more at less cost"
    with pytest.raises(NotSupportedError, match=r"backend kdamond .*: this kernel has no DAMON"):
        choose(ROOT, "kdamond")
    with pytest.raises(NotPermittedError, match="backend bpf cannot be used here: needs root"):
        choose(USER, "bpf")
    with pytest.raises(BadValueError, match="no backend 'ebpf'"):
        choose(ROOT, "ebpf")


def test_nothing_usable_says_why_and_what_to_do(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermittedError, match="no backend can be used here") as caught:
        choose(NOTHING)
    assert "isotherm" in caught.value.hint


def test_processes_of_others_need_rights():
    with pytest.raises(NotPermittedError, match="process 42 belongs to another user"):
        choose(USER, target=TargetFacts(pids=(42,), foreign=(42,)))


def test_virtual_machines_are_refused():
    target = TargetFacts(pids=(42,), kvm=((42, "qemu"),))
    for wish in ("auto", "bpf", "clear-refs"):
        with pytest.raises(NotSupportedError, match=r"42 \(qemu\) runs a KVM") as caught:
            choose(ROOT, wish, target)
        assert "inside the guest" in caught.value.hint
    forced = choose(ROOT, "auto", target, force_guests=True)
    assert forced.backend == "bpf"
    assert any("42 (qemu)" in warning for warning in forced.warnings)


def test_the_kernels_own_damon_is_warned_of():
    physical = dataclasses.replace(ROOT, damon=kernel_damon())
    (warning,) = choose(physical).warnings
    assert "watches physical memory every 500 ms" in warning
    ours = kernel_damon(operations="vaddr", pids=(42,))
    support = dataclasses.replace(ROOT, damon=ours)
    (warning,) = choose(support, target=TargetFacts(pids=(41, 42))).warnings
    assert "watches process 42" in warning
    assert choose(support, target=TargetFacts(pids=(41,))).warnings == ()
    off = dataclasses.replace(ROOT, damon=kernel_damon(running=False))
    assert choose(off).warnings == ()


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"kdamonds": ()}, ""),
        ({"kdamonds": (), "slots": 0}, ""),
        ({}, "in use by somebody else"),
        ({"ours": (0,)}, ""),
        ({"ours": (0,), "slots": 1}, "other isotherms use all"),
        ({"kdamonds": (), "modules": ("damon_stat",)}, "module damon_stat runs DAMON"),
        ({"kdamonds": (), "readable": False}, "not allowed to see"),
        ({"kdamonds": (), "operations": ("paddr",)}, "no vaddr operations, only paddr"),
    ],
)
def test_what_stands_in_the_way_of_kdamond(monkeypatch, change, phrase):
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON")
    damon = dataclasses.replace(kernel_damon(), slots=2)
    choice = choose(dataclasses.replace(ROOT, damon=dataclasses.replace(damon, **change)))
    if phrase:
        assert choice.backend == "bpf"
        assert phrase in choice.why_not["kdamond"]
    else:
        assert choice.backend == "kdamond"
        assert choice.why_not["bpf"] == "works here, but kdamond sees more at less cost"
        assert choice.warnings == ()


def test_a_kdamond_that_was_configured_and_left_is_somebodys(monkeypatch):
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON")
    damon = dataclasses.replace(kernel_damon(running=False), slots=1)
    why = choose(dataclasses.replace(ROOT, damon=damon)).why_not["kdamond"]
    assert "configured by somebody else" in why


def test_the_kernels_damon_can_be_left_alone(monkeypatch):
    monkeypatch.setenv("ISOTHERM_LEAVE_DAMON", "1")
    damon = dataclasses.replace(kernel_damon(), kdamonds=(), slots=0)
    support = dataclasses.replace(ROOT, damon=damon)
    assert "ISOTHERM_LEAVE_DAMON is set" in choose(support).why_not["kdamond"]
    with pytest.raises(NotSupportedError, match="left alone"):
        choose(support, "kdamond")


def test_auto_goes_on_without_what_cannot_be_opened(monkeypatch):
    """And says so; who asked for it gets the error."""

    def refuse(opening):
        raise NotPermittedError("the kernel refuses after all")

    monkeypatch.setattr(start, "probe", lambda: ROOT)
    monkeypatch.setattr(registry.kind_of("bpf"), "open", refuse, raising=False)
    with start.monitor(pid=os.getpid(), children=False) as running:
        assert running.backend == running.choice.backend == "clear-refs"
        assert running.choice.why_not["bpf"] == "the kernel refuses after all"
        assert running.warnings[0] == (
            "backend bpf cannot be used here: the kernel refuses after all"
        )
        assert [target.pid for target in running.targets] == [os.getpid()]
    with pytest.raises(NotPermittedError, match="refuses after all"):
        start.monitor(pid=os.getpid(), backend="bpf")


def test_what_kept_the_best_from_being_opened_is_the_reason_if_nothing_is_left(monkeypatch):
    def refuse(opening):
        raise NotSupportedError("not this one")

    def refuse_too(opening):
        raise NotSupportedError("nor that one")

    monkeypatch.setattr(start, "probe", lambda: ROOT)
    monkeypatch.setattr(registry.kind_of("bpf"), "open", refuse, raising=False)
    monkeypatch.setattr(registry.kind_of("clear-refs"), "open", refuse_too, raising=False)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NotSupportedError, match="not this one"):
        start.monitor(pid=os.getpid())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_idle_is_taken_where_bpf_is_not():
    blind = BpfSupport(available=False, why_not="no BTF")
    support = dataclasses.replace(ROOT, page_idle=True, kpageflags=True, bpf=blind)
    assert choose(support).backend == "idle"
    assert choose(dataclasses.replace(support, page_frames=False)).backend == "clear-refs"


@pytest.mark.parametrize(
    ("imports", "words", "is_one"),
    [
        ("isotherm._core", ["whatever"], True),
        ("os", ["isotherm", "--cov=isotherm"], False),
    ],
)
def test_another_isotherm_is_warned_of(imports, words, is_one):
    """Who has the C core mapped and holds a descriptor of the target; a name does not count."""
    code = (
        f"import os, sys, {imports}; fd = os.pidfd_open(int(sys.argv[1])); "
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(os.getpid()), *words]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        closing(ProcessTargets([os.getpid()], follow_children=False)) as ourselves,
    ):
        other.stdout.readline()
        facts = ourselves.facts()
        other.stdin.close()
    warnings = choose(ROOT, target=facts).warnings
    if is_one:
        assert facts.watched == ((other.pid, os.getpid()),)
        assert f"another isotherm (process {other.pid}) watches process" in warnings[0]
    else:
        assert facts.watched == ()
        assert warnings == ()
