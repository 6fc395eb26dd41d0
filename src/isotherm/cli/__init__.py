"""The command line: one module per command, imported when it is used."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, TextIO, cast

import click
import click.shell_completion

from isotherm.errors import IsothermError, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

#: What writing to a full disk ends with.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Of longer lines about what was written, the middle is left out.
_LONGEST_LINE = 300
#: Command -> the one-line help shown by `isotherm --help`, so that no module is imported for it.
COMMANDS = {
    "demo": "Watch our own workload with the best backend; truth beside estimate.",
    "doctor": "What this kernel offers, which backend is chosen and why not the others.",
    "calibrate": "How near to the truth monitoring comes on this machine, and its price.",
    "record": "Record the access pattern of processes, or of a command.",
    "apply": "Apply schemes to processes: page out what is cold, and so on.",
    "import": "Make a recording of a record of damo, or of perf script.",
    "export": "A recording as Parquet, pprof, Perfetto, flame graph, damo, CSV.",
    "top": "Who uses how much memory, live or of a recording: groups, processes, heat.",
    "stat": "A line for each interval: memory resident, used, idle, unknown.",
    "wss": "How much memory is used within 0.1 s, 1 s, 10 s ...: watched live.",
    "cold": "What memory can go, what that would cost, and the command for it.",
    "agent": "Watch every group of the machine for ever; metrics for Prometheus.",
    "ctl": "Ask a running agent what it does and knows; change its schemes, record.",
    "report": "What a recording says: summary, regions, heatmap, wss, cold, ...",
    "simulate": "Try a policy on a simulated machine of any size, beside the truth.",
    "tune": "The scheme that serves a goal best, searched in a recording.",
    "scheme": "Check, convert and explain scheme files; list the presets.",
}


#: Commands whose module has another name, as theirs is Python's own.
_MODULES = {"import": "import_record"}


class OrderedGroup(click.Group):
    """Commands in the order of `names`, with "did you mean"."""

    names: ClassVar[Collection[str]] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.names)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.names and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}.{did_you_mean(args[0], self.names)}")
        return super().resolve_command(ctx, args)


class LazyGroup(OrderedGroup):
    """A group whose commands live in `isotherm.cli.NAME` as `command`."""

    names = COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command = importlib.import_module(f"isotherm.cli.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101 - our own modules
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete the names of commands, with their help, without a look at their modules."""
        items = [
            click.shell_completion.CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean ...?' for the nearest known word, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="""\b
Examples:
  isotherm demo
  isotherm doctor
  sudo isotherm record -p $(pidof redis-server) -d 30s
  isotherm report
  isotherm scheme explain prcl""",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.version_option(package_name="isotherm")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Find which memory is really used, on every Linux."""
    ctx.obj = {"debug": debug}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command; turn our errors into a line, a hint and the documented exit code.

    Output that nobody wants any more (`| head`) ends it quietly; output that has no room (a full
    disk, /dev/full) is a failure. What commands print to the standard error is escaped.
    """
    from isotherm.terminal.output import Guarded

    _replace_closed_streams()
    out, complaints = sys.stdout, sys.stderr
    sys.stderr = cast("TextIO", Guarded(complaints))
    try:
        status = _run(argv)
        out.flush()
    except SystemExit:
        # That is how click takes a broken pipe, having replaced both streams.
        if sys.stdout is out:
            raise
        sys.stdout = out
        _drop(out)
        return 0
    except BrokenPipeError:
        _drop(out)
        return 0
    except OSError as err:
        if err.filename is not None or not (err.errno in _NO_ROOM or _is_stuck(out)):
            raise
        _drop(out)
        complain(f"cannot write the output: {(err.strerror or '').lower()}", "")
        return 1
    finally:
        sys.stderr = complaints
    return status


def _run(argv: Sequence[str] | None) -> int:
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args[:1] or bool(os.environ.get("ISOTHERM_DEBUG"))
    try:
        with _interruptible():
            status = cli.main(args, prog_name="isotherm", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as err:
        _usage(err)
        return err.exit_code
    except IsothermError as err:
        if debug:
            raise
        complain(err.message, err.hint)
        return err.exit_code
    except OSError as err:
        if debug or err.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        complain("no more files can be opened", "ulimit -n says how many there may be")
        return 1
    return status if isinstance(status, int) else 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let commands clean up when they are interrupted, where an interrupt would end us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGINT, before)


def _usage(err: click.ClickException) -> None:
    """Print click's own message, which repeats what was written."""
    import io

    from isotherm.terminal.output import tell

    text = io.StringIO()
    err.show(text)
    tell(*(shown(line, _LONGEST_LINE) for line in text.getvalue().rstrip("\n").split("\n")))


def complain(message: str, hint: str) -> None:
    """Say what failed; what is in it from outside never begins a line of its own."""
    from isotherm.terminal.output import tell

    tell(f"isotherm: {message}", *([f"hint: {hint}"] if hint else []))


def _replace_closed_streams() -> None:
    """
    Give closed standard streams (`>&-`) something to fail on, or to be forgotten in.

    Their descriptors are taken first: no file that is opened later is to be written to by mistake.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR if fd == 2 else os.O_RDONLY)
    if sys.stdout is None:  # writing to it is an error, as it is for other programs
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _is_stuck(stream: TextIO) -> bool:
    """Whether something is left to be written, and cannot be: the stream is what failed."""
    try:
        stream.flush()
    except OSError:
        return True
    return False


def _drop(stream: TextIO) -> None:
    """Forget what could not be written, so that the interpreter does not try again at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
