"""Whatever the texts and widths are: it fits, it is aligned, and it is one line each."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from isotherm.errors import escaped
from isotherm.report.output import Report
from isotherm.terminal.output import for_stream, in_ascii, joined, paint
from isotherm.terminal.style import Style
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import columns_of, elide, labelled

texts = st.text(max_size=60) | st.text("/abc.日\x1b\n\u202e\udcff", max_size=90)
SGR = re.compile(r"\x1b\[[0-9;]*m")


@given(texts)
def test_escaping_leaves_nothing_that_does_not_print_and_happens_once(text):
    safe = escaped(text)
    assert safe.isprintable()
    assert escaped(safe) == safe
    assert in_ascii(safe).isascii()
    assert in_ascii(safe).isprintable()


@given(texts, st.integers(1, 80))
def test_elided_names_fit_and_keep_their_end(text, width):
    short = elide(text, width)
    assert columns_of(short) <= width
    assert short.isprintable()
    if short != escaped(text) and width > 6:
        assert escaped(text).endswith(short.rpartition("…")[2])


@given(st.lists(st.tuples(texts, st.integers(0, 10**12)), max_size=8), st.integers(30, 100))
def test_tables_fit_and_are_aligned(rows, width):
    columns = (names("what"), Column("size", rank=1), Column("hot"))
    cells = [(name, str(size), "1.5 MiB") for name, size in rows]
    lines = table(columns, cells, width)
    assert len(lines) == len(rows) + 1
    assert len({columns_of(line) for line in lines}) == 1
    assert all(columns_of(line) <= width and line.isprintable() for line in lines)


@given(texts, texts, st.integers(20, 100), st.integers(0, 15))
def test_labelled_texts_fit(label, text, width, indent):
    for line in labelled(label, text, width, indent):
        assert for_stream(line, Style()).isprintable()
    plain = escaped(text)
    if plain.isascii() and len(escaped(label)) < indent:
        assert all(
            len(line) <= max(width, indent + 10) for line in labelled(label, text, width, indent)
        )


@given(st.lists(st.tuples(texts, st.booleans())), st.booleans())
def test_only_our_own_colour_reaches_a_stream(parts, colour):
    style = Style(colour=colour)
    line = joined(*(paint(text, "38;5;54", style) if ours else text for text, ours in parts))
    shown = for_stream(line, style)
    assert SGR.sub("", shown).isprintable()
    assert colour or shown.isprintable()


@given(st.dictionaries(texts, texts | st.floats() | st.lists(texts), min_size=1, max_size=5))
def test_data_are_what_they_were(row):
    report = Report("x/1", {"row": row}, [row])
    for style in (Style(), Style(unicode=False)):
        text = report.render("json", style)
        assert all(line.isprintable() for line in text.split("\n"))
        found = json.loads(text)["row"]
        assert found.keys() == row.keys()
        assert all(found[k] == v for k, v in row.items() if not isinstance(v, float))
        assert report.render("csv", style).count("\n") == 2
