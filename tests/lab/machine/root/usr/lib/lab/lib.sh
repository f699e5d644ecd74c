# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# For the machine's side of the scenarios: say, check, wait, lose power.

. /usr/lib/lab/check.sh

# The moment has come: the host kills QEMU when it reads this. A file that
# nobody flushes shows after the boot that the loss was a real one.
lab_power_loss() {
	echo lost >/var/lib/lab/unflushed
	printf 'lab-kill\n' >$console
	sleep 3600
}

# ---- the simulated host -----------------------------------------------------

sim=/usr/lib/pve-sim
journal=/var/lib/pve-gpu-utils/journal

# runs GUEST, off GUEST: as qm and pct would say of qemu/100 or lxc/200, at less cost.
status_of() {
	case $1 in
	qemu/*)
		pid=$(cat "/run/qemu-server/${1#*/}.pid" 2>/dev/null) || pid=none
		grep -qsza "^/var/run/qemu-server/${1#*/}.pid$" "/proc/$pid/cmdline" || {
			echo stopped
			return
		}
		cat "/run/pve-sim/state/${1#*/}"
		;;
	*)
		if grep -q "@/var/lib/lxc/${1#*/}/command$" /proc/net/unix; then
			echo running
		else
			echo stopped
		fi
		;;
	esac
}
is() {
	status=$(status_of "$1")
	echo "$1 is $status"
	[ "$status" = "$2" ]
}
runs() { is "$1" running; }
off() { is "$1" stopped; }

start_guest() {
	runs "$1" >/run/lab-start || case $1 in
	qemu/*) $sim/qm start "${1#*/}" ;;
	*) $sim/pct start "${1#*/}" ;;
	esac
}

# prelaunch VMID: its kvm is up, paused, for a backup.
prelaunch() { grep -qsx prelaunch "/run/pve-sim/state/$1"; }

driver_is() {
	link=$(readlink "/sys/bus/pci/devices/$1/driver") || link=none
	echo "$1: ${link##*/}"
	[ "${link##*/}" = "$2" ]
}

no_lock() { ! grep -H '^lock:' /etc/pve/qemu-server/*.conf /etc/pve/lxc/*.conf; }
no_journal() {
	[ -e $journal ] || return 0
	cat $journal
	return 1
}
# said UNIT-OR-TAG... -- PATTERN: in this boot's journal.
said() {
	pattern=$1
	shift
	journalctl --sync
	journalctl -q -b --no-pager -o cat "$@" >/run/lab-said
	grep -q -- "$pattern" /run/lab-said && return 0
	echo "\"$pattern\" is not in journalctl $*:"
	tail -n 20 /run/lab-said
	return 1
}

# The calls of qm and pct since this boot began, as "qm start 100 ...".
calls() {
	sed -n "s/^$(cat /proc/sys/kernel/random/boot_id) //p" /var/lib/lab/calls
}

# The host before the job: the hook enabled, qemu/100 and lxc/200 up, the rest
# as boot made it.
set_up() {
	grep -qs '^script: ' /etc/vzdump.conf || pve-gpu-hooks enable >/run/lab-enable 2>&1 || {
		lab_fail "pve-gpu-hooks enable"
		sed 's/^/lab:      /' /run/lab-enable >$console
	}
	start_guest qemu/100
	start_guest lxc/200
	sync
}

# start_job VMID...: as the scheduler does: its unit's main process is not
# vzdump, which is not stopped with it. The job's own session is vzdump's.
start_job() {
	systemd-run --quiet --collect --unit=lab-scheduler -p KillMode=process \
		-p After=pve-guests.service \
		sh -c "vzdump $* --quiet >/var/log/lab-job 2>&1; echo \$? >/run/lab/job; exec sleep infinity"
}
job_done() { [ -e /run/lab/job ]; }

worker_pid() {
	hex=$(sed -n 's/^UPID:[^:]*:\([0-9A-F]*\):.*/\1/p' /run/vzdump.pid)
	printf '%d\n' "0x${hex:?no vzdump runs}"
}

# The job's own log to the console, where it helps to see why.
show_job() { sed 's/^/lab:      /' /var/log/lab-job >$console; }

job_says_ok() {
	cat /var/log/lab-job /var/lib/pve-sim/tasks.log
	[ "$(cat /run/lab/job)" = 0 ]
}

# end_job: the scheduler's unit away, ready for the next one.
end_job() {
	systemctl stop lab-scheduler.service
	rm -f /run/lab/job /run/lab/hold /run/lab/held
}

guardian_runs() {
	systemctl list-units --no-legend --plain 'pve-gpu-guardian-*' >/run/lab-guardian
	cat /run/lab-guardian
	[ -s /run/lab-guardian ]
}
