# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pci-rescan again and again: no device, BAR or override is lost on the way.

# cycles RUNG ADDR TEXT
cycles() {
	lab_say "$3, $count times by $1"
	check "$3: $count cycles of $1" all_cycles "$1" "$2"
}
all_cycles() {
	i=0
	take before
	while [ $i -lt "$count" ]; do
		i=$((i + 1))
		exits 0 pci-rescan -q --only "$1" "$2" && as_at before || {
			echo "in cycle $i"
			return 1
		}
	done
}

machine() {
	count=20
	[ "$(lab_word lab.long)" != 1 ] || count=200
	lend $gpu $slot $arc $arc_audio $pf
	cycles slot $gpu "a GPU alone"
	cycles slot $slot "GPU and audio in one slot"
	cycles card $arc "a card with a switch"
	cycles own $pf "a PF"
	cycles slot $pf "a PF"
	unlend $gpu $slot $arc $arc_audio $pf
	cycles slot $drm "a display and audio with host drivers"
	check "nothing is left to heal" no_trace
}
