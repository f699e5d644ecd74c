# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# For the machine's side of the scenarios: say, check, wait, lose power.

console=/dev/ttyS0

# lab_word NAME: the value of NAME=VALUE on the kernel's command line.
lab_word() {
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}

lab_say() { printf 'lab: %s\n' "$*" >$console; }
lab_pass() { printf 'lab: ok   %s\n' "$*" >$console; }
lab_fail() { printf 'lab: FAIL %s\n' "$*" >$console; }

# check TEXT COMMAND...
check() {
	text=$1
	shift
	if "$@" >/run/lab-check.out 2>&1; then
		lab_pass "$text"
		return 0
	fi
	lab_fail "$text"
	sed 's/^/lab:      /' /run/lab-check.out >$console
	return 0
}

not() { ! "$@"; }

# within SECONDS COMMAND...: wait until it succeeds; 1 when it never did.
within() {
	left=$(($1 * 5))
	shift
	until "$@"; do
		[ $left -gt 0 ] || return 1
		left=$((left - 1))
		sleep 0.2
	done
}

# The moment has come: the host kills QEMU when it reads this.
lab_power_loss() {
	printf 'lab-kill\n' >$console
	sleep 3600
}
