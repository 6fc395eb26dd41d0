#!/usr/bin/env bash
# Build the C core with address and undefined-behaviour sanitizers and run the tests that exercise it;
# as root those of the running kernel too. Tells as well which lines they run. Arguments go to pytest instead.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d) && chmod 755 "$work" # for tests that give root up
trap 'rm -rf "$work"' EXIT
. tests/core.sh
ISOTHERM_SANITIZE=1 ISOTHERM_COVERAGE="$work/objects" ISOTHERM_WERROR=1 build_core
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
# Python itself leaks by design, and pymalloc would hide overflows of objects.
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc
# The harness' own tests provoke what the sanitizers forbid; hostile recordings are read within bounds of the
# address space, of which the sanitizers take all; profiling counts what they call, and says where it cannot write
# that, as who gave root up; and programs that inherit
# their malloc have no arenas of glibc's, nor run as Java's.
if [ $# -gt 0 ]; then
	"$work/venv/bin/python" -m pytest -q -p no:cacheprovider -o timeout=900 "$@"
	exit
fi
# What only draws or tells, reads schemes, starts commands, or types what documents say, asks nothing new of the core.
drawn=()
for kind in live heat report scheme; do drawn+=(--ignore-glob "tests/unit/test_${kind}_*.py"); done
for name in docs examples completion top_command; do drawn+=(--ignore "tests/unit/test_$name.py"); done
drawn+=(--ignore tests/property/test_scheme_formats.py)
run_tests "${drawn[@]}" --ignore tests/unit/test_recording_hostile.py \
	-k "not the_harness_notices and not columns_are_taken and not cost_no_python_each and not arenas_are_told and not heap_of_a_jvm and not forked_is_counted_once and not too_dear_to_be_divided and not works_without_root"
unset LD_PRELOAD
report_core
