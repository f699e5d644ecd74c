#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [SCENARIO...] - the full lab: a Debian 13 machine under QEMU with the
# package and the simulated qm, pct and vzdump; it loses its power for real.
# Without operands every scenario of scenarios/. Last line:
# "N passed, N failed, N skipped", counted in checks. Exit 77: cannot run here.
#
# LAB_CACHE  folder that keeps what is made of Debian alone between runs
# LAB_KEEP   folder for the disks and console logs, kept after the run
# LAB_DEB, LAB_MIRROR  see image.sh
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

lab=$(CDPATH='' cd "$(dirname "$0")" && pwd)

skip() {
	printf 'lab: skipped: %s\n0 passed, 0 failed, 1 skipped\n' "$1"
	exit 77
}
for tool in qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils \
	mmdebstrap:mmdebstrap mke2fs:e2fsprogs; do
	command -v "${tool%%:*}" >/dev/null || skip "${tool%%:*} is missing (apt-get install ${tool#*:})"
done
[ "$(id -u)" = 0 ] || skip "only root can make a Debian root and build in it"
[ "$(uname -m)" = x86_64 ] || skip "the machine is an x86-64 PC, this one is $(uname -m)"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/pve-gpu-lab.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
work=${LAB_KEEP:-$tmp}
cache=${LAB_CACHE:-$tmp/cache}
mkdir -p "$work" "$cache"
image=$tmp/image

passed=0
failed=0
total() {
	printf '%d passed, %d failed, 0 skipped\n' $passed $failed
	[ $failed = 0 ]
	exit
}

# shellcheck disable=SC2317 # the scenarios call it
# boot STEP off|kill [SECONDS]: boot the scenario's disk for one step that ends in
# power-off, or in the loss of power.
boot() {
	log=$work/$scenario-$1.log
	rc=0
	printf '  boot: %s\n' "$1"
	"$lab/boot.sh" -t "${3:-240}" "$image" "$disk" "$log" "lab.scenario=$scenario" "lab.step=$1" || rc=$?
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

[ $# -gt 0 ] || {
	for file in "$lab"/scenarios/*.sh; do
		set -- "$@" "$(basename "$file" .sh)"
	done
}
for scenario; do
	[ -e "$lab/scenarios/$scenario.sh" ] || {
		printf 'run.sh: no scenario %s in %s\n' "$scenario" "$lab/scenarios" >&2
		exit 64
	}
done
rc=0
"$lab/image.sh" "$cache" "$image" || rc=$?
case $rc in
0) ;;
77) skip "Debian's archive cannot be reached" ;;
*)
	failed=1
	total
	;;
esac
for scenario; do
	printf '%s\n' "$scenario"
	disk=$work/$scenario.qcow2
	qemu-img create -q -f qcow2 -b "$image/disk.img" -F raw "$disk"
	# shellcheck disable=SC1090 # the scenarios are checked by themselves
	. "$lab/scenarios/$scenario.sh"
	start=$(date +%s)
	host
	printf '  %d s\n' $(($(date +%s) - start))
done
total
