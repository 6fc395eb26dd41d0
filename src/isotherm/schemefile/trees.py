"""JSON, YAML and TOML as trees whose every value knows its place."""

from __future__ import annotations

import json.decoder
import re
from collections.abc import Callable
from typing import Any, NoReturn

from isotherm.schemefile.source import Node, SchemeError, Word

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_TOML_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_TOML_KEY = re.compile(r"\s*([\w\-]+|\"[^\"]*\")\s*=\s*")


class _Json:
    """A reader of JSON that keeps places, and refuses a key that stands twice."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file, self.at = text, file, 0

    def word(self, start: int, text: str = "") -> Word:
        line = self.text.count("\n", 0, start) + 1
        return Word(text, self.file, line, start - self.text.rfind("\n", 0, start))

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
        if char == "{":
            return self.pairs(start)
        if char == "[":
            return self.items(start)
        if char == '"':
            text = self.string()
            return Node(self.word(start, text), text)
        match = _SCALAR.match(self.text, start)
        if not match:
            self.fail("a value is missing" if char in ("", ",", "}", "]") else "this is no JSON")
        self.at = match.end()
        with self.word(start).placed("the value"):
            return Node(self.word(start, match[0]), json.loads(match[0]))

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
                raise self.word(place).error(f"key {key!r} stands twice")
            if self.skip() != ":":
                self.fail(f"a colon must follow key {key!r}")
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
    try:
        return _Json(text, file).document()
    except RecursionError:
        raise Word("", file).error("the document is nested too deeply") from None


def read_yaml(text: str, file: str) -> Node:
    """Return the tree of a YAML text; raises `SchemeError` where it is none."""
    import yaml

    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Node(Word("", file))
        return _from_yaml(root, loader, file, {})
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = Word("", file, mark.line + 1, mark.column + 1) if mark else Word("", file)
        raise place.error(f"no YAML: {err.problem or err.context}") from None
    except yaml.reader.ReaderError as err:
        line = text.count("\n", 0, err.position) + 1
        column = err.position - text.rfind("\n", 0, err.position)
        place = Word("", file, line, column)
        raise place.error(f"no YAML: character {err.character:#x} may not stand here") from None
    except SchemeError:
        raise
    except (ValueError, OverflowError, RecursionError) as err:
        problem = "nested too deeply" if isinstance(err, RecursionError) else f"no YAML: {err}"
        raise Word("", file).error(f"the document is {problem}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _from_yaml(node: Any, loader: Any, file: str, done: dict[int, Node | None]) -> Node:
    """Convert PyYAML's node; an alias becomes the same `Node` again."""
    import yaml

    def word(at: Any, text: str = "") -> Word:
        quoted = 1 if getattr(at, "style", None) in ("'", '"') else 0
        return Word(text, file, at.start_mark.line + 1, at.start_mark.column + 1 + quoted)

    if id(node) in done:
        known = done[id(node)]
        if known is None:
            raise word(node).error("an alias contains itself")
        return known
    done[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_object(node)
        plain = value is None or isinstance(value, (bool, int, float, str))
        result = Node(word(node, node.value), value if plain else node.value)
    elif isinstance(node, yaml.SequenceNode):
        items = [_from_yaml(one, loader, file, done) for one in node.value]
        result = Node(word(node), items=items)
    else:
        pairs: dict[str, Node] = {}
        keys: dict[str, Word] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in pairs:
                raise word(key).error(f"key {name!r} stands twice" if name else "this is no key")
            pairs[name] = _from_yaml(value, loader, file, done)
            keys[name] = word(key, name)
        result = Node(word(node), pairs=pairs, keys=keys)
    done[id(node)] = result
    return result


def read_toml(text: str, file: str) -> Node:
    """Return the tree of a TOML text; raises `SchemeError` where it is none."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        found = _TOML_PLACE.search(str(err))
        place = Word("", file, int(found[1]), int(found[2])) if found else Word("", file)
        raise place.error(f"no TOML: {_TOML_PLACE.sub('', str(err)).strip()}") from None
    except (ValueError, RecursionError):
        raise Word("", file).error("the document is nested too deeply or no TOML") from None
    return _from_toml(document, (), _toml_places(text), _Finder(text, file))


_Path = tuple[str | int, ...]


def _toml_places(text: str) -> dict[_Path, int]:
    """
    Return where the values of keys and tables begin, by their path.

    tomllib tells no places. Tables inside a value are found by the value that holds them.
    """
    places: dict[_Path, int] = {(): 0}
    counts: dict[_Path, int] = {}
    table: _Path = ()
    offset = 0
    for line in text.splitlines(keepends=True):
        header, key = _TOML_HEADER.match(line), _TOML_KEY.match(line)
        if header:
            table = ()
            names = [name.strip().strip('"') for name in header[2].split(".")]
            for depth, name in enumerate(names, start=1):
                table = (*table, name)
                if header[1] == "[[" and depth == len(names):
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            places[table] = offset + line.index("[")
        elif key:
            places.setdefault((*table, key[1].strip('"')), offset + key.end())
        offset += len(line)
    return places


class _Finder:
    """Makes words of places in a text."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file

    def word(self, start: int, text: str = "") -> Word:
        at = max(self.text.find(text, start), start) if text else start
        line = self.text.count("\n", 0, at) + 1
        return Word(text, self.file, line, at - self.text.rfind("\n", 0, at))


def _from_toml(value: Any, path: _Path, places: dict[_Path, int], finder: _Finder) -> Node:
    start = next(places[path[:end]] for end in range(len(path), -1, -1) if path[:end] in places)
    if isinstance(value, dict):
        pairs = {key: _from_toml(one, (*path, key), places, finder) for key, one in value.items()}
        keys = {key: finder.word(start, key) for key in value}
        for key in keys.keys() & {p[-1] for p in places if p[:-1] == path and p}:
            line_start = finder.text.rfind("\n", 0, places[*path, key]) + 1
            keys[key] = finder.word(line_start, key)
        return Node(finder.word(start), pairs=pairs, keys=keys)
    if isinstance(value, list):
        items = [_from_toml(one, (*path, at), places, finder) for at, one in enumerate(value)]
        return Node(finder.word(start), items=items)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return Node(finder.word(start, text), value if isinstance(value, (bool, int)) else text)


READERS: dict[str, Callable[[str, str], Node]] = {
    "json": read_json,
    "yaml": read_yaml,
    "toml": read_toml,
}
