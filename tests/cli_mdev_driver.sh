#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdev-mk and mdev-rm on mediated devices whose files answer as a driver (mdev-driver.c):
# counts after each step, all or nothing, a racing mdevctl, a remove that hangs.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
mtty=$root/sys/devices/virtual/mtty/mtty
type=$mtty/mdev_supported_types/mtty-1
uuid=83b8f4f2-509f-382f-3c1e-e6bfe0fa104

command -v "${CC:-cc}" >/dev/null || {
	echo 'skipped: no C compiler for the stand-in of the driver'
	exit 77
}
${CC:-cc} -O1 -D_GNU_SOURCE -shared -fPIC -o "$dir/driver.so" "$src/mdev-driver.c"

# mtty alone, three left, nothing made.
fresh() {
	rm -rf "$root"
	mkdir -p "$type" "$root/sys/class/mdev_bus" "$root/sys/bus/mdev/devices" "$root/sys/bus/pci/devices" \
		"$root/proc" "$root/etc"
	ln -s ../../devices/virtual/mtty/mtty "$root/sys/class/mdev_bus/mtty"
	echo 'Single port serial' >"$type/name"
	echo vfio-pci >"$type/device_api"
	echo 3 >"$type/available_instances"
	: >"$type/create"
	[ $# -eq 0 ] || echo "$1" >"$mtty/.orders"
}
call() {
	ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0" \
		LD_PRELOAD="$dir/driver.so" PVE_GPU_ROOT="$root" timeout 60 "$@"
}
left() {
	[ "$(cat "$type/available_instances")" = "$1" ] || fail "$2: $(cat "$type/available_instances") left, not $1"
	made=$(find "$root/sys/bus/mdev/devices" -mindepth 1 | wc -l)
	[ "$made" -eq $((3 - $1)) ] || fail "$2: $made are there"
}

# Until it is full, and empty again.
fresh
expect 0 mdev-mk -t mtty-1 -u ${uuid}1 -o id,type
prints "${uuid}1\tmtty-1\n" one
left 2 one
expect 73 mdev-mk -t mtty-1 -p mtty -u ${uuid}2 --attr nothing=1
says "${uuid}2: attribute nothing: No such file or directory"
left 2 'an attribute that is not there'
expect 0 mdev-mk -t mtty-1 -c 2 --attr param=1 --attr param=2
left 0 full
for param in "$mtty"/*-*/param; do
	case $param in
	*/${uuid}1/*) ;;
	*) [ "$(cat "$param")" = 2 ] || fail 'attributes in order' ;;
	esac
done
expect 75 mdev-mk -t mtty-1
says '1 wanted, 0 left'
expect 0 mdev-mk -t mtty-1 -u ${uuid}1 -o id
left 0 'what is there is as good'
expect 0 mdev-rm ${uuid}1
left 1 'one removed'
expect 0 mdev-rm --leftovers
left 3 empty

# Three are said to be left, and the driver refuses the third: the two go.
fresh last
expect 73 mdev-mk -t mtty-1 -c 3 --auto
says 'Invalid argument: the driver of mtty refused'
says '2 of 3 made by this call: removed again'
left 3 'all or nothing'
[ ! -e "$root/etc/mdevctl.d" ] || fail 'nothing is defined'
[ ! -e "$root/etc/pve-gpu-utils/mdev-autostart" ] || fail 'nothing is switched on'

# A definition that cannot be written takes all back, too.
fresh
mkdir "$root/etc/mdevctl.d"
: >"$root/etc/mdevctl.d/mtty"
expect 73 mdev-mk -t mtty-1 -c 2 --define
left 3 'no definition'
rm "$root/etc/mdevctl.d/mtty"

# Over a boot: what is auto comes again, with its attributes; a racing mdevctl is no
# error.
expect 0 mdev-mk -t mtty-1 -u ${uuid}1 --auto --attr param=7
expect 0 mdev-mk -t mtty-1 -u ${uuid}2 --define
cp -r "$root/etc" "$dir/etc"
for order in none race; do
	fresh "$order"
	rm -r "${root:?}/etc"
	cp -r "$dir/etc" "$root/etc"
	expect 0 mdev-mk --start-auto all
	[ ! -s "$dir/err" ] || { fail "$order: said something"; cat "$dir/err" >&2; }
	left 2 "boot, $order"
done
fresh
rm -r "${root:?}/etc"
cp -r "$dir/etc" "$root/etc"
expect 0 mdev-mk --start-auto mtty
[ "$(cat "$mtty/${uuid}1/param")" = 7 ] || fail 'its attribute'
expect 0 mdev-mk -u ${uuid}2
left 1 'the other by hand'
expect 0 mdev-rm --undefine --all -p mtty
left 3 'all gone'
[ -z "$(find "$root/etc/mdevctl.d" -type f)" ] || fail 'definitions are gone'

# An attribute that fails at boot: not half of what was defined.
expect 0 mdev-mk -t mtty-1 -u ${uuid}1 --auto
expect 0 mdev-rm -q ${uuid}1
sed 's/"attrs": \[\]/"attrs": [{"nothing": "1"}]/' "$dir/etc/mdevctl.d/mtty/${uuid}2" \
	>"$root/etc/mdevctl.d/mtty/${uuid}2"
sed -i 's/manual/auto/' "$root/etc/mdevctl.d/mtty/${uuid}2"
expect 69 mdev-mk --start-auto
says "${uuid}2: mtty-1 at mtty: attribute nothing: No such file or directory; removed again"
left 2 'the others'

# A remove that hangs is given up, and nobody is locked out after it.
echo hang >"$mtty/.orders"
expect 75 mdev-rm -q --timeout 1 ${uuid}1
says "${uuid}1: Connection timed out"
rm "$mtty/.orders"
expect 0 mdev-rm -q ${uuid}1
left 3 'removed in the end'

# Again and again.
rounds=20
[ -z "${PVE_GPU_TEST_LONG-}" ] || rounds=1000
i=0
while [ $i -lt $rounds ] && [ $failed = 0 ]; do
	i=$((i + 1))
	expect 0 mdev-mk -q -t mtty-1 -c 3
	expect 0 mdev-rm -q --all -p mtty
done
left 3 "$rounds rounds"
exit "$failed"
