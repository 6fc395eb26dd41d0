import pytest

from isotherm.errors import escaped, quoted, shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("redis server", "redis server"),
        ("", ""),
        ("Überlauf µs", "Überlauf µs"),
        ("a\x1b[31mX\ny", "a\\x1b[31mX\\ny"),
        ("\0\x7f\x9b\u2028", "\\x00\\x7f\\x9b\\u2028"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("bad\udc80byte", "bad\\udc80byte"),
    ],
)
def test_what_does_not_print_is_spelled_out(text, seen):
    assert shown(text) == escaped(text) == seen
    assert shown(text).isprintable()
    assert escaped(seen) == seen


@pytest.mark.parametrize("text", ["9" * 5_000_000, "\0" * 5_000_000, "a" * 61, "\U0010ffff" * 60])
def test_long_texts_are_cut_to_what_was_asked(text):
    assert len(shown(text)) == 60
    assert "…" in shown(text)
    assert len(shown(text, 11)) == 11
    assert shown(text).isprintable()


def test_a_text_that_just_fits_is_left_whole():
    assert shown("a" * 60) == "a" * 60
    assert shown("\n" * 30) == "\\n" * 30


def test_beginning_and_end_of_a_long_text_are_left():
    assert shown("begin" + "x" * 200 + "end").startswith("begin")
    assert shown("begin" + "x" * 200 + "end").endswith("end")


def test_quotes_show_where_a_text_ends():
    assert quoted("5 ") == "'5 '"
    assert quoted("it's") == '"it\'s"'
