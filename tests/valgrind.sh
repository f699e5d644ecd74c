#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# valgrind.sh BUILD [TEST...] - the command-line tests with every program of ours under
# valgrind, what they start of ours too. Failures: what valgrind finds, blocks that are
# lost for good, and a test that fails. What is foreign runs as ever.
#
# The tests get, for what cannot be the same there:
#   TEST_SLOW=5   a factor for their limits in seconds
#   TEST_VALGRIND  a command that runs the program that follows it under valgrind; who
#                  counts system calls or kills at them with strace leaves that out
#   TEST_PROGRAMS  the folder of the programs themselves; in PATH are scripts
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
for tool in valgrind "${CC:-cc}"; do
	command -v "$tool" >/dev/null || {
		echo "$tool is missing (apt-get install valgrind gcc)"
		exit 77
	}
done
[ $# -gt 0 ] || set -- "$here"/cli_*.sh
unset PVE_GPU_TEST_LONG
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP

# As many at a time as there are processors: this script once more for each.
if [ -z "${VALGRIND_QUEUE-}" ]; then
	VALGRIND_QUEUE=$dir
	export VALGRIND_QUEUE
	for _ in $(seq "$(nproc)"); do
		"$here/${0##*/}" "$build" "$@" &
	done
	wait
	count() { grep -c "^$1" "$dir/results" || :; }
	echo "$(count passed) passed, $(count failed) failed, $(count skip) skipped"
	# One that has no result has stopped us.
	[ "$(count failed)" -eq 0 ] && [ "$(count '')" -eq $# ]
	exit
fi

mkdir "$dir/bin" "$dir/program" "$dir/found" "$dir/tmp"
# For programs that run as another user.
chmod 755 "$dir"
chmod 1777 "$dir/found" "$dir/tmp"

"${CC:-cc}" -O1 -DPROGRAM -o "$dir/calls" "$here/valgrind-calls.c"
"${CC:-cc}" -O1 -g -shared -fPIC -o "$dir/calls.so" "$here/valgrind-calls.c"
cat >"$dir/valgrind" <<-END
	#!/bin/sh
	LD_PRELOAD=$dir/calls.so\${LD_PRELOAD:+:\$LD_PRELOAD} VALGRIND_CALLS=$dir/calls \\
		TMPDIR=\${TMPDIR:-$dir/tmp} \\
		exec /usr/bin/valgrind -q --vgdb=no --suppressions=$here/valgrind.supp \\
		--leak-check=full --show-leak-kinds=definite,indirect \\
		--errors-for-leak-kinds=definite,indirect \\
		--log-file=$dir/found/\${1##*/}.%p "\$@"
END
chmod 755 "$dir/valgrind"

# Scripts look for what belongs to them beside themselves, programs beside what
# /proc/self/exe says: each program has a folder of its own where all the others are as in
# the folder of the scripts. So what one runs of ours is under valgrind, and nothing else.
for program in "$build"/utils/*; do
	name=${program##*/}
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then
		continue
	elif [ "$(head -c 4 "$program" | tail -c 3)" = ELF ]; then
		printf '#!/bin/sh\nexec %s %s "$@"\n' "$dir/valgrind" \
			"$dir/program/$name/$name" >"$dir/bin/$name"
		chmod 755 "$dir/bin/$name"
		mkdir "$dir/program/$name"
	else
		ln -s "$program" "$dir/bin/$name"
	fi
done
for own in "$dir"/program/*; do
	cp -P "$dir"/bin/* "$own"
	cp --remove-destination "$build/utils/${own##*/}" "$own"
done

# A test that says nothing here, and why.
no_use() {
	case $1 in
	cli_faults*.sh)
		echo "strace counts a program's system calls, and would count valgrind's"
		;;
	esac
}
# Findings are lines of ==PID==. Others tell of system calls that an older valgrind does not
# know, or are the output of a program that was started with a standard stream closed.
look() {
	runs=$(find "$dir/found" -type f | wc -l)
	find "$dir/found" -type f -exec sed -i '/^==[0-9]*==/!d' {} +
	find "$dir/found" -type f -size 0 -delete
	bad=$(find "$dir/found" -type f | wc -l)
}
try() { # TEST: sets result and prints a line
	result=skip
	why=$(no_use "${1##*/}")
	[ -z "$why" ] || {
		echo "skip ${1##*/}: $why"
		return
	}
	rc=0
	rm -f "$dir"/found/*
	begin=$(date +%s)
	TEST_SRC=$here TEST_SLOW=5 TEST_VALGRIND=$dir/valgrind TEST_PROGRAMS=$build/utils \
		TMPDIR=$dir/tmp PATH=$dir/bin:$PATH \
		timeout -k 10 1800 "$1" >"$dir/log" 2>&1 </dev/null || rc=$?
	spent=$(($(date +%s) - begin))
	look
	result=failed
	if [ "$bad" -ne 0 ]; then
		echo "FAIL ${1##*/}: errors in $bad of $runs runs"
		cat "$dir"/found/* | head -n 40 | sed 's/^/     | /'
	elif [ "$rc" -eq 77 ]; then
		result=skip
		echo "skip ${1##*/}: $(tail -n 1 "$dir/log")"
	elif [ "$rc" -ne 0 ]; then
		echo "FAIL ${1##*/}: exit code $rc, no errors in $runs runs"
		{
			grep -a '^FAIL' "$dir/log" | head -n 12
			echo ...
			tail -n 8 "$dir/log"
		} | sed 's/^/     | /'
	elif [ "$runs" -eq 0 ]; then
		result=skip
		echo "skip ${1##*/}: it runs no program that valgrind could look into"
	else
		result=passed
		echo "ok   ${1##*/}: no errors in $runs runs ($spent s)"
	fi
}

for test; do
	# Each test is for the first of us who comes to it.
	mkdir "$VALGRIND_QUEUE/${test##*/}" 2>/dev/null || continue
	try "$test" >"$dir/result"
	cat "$dir/result"
	echo "$result" >>"$VALGRIND_QUEUE/results"
done
