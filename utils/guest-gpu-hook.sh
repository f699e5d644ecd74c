#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-gpu-hook - reset a VM's GPUs before it starts, give them back after it stops
#
# Called by the stub that "pve-gpu-hooks guest VMID enable" puts into a snippets
# folder, as VMID PHASE; guest-gpu-hook(8). Exit 1 in pre-start stops the start.
# PVE holds the guest's lock meanwhile: nothing here may ask qm about it.
set -eu
self=${0%/*}
PATH=@sbindir@:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

root=${PVE_GPU_ROOT:-}
dir=$root/run/pve-gpu-utils/guests
vmid=${1:-} phase=${2:-}
tab=$(printf '\t')
# Exit codes of pci-rescan: refused or no rung works, lost or changed, busy.
EX_UNAVAILABLE=69 EX_IOERR=74 EX_TEMPFAIL=75

say() {
	printf 'guest-gpu-hook: %s\n' "$1"
}

# Write standard input to $dir/$vmid.$1, whole.
remember() {
	for d in "${dir%/*}" "$dir"; do
		# Another guest may start at the same time.
		[ -d "$d" ] || mkdir -m 0700 "$d" 2>/dev/null || [ -d "$d" ] || return
	done
	new=$(mktemp "$dir/$vmid.XXXXXX") || return 1
	cat >"$new" && mv -f "$new" "$dir/$vmid.$1" && return 0
	rm -f "$new"
	return 1
}

forget() {
	for what; do
		rm -f "$dir/$vmid.$what"
	done
}

# The backup job that runs now: PVE's name of its task.
job() {
	cat "$root/run/vzdump.pid" 2>/dev/null || :
}

# Did this very job leave the note $1?
is_noted() {
	[ -s "$dir/$vmid.$1" ] && [ "$(cat "$dir/$vmid.$1")" = "$(job)" ]
}

# "Start all the same" is the rule: a GPU that was not reset mostly works.
unreset() {
	if [ "$on_failure" = abort ]; then
		say "$1: qemu/$vmid is not started ([rescan] on-failure = abort)"
		return 1
	fi
	say "$1: qemu/$vmid is started all the same"
}

# The functions of one slot, separated by commas. 1: the guest must not start.
# Slot by slot, so that a card that is lost is told from one that was merely refused.
reset_slot() {
	rc=0
	# shellcheck disable=SC2046 # one address a word
	pci-rescan --for "$vmid" $(printf '%s' "$1" | tr , ' ') 2>&1 || rc=$?
	case $rc in
	0) ;;
	"$EX_IOERR")
		say "$1: did not come back as it was (see above): qemu/$vmid is not started"
		return 1
		;;
	"$EX_TEMPFAIL") unreset "$1: in use, not reset (see above)" ;;
	"$EX_UNAVAILABLE") unreset "$1: cannot be reset (see above)" ;;
	*) unreset "$1: not reset, pci-rescan failed with exit code $rc" ;;
	esac
}

pre_start() {
	# A backup starts the guest paused, to read its disks: nothing in it uses the
	# GPU. But one that ran, and that a backup in mode stop shuts down, goes on.
	if [ "$lock" = backup ] && ! is_noted restart; then
		job | remember backup || say "$dir cannot be written"
		return 0
	fi
	forget restart backup gpus
	# What an earlier run could not bring back comes first: PVE would not find it.
	lost=$("$report" -r -o functions lost "$vmid") || lost=''
	for functions in $lost; do
		reset_slot "$functions" || return 1
	done
	if ! slots=$("$report" -r -o functions start "$vmid"); then
		unreset "its GPUs cannot be told (reason above)"
		return
	fi
	for functions in $slots; do
		case " $(printf '%s' "$lost" | tr '\n,' '  ') " in
		*" ${functions%%.*}".*) ;;	# just now
		*) reset_slot "$functions" || return 1 ;;
		esac
	done
}

# Which of a mapping's devices it is, only the running machine tells.
post_start() {
	[ ! -e "$dir/$vmid.backup" ] || return 0
	if ! held=$("$report" -r -o functions held "$vmid"); then
		say "which GPUs it has cannot be told (reason above)"
	elif ! printf '%s\n' "$held" | remember gpus; then
		say "$dir cannot be written"
	fi
}

pre_stop() {
	if [ "$lock" != backup ]; then
		forget restart backup
	elif ! is_noted backup; then
		job | remember restart || say "$dir cannot be written"
	fi
}

# Is one of these functions another VM's by now? PVE 8 runs post-stop a while after
# the stop, and PVE reserves before it binds.
is_taken() {
	[ -r "$root/run/qemu-server/pci-id-reservations" ] || return 1
	awk -v addrs=" $* " -v vmid="$vmid" -v now="$(date +%s)" '
		index(addrs, " " $1 " ") && $2 != vmid && ($3 ~ /^pid:/ || substr($3, 6) + 0 > now) { taken = 1 }
		END { exit !taken }' "$root/run/qemu-server/pci-id-reservations"
}

post_stop() {
	# The backup hook puts back what a backup took. PVE 8 may get here after the
	# job has unlocked the guest.
	if [ "$lock" = backup ] || [ -e "$dir/$vmid.backup" ]; then
		forget backup
		return 0
	fi
	# A reboot by PVE starts it again at once.
	[ ! -e "$root/run/qemu-server/$vmid.reboot" ] || return 0
	if [ "$post_stop" = host ]; then
		if [ ! -e "$dir/$vmid.gpus" ]; then
			say "which GPUs it had is not known: they stay with vfio-pci until its next stop"
			return 0
		fi
		# shellcheck disable=SC2046 # one address a word
		set -- $(tr , ' ' <"$dir/$vmid.gpus")
		if [ $# -gt 0 ] && is_taken "$@"; then
			say "$*: another VM has them by now: they stay with vfio-pci"
		elif [ $# -gt 0 ] && ! vfio-bind --one --to host "$@" 2>&1; then
			say "not all of $* went back to the host (reason above)"
		fi
	fi
	forget gpus
}

case $vmid in
'' | 0* | *[!0-9]*)
	echo "Usage: guest-gpu-hook VMID PHASE, as Proxmox VE calls a hookscript" >&2
	exit 64
	;;
esac
case $phase in
pre-start | post-start | pre-stop | post-stop) ;;
*) exit 0 ;;
esac

report=$self/guest-report
[ -x "$report" ] || report=@pkglibexecdir@/guest-report
if ! facts=$("$report" -r -o kind,lock,on_failure,post_stop facts "$vmid"); then
	say "$phase: stands aside (reason above)"
	exit 0
fi
IFS=$tab read -r kind lock on_failure post_stop <<END
$facts
END
[ "$kind" = qemu ] || exit 0
case $phase in
pre-start) pre_start ;;
post-start) post_start ;;
pre-stop) pre_stop ;;
post-stop) post_stop ;;
esac
