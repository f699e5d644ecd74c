# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# The machine loses its power in the middle of a backup job, each time at
# another moment, and boots again. qemu/101 (off) and qemu/100 (running) share
# a GPU; lxc/200 (running) uses the one of qemu/102 (off) through its host driver.
# Two of the moments are for PVE_GPU_TEST_LONG alone.

host() {
	steps='journaled backup container'
	[ -z "${PVE_GPU_TEST_LONG-}" ] || steps='journaled stopped backup restart container'
	for step in $steps; do
		boot $step kill
	done
	boot last off
}

machine() {
	case $1 in
	journaled)
		lab_say "power loss when qemu/100 is in the journal, and not told to stop yet"
		set_up
		lose_power_at "before qm shutdown 100" 101
		;;
	stopped)
		recovered qemu/100
		lab_say "power loss when qemu/100 has just stopped for the backup of qemu/101"
		set_up
		lose_power_at "after qm shutdown 100" 101
		;;
	backup)
		recovered qemu/100
		lab_say "power loss in the middle of the backup of qemu/101"
		set_up
		start_job 101
		within 90 prelaunch 101 || show_job
		check "qemu/101 is being backed up, qemu/100 is down for it" off qemu/100
		sleep 2
		lab_power_loss
		;;
	restart)
		recovered qemu/100
		lab_say "power loss when qemu/100 is about to start again"
		set_up
		echo 'backup = 30' >/var/lib/pve-sim/guest/101
		lose_power_at "before qm start 100" 101
		;;
	container)
		recovered qemu/100
		lab_say "power loss when lxc/200 has stopped for qemu/102, that takes its GPU's host driver"
		set_up
		check "the GPU of lxc/200 is on its host driver" driver_is 0000:03:00.0 bochs-drm
		lose_power_at "after pct shutdown 200" 102
		;;
	last)
		recovered lxc/200
		check "the GPU of lxc/200 is on its host driver" driver_is 0000:03:00.0 bochs-drm
		check "nothing of the job is left in the state directory" nothing_left
		;;
	esac
}

# lose_power_at CALL VMID: a job whose hook makes this call. Does not come back.
lose_power_at() {
	echo "$1" >/run/lab/hold
	start_job "$2"
	within 90 job_done
	lab_fail "the job ended without \"$1\""
	show_job
}

nothing_left() {
	ls -lR /var/lib/pve-gpu-utils
	[ ! -e "$journal" ] && [ -z "$(ls /var/lib/pve-gpu-utils/drivers 2>/dev/null)" ]
}

# recovered GUEST: after the boot that follows the loss.
recovered() {
	check "what nobody had flushed is lost: the power loss was real" \
		not test -s /var/lib/lab/unflushed
	rm -f /var/lib/lab/unflushed
	check "$1, that the job had in the journal, runs again" runs "$1"
	check "an onboot guest runs: qemu/103" runs qemu/103
	for guest in qemu/101 qemu/102 qemu/104; do
		check "one that was off stays off: $guest" off $guest
	done
	check "no backup lock is left" no_lock
	check "the journal is empty" no_journal
	check "pve-gpu-recover.service did its work" \
		recovery_went_well
	check "journalctl -u pve-gpu-recover tells of $1" said "$1" -u pve-gpu-recover
	check "no unit failed" no_failed_unit
}

recovery_went_well() {
	systemctl status --no-pager pve-gpu-recover
	systemctl show -p Result -p ConditionResult pve-gpu-recover >/run/lab-recover
	grep -qx Result=success /run/lab-recover && grep -qx ConditionResult=yes /run/lab-recover
}

no_failed_unit() {
	systemctl --failed --no-legend --plain
	[ -z "$(systemctl --failed --no-legend --plain)" ]
}
