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

    @property
    def status(self) -> int:
        """A shell's view of the end: 128 + signal where a signal ended it."""
        return 128 - self.returncode if self.returncode < 0 else self.returncode


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


def escaped(text: str) -> str:
    r"""
    Return text with everything spelled out that does not print: "\x1b", "\n", "\u202e".

    Control characters, line breaks, lone surrogates (bytes that are no UTF-8), and what turns the
    direction of writing. What is escaped already stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(text: str, most: int = 60) -> str:
    r"""
    Return a text from outside as an error message or a terminal may show it, on one line.

    text: of any length and with anything in it; most: the length of the result, in characters.
    Control characters, line breaks, lone surrogates and whatever else does not print are spelled
    out ("\x1b", "\n"); of a longer text the beginning and the end are left, with "…" between.
    """
    if len(text) > most:  # first, so that a text of megabytes costs nothing
        text = f"{text[:most]}…{text[-most:]}"
    text = escaped(text)
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def quoted(text: str, most: int = 60) -> str:
    """Return `shown(text)` between quotes, as messages have what somebody wrote."""
    inside = shown(text, most)
    return f'"{inside}"' if "'" in inside else f"'{inside}'"
