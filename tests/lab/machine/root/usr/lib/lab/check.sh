# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# For the machine's side of the scenarios, in both labs: say, check, wait.

console=/dev/ttyS0

# lab_word NAME: the value of NAME=VALUE on the kernel's command line.
lab_word() {
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}

lab_say() { printf 'lab: %s\n' "$*" >$console; }
lab_pass() { printf 'lab: ok   %s\n' "$*" >$console; }
lab_fail() { printf 'lab: FAIL %s\n' "$*" >$console; }

# The step is over: the host switches the machine off, which is quicker than
# the machine itself.
lab_end() {
	sync
	printf 'lab-end\n' >$console
}

# check TEXT COMMAND...
check() {
	text=$1
	shift
	if "$@" >/run/lab-check.out 2>&1; then
		lab_pass "$text"
		return 0
	fi
	lab_fail "$text"
	tail -n 8 /run/lab-check.out | sed 's/^/lab:      /' >$console
	return 0
}

not() { ! "$@"; }

# within SECONDS COMMAND...: wait until it succeeds; 1 when it never did. On a machine that
# is given little of the host's time they are longer, and so it may take four times as long.
within() {
	left=$(($1 * 20))
	shift
	until "$@"; do
		[ $left -gt 0 ] || return 1
		left=$((left - 1))
		sleep 0.2
	done
}
