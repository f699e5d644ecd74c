#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-container - a part of lxc-nvidia-setup: a container that stops and starts
#
# Read by lxc-nvidia-setup, whose log, say and fail it uses; $ctid, $timeout, the folder
# $work, the file $due, $mount, and what this run did: $changed, $started_here. Sets
# $stopped_here, and $underway: the state that pct was asked for and that was not seen yet.
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
	underway=running
	pct_within $((timeout + 60)) start "$ctid" >"$work/out" 2>&1 || rc=$?
	# From here on it is asked for: who stops it now has his reasons.
	stopped_here=''
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != running ]; then
		show_output "$work/out"
		case $rc in 124 | 137) ;; *) underway='' ;; esac
		if [ -n "$changed" ] && node_is_missing; then
			say "container $ctid: a node of its new lines is gone: they are taken away again"
			"$mount" -q --remove "$ctid" >&2 9>&- || :
			[ -n "$started_here" ] ||
				pct_within $((timeout + 60)) start "$ctid" >/dev/null 2>&1 || :
		fi
		fail "$EX_RESTART" "container $ctid: did not start (pct start: exit code $rc)"
	fi
	wait_for_state running "$timeout"
	underway=''
}

stop_container() {
	rc=0
	stopped_here=yes underway=stopped
	pct_within $((timeout * 2 + 60)) shutdown "$ctid" --timeout "$timeout" --forceStop 1 >"$work/out" 2>&1 || rc=$?
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != stopped ]; then
		show_output "$work/out"
		# Refused; one that was only given up may be on its way down yet.
		case $rc in 124 | 137) ;; *) stopped_here='' underway='' ;; esac
		fail "$EX_RESTART" "container $ctid: did not stop (pct shutdown: exit code $rc)"
	fi
	# HA begins some seconds after pct has returned, and then takes up to the time limit.
	wait_for_state stopped $((timeout * 2 + 15))
	underway=''
}

restart_container() {
	log "container $ctid: restarting"
	stop_container
	start_container
	rm -f "$due"
	log "container $ctid: runs again"
}

# ---- at the end of a run that failed ----

# What was asked for may come yet: by HA, or as ^C ended pct and not the container's way.
await_underway() { # STATE SECONDS
	[ "$underway" = "$1" ] || return 0
	limit=$2
	! grep -Eqs "^ct:[[:space:]]*${ctid}[[:space:]]*\$" /etc/pve/ha/resources.cfg || limit=$((timeout * 2 + 15))
	waited=0
	while [ "$(container_state)" != "$1" ] && [ "$waited" -lt "$limit" ]; do
		[ "$waited" -gt 0 ] || log "container $ctid: not $1 yet: up to $limit s for that"
		sleep "$poll"
		waited=$((waited + poll))
	done
}

# It ran before. The second time: a pct that was ended may have had PVE's lock.
start_again() {
	await_underway stopped "$timeout"
	tries=0
	while [ "$(container_state)" = stopped ] && [ "$tries" -lt 2 ]; do
		if [ "$tries" -eq 0 ]; then
			say "container $ctid: is started again as it is"
		else
			sleep "$poll"
		fi
		rc=0
		pct_within $((timeout + 60)) start "$ctid" >/dev/null 2>&1 || rc=$?
		[ "$rc" -ne 0 ] || return 0
		tries=$((tries + 1))
	done
	[ "$(container_state)" = running ] || say "container $ctid: did not start"
}

# It was stopped before.
stop_again() {
	await_underway running 10
	[ "$(container_state)" = running ] || return 0
	log "container $ctid: is shut down again; it was stopped before"
	pct_within $((timeout * 2 + 60)) shutdown "$ctid" --timeout "$timeout" --forceStop 1 >/dev/null 2>&1 || :
}
