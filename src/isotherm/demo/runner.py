"""Start the workload as a child, tell it when to go, know the truth, look at its counters."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from isotherm.analysis.accuracy import HotPhase, Truth
from isotherm.demo.spec import Spec
from isotherm.demo.workload import ALL, CONTROL_BYTES, NEXT, OPS, OVERRUNS, STOP, SWEEPS
from isotherm.errors import IsothermError
from isotherm.model.ranges import Range


class Workload:
    """
    A running workload: a context manager; the child ends with it, and with this process.

    Enter: the areas are mapped and filled, nothing is touched yet. `go` starts the phases; after
    them the child holds its memory, idle, until `join` or the end of the context.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.truth: Truth | None = None
        self._addresses: dict[str, int] = {}
        self._child: subprocess.Popen[str] | None = None
        self._control: mmap.mmap | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "isotherm.demo.workload", "-"]
        fd = os.memfd_create("isotherm-workload")
        try:
            os.ftruncate(fd, CONTROL_BYTES)
            self._control = mmap.mmap(fd, CONTROL_BYTES)
            self._child = subprocess.Popen(
                [*command, "--driven", str(os.getpid()), "--control-fd", str(fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(fd,),
                start_new_session=True,  # ctrl-c in the terminal is for us, not for it
            )
        finally:
            os.close(fd)
        try:
            self._tell(self.spec.to_json())
            self._addresses = self._hear("ready")["areas"]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child now; harmless when it has ended."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with child:  # closes its pipes and waits
                pass

    @property
    def child(self) -> subprocess.Popen[str]:
        if self._child is None:
            raise IsothermError("the workload is not running")
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def areas(self) -> tuple[Range, ...]:
        """Addresses of the spec's areas, in its order."""
        return tuple(
            Range(self._addresses[area.name], self._addresses[area.name] + area.nbytes)
            for area in self.spec.areas
        )

    def go(self) -> Truth:
        """Start the phases; return what is hot when."""
        self._tell("go")
        at_ns = int(self._hear("phase")["wall_ns"])
        phases = []
        for phase in self.spec.phases:
            end_ns = at_ns + phase.duration_us * 1000
            hot = tuple(
                Range(start, start + hot.nbytes)
                for hot in phase.hot
                for start in (self._addresses[hot.area] + hot.offset,)
            )
            phases.append(HotPhase(at_ns, end_ns, hot))
            at_ns = end_ns
        self.truth = Truth(tuple(phases), self.areas)
        return self.truth

    def stop(self) -> None:
        """Ask the child to end its phases and exit; returns when it has."""
        self._word(STOP, ALL)
        self.join()

    def join(self) -> None:
        """Wait until the phases are over and the child has ended."""
        pipe = self.child.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        with suppress(BrokenPipeError):
            pipe.close()
        self.child.wait()

    def next_phase(self) -> int:
        """
        End the running phase before its time; return when the next began (time of day, ns).

        What `go` returned says nothing about time any more. Raises `IsothermError` after the last.
        """
        self._word(STOP, NEXT)
        return int(self._hear("phase")["wall_ns"])

    @property
    def ops(self) -> int:
        """Bytes touched since the start, as of now."""
        return self._word(OPS)

    @property
    def sweeps(self) -> int:
        return self._word(SWEEPS)

    @property
    def overruns(self) -> int:
        """Sweeps that began late by a period or more: then the truth is not quite true."""
        return self._word(OVERRUNS)

    def _word(self, index: int, value: int | None = None) -> int:
        assert self._control is not None  # noqa: S101 - entered
        with memoryview(self._control) as block, block.cast("Q") as words:
            if value is not None:
                words[index] = value
            return words[index]

    def _tell(self, line: str) -> None:
        pipe = self.child.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        try:
            pipe.write(line + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _hear(self, event: str) -> dict[str, Any]:
        pipe = self.child.stdout
        assert pipe is not None  # noqa: S101 - it was asked for
        for line in pipe:
            said: dict[str, Any] = json.loads(line)
            if said["event"] == event:
                return said
            if said["event"] == "end":
                raise IsothermError("the last phase of the workload has ended")
        raise self._ended()

    def _ended(self) -> IsothermError:
        self.join()
        status = self.child.returncode
        return IsothermError(
            f"the workload ended with status {status}",
            hint=f"it wants {self.spec.nbytes >> 20} MiB of memory: is there as much?",
        )
