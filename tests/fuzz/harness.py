"""
What all fuzzers share: inputs by number, limits for each of them, findings kept as files.

A fuzzer is a file `tests/fuzz/fuzz_NAME.py`:

    from harness import Fuzzer, main, mutate

    def generate(rng):              # the same rng gives the same input; -> bytes
        return mutate(rng, rng.choice(EXAMPLES))

    def check(data):                # raises anything: a finding. What it returns is counted.
        try:
            value = parse(data.decode("utf-8", "surrogateescape"))
        except BadValueError:
            return "refused"
        assert parse(write(value)) == value
        return "accepted"

    FUZZER = Fuzzer("NAME", generate, check)

    if __name__ == "__main__":
        main(FUZZER)

`make fuzz` runs every such file, `uv run python tests/fuzz/fuzz_NAME.py --count 1000000 --seed 7`
one of them. Inputs are checked in a child process: an exception, more CPU time or memory than the
fuzzer allows, and a crash or hang in C are findings alike, and the run goes on behind them. A
finding is saved in tests/fuzz/findings; when its cause is mended, move the file to
tests/fuzz/seeds/NAME: test_fuzz.py checks each of them for ever (and calls every fuzzer a little,
so that none is dead). `fuzz_NAME.py FILE` checks one file here, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SEEDS = HERE / "seeds"
FINDINGS = HERE / "findings"
#: Inputs of one cause that are kept; the others are counted.
KEPT_OF_A_CAUSE = 3
_PAGE = mmap.PAGESIZE
_HEADER = struct.Struct("<qq")  # number of the input, its length


@dataclass(frozen=True)
class Fuzzer:
    """
    name: of its file and of its directory of seeds; generate: an input from a random generator;
    check: raises for what may not be, returns a word to be counted; cpu_s: CPU time that one input
    may take; grows_mib: by how much the address space may grow; longest: of an input, in bytes.
    """

    name: str
    generate: Callable[[random.Random], bytes]
    check: Callable[[bytes], str | None]
    cpu_s: float = 1.0
    grows_mib: int = 512
    longest: int = 1 << 20

    def input(self, seed: int, number: int) -> bytes:
        """Return the input of this number: the same for ever, whatever came before."""
        rng = random.Random(f"{self.name} {seed} {number}")
        return self.generate(rng)[: self.longest]

    def seeds(self) -> list[Path]:
        """Return the files of its earlier findings."""
        return sorted((SEEDS / self.name).glob("*"))


class TooSlowError(Exception):
    """One input took more CPU time than the fuzzer allows."""


@contextlib.contextmanager
def limited(cpu_s: float, *, deadly: bool = False):
    """
    Raise `TooSlowError` after so much CPU time of this process.

    deadly: end the process by SIGVTALRM where C code hears no signals, after five times as much.
    """

    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {cpu_s} s of CPU time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    if deadly:
        signal.setitimer(signal.ITIMER_VIRTUAL, 5 * cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGPROF, before)


def cause(error: BaseException) -> str:
    """Return what distinguishes one finding from another: the error, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "isotherm" in frame.filename] or list(frames)
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
    if isinstance(error, (TooSlowError, MemoryError)):
        place = Path(own[-1].filename).name if own else "?"
    return f"{type(error).__name__} {place}"


class Run:
    """A run over `count` inputs of a seed, and what it found."""

    def __init__(self, fuzzer: Fuzzer, count: int, seed: int, first: int, findings: Path) -> None:
        self.fuzzer, self.count, self.seed, self.findings = fuzzer, count, seed, findings
        self.next = first
        self.end = first + count
        self.outcomes: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.slowest_ms = 0.0
        self._shared = mmap.mmap(-1, _PAGE + fuzzer.longest)

    def run(self) -> bool:
        """Check all inputs; return whether none was a finding."""
        while self.next < self.end:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                self._in_child(writer)
            os.close(writer)
            with os.fdopen(reader, "r", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    self._take(line.rstrip("\n"))
            _, status = os.waitpid(child, 0)
            if status:
                self._child_died(status)
        return not self.causes

    def _in_child(self, writer: int) -> None:
        """Check from `next` on, tell the parent about outcomes and findings; never returns."""
        status = 1
        try:
            faulthandler.disable()  # the parent tells
            _limit_memory(self.fuzzer.grows_mib)
            with os.fdopen(writer, "w", encoding="utf-8", errors="replace") as out:
                self._check_all(out)
            status = 0
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(status)

    def _check_all(self, out) -> None:
        outcomes: Counter[str] = Counter()
        for number in range(self.next, self.end):
            data = self.fuzzer.input(self.seed, number)
            self._shared[: _HEADER.size] = _HEADER.pack(number, len(data))
            self._shared[_PAGE : _PAGE + len(data)] = data
            begun = time.thread_time()
            try:
                with limited(self.fuzzer.cpu_s, deadly=True):
                    outcome = self.fuzzer.check(data) or "ok"
            except BaseException as err:  # noqa: BLE001 - SystemExit is a finding as well
                outcome = "finding"
                text = str(err).split("\n")[0].encode("unicode_escape").decode()[:200]
                print(f"finding\t{number}\t{cause(err)}\t{text}", file=out, flush=True)
            took_ms = (time.thread_time() - begun) * 1000
            if took_ms > self.slowest_ms:
                self.slowest_ms = took_ms
            outcomes[outcome] += 1
            if number % 1000 == 999 or number == self.end - 1:
                for word, times in outcomes.items():
                    print(f"outcome\t{number}\t{word}\t{times}\t{self.slowest_ms}", file=out)
                out.flush()
                outcomes.clear()

    def _take(self, line: str) -> None:
        kind, number, *rest = line.split("\t")
        if kind == "outcome":
            self.outcomes[rest[0]] += int(rest[1])
            self.slowest_ms = max(self.slowest_ms, float(rest[2]))
            self.next = max(self.next, int(number) + 1)
        else:
            self._keep(rest[0], rest[1], self.fuzzer.input(self.seed, int(number)))

    def _child_died(self, status: int) -> None:
        """Keep the input that ended the child, and go on behind it."""
        number, length = _HEADER.unpack(self._shared[: _HEADER.size])
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if signalled == signal.SIGINT:
            raise KeyboardInterrupt
        name = signal.Signals(signalled).name if signalled else f"exit {status >> 8}"
        self._keep(f"child ended by {name}", "", self._shared[_PAGE : _PAGE + length])
        self.next = number + 1

    def _keep(self, why: str, text: str, data: bytes) -> None:
        self.causes[why] += 1
        if self.causes[why] > KEPT_OF_A_CAUSE:
            return
        self.findings.mkdir(parents=True, exist_ok=True)
        path = self.findings / f"{self.fuzzer.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"{self.fuzzer.name}: {why}: {text}\n    {path}", flush=True)

    def report(self, seconds: float) -> str:
        """Return the run in a line."""
        outcomes = ", ".join(f"{times} {word}" for word, times in self.outcomes.most_common())
        findings = sum(self.causes.values())
        return (
            f"{self.fuzzer.name}: {self.count} inputs of seed {self.seed} in {seconds:.0f} s "
            f"({outcomes}), slowest {self.slowest_ms:.0f} ms, {findings} findings"
            + (f" of {len(self.causes)} causes" if findings else "")
        )


def _limit_memory(grows_mib: int) -> None:
    """Allow the address space to grow by so much; beyond it there is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * _PAGE + (grows_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(fuzzer: Fuzzer) -> None:
    """Run a fuzzer as the command line says; exits with 1 if it found anything."""
    parser = argparse.ArgumentParser(description=f"Fuzz {fuzzer.name}.")
    parser.add_argument("file", nargs="?", type=Path, help="check this one input, here")
    parser.add_argument("--count", type=int, default=10_000, help="number of inputs [10000]")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs [0]")
    parser.add_argument("--first", type=int, default=0, help="number of the first input [0]")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help="where findings go")
    given = parser.parse_args()
    if given.file is not None:
        with limited(fuzzer.cpu_s):
            print(fuzzer.check(given.file.read_bytes()))
        return
    run = Run(fuzzer, given.count, given.seed, given.first, given.findings)
    begun = time.monotonic()
    fine = run.run()
    print(run.report(time.monotonic() - begun), flush=True)
    sys.exit(0 if fine else 1)


#: What breaks readers of numbers, texts and layouts.
NASTY = (
    *(b"0", b"-1", b"1e400", b"1e9999999999", b"nan", b"inf", b"-inf", b"0x", b"1/0", b"9" * 5000),
    *(b"18446744073709551615", b"18446744073709551616", b"4294967295", b"2147483648", b"null"),
    *(b"\x00", b"\n", b"\r\n", b"\x1b[2J", b"\xff", b"\xed\xa0\x80", "٣".encode(), "²".encode()),
    *("\u2028".encode(), "\u202e".encode(), b"'", b'"', b"\\", b"%", b"..", b" " * 500, b"\t"),
    *(
        b"[" * 200,
        b"{" * 200,
        b"(" * 200,
        b"a" * 300,
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!python/name:os",
    ),
)


def mutate(rng: random.Random, data: bytes, other: bytes = b"", *, most: int = 4) -> bytes:
    """
    Return `data` with one to `most` changes.

    Bytes are changed, cut, doubled, moved, spliced with `other`, or replaced by what is nasty.
    """
    found = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(found) + 1)
        end = min(len(found), at + int(rng.expovariate(0.2)) + 1)
        way = rng.randrange(8)
        if way == 0 and found:
            found[at % len(found)] ^= 1 << rng.randrange(8)
        elif way == 1 and found:
            found[at % len(found)] = rng.randrange(256)
        elif way == 2:
            del found[at:end]
        elif way == 3:
            found[at:at] = found[at:end] * rng.choice((1, 2, 3, 50))
        elif way == 4:
            found[at:end] = rng.choice(NASTY)
        elif way == 5:
            found[at:at] = rng.choice(NASTY)
        elif way == 6:
            piece = found[at:end]
            del found[at:end]
            place = rng.randrange(len(found) + 1)
            found[place:place] = piece
        elif other:
            start = rng.randrange(len(other))
            found[at:end] = other[start : start + rng.randint(1, 40)]
    return bytes(found)
