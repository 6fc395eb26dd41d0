"""Run a command under User-Mode Linux with DAMON, on the host's root; see uml/."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import guest
from guest import HERE, GuestError, cache_folder, wait_for

UML = HERE / "uml"
RECIPE = ("damon.config", "damon.patch")
VERSION = re.compile(r"6\.12\.\d+-isotherm")


def kernel_path():
    recipe = hashlib.sha256(b"".join((UML / name).read_bytes() for name in RECIPE))
    return cache_folder("uml") / recipe.hexdigest()[:16] / "linux"


def find_kernel():
    """Return the kernel of this recipe or of ISOTHERM_UML_KERNEL, None if there is none."""
    given = os.environ.get("ISOTHERM_UML_KERNEL")
    path = Path(given) if given else kernel_path()
    if not path.exists():
        return None
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return path if given or VERSION.match(version.stdout) else None


def kernel(*, log=None):
    """Return a kernel, built if need be (minutes); raises `GuestError`."""
    found = find_kernel()
    if found is None:
        path = kernel_path()
        done = subprocess.run([UML / "build.sh", path], stdout=log, stderr=log, check=False)
        found = find_kernel()
        if done.returncode or found is None:
            raise GuestError(f"build.sh ended with status {done.returncode}: no kernel at {path}")
    return found


def run(
    command, *, cwd=None, env=None, memory_mib=1024, zram_mib=0, timeout_s=300, real_time=False
):
    """
    Run `command` (a list) in a fresh guest of one CPU.

    Its time moves only while all sleep, so that sleeping costs nothing and the host's load changes
    nothing, unless `real_time`. A process that computes is not interrupted then.

    Raises `GuestError` with the guest's console if there is no exit status.
    """
    path = find_kernel()
    if path is None:
        raise GuestError("no kernel: run `make test-vm`, which builds it")

    def boot(folder):
        # Kernel and processes on one CPU: hand-overs across CPUs cost five times as much.
        cpu = sorted(os.sched_getaffinity(0))[os.getpid() % len(os.sched_getaffinity(0))]
        arguments = [
            str(path),
            f"mem={memory_mib}M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            f"init={folder}/init",
            f"JOB={folder}",
            "con=null",
            "con0=null,fd:1",
            "quiet",
            *([] if real_time else ["time-travel=inf-cpu"]),
        ]
        return wait_for(["taskset", "-c", str(cpu), *arguments], folder, timeout_s)

    return guest.run(boot, command, kind="uml", cwd=cwd, env=env, zram_mib=zram_mib)


def main():
    if sys.argv[1:] == ["--build"]:
        print(kernel())
        return 0
    done = run(sys.argv[1:])
    sys.stdout.write(done.output)
    print(f"[guest: {done.seconds:.2f} s]", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
