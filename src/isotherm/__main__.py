"""`python -m isotherm` is the `isotherm` command, and what the command begins with."""

# What the module signal is made of: loading that one takes milliseconds.
import _signal  # type: ignore[import-not-found]

# Until `main` takes it an interrupt ends us as it ends other programs, without a traceback.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from isotherm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
