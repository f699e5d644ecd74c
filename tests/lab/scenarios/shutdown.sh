# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# The administrator shuts the host down while a backup job runs.

host() {
	boot job off
	boot next off
}

machine() {
	case $1 in
	job)
		set_up
		lab_say "the host is shut down in the middle of the backup of qemu/101"
		start_job 101
		within 90 prelaunch 101 || show_job
		check "qemu/101 is being backed up, qemu/100 is down for it" off qemu/100
		calls | wc -l >/var/lib/lab/calls-before
		cat /proc/sys/kernel/random/boot_id >/var/lib/lab/boot-before
		sync
		systemctl poweroff
		sleep 3600
		;;
	next)
		check "nothing was started while the host shut down" nothing_started
		check "the job was told to stop" grep -q hook.*job-abort /var/lib/pve-sim/events
		check "qemu/100, in the journal then, runs again" runs qemu/100
		check "an onboot guest runs: qemu/103" runs qemu/103
		check "lxc/200, shut down with the host, stays off" off lxc/200
		check "qemu/101 is off" off qemu/101
		check "no backup lock is left" no_lock
		check "the journal is empty" no_journal
		check "journalctl -u pve-gpu-recover tells of qemu/100" \
			said qemu/100 -u pve-gpu-recover
		;;
	esac
}

# In the boot before, after the shutdown had begun.
nothing_started() {
	grep -q . /var/lib/lab/boot-before || return 1
	sed -n "s/^$(cat /var/lib/lab/boot-before) //p" /var/lib/lab/calls |
		sed "1,$(cat /var/lib/lab/calls-before)d" >/run/lab-later
	cat /run/lab-later
	! grep ' start ' /run/lab-later
}
