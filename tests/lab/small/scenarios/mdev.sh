# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# mdev-ls, mdev-mk, mdev-rm: mediated devices of the kernel's own sample parent, mtty,
# where it could be built; the VFs of a disk.

u1=11111111-2222-4333-8444-555555555551
u2=11111111-2222-4333-8444-555555555552

# prints LINE: the last one of exits printed this alone, blanks for tabs
prints() {
	[ "$(tr '\t' ' ' </run/lab/out)" = "$1" ] && return 0
	echo "not \"$1\""
	return 1
}
# left SINGLE DUAL: by the program and by the kernel
left() {
	exits 0 mdev-ls -q -t -p mtty -o available && prints "$1
$2" && [ "$(cat /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-*/available_instances)" = "$1
$2" ]
}
# there NUMBER: so many mediated devices
there() {
	ls /sys/bus/mdev/devices
	[ "$(find /sys/bus/mdev/devices -mindepth 1 | wc -l)" = "$1" ]
}
cycle() { mdev-mk -q -t mtty-2 -c 4 >/run/lab/out 2>&1 && mdev-rm -q --all -p mtty >/run/lab/out 2>&1; }
cycles() {
	count=0
	while [ $count -lt "$1" ]; do
		count=$((count + 1))
		cycle || {
			echo "round $count: $(cat /run/lab/out)"
			return 1
		}
	done
}

mediated() {
	lab_say "types of mtty, by any name"
	check "as the kernel has them" exits 0 mdev-ls -t -p mtty -o parent,type,name,available,api
	check "two types" prints "mtty mtty-1 Single port serial 24 vfio-pci
mtty mtty-2 Dual port serial 12 vfio-pci"
	check "nothing is there" exits 1 mdev-ls -p mtty
	check "four by name" exits 0 mdev-mk -t 'dual port serial' -c 4
	check "four are there" there 4
	check "left after four" left 16 8
	check "an exact number" exits 0 mdev-mk -t mtty-1 -c 16
	check "none left" left 0 0
	check "the error when full" exits 75 mdev-mk -t mtty-1
	check "none, and what holds them" says "0 left" "16 x Single port serial"
	check "still as many" there 20
	check "all go" exits 0 mdev-rm -q --all -p mtty
	check "all are free" left 24 12
	check "none is there" there 0

	lab_say "all or nothing"
	check "22 of 24" exits 0 mdev-mk -q -t mtty-1 -c 22
	check "three do not fit" exits 75 mdev-mk -t mtty-1 -c 3
	check "none was made" there 22
	check "a UUID twice" exits 64 mdev-mk -t mtty-1 -u $u1 -u $u1
	check "by UUID" exits 0 mdev-mk -t mtty-1 -u $u1 -u $u2
	check "again" exits 0 mdev-mk -t mtty-1 -u $u1
	check "as another type" exits 73 mdev-mk -t mtty-2 -u $u1
	check "24 are there" there 24
	check "one goes" exits 0 mdev-rm $u1
	check "one is free" left 1 0
	check "all go" exits 0 mdev-rm -q --all -p mtty

	lab_say "a user"
	check "two" exits 0 mdev-mk -t mtty-1 -u $u1 -u $u2
	check "a process holds one" held $u1
	check "it is seen" exits 0 mdev-ls -o id,user $u1
	check "it is that one" prints "$u1 process/$holder"
	check "it stays" exits 75 mdev-rm $u1
	check "who has it" says "$u1 is in use by" "$holder"
	check "force does not help" exits 75 mdev-rm -f $u1
	check "the other is a leftover" exits 0 mdev-ls -l -o id
	check "alone" prints $u2
	check "leftovers go" exits 0 mdev-rm -l -o id
	check "the other one" prints $u2
	check "the first is there" there 1
	unheld
	check "nobody has it" exits 0 mdev-rm $u1
	check "all are free" left 24 12

	lab_say "definitions, when the parent comes anew"
	check "auto" exits 0 mdev-mk -q --auto -t mtty-2 -u $u1
	check "defined" exits 0 mdev-mk -q --define -t mtty-1 -u $u2
	rmmod mtty
	check "gone with their parent" there 0
	insmod /modules/mtty/mtty.ko
	check "what is auto is started" exits 0 mdev-mk --start-auto mtty
	check "it is there" exits 0 mdev-ls -o id,type,state,start
	check "the other is not" prints "$u1 mtty-2 active auto
$u2 mtty-1 defined manual"
	check "again" exits 0 mdev-mk --start-auto
	check "one is there" there 1
	check "the other, when asked for" exits 0 mdev-mk -q -u $u2
	check "two are there" there 2
	check "all go, with their definitions" exits 0 mdev-rm -q --all --undefine -p mtty
	check "no definition is left" exits 1 mdev-ls

	rounds=20
	[ "$(lab_word lab.long)" != 1 ] || rounds=1000
	lab_say "$rounds rounds"
	check "$rounds times four" cycles $rounds
	check "nothing is left" there 0
	check "all are free" left 24 12
}

vfs_are() { [ "$(cat $devices/$pf/sriov_numvfs)" = "$1" ]; }

virtual() {
	lab_say "VFs of a disk"
	check "what it offers" exits 0 mdev-ls -a -t -p $pf -o parent,type,available
	check "four" prints "$pf vf 4"
	check "two" exits 0 mdev-mk -p 07:00.0 -t vf -c 2 -o id
	check "their names" prints "${pf%0}1
${pf%0}2"
	check "the kernel has two" vfs_are 2
	check "no host driver took one" driver_is "${pf%0}1" -
	check "drivers are looked for again" grep -qx 1 $devices/$pf/sriov_drivers_autoprobe
	check "again" exits 0 mdev-mk -q -p $pf -t vf -c 2
	check "three only by way of none" exits 75 mdev-mk -p $pf -t vf -c 3
	check "two stay" vfs_are 2
	check "one alone does not go" exits 69 mdev-rm "${pf%0}1"
	vfio-bind -q --to vfio-pci "${pf%0}2"
	check "a process holds one" held "${pf%0}2"
	check "they stay" exits 75 mdev-rm --all -p $pf
	check "who has it" says "${pf%0}2 is in use by" "$holder"
	check "two stay" vfs_are 2
	unheld
	check "all go" exits 0 mdev-rm --all -p $pf
	check "none is there" vfs_are 0
	check "more than there can be" exits 73 mdev-mk -p $pf -t vf -c 5
	check "says so" says "can have 4 VFs at most"
	check "none is there" vfs_are 0
}

machine() {
	virtual
	if [ -e /modules/mtty/mtty.ko ]; then
		insmod /modules/mtty/mdev.ko
		insmod /modules/mtty/mtty.ko
		mediated
		rmmod mtty mdev
	else
		lab_say "skip mediated devices: $(cat /modules/mtty/why)"
	fi
	rm -rf /etc/mdevctl.d /etc/pve-gpu-utils
}
