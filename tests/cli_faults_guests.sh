#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-stop and vm-state-restore on real processes, each write, rename, fsync, mkdir
# and spawn of them failing in turn: no crash; who is said to be down is down, and who
# has to be started again is started, or still in a journal that is whole.
set -eu
here=$(dirname "$0")
[ -n "${FAKE_PVE-}" ] || exec "$here/fake-pve.sh" "$0"
# shellcheck source-path=SCRIPTDIR source=fake-guests.sh
. "$here/fake-guests.sh"
# shellcheck source=faults.sh
. "$here/faults.sh"
root=$FAKE/none
lenient=1
step=1
journal=/var/lib/pve-gpu-utils/journal

runs() { kill -0 "$(cat "$FAKE/pid-$1" 2>/dev/null || echo 9999999)" 2>/dev/null; }
is_whole() {
	[ ! -e "$journal" ] || [ "$(tail -n 1 "$journal")" = "#end $(grep -vc '^#' "$journal")" ] ||
		fault_fails "the journal is not whole"
	left=$(find /var/lib/pve-gpu-utils -name '.*.??????' 2>/dev/null) || :
	[ -z "$left" ] || fault_fails "left $left"
}
# each SET-UP CHECK COMMAND...: with one fault after the other
each() {
	before=$1 after=$2
	shift 2
	$before
	label=$name
	made_before=$faults_made
	how_many "$1" --version
	mv "$faults/counts" "$faults/loading"
	how_many "$@"
	[ "$rc" -eq 0 ] || fail "$* exits $rc without a fault: $(cat "$faults/err")"
	$after 0
	mv "$faults/counts" "$faults/all"
	for each in $kinds; do
		count_of "${each%:*}" "$faults/all"
		last=$count
		# Before main() it is the loader's or the sanitizer's.
		at=1
		case " $writing " in
		*" $each "*) ;;
		*)
			count_of "${each%:*}" "$faults/loading"
			at=$((count + 1))
			;;
		esac
		while [ "$at" -le "$last" ]; do
			$before
			fault "${each%:*}" "${each#*:}" "$at" "$@" || break
			$after "$rc"
			is_whole
			at=$((at + step))
		done
	done
	echo "$name: $((faults_made - made_before)) faults"
}

two_up() {
	fresh "$name"
	vm 101
	vm 102
	up qemu/101 qemu/102
}
both_down() {
	[ "$1" -ne 0 ] || ! { runs 101 || runs 102; } || fault_fails "said to be down, and runs"
}
name='guest-stop'
each two_up both_down guest-stop 101 102

journaled() {
	two_up
	vm-state-save -q
	vm-state-save --journal 101 conflict:qemu/102
	vm-state-save --journal 102 conflict:qemu/101
	down qemu/101 qemu/102
}
all_back() {
	if [ "$1" -eq 0 ]; then
		if ! runs 101 || ! runs 102; then
			fault_fails "exited 0, and not all run"
		fi
		[ ! -e "$journal" ] || fault_fails "exited 0, and the journal is there"
		return
	fi
	for id in 101 102; do
		runs $id || grep -q "^qemu/$id	" "$journal" 2>/dev/null ||
			fault_fails "exited $1, and $id is neither up nor in the journal"
	done
	# Whatever failed, the next run does the rest.
	vm-state-restore >"$faults/out" 2>"$faults/err" || fault_fails "the next run exits $?"
	runs 101 && runs 102 || fault_fails "after the next run not all run"
	[ ! -e "$journal" ] || fault_fails "after the next run the journal is there"
}
name=vm-state-restore
each journaled all_back vm-state-restore

faults_end
