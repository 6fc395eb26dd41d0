# Puts Debian's linux-source-6.12 into the current directory; sourced by build.sh of each guest.
# Takes it from the machine's own suites, else from bookworm-backports, without touching apt's settings.
# LINUX_SOURCE_DEB names a package at hand.
package=linux-source-6.12

if [ -n "${LINUX_SOURCE_DEB:-}" ]; then
	cp "$LINUX_SOURCE_DEB" .
elif ! apt-get download -q "$package" 2>/dev/null; then
	# The mirror that this machine takes its own packages from.
	mirror=$(apt-get indextargets --format "\$(SITE)" "Created-By: Packages" | grep -m1 "/debian$")
	mkdir -p lists/partial cache/archives/partial
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"$mirror bookworm-backports main" >backports.list
	apt=(-q -o Dir::Etc::sourcelist="$PWD/backports.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" -o APT::Sandbox::User=root)
	apt-get "${apt[@]}" update
	apt-get "${apt[@]}" download "$package"
fi
dpkg-deb -x ./*.deb .
rm ./*.deb
tar xf "usr/src/$package.tar.xz"
rm -r usr
cd "$package"
