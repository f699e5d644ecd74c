#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-container - a part of lxc-nvidia-setup: a container that stops and starts
#
# Read by lxc-nvidia-setup, whose log, say and fail it uses; $ctid, $timeout, the folder
# $work, the file $due, $mount, and what this run did: $changed, $started_here. Sets
# $stopped_here.
# shellcheck disable=SC2034,SC2154 # set by lxc-nvidia-setup, or for it

# Seconds between two looks at the container's state.
poll=3

container_state() {
	pct_within 60 status "$ctid" 2>/dev/null | sed -n 's/^status: //p'
}

wait_for_state() { # STATE SECONDS
	waited=0
	while :; do
		now=$(container_state)
		[ "$now" != "$1" ] || return 0
		[ "$waited" -lt "$2" ] ||
			fail "$EX_RESTART" "container $ctid: still ${now:-in no known state} after $2 s, not $1"
		sleep "$poll"
		waited=$((waited + poll))
	done
}

# PVE refuses to start a container whose devN has no node on the host.
node_is_missing() {
	grep -Eq 'Device /dev/[^ ]+ does not exist' "$work/out"
}

start_container() {
	rc=0
	pct_within $((timeout + 60)) start "$ctid" >"$work/out" 2>&1 || rc=$?
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != running ]; then
		show_output "$work/out"
		stopped_here=''
		if [ -n "$changed" ] && node_is_missing; then
			say "container $ctid: a node of its new lines is gone: they are taken away again"
			"$mount" -q --remove "$ctid" >&2 9>&- || :
			[ -n "$started_here" ] ||
				pct_within $((timeout + 60)) start "$ctid" >/dev/null 2>&1 || :
		fi
		fail "$EX_RESTART" "container $ctid: did not start (pct start: exit code $rc)"
	fi
	wait_for_state running "$timeout"
}

stop_container() {
	rc=0
	stopped_here=yes
	pct_within $((timeout * 2 + 60)) shutdown "$ctid" --timeout "$timeout" --forceStop 1 >"$work/out" 2>&1 || rc=$?
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != stopped ]; then
		show_output "$work/out"
		# Refused; one that was only given up may be on its way down yet.
		case $rc in 124 | 137) ;; *) stopped_here='' ;; esac
		fail "$EX_RESTART" "container $ctid: did not stop (pct shutdown: exit code $rc)"
	fi
	# HA begins some seconds after pct has returned, and then takes up to the time limit.
	wait_for_state stopped $((timeout * 2 + 15))
}

restart_container() {
	log "container $ctid: restarting"
	stop_container
	start_container
	stopped_here=''
	rm -f "$due"
	log "container $ctid: runs again"
}
