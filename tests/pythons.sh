#!/usr/bin/env bash
# The fast tests on every newer Python found here, with the wheel as it ships: one wheel for all (abi3).
# Looks at python3.X on the path, at pyenv's, and at uv's. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ISOTHERM_KERNEL_TESTS=off ISOTHERM_VM_TESTS=off

declare -A found
for python in $(compgen -c | grep -E '^python3\.[0-9]+$' | sort -u) \
	"${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/*/bin/python3; do
	name=$("$python" -c 'import sys; print(*sys.version_info[:2], sys.executable)' 2>/dev/null) || continue
	read -r major minor path <<<"$name"
	[ "$major" = 3 ] && [ "$minor" -gt 11 ] && found[$minor]=$path
done
if [ ${#found[@]} = 0 ]; then
	echo "no Python newer than 3.11 here: nothing was tested"
	exit
fi

ISOTHERM_WERROR=1 uv build -q --wheel -o "$work/dist"
uv export -q --only-group test --no-hashes --no-emit-project >"$work/test.txt"
[ $# -gt 0 ] || set -- tests/unit tests/property tests/conformance tests/architecture
for minor in $(printf '%s\n' "${!found[@]}" | sort -n); do
	python="$work/3.$minor/bin/python"
	echo "Python $("${found[$minor]}" -c 'import sys; print(sys.version)'), ${found[$minor]}"
	uv venv -q --python "${found[$minor]}" "$work/3.$minor"
	uv pip install -q --python "$python" -c constraints.txt "$work"/dist/*.whl -r "$work/test.txt"
	"$python" -m pytest -q -p no:cacheprovider -n 2 --dist worksteal "$@"
done
