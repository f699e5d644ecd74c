#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_faults_power.sh - the host loses its power at each step of a night: what is
# on disk is all that is left. After the next boot the guests that were down for a
# backup run again, whether they start at boot or not. A sample of the steps, with
# PVE_SIM_LONG=1 all of them.
# shellcheck disable=SC1091,SC2013,SC2016,SC2034,SC2154 # the libraries; scripts that the host expands; their variables
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
. ./pve-sim/faultlib.sh
sim_begin
sim_suite

# Who was down for a backup when the power went. In stop mode vzdump's own stops count.
down_then()
{
	awk -F '\t' '$2 == "ready" { on = 1 } on && ($2 == "up" || $2 == "down") { s[$3] = $2 } $2 == "power-off" || $2 == "boot" && on { exit }
		END { for (g in s) if (s[g] == "down") print g }' "$H/events" | sort
}
runs() { grep -q "^$1 running" "$H/after"; }
was_running() { grep -q "^$1 running" "$H/before"; }
onboot() { grep -q '^onboot: 1' "$H"/disk/etc/pve/nodes/*/*/"${1#*/}.conf"; }

# All that was down for us runs, all that starts at boot runs, nobody else does
# but those whose stop was journaled and not done yet.
compare()
{
	down=$(down_then)
	while read -r guest _; do
		case $1 in
		yes) back=$down ;;
		onboot | no) back='' ;;
		esac
		if onboot "$guest"; then
			runs "$guest" || echo "$guest starts at boot and does not run"
		elif printf '%s\n' "$back" | grep -qx "$guest"; then
			runs "$guest" || echo "$guest was down for a backup and still is"
		elif runs "$guest"; then
			was_running "$guest" && [ "$1" = yes ] || echo "$guest was started"
		fi
	done <"$H/before"
	grep lock= "$H/after" || :
}

# HOST EDIT N CONF POLICY
lost()
{
	fault_host "$1" "$2"
	fault_sh -c "$4" -f "kill-at $3 power" 'simctl night'
	if ! grep -q KILL "$H/steps"; then
		: >"$T/beyond"
		return
	fi
	mv "$T/out" "$T/first"
	rm -f "$H/faults"
	fault_words="$1, $5, power lost at step $3 ($(sed -n 's/\tKILL$//p' "$H/steps" | cut -f 3- | tr '\t' ' '))"
	fault_sh -b ':'
	check 'who has to run runs, nobody else' is "$(compare "$5")" ''
	tidy
	for guest in $(down_then); do
		onboot "$guest" || [ "$5" != yes ] || check "who started $guest says so" told "$guest started"
		onboot "$guest" || [ "$5" = yes ] || check "that $guest stays down is said" told "$guest .*boot-restart = $5"
	done
}

# HOST EDIT POLICY COUNT
sweep()
{
	steps_of "$1" "$2"
	total=$(wc -l <"$T/steps")
	numbers=$(seq 1 "$total")
	[ -n "$long" ] || numbers=$(sample "$4" 14)
	echo "$1, boot-restart = $3: power lost at $(echo "$numbers" | wc -l) of $total steps"
	for n in $numbers; do
		run_case "$1" lost "$1" "$2" "$n" "boot-restart = $3" "$3"
	done
	while [ -n "$long" ] && [ "$n" -lt $((total + 40)) ]; do
		n=$((n + 1))
		run_case "$1" lost "$1" "$2" "$n" "boot-restart = $3" "$3"
		wait
		[ ! -e "$T/case$fault_begun/beyond" ] || break
	done
}

sweep two-vms '/^onboot/d' yes 18
sweep two-vms '' yes 4
sweep two-vms '/^onboot/d' no 5
sweep two-vms '/^onboot/d' onboot 5
sweep hostdriver '/^onboot/d' yes 10
sweep stopmode '/^onboot/d' yes 8
[ -z "$long" ] || sweep two-vms '/^onboot/d;s/^speed.*/&\nsystemd = off/' yes 8

cases_end
sim_end
