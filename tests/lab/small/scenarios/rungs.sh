# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pci-rescan: every rung on every topology; what comes back is what was there.

# rung STATUS RUNG ADDR TEXT: nothing but this rung is tried.
rung() {
	check "$4: $2, exit $1" exits "$1" pci-rescan --only "$2" "$3"
	case $1 in
	0) check "$4: it says so" says "config space healthy" ;;
	esac
	check "$4: nothing is lost" as_at before
	check "$4: nothing is left to heal" no_trace
}
# begins ADDR RUNG: the first rung that is tried
begins() {
	exits 0 pci-rescan "$1" && grep -m 1 -E '^[^ ]+ +(own|subordinate|slot|card) ' /run/lab/out >/run/lab/first
	cat /run/lab/first
	grep -qE "^[^ ]+ +$2 " /run/lab/first
}

machine() {
	# Linux before 6.13 does not have it, but Debian's 6.12 and 6.1 do.
	subordinate=69
	[ ! -e "$devices/0000:00:10.0/reset_subordinate" ] || subordinate=0

	lend $gpu $slot $arc $arc_audio $pf
	echo auto >$devices/0000:00:10.0/power/control
	take before

	lab_say "a GPU alone"
	rung 0 own $gpu gpu
	rung $subordinate subordinate $gpu gpu
	rung 0 slot $gpu gpu
	rung 69 card $gpu gpu
	check "gpu: without FLR it begins at slot" begins $gpu slot

	lab_say "GPU and audio in one slot"
	check "slot: own, exit 69" exits 69 pci-rescan --only own $slot
	check "slot: nothing but the stale method is lost" as_at_but $slot
	check "slot: nothing is left to heal" no_trace
	renew $slot $slot_audio
	lend $slot
	check "slot: found anew" as_at before
	rung $subordinate subordinate $slot slot
	rung 0 slot $slot slot
	check "slot: the audio function is named, the GPU goes along" exits 0 pci-rescan $slot_audio
	check "slot: nothing is lost" as_at before

	lab_say "a card with a switch"
	rung 0 own $arc arc
	rung $subordinate subordinate $arc arc
	rung 0 slot $arc arc
	rung 0 card $arc arc
	check "arc: it begins at card" begins $arc card
	check "arc: both functions in one go" exits 0 pci-rescan $arc $arc_audio
	check "arc: nothing is lost" as_at before

	lab_say "a PF, which has FLR"
	rung 0 own $pf pf
	# The kernel waits for a link that QEMU does not bring up again.
	check "pf: the kernel itself cannot reset this bus" \
		not sh -c "echo 1 >$devices/0000:00:13.0/reset_subordinate"
	rung 69 subordinate $pf pf
	rung 0 slot $pf pf
	check "pf: it begins at own" begins $pf own
	unlend $gpu $slot $arc $arc_audio $pf
	echo on >$devices/0000:00:10.0/power/control

	lab_say "functions with host drivers"
	take before
	rung 69 own $drm drm
	rung 69 subordinate $drm drm
	rung 0 slot $drm drm
	rung 0 card $arc arc

	lab_say "reset_method is put back"
	echo bus >$devices/$arc_audio/reset_method
	echo >$devices/$gpu/reset_method
	echo flr >$devices/$arc_top/reset_method
	take before
	rung 0 slot $gpu gpu
	rung 0 card $arc arc
	echo default >$devices/$gpu/reset_method
	echo default >$devices/$arc_audio/reset_method
	renew $arc_top
	check "found anew" as_at boot

	lab_say "the configuration and the options choose"
	mkdir -p /etc/pve-gpu-utils
	printf '[rescan]\ncard = %s own\n' $gpu >/etc/pve-gpu-utils/pve-gpu-utils.conf
	check "card = ADDR RUNG" begins $gpu own
	rm -r /etc/pve-gpu-utils
	check "--first own" exits 0 pci-rescan --first own $gpu
	check "it begins there" says "own "
	check "--first card --last slot is wrong use" exits 64 pci-rescan --first card --last slot $gpu

	lab_say "--methods"
	take before
	check "of a GPU alone" exits 0 pci-rescan --methods $gpu
	check "bus works" says bus
	check "of one with a neighbour" exits 0 pci-rescan --methods $slot
	check "of a PF" exits 0 pci-rescan --methods $pf
	check "flr works" says flr
	check "lists that are not stale are put back" as_at_but $slot
	renew $slot $slot_audio

	lab_say "-n writes nothing"
	take before
	meddled pci-rescan -n $arc >/run/lab/plan
	check "no write" not grep -s ^/sys /run/lab/trace
	check "the plan removes the switch" grep -qx "echo 1 > $devices/$arc_top/remove" /run/lab/plan
	check "the plan holds drivers off" grep -qx "echo 0 > /sys/bus/pci/drivers_autoprobe" /run/lab/plan
	check "nothing has changed" as_at before
}

# as_at_but ADDR: before, but for that function
as_at_but() {
	grep -v "^$1 " /run/lab/before >/run/lab/before-but
	state | grep -v "^$1 " | diff /run/lab/before-but -
}
