"""
Everything isotherm raises on purpose, and the exit code each becomes on the command line.

0 ok · 1 failure · 2 usage or bad file · 3 target not found or gone · 4 not permitted or not
supported here · 5 recording damaged but partly read · 6 threshold crossed.
"""


class IsothermError(Exception):
    """
    Base of all errors of isotherm: what was tried, on what, why it failed, and a hint.

    The command line prints the message and the hint, and exits with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class BadValueError(IsothermError, ValueError):
    """An argument, option or file holds a value that makes no sense."""

    exit_code = 2


class TargetGoneError(IsothermError):
    """The process does not exist, or ended before it could be monitored."""

    exit_code = 3


class CommandEndedError(TargetGoneError):
    """A command that was started to be monitored had ended before it could be."""

    def __init__(self, message: str, returncode: int) -> None:
        super().__init__(message, hint="a longer run is needed to see anything")
        self.returncode = returncode


class NotPermittedError(IsothermError):
    """The kernel refused for lack of privileges."""

    exit_code = 4


class NotSupportedError(IsothermError):
    """The kernel, the machine or the target cannot do what was asked."""

    exit_code = 4


class DamagedRecordingError(IsothermError):
    """A recording ends early or holds a broken block; what came before was read."""

    exit_code = 5


class OutputError(IsothermError):
    """A file of ours cannot be written: it exists, the disk is full, or the path is refused."""


class ThresholdError(IsothermError):
    """A check that the user asked for found its limit crossed."""

    exit_code = 6
