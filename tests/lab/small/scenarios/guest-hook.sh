# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# guest-gpu-hook with the real pci-rescan and vfio-bind: every phase, as PVE would call it.

hook() { exits "$1" /usr/libexec/pve-gpu-utils/guest-gpu-hook "$2" "$3"; }
# resets VMID TEXT...: pre-start goes well and says so; nothing is lost by it
resets() {
	vmid=$1
	shift
	hook 0 "$vmid" pre-start && says "$@" && as_at before && no_trace
}
does_nothing() {
	# Not what the kernel says of its clock.
	before=$(dmesg | grep -c 0000:)
	hook 0 "$1" "$2" && [ ! -s /run/lab/out ] && [ "$(dmesg | grep -c 0000:)" = "$before" ]
}
vm() { # VMID LINE...
	id=$1
	shift
	printf '%s\n' "$@" "memory: 64" >"/etc/pve/qemu-server/$id.conf"
}
conf() {
	mkdir -p /etc/pve-gpu-utils
	printf '[rescan]\n%s\n' "$1" >/etc/pve-gpu-utils/pve-gpu-utils.conf
}
job() { printf %s "UPID:lab:0000$1:00001234:65000000:vzdump::root@pam:" >/run/vzdump.pid; }
reserved() { echo "$slot $1 time:$(($(date +%s) + 60))" >/run/qemu-server/pci-id-reservations; }
host_does() { echo ". /lab/lib.sh; ask $*"; }
others_as_before() {
	grep -v "^$loose " /run/lab/before >/run/lab/others
	state | grep -v "^$loose " | diff /run/lab/others -
}
plugged() {
	ask plug loose "$@"
	within 15 test -e $devices/$loose
}

machine() {
	hostname lab
	mkdir -p /etc/pve/nodes/lab/qemu-server /etc/pve/nodes/lab/lxc /run/qemu-server
	ln -s nodes/lab /etc/pve/local
	ln -s nodes/lab/qemu-server /etc/pve/qemu-server
	ln -s nodes/lab/lxc /etc/pve/lxc
	vm 100 "hostpci0: ${slot%.0}"
	vm 101 "hostpci0: $arc" "hostpci1: $arc_audio"
	vm 102 "hostpci0: $pf"
	vm 103 "hostpci0: $loose"
	vm 104 "hostpci0: ${drm%.0}"
	vm 105 "hostpci0: $primary"
	lend $slot $arc $arc_audio $pf $loose $drm
	take before

	lab_say "pre-start"
	check "GPU and audio in one slot" resets 100 $slot "config space healthy"
	check "again" resets 100 $slot "config space healthy"
	check "a card with a switch" resets 101 $arc "config space healthy"
	check "a disk controller is left alone" does_nothing 102 pre-start
	check "the display of the machine is refused, the VM starts" hook 0 105 pre-start
	check "it says so" says $primary "started all the same"
	reserved 100
	check "the VM's own reservation does not count" resets 100 $slot "config space healthy"
	reserved 101
	check "another VM's does: nothing, as PVE will not start it" does_nothing 100 pre-start
	rm /run/qemu-server/pci-id-reservations
	held $slot
	check "in use: the VM starts" hook 0 100 pre-start
	check "it says by whom" says "$holder" "in use, not reset"
	conf "on-failure = abort"
	check "on-failure = abort: it does not" hook 1 100 pre-start
	check "it says so" says "is not started"
	unheld
	check "nothing was done" as_at before
	check "no more in use: reset" resets 100 $slot "config space healthy"

	lab_say "a backup"
	vm 100 "hostpci0: ${slot%.0}" "lock: backup"
	job 1111
	for phase in pre-start post-start pre-stop post-stop; do
		check "$phase of one that is off" does_nothing 100 $phase
	done
	check "pre-stop of one that runs" does_nothing 100 pre-stop
	check "post-stop" does_nothing 100 post-stop
	check "it starts again: reset" resets 100 $slot "config space healthy"
	vm 100 "hostpci0: ${slot%.0}"
	rm /run/vzdump.pid

	lab_say "it does not come back"
	check "the VM does not start" exits 1 meddled MEDDLE_AT=/remove \
		"MEDDLE_AFTER=$(host_does unplug loose)" /usr/libexec/pve-gpu-utils/guest-gpu-hook 103 pre-start
	check "it says so" says $loose "did not come back as it was" "qemu/103 is not started"
	check "nor the next time" hook 1 103 pre-start
	check "another VM does" hook 0 100 pre-start
	check "plugged in" plugged secondary-vga rp7
	check "found: reset" hook 0 103 pre-start
	check "it says so" says $loose "config space healthy"
	check "the rest is as it was" others_as_before
	check "nothing is left to heal" no_trace
	lend $loose
	check "all is as it was" as_at before

	lab_say "killed at the remove"
	check "pci-rescan dies" exits 1 meddled MEDDLE_AT=/rescan MEDDLE_SIGNAL=9 \
		/usr/libexec/pve-gpu-utils/guest-gpu-hook 100 pre-start
	check "the card is gone" test ! -e $devices/$slot
	check "the next start heals, and all is as it was" resets 100 $slot

	lab_say "post-stop"
	conf "post-stop = host"
	mkdir -p /run/pve-gpu-utils/guests
	echo "$drm,$drm_audio" >/run/pve-gpu-utils/guests/104.gpus
	check "goes well" hook 0 104 post-stop
	check "the display is the host's" driver_is $drm bochs-drm
	check "its audio, too" driver_is $drm_audio snd_hda_intel
	check "nothing is remembered" test ! -e /run/pve-gpu-utils/guests/104.gpus
	rm -r /etc/pve-gpu-utils /run/pve-gpu-utils/guests /etc/pve
	unlend $slot $arc $arc_audio $pf $loose
	free_driver $drm
	free_driver $drm_audio
	for addr in $drm $drm_audio; do
		grep "^$addr " /run/lab/boot | sed 's/.* d3cold_allowed \([01]\) .*/\1/' >"$devices/$addr/d3cold_allowed"
		echo 1 >"$devices/$addr/msi_bus"
		echo on >"$devices/$addr/power/control"
	done
}
