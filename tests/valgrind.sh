#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# valgrind.sh BUILD [TEST...] - the command-line tests with every program of ours under
# valgrind: what it finds, and blocks that are lost for good, are failures.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
command -v valgrind >/dev/null || {
	echo "valgrind is missing (apt-get install valgrind)"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
mkdir "$dir/bin" "$dir/found"
# For programs that run as another user.
chmod 755 "$dir"
chmod 1777 "$dir/found"

# Scripts look for their programs beside themselves: all are in one folder.
for program in "$build"/utils/*; do
	[ -f "$program" ] && [ -x "$program" ] || continue
	name=${program##*/}
	if [ "$(head -c 4 "$program" | tail -c 3)" != ELF ]; then
		ln -s "$program" "$dir/bin/$name"
		continue
	fi
	cat >"$dir/bin/$name" <<-END
		#!/bin/sh
		exec /usr/bin/valgrind -q --leak-check=full --errors-for-leak-kinds=definite \\
			--child-silent-after-fork=yes --error-exitcode=99 \\
			--log-file="$dir/found/$name.%p" "$program" "\$@"
	END
	chmod 755 "$dir/bin/$name"
done

[ $# -gt 0 ] || set -- "$here"/cli_*.sh
passed=0
failed=0
skipped=0
for test; do
	name=${test##*/}
	case $name in
	# Tracers of their own, processes by the hundred, and limits in seconds.
	*_faults*.sh | *random*)
		echo "skip $name: faults and counts are not for valgrind"
		skipped=$((skipped + 1))
		continue
		;;
	esac
	rc=0
	rm -f "$dir"/found/*
	TEST_SRC=$here PATH=$dir/bin:$PATH timeout -k 10 900 "$test" >"$dir/log" 2>&1 </dev/null || rc=$?
	# System calls that an older valgrind does not know, pidfd_open(2), are no findings.
	find "$dir/found" -type f -exec sed -i '/^--[0-9]*--/d' {} +
	find "$dir/found" -type f -size 0 -delete
	if [ -n "$(ls "$dir/found")" ]; then
		failed=$((failed + 1))
		echo "FAIL $name: $(find "$dir/found" -type f | wc -l) runs with errors"
		cat "$dir"/found/* | head -n 40 | sed 's/^/     | /'
	elif [ "$rc" -eq 77 ]; then
		skipped=$((skipped + 1))
		echo "skip $name: $(tail -n 1 "$dir/log")"
	elif [ "$rc" -ne 0 ]; then
		# Limits in seconds, other users: what the programs do is tested without valgrind.
		skipped=$((skipped + 1))
		echo "skip $name: valgrind finds nothing, but the test needs the programs' own speed (exit code $rc)"
	else
		passed=$((passed + 1))
		echo "ok   $name"
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
