#!/bin/busybox sh
# First process of the initial file system: mounts the host's root, shared read-only through 9p, with
# a layer in memory over it, and the job's directory, and hands over to the job's own init.
b=/bin/busybox
$b mount -t proc none /proc
while read -r module; do $b insmod "/modules/$module"; done </modules/list

share() { # tag, folder, options
	$b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=524288,$3" "$1" "$2"
}
share root /lower ro,cache=loose &&
	$b mount -t tmpfs none /layer && $b mkdir /layer/upper /layer/work &&
	$b mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work none /root &&
	$b mkdir -p /root/.job && share job /root/.job rw,cache=none &&
	$b ip link set lo up &&
	exec $b chroot /root /.job/init
echo "the host's root cannot be mounted"
$b poweroff -f
