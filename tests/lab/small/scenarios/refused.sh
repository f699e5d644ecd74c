# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pci-rescan: bad input, guards and holders. Not one write is made.

# refused STATUS WORD... -- ARGUMENT...: exit, what is said, no write
refused() {
	status=$1 words=
	shift
	while [ "$1" != -- ]; do
		words="$words $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # several words
	check "pci-rescan $*: exit $status" no_write "$status" "$@"
	# shellcheck disable=SC2086
	[ -z "$words" ] || check "    it says$words" says $words
}
# no_write STATUS ARGUMENT...
no_write() {
	status=$1
	shift
	exits "$status" meddled pci-rescan "$@" || return 1
	! grep -s '^/sys' /run/lab/trace
}

machine() {
	take before
	lab_say "bad input"
	refused 64 -- ../../x
	refused 64 -- 01:00
	refused 64 -- 1:0.0
	refused 64 --
	refused 64 -- --only nothing $gpu
	refused 64 -- --force=nothing $gpu
	refused 66 -- ffff:ff:1f.7
	check "-R with an empty root" exits 66 pci-rescan -n -R /var $gpu

	lab_say "not root"
	check "exit 77" exits 77 su nobody -s /bin/sh -c "PATH=$PATH pci-rescan $gpu"

	lab_say "what must not be reset"
	refused 69 boot -- $primary
	vfs 2
	refused 69 virtual -- $pf
	refused 69 virtual -- --only slot "${pf%0}1"
	vfs 0
	refused 69 $mixed_disk -- --only card $mixed
	refused 69 -- 00:10.0
	refused 69 -- $arc_top

	lab_say "a GPU beside a disk can be reset alone"
	check "slot" exits 0 pci-rescan --only slot $mixed
	check "nothing is lost" as_at before

	lab_say "holders"
	vfio-bind -q --to vfio-pci $gpu $slot $arc
	check "a process has the vfio device" held $gpu
	refused 75 "$holder" hold $gpu -- $gpu
	refused 75 "$holder" hold -- --only own $gpu
	check "others may be reset" exits 0 pci-rescan -q --only slot $arc
	unheld
	check "then it may" exits 0 pci-rescan -q $gpu
	check "a process has the audio function" held $slot_audio
	refused 75 "$holder" hold -- $slot
	unheld
	opened "/dev/vfio/$(basename "$(readlink "$devices/$gpu/iommu_group")")"
	refused 75 "$opener" -- $gpu
	closed
	vfio-bind -q --to host $gpu $slot $arc
	for card in /dev/dri/card*; do
		[ "$(readlink -f "/sys/class/drm/${card##*/}/device")" != "$(readlink -f $devices/$drm)" ] || opened "$card"
	done
	refused 75 "$opener" /dev/dri/card -- $drm
	closed
	for control in /sys/class/sound/controlC*; do
		[ "$(readlink -f "$control/device/device")" != "$(readlink -f $devices/$slot_audio)" ] ||
			opened "/dev/snd/${control##*/}"
	done
	refused 75 "$opener" /dev/snd/controlC -- $slot
	closed

	lab_say "reservations of Proxmox VE"
	mkdir -p /run/qemu-server
	echo "$gpu 100 time:$(($(date +%s) + 60))" >/run/qemu-server/pci-id-reservations
	refused 75 100 -- $gpu
	echo "$slot_audio 101 time:$(($(date +%s) + 60))" >/run/qemu-server/pci-id-reservations
	refused 75 101 -- $slot
	check "not by the guest's own" exits 0 pci-rescan -q --for 101 $slot
	rm -r /run/qemu-server

	check "nothing is lost" as_at before
	check "nothing is left to heal" no_trace
}
