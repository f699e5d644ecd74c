#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [SCENARIO...] - both labs under QEMU. The small one (small.sh): Debian's
# kernels, emulated GPUs, the built programs. The full one: a Debian 13 machine
# with the package and the simulated qm, pct and vzdump; it loses its power for real.
# Without operands every scenario of small/scenarios/ and scenarios/; mdev-boot, package
# and whole-job only when PVE_GPU_TEST_LONG is set. Last line:
# "N passed, N failed, N skipped", counted in checks. Exit 77: cannot run here.
#
# LAB_CACHE  folder that keeps what is made of Debian alone between runs
# LAB_KEEP   folder for the disks and console logs, kept after the run
# LAB_DEB, LAB_MIRROR  see image.sh
# LAB_TREE, LAB_KERNELS, PVE_GPU_TEST_LONG  see small.sh
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

lab=$(CDPATH='' cd "$(dirname "$0")" && pwd)

tmp=$(mktemp -d "${TMPDIR:-/tmp}/pve-gpu-lab.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
work=${LAB_KEEP:-$tmp}
cache=${LAB_CACHE:-$tmp/cache}
mkdir -p "$work" "$cache"
image=$tmp/image

passed=0
failed=0
skipped=0
total() {
	printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
	[ $failed = 0 ] || exit 1
	[ $((passed + failed)) != 0 ] || exit 77
	exit 0
}
skip() {
	printf 'lab: skipped: %s\n' "$1"
	skipped=$((skipped + 1))
	total
}

# shellcheck disable=SC2317 # the scenarios call it
# boot STEP off|kill [SECONDS]: boot the scenario's disk for one step that ends in
# power-off, or in the loss of power.
boot() {
	log=$work/$scenario-$1.log
	rc=0
	printf '  boot: %s\n' "$1"
	"$lab/boot.sh" -t "${3:-1800}" "$image" "$disk" "$log" "lab.scenario=$scenario" "lab.step=$1" || rc=$?
	ok=$(grep -ac '^lab: ok' "$log") || :
	bad=$(grep -ac '^lab: FAIL' "$log") || :
	case $2.$rc in
	off.0) ;;
	kill.9) printf '  QEMU killed\n' ;;
	*)
		printf '  the step "%s" should have ended in %s (boot.sh: %d)\n' "$1" "$2" "$rc"
		bad=$((bad + 1))
		;;
	esac
	passed=$((passed + ok))
	failed=$((failed + bad))
}

in_small=
in_full=
# "bench" is run by tests/bench/rescan. Of the others those that only repeat on a booted
# machine what a chroot and the simulation show take their time with the full counts alone.
[ $# -gt 0 ] || for file in "$lab"/small/scenarios/*.sh "$lab"/scenarios/*.sh; do
	case $(basename "$file" .sh).${PVE_GPU_TEST_LONG:+long} in
	bench.* | mdev-boot. | package. | whole-job.) ;;
	*) set -- "$@" "$(basename "$file" .sh)" ;;
	esac
done
for scenario; do
	if [ -e "$lab/small/scenarios/$scenario.sh" ]; then
		in_small="$in_small $scenario"
	elif [ -e "$lab/scenarios/$scenario.sh" ]; then
		in_full="$in_full $scenario"
	else
		printf 'run.sh: no scenario %s in %s\n' "$scenario" "$lab/small/scenarios, $lab/scenarios" >&2
		exit 64
	fi
done

# What the full lab needs; "cannot" says what is missing.
cannot=
can_make_image() {
	for tool in qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils \
		mmdebstrap:mmdebstrap mke2fs:e2fsprogs; do
		command -v "${tool%%:*}" >/dev/null || cannot="${tool%%:*} is missing (apt-get install ${tool#*:})"
	done
	[ "$(id -u)" = 0 ] || cannot="only root can make a Debian root and build in it"
	[ "$(uname -m)" = x86_64 ] || cannot="the machine is an x86-64 PC, this one is $(uname -m)"
	[ -z "$cannot" ]
}
make_image() {
	rc=0
	# shellcheck disable=SC2086 # a list of scenarios
	"$lab/image.sh" "$cache" "$image" $in_full >"$tmp/image.out" 2>&1 || rc=$?
	echo $rc >"$tmp/image.rc"
}
# Most of it waits for a disk, while the small lab computes. For mdev-boot both would
# fetch the same kernel.
imaging=
[ -z "$in_full" ] || ! can_make_image || case $in_full in
*mdev-boot*) ;;
*)
	make_image &
	imaging=$!
	trap 'kill $imaging 2>/dev/null || :; exit 130' INT TERM HUP
	;;
esac

[ -z "$in_small" ] || {
	# The last line is for us, the others are shown as they come.
	# shellcheck disable=SC2086 # a list of scenarios
	{ LAB_CACHE=$cache "$lab/small.sh" $in_small || :; } | tee "$tmp/small" | sed '/^[0-9]* passed, .* skipped$/d'
	# shellcheck disable=SC2046 # three numbers
	set -- $(tail -n 1 "$tmp/small" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
	passed=$((passed + ${1:-0})) failed=$((failed + ${2:-1})) skipped=$((skipped + ${3:-0}))
}
[ -n "$in_full" ] || total
[ -z "$cannot" ] || skip "$cannot"
if [ -n "$imaging" ]; then
	wait "$imaging"
else
	make_image
fi
cat "$tmp/image.out"
case $(cat "$tmp/image.rc") in
0) ;;
77) skip "Debian's archive cannot be reached" ;;
*)
	failed=$((failed + 1))
	total
	;;
esac
# One scenario, its counts into a file.
run_scenario() {
	passed=0
	failed=0
	printf '%s\n' "$scenario"
	disk=$work/$scenario.qcow2
	qemu-img create -q -f qcow2 -b "$image/disk.img" -F raw "$disk"
	# shellcheck disable=SC1090 # the scenarios are checked by themselves
	. "$lab/scenarios/$scenario.sh"
	start=$(date +%s)
	host
	printf '  %d s\n' $(($(date +%s) - start))
	printf '%d %d\n' "$passed" "$failed" >"$tmp/$scenario.count"
}
# Each machine has one processor: two of them at a time, the longest ones first.
# shellcheck disable=SC2086 # a list of scenarios
for scenario in criu lxc power-loss vfio-setup; do
	case " $in_full " in
	*" $scenario "*) in_full="$scenario $(printf '%s\n' $in_full | grep -vx -e "$scenario" | tr '\n' ' ')" ;;
	esac
done
worker() {
	set +e
	for scenario in $in_full; do
		mkdir "$tmp/$scenario.taken" 2>/dev/null || continue
		(
			set -e
			run_scenario
		) >"$tmp/$scenario.out" 2>&1
		cat "$tmp/$scenario.out"
		[ -e "$tmp/$scenario.count" ] || printf 'FAIL the scenario "%s" broke off\n' "$scenario"
	done
}
worker &
workers=$!
worker &
workers="$workers $!"
# shellcheck disable=SC2086 # two processes
trap 'kill $workers 2>/dev/null || :; exit 130' INT TERM HUP
wait
for scenario in $in_full; do
	ok=0 bad=1
	[ ! -e "$tmp/$scenario.count" ] || read -r ok bad <"$tmp/$scenario.count"
	passed=$((passed + ok))
	failed=$((failed + bad))
done
total
