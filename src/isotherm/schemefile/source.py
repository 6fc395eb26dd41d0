"""Pieces of text that know where they stand, and the error that says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from isotherm.errors import BadValueError, quoted, shown

#: The file of what was written on the command line.
COMMAND_LINE = "<schemes>"

_BARE = re.compile(r"[\w/.*~^$\-]+", re.ASCII)


class SchemeError(BadValueError):
    """
    A scheme cannot be read; the message begins with file:line:column.

    others: further mistakes of the same file, found after this one.
    """

    def __init__(
        self, message: str, *, hint: str = "", others: tuple[SchemeError, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.others = others


class InexpressibleError(BadValueError):
    """A spelling has no words for a part of a scheme."""


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of one line of a file."""

    text: str
    file: str = COMMAND_LINE
    line: int = 1
    column: int = 1

    @property
    def said(self) -> str:
        """The text as messages quote it."""
        return quoted(self.text)

    @property
    def place(self) -> str:
        """Where it stands, as file:line:column."""
        return f"{shown(self.file, 200)}:{self.line}:{self.column}"

    def part(self, start: int, end: int | None = None) -> Word:
        """Return text[start:end] without the spaces around it."""
        text = self.text[start:end]
        skipped = len(text) - len(text.lstrip())
        return replace(self, text=text.strip(), column=self.column + start + skipped)

    def partition(self, separator: str, *, last: bool = False) -> tuple[Word, bool, Word]:
        """Split at the first (or last) separator outside quotes; say whether there is one."""
        found = [at for at, char in _outside_quotes(self.text) if char == separator]
        if not found:
            return self, False, self.part(len(self.text))
        at = found[-1 if last else 0]
        return self.part(0, at), True, self.part(at + 1)

    def split(self, separator: str) -> list[Word]:
        """Split at every separator outside quotes."""
        ends = [at for at, char in _outside_quotes(self.text) if char == separator]
        starts = [0, *(at + 1 for at in ends)]
        return [self.part(a, b) for a, b in zip(starts, [*ends, len(self.text)], strict=True)]

    def words(self) -> list[Word]:
        """Split at white space outside quotes; a `#` in front of a word ends the line."""
        found: list[Word] = []
        start: int | None = None
        for at, char in _outside_quotes(self.text):
            if char.isspace():
                if start is not None:
                    found.append(self.part(start, at))
                start = None
            elif start is None:
                if char == "#":
                    return found
                start = at
        if start is not None:
            found.append(self.part(start))
        return found

    def comment(self) -> str:
        """Return what `words` leaves out at the end, with its `#`."""
        last = self.words()[-1:]
        end = last[0].column - self.column + len(last[0].text) if last else 0
        return self.text[end:].strip()

    def plain(self) -> str:
        """Return the text without its quotes."""
        if not self.text.startswith(('"', "'")):
            return self.text
        if (
            self.text[0] == "'"
            and len(self.text) > 1
            and self.text.find("'", 1) + 1 == len(self.text)
        ):
            return self.text[1:-1]
        try:
            return str(json.loads(self.text, strict=False))
        except ValueError:
            raise self.error(f"{self.said} is not quoted right", hint='write "..."') from None

    def error(self, message: str, *, hint: str = "") -> SchemeError:
        """Return the error that `message` is about this place, on one line whatever it quotes."""
        return SchemeError(f"{self.place}: {shown(message, 400)}", hint=shown(hint, 1000))

    @contextmanager
    def placed(self, what: str = "") -> Iterator[None]:
        """Give errors of the model and of the units this place."""
        try:
            yield
        except (SchemeError, InexpressibleError):
            raise
        except BadValueError as err:
            prefix = f"{what}: " if what else ""
            raise self.error(f"{prefix}{err.message}", hint=err.hint) from None
        except (ValueError, OverflowError):
            # Python refuses numbers of thousands of digits.
            raise self.error(f"{what or 'this'} is no number") from None


def _outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """
    Yield index and character of what stands outside quotes.

    A quote counts at the beginning of a word or part: "it's" holds none. The opening quote is
    yielded, the rest of the quoted text is not.
    """
    quote, escaped, before = "", False, " "
    for at, char in enumerate(text):
        if quote:
            if escaped or char == "\\":
                escaped = not escaped and quote == '"'
            elif char == quote:
                quote, before = "", char
            continue
        if char in "\"'" and (before.isspace() or before in "=:,!+"):
            quote = char
        yield at, char
        before = char


def quote(text: str) -> str:
    """Return the text as `Word.plain` reads it back, in quotes if it needs them."""
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=True)


@dataclass(frozen=True, slots=True)
class Node:
    """
    A value of a document: a scalar, a list or a mapping.

    word: the scalar as it is written, or the beginning of the rest; value: the same natively.
    """

    word: Word
    value: object = None
    items: Sequence[Node] | None = None
    pairs: Mapping[str, Node] | None = None
    keys: Mapping[str, Word] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What it is, in a word for people."""
        if self.pairs is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        return "nothing" if self.value is None else self.word.said

    def mapping(self, what: str) -> Mapping[str, Node]:
        """Return the pairs that are not null; raises `SchemeError` if this is no mapping."""
        if self.pairs is None:
            raise self.word.error(f"{what} must be a mapping, not {self.kind}")
        return {key: node for key, node in self.pairs.items() if not node.is_null}

    def sequence(self, what: str) -> Sequence[Node]:
        """Return the items; raises `SchemeError` if this is no list."""
        if self.items is None:
            raise self.word.error(f"{what} must be a list, not {self.kind}")
        return self.items

    def scalar(self, what: str) -> Word:
        """Return the word; raises `SchemeError` if this is a list, a mapping or nothing."""
        if self.items is not None or self.pairs is not None or self.value is None:
            raise self.word.error(f"{what} must be one value, not {self.kind}")
        return self.word

    @property
    def is_null(self) -> bool:
        return self.items is None and self.pairs is None and self.value is None

    def native(self) -> object:
        """Return the value in Python's and JSON's types."""
        if self.pairs is not None:
            return {key: node.native() for key, node in self.pairs.items()}
        if self.items is not None:
            return [node.native() for node in self.items]
        return self.value

    def known(self, what: str, keys: Sequence[str]) -> Mapping[str, Node]:
        """Return the pairs that are not null; raises `SchemeError` for keys not in `keys`."""
        pairs = self.mapping(what)
        for key in self.pairs or ():
            if key not in keys:
                place = self.keys.get(key, self.word)
                raise unknown(place, f"{what} has no key", key, keys)
        return pairs


def unknown(place: Word, problem: str, word: str, known: Sequence[str]) -> SchemeError:
    """Return the error for a word that is none of `known`, with the nearest of them."""
    import difflib

    # Long words are near to nothing, and comparing takes the square of their length.
    near = difflib.get_close_matches(word.lower(), known, n=1) if len(word) < 50 else []
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return place.error(f"{problem} {quoted(word)}", hint=hint)


def first_with_others(errors: Sequence[SchemeError]) -> SchemeError:
    """Return the first of several mistakes, which carries the others."""
    first = errors[0]
    first.others = (*first.others, *errors[1:])
    return first
