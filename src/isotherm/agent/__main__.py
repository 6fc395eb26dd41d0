"""`python -m isotherm.agent`: what `isotherm agent` becomes, without what a command line needs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from isotherm.agent.config import Settings, checked_listen
from isotherm.agent.reload import read_once
from isotherm.agent.service import Agent, say
from isotherm.errors import IsothermError


def main() -> int:
    """
    Run the agent: CONFIG, LISTEN, FOLDER, each "" for none, as `isotherm agent` hands them over.

    Returns the exit status.
    """
    config, listen, folder = sys.argv[1:]
    try:
        path = Path(config) if config else None
        settings = Settings() if path is None else read_once(path)
        if listen:
            settings = replace(settings, listen=checked_listen(listen))
        return Agent(settings, path, Path(folder) if folder else None).run()
    except IsothermError as err:
        say(f"{err.message}{f' (hint: {err.hint})' if err.hint else ''}")
        return err.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
