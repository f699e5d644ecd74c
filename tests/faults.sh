# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the tests that make system calls fail, one after the other: try().
# shellcheck shell=sh

LC_ALL=C
# It does not work under a tracer; leaks are looked for without one.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0:exitcode=99:allocator_may_return_null=1
UBSAN_OPTIONS=${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}exitcode=99
export LC_ALL ASAN_OPTIONS UBSAN_OPTIONS
command -v strace >/dev/null || {
	echo "strace is missing (apt-get install strace)"
	exit 77
}
strace -qq -o /dev/null true 2>/dev/null || {
	echo "strace may not trace here"
	exit 77
}
faults=$(mktemp -d)
trap 'rm -rf "$faults"' EXIT
trap 'exit 130' INT TERM HUP
faults_failed=0
faults_made=0

# What is made to fail, and how. All kinds of calls that read or clean up with
# PVE_GPU_TEST_LONG.
kinds='write:ENOSPC rename:EIO fsync:EIO mkdir:ENOSPC clone:EAGAIN clone3:EAGAIN vfork:EAGAIN'
[ -z "${PVE_GPU_TEST_LONG-}" ] ||
	kinds="$kinds openat:EMFILE pread64:EIO read:EIO getdents64:EIO readlink:EIO unlink:EIO fchmod:EIO
		flock:EINTR pipe2:EMFILE memfd_create:EMFILE rmdir:EIO newfstatat:EIO"

fault_fails() {
	faults_failed=$((faults_failed + 1))
	echo "FAIL: $label: $*" >&2
	sed 's/^/  out: /' "$faults/out" | head -n 5 >&2
	sed 's/^/  err: /' "$faults/err" | head -n 20 >&2
	tail -n 1 "$faults/trace" | cut -c1-200 >&2
}

# All below the root but what the kernel would hold; times are no difference.
tree_of() {
	(cd "$root" && find . ! -path './sys/*' ! -path './proc/*' -printf '%p %y %m %l\n' &&
		find . -type f ! -path './sys/*' ! -path './proc/*' ! -name '*.lock' -exec sh -c '
			for f; do
				printf "%s " "$f"
				sed "s/^#time .*/#time/; s/\t1[0-9]\{9\}$/\tsince/" "$f" | cksum
			done' sh {} +) | sort
}
touch -d @1700000000 "$faults/stamp"
is_touched() {
	[ -n "$(find "$root" -newer "$faults/stamp" -print -quit)" ]
}
fresh_root() {
	[ ! -e "$root" ] || is_touched || return 0
	rm -rf "$root"
	cp -a "$1" "$root"
}

# No temporary file is left, and each file is as it was or as it is to be.
whole() {
	is_touched || return 0
	tree_of >"$faults/now"
	sort -u "$faults/start" "$faults/end" | comm -13 - "$faults/now" >"$faults/odd"
	[ ! -s "$faults/odd" ] || fault_fails "left half-done: $(head -n 5 "$faults/odd")"
}

# One fault: CALL ERROR NUMBER COMMAND...; false when there was none any more.
fault() {
	call=$1 error=$2 at=$3
	shift 3
	rc=0
	timeout -k 5 60 strace -qq -o "$faults/trace" -e trace="$call" \
		-e inject="$call:error=$error:when=$at" "$@" >"$faults/out" 2>"$faults/err" <"$input" || rc=$?
	grep -q INJECTED "$faults/trace" || return 1
	faults_made=$((faults_made + 1))
	label="$name, $call $at: $error"
	made=$(grep INJECTED "$faults/trace")
	if [ "$rc" -ge 99 ] || grep -qE 'Sanitizer|runtime error:' "$faults/err"; then
		fault_fails "exited $rc"
		return 0
	fi
	case $made in
	# What was printed did not reach its reader.
	'write(1,'*) [ "$rc" -eq 74 ] || fault_fails "exited $rc, and the output is lost" ;;
	# Nobody can be told.
	'write(2,'*) ;;
	*)
		case " $ok $also " in
		*" $rc "*) ;;
		*)
			case $call,$rc in
			*,69 | *,7[1345]) ;;
			# What cannot be read may count as wrong, or as not there.
			[ognr]*,6[56] | [ognr]*,78) ;;
			*) fault_fails "exited $rc" ;;
			esac
			;;
		esac
		# What was to be kept is not: that is no success, unless the page says so.
		[ "$rc" -ne "$ok" ] || [ -n "$lenient" ] || case $call in
		write | rename | fsync | mkdir | clone*) fault_fails "exited $rc as if nothing had been" ;;
		esac
		case " $ok $also " in
		*" $rc "*) ;;
		*) [ -s "$faults/err" ] || fault_fails "exited $rc and said nothing" ;;
		esac
		;;
	esac
	return 0
}

# try NAME RC TREE COMMAND...: it exits RC when all is well; TREE is what $root holds before.
# also: other exit codes for a fault; lenient: faults that the program may get over.
# input: its standard input. All three are void after it.
try() {
	name=$1 ok=$2 from=$3
	shift 3
	input=${input:-/dev/null}
	also=${also-}
	lenient=${lenient-}
	label=$name
	: >"$faults/trace"
	find "$from" -exec touch -h -d @1600000000 {} +
	rm -rf "$root"
	fresh_root "$from"
	tree_of >"$faults/start"
	rc=0
	strace -qq -c -o "$faults/counts" "$@" >"$faults/out" 2>"$faults/err" <"$input" || rc=$?
	[ "$rc" -eq "$ok" ] || fault_fails "exited $rc, not $ok, without a fault"
	tree_of >"$faults/end"
	changes=
	cmp -s "$faults/start" "$faults/end" || changes=1
	for kind in $kinds; do
		call=${kind%:*}
		count=$(awk -v call="$call" '$NF == call { print $4 }' "$faults/counts")
		at=1
		# Before main() it is the loader's or the sanitizer's.
		case $call in
		openat | read | pread64 | newfstatat | readlink)
			at=$(strace -qq -e trace="$call" "$1" --version 2>&1 >/dev/null | grep -c "^$call(") || :
			at=$((at + 1))
			;;
		esac
		while [ "$at" -le "${count:-0}" ]; do
			fresh_root "$from"
			fault "$call" "${kind#*:}" "$at" "$@" || break
			whole
			at=$((at + 1))
		done
	done
	# It leaves nothing behind that is in the way of the next run.
	if [ -n "$changes" ]; then
		rc=0
		"$@" >"$faults/out" 2>"$faults/err" <"$input" || rc=$?
		label="$name after all of these"
		: >"$faults/trace"
		[ "$rc" -eq "$ok" ] || fault_fails "exited $rc, not $ok"
	fi
	also=
	lenient=
	input=
}

faults_end() {
	echo "$faults_made faults, $faults_failed failures"
	[ "$faults_made" -gt 0 ] && [ "$faults_failed" -eq 0 ]
}
