"""A process that is killed with -9 when it says "ready"."""

import subprocess
import sys


def run_and_kill(code, *arguments):
    """Run Python code with arguments, kill it at its first line of output, return that line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        line = child.stdout.readline().strip()
        child.kill()
    assert line, "the process ended without a word"
    return line
