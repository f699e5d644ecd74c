#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# criu-cuda.sh - dump a CUDA job that is in no container, and restore it
#
#	criu-cuda.sh dump [-k] PID DIR [CRIU-OPTION...]
#	criu-cuda.sh restore DIR [CRIU-OPTION...]
#
# PID is the root of the process tree. With -k it goes on running afterwards. DIR gets
# CRIU's images and the record of GPU memory. The four stages: cuda-ckpt moves the GPU's
# memory into the job, CRIU dumps the job, which holds no GPU then; CRIU restores it,
# cuda-ckpt moves the memory back. GPU_MAP=OLD=NEW,... restores on other GPUs.
# A job that was started from a terminal wants --shell-job for both.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
ckpt=${CUDA_CKPT:-cuda-ckpt}	# in tests these are others
criu=${CRIU:-criu}

usage() {
	sed -n '/^#	/s/^#	/       /p' "$0" | sed '1s/^      /Usage:/' >&2
	exit 64
}
die() {
	echo "criu-cuda.sh: $1" >&2
	exit "${2:-1}"
}

# The dump of a process whose GPU is suspended needs no plugin of CRIU's, and with one it
# could not be restored without: DIR is a folder that has none.
dump() {
	keep=
	[ "${1-}" != -k ] || {
		keep=--leave-running
		shift
	}
	[ $# -ge 2 ] || usage
	pid=$1
	dir=$2
	shift 2
	case $pid in
	'' | *[!0-9]* | 0 | 1) die "$pid: not the number of a process" 64 ;;
	esac
	(umask 077 && mkdir -p "$dir") || exit 73

	# Whatever happens from here on, what is left of the job is to run.
	trap '"$ckpt" resume --tree "$pid" || :' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	"$ckpt" suspend --record "$dir/cuda-ckpt.record" --tree "$pid" || {
		rc=$?
		trap - EXIT	# it has taken back what it did
		exit "$rc"
	}
	rc=0
	"$criu" dump --tree "$pid" --images-dir "$dir" --libdir "$dir" ${keep:+"$keep"} "$@" || rc=$?
	[ "$rc" -eq 0 ] || die "CRIU could not dump process $pid (see its log in $dir); the job runs on"
	trap '' INT TERM HUP
	trap - EXIT
	[ -z "$keep" ] || "$ckpt" resume --tree "$pid"
}

# Every process of a tree.
tree() {
	echo "$1"
	# shellcheck disable=SC2013 # words, not lines
	for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
		tree "$child"
	done
}

restore() {
	[ $# -ge 1 ] || usage
	dir=$1
	shift
	[ -e "$dir/inventory.img" ] || die "$dir: no images of CRIU's there" 66
	rm -f "$dir/restored.pid"
	# A job that is there has to be resumed, or ended.
	trap '' INT TERM HUP
	"$criu" restore --images-dir "$dir" --libdir "$dir" --restore-detached --pidfile "$dir/restored.pid" "$@" ||
		die "CRIU could not restore the job (see its log in $dir)"
	pid=$(cat "$dir/restored.pid")
	# Images that were made in another way have none.
	record=$dir/cuda-ckpt.record
	[ -e "$record" ] || record=
	if "$ckpt" resume ${record:+--record "$record"} ${GPU_MAP:+--gpu-map "$GPU_MAP"} --tree "$pid"; then
		echo "$pid"
		return
	fi
	# It would wait for its GPU for ever. The images are as they were.
	# shellcheck disable=SC2046 # a list of processes
	kill -KILL $(tree "$pid") 2>/dev/null || :
	die "its CUDA state could not be restored: the job is ended, its images are in $dir"
}

verb=${1-}
[ $# -eq 0 ] || shift
case $verb in
dump) dump "$@" ;;
restore) restore "$@" ;;
*) usage ;;
esac
