# shellcheck shell=bash
# The tests that exercise the C core, and an environment with a core built in a special way: sourced by
# sanitize.sh and coverage.sh, from the project's directory, with $work set.

core_tests=(tests/property tests/conformance tests/unit tests/fuzz/test_fuzz.py)
kernel_tests=()
if [ "$(id -u)" = 0 ] && [ "${ISOTHERM_KERNEL_TESTS:-auto}" != off ]; then
	# Those that ask the core for more than starting a session does.
	kernel_tests=(tests/kernel/test_{access_open,core_self_test,core_threads,vaddr_bpf,vaddr_bpf_life}.py
		tests/kernel/test_{walker_folios,walker_pages,walker_targets,actions,actions_idle,actions_pageout}.py)
fi

build_core() { # with the ISOTHERM_... variables of setup.py, into $work/venv
	uv build -q --wheel -o "$work/dist"
	uv venv -q "$work/venv"
	uv export -q --only-group test --no-hashes --no-emit-project >"$work/test.txt"
	uv pip install -q --python "$work/venv/bin/python" -c constraints.txt "$work"/dist/*.whl -r "$work/test.txt"
}

run_tests() { # with arguments of pytest: those of the core two at a time, those of the kernel one after another
	local pytest=("$work/venv/bin/python" -m pytest -q -p no:cacheprovider -o timeout=900)
	"${pytest[@]}" -n 2 --dist worksteal "${core_tests[@]}" "$@"
	[ ${#kernel_tests[@]} = 0 ] || "${pytest[@]}" "${kernel_tests[@]}" "$@"
}

report_core() { # what of a core that was built with ISOTHERM_COVERAGE="$work/objects" has been run
	find "$work/objects" -name '*.gcda' -exec gcov -n {} + 2>/dev/null | awk -F"[':% ]+" '
		/^File / { file = /_native\/.*\.[ch]/ ? $2 : "" }
		/^Lines executed/ && file {
			run = int($3 * $5 / 100 + 0.5); ran[file] = ran[file] > run ? ran[file] : run; of[file] = $5; file = ""
		}
		END {
			for (file in of) {
				all += of[file]; done += ran[file]
				printf "%5.1f %% of %4d lines  %s\n", 100 * ran[file] / of[file], of[file], file | "sort -n | head -8"
			}
			close("sort -n | head -8")
			printf "C core: %.1f %% of %d lines are run by its tests; above: the least covered files\n", 100 * done / all, all
		}'
}
