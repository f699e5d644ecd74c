# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# Whole jobs under a real systemd: one that goes well, one whose process group
# is killed in the middle of a backup, one killed while a guest starts, and two in
# whose starts a guest's hookscript leaves something running.

host() {
	boot jobs off
}

machine() {
	set_up
	good_job
	killed_in_backup
	killed_in_start
	left_running
	without_the_hook
}

pid_of() { cat "/run/qemu-server/$1.pid"; }

good_job() {
	lab_say "a whole job: all guests"
	echo 'backup = 30' >/var/lib/pve-sim/guest/101
	desktop=$(pid_of 100)
	router=$(pid_of 103)
	start_job --all
	within 60 guardian_runs || :
	check "the guardian runs, as a unit of its own" guardian_runs
	within 240 job_done || :
	check "vzdump: every guest is backed up" job_says_ok
	check "qemu/100 was down for qemu/101 and runs again" runs_anew 100 "$desktop"
	check "qemu/103 has never been down" test "$(pid_of 103)" = "$router"
	check "lxc/200 was down for qemu/102 and runs again" runs lxc/200
	check "qemu/101 is off" off qemu/101
	check "qemu/102 is off" off qemu/102
	check "the GPU of lxc/200 is back on its host driver" driver_is 0000:03:00.0 bochs-drm
	check "the GPU of lxc/200 has its node again" test -c /dev/dri/card0
	check "no backup lock is left" no_lock
	check "the journal is empty" no_journal
	check "the guardian went with the job" within 20 not guardian_runs
	check "journalctl -t vzdump-gpu-hook tells of the stop" \
		said 'stopping qemu/100 for the backup of qemu/101' -t vzdump-gpu-hook
	check "journalctl -t vzdump-gpu-hook tells of the start" \
		said 'qemu/100 started' -t vzdump-gpu-hook
	end_job
}

killed_in_backup() {
	lab_say "vzdump and its whole process group are killed in the backup of qemu/101"
	echo 'backup = 3000' >/var/lib/pve-sim/guest/101
	start_job 101
	within 90 prelaunch 101 || show_job
	check "qemu/100 is down" off qemu/100
	kill -s KILL -- "-$(worker_pid)"
	check "the guardian starts qemu/100 again" within 120 runs qemu/100
	check "the paused kvm of qemu/101 is gone" within 30 off qemu/101
	check "journalctl -t vzdump-gpu-hook tells of both" \
		said 'qemu/101: ending the paused kvm' -t vzdump-gpu-hook
	after_kill
}

killed_in_start() {
	lab_say "vzdump and its whole process group are killed while qemu/100 starts"
	echo 'backup = 30' >/var/lib/pve-sim/guest/101
	echo "slow qm start 100" >/run/lab/hold
	starts=$(calls | grep -c '^qm start 100')
	start_job 101
	check "qm start 100 is at work" within 120 test -e /run/lab/held
	check "the start has a unit of its own" \
		systemctl is-active pve-gpu-start-100.service
	kill -s KILL -- "-$(worker_pid)"
	check "qemu/100 comes up all the same" within 60 runs qemu/100
	check "nobody says that it did not start" not said 'qemu/100 not started' -t vzdump-gpu-hook
	check "it was started once" test "$(calls | grep -c '^qm start 100')" -eq $((starts + 1))
	after_kill
}

# systemd keeps the unit of a start loaded for as long as a process of it lives; the next
# start gets a unit of its own, and is not taken for the same one.
left_running() {
	lab_say "a hookscript of qemu/100 leaves something running, two jobs long"
	mkdir -p /var/lib/vz/snippets
	cat >/var/lib/vz/snippets/stay.sh <<-'END'
	#!/bin/sh
	[ "$2" != post-start ] || setsid sleep 12345 </dev/null >/dev/null 2>&1 &
	END
	chmod 755 /var/lib/vz/snippets/stay.sh
	"$sim/qm" set 100 --hookscript local:snippets/stay.sh >/run/lab-set 2>&1 ||
		lab_fail "qm set 100 --hookscript"
	echo 'backup = 10' >/var/lib/pve-sim/guest/101
	for n in 1 2; do
		desktop=$(pid_of 100)
		start_job 101
		within 180 job_done || :
		check "job $n: qemu/101 is backed up" job_says_ok
		check "job $n: qemu/100 was down for it and runs again" runs_anew 100 "$desktop"
		end_job
		check "job $n: the units of the starts" within 30 units_are $n
	done
	check "what the hookscript started lives" test "$(pgrep -cfx 'sleep 12345')" -eq 2
	pkill -fx 'sleep 12345'
	check "without it the units go" within 30 units_are 0
	"$sim/qm" set 100 --delete hookscript >/run/lab-set 2>&1 || lab_fail "qm set 100 --delete"
}

# units_are N: N starts of qemu/100 have a unit that is loaded; none is at work.
units_are() {
	ls /run/systemd/transient
	systemctl list-units --all --plain --no-legend 'pve-gpu-start-100*' >/run/lab-units
	cat /run/lab-units
	[ "$(find /run/systemd/transient -name 'pve-gpu-start-100*.service' | wc -l)" -eq "$1" ] &&
		[ "$(grep -c ' loaded inactive dead ' /run/lab-units)" -eq "$1" ]
}

# The lab's own proof: there is something to protect.
without_the_hook() {
	lab_say "the same job without the hook"
	pve-gpu-hooks disable >/run/lab-disable 2>&1 || lab_fail "pve-gpu-hooks disable"
	start_job 101 102
	within 60 job_done || :
	check "the backup of qemu/101 fails" grep -q \
		"Backup of VM 101 failed - PCI device '0000:01:00.0' already in use by VMID '100'" \
		/var/lib/pve-sim/tasks.log
	check "lxc/200 has lost its GPU" not test -e /dev/dri/card0
	end_job
}

after_kill() {
	check "no backup lock is left" within 30 no_lock
	check "the journal is empty" within 60 no_journal
	check "the guardian is done" within 60 not guardian_runs
	end_job
}

# runs_anew VMID PID: with another process than this one.
runs_anew() {
	runs "qemu/$1" && [ "$(pid_of "$1")" != "$2" ]
}
