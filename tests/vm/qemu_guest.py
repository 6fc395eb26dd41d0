"""
Run a command under QEMU, on the host's root; see qemu/.

Kernels are Debian's stock ones, and one built for the page_idle bitmap, which those lack.

The machine is emulated in software: it counts instructions, and that is its clock. So a duration
measured inside says how many instructions something took, whatever the host's load, and sleeping
costs no time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import guest
from guest import HERE, GuestError, cache_folder, wait_for

QEMU = HERE / "qemu"
BOOT = QEMU / "boot.sh"
#: Debian's kernel packages by series. The unsigned ones hold the same binaries, and more versions.
PACKAGES = {
    "6.12": re.compile(r"linux-image-6\.12\.\d+\+deb\d+-amd64-unsigned"),
    "6.1": re.compile(r"linux-image-6\.1\.\d+-\d+-amd64-unsigned"),
}
#: Built from Debian's source with the page_idle bitmap and BPF, without modules.
IDLE = "6.12-idle"
KERNELS = (*PACKAGES, IDLE)
#: Modules that mount the host's root; those that the kernel has built in are left out.
ROOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
#: What is kept of a package: the kernel, and what tests may load.
KEPT = (
    "./boot/vmlinuz-*",
    "./lib/modules/*/modules.*",
    "*/fs/9p/*",
    "*/net/9p/*",
    "*/fs/netfs/*",
    "*/fs/fscache/*",
    "*/fs/overlayfs/*",
    "*/drivers/virtio/*",
    "*/drivers/block/zram/*",
    "*/mm/zsmalloc*",
    "*/lib/lz*",
    "*/crypto/*",
)
NEEDED = ("qemu-system-x86_64", "busybox", "cpio", "modprobe", "xz")
#: Nanoseconds of guest time for one instruction are 2 to the power of this.
CLOCK_SHIFT = 1


@dataclass(frozen=True)
class Kernel:
    """image: the kernel; modules: its lib/modules/VERSION, if any; initrd: mounts the root."""

    image: Path
    modules: Path | None
    initrd: Path


def newest_package(series):
    """Return the newest package of a series that apt knows, None without one."""
    pattern = PACKAGES[series]
    found = subprocess.run(
        ["apt-cache", "pkgnames", f"linux-image-{series}."],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    numbers = re.compile(r"\d+")
    return max(
        (name for name in found if pattern.fullmatch(name)),
        key=lambda name: [int(one) for one in numbers.findall(name)],
        default=None,
    )


def idle_folder():
    recipe = hashlib.sha256((QEMU / "idle.config").read_bytes()).hexdigest()[:16]
    return cache_folder("qemu") / f"idle-{recipe}"


def find_kernel(series):
    """Return the newest `Kernel` of `KERNELS` that was made before, None if there is none."""
    if series == IDLE:
        image = idle_folder() / "bzImage"
        return Kernel(image, None, initrd(image.parent, None)) if image.exists() else None
    for folder in sorted(cache_folder("qemu").glob(f"{series}.*"), key=os.path.getmtime)[::-1]:
        (image,) = folder.glob("boot/vmlinuz-*")
        (modules,) = folder.glob("lib/modules/*")
        return Kernel(image, modules, initrd(folder, modules))
    return None


def kernel(series):
    """Return the newest kernel of `KERNELS`, made if need be; raises `GuestError`."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        raise GuestError(
            f"{', '.join(missing)} not found: qemu-system-x86 busybox-static cpio kmod xz-utils"
        )
    if series == IDLE:
        if find_kernel(IDLE) is None:
            done = subprocess.run([QEMU / "build.sh", idle_folder() / "bzImage"], check=False)
            if done.returncode:
                raise GuestError(f"build.sh ended with status {done.returncode}")
        return find_kernel(IDLE)
    package = newest_package(series)
    if package is None:
        found = find_kernel(series)
        if found is None:
            raise GuestError(f"apt knows no linux-image of {series} (apt-get update?)")
        return found
    folder = cache_folder("qemu") / package.removeprefix("linux-image-")
    if not folder.exists():
        fetch(package, folder)
    os.utime(folder)
    found = find_kernel(series)
    assert found is not None
    return found


def fetch(package, folder):
    """Download a kernel package and unpack what is needed of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        done = subprocess.run(
            ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GuestError(f"{package} cannot be downloaded: {done.stderr}")
        (archive,) = Path(work).glob("*.deb")
        parts = Path(work) / "parts"
        parts.mkdir()
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
        ) as content:
            subprocess.run(
                ["tar", "x", "-C", parts, "--wildcards", "--no-anchored", *KEPT],
                stdin=content.stdout,
                stderr=subprocess.DEVNULL,  # a pattern without a file: built in
                check=False,
            )
        (modules,) = parts.glob("lib/modules/*")
        subprocess.run(["depmod", "-b", parts, modules.name], check=True)
        parts.rename(folder)


def initrd(folder, modules):
    """Return the initial file system of a kernel: busybox, a few modules, boot.sh; made if new."""
    path = folder / f"initrd-{hashlib.sha256(BOOT.read_bytes()).hexdigest()[:16]}"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=folder) as work:
        root = Path(work)
        for name in ("bin", "dev", "proc", "modules", "root", "lower", "layer"):
            (root / name).mkdir()
        busybox = shutil.which("busybox")
        assert busybox is not None
        shutil.copy(busybox, root / "bin" / "busybox")
        shutil.copy(BOOT, root / "init")
        names = []
        for file in needed_modules(folder, modules.name) if modules else ():
            plain = root / "modules" / file.name.removesuffix(".xz")
            if plain.name in names:
                continue
            names.append(plain.name)
            if file.suffix == ".xz":
                with plain.open("wb") as out:
                    subprocess.run(["xz", "-dc", file], stdout=out, check=True)
            else:
                shutil.copy(file, plain)
        (root / "modules" / "list").write_text("".join(f"{name}\n" for name in names))
        with path.open("wb") as out:
            subprocess.run(
                ["sh", "-c", "find . | cpio -o -H newc --quiet"], cwd=root, stdout=out, check=True
            )
    return path


def needed_modules(folder, version):
    """The files to load, in order, to mount the host's root."""
    for name in ROOT_MODULES:
        shown = subprocess.run(
            ["modprobe", "-d", folder, "-S", version, "--show-depends", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in shown.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "insmod":
                yield Path(rest.split()[0])


def run(
    command, *, series="6.12", nodes_mib=(1024,), cwd=None, env=None, zram_mib=0, timeout_s=900
):
    """
    Run `command` (a list) in a fresh guest of one CPU.

    nodes_mib: memory of each NUMA node; the CPU is on the first. Raises `GuestError` with the
    guest's console if there is no exit status.
    """
    found = find_kernel(series)
    if found is None:
        raise GuestError(f"no kernel {series}: run `make test-vm`, which makes it")

    def boot(folder):
        return wait_for(arguments(found, folder, nodes_mib), folder, timeout_s)

    modules = found.modules
    return guest.run(
        boot, command, kind="qemu", cwd=cwd, env=env, zram_mib=zram_mib, modules=modules
    )


def arguments(found, folder, nodes_mib):
    """The command line of QEMU."""
    words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    words += ["-machine", "q35", "-cpu", "max,la57=off,pku=off", "-smp", "1"]
    words += ["-accel", "tcg,thread=single,tb-size=512"]
    words += ["-icount", f"shift={CLOCK_SHIFT},sleep=off"]
    words += ["-m", f"{sum(nodes_mib)}M"]
    for node, mib in enumerate(nodes_mib):
        words += ["-object", f"memory-backend-ram,id=m{node},size={mib}M"]
        cpus = ",cpus=0" if node == 0 else ""
        words += ["-numa", f"node,nodeid={node},memdev=m{node}{cpus}"]
    for node in range(1, len(nodes_mib)):
        words += ["-numa", f"dist,src=0,dst={node},val=20"]
    shares = (("root", "/", ",readonly=on"), ("job", folder, ""))
    for tag, path, more in shares:
        words += [
            "-fsdev",
            f"local,id={tag},path={path},security_model=none,multidevs=remap{more}",
        ]
        words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    words += ["-serial", "stdio", "-kernel", found.image, "-initrd", found.initrd]
    quiet = "quiet loglevel=3 console=ttyS0 panic=-1"
    # Nothing of what a guest must not wait for, and an address layout that is always the same.
    plain = "mitigations=off nokaslr audit=0 apparmor=0 selinux=0 cryptomgr.notests"
    clock = "tsc=reliable no_timer_check random.trust_cpu=on psi=1"
    return ["qemu-system-x86_64", *words, "-append", f"{quiet} {plain} {clock}"]


def main():
    parser = argparse.ArgumentParser(description="Run a command in a guest under QEMU.")
    parser.add_argument("--make", action="store_true", help="only make the kernels")
    parser.add_argument("--series", choices=KERNELS, default="6.12")
    parser.add_argument("--nodes", default="1024", help="MiB of each NUMA node: 1024,1024")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if asked.make:
        for series in KERNELS:
            print(kernel(series).image)
        return 0
    kernel(asked.series)
    nodes_mib = [int(one) for one in asked.nodes.split(",")]
    done = run(asked.command, series=asked.series, nodes_mib=nodes_mib)
    sys.stdout.write(done.output)
    print(f"[guest: {done.seconds:.2f} s]", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
