"""Reading and writing schemes in any spelling, from a preset's name, a file or the lines alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from isotherm.errors import BadValueError, quoted
from isotherm.model.scheme import Scheme
from isotherm.schemefile.bounds import MAX_LINE, MAX_TEXT, check_length
from isotherm.schemefile.damo import keys as damo_keys
from isotherm.schemefile.damo import scheme as damo
from isotherm.schemefile.damo.kdamonds import decode_kdamonds, encode_kdamonds
from isotherm.schemefile.documents.document import (
    check_nothing_kept,
    decode_document,
    encode_document,
)
from isotherm.schemefile.documents.json_tree import read_json
from isotherm.schemefile.documents.scheme import SCHEME_KEYS
from isotherm.schemefile.documents.yaml_tree import read_yaml
from isotherm.schemefile.draft import action_names, decode_each
from isotherm.schemefile.lines.classic import format_classic, looks_classic, parse_classic
from isotherm.schemefile.lines.key_value import format_line, parse_line
from isotherm.schemefile.presets import PRESETS
from isotherm.schemefile.scheme_file import Monitor, SchemeFile
from isotherm.schemefile.source import (
    COMMAND_LINE,
    InexpressibleError,
    Node,
    SchemeError,
    Word,
    unknown,
)

Spelling = Literal[
    "line", "classic", "yaml", "json", "damo", "damo-kdamonds", "damo-kdamonds-yaml"
]
SPELLINGS: tuple[Spelling, ...] = get_args(Spelling)
_BREAKS = ("\n", "\r", "\x85", "\u2028", "\u2029")
_Syntax = Literal["line", "yaml", "json"]
_SUFFIXES: dict[str, _Syntax] = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
_TOML_BEGINS = re.compile(r"\[\[?[A-Za-z_.]{1,40}\]\]?\s*(#|$)")
_YAML_BEGINS = re.compile(r"---|[A-Za-z_]+\s*:(\s|$)|-\s")
#: What only damo's schemes hold, and what only ours do.
_DAMO_ONLY = frozenset(damo_keys.SCHEME) - frozenset(SCHEME_KEYS)
_OURS_ONLY = frozenset(SCHEME_KEYS) - frozenset(damo_keys.SCHEME)


def load(source: str) -> SchemeFile:
    """
    Return what a preset's name, a file's path, or lines given directly (newline or `;`) say.

    A preset's name wins over a file of that name; "./prcl" is the file. Raises `SchemeError` with
    file:line:column, which exits with 2.
    """
    if source in PRESETS:
        return read(PRESETS[source].lines, source, "line")[0]
    if not source.strip():
        raise BadValueError("no scheme was given", hint=f"presets: {', '.join(PRESETS)}")
    path = Path(source)
    if is_file(source):
        return load_path(path)[0]
    if len(source.split()) == 1 and ("/" in source or path.suffix in (*_SUFFIXES, ".toml")):
        raise BadValueError(
            f"there is no scheme file {quoted(source, 200)}", hint=f"presets: {', '.join(PRESETS)}"
        )
    return SchemeFile(decode_each(_given_lines(source), _parse_any_line))


def is_file(source: str) -> bool:
    """Whether there is a file (or anything else) of this name."""
    try:
        return "\n" not in source and Path(source).exists()
    except (OSError, ValueError):
        return False


def load_path(path: Path, spelling: Spelling | None = None) -> tuple[SchemeFile, Spelling]:
    """Return what a file says, and how it is spelled; raises `SchemeError`."""
    return read(read_text(path), str(path), spelling)


def read_text(path: Path) -> str:
    """
    Return the text of a file.

    path: of a file or of anything else that ends, "/dev/stdin" as well.

    Raises `BadValueError` if it cannot be read, is no text, or is longer than any scheme file.
    """
    name = quoted(str(path), 200)
    try:
        with path.open("rb") as stream:
            return decode_text(stream.read(4 * MAX_TEXT + 1), str(path))
    except OSError as err:
        raise BadValueError(f"cannot read {name}: {err.strerror}") from None


def decode_text(data: bytes, file: str) -> str:
    """Return the text of bytes; raises `BadValueError` if they are none, or too many."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        if len(data) > 4 * MAX_TEXT:  # cut off in the middle of a character
            check_length("." * len(data), file)
        name = quoted(file, 200)
        raise BadValueError(f"{name} is no text: byte {err.start} is not UTF-8") from None
    check_length(text, file)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read(
    text: str, file: str = COMMAND_LINE, spelling: Spelling | None = None
) -> tuple[SchemeFile, Spelling]:
    """
    Return what a text says, and how it is spelled; recognised by its name and beginning if None.

    Raises `SchemeError`, which holds the mistakes of all schemes of the text.
    """
    check_length(text, file)
    syntax = spelling or detect(text, file)
    if syntax in ("line", "classic"):
        lines = [line for line in split_lines(text, file) if line.words()]
        schemes = decode_each(lines, _parse_any_line)
        if not schemes:
            raise Word("", file).error("there is no scheme in this file")
        classic = all(looks_classic(line.text) for line in lines)
        return SchemeFile(schemes), "classic" if classic else "line"
    if syntax == "damo-kdamonds-yaml":
        syntax = "yaml"
    elif syntax in ("damo", "damo-kdamonds"):
        syntax = "yaml" if file.endswith((".yaml", ".yml")) else "json"
    root = read_yaml(text, file) if syntax == "yaml" else read_json(text, file)
    form = _form(root)
    if form == "damo-kdamonds":
        return decode_kdamonds(root), "damo-kdamonds-yaml" if syntax == "yaml" else form
    if form == "damo":
        listed = root if root.pairs is None else root.pairs["schemes"]
        notes = tuple(damo_keys.notes_on_keys(listed, "a scheme", damo_keys.SCHEME))
        schemes = decode_each(listed.sequence("schemes"), damo.decode_scheme)
        return SchemeFile(schemes, notes=notes), form
    return decode_document(root), syntax


def detect(text: str, file: str = COMMAND_LINE) -> _Syntax:
    """Return the syntax of a text, by the suffix of its name, else by how it begins."""
    suffix = Path(file).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix == ".toml":
        raise _no_toml(file)
    lines = map(str.strip, text.split("\n"))
    first = next((line for line in lines if line and line[0] != "#"), "")
    if _TOML_BEGINS.match(first):
        raise _no_toml(file)
    if first[:1] in ("{", "["):
        return "json"
    return "yaml" if _YAML_BEGINS.match(first) else "line"


def _no_toml(file: str) -> SchemeError:
    return Word("", file).error(
        "schemes are not written in TOML",
        hint="they are in lines, YAML (.yaml, .yml), JSON (.json), or damo's JSON and kdamonds",
    )


def _form(root: Node) -> Literal["document", "damo", "damo-kdamonds"]:
    """Tell our documents from damo's files."""
    if root.pairs is not None:
        if "kdamonds" in root.pairs:
            return "damo-kdamonds"
        schemes = root.pairs.get("schemes")
        return "damo" if set(root.pairs) == {"schemes"} and _is_damo(schemes) else "document"
    if root.items is None:
        raise root.word.error(f"a scheme file holds a list or a mapping, not {root.kind}")
    if any("contexts" in (item.pairs or ()) for item in root.items):
        return "damo-kdamonds"
    return "damo" if _is_damo(root) else "document"


def _is_damo(node: Node | None) -> bool:
    """Whether all schemes are mappings, with a key that only damo has, or none that only we do."""
    schemes = [item.pairs for item in (node.items or () if node is not None else ())]
    if not schemes or None in schemes:
        return False
    mappings = [pairs for pairs in schemes if pairs is not None]
    keys = {key for pairs in mappings for key in pairs}
    if keys & _OURS_ONLY and not keys & {"access_pattern", "quotas", "apply_interval_us"}:
        return False
    filters = [
        item for pairs in mappings if "filters" in pairs for item in pairs["filters"].items or ()
    ]
    return bool(keys & _DAMO_ONLY) or any("filter_type" in (item.pairs or ()) for item in filters)


def split_lines(text: str, file: str) -> list[Word]:
    """Return the lines of a text; raises `SchemeError` for one that is too long to be one."""
    lines = [Word(line, file, at) for at, line in enumerate(text.split("\n"), start=1)]
    for line in lines:
        if len(line.text) > MAX_LINE:
            raise line.error(
                f"the line has {len(line.text):,} characters", hint=f"{MAX_LINE:,} are the most"
            )
    return lines


def _given_lines(source: str) -> list[Word]:
    check_length(source, COMMAND_LINE)
    parts = [part for line in split_lines(source, COMMAND_LINE) for part in line.split(";")]
    return [part for part in parts if part.words()]


def _parse_any_line(word: Word) -> Scheme:
    words = word.words()
    if looks_classic(word.text):
        return parse_classic(word)
    alone = len(words) == 1 and "=" not in word.text and word.file == COMMAND_LINE
    if alone and words[0].text.lower() not in action_names():
        known = [*PRESETS, *action_names()]
        raise unknown(words[0], "there is no preset, file or action", words[0].text, known)
    return parse_line(word)


def write(file: SchemeFile, spelling: Spelling) -> str:
    """
    Return the text of a file in a spelling, which `read` reads back as an equal one.

    Raises `InexpressibleError` that names the part for which the spelling has no words.
    """
    return _WRITERS[spelling](file)


def only_schemes(file: SchemeFile) -> SchemeFile:
    """Return the schemes of all contexts, without anything that stands beside them."""
    return SchemeFile(tuple(scheme for context in file.contexts for scheme in context.schemes))


def _bare_schemes(file: SchemeFile) -> tuple[Scheme, ...]:
    for what, there in {
        "several contexts": file.others,
        "targets": file.targets,
        "monitoring attributes": file.monitor != Monitor(),
    }.items():
        if there:
            raise InexpressibleError(
                f"this spelling has no words for {what}",
                hint="yaml and json do; --schemes-only drops it",
            )
    check_nothing_kept(file)
    return file.schemes


def _lines(file: SchemeFile, form: Callable[[Scheme], str]) -> str:
    return "".join(f"{form(scheme)}\n" for scheme in _bare_schemes(file))


def _yaml(document: object) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what holds line breaks: PyYAML folds U+0085 in other styles and loses it."""

        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if len(value.splitlines()) > 1 or value.endswith(_BREAKS) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return str(yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=99))


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"


_WRITERS: dict[Spelling, Callable[[SchemeFile], str]] = {
    "line": lambda file: _lines(file, format_line),
    "classic": lambda file: _lines(file, format_classic),
    "yaml": lambda file: _yaml(encode_document(file)),
    "json": lambda file: _json(encode_document(file)),
    "damo": lambda file: _json([damo.encode_scheme(scheme) for scheme in _bare_schemes(file)]),
    "damo-kdamonds": lambda file: _json(encode_kdamonds(file)),
    "damo-kdamonds-yaml": lambda file: _yaml(encode_kdamonds(file)),
}


def format_lines(text: str, file: str = COMMAND_LINE) -> str:
    """Return the lines of a text in their shortest form, comments and empty lines kept."""
    formatted = []
    for word in split_lines(text.removesuffix("\n"), file):
        if not word.words():
            formatted.append(word.text.strip())
            continue
        form = format_classic if looks_classic(word.text) else format_line
        comment = word.comment()
        formatted.append(form(_parse_any_line(word)) + (f"  {comment}" if comment else ""))
    return "".join(f"{line}\n" for line in formatted)


def without_status(file: SchemeFile) -> SchemeFile:
    """
    Return a damo file without what says nothing about the wish: status, and damo's defaults.

    What is left of the kept parts changes what damo does, and only its files can say it.
    """
    contexts = [
        replace(
            context,
            kdamond_kept={k: v for k, v in context.kdamond_kept.items() if not _is_default(k, v)},
            context_kept={k: v for k, v in context.context_kept.items() if not _is_default(k, v)},
        )
        for context in file.contexts
    ]
    return replace(contexts[0], others=tuple(contexts[1:]))


_DEFAULTS: dict[str, tuple[object, ...]] = {
    "refresh_ms": (0, "0", "0 ns", None),
    "addr_unit": (1, "1", "1 B", None),
    "probes": ([], None),
    "pause": (False, None),
    "sample_control": (
        None,
        {"primitives_enabled": {"page_table": True, "page_fault": False}, "sample_filters": []},
    ),
}


def _is_default(key: str, value: object) -> bool:
    return key in ("state", "pid", "name") or value in _DEFAULTS.get(key, ())
