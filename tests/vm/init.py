"""
First process of the guest: sets the world up, runs one command, tells its exit status, powers off.

The host's root is the root, read-only, with a layer in the guest's memory over it. The only thing
written on the host is the job's directory, with job.json, stdout and status: /.job in the guest.
"""

import ctypes
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

RB_POWER_OFF = 0x4321FEDC
MS_BIND = 4096
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(kind, where, options="", source="none", flags=0):
    Path(where).mkdir(parents=True, exist_ok=True)
    if LIBC.mount(source.encode(), where.encode(), kind.encode(), flags, options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind} at {where}: {os.strerror(code)}")


def enter_host_root(job):
    """As User-Mode Linux finds it: the host's root bare. Under QEMU, qemu/boot.sh did this."""
    mount("proc", "/proc")
    mount("tmpfs", "/mnt")
    for name in ("upper", "work", "root"):
        Path(f"/mnt/{name}").mkdir()
    mount("overlay", "/mnt/root", "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work")
    # The job's directory may lie under one of the file systems below.
    mount("hostfs", "/mnt/root/.job", job)
    os.chroot("/mnt/root")
    os.chdir("/")


def mount_world():
    for kind, where in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("tracefs", "/sys/kernel/tracing"),
    ):
        mount(kind, where)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        link = Path(f"/dev/{name}")
        if not link.is_symlink():
            link.symlink_to(f"/proc/self/fd{target}")


def add_modules(folder):
    mount("none", f"/lib/modules/{os.uname().release}", source=folder, flags=MS_BIND)


def add_swap(mib, *, modular):
    if modular:
        subprocess.run(["modprobe", "zram"], check=True)
    Path("/sys/block/zram0/disksize").write_text(f"{mib}M")
    subprocess.run(["mkswap", "/dev/zram0"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", "/dev/zram0"], check=True)


def run(job):
    with Path("/.job/stdout").open("ab", buffering=0) as out:
        try:
            if job["modules"]:
                add_modules(job["modules"])
            if job["zram_mib"]:
                add_swap(job["zram_mib"], modular=bool(job["modules"]))
            done = subprocess.run(
                job["command"],
                cwd=job["cwd"],
                env=job["env"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
            )
        except Exception:  # noqa: BLE001 - told on the host
            out.write(traceback.format_exc().encode())
            return 125
        return done.returncode


def main():
    # What the kernel does not know of its command line becomes our environment.
    job = os.environ.get("JOB")
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        if job is not None:
            enter_host_root(job)
        mount_world()
        status = run(json.loads(Path("/.job/job.json").read_text()))
        Path("/.job/status").write_text(str(status))
    except BaseException:  # noqa: BLE001 - a first process must not end
        traceback.print_exc()
    sys.stdout.flush()
    os.sync()
    LIBC.reboot(RB_POWER_OFF)


if __name__ == "__main__":
    main()
