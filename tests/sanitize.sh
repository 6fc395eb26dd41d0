#!/usr/bin/env bash
# Build the C core with address and undefined-behaviour sanitizers and run the tests that exercise it.
# Arguments go to pytest; without any, the tests that need no privileges run.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ISOTHERM_SANITIZE=1 ISOTHERM_WERROR=1 uv build -q --wheel -o "$work/dist"
uv venv -q "$work/venv"
uv export -q --only-group test --no-hashes >"$work/test.txt"
uv pip install -q --python "$work/venv/bin/python" "$work"/dist/*.whl -r "$work/test.txt"
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
# Python itself leaks by design, and pymalloc would hide overflows of objects.
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc ISOTHERM_KERNEL_TESTS="${ISOTHERM_KERNEL_TESTS:-off}"
[ $# -gt 0 ] || set -- tests/property tests/conformance tests/unit
"$work/venv/bin/python" -m pytest -q -p no:cacheprovider -o timeout=900 "$@"
