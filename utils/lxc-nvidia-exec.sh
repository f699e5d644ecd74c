#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-exec - a part of lxc-nvidia-setup and lxc-nvidia-install: commands in the
# container, and words
#
# Read by both, which set $ctid, $quiet and the folder $work.
# shellcheck disable=SC2154 # set by who reads it

log() {
	[ -n "$quiet" ] || printf 'lxc-nvidia-setup: %s\n' "$1" >&2
}

warn() {
	log "warning: $1"
}

say() {
	printf 'lxc-nvidia-setup: %s\n' "$1" >&2
}

# What pct starts must not keep our lock.
pct_within() { # SECONDS ARGUMENTS
	limit=$1
	shift
	timeout --foreground -k 10 "$limit" pct "$@" </dev/null 8>&- 9>&-
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
capture() { # in_container SECONDS COMMAND...; $work/out gets the output
	rm -f "$work/pipe"
	mkfifo "$work/pipe" || return
	timeout -k 5 "$(($2 + 60))" sh -c 'stdbuf -o0 head -c 1000000; exec cat >/dev/null' \
		<"$work/pipe" >"$work/out" 8>&- 9>&- &
	reader=$!
	status=0
	"$@" >"$work/pipe" 2>&1 || status=$?
	# Who stays behind in the container may keep the pipe.
	tries=0
	while kill -0 "$reader" 2>/dev/null && [ "$tries" -lt 30 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	kill "$reader" 2>/dev/null || :
	wait "$reader" || :
	return "$status"
}

# What a container says must not command a terminal: control characters, U+0080 to U+009F.
show_output() {
	LC_ALL=C tr -c '\n\t -~\200-\377' '?' <"$1" |
		LC_ALL=C sed "s/$(printf '\302[\200-\237]')/??/g; s/^/lxc-nvidia-setup: | /" | tail -n "${2:-200}" >&2
}

matches() { # TEXT EXTENDED-REGEX; -z: lines of a longer text are not looked at one by one
	printf '%s\000' "$1" | grep -Ezqx -e "$2"
}
