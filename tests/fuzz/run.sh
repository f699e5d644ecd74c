#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# run.sh - build and run the fuzz targets, each with its seeds
#
# usage: run.sh [NAME...]
# Each for FUZZ_SECONDS: 5, with PVE_GPU_TEST_LONG=1 60; one per processor at a time.
# FUZZ_SEED: of the random numbers: 1, so that a run can be repeated; with
# PVE_GPU_TEST_LONG=1 another one each time (0).
# FUZZ_BUILD: a folder to build in and to keep; what is new is then kept there too, in
# found/NAME. FUZZ_LOG: a file that gets "NAME EXECUTIONS" lines. Exit 77 without clang.
set -eu
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

command -v clang >/dev/null || {
	echo "0 passed, 0 failed, 1 skipped"
	echo "no clang here" >&2
	exit 77
}
seconds=5 seed=1
[ -z "${PVE_GPU_TEST_LONG-}" ] || seconds=60 seed=0
seconds=${FUZZ_SECONDS:-$seconds}
seed=${FUZZ_SEED:-$seed}

# In memory, where there is enough of it: in a container it may be 64 MiB.
base=${TMPDIR:-/tmp}
[ "$(df -Pk /dev/shm 2>/dev/null | awk 'END { print $4 + 0 }')" -lt 1000000 ] || base=/dev/shm
work=$(mktemp -d "$base/fuzz.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
build=${FUZZ_BUILD:-$work/build}
mkdir -p "$build"
build=$(cd "$build" && pwd)

# --- build --------------------------------------------------------------------

sanitize=address,undefined
cflags="-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"
libs="lib/libpve.a lib/libhost.a lib/libgpu.a lib/libpcidev.a lib/libbase.a"
cd "$build"
[ -e Makefile ] ||
	"$top/configure" -q CC=clang CFLAGS="$cflags -fsanitize=fuzzer-no-link,$sanitize" >configure.log 2>&1 || {
	cat configure.log >&2
	echo "cannot configure" >&2
	exit 69
}
# shellcheck disable=SC2086 # a list of files
make -s -j"$(nproc)" $libs >make.log 2>&1 || {
	tail -n 30 make.log >&2
	echo "the libraries do not build" >&2
	exit 70
}
needed=$(pkg-config --libs libpci inih smartcols jansson libkmod)
is_newer() { # FILE THAN-FILE
	[ -n "$(find "$1" -newer "$2" 2>/dev/null)" ]
}
# shellcheck disable=SC2086 # lists of words
compile() { # NAME
	for lib in $libs; do
		! is_newer "$lib" "fuzz_$1" || rm -f "fuzz_$1"
	done
	more=
	[ "$1" != ociargs ] || more=$top/utils/cuda-runc-args.c
	for f in "$here/fuzz_$1.c" "$here/fuzz.h" $more; do
		! is_newer "$f" "fuzz_$1" || rm -f "fuzz_$1"
	done
	[ ! -e "fuzz_$1" ] || return 0
	clang -std=gnu11 -D_GNU_SOURCE $cflags -Wall -Wextra -Werror "-fsanitize=fuzzer,$sanitize" \
		-include config.h -I"$top/lib" -I"$here" "$here/fuzz_$1.c" $more $libs $needed -o "fuzz_$1"
}

# --- run ----------------------------------------------------------------------

run_one() { # NAME
	mkdir -p "$work/tmp.$1" "$build/found/$1"
	rm -f "$build/$1"-*
	set -- "$1" -max_total_time="$seconds" "-seed=$seed" -max_len=4096 \
		-timeout=100 -rss_limit_mb=2048 -print_final_stats=1 -close_fd_mask=3 \
		"-artifact_prefix=$build/$1-" "$build/found/$1" "$here/corpus/$1"
	[ ! -e "$here/$1.dict" ] || set -- "$@" "-dict=$here/$1.dict"
	name=$1
	shift
	ASAN_OPTIONS=detect_leaks=1 TMPDIR=$work/tmp.$name "./fuzz_$name" "$@" >"$build/$name.log" 2>&1
}
stat_of() { # WORD LOG
	sed -n "s/^stat::$1: *//p" "$2" | tail -n 1
}
[ $# -gt 0 ] || {
	set --
	for f in "$here"/fuzz_*.c; do
		f=${f##*/fuzz_}
		set -- "$@" "${f%.c}"
	done
}
# Compile and run it; what is to be said.
try() { # NAME
	name=$1 rc=0
	compile "$name" >"$build/$name.log" 2>&1 && run_one "$name" || rc=$?
	runs=$(stat_of number_of_executed_units "$build/$name.log")
	[ -z "${FUZZ_LOG-}" ] || echo "$name ${runs:-0}" >>"$FUZZ_LOG"
	if [ "$rc" -eq 0 ]; then
		echo "ok   $name: $runs executions"
		return
	fi
	echo "FAIL $name: after ${runs:-no} executions"
	grep -aEv '^(#[0-9]+[[:space:]]|INFO: |stat::)' "$build/$name.log" | head -n 40 | sed 's/^/     | /'
	for f in "$build/$name"-*; do
		[ ! -e "$f" ] || {
			echo "     input, base64:"
			base64 "$f" | head -n 20 | sed 's/^/     | /'
		}
	done
}
worker() {
	for target; do
		mkdir "$work/taken.$target" 2>/dev/null || continue
		try "$target" >"$work/$target.out"
		cat "$work/$target.out"
	done
}
workers=
trap 'kill $workers 2>/dev/null; exit 130' INT TERM HUP
n=$(nproc)
while [ "$n" -gt 0 ]; do
	worker "$@" &
	workers="$workers $!"
	n=$((n - 1))
done
wait
passed=0
failed=0
for name; do
	case $(head -n 1 "$work/$name.out") in
	'ok '*) passed=$((passed + 1)) ;;
	*) failed=$((failed + 1)) ;;
	esac
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
