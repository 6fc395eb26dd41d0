"""`python -m isotherm` is the `isotherm` command, and what the command begins with."""

import signal

# Until `main` takes it an interrupt ends us as it ends other programs, without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from isotherm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
