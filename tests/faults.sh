# SPDX-License-Identifier: GPL-2.0-or-later
# faults.sh - for the tests that make system calls fail in turn: try(), fault(); sourced.
# shellcheck shell=sh

LC_ALL=C
# Trees are copied all the time: in memory, if programs may run there.
faults=$(mktemp -d /dev/shm/faults.XXXXXX 2>/dev/null) || faults=$(mktemp -d)
# set -e is silent: a test that has an end of its own begins it with this.
last_words() {
	[ "$1" -eq 0 ] || [ "$1" -eq 77 ] || [ "${faults_failed:-0}" != 0 ] ||
		echo "FAIL: exit code $1 at: ${label:-${name:-the preparation}}" >&2
}
trap 'last_words $?; rm -rf "$faults"' EXIT
trap 'exit 130' INT TERM HUP
# The search for leaks makes a process, and so would count. What a sanitizer says goes to
# files: a program that is started by another one keeps it from us otherwise.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0:exitcode=99:allocator_may_return_null=1:log_path=$faults/sanitizer
UBSAN_OPTIONS=${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}halt_on_error=1:exitcode=99:log_path=$faults/sanitizer
export LC_ALL ASAN_OPTIONS UBSAN_OPTIONS
fault_src=${src:-${here:-$(dirname "$0")}}
command -v "${CC:-cc}" >/dev/null || {
	echo 'skipped: no C compiler for faultcall'
	exit 77
}
"${CC:-cc}" -std=gnu11 -O1 -o "$faults/faultcall" "$fault_src/faultcall.c"
[ -x "$faults/faultcall" ] || { # mounted noexec
	mv "$faults" "${TMPDIR:-/tmp}"
	faults=${TMPDIR:-/tmp}/${faults##*/}
}
"$faults/faultcall" none none 0 "$faults/call" true || {
	echo 'skipped: this system does not let calls fail (seccomp_unotify)'
	exit 77
}
faults_failed=0
faults_made=0
programs=
# What fault() looks at; of each what it is for, see try().
name='' label='' input=/dev/null ok=0 also='' lenient='' everyone='' lost=' 74 '

# What is made to fail, and how: a folder that cannot be read to its end must not look like
# one with less in it. All that reads or cleans up with PVE_GPU_TEST_LONG.
writing='write:ENOSPC sync:EIO rename:EIO link:EIO mkdir:ENOSPC spawn:EAGAIN truncate:ENOSPC'
reading='open:EMFILE read:EIO readdir:EIO readlink:EIO stat:EIO unlink:EIO chmod:EIO fchmod:EIO
	chown:EIO fchown:EIO flock:EINTR pipe:EMFILE memfd:EMFILE'
kinds="$writing readdir:EIO"
[ -z "${PVE_GPU_TEST_LONG-}" ] || kinds="$writing $reading"

made() { # NAME: the tree of a fixture, $faults/NAME
	sh "$src/mktree.sh" "$src/fixtures/$1.tree" "$faults/$1"
	[ ! -e "$src/fixtures/$1.files" ] || sh "$src/mkfiles.sh" "$src/fixtures/$1.files" "$faults/$1"
}

fault_fails() {
	faults_failed=$((faults_failed + 1))
	echo "FAIL: $label: $*" >&2
	sed 's/^/  out: /' "$faults/out" | head -n 5 >&2
	sed 's/^/  err: /' "$faults/err" | head -n 20 >&2
	[ ! -s "$faults/call" ] || sed 's/^/  call: /' "$faults/call" >&2
}

# All below $root, which the test sets, but what the kernel would hold; times do not
# count.
tree_of() {
	(cd "$root" && find . ! -path './sys/*' ! -path './proc/*' -printf '%p %y %m %l\n' &&
		find . -type f ! -path './sys/*' ! -path './proc/*' ! -name '*.lock' \
			! -path '*/pve-gpu-utils/*' -exec cksum {} + &&
		find . -type f ! -path './sys/*' ! -path './proc/*' ! -name '*.lock' \
			-path '*/pve-gpu-utils/*' -exec sh -c '
			for f; do
				printf "%s " "$f"
				sed "s/^#time .*/#time/; s/\t1[0-9]\{9\}$/\tsince/" "$f" | cksum
			done' sh {} +) | sort
}
touch -d @1700000000 "$faults/stamp"
is_touched() {
	[ -n "$(find "$root" -newer "$faults/stamp" -print -quit)" ]
}
fresh_root() { # TREE
	rm -rf "$root"
	cp -a "$1" "$root"
}

# No temporary file is left, and each file is as it was or as it is to be.
whole() {
	tree_of >"$faults/now"
	sort -u "$faults/start" "$faults/end" | comm -13 - "$faults/now" |
		{ grep -vE "${keeps:-^$}" || :; } >"$faults/differs"
	case " $writing " in
	*" $each "*) mv "$faults/differs" "$faults/odd" ;;
	*) grep -vE "${varies:-^$}" "$faults/differs" >"$faults/odd" || : ;;
	esac
	[ ! -s "$faults/odd" ] || fault_fails "left half-done: $(head -n 5 "$faults/odd")"
}

# how_many COMMAND...: how many calls of each kind it makes, in $faults/counts; $rc
how_many() {
	rc=0
	# shellcheck disable=SC2086 # may be no word
	"$faults/faultcall" $everyone none none 0 "$faults/counts" "$@" \
		>"$faults/out" 2>"$faults/err" <"$input" || rc=$?
	: >"$faults/call"
}
count_of() { # KIND FILE
	while read -r what number; do
		[ "$what" != "$1" ] || count=$number
	done <"$2"
}
crashed() {
	for said in "$faults"/sanitizer.*; do
		[ -e "$said" ] || break
		cat "$said" >>"$faults/err"
		rm "$said"
		return 0
	done
	[ "$rc" -ge 99 ] && [ "$rc" -ne "$ok" ]
}

# One fault: KIND ERROR NUMBER COMMAND...; false when there was none any more.
fault() {
	kind=$1 error=$2 at=$3
	shift 3
	rc=0
	# shellcheck disable=SC2086 # may be no word
	"$faults/faultcall" $everyone "$kind" "$error" "$at" "$faults/call" "$@" \
		>"$faults/out" 2>"$faults/err" <"$input" || rc=$?
	read -r _ _ path <"$faults/call" || return 1
	faults_made=$((faults_made + 1))
	label="$name, $kind $at: $error"
	if crashed; then
		fault_fails "exited $rc"
		return 0
	fi
	case "$kind $path" in
	# What was printed did not reach its reader.
	"write $faults/out")
		case $lost in
		*" $rc "*) ;;
		*) fault_fails "exited $rc, and the output is lost" ;;
		esac
		[ -n "$lenient" ] || [ -s "$faults/err" ] ||
			fault_fails "the output is lost, and nothing is said"
		return 0
		;;
	# Nobody can be told.
	"write $faults/err") return 0 ;;
	esac
	case " $ok $also " in
	*" $rc "*) ;;
	*)
		case $kind,$rc in
		*,69 | *,7[1345]) ;;
		# What cannot be read may count as wrong, or as not there.
		open,6[56] | stat,6[56] | read*,6[56] | open,78 | stat,78 | read*,78) ;;
		*) fault_fails "exited $rc" ;;
		esac
		[ -s "$faults/err" ] || fault_fails "exited $rc and said nothing"
		;;
	esac
	# What was to be kept is not: that is no success, unless the page says so.
	[ "$rc" -ne "$ok" ] || [ -n "$lenient" ] || case " $writing " in
	*" $kind:"*) fault_fails "exited $rc as if nothing had been" ;;
	esac
	return 0
}

# A signal may break off a call before the kernel has asked us, in what a program starts as
# well; a shell takes that for a failure of its own. What is wrong has to be so three times,
# here and without a fault.
fault_again() {
	fails=$faults_failed
	made_so_far=$faults_made
	for _ in 1 2 3; do
		faults_failed=$fails
		faults_made=$made_so_far
		fault "$@" 2>"$faults/verdict" || return 1
		# What cannot be removed is left.
		[ -z "$changes" ] || [ "$1" = unlink ] || ! is_touched || whole 2>>"$faults/verdict"
		[ "$faults_failed" -ne "$fails" ] || break
		fresh_root "$from"
	done
	cat "$faults/verdict" >&2
}

# try NAME RC TREE COMMAND...: it exits RC when all is well; TREE is what $root holds
# before.
# also: other exit codes for a fault; lenient: faults that the program may get over;
# everyone=-a: the calls of what it starts, too; input: its standard input; step: take
# every so many-th only; varies: lines of tree_of() that may be otherwise when something
# could not be read; keeps: lines that any fault may leave, for the next run to go by;
# after: a function, called after each fault. All are void after it.
try() {
	name=$1 ok=$2 from=$3
	shift 3
	input=${input:-/dev/null}
	also=${also-}
	lenient=${lenient-}
	everyone=${everyone-}
	varies=${varies-}
	keeps=${keeps-}
	lost=${lost:- 74 }
	label=$name
	made_before=$faults_made
	programs="$programs ${1##*/}"
	find "$from" -exec touch -h -d @1600000000 {} +
	rm -rf "$root"
	fresh_root "$from"
	tree_of >"$faults/start"
	how_many "$1" --version
	mv "$faults/counts" "$faults/loading"
	for _ in 1 2 3; do
		how_many "$@"
		[ "$rc" -ne "$ok" ] || break
		fresh_root "$from"
	done
	[ "$rc" -eq "$ok" ] || fault_fails "exited $rc, not $ok, without a fault"
	tree_of >"$faults/end"
	changes=
	! is_touched || changes=1
	fresh_root "$from"
	for each in $kinds; do
		count_of "${each%:*}" "$faults/counts"
		last=$count
		# Before main() it is the loader's or the sanitizer's.
		at=1
		case " $writing " in
		*" $each "*) ;;
		*)
			count_of "${each%:*}" "$faults/loading"
			[ -n "$everyone" ] || at=$((count + 1))
			;;
		esac
		while [ "$at" -le "$last" ]; do
			fault_again "${each%:*}" "${each#*:}" "$at" "$@" || break
			[ -z "${after-}" ] || $after
			at=$((at + ${step:-1}))
			# What changes nothing is looked at now and then.
			[ -n "$changes" ] || [ "$at" -gt "$last" ] || [ $((at % 50)) -eq 0 ] || continue
			is_touched || continue
			[ -n "$changes" ] || [ "${each%:*}" = unlink ] || whole
			fresh_root "$from"
		done
	done
	echo "$name: $((faults_made - made_before)) faults"
	# It leaves nothing behind that is in the way of the next run.
	if [ -n "$changes" ]; then
		rc=0
		"$@" >"$faults/out" 2>"$faults/err" <"$input" || rc=$?
		label="$name after all of these"
		: >"$faults/call"
		[ "$rc" -eq "$ok" ] || fault_fails "exited $rc, not $ok"
	fi
	also=
	lenient=
	input=
	everyone=
	lost=
	step=
	varies=
	keeps=
	after=
}

faults_end() {
	echo "$faults_made faults, $faults_failed failures"
	[ "$faults_made" -gt 0 ] && [ "$faults_failed" -eq 0 ]
}
