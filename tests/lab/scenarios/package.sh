# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# The package is installed again, and then purged, with dpkg and in the middle
# of a backup each time, while qemu/100 is down for it.

host() {
	boot job off
}

machine() {
	set_up
	echo 'backup = 1200' >/var/lib/pve-sim/guest/101

	lab_say "the package is installed again in the middle of a backup"
	in_a_backup dpkg -i /usr/lib/lab/pve-gpu-utils.deb
	check "journalctl -t vzdump-gpu-hook tells of the start" \
		said 'qemu/100 started' -t vzdump-gpu-hook
	check "the hook is still enabled" grep -q '^script: ' /etc/vzdump.conf
	check "the recovery unit is still enabled" systemctl is-enabled pve-gpu-recover

	lab_say "the package is purged in the middle of a backup"
	in_a_backup dpkg --purge pve-gpu-utils
	check "the programs are gone" not test -e /usr/sbin/vm-state-restore
	check "the state directory is gone" within 30 no_state_directory
	check "vzdump.conf names no hook" not grep -qs '^script: ' /etc/vzdump.conf
	check "the recovery unit is not enabled" not systemctl is-enabled pve-gpu-recover

	lab_say "a job after that"
	start_job 103
	within 60 job_done || :
	check "the job goes well" job_says_ok
	end_job
}

no_state_directory() {
	[ -e /var/lib/pve-gpu-utils ] || return 0
	ls -lA /var/lib/pve-gpu-utils
	return 1
}

in_a_backup() {
	router=$(cat /run/qemu-server/103.pid)
	start_job 101 103
	within 90 prelaunch 101 || show_job
	check "qemu/100 is down" off qemu/100
	check "$*" "$@"
	check "qemu/101 is being backed up all the while" prelaunch 101
	within 90 job_done || :
	check "every guest is backed up" job_says_ok
	check "qemu/100 runs again" within 120 runs qemu/100
	check "qemu/101 is off" off qemu/101
	check "qemu/103 has never been down" test "$(cat /run/qemu-server/103.pid)" = "$router"
	check "no backup lock is left" no_lock
	check "the journal is empty" within 60 no_journal
	check "the guardian is done" within 60 not guardian_runs
	end_job
}
