"""Who we are, and what a user must type to be allowed more."""

import os
import shlex
import shutil
import sys
from pathlib import Path

#: Bits of CapEff in /proc/PID/status; linux/capability.h.
CAPABILITIES = {
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_NICE": 23,
    "SYS_RESOURCE": 24,
    "PERFMON": 38,
    "BPF": 39,
}


def effective_capabilities() -> frozenset[str]:
    """Return the names among `CAPABILITIES` that this process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for name, bit in CAPABILITIES.items() if bits >> bit & 1)
    return frozenset()


def own_command() -> str:
    """
    Return the running command as one can paste it into another shell.

    With the interpreter's full path, because sudo resets PATH and a virtual environment's
    `isotherm` would not be found there.
    """
    if Path(sys.argv[0]).name not in ("isotherm", "__main__.py"):
        return f"{sys.executable} -m isotherm"
    return shlex.join([sys.executable, "-m", "isotherm", *sys.argv[1:]])


def root_hint() -> str:
    """Return what to type to get the rights: the whole command, with sudo where it exists."""
    if os.geteuid() == 0:
        return "even root is refused here: a container or a security module takes the right away"
    if shutil.which("sudo"):
        return f"sudo {own_command()}"
    return f"as root, run: {own_command()}"
