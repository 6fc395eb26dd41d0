"""JSON as a tree whose every value knows its place."""

from __future__ import annotations

import json.decoder
import re
from bisect import bisect_right
from typing import NoReturn

from isotherm.errors import quoted
from isotherm.schemefile.bounds import MAX_DEPTH, Count, check_number
from isotherm.schemefile.source import Node, Word

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_LINE_BREAK = re.compile("\n")


class _Json:
    """A reader of JSON that keeps places, and refuses a key that stands twice."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file, self.at = text, file, 0
        self._starts = [0, *(found.end() for found in _LINE_BREAK.finditer(text))]
        self._depth = 0
        self._count = Count()

    def word(self, start: int, text: str = "") -> Word:
        line = bisect_right(self._starts, start)
        return Word(text, self.file, line, start - self._starts[line - 1] + 1)

    def fail(self, message: str) -> NoReturn:
        raise self.word(self.at).error(message)

    def skip(self) -> str:
        """Go past white space; return the next character, "" at the end."""
        space = _SPACE.match(self.text, self.at)
        assert space is not None  # noqa: S101 - it matches nothing as well
        self.at = space.end()
        return self.text[self.at : self.at + 1]

    def document(self) -> Node:
        node = self.node()
        if self.skip():
            self.fail("the document has ended, but the file goes on")
        return node

    def node(self) -> Node:
        char, start = self.skip(), self.at
        self._count.add(self.word(start))
        if char in ("{", "["):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise Word("", self.file).error("the document is nested too deeply")
            node = self.pairs(start) if char == "{" else self.items(start)
            self._depth -= 1
            return node
        if char == '"':
            text = self.string()
            return Node(self.word(start, text), text)
        match = _SCALAR.match(self.text, start)
        if not match:
            self.fail("a value is missing" if char in ("", ",", "}", "]") else "this is no JSON")
        self.at = match.end()
        word = self.word(start, match[0])
        if match[0] in ("true", "false", "null"):
            return Node(word, {"true": True, "false": False, "null": None}[match[0]])
        check_number(word)
        whole = match[0].lstrip("-").isdecimal()
        return Node(word, int(match[0]) if whole else float(match[0]))

    def string(self) -> str:
        try:
            text, self.at = json.decoder.scanstring(self.text, self.at + 1, True)  # type: ignore[attr-defined]
        except json.JSONDecodeError as err:
            self.at = min(err.pos, len(self.text))
            self.fail(err.msg)
        return str(text)

    def items(self, start: int) -> Node:
        found: list[Node] = []
        self.at += 1
        while self.skip() != "]" or found:
            found.append(self.node())
            if not self.another("]"):
                break
        self.at += 1
        return Node(self.word(start), items=found)

    def pairs(self, start: int) -> Node:
        found: dict[str, Node] = {}
        keys: dict[str, Word] = {}
        self.at += 1
        while self.skip() != "}" or found:
            if self.skip() != '"':
                self.fail("a key in double quotes must stand here")
            place = self.at
            key = self.string()
            keys.setdefault(key, self.word(place, key))
            if key in found:
                raise self.word(place).error(f"key {quoted(key)} stands twice")
            if self.skip() != ":":
                self.fail(f"a colon must follow key {quoted(key)}")
            self.at += 1
            found[key] = self.node()
            if not self.another("}"):
                break
        self.at += 1
        return Node(self.word(start), pairs=found, keys=keys)

    def another(self, end: str) -> bool:
        char = self.skip()
        if char == ",":
            self.at += 1
            return True
        if char != end:
            self.fail(f"a comma or {end} must stand here")
        return False


def read_json(text: str, file: str) -> Node:
    """Return the tree of a JSON text; raises `SchemeError` where it is none."""
    return _Json(text, file).document()
