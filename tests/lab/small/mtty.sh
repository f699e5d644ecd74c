#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mtty.sh SUITE KERNEL CACHE - build mtty, the kernel's own sample of a parent of
# mediated devices, for the kernel that kernel.sh has put into the folder KERNEL: Debian
# ships its source alone. Prints the folder of CACHE with mdev.ko and mtty.ko. Where
# this machine is too old for the kernel's build tools, they run in a root of SUITE
# (1.5 minutes: with PVE_GPU_TEST_LONG only).
#
# LAB_MIRROR where to fetch Debian from (http://deb.debian.org/debian)
# Exit 77: it cannot be built here; the reason is on stderr, one line.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

suite=$1 kernel=$2 cache=$3
release=$(cat "$kernel/release")
version=$(printf '%s\n' "$release" | cut -d. -f1-2)
apt=$cache/apt-$suite
done=$cache/mtty-$release
if [ -e "$done" ]; then
	printf '%s\n' "$done"
	exit 0
fi

cannot() {
	printf '%s\n' "$*" >&2
	exit 77
}
for tool in make:make gcc:gcc xz:xz-utils tar:tar; do
	command -v "${tool%%:*}" >/dev/null || cannot "${tool%%:*} is missing (apt-get install ${tool#*:})"
done
[ -e "$apt/sources.list" ] || cannot "kernel.sh has fetched no lists of $suite"
of_suite() {
	command=$1
	shift
	"$command" -q -o Dir::State="$apt" -o Dir::State::status=/dev/null -o Dir::State::lists="$apt/lists" \
		-o Dir::Cache="$apt/cache" -o Dir::Etc::sourcelist="$apt/sources.list" \
		-o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root -o APT::Architecture=amd64 \
		-o Acquire::Retries=8 -o APT::Update::Error-Mode=any "$@"
}

part=$done.part.$$
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$part/root" "$part/build" "$part/out"
get() {
	(cd "$part" && of_suite apt-get download "$@") >"$part/log" 2>&1
}
# Debian 12 names it after the series, Debian 13 after the release.
get "linux-kbuild-${release%-amd64}" || get "linux-kbuild-$version" ||
	cannot "the build tools of $release: $(tail -n 1 "$part/log")"
dpkg-deb -x "$part"/linux-kbuild-*.deb "$part/root"
set -- "$part"/root/usr/lib/linux-kbuild-*/tools/objtool/objtool
in=
! SRCARCH=x86 "$1" 2>&1 | grep -q GLIBC_ || in=$part/root
headers="linux-headers-$release linux-headers-${release%-amd64}-common"
if [ -n "$in" ]; then
	newer="the build tools of $release are for a newer Debian than this machine's"
	[ -n "${PVE_GPU_TEST_LONG-}" ] || cannot "$newer: with PVE_GPU_TEST_LONG they get one"
	command -v mmdebstrap >/dev/null || cannot "$newer (apt-get install mmdebstrap)"
	[ "$(id -u)" = 0 ] || cannot "$newer, and only root can make one"
	rm -rf "$in"
	# shellcheck disable=SC2086 # a mirror may be several words, or none
	mmdebstrap -q --variant=minbase --aptopt='Acquire::Retries "8"' --include="linux-headers-$release,gcc,make" \
		"$suite" "$in" ${LAB_MIRROR-} </dev/null >"$part/log" 2>&1 ||
		cannot "a Debian $suite with the headers of $release: $(tail -n 1 "$part/log")"
	headers=
fi
# shellcheck disable=SC2086 # two words, or none
get "linux-image-$release" $headers "linux-source-$version" ||
	cannot "the headers and source of $release: $(tail -n 1 "$part/log")"
for package in "$part"/linux-[his]*.deb; do
	dpkg-deb -x "$package" "$part/root"
done
find "$part/root" -name mdev.ko -o -name mdev.ko.xz | while read -r file; do
	case $file in
	*.xz) xz -dc "$file" >"$part/out/mdev.ko" ;;
	*) cp "$file" "$part/out/mdev.ko" ;;
	esac
done
tar -C "$part/build" --strip-components=3 -xf "$part/root/usr/src/linux-source-$version.tar.xz" \
	"linux-source-$version/samples/vfio-mdev/mtty.c"
echo 'obj-m := mtty.o' >"$part/build/Makefile"
headers=/usr/src/linux-headers-$release
# Type information for BPF would need pahole, and nobody asks for it.
words="CC=gcc CONFIG_DEBUG_INFO_BTF_MODULES="
# shellcheck disable=SC2086 # words of make
if [ -n "$in" ]; then
	mv "$part/build" "$in/build"
	ln -s root/build "$part/build"
	set -- chroot "$in" make -C "$headers" M=/build $words modules
else
	# The headers are where no installation has put them.
	headers=$part/root$headers
	grep -rlI '/usr/src/' "$headers"/Makefile "$headers"/.kernelvariables 2>/dev/null |
		xargs -r sed -i "s|/usr/src/|$part/root/usr/src/|g"
	set -- make -C "$headers" M="$part/build" $words modules
fi
"$@" >"$part/log" 2>&1 || {
	cp "$part/log" "$cache/mtty-$release.log"
	cannot "mtty does not build for $release, see $cache/mtty-$release.log"
}
cp "$part/build/mtty.ko" "$part/out/"
mv "$part/out" "$done"
printf '%s\n' "$done"
