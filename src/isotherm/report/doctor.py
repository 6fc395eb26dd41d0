"""What `isotherm doctor` says: facts, choice, why not the others, what nobody can see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from isotherm.backends.choose import Choice
from isotherm.backends.self_test import SelfTest
from isotherm.kernel.damon.ager import hindrance
from isotherm.kernel.damon.running import Running
from isotherm.kernel.damon.sysfs import KernelDamon
from isotherm.kernel.features import KernelSupport
from isotherm.model.calibration import Digest
from isotherm.report import calibration
from isotherm.report.output import Report
from isotherm.terminal.output import paint
from isotherm.terminal.style import Style
from isotherm.terminal.text import labelled
from isotherm.units import format_size

SCHEMA = "isotherm.doctor/1"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """
    Everything found.

    choice: None where no backend can be used, error says why; attachable: kdamonds that run,
    whoever runs them; calibrated: what was measured on this machine with the choice.
    """

    support: KernelSupport
    choice: Choice | None
    self_test: SelfTest | None
    error: str = ""
    hint: str = ""
    attachable: tuple[Running, ...] = ()
    calibrated: Digest | None = None


def report_diagnosis(found: Diagnosis, width: int, style: Style) -> Report:
    """Return what was found, its text `width` columns wide; in JSON unknown is null."""
    return Report(SCHEMA, as_json(found), text=_text(found, width, style))


def as_json(found: Diagnosis) -> dict[str, Any]:
    """Return plain data; sizes in bytes, times in microseconds."""
    facts = asdict(found.support)
    facts["capabilities"] = sorted(found.support.capabilities)
    return {
        "version": version("isotherm"),
        "facts": facts,
        "choice": asdict(found.choice) if found.choice else None,
        "self_test": asdict(found.self_test) if found.self_test else None,
        "error": found.error or None,
        "hint": found.hint or None,
        "attachable": [asdict(one) for one in found.attachable],
        "calibrated": calibration.as_json(found.calibrated),
    }


def _text(found: Diagnosis, width: int, style: Style) -> list[str]:
    facts, choice = [*_facts(found.support), *_attachable(found)], [*_choice(found)]
    indent = max(len(name) for name, _ in (*facts, *choice)) + 3
    machine = labelled("", _machine(found.support), width, indent=0)
    lines: list[str] = [paint(line, "1", style) for line in machine]
    for rows in (facts, choice):
        lines.append("")
        for name, text in rows:
            lines += labelled(name, text, width, indent, "36", style=style)
    return lines


def _attachable(found: Diagnosis) -> Iterator[tuple[str, str]]:
    if found.attachable:
        whom = ", ".join(f"{one.name} ({one.operations})" for one in found.attachable)
        yield "can attach to", f"{whom}: isotherm record --attach {found.attachable[0].name}"


def _machine(support: KernelSupport) -> str:
    kind = " (virtual machine)" if support.hypervisor else ""
    return (
        f"isotherm {version('isotherm')} on Linux {support.release} {support.machine}, "
        f"{support.cpus} CPUs, {format_size(support.memory_bytes)}{kind}"
    )


def _facts(support: KernelSupport) -> Iterator[tuple[str, str]]:
    rights = "root" if support.root else "not root"
    if support.capabilities:
        rights += ", " + " ".join(f"CAP_{name}" for name in sorted(support.capabilities))
    yield "rights", rights
    if support.initial_pid_namespace is False:
        yield "pids", "inside a PID namespace"
    yield "bpf walker", _walker(support)
    yield "kernel types", "BTF" if support.btf else "no BTF"
    yield "lockdown", support.lockdown or "none"
    yield "process_madvise", "takes MADV_COLD" if support.process_madvise else "no"
    yield "page_idle", "bitmap" if support.page_idle else "no"
    yield "page frames", "shown by pagemap" if support.page_frames else "hidden"
    yield "clear_refs", "yes" if support.clear_refs else "no"
    yield "huge pages", _huge_pages(support)
    yield "reclaim", "multi-generational LRU" if support.mglru else "classic LRU"
    swap = ", ".join(f"{name} {format_size(size)}" for name, size in support.swap.items())
    yield "swap", swap or "none"
    yield "pressure", "PSI" if support.psi else "no PSI"
    yield "cgroup", support.cgroup or "none"
    yield "kernel's DAMON", _damon(support)
    yield "shared memory", _shared(support)


def _walker(support: KernelSupport) -> str:
    bpf = support.bpf
    if not bpf.available:
        return f"no: {bpf.why_not}"
    parts = [
        "fast programs" if bpf.fast else f"base programs ({bpf.fast_why_not})",
        f"{bpf.levels}-level tables",
        f"direct map by {bpf.direct_map_source}",
        "folio information" if bpf.folios else f"no folio information ({bpf.folios_why_not})",
    ]
    return ", ".join(parts)


def _huge_pages(support: KernelSupport) -> str:
    huge = support.huge_pages
    if huge.enabled is None:
        return "none"
    further = [
        f"{format_size(size)} {setting}"
        for size, setting in huge.sizes.items()
        if setting not in ("never", "inherit")
    ]
    return ", ".join([huge.enabled, *further])


def _shared(support: KernelSupport) -> str:
    """Say how a map of pages sees memory that several processes map, and what that costs."""
    if not support.root:
        return "without root only that of own processes, by clear_refs"
    if support.page_idle:
        return "seen through page_idle"
    ways = []
    if support.clear_refs:
        ways.append("seen by clear_refs, which holds a process up for 25 ms a GiB, up to 20 ms")
    why = hindrance()
    if support.damon is not None and not why:
        ways.append("beyond that by the kernel's DAMON (Linux 6.10), for 5 times the CPU time")
    else:
        ways.append(f"beyond that unknown: {why or 'this kernel has no DAMON'}")
    return "; ".join(ways)


def _damon(support: KernelSupport) -> str:
    damon = support.damon
    if damon is None:
        return "none"
    if not damon.readable:
        modules = "".join(f"; module {name} is enabled" for name in damon.modules)
        return f"present; without root its state is not visible{modules}"
    parts = [f"has {', '.join(damon.operations)}" if damon.operations else "present"]
    if damon.features:
        parts.append(f"knows {', '.join(damon.features)}")
    if damon.events:
        parts.append(f"traces {', '.join(damon.events)}")
    for kdamond in damon.kdamonds:
        state = "runs" if kdamond.running else "is off"
        whose = " for isotherm" if kdamond.index in damon.ours else ""
        parts.append(
            f"kdamond.{kdamond.index} {state}{whose}: {kdamond.operations}, "
            f"sampling {kdamond.sample_us / 1000:g} ms"
        )
    parts += [f"module {name} is enabled" for name in damon.modules]
    parts += _who_blocks_whom(damon)
    return "; ".join(parts)


def _who_blocks_whom(damon: KernelDamon) -> Iterator[str]:
    """DAMON's modules run alone; kdamonds of sysfs run beside each other (damon-spec 1.11)."""
    running = [kdamond for kdamond in damon.kdamonds if kdamond.running]
    if damon.modules:
        yield f"no kdamond can be started while {damon.modules[0]} is enabled"
    elif running:
        yield f"no module of DAMON can be enabled while kdamond.{running[0].index} runs"
    if damon.foreign and not damon.free:
        yield f"kdamond.{damon.foreign[0].index} of somebody else keeps others from being made"


def _choice(found: Diagnosis) -> Iterator[tuple[str, str]]:
    choice = found.choice
    if choice is None:
        yield "backend", f"none: {found.error}"
        if found.hint:
            yield "hint", found.hint
        return
    yield "backend", f"{choice.backend}: {choice.reason}"
    if found.self_test:
        yield "self-test", _self_test(found.self_test)
    if choice.policy_reason:
        yield "policy auto", f"{choice.policy}: {choice.policy_reason}"
    if found.calibrated is not None:
        yield "calibrated", calibration.quote(found.calibrated, found.support.release)
    else:
        yield "calibrated", "nothing yet: isotherm calibrate --quick"
    for backend, why in choice.why_not.items():
        yield f"not {backend}", why
    blind = choice.cannot_see[choice.backend]
    yield "cannot see", "; ".join(blind)
    for backend, unseen in choice.cannot_see.items():
        if more := [what for what in unseen if what not in blind]:
            yield f"  {backend} also", "; ".join(more)
    for warning in choice.warnings:
        yield "warning", warning


def _self_test(test: SelfTest) -> str:
    parts = [f"failed: {test.problem}" if test.problem else "passed"]
    if test.read_us is not None:
        parts.append(f"{test.read_us:.2f} us per read")
    if test.clear_us is not None:
        parts.append(f"{test.clear_us:.2f} us per accessed page cleared")
    if test.round_us is not None:
        parts.append(f"{test.round_us:.0f} us per round over our own memory")
    return ", ".join(parts)
