# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2034 # rc is for those who source this
# testlib.sh - for the tests that run on simulated hosts; sourced.
#   sim_begin                 skip (77) where there can be no simulated host
#   sim_suite                 the suite under test: $PVE_SIM_DESTDIR, the installed one, or built now
#   sim_host NAME [K=V]...    a fresh host, its folder in $H
#   sim_sh SCRIPT [ARG]...    one boot of it: SCRIPT's output in $T/out, exit status in $rc
#   sim_boot SCRIPT [ARG]...  the same, after what a real boot starts
#   ok WORDS COMMAND...       a check; COMMAND's failure is the test's
#   out/event/no_event REGEX  is there such a line in the output, in the events
#   state GUEST               its last state by the events: up, down, or -
#   sim_end                   the verdict
SIM=$(pwd)/pve-sim/sim	# sourced in the tests' folder
sim_checks=0 sim_failed=0 sim_hosts=0 sim_over='' rc=0

sim_begin()
{
	"$SIM" check || exit $?
	command -v "${CC:-cc}" >/dev/null || { echo 'no C compiler'; exit 77; }
	T=$(mktemp -d /tmp/pve-sim.XXXXXX)
	# set -e is silent
	trap 'rc=$?; "$SIM" rm "$T"/host* "$T"; [ $rc -eq 0 ] || [ -n "$sim_over" ] || echo "FAIL: exit code $rc at ${sim_name:-the beginning}"' EXIT
	trap 'exit 130' INT TERM
	if [ -z "${PVE_SIM_BUILD:-}" ]; then
		PVE_SIM_BUILD=$T/build
		"$SIM" build "$PVE_SIM_BUILD"
		export PVE_SIM_BUILD
	fi
}

sim_suite()
{
	sim_dest=${PVE_SIM_DESTDIR:-}
	if [ -z "$sim_dest" ] && [ ! -x /usr/sbin/vm-state-restore ]; then
		sim_dest=$T/stage
		"$SIM" stage "$sim_dest" || exit 1
	fi
}

sim_host()
{
	sim_hosts=$((sim_hosts + 1))
	H=$T/host$sim_hosts
	sim_name=$1
	shift
	"$SIM" new "$sim_name" "$H" kill-delay=1 stop-delay=3 "$@"
	[ -z "${sim_dest:-}" ] || "$SIM" install "$H" "$sim_dest"
}

sim_sh()
{
	rc=0
	sim_script=$1
	shift
	timeout -k 5 "${sim_limit:-300}" "$SIM" run "$H" -- sh -c "$sim_script" sh "$@" >"$T/out" 2>&1 || rc=$?
}

sim_boot()
{
	rc=0
	sim_script=$1
	shift
	timeout -k 5 "${sim_limit:-300}" "$SIM" run "$H" --boot -- sh -c "$sim_script" sh "$@" >"$T/out" 2>&1 || rc=$?
}

ok()
{
	sim_words=$1
	shift
	sim_checks=$((sim_checks + 1))
	if "$@"; then
		return 0
	fi
	sim_failed=$((sim_failed + 1))
	printf 'FAIL %s: %s (%s)\n' "${sim_name:-}" "$sim_words" "$*"
	[ ! -s "$T/out" ] || sed 's/^/    | /' "$T/out" | tail -n "${sim_tail:-25}"
	return 0
}

out() { grep -Eq -- "$1" "$T/out"; }
no_out() { ! grep -Eq -- "$1" "$T/out"; }
event() { grep -Eq -- "$(printf '%s' "$1" | sed 's/ /\t/g')" "$H/events"; }
no_event() { ! event "$1"; }
is() { [ "$1" = "$2" ]; }

state()
{
	awk -F '\t' -v g="$1" '$3 == g && ($2 == "up" || $2 == "down") { s = $2 } END { print s == "" ? "-" : s }' "$H/events"
}

sim_end()
{
	sim_over=1
	printf '%s: %d checks, %d failed\n' "${0##*/}" "$sim_checks" "$sim_failed"
	[ "$sim_failed" -eq 0 ]
}
