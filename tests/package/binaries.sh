#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# binaries.sh DIR - what the compiler made of the build in DIR: flags, hardening, links
set -eu

cd "$1"
blhc --all --debian build.log
# Not every program has an array on its stack or calls what can be fortified.
skip="--nofortify --nostackprotector --nocfprotection"
! hardening-check --help 2>&1 | grep -q nobranchprotection || skip="$skip --nobranchprotection"
export skip
rm -rf unpacked
for deb in ./*.deb; do
	case $deb in
	*-dbgsym_*) ;;
	*) dpkg-deb -x "$deb" unpacked ;;
	esac
done
find unpacked -type f -perm -u+x -exec sh -ec '
	for f; do
		[ "$(head -c 4 "$f" | tail -c 3)" = ELF ] || continue
		hardening-check $skip "$f"
		# What a program needs and does not use costs each start.
		! ldd -u "$f" | grep -E "lib(pci|inih|smartcols|jansson|kmod)\." || {
			echo "$f: linked with what it does not use"
			exit 1
		}
	done' sh {} +
rm -rf unpacked
