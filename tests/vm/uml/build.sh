#!/usr/bin/env bash
# Builds User-Mode Linux 6.12 with DAMON from Debian's linux-source-6.12: build.sh OUTPUT
# Needs gcc make bc flex bison xz-utils patch and 3 GB in TMPDIR; about 10 minutes on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:?usage: build.sh OUTPUT}")
work=$(mktemp -d -t isotherm-uml.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

# shellcheck source=tests/vm/source.sh
. "$here/../source.sh"
patch -p1 <"$here/damon.patch"

build="$work/build"
make=(nice make -s "ARCH=um" "O=$build")
"${make[@]}" tinyconfig
cat "$here/damon.config" >>"$build/.config"
"${make[@]}" olddefconfig 2>/dev/null
for wanted in DAMON_VADDR DAMON_PADDR DAMON_SYSFS IDLE_PAGE_TRACKING ZRAM OVERLAY_FS HOSTFS UML_TIME_TRAVEL_SUPPORT; do
	grep -q "^CONFIG_$wanted=y" "$build/.config" || { echo "$wanted is not in the configuration" >&2; exit 1; }
done
"${make[@]}" "-j$(nproc)" linux
strip "$build/linux"
mkdir -p "$(dirname "$output")"
install -m 755 "$build/linux" "$output.$$"
mv "$output.$$" "$output"
"$output" --version
