#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-container - a part of lxc-nvidia-setup: the container's state, and commands in it
#
# Read by lxc-nvidia-setup, whose log, say and fail it uses; $ctid, $timeout, the folder
# $work, the file $due, $mount, and what this run did: $changed, $started_here. Sets $stopped_here.
# shellcheck disable=SC2034,SC2154 # set by lxc-nvidia-setup, or for it

# Seconds between two looks at the container's state.
poll=3

# What pct starts must not keep our lock.
pct_within() { # SECONDS ARGUMENTS
	limit=$1
	shift
	timeout --foreground -k 10 "$limit" pct "$@" </dev/null 9>&-
}

container_state() {
	pct_within 60 status "$ctid" 2>/dev/null | sed -n 's/^status: //p'
}

# Both limits: the end of pct exec is not the end of what it has started.
in_container() { # SECONDS COMMAND...
	inner=$1
	shift
	pct_within $((inner + 30)) exec "$ctid" -- timeout -k 10 "$inner" env \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C \
		DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a "$@"
}

# What a container prints is its root's to choose: so much of it is kept.
capture() { # COMMAND...; $work/out gets the output
	{
		status=0
		"$@" 2>&1 || status=$?
		echo "$status" >"$work/rc"
	} | {
		head -c 1000000 >"$work/out"
		cat >/dev/null
	}
	return "$(cat "$work/rc")"
}

# What a container says must not command a terminal: control characters, U+0080 to U+009F.
show_output() {
	LC_ALL=C tr -c '\n\t -~\200-\377' '?' <"$1" |
		LC_ALL=C sed "s/$(printf '\302[\200-\237]')/??/g; s/^/lxc-nvidia-setup: | /" | tail -n "${2:-200}" >&2
}

wait_for_state() { # STATE
	waited=0
	while :; do
		now=$(container_state)
		[ "$now" != "$1" ] || return 0
		[ "$waited" -lt "$timeout" ] ||
			fail "$EX_RESTART" "container $ctid: still ${now:-in no known state} after $timeout s, not $1"
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
	wait_for_state running
}

stop_container() {
	rc=0
	stopped_here=yes
	pct_within $((timeout * 2 + 60)) shutdown "$ctid" --timeout "$timeout" --forceStop 1 >"$work/out" 2>&1 || rc=$?
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != stopped ]; then
		show_output "$work/out"
		fail "$EX_RESTART" "container $ctid: did not stop (pct shutdown: exit code $rc)"
	fi
	wait_for_state stopped
}

restart_container() {
	log "container $ctid: restarting"
	stop_container
	start_container
	stopped_here=''
	rm -f "$due"
	log "container $ctid: runs again"
}
