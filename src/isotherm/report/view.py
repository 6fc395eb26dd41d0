"""What a view of a recording is: a name, options, an analysis, and what it looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.report.output import Report
from isotherm.terminal.style import PLAIN, WIDTH, Style
from isotherm.terminal.text import columns_of, elide, labelled

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """What text is made for: so many columns, and what the terminal shows."""

    width: int = WIDTH
    style: Style = PLAIN


@dataclass(frozen=True, slots=True)
class Option:
    """
    An option of a view.

    name: as on the command line, "--at"; metavar: what its value is called in the help; read:
    makes a value of what was written, and raises `BadValueError`; default: what is read where
    nothing is written, None for the value None; many: it may be repeated, the value is a tuple;
    flag: it stands alone, and the value is whether it does. Views that share an option share this
    object.
    """

    name: str
    metavar: str
    help: str
    read: Callable[[str], Any] = str
    default: str | None = None
    many: bool = False
    flag: bool = False

    def value(self, given: str | Sequence[str] | None) -> Any:
        """Return the value of what was written: of all that was, where it may be repeated."""
        if self.flag:
            return given is not None
        texts = () if given is None else (given,) if isinstance(given, str) else tuple(given)
        if self.many and (texts or self.default is None):
            return tuple(map(self.read, texts))
        given = texts[-1] if texts else None
        text = self.default if given is None else given
        return None if text is None else self.read(text)


@dataclass(frozen=True, slots=True)
class Options:
    """The values of a view's options by their names ("--at"), and the page to fill."""

    values: Mapping[str, Any]
    page: Page = Page()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


class View(ABC, Generic[T]):
    """
    One question to a recording, from the analysis to the forms of its answer.

    name: what people write; help: a phrase for the help; schema: name and version of the data, to
    be raised when a reader of the old ones would fail; files: endings of what `file` makes;
    only_file: it is never printed. Text is plain: it is escaped when it is printed, and `terminal`
    has bars, tables and colour.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    schema: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    only_file: ClassVar[bool] = False

    @abstractmethod
    def analyse(self, recording: AnalysedRecording, options: Options) -> T:
        """Return the answer as data; of a damaged recording, of what can be read."""

    @abstractmethod
    def document(self, value: T) -> dict[str, Any]:
        """Return the answer as JSON has it, sizes in bytes and times in ns."""

    @abstractmethod
    def rows(self, value: T) -> list[dict[str, Any]]:
        """Return the main part of it as flat records, for CSV and JSON lines."""

    @abstractmethod
    def text(self, value: T, page: Page) -> list[str]:
        """Return lines for people, of at most `page.width` columns."""

    def file(self, recording: AnalysedRecording, options: Options, suffix: str) -> bytes:
        """Return the answer as a file of one of `files`."""
        raise NotImplementedError

    def report(self, recording: AnalysedRecording, options: Options, form: str) -> Report:
        """Return what is needed to print the answer in `form`."""
        return self.made(self.analyse(recording, options), options, form)

    def made(self, value: T, options: Options, form: str) -> Report:
        """Return what is needed to print an answer in `form`."""
        return Report(
            self.schema,
            self.document(value) if form == "json" else {},
            self.rows(value) if form in ("jsonl", "csv") else [],
            self.text(value, options.page) if form == "table" else [],
        )

    def read_options(self, given: Mapping[str, str | Sequence[str]], page: Page) -> Options:
        """Return the values of options as they were written; `BadValueError` for alien ones."""
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                raise BadValueError(
                    f"the view {self.name} has no option {name}",
                    hint=f"it has {', '.join(known)}" if known else "leave it out",
                )
        values = {name: option.value(given.get(name)) for name, option in known.items()}
        return Options(values, page)


class PairView(View[T]):
    """One question to two recordings: what changed from one to the other."""

    @abstractmethod
    def compare(self, before: AnalysedRecording, after: AnalysedRecording, options: Options) -> T:
        """Return the answer as data; of damaged recordings, of what can be read."""

    def verdict(self, value: T) -> IsothermError | None:
        """Return the failure that the answer amounts to, after it was printed; None for none."""
        del value
        return None

    def analyse(self, recording: AnalysedRecording, options: Options) -> T:
        """Compare the recording with itself: one alone has no changes."""
        return self.compare(recording, recording, options)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers low..high, for `Option.read`."""

    def read(text: str) -> int:
        plain = text.strip()
        if not (plain.isascii() and plain.isdigit() and len(plain) < 20):
            raise BadValueError(f"{quoted(text)} is not a whole number")
        if not low <= int(plain) <= high:
            raise BadValueError(f"{plain} is not possible", hint=f"from {low} to {high}")
        return int(plain)

    return read


#: For views that can be asked about one of several targets.
TARGET = Option("--target", "ID", "only this target.", read=whole_number(0, 2**63 - 1))


def headline(title: str, facts: Sequence[str], width: int) -> list[str]:
    """Return what a view is about and some facts: on one line, or on two where that is narrow."""
    tail = "   ".join(facts)
    if columns_of(title) + 3 + columns_of(tail) <= width:
        return [f"{title}   {tail}"]
    return [elide(title, width), *labelled("", tail, width, 1)]
