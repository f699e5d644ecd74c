#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kernel.sh SUITE CACHE - fetch the kernel of that Debian release and print the
# folder of CACHE that holds it: vmlinuz, release, and the modules that the small
# lab loads, named after their turn (010-irqbypass.ko).
#
# LAB_MIRROR where to fetch Debian from (http://deb.debian.org/debian)
# Exit 77: Debian's archive cannot be reached.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

suite=$1 cache=$2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# vfio-pci first: what binds at boot is loaded by the lab itself, when it is ready.
modules="vfio_iommu_type1 vfio-pci nvme snd-hda-codec-generic snd-hda-intel bochs virtio-pci virtio-blk"

apt=$cache/apt-$suite
kernel=$cache/kernel-$suite-$(printf '%s\n' "$modules" | cksum | cut -d' ' -f1)
if [ -e "$kernel" ]; then
	printf '%s\n' "$kernel"
	exit 0
fi

unreachable() {
	printf 'kernel.sh: %s\n' "$*" >&2
	exit 77
}

# Lists of its own: the release may be another one than this machine's.
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
case ${LAB_MIRROR-} in
'' | *' '*) mirror=http://deb.debian.org/debian ;;
*) mirror=$LAB_MIRROR ;;
esac
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$apt/sources.list"
of_suite() {
	command=$1
	shift
	"$command" -q -o Dir::State="$apt" -o Dir::State::status=/dev/null -o Dir::State::lists="$apt/lists" \
		-o Dir::Cache="$apt/cache" -o Dir::Etc::sourcelist="$apt/sources.list" \
		-o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root -o APT::Architecture=amd64 \
		-o Acquire::Retries=8 -o APT::Update::Error-Mode=any "$@"
}
of_suite apt-get update >"$apt/log" 2>&1 || unreachable "no lists of $suite: $(tail -n 1 "$apt/log")"
package=$(of_suite apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
[ -n "$package" ] || unreachable "$suite has no linux-image-amd64"

part=$kernel.part.$$
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$part/root" "$part/out"
(cd "$part" && of_suite apt-get download "$package") >>"$apt/log" 2>&1 ||
	unreachable "$package: $(tail -n 1 "$apt/log")"
dpkg-deb -x "$part"/*.deb "$part/root"
release=${package#linux-image-}
# Debian 13's modules lie below /usr, where the older depmod does not look.
[ -d "$part/root/lib/modules" ] || mv "$part/root/usr/lib" "$part/root/lib"
depmod -b "$part/root" "$release"
# shellcheck disable=SC2086 # a list of modules
modprobe -d "$part/root" -S "$release" -a --show-depends $modules |
	sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$part/list"
turn=0
while read -r file; do
	turn=$((turn + 1))
	name=$(basename "$file")
	to=$part/out/$(printf '%03d' $turn)-${name%%.ko*}.ko
	case $name in
	*.xz) xz -dc "$file" >"$to" ;;
	*) cp "$file" "$to" ;;
	esac
done <"$part/list"
cp "$part/root/boot/vmlinuz-$release" "$part/out/vmlinuz"
printf '%s\n' "$release" >"$part/out/release"
mv "$part/out" "$kernel"
printf '%s\n' "$kernel"
