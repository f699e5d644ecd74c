# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# Mediated devices of mtty, and the VFs of a disk: mdev-ls, mdev-mk and mdev-rm beside
# mdevctl on the same kernel; what is defined, over two boots. The rule of mdevctl is
# masked for these, so that it is ours that starts them.

u1=11111111-2222-4333-8444-555555555551
u2=11111111-2222-4333-8444-555555555552
u3=11111111-2222-4333-8444-555555555553
u4=11111111-2222-4333-8444-555555555554
u5=11111111-2222-4333-8444-555555555555
pf=0000:04:00.0
switch=/etc/pve-gpu-utils/mdev-autostart
rule=/etc/udev/rules.d/60-mdevctl.rules
cold_plug=/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf

host() {
	[ -e "$image/mtty.ko" ] || {
		printf '  skipped: %s\n' "$(cat "$image/mtty.why")"
		skipped=$((skipped + 1))
		return
	}
	LAB_DEVICES='-drive driver=null-co,size=64M,if=none,id=disk0,read-zeroes=on
		-device pcie-root-port,id=rp4,chassis=4,slot=4 -device nvme-subsys,id=sub0
		-device nvme,id=pf,serial=lab,bus=rp4,subsys=sub0,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=12,msix_qsize=9
		-device nvme-ns,drive=disk0'
	export LAB_DEVICES
	failed_before=$failed
	boot live off
	[ "$failed" = "$failed_before" ] && boot enabled off
	[ "$failed" = "$failed_before" ] && boot disabled off
	unset LAB_DEVICES
}

machine() {
	case $1 in
	live)
		modprobe mtty
		check "mtty is a parent" within 20 test -e /sys/class/mdev_bus/mtty
		lab_say "beside $(mdevctl --version)"
		beside
		lab_say "until it is full"
		full
		lab_say "users and leftovers"
		users
		lab_say "definitions"
		define
		;;
	enabled)
		check "mdevctl's rule is masked" test "$(readlink $rule)" = /dev/null
		lab_say "what is defined is made at boot"
		made_at_boot
		;;
	disabled)
		lab_say "nothing is made at boot"
		none_at_boot
		lab_say "mdevctl at the same work"
		both
		;;
	esac
}

# exits STATUS COMMAND...: what it says goes on, and into /run/lab/out and /run/lab/err.
exits() {
	want=$1 rc=0
	shift
	"$@" >/run/lab/out 2>/run/lab/err || rc=$?
	cat /run/lab/out /run/lab/err
	[ $rc = "$want" ] && return 0
	echo "\"$*\" exited $rc, not $want"
	return 1
}
says() {
	for word; do
		grep -qF -- "$word" /run/lab/out /run/lab/err && continue
		echo "does not say \"$word\""
		cat /run/lab/out /run/lab/err
		return 1
	done
}
# prints TEXT: the last one of exits printed this alone, blanks for tabs
prints() {
	tr '\t' ' ' </run/lab/out
	[ "$(tr '\t' ' ' </run/lab/out)" = "$1" ]
}
# there NUMBER: so many mediated devices
there() {
	ls /sys/bus/mdev/devices
	[ "$(find /sys/bus/mdev/devices -mindepth 1 | wc -l)" = "$1" ]
}
# left SINGLE DUAL: so many more can be made
left() {
	grep . /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-*/available_instances
	[ "$(cat /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-*/available_instances)" = "$1
$2" ]
}
vfs_are() {
	cat "/sys/bus/pci/devices/$pf/sriov_numvfs"
	[ "$(cat "/sys/bus/pci/devices/$pf/sriov_numvfs")" = "$1" ]
}

# What mdevctl and mdev-ls say, as the same lines.
their_types() {
	mdevctl types | awk '
		function put() { if (t) print p "\t" t "\t" name "\t" left "\t" api "\t" about }
		/^[^ ]/ { put(); t = ""; p = $0 }
		/^  [^ ]/ { put(); t = $1; name = about = "-" }
		sub(/^    Available instances: /, "") { left = $0 }
		sub(/^    Device API: /, "") { api = $0 }
		sub(/^    Name: /, "") { name = $0 }
		sub(/^    Description: /, "") { about = $0 }
		END { put() }' | sort
}
same_types() {
	their_types >/run/lab/theirs
	mdev-ls -q -t -o parent,type,name,available,api,description | sort >/run/lab/ours
	cat /run/lab/theirs
	[ -s /run/lab/theirs ] && diff /run/lab/theirs /run/lab/ours
}
# same_list active|defined
same_list() {
	kind=$1 flag=
	[ "$kind" = active ] || flag=-d
	# shellcheck disable=SC2086 # none or one word
	mdevctl list $flag | sed -n 's/ *([a-z]*)$//; /./p' | sort >/run/lab/theirs
	mdev-ls -q -o id,parent,type,start,state | awk -F '\t' -v kind="$kind" '
		kind == "active" ? $5 == "active" : $4 != "-" {
			print $1, $2, $3, $4 == "-" ? "manual" : $4
		}' | sort >/run/lab/ours
	cat /run/lab/theirs
	[ -s /run/lab/theirs ] && diff /run/lab/theirs /run/lab/ours
}

beside() {
	check "the same types" same_types
	check "mdev-mk makes two by name" exits 0 mdev-mk -q -t 'dual port serial' -u $u1 -u $u2 -o id,type
	check "it prints them" prints "$u1 mtty-2
$u2 mtty-2"
	check "mdevctl lists them" same_list active
	check "four ports less" left 20 10
	check "mdevctl starts one" mdevctl start -u $u3 -p mtty -t mtty-1
	check "mdev-ls lists it" same_list active
	check "the same types, with what is left" same_types
	check "one port less" left 19 9
	check "mdevctl's is not made twice" exits 0 mdev-mk -q -p mtty -t mtty-1 -u $u3
	check "and is there once" there 3
	check "mdevctl stops ours" mdevctl stop -u $u2
	check "mdev-rm removes theirs" exits 0 mdev-rm -q $u3
	check "one is there" there 1
	check "the others' ports are free" left 22 11
}

full() {
	check "all that are left" exits 0 mdev-mk -q -t mtty-2 -c 11
	check "no port is left" left 0 0
	check "one more" exits 75 mdev-mk -t mtty-1
	check "what it says" says "0 left" "12 x Dual port serial"
	check "mdevctl cannot, either" not mdevctl start -p mtty -t mtty-1
	check "twelve are there" there 12
	check "the reason in the list of types" exits 0 mdev-ls -q -t -o type,available,reason
	check "not none" not grep -q -- '-$' /run/lab/out
	check "the same types" same_types
	check "the same list" same_list active
}

users() {
	/usr/lib/lab/hold $u1 >/run/lab/hold-out 2>&1 &
	holder=$!
	check "a process holds one" within 10 grep -q held /run/lab/hold-out
	check "it is seen" exits 0 mdev-ls -q -o id,user $u1
	check "it is that one" prints "$u1 process/$holder"
	check "mdev-rm leaves it" exits 75 mdev-rm $u1
	check "and says who has it" says "$u1 is in use by" "$holder"
	check "the others are leftovers" exits 0 mdev-ls -q -l -o id
	check "eleven" test "$(wc -l </run/lab/out)" = 11
	check "leftovers go" exits 0 mdev-rm -q -l
	check "what is held is there" there 1
	check "the ports are free" left 22 11
	kill $holder
	wait $holder 2>/dev/null || :
	check "nobody holds it" exits 0 mdev-rm $u1
	check "none is there" there 0
	check "all ports are free" left 24 12

	pve=00000000-0000-0000-0000-000000000100
	check "one as Proxmox VE makes it for a guest" exits 0 mdev-mk -q -t mtty-1 -u $pve
	check "the guest is off" off qemu/100
	check "it is a leftover" exits 0 mdev-ls -q -l -o id,guest
	check "of that guest" prints "$pve qemu/100"
	start_guest qemu/100 >/run/lab/started 2>&1
	check "the guest runs" runs qemu/100
	check "it is the guest's" exits 0 mdev-ls -q -o id,user $pve
	check "who uses it" prints "$pve qemu/100"
	check "it is no leftover" exits 1 mdev-ls -q -l
	check "it stays" exits 75 mdev-rm $pve
	check "among leftovers, too" exits 0 mdev-rm -q -l
	check "it is there" there 1
	# Which removes it, as Proxmox VE does.
	check "qm stop" "$sim/qm" stop 100
	check "none is there" there 0
}

define() {
	check "installing has switched nothing on" not test -e $switch
	check "mdevctl defines one to start at boot" mdevctl define -a -u $u2 -p mtty -t mtty-1
	check "and one by hand" mdevctl define -u $u3 -p mtty -t mtty-1
	check "the same definitions" same_list defined
	check "mdev-mk --define" exits 0 mdev-mk -q --define -t mtty-1 -u $u4
	check "still nothing is on" not test -e $switch
	check "mdev-mk --auto" exits 0 mdev-mk -q --auto -t 'dual port serial' -u $u1
	check "it is on" test -e $switch
	check "mdevctl reads them" same_list defined
	check "mdevctl has it as it is" grep -q "$u1 mtty mtty-2 auto" /run/lab/theirs
	check "two VFs" exits 0 mdev-mk -q --auto -p $pf -t vf -c 2
	check "are there" vfs_are 2
	check "pve-gpu-hooks mdev disable" pve-gpu-hooks mdev disable
	check "it is off" not test -e $switch
	check "pve-gpu-hooks mdev enable" pve-gpu-hooks mdev enable
	check "it is on again" test -e $switch

	# A driver that has no such type any more: this cannot be made.
	printf '{"mdev_type": "mtty-9", "start": "auto", "attrs": []}' >/etc/mdevctl.d/mtty/$u5
	ln -s /dev/null $rule
	echo mtty >/etc/modules-load.d/mdev.conf
	# All of the cold plug, as on any host.
	rm $cold_plug
}

# ended finished|failed INSTANCE: its service has, in this boot. One that is done well
# is forgotten by systemd, but not by the journal.
ended() {
	case $1 in
	finished) message='^Finished ' ;;
	failed) message='^Failed to start ' ;;
	esac
	said "$message" -u "pve-gpu-mdev@$2.service"
}

made_at_boot() {
	check "the service of the disk has made what it should" within 15 ended finished $pf
	check "that of mtty has not" within 30 ended failed mtty
	check "what is auto is there, what is manual is not" exits 0 mdev-ls -q -a -o id,type,state,start
	check "these" prints "${pf%0}1 vf active auto
${pf%0}2 vf active auto
$u1 mtty-2 active auto
$u2 mtty-1 active auto
$u3 mtty-1 defined manual
$u4 mtty-1 defined manual
$u5 mtty-9 defined auto"
	check "mtty has two" there 2
	check "the disk has two" vfs_are 2
	check "what cannot be made is named there" said "$u5: mtty-9 at mtty: mtty offers no type mtty-9" -t mdev-mk
	check "nothing else is" test "$(journalctl -q -b -o cat -t mdev-mk | grep -c ' at ')" = 1
	check "status tells" exits 1 pve-gpu-hooks mdev status
	check "of those and that one" says "ok    $u1" "ok    $u2" "fail  $u5"
	check "mdevctl did nothing" not sh -c 'journalctl -q -b -o short | grep mdevctl'
	check "mdevctl lists them" same_list active
	check "all go" exits 0 mdev-rm -q --all -p mtty
	check "none is there" there 0
	check "pve-gpu-hooks mdev disable" pve-gpu-hooks mdev disable
}

none_at_boot() {
	udevadm settle
	check "mtty is a parent" within 20 test -e /sys/class/mdev_bus/mtty
	check "the disk has its driver" within 20 test -e /sys/bus/pci/devices/$pf/driver
	udevadm settle
	check "mtty has none" there 0
	check "the disk has none" vfs_are 0
	check "no service was started" test -z "$(journalctl -q -b -o cat -u 'pve-gpu-mdev@*')"
	check "the definitions are all there" exits 0 mdev-ls -q -a -o id,state
	check "five, and the disk's" test "$(grep -c defined /run/lab/out)" = 6
}

both() {
	check "the one that cannot be made goes" exits 0 mdev-rm -q --undefine $u5
	rm $rule
	udevadm control --reload
	check "pve-gpu-hooks mdev enable" pve-gpu-hooks mdev enable
	rmmod mtty
	modprobe mtty
	check "the service has nothing left to do" within 15 ended finished mtty
	udevadm settle
	check "all is there" exits 0 mdev-ls -q -p mtty -o id,state
	check "once" prints "$u1 active
$u2 active
$u3 defined
$u4 defined"
	check "it has nothing to complain of" test -z "$(journalctl -q -b -o cat -t mdev-mk)"
	check "all go, with their definitions" exits 0 mdev-rm -q --all --undefine -p mtty
	check "mdevctl has none" test -z "$(mdevctl list -d)"
	check "mtty is as it was" left 24 12
}
