#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vzdump-gpu-hook - free GPUs for the backup of stopped guests, put every guest back
#
# Called by vzdump-hook-chain as PHASE [MODE VMID]; vzdump-gpu-hook(8).
# Exit 1 fails this guest's backup; all else is 0: what goes wrong with ourselves
# must not cost a backup that would have gone well without us.
set -eu
PATH=@sbindir@:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

root=${PVE_GPU_ROOT:-}
state=$root/var/lib/pve-gpu-utils
nl='
'
tab=$(printf '\t')

say() {
	printf 'vzdump-gpu-hook: %s\n' "$1"
}

# Each line to vzdump's task log as it comes, and to the journal. Goes on reading
# whoever of the two is gone, so that the phase is never stopped by its messages.
relay() {
	trap '' PIPE
	syslog=no
	[ -z "$root" ] && [ -S /dev/log ] && syslog=yes
	while IFS= read -r line || [ -n "$line" ]; do
		printf '%s\n' "$line" 2>/dev/null || :
		[ "$syslog" = yes ] || continue
		timeout 2 logger -t vzdump-gpu-hook -- "${line#vzdump-gpu-hook: }" \
			>/dev/null 2>&1 || syslog=no
	done
}

make_dir() {
	[ -d "$1" ] || mkdir -m 0700 "$1"
}

# The vzdump worker out of UPID:NODE:PID:START:..., both hexadecimal: "PID START".
worker() {
	upid=
	# vzdump ends the file without a newline, and read(1) says 1 then
	IFS=: read -r upid _ pid start _ <"$root/run/vzdump.pid" || [ -n "$upid" ] || return 1
	[ "$upid" = UPID ] || return 1
	for hex in "$pid" "$start"; do
		case $hex in
		'' | *[!0-9A-Fa-f]*) return 1 ;;
		esac
	done
	printf '%d %d\n' "0x$pid" "0x$start"
}

# Killed while we waited for the lock? Then the guardian may be through, and
# nobody would start again whom we stop now. What cannot be told counts as alive.
worker_is_gone() {
	ids=$(worker 2>/dev/null) || return 1
	IFS= read -r stat 2>/dev/null <"$root/proc/${ids% *}/stat" || return 0
	# shellcheck disable=SC2086 # proc(5): state first, start time twentieth after the name
	set -- ${stat##*) }
	[ "$1" = Z ] || [ "${20}" != "${ids#* }" ]
}

start_guardian() {
	if ! pid=$(worker 2>/dev/null); then
		say "no guardian for this job: /run/vzdump.pid does not name vzdump's process"
		return 0
	fi
	pid=${pid% *}
	unit=pve-gpu-guardian-$pid
	if [ -d "$root/run/systemd/system" ]; then
		systemctl --quiet is-active "$unit.service" 2>/dev/null && return 0
		timeout 20 systemd-run --quiet --collect --no-ask-password --unit="$unit" \
			--description="Guardian of the guests stopped for a backup" \
			--property=SyslogIdentifier=vzdump-gpu-hook \
			@sbindir@/vm-state-restore --guard "$pid" </dev/null && return 0
		say "systemd-run could not start the guardian: started without it"
	fi
	# shellcheck disable=SC2016 # expanded by the inner shell
	setsid -f sh -c '
		if [ -S /dev/log ]; then
			vm-state-restore --guard "$1" 2>&1 | logger -t vzdump-gpu-hook
		else
			exec vm-state-restore --guard "$1"
		fi' sh "$pid" </dev/null >/dev/null 2>&1 || say "the guardian could not be started"
}

job_start() {
	vm-state-restore --recover --no-lock ||
		say "not all that an earlier job left behind could be put right (see above)"
	vm-state-save -q ||
		say "the guests' state could not be saved: GPUs may not be freed in this job"
	start_guardian
}

list_assignments() {
	for program in pve-hostpci-ls lxc-gpu-ls; do
		rc=0
		"$program" -q -r 2>/dev/null || rc=$?
		case $rc in
		0 | 65) ;;	# a value that PVE drops as well: status names it
		*)
			say "$program failed with exit code $rc" >&2
			return 1
			;;
		esac
	done
}

# How all that PVE may take from the host's drivers is bound now. 69: it would
# take what the host needs. The parent of a mediated device stays with its driver.
record_drivers() {
	record=$state/drivers/qemu-$vmid
	addrs=$(printf '%s' "$assigned" | awk -F '\t' -v guest="$guest" \
		'$1 == guest && $5 == "-" && $9 == "ok" { print $4 }' | sort -u)
	[ -n "$addrs" ] || return 0
	make_dir "$state/drivers" || return 71
	# shellcheck disable=SC2086 # one address a line
	vfio-bind --record "$record" $addrs 2>&1 && return 0
	code=$?
	[ "$code" -eq 69 ] || return "$code"
	# Of a mapping's alternatives only those count that PVE will choose.
	chosen=$(@pkglibexecdir@/hooks-report -r chosen "$guest") || return 69
	# shellcheck disable=SC2086
	[ -z "$chosen" ] || vfio-bind -n --record "$record" $chosen >/dev/null 2>&1 || return 69
	say "another alternative of its mapping is free of that"
	# shellcheck disable=SC2086
	vfio-bind -q --force --record "$record" $addrs
}

aside() {
	say "$1: stands aside, $guest is backed up as if there were no hook"
}

backup_start() {
	[ "$kind" = qemu ] || return 0
	if ! facts=$(vm-state-save -r -o state,template,disks - "$guest"); then
		aside "the state of $guest cannot be read"
		return 0
	fi
	facts=${facts##*"$nl"}
	[ "$facts" = "stopped${tab}0${tab}1" ] || return 0

	if ! assigned=$(list_assignments); then
		aside "who has which GPU cannot be told"
		return 0
	fi
	assigned=${assigned:+$assigned$nl}
	rc=0
	plan=$(printf '%s' "$assigned" | gpu-conflicts -r --for "$guest") || rc=$?
	case $rc in
	0) plan='' ;;
	1) ;;
	69 | 75)
		say "$guest cannot be backed up now: its GPU cannot be freed (reason above)"
		return 1
		;;
	*)
		aside "gpu-conflicts failed with exit code $rc"
		return 0
		;;
	esac

	set -f
	IFS=$nl
	case $nl$assigned in
	*"$nl$guest$tab"*) ;;
	*) [ -n "$plan" ] || return 0 ;;
	esac

	# First the journal, then the deed: killed anywhere in between, the next
	# phase or the guardian finds an entry for all that has to be put back.
	if ! vm-state-save --journal "$guest" backup; then
		aside "the journal cannot be written"
		return 0
	fi
	rc=0
	record_drivers || rc=$?
	case $rc in
	0) ;;
	69)
		say "$guest cannot be backed up: its GPU's IOMMU group has what the host itself uses (reason above)"
		return 1
		;;
	*)
		aside "the drivers of its GPU cannot be recorded"
		return 0
		;;
	esac
	[ -n "$plan" ] || return 0

	stops=''
	for line in $plan; do
		name=${line%%"$tab"*}
		if ! vm-state-save --journal "$name" "conflict:$guest"; then
			for name in $stops; do
				vm-state-save --forget "$name" "conflict:$guest" || :
			done
			aside "the journal cannot be written"
			return 0
		fi
		stops="$stops$nl$name"
	done
	for line in $plan; do
		IFS=$tab read -r name addrs kinds _ <<-END
		$line
		END
		say "stopping $name for the backup of $guest: $kinds $addrs"
	done
	# shellcheck disable=SC2086 # one guest a line
	if ! guest-stop $stops; then
		say "$guest cannot be backed up: its GPU was not freed (reason above); what was stopped for it starts again"
		return 1
	fi
}

locked_phase() {
	case $phase in
	job-start | backup-start | pre-stop)
		if worker_is_gone; then
			say "$phase: the backup job is dead: nothing is done"
			return 0
		fi
		;;
	esac
	case $phase in
	job-start) job_start ;;
	backup-start) backup_start ;;
	pre-stop)
		vm-state-save --journal "$guest" vzdump ||
			say "$guest could not be noted: if vzdump does not start it again, nobody does"
		;;
	backup-abort | log-end)
		vm-state-restore --after "$guest" ||
			say "not all guests that were stopped run again yet (see above); the guardian tries again"
		;;
	job-end)
		vm-state-restore ||
			say "not all guests that were stopped run again yet (see above); the guardian tries again"
		;;
	esac
}

run_phase() {
	lock=$state/hook.lock
	if ! { make_dir "$state" && touch "$lock"; } 2>/dev/null; then
		case $phase in
		backup-abort | log-end | job-end) exec "$0" --locked "$@" ;;
		esac
		say "$phase: $state cannot be written (disk full?): stands aside"
		return 0
	fi
	rc=0
	# -o: no program that is started under the lock may keep it.
	flock -o -w 600 -E 199 "$lock" "$0" --locked "$@" || rc=$?
	case $rc in
	0 | 1) return "$rc" ;;
	199) say "another run of the hook is still at work after 10 minutes: $phase is left to the guardian" ;;
	*) say "$phase ended with exit code $rc: stands aside" ;;
	esac
}

locked=no
if [ "${1:-}" = --locked ]; then
	locked=yes
	shift
fi
phase=${1:-} mode=${2:-} vmid=${3:-}
case $phase in
job-start | job-end) ;;
backup-start | backup-abort | log-end | pre-stop)
	[ "$phase" != pre-stop ] || [ "$mode" = stop ] || exit 0
	case $vmid in
	'' | 0* | *[!0-9]*)
		say "$phase: no VMID in '$vmid': nothing is done"
		exit 0
		;;
	esac
	;;
job-abort)
	[ ! -e "$state/journal" ] ||
		say "the job is broken off: the guardian starts what was stopped for it"
	exit 0
	;;
*) exit 0 ;;
esac
kind=${VMTYPE:-qemu}
guest=$kind/$vmid

if [ "$locked" = yes ]; then
	locked_phase
	exit
fi
exec 4>&1
rc=$({ { run_phase "$@" 3>&- 4>&- || echo $? >&3; } 2>&1 4>&- | relay >&4 3>&-; } 3>&1)
exit "${rc:-0}"
