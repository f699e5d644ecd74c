# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pci-rescan: a signal at every step; kill -9 at every step, then again: it heals.

# every RUNG ADDR TEXT CHECK...: CHECK for every step of a cycle; for every stride-th
# where it matters less and time is short
every() {
	rung=$1 addr=$2 what=$3
	shift 3
	take before
	meddled pci-rescan -q --only "$rung" "$addr"
	last=$(steps)
	cp /run/lab/trace /run/lab/steps
	check "$what: $last steps by $rung" as_at before
	at=1
	while [ $at -le "$last" ]; do
		check "$what: step $at of $last ($(sed -n "${at}p" /run/lab/steps | sed 's,.*/\([^/]*/\),\1,'))" "$@" $at
		at=$((at + stride))
	done
}

# killed AT: and then run again
killed() {
	killed_at "$1" pci-rescan -q --only "$rung" "$addr" &&
		exits 0 pci-rescan -q --only "$rung" "$addr" && as_at before && no_trace
}
# orphaned AT: only the program is killed, not its child that is at a write
orphaned() {
	killed_at "$1" env MEDDLE_ORPHAN=1 pci-rescan -q --only "$rung" "$addr" &&
		exits 0 pci-rescan -q --only "$rung" "$addr" && sleep 1 && as_at before && no_trace
}
signalled() {
	ended_by "$signal" "$1" pci-rescan -q --only "$rung" "$addr" && as_at before && no_trace
}
to_group() {
	ended_by "$signal" "$1" env MEDDLE_GROUP=1 setsid pci-rescan -q --only "$rung" "$addr" &&
		as_at before && no_trace
}

no_half() { ! find /run/pve-gpu-utils -name '.*' -type f | grep .; }

machine() {
	lend $gpu $slot $arc $arc_audio
	echo auto >$devices/0000:00:11.0/power/control
	stride=1
	lab_say "kill -9, then again"
	every slot $slot "GPU and audio" killed
	every card $arc "a card with a switch" killed
	every own $gpu "a GPU alone" killed

	[ "$(lab_word lab.long)" = 1 ] || stride=2
	lab_say "kill -9 while a write is under way, then again"
	every slot $slot "GPU and audio" orphaned

	lab_say "SIGTERM, SIGINT, SIGHUP"
	stride=1 signal=15
	every slot $slot "SIGTERM: GPU and audio" signalled
	[ "$(lab_word lab.long)" != 1 ] || every card $arc "SIGTERM: a card with a switch" signalled
	[ "$(lab_word lab.long)" = 1 ] || stride=3
	signal=2
	every slot $slot "SIGINT to the group: GPU and audio" to_group
	signal=1
	every own $gpu "SIGHUP: a GPU alone" signalled

	lab_say "healed by a run for another card"
	stride=1
	take before
	meddled MEDDLE_SIGNAL=9 MEDDLE_AT=/remove pci-rescan -q --only slot $slot 2>/dev/null
	check "drivers are not probed" autoprobe_is 0
	check "another card" exits 0 pci-rescan -q --only own $gpu
	check "drivers are probed" autoprobe_is 1
	check "the killed one again" exits 0 pci-rescan -q $slot
	check "nothing is lost" as_at before
	check "nothing is left to heal" no_trace
	check "no file is left half-written" no_half
	echo on >$devices/0000:00:11.0/power/control
	unlend $gpu $slot $arc $arc_audio
}
