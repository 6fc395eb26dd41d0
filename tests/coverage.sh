#!/usr/bin/env bash
# How much of the C core and of the Python around it the core's tests run, and how many of its constants
# Python knows. Arguments go to pytest instead of those tests.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d) && chmod 755 "$work" # for tests that give root up
trap 'rm -rf "$work"' EXIT
. tests/core.sh
ISOTHERM_COVERAGE="$work/objects" build_core
export COVERAGE_FILE="$work/python"
# Who gives root up in a test cannot write what was counted, and is told to say nothing else.
if [ $# -gt 0 ]; then
	"$work/venv/bin/python" -m pytest -q -p no:cacheprovider -o timeout=900 "$@"
else
	run_tests -k "not it_works_without_root" --cov --cov-append --cov-report=
	"$work/venv/bin/coverage" report --sort=cover | awk 'NR < 11 || /^TOTAL/ { sub(/.*site-packages\//, ""); print }'
fi
report_core
"$work/venv/bin/python" -c '
from isotherm import _core
names = [name for name, value in vars(_core).items() if name.isupper() and isinstance(value, int)]
print(f"C core: {len(names)} constants exported")'
