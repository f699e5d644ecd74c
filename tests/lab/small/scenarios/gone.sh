# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pci-rescan: a device that does not come back, or not as it was. QEMU takes it
# out of the machine just before, or just after the remove.

host_does() { echo ". /lab/lib.sh; ask $*"; }
# while_at WHEN COMMAND: the host acts while the loose display is removed; exit 74
while_at() {
	exits 74 meddled MEDDLE_AT=/remove "MEDDLE_$1=$2" pci-rescan -t 3 --only slot $loose
}
others_as_before() {
	grep -v "^$loose " /run/lab/before >/run/lab/others
	state | grep -v "^$loose " | diff /run/lab/others -
}
plugged() {
	ask plug loose "$@"
	within 15 test -e $devices/$loose
}

machine() {
	lend $loose
	take before
	check "a cycle as it should be" exits 0 pci-rescan -t 3 --only slot $loose
	check "nothing is lost" as_at before

	lab_say "unplugged after the remove"
	check "exit 74" while_at AFTER "$(host_does unplug loose)"
	check "it says which" says $loose "come back"
	check "the rest is as it was" others_as_before
	check "again: still 74, no other harm" exits 74 pci-rescan -t 3 $loose
	check "the rest is as it was" others_as_before

	lab_say "plugged in again"
	check "it is there" plugged secondary-vga rp7
	check "a run heals" exits 0 pci-rescan $loose
	check "all is as it was, the override too" as_at before
	check "nothing is left to heal" no_trace

	lab_say "unplugged before the remove"
	check "exit 74" while_at RUN "$(host_does unplug loose)"
	check "the rest is as it was" others_as_before
	check "it is there" plugged secondary-vga rp7
	check "a run heals" exits 0 pci-rescan $loose
	check "all is as it was, the override too" as_at before

	lab_say "another device comes back"
	check "exit 74" while_at AFTER "$(host_does unplug loose); ask plug loose intel-hda rp7"
	check "it says what is different" says 8086:2668
	check "drivers are probed" autoprobe_is 1
	check "unplugged again" test "$(ask unplug loose)" = gone

	lab_say "it comes back with another BAR"
	check "it is there" plugged secondary-vga rp7
	exits 0 pci-rescan $loose >/dev/null
	vfio-bind -q --to vfio-pci $loose
	check "exit 74" while_at AFTER "$(host_does unplug loose); ask plug loose secondary-vga rp7 vgamem_mb=4"
	check "it says which" says "BAR 0"
	check "the rest is as it was" others_as_before

	check "unplugged again" test "$(ask unplug loose)" = gone
	check "as it was at first" plugged secondary-vga rp7
	rm -rf /run/pve-gpu-utils/rescan
	free_driver $loose
	echo on >$devices/$loose/power/control
}
