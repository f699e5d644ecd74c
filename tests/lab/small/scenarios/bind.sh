# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# vfio-bind: to vfio-pci and back, whole groups, records, refusals, kill -9 at every step.

bound() {
	driver_is $slot "$1" && override_is $slot "$2" && driver_is $slot_audio "$3" && override_is $slot_audio "$4"
}
taken() { bound vfio-pci vfio-pci vfio-pci vfio-pci; }
given_back() { bound - '(null)' snd_hda_intel '(null)'; }

machine() {
	lab_say "a GPU alone"
	check "to vfio-pci" exits 0 vfio-bind --to vfio-pci $gpu
	check "it is there" driver_is $gpu vfio-pci
	check "again changes nothing" exits 0 vfio-bind -v --to vfio-pci $gpu
	check "no write was made" not says echo
	check "to the host" exits 0 vfio-bind --to host $gpu
	check "no override is left" override_is $gpu '(null)'

	lab_say "two members of a group, one with a host driver"
	check "to vfio-pci" exits 0 vfio-bind --record /run/lab/record --to vfio-pci $slot
	check "both are there" taken
	check "back by the record" exits 0 vfio-bind --restore /run/lab/record
	check "as they were" given_back
	check "--one takes one" exits 0 vfio-bind --one --to vfio-pci $slot_audio
	check "the other stays" bound - '(null)' vfio-pci vfio-pci
	check "to the host" exits 0 vfio-bind --to host $slot
	check "as they were" given_back

	lab_say "a display with a real driver, and its audio"
	check "to vfio-pci" exits 0 vfio-bind --record /run/lab/record --to vfio-pci $drm
	check "taken from bochs" driver_is $drm vfio-pci
	check "taken from snd_hda_intel" driver_is $drm_audio vfio-pci
	check "back by the record" exits 0 vfio-bind --restore /run/lab/record
	check "bochs has it" driver_is $drm bochs-drm
	check "snd_hda_intel has it" driver_is $drm_audio snd_hda_intel

	lab_say "VFs: each is a group of its own"
	vfs 2
	vf=${pf%0}1
	check "a VF to vfio-pci" exits 0 vfio-bind --to vfio-pci "$vf"
	check "it is there" driver_is "$vf" vfio-pci
	check "the other VF stays" override_is "${pf%0}2" '(null)'
	check "to the host" exits 0 vfio-bind --to host "$vf"
	check "no override is left" override_is "$vf" '(null)'
	check "vfio-pci has it no more" not driver_is "$vf" vfio-pci
	vfs 0

	lab_say "refused"
	check "a bridge" exits 69 vfio-bind --to vfio-pci 00:10.0
	check "no such function" exits 66 vfio-bind --to vfio-pci ff:1f.7
	check "no such driver" exits 69 vfio-bind --to nothing $gpu
	opened /dev/dri/card0
	check "a display in use" exits 75 vfio-bind --to vfio-pci $drm
	check "by whom" says "process $opener"
	check "nothing was touched" driver_is $drm bochs-drm
	closed
	vfio-bind --to vfio-pci $gpu
	check "a machine holds it" held $gpu
	check "a VM's GPU" exits 75 vfio-bind --to host $gpu
	check "by whom" says "process $holder"
	check "it is still there" driver_is $gpu vfio-pci
	unheld
	vfio-bind --to host $gpu

	lab_say "kill -9 at every step, then again"
	vfio-bind --record /run/lab/reference $slot
	meddled vfio-bind --record /run/lab/record --to vfio-pci $slot
	last=$(steps)
	meddled vfio-bind --restore /run/lab/record
	back=$(steps)
	meddled vfio-bind --to vfio-pci $slot
	meddled vfio-bind --to host $slot
	host=$(steps)
	rm /run/lab/record
	check "$last steps there, $back back, $host to the host" test "$((last > 5 && back > 3 && host > 3))" = 1
	at=1
	while [ $at -le "$last" ]; do
		check "killed at step $at of --to vfio-pci" there $at
		at=$((at + 1))
	done
	at=1
	while [ $at -le "$back" ]; do
		check "killed at step $at of --restore" back_again $at
		at=$((at + 1))
	done
	at=1
	while [ $at -le "$host" ]; do
		check "killed at step $at of --to host" to_host $at
		at=$((at + 1))
	done
}

there() {
	rm -f /run/lab/record
	killed_at "$1" vfio-bind --record /run/lab/record --to vfio-pci $slot &&
		exits 0 vfio-bind --record /run/lab/record --to vfio-pci $slot && taken &&
		cmp /run/lab/record /run/lab/reference &&
		exits 0 vfio-bind --restore /run/lab/record && given_back
}
back_again() {
	exits 0 vfio-bind --to vfio-pci $slot &&
		killed_at "$1" vfio-bind --restore /run/lab/reference &&
		exits 0 vfio-bind --restore /run/lab/reference && given_back
}
to_host() {
	exits 0 vfio-bind --to vfio-pci $slot &&
		killed_at "$1" vfio-bind --to host $slot &&
		exits 0 vfio-bind --to host $slot && given_back
}
