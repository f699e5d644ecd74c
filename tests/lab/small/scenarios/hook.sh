# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# guest-gpu-hook on this kernel: reset before the start, given back after the stop.

hook=/usr/libexec/pve-gpu-utils/guest-gpu-hook

config() {
	printf '%s\n' "$@" >/etc/pve/qemu-server/100.conf
}
# untouched ADDR: there were writes, but none to it
untouched() { [ -s /run/lab/trace ] && ! grep "$1" /run/lab/trace; }
setting() {
	mkdir -p /etc/pve-gpu-utils
	printf '[rescan]\n%s\n' "$*" >/etc/pve-gpu-utils/pve-gpu-utils.conf
}

machine() {
	hostname lab
	mkdir -p /etc/pve/nodes/lab/qemu-server /etc/pve/nodes/lab/lxc
	ln -s nodes/lab /etc/pve/local
	ln -s nodes/lab/qemu-server /etc/pve/qemu-server
	ln -s nodes/lab/lxc /etc/pve/lxc
	lend $slot $arc $arc_audio
	take before
	config 'memory: 64' "hostpci0: ${slot%.0},x-vga=1" "hostpci1: $arc" "hostpci2: $pf"

	check "pre-start resets the slot and the card" exits 0 meddled $hook 100 pre-start
	check "the slot's" grep -q "$slot/remove" /run/lab/trace
	check "its audio function's too" grep -q "$slot_audio/remove" /run/lab/trace
	check "the card's switch" grep -q "$arc_top/remove" /run/lab/trace
	check "not the disk" untouched "$pf"
	check "nothing is lost" as_at before
	check "other phases do nothing" exits 0 meddled $hook 100 post-start
	check "no write" not grep -sq ^/sys /run/lab/trace

	lab_say "in use: warn and start, or not"
	held $slot
	check "it starts" exits 0 $hook 100 pre-start
	check "with a warning" says "$slot" "started all the same" "$holder"
	setting "on-failure = abort"
	check "on-failure = abort: it does not" exits 1 $hook 100 pre-start
	unheld
	check "nothing is lost" as_at before

	lab_say "a backup-only start"
	config 'memory: 64' "hostpci0: ${slot%.0}" 'lock: backup'
	check "nothing is done" exits 0 meddled $hook 100 pre-start
	check "no write" not grep -sq ^/sys /run/lab/trace
	check "nor after it" exits 0 $hook 100 post-stop
	unlend $slot $arc $arc_audio

	lab_say "a GPU that does not come back stops the start"
	lend $loose
	setting "timeout = 3"
	config 'memory: 64' "hostpci0: $loose"
	check "exit 1" exits 1 meddled MEDDLE_AT=/remove "MEDDLE_AFTER=. /lab/lib.sh; ask unplug loose" $hook 100 pre-start
	check "it says why" says "$loose" "is not started"
	ask plug loose secondary-vga rp7
	within 5 test -e $devices/$loose
	check "the next start heals it" exits 0 $hook 100 pre-start
	check "vfio-pci has it" driver_is $loose vfio-pci
	unlend $loose
	rm -rf /etc/pve /etc/pve-gpu-utils /run/pve-gpu-utils/guests
}
