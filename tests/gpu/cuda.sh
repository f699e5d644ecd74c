#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cuda.sh - cuda-ckpt on a real NVIDIA GPU: jobs that count (cudajob) with 0.25, 2, 16 and
# 64 GiB each, 1, 2 and 4 of them, are suspended and resumed. The GPU memory is free
# meanwhile, they go on counting, every word is what it was. Prints GiB/s and the time
# against the driver's bare calls (cudabare) and NVIDIA's cuda-checkpoint, where it is;
# 1.02 of the bare calls is the limit from 2 GiB on. Sizes that do not fit are left out,
# and said.
#
# CUDA_TEST_LIB    folder of a libcuda.so.1 to use in place of the driver's
# CUDA_TEST_SIZES  MiB of each job, instead of those above
# CUDA_TEST_ROUNDS times that each is done, the quickest counts: 5
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
src=$(CDPATH='' cd "$(dirname "$0")" && pwd)
skip() {
	echo "skipped: $1"
	exit 77
}
[ -n "${CUDA_TEST_LIB-}" ] || [ -e /dev/nvidiactl ] || skip 'no NVIDIA GPU (there is no /dev/nvidiactl)'
command -v "${CC:-cc}" >/dev/null || skip 'no C compiler'
[ "$(id -u)" -eq 0 ] || skip 'not root'
[ -z "${CUDA_TEST_LIB-}" ] || export LD_LIBRARY_PATH="$CUDA_TEST_LIB${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
sizes=${CUDA_TEST_SIZES:-256 2048 16384 65536}
rounds=${CUDA_TEST_ROUNDS:-5}

dir=$(mktemp -d)
pids=
# Suspended ones are ended too, which is why they are resumed before (a process that is
# killed in the middle has hung a host with some drivers).
cleanup() {
	for p in $pids; do
		cuda-ckpt resume "$p" >/dev/null 2>&1 || :
		kill -KILL "$p" 2>/dev/null || :
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
failed=0
fail() {
	echo "FAIL: $*"
	failed=1
}
for program in cudajob cudabare; do
	"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -o "$dir/$program" "$src/$program.c" -ldl
done
rc=0
"$dir/cudabare" none || rc=$?
[ "$rc" -ne 77 ] || skip 'no libcuda.so.1: the driver is not installed'
[ "$rc" -eq 0 ] || skip 'cuInit fails: the driver has no GPU that CUDA can use'

smi() { nvidia-smi -i 0 "--query-gpu=$1" --format=csv,noheader,nounits 2>/dev/null | head -n 1; }
used=$(smi memory.used) || used=
free=$(smi memory.free) || free=
echo "card: $(smi name || :), driver: $(smi driver_version || :), PCIe: $(smi pcie.link.gen.max || :) x$(smi pcie.link.width.max || :), host: $(nproc) CPUs"
theirs=$(command -v cuda-checkpoint) || theirs=
echo "NVIDIA's cuda-checkpoint: ${theirs:-not here}"

count() {
	number=$(cat "$dir/job.$1" 2>/dev/null) || number=
	echo "${number:-0}"
}
counts_on() {
	before=$(count "$1")
	tries=0
	until [ "$(count "$1")" -gt "$before" ]; do
		kill -0 "$1" 2>/dev/null && [ $tries -lt 3000 ] || return 1
		tries=$((tries + 1))
		sleep 0.02
	done
}
start() { # N MIB
	pids=
	left=$1
	while [ "$left" -gt 0 ]; do
		# shellcheck disable=SC2016 # the inner shell's
		sh -c 'file=$0.$$; exec "$@" "$file"' "$dir/job" "$dir/cudajob" -m "$2" -t 20 >"$dir/name" 2>"$dir/err.$left" &
		pids="$pids $!"
		left=$((left - 1))
	done
	for p in $pids; do
		counts_on "$p" || {
			fail "a job with $2 MiB does not start: $(cat "$dir"/err.*)"
			return 1
		}
	done
}
end() {
	for p in $pids; do
		kill -KILL "$p" 2>/dev/null || :
		wait "$p" 2>/dev/null || :
	done
	pids=
}
all_verified() {
	for p in $pids; do
		rm -f "$dir/job.$p.sum"
		kill -USR1 "$p"
	done
	for p in $pids; do
		tries=0
		until [ -e "$dir/job.$p.sum" ] || [ $tries -eq 6000 ]; do
			tries=$((tries + 1))
			sleep 0.02
		done
		grep -qs '^ok ' "$dir/job.$p.sum" || fail "$1: memory of $p: $(cat "$dir/job.$p.sum" 2>&1)"
	done
}
us() { echo $(($(date +%s%N) / 1000)); }
# timed NAME COMMAND...: the least time in us so far, into NAME
timed() {
	name=$1
	shift
	begin=$(us)
	"$@" >"$dir/out" 2>&1 || {
		fail "$*: $(cat "$dir/out")"
		return 1
	}
	spent=$(($(us) - begin))
	eval "least=\${$name:-}"
	if [ -z "$least" ] || [ $spent -lt "$least" ]; then eval "$name=$spent"; fi
}
nvidia_suspend() {
	for p; do "$theirs" --action lock --pid "$p" && "$theirs" --action checkpoint --pid "$p" || return; done
}
nvidia_resume() {
	for p; do "$theirs" --action restore --pid "$p" && "$theirs" --action unlock --pid "$p" || return; done
}
all_stand() {
	# Who is stopped between a step and writing it down writes it down yet, once.
	for _ in 1 2; do
		for p; do count "$p" >"$dir/was.$p"; done
		sleep 0.2
		moved=
		for p; do [ "$(count "$p")" = "$(cat "$dir/was.$p")" ] || moved="$moved $p"; done
		[ -n "$moved" ] || return 0
		# shellcheck disable=SC2086 # several processes
		set -- $moved
	done
	fail "$moved goes on while it is suspended"
}

# measure N MIB
measure() {
	what="$1 x $2 MiB"
	mib=$(($1 * $2))
	if [ -n "$free" ] && [ $((mib + $1 * 600)) -gt "$free" ]; then
		echo "skipped: $what: $free MiB of GPU memory are free"
		return
	fi
	available=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	if [ $((mib * 11 / 10 + 1024)) -gt "$available" ]; then
		echo "skipped: $what: $available MiB of host memory are available"
		return
	fi
	start "$1" "$2" || {
		end
		return
	}
	# shellcheck disable=SC2086 # several processes
	set -- "$1" "$2" $pids
	n=$1
	size=$2
	shift 2
	ours_out='' ours_in='' bare_out='' bare_in='' nv_out='' nv_in=''
	with=$(smi memory.used) || with=
	round=0
	while [ $round -lt "$rounds" ]; do
		round=$((round + 1))
		timed ours_out cuda-ckpt suspend -q -t 60000 "$@" || break
		all_stand "$@"
		if [ -n "$with" ]; then
			now=$(smi memory.used)
			[ $((with - now)) -ge $((mib * 9 / 10)) ] ||
				fail "$what: suspended, and $now of $with MiB are still in use ($used before)"
		fi
		timed ours_in cuda-ckpt resume -q -t 60000 "$@" || break
		for p; do counts_on "$p" || fail "$what: $p does not go on"; done
		timed bare_out "$dir/cudabare" suspend "$@" || break
		timed bare_in "$dir/cudabare" resume "$@" || break
		[ -z "$theirs" ] || {
			timed nv_out nvidia_suspend "$@" || break
			timed nv_in nvidia_resume "$@" || break
		}
	done
	all_verified "$what"
	end
	[ -n "$bare_in" ] || return 0
	echo "$n $size $mib $ours_out $ours_in $bare_out $bare_in ${nv_out:-0} ${nv_in:-0}" | awk '{
		gib = $3 / 1024
		ratio = ($4 + $5) / ($6 + $7)
		printf "%5d %8.2f %9.3f %7.2f %9.3f %7.2f %7.3f %7s\n", $1, $2 / 1024, $4 / 1e6, gib / ($4 / 1e6),
			$5 / 1e6, gib / ($5 / 1e6), ratio, $9 ? sprintf("%.3f", ($4 + $5) / ($8 + $9)) : "-"
		exit $2 >= 2048 && ratio > 1.02
	}' || fail "$what: above 1.02 of the time of the bare calls"
	[ -z "$nv_in" ] || [ "$size" -lt 2048 ] || [ $((ours_out + ours_in)) -le $(((nv_out + nv_in) * 102 / 100)) ] ||
		fail "$what: above 1.02 of the time of NVIDIA's cuda-checkpoint"
}

printf '%5s %8s %9s %7s %9s %7s %7s %7s\n' jobs 'GiB each' 'suspend s' GiB/s 'resume s' GiB/s '/ bare' '/ NVIDIA'
for size in $sizes; do
	for n in 1 2 4; do
		measure $n "$size"
	done
done
exit $failed
