"""Machines to choose a backend on."""

import dataclasses

from isotherm.kernel.bpf import BpfSupport
from isotherm.kernel.damon.sysfs import Kdamond, KernelDamon
from isotherm.kernel.features import probe

ROOT = dataclasses.replace(
    probe(bpf=False),
    root=True,
    capabilities=frozenset({"SYS_ADMIN", "BPF", "PERFMON", "SYS_NICE", "SYS_PTRACE"}),
    initial_pid_namespace=True,
    bpf=BpfSupport(available=True, fast=True, levels=4, folios=True),
    lockdown=None,
    pidfd=True,
    process_madvise=True,
    page_idle=False,
    page_frames=True,
    clear_refs=True,
    damon=None,
)
USER = dataclasses.replace(
    ROOT,
    root=False,
    capabilities=frozenset(),
    bpf=BpfSupport(available=False, why_not="cannot read page tables: not permitted"),
    page_frames=False,
)
NOTHING = dataclasses.replace(USER, clear_refs=False)


def kernel_damon(**changes):
    kdamond = Kdamond(0, True, 77, "paddr", (), ((0, 1 << 30),), 500_000)
    kdamond = dataclasses.replace(kdamond, **changes)
    return KernelDamon(True, ("vaddr", "paddr"), (kdamond,), ())
