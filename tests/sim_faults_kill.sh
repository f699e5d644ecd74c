#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_faults_kill.sh - the hook, its job and vzdump are killed with SIGKILL at
# each step; whoever is left puts every guest back. A sample of the steps, with
# PVE_SIM_LONG=1 all of them.
# shellcheck disable=SC1091,SC2013,SC2016,SC2034,SC2154 # the libraries; scripts that the host expands; their variables
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
. ./pve-sim/faultlib.sh
sim_begin
sim_suite

# Backups that would go well without us fail only for a hook that was killed itself.
only_killed()
{
	grep -E "$(printf '\tbackup-failed\t|\tjob-end\t-\taborted')" "$H/events" | while IFS='	' read -r _ what guest why; do
		case "$what $guest $why" in
		*'got signal 9'* | *'exit code 137'*) ;;
		"backup-failed $1 "*) ;;
		'job-end - aborted')
			grep -Eq "TASK ERROR: .*(got signal 9|exit code 137)" "$H/tasks.log" || echo "$why" ;;
		*) echo "$guest: $why" ;;
		esac
	done
}

# Guests whose paused kvm was up keep no lock; others only what vzdump itself left.
compare()
{
	for file in before after; do
		while read -r guest state lock; do
			case $state$lock in
			*lock=backup)
				event "kvm-up $guest" || event "vzdump-stop $guest" || lock='' ;;
			esac
			echo "$guest $state $lock"
		done <"$H/$file" >"$T/$file"
	done
	diff "$T/before" "$T/after"
}

# One kill. HOST BLOCKED N HOW [CONF]: BLOCKED's backup needs us.
killed()
{
	fault_host "$1" "${5:-}"
	# who dies in the start of a VM leaves a reservation that PVE honours for 125 s
	fault_sh -f "kill-at $3 $4" 'simctl night'
	if ! grep -q KILL "$H/steps"; then
		echo "beyond" >"$T/beyond"
		return
	fi
	fault_words="$1${5:+ $5}, $4 killed at step $3 ($(sed -n 's/\tKILL$//p' "$H/steps" | cut -f 3- | tr '\t' ' '))"
	check 'all guests as before' compare
	tidy
	if event 'job-end -'; then
		check 'no other backup fails' is "$(only_killed "$2")" ''
	fi
	# who was killed while he started it could not say so any more
	[ "$4" = self ] || ! grep -q 'vm-state-restore.*KILL' "$H/steps" || return 0
	for guest in $(awk -F '\t' '$2 == "up" && down[$3] { print $3 } $2 == "down" { down[$3] = 1 }' "$H/events" | sort -u); do
		check "who started $guest says so" said_or_vzdump "$guest"
	done
}
said_or_vzdump() { told "$1 (started|was started meanwhile)" || event "vzdump-stop $1"; }

# HOST BLOCKED EDIT, then HOW COUNT ...
sweep()
{
	host=$1 blocked=$2 edit=$3
	shift 3
	steps_of "$host" "$edit"
	total=$(wc -l <"$T/steps")
	while [ $# -ge 2 ]; do
		if [ -n "$long" ]; then
			numbers=$(seq 1 "$total")
		else
			numbers=$(sample "$2" 9)
		fi
		echo "$host: $1 killed at $(echo "$numbers" | wc -l) of $total steps"
		for n in $numbers; do
			run_case "$host" killed "$host" "$blocked" "$n" "$1" "$edit"
		done
		# timing moves the last steps a little: go on until none is hit
		while [ -n "$long" ] && [ "$n" -lt $((total + 40)) ]; do
			n=$((n + 1))
			run_case "$host" killed "$host" "$blocked" "$n" "$1" "$edit"
			wait
			[ ! -e "$T/case$fault_begun/beyond" ] || break
		done
		shift 2
	done
}

sweep two-vms qemu/100 '' self 14 hook 10 vzdump 16
sweep hostdriver qemu/100 '' hook 5 vzdump 10
sweep stopmode qemu/101 '' self 5 vzdump 8
[ -z "$long" ] || sweep two-vms qemu/100 's/^speed.*/&\nsystemd = off/' self 14 group 10 vzdump 16

cases_end
sim_end
