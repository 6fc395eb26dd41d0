"""Comments cite the specification by section: each one must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CITED = re.compile(r"damon-spec (\d+(?:\.\d+)*)")
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)*)\.? ", re.MULTILINE)


def test_every_section_that_is_cited_exists():
    sections = set(HEADING.findall((ROOT / "docs" / "damon-spec.md").read_text()))
    cited = {
        (section, path.name)
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.[pch]*")
        if path.suffix in (".py", ".pyi", ".c", ".h")
        for section in CITED.findall(path.read_text(errors="replace"))
    }
    assert len(cited) > 3
    assert {(section, name) for section, name in cited if section not in sections} == set()


def test_the_specification_names_nothing_outside_of_the_project():
    assert "../" not in (ROOT / "docs" / "damon-spec.md").read_text()
