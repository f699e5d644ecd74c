# SPDX-License-Identifier: GPL-2.0-or-later
# expect.sh - for the command-line tests: what they ask of a program, and where; sourced.
#
# Sets $src (this folder), $dir (a new folder, removed at the end) and $root in it, which
# is not made: what stands for /. $failed is 1 once anything has failed: exit "$failed".
# shellcheck shell=sh

src=$(CDPATH='' cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
dir=$(mktemp -d)
# set -e is silent: a test that has an end of its own begins it with this.
last_words() {
	[ "$1" -eq 0 ] || [ "$1" -eq 77 ] || [ "$failed" != 0 ] ||
		echo "FAIL: exit code $1${about:+, at: $about}" >&2
}
trap 'last_words $?; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
root=$dir/root
failed=0
about=
umask 022
unset PVE_GPU_ROOT
LC_ALL=C
export LC_ALL
: >"$dir/out"
: >"$dir/err"

# $about, where a test sets it, is the case that it is at.
fail() {
	echo "FAIL: ${about:+$about: }$*" >&2
	failed=1
}

# fixture NAME [DIR]: the host of fixtures/NAME.tree, in $root or DIR
fixture() {
	sh "$src/mktree.sh" "$src/fixtures/$1.tree" "${2:-$root}"
	[ ! -e "$src/fixtures/$1.files" ] || sh "$src/mkfiles.sh" "$src/fixtures/$1.files" "${2:-$root}"
}

# How expect runs a command; a test may have a way of its own. TEST_SLOW: times longer.
call() { timeout $((100 * ${TEST_SLOW:-1})) "$@"; }

# expect RC COMMAND...: stdout goes to $dir/out, stderr to $dir/err, the exit code to $rc
expect() {
	want=$1
	shift
	rc=0
	call "$@" >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -eq "$want" ] || {
		fail "$* exited $rc, not $want"
		cat "$dir/out" "$dir/err" >&2
	}
}

# On stderr: this text; nothing. WHAT says what was run.
says() { grep -qF -- "$1" "$dir/err" || { fail "not said: $1"; cat "$dir/err" >&2; }; }
silent() { [ ! -s "$dir/err" ] || { fail "${1:+$1: }said something"; cat "$dir/err" >&2; }; }

# On stdout or stderr: a line that matches; none does.
said() {
	grep -q -- "$1" "$dir/out" "$dir/err" || {
		fail "not said: $1"
		cat "$dir/out" "$dir/err" >&2
	}
}
not_said() { ! grep -- "$1" "$dir/out" "$dir/err" >&2 || fail "said: $1"; }

# prints TEXT [WHAT]: stdout is TEXT, with its \n and \t; "-": what stands on stdin
prints() {
	if [ "$1" = - ]; then cat; else printf '%b' "$1"; fi >"$dir/want"
	diff -u "$dir/want" "$dir/out" >&2 || fail "${2:-other output}"
}

# same FILE [OUTPUT]: stdout, or OUTPUT, is fixtures/FILE; UPDATE_EXPECTED=1 writes it
same() {
	[ -z "${UPDATE_EXPECTED:-}" ] || cp "${2:-$dir/out}" "$src/fixtures/$1"
	diff -u "$src/fixtures/$1" "${2:-$dir/out}" >&2 || fail "$1"
}

# holds FILE TEXT
holds() { [ "$(cat "$1")" = "$2" ] || fail "$1 holds '$(cat "$1")', not '$2'"; }
