"""`python -m isotherm` is the `isotherm` command."""

from isotherm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
