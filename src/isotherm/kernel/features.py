"""
What this kernel offers and what we may use of it: facts, no decisions (`backends.choose` decides).

Each fact is found by trying, never by the version number: distributions patch and configure. None
means unknown, usually because we may not look.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from isotherm.kernel import bpf as walker
from isotherm.kernel import procfs
from isotherm.kernel.bpf import BpfSupport
from isotherm.kernel.damon import sysfs as damon_sysfs
from isotherm.kernel.privilege import effective_capabilities

_SYS_PROCESS_MADVISE = 440  # the same on every architecture
_MADV_COLD = 20
_PID_NAMESPACE_INIT = 0xEFFFFFFC  # PROC_PID_INIT_INO of include/linux/proc_ns.h
_PFN_BITS = (1 << 55) - 1


@dataclass(frozen=True, slots=True)
class HugePages:
    """Settings of transparent huge pages; sizes: bytes -> setting of each size ("mTHP")."""

    enabled: str | None
    shmem: str | None
    defrag: str | None
    sizes: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KernelSupport:
    """
    Facts of this machine, kernel and process. Sizes are bytes.

    process_madvise: it takes MADV_COLD; page_idle: the bitmap exists; page_frames: pagemap tells
    frame numbers; swap: device or file -> size; cgroup: "v2", "v1", "hybrid" or None;
    initial_pid_namespace: pids mean here what they mean to the kernel; hypervisor: this is a
    virtual machine, where interrupting another CPU costs 15 to 20 µs.
    """

    release: str
    machine: str
    page_size: int
    cpus: int
    memory_bytes: int
    root: bool
    capabilities: frozenset[str]
    initial_pid_namespace: bool | None
    hypervisor: bool | None
    bpf: BpfSupport
    btf: bool
    lockdown: str | None
    pidfd: bool
    process_madvise: bool
    page_idle: bool
    page_frames: bool
    kpageflags: bool
    clear_refs: bool
    huge_pages: HugePages
    mglru: bool
    swap: dict[str, int]
    psi: bool
    cgroup: str | None
    kvm: bool
    damon: damon_sysfs.KernelDamon | None


def probe(*, bpf: bool = True) -> KernelSupport:
    """
    Find the facts; takes milliseconds. `bpf=False` leaves out loading the BPF programs.

    Changes nothing outside this process and needs no privileges; with fewer rights, fewer facts.
    Raises `NotSupportedError` where /proc is missing or another PID namespace's.
    """
    procfs.require_own()
    uname = os.uname()
    return KernelSupport(
        release=uname.release,
        machine=uname.machine,
        page_size=os.sysconf("SC_PAGE_SIZE"),
        cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        root=os.geteuid() == 0,
        capabilities=effective_capabilities(),
        initial_pid_namespace=initial_pid_namespace(),
        hypervisor=_hypervisor(),
        bpf=walker.probe() if bpf else BpfSupport(available=False, why_not="not tried"),
        btf=os.access("/sys/kernel/btf/vmlinux", os.R_OK),
        lockdown=_bracketed("/sys/kernel/security/lockdown"),
        pidfd=_has_pidfd(),
        process_madvise=_has_process_madvise(),
        page_idle=Path("/sys/kernel/mm/page_idle/bitmap").exists(),
        page_frames=_sees_page_frames(),
        kpageflags=_opens("/proc/kpageflags"),
        clear_refs=os.access("/proc/self/clear_refs", os.W_OK, effective_ids=True)
        and b"Referenced:" in _bytes("/proc/self/smaps"),
        huge_pages=_huge_pages(),
        mglru=_mglru(),
        swap=_swap(),
        psi=bool(_bytes("/proc/pressure/memory")),
        cgroup=_cgroup(),
        kvm=Path("/dev/kvm").exists(),
        damon=damon_sysfs.read(),
    )


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _text(path: str) -> str:
    return _bytes(path).decode(errors="replace").strip()


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _bracketed(path: str) -> str | None:
    """Return the choice in force of "always [madvise] never"."""
    text = _text(path)
    match = re.search(r"\[(.+?)\]", text)
    return match[1] if match else None


def initial_pid_namespace() -> bool | None:
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _PID_NAMESPACE_INIT  # noqa: PTH116
    except OSError:
        return None


def _hypervisor() -> bool | None:
    flags = re.search(rb"^flags\s*:(.*)$", _bytes("/proc/cpuinfo"), re.MULTILINE)
    return b" hypervisor" in flags[1] if flags else None


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _has_process_madvise() -> bool:
    """Advise nothing of ourselves: a kernel without it says ENOSYS, without MADV_COLD EINVAL."""
    try:
        descriptor = os.pidfd_open(os.getpid())
    except OSError:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    iovec = (ctypes.c_size_t * 2)(0, 0)
    try:
        done = libc.syscall(
            ctypes.c_long(_SYS_PROCESS_MADVISE),
            ctypes.c_long(descriptor),
            iovec,
            ctypes.c_size_t(1),
            ctypes.c_long(_MADV_COLD),
            ctypes.c_size_t(0),
        )
        # EPERM: it exists, the right to advise others is another fact.
        return done >= 0 or ctypes.get_errno() == errno.EPERM
    finally:
        os.close(descriptor)


def _sees_page_frames() -> bool:
    """Look up the frame of a page of our own; the kernel shows 0 without CAP_SYS_ADMIN."""
    here = ctypes.create_string_buffer(8)
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        entry = os.pread(fd, 8, ctypes.addressof(here) // page * 8)
    finally:
        os.close(fd)
    return bool(int.from_bytes(entry, "little") & _PFN_BITS)


def _huge_pages() -> HugePages:
    root = "/sys/kernel/mm/transparent_hugepage"
    sizes = {}
    for folder in Path(root).glob("hugepages-*kB"):
        size = int(folder.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        setting = _bracketed(f"{folder}/enabled")
        if setting:  # sizes without it are for shared memory only
            sizes[size] = setting
    return HugePages(
        enabled=_bracketed(f"{root}/enabled"),
        shmem=_bracketed(f"{root}/shmem_enabled"),
        defrag=_bracketed(f"{root}/defrag"),
        sizes=dict(sorted(sizes.items())),
    )


def _mglru() -> bool:
    try:
        return bool(int(_text("/sys/kernel/mm/lru_gen/enabled"), 16) & 1)
    except ValueError:
        return False


def _swap() -> dict[str, int]:
    rows = [line.split() for line in _text("/proc/swaps").split("\n")[1:]]
    return {row[0]: int(row[2]) * 1024 for row in rows if len(row) >= 3}


def _cgroup() -> str | None:
    kinds = {row.split()[2] for row in _text("/proc/mounts").split("\n") if len(row.split()) > 2}
    if "cgroup2" in kinds:
        return "hybrid" if "cgroup" in kinds else "v2"
    return "v1" if "cgroup" in kinds else None
