#!/usr/bin/env bash
# Builds User-Mode Linux 6.12 with DAMON from Debian's linux-source-6.12: build.sh OUTPUT
# Takes the source from the machine's own suites, else from bookworm-backports, without touching apt's settings.
# Needs gcc make bc flex bison xz-utils patch and 3 GB in TMPDIR; about 10 minutes on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:?usage: build.sh OUTPUT}")
package=linux-source-6.12
work=$(mktemp -d -t isotherm-uml.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

if [ -n "${UML_SOURCE_DEB:-}" ]; then
	cp "$UML_SOURCE_DEB" .
elif ! apt-get download -q "$package" 2>/dev/null; then
	# The mirror that this machine takes its own packages from.
	mirror=$(apt-get indextargets --format "\$(SITE)" "Created-By: Packages" | grep -m1 "/debian$")
	mkdir -p lists/partial cache/archives/partial
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"$mirror bookworm-backports main" >backports.list
	apt=(-q -o Dir::Etc::sourcelist="$work/backports.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root)
	apt-get "${apt[@]}" update
	apt-get "${apt[@]}" download "$package"
fi
dpkg-deb -x ./*.deb .
rm ./*.deb
tar xf "usr/src/$package.tar.xz"
rm -r usr
cd "$package"
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
