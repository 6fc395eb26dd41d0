# Each target is one command a person could type; .ci/run calls the same ones.
.PHONY: help check pins test test-fast test-kernel test-pythons guests test-vm sanitize coverage fuzz docs bench eval
help:          ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'
check:         ## format, lint, types, layers, spelling, pins
	uv run .ci/pins.py --check && uv run ruff format --check . && uv run ruff check . && uv run mypy && uv run lint-imports && uv run codespell src tests examples docs README.md ARCHITECTURE.md CONTRIBUTING.md
pins:          ## pin every dependency to its newest version
	uv run --no-project .ci/pins.py
test:          ## fast tests: no root needed
	ISOTHERM_KERNEL_TESTS=off ISOTHERM_VM_TESTS=off uv run pytest -q
test-fast:     ## the same but for statistics, two at a time
	ISOTHERM_KERNEL_TESTS=off ISOTHERM_VM_TESTS=off uv run pytest -q -n 2 --dist worksteal --ignore tests/quality
test-pythons:  ## the same, with the built wheel on each newer Python that is found
	tests/pythons.sh
test-kernel:   ## tests that touch the running kernel (root)
	ISOTHERM_KERNEL_TESTS=require uv run pytest -q -m kernel
guests:        ## kernels of guests, built or fetched (minutes)
	uv run python tests/vm/uml_guest.py --build && uv run python tests/vm/qemu_guest.py --make
test-vm: guests ## tests on other kernels, in guests
	ISOTHERM_VM_TESTS=require uv run pytest -q -rfEP -n 2 --dist worksteal --durations=15 tests/vm
sanitize:      ## the core's tests under address and undefined-behaviour sanitizers, and which of its lines they run
	tests/sanitize.sh
coverage:      ## how much of the C core and of Python the core's tests run
	tests/coverage.sh
fuzz:          ## COUNT=10000 hostile inputs for every reader, of seed SEED=0; see tests/fuzz/harness.py
	@bad=0; for f in tests/fuzz/fuzz_*.py; do uv run python $$f --count $(or $(COUNT),10000) --seed $(or $(SEED),0) || bad=1; done; exit $$bad
docs:          ## the documentation as a site, and man pages, in build/
	NO_MKDOCS_2_WARNING=1 uv run --group docs mkdocs build --strict -q && uv run --group docs python docs/reference/commands.py build/man
eval:          ## docs/evaluation.md from fourteen real programs (root, 55 minutes; QUICK=1: 5; ONLY=redis,lmdb)
	uv run --isolated --no-dev --group eval python benchmarks/eval.py $(if $(QUICK),--quick,$(if $(ONLY),,--page docs/evaluation.md)) $(if $(ONLY),--only $(ONLY))
bench:         ## all figures of benchmarks/README.md (root, about 20 minutes)
	for b in cost accuracy slowdown weight mappings programs cold; do uv run python benchmarks/$$b.py || exit 1; done
