"""
What the documentation shows is what happens: its blocks are run.

A `console` block is run command by command, in one folder for each page; its output is compared
line by line, "..." standing for any text, alone for any lines; "[exit 6]" is the status of the
last command. Blocks after `<!-- not run: REASON -->` are not run. `schemes` are read as files.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from isotherm.agent.config import Settings
from isotherm.agent.reading import read
from isotherm.cli import COMMANDS
from isotherm.schemefile.files import load

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<kind>[\w-]+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PAGES = sorted(DOCS.rglob("*.md"))


class Fence(NamedTuple):
    kind: str
    text: str
    why: str | None


def fences(page: Path) -> list[Fence]:
    return [
        Fence(match["kind"], match["text"], match["why"])
        for match in FENCE.finditer(page.read_text())
    ]


def steps(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it is to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(wanted: list[str], printed: list[str]) -> bool:
    if not wanted:
        return not printed
    if wanted[0] == "...":
        return any(matches(wanted[1:], printed[i:]) for i in range(len(printed) + 1))
    if not printed:
        return False
    pattern = ".*".join(map(re.escape, wanted[0].split("...")))
    return re.fullmatch(pattern, printed[0]) is not None and matches(wanted[1:], printed[1:])


CONSOLES = [page for page in PAGES if any(f.kind == "console" and not f.why for f in fences(page))]


@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: str(page.relative_to(DOCS)))
def test_what_is_typed_prints_what_is_shown(page, tmp_path):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env.pop("COLUMNS", None)
    for fence in fences(page):
        if fence.kind != "console" or fence.why:
            continue
        for command, wanted in steps(fence.text):
            exits = re.fullmatch(r"\[exit (\d+)\]", wanted[-1]) if wanted else None
            printed = wanted[:-1] if exits else wanted
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=env, text=True, timeout=120,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            assert done.returncode == int(exits[1] if exits else 0), f"$ {command}\n{done.stdout}"
            assert matches(printed, done.stdout.splitlines()), f"$ {command}\n{done.stdout}"


@pytest.mark.parametrize("kind", ["schemes", "schemes-yaml"])
def test_schemes_are_read(kind, tmp_path):
    texts = [f.text for page in PAGES for f in fences(page) if f.kind == kind]
    assert texts
    for text in texts:
        path = tmp_path / ("x.yaml" if kind == "schemes-yaml" else "x.schemes")
        path.write_text(text)
        assert load(str(path)).schemes


def test_configurations_of_the_agent_are_read_and_say_the_defaults(tmp_path):
    (fence,) = [f for page in PAGES for f in fences(page) if f.kind == "agent-yaml"]
    path = tmp_path / "agent.yaml"
    path.write_text(fence.text)
    settings = read(path)
    assert settings.schemes
    assert replace(settings, schemes=()) == Settings()


def test_every_block_is_of_a_known_kind():
    """A block that nobody runs says so: `text` is no command."""
    kinds = {f.kind for page in PAGES for f in fences(page)}
    assert kinds <= {"console", "schemes", "schemes-yaml", "agent-yaml", "python", "text", "json"}


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    assert [
        str(page.relative_to(DOCS)) for page in PAGES if f"- {page.relative_to(DOCS)}" not in nav
    ] == []


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, _ = target.partition("#")
            assert re.match(r"https?:", target) or not path or (page.parent / path).is_file(), (
                page.name, target,
            )  # fmt: skip


def test_the_reference_has_every_command_and_option():
    spec = importlib.util.spec_from_file_location("commands", DOCS / "reference" / "commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.on_page_markdown((DOCS / "reference" / "commands.md").read_text())
    assert module.MARK not in text
    for name in COMMANDS:
        assert f"## isotherm {name}\n" in text
    assert "### isotherm scheme explain\n" in text
    for _, command, context in module.commands():
        for param in command.get_params(context):
            if param.param_type_name == "option" and not getattr(param, "hidden", False):
                assert all(option in text for option in param.opts)
