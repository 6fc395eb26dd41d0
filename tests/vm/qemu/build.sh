#!/usr/bin/env bash
# Builds Linux 6.12 with the page_idle bitmap and BPF from Debian's source: build.sh OUTPUT
# Needs gcc make bc flex bison xz-utils dwarves libelf-dev and 4 GB in TMPDIR; about 8 minutes on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:?usage: build.sh OUTPUT}")
work=$(mktemp -d -t isotherm-idle.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
# shellcheck source=tests/vm/source.sh
. "$here/../source.sh"

build="$work/build"
make=(nice make -s "ARCH=x86_64" "O=$build")
"${make[@]}" tinyconfig
cat "$here/idle.config" >>"$build/.config"
"${make[@]}" olddefconfig 2>/dev/null
for wanted in DAMON_VADDR DAMON_SYSFS IDLE_PAGE_TRACKING BPF_EVENTS DEBUG_INFO_BTF 9P_FS OVERLAY_FS; do
	grep -q "^CONFIG_$wanted=y" "$build/.config" || { echo "$wanted is not in the configuration" >&2; exit 1; }
done
"${make[@]}" "-j$(nproc)" bzImage
mkdir -p "$(dirname "$output")"
install -m 644 "$build/arch/x86/boot/bzImage" "$output.$$"
mv "$output.$$" "$output"
