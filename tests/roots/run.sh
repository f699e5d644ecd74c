#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# run.sh SUITE PACKAGE - vfio-setup in a real Debian root of that suite, with
# its own kernel, GRUB, initramfs-tools and kmod, on a disk of its own (a loop
# device), so that grub-probe and update-grub are the real ones. Made up are the
# PCI bus (a tree of fixtures/hosts in the place of /sys) and proxmox-boot-tool.
#
# PACKAGE is a .deb, or a folder with an installed tree.
# ROOTS_CACHE keeps the root as a tar file between runs.
# Last line: "N passed, N failed, N skipped". Exit 77: cannot run here.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

suite=$1 package=$2
tests=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
packages=linux-image-amd64,initramfs-tools,kmod,udev,grub-pc,cpio,zstd,diffutils,perl-base,\
libpci3,libkmod2,libinih1,libsmartcols1,libjansson4

skip() {
	printf 'roots: skipped: %s\n0 passed, 0 failed, 1 skipped\n' "$1"
	exit 77
}
[ "$(id -u)" = 0 ] || skip "only root can make a Debian root and mount its disk"
command -v mmdebstrap >/dev/null || skip "mmdebstrap is missing (apt-get install mmdebstrap)"
[ "$(uname -m)" = x86_64 ] || skip "the Debian root is for x86-64, this is $(uname -m)"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/pve-gpu-roots.XXXXXX")
loop=
cleanup() {
	[ -z "$loop" ] || losetup -d "$loop" || :
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

cache=${ROOTS_CACHE:-$tmp}
mkdir -p "$cache"
tar=$cache/roots-$suite-$(printf %s "$packages" | sha256sum | cut -c1-12).tar
if [ ! -e "$tar" ]; then
	# The mirror that this machine uses, so that a local one is used here too.
	# shellcheck disable=SC2016 # apt's own variable
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'ORIGIN: Debian' 'LABEL: Debian' | head -n 1)
	# shellcheck disable=SC2086 # none or one word
	mmdebstrap -q --variant=minbase --format=tar --aptopt='Acquire::Retries "8"' --include="$packages" "$suite" "$tar.part" $mirror \
		</dev/null || skip "mmdebstrap could not fetch Debian $suite"
	mv "$tar.part" "$tar"
fi

# The disk: an ext4 file that the kernel shows as a loop device.
mkdir "$tmp/root"
tar -C "$tmp/root" -xf "$tar"
rm -rf "$tmp/root"/var/cache/apt/* "$tmp/root"/var/lib/apt/lists/*
mkdir -p "$tmp/root/roots"
case $package in
*.deb) cp "$package" "$tmp/root/roots/package.deb" ;;
*) cp -a "$package/." "$tmp/root/" ;;
esac
cp "$tests/roots/inside.sh" "$tmp/root/roots/"
cp -a "$tests/fixtures/hosts/bin" "$tmp/root/roots/bin"
for host in deb12-grub-nvidia pve8-grub-twins pve8-both-loaders; do
	"$tests/fixtures/hosts/mkhost" "$host" "$tmp/host"
	mkdir -p "$tmp/root/roots/$host"
	mv "$tmp/host/sys" "$tmp/host/proc" "$tmp/root/roots/$host/"
	rm -rf "$tmp/host" "$tmp/host".*
done
mke2fs -q -t ext4 -d "$tmp/root" "$tmp/disk" 3G
rm -rf "$tmp/root"
# Of /dev/loop0 to 9 GRUB would look for the file behind them, which is not in the root.
number=10
until losetup "/dev/loop$number" "$tmp/disk" 2>/dev/null; do
	number=$((number + 1))
	[ $number -lt 40 ] || skip "this machine has no loop device for the root's disk"
done
loop=/dev/loop$number

mkdir "$tmp/root"
# shellcheck disable=SC2016 # expanded by the inner shell
timeout -k 10 2700 unshare --mount --pid --fork --kill-child --propagation private sh -ec '
	mount -t ext4 "$2" "$1"
	mount -t proc proc "$1/proc"
	mount --rbind /dev "$1/dev"
	PATH=/usr/sbin:/usr/bin:/sbin:/bin exec chroot "$1" /bin/sh /roots/inside.sh' sh "$tmp/root" "$loop" </dev/null
