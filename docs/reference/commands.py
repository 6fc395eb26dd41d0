"""
Every command of isotherm, from click: a page of the site (a hook of mkdocs), and man pages.

`python docs/reference/commands.py FOLDER` writes the man pages there, by click-man.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from isotherm.cli import cli

MARK = "<!-- commands -->"


def commands(
    group: click.Group = cli, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield the path of each command, itself and a context for its help."""
    context = click.Context(group, parent, "isotherm" if parent is None else None)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, name, terminal_width=80, max_content_width=80)
        yield inner.command_path, command, inner
        if isinstance(command, click.Group):
            for found in command.list_commands(inner):
                deeper = command.get_command(inner, found)
                assert deeper is not None
                last = click.Context(deeper, inner, found, terminal_width=80, max_content_width=80)
                yield last.command_path, deeper, last


def page() -> str:
    """Return a section for each command: its help, as it prints it."""
    sections = []
    for path, command, context in commands():
        level = "##" if path.count(" ") < 2 else "###"
        sections.append(f"{level} {path}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(sections)


def on_page_markdown(markdown: str, **about: object) -> str:
    """Fill in the commands where a page asks for them; called by mkdocs."""
    del about
    return markdown.replace(MARK, page()) if MARK in markdown else markdown


def write_man_pages(folder: Path) -> None:
    """Write isotherm.1, isotherm-record.1 and so on."""
    from click_man.core import write_man_pages as write

    folder.mkdir(parents=True, exist_ok=True)
    context = click.Context(cli, info_name="isotherm")
    named = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    for _, command, inner in commands():  # options of views and of targets come when asked for
        command.params = command.get_params(inner)
    # click-man asks a group for the commands that it has, and ours are found as they are used
    plain = click.Group(
        "isotherm", {name: found for name, found in named.items() if found},
        help=cli.help, params=cli.params, epilog=cli.epilog,
    )  # fmt: skip
    write("isotherm", plain, version=_version(), target_dir=str(folder))


def _version() -> str:
    from importlib.metadata import version

    return re.sub(r"[^\w.]", "", version("isotherm"))


if __name__ == "__main__":
    write_man_pages(Path(sys.argv[1]))
