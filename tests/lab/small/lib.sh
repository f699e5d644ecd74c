# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# For the scenarios of the small lab, on the machine.

. /lab/check.sh

devices=/sys/bus/pci/devices
# Where boot.sh's devices are.
gpu=0000:01:00.0
slot=0000:02:00.0 slot_audio=0000:02:00.1
arc_top=0000:03:00.0 arc=0000:05:00.0 arc_audio=0000:06:00.0
pf=0000:07:00.0
drm=0000:08:00.0 drm_audio=0000:08:00.1
mixed_top=0000:09:00.0 mixed=0000:0b:00.0 mixed_disk=0000:0c:00.0
loose=0000:0d:00.0
primary=0000:00:01.0

# as_at NAME: is everything as when "state >/run/lab/NAME" was taken?
as_at() {
	state >/run/lab/now
	diff "/run/lab/$1" /run/lab/now
}

# take NAME: what as_at compares with.
take() { state >"/run/lab/$1"; }

# exits STATUS COMMAND...: what it says goes on, and into /run/lab/out and /run/lab/err.
exits() {
	want=$1 rc=0
	shift
	"$@" >/run/lab/out 2>/run/lab/err || rc=$?
	cat /run/lab/out /run/lab/err
	[ $rc = "$want" ] && return 0
	echo "\"$*\" exited $rc, not $want"
	return 1
}
# says WORD...: each stands in what the last one of exits said.
says() {
	for word; do
		grep -qF -- "$word" /run/lab/out /run/lab/err || {
			echo "does not say \"$word\":"
			cat /run/lab/out /run/lab/err
			return 1
		}
	done
}

driver() {
	link=$(readlink "$devices/$1/driver") || link=-
	echo "${link##*/}"
}
driver_is() {
	echo "$1: $(driver "$1")"
	[ "$(driver "$1")" = "$2" ]
}
override_is() {
	echo "$1: $(cat "$devices/$1/driver_override")"
	[ "$(cat "$devices/$1/driver_override")" = "$2" ]
}
# set_driver ADDR DRIVER: by the kernel's own means.
set_driver() {
	echo "$2" >"$devices/$1/driver_override"
	[ "$(driver "$1")" = - ] || echo "$1" >"$devices/$1/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers_probe
}
# free_driver ADDR: as at boot again.
free_driver() {
	echo >"$devices/$1/driver_override"
	[ "$(driver "$1")" = - ] || echo "$1" >"$devices/$1/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers_probe
}

# Not of stalls: those are this computer being busy.
kernel_complains() { dmesg | grep -E 'BUG: |WARNING: |Oops|blocked for more than'; }

# vfs N: the PF has so many VFs, which no driver looks at: nvme gives up on these
# some time later, and would take them from whatever has them then.
vfs() {
	echo 0 >$devices/$pf/sriov_drivers_autoprobe
	echo "$1" >$devices/$pf/sriov_numvfs
	echo 1 >$devices/$pf/sriov_drivers_autoprobe
}

# renew ADDR...: found anew below the bridge that they share, by the kernel's own means.
# Lists of resets that are stale are so again. A rescan of all buses would leave
# BARs without a place.
renew() {
	bridge=$(dirname "$(readlink -f "$devices/$1")")
	for addr; do
		echo 1 >"$devices/$addr/remove"
	done
	echo 1 >"$(echo "$bridge"/pci_bus/*/rescan)"
}

# ask COMMAND...: of the host; the answer goes to stdout.
ask() {
	number=$(($(cat /run/lab/asked 2>/dev/null || echo 0) + 1))
	echo $number >/run/lab/asked
	# Open before it is asked: what comes to a closed port is lost.
	{
		printf '\nlab-ask %d %s\n' $number "$*" >$console
		read -r reply
	} </dev/ttyS1
	printf '%s\n' "$reply" | tr -d '\r'
}

# held ADDR: a process opens the function as a virtual machine would; holder is its pid.
held() {
	rm -f /run/lab/hold
	hold "$1" >/run/lab/hold &
	holder=$!
	within 15 grep -qs held /run/lab/hold
}
# opened FILE: a process has it open; opener is its pid.
opened() {
	sh -c 'exec 5<"$1"; : >/run/lab/opened; exec sleep 600' - "$1" &
	opener=$!
	within 15 test -e /run/lab/opened
	rm -f /run/lab/opened
}
closed() {
	kill "$opener"
	wait "$opener" 2>/dev/null || :
}
unheld() {
	kill "$holder"
	wait "$holder" 2>/dev/null || :
}

# meddled [MEDDLE_...=VALUE...] COMMAND...: with tools/meddle.c in it;
# /run/lab/trace has its steps.
meddled() {
	rm -f /run/lab/trace
	env LD_PRELOAD=/lab/meddle.so MEDDLE_TRACE=/run/lab/trace "$@"
}
steps() { grep -c . /run/lab/trace; }
# killed_at NUMBER COMMAND...: it must have been, or the step was not reached.
killed_at() {
	at=$1 rc=0
	shift
	meddled MEDDLE_SIGNAL=9 MEDDLE_AT="$at" "$@" >/run/lab/out 2>&1 || rc=$?
	[ $rc = 137 ] && return 0
	echo "\"$*\" was not killed at step $at but exited $rc"
	cat /run/lab/out
	return 1
}

# ended_by SIGNAL NUMBER COMMAND...: it got the signal at that step, and did not
# go on as if nothing had been.
ended_by() {
	signal=$1 at=$2 rc=0
	shift 2
	meddled MEDDLE_SIGNAL="$signal" MEDDLE_AT="$at" "$@" >/run/lab/out 2>&1 || rc=$?
	echo "\"$*\" exited $rc on signal $signal at step $at"
	cat /run/lab/out
	[ "$(steps)" -ge "$at" ]
}
# no_trace: nothing is left for the next run of pci-rescan to heal.
no_trace() { ! find /run/pve-gpu-utils/rescan -type f ! -name '*lock*' ! -name '.*' 2>/dev/null | grep .; }
autoprobe_is() { grep . /sys/bus/pci/drivers_autoprobe | grep -qx "$1"; }

# lend TOPOLOGY...: to vfio-pci, with settings that nobody has by default, so that
# one that is lost shows. Taken back by unlend.
lend() {
	for addr; do
		vfio-bind -q --to vfio-pci "$addr"
		for member in "$devices/$addr"/iommu_group/devices/*; do
			[ "$(driver "${member##*/}")" = vfio-pci ] || continue
			echo on >"$member/power/control"
			echo 1 >"$member/d3cold_allowed"
			echo 0 >"$member/msi_bus"
		done
	done
}
unlend() {
	for addr; do
		for member in "$devices/$addr"/iommu_group/devices/*; do
			[ "$(driver "${member##*/}")" = vfio-pci ] || continue
			grep "^${member##*/} " /run/lab/boot | sed 's/.* d3cold_allowed \([01]\) .*/\1/' >"$member/d3cold_allowed"
			echo 1 >"$member/msi_bus"
		done
		vfio-bind -q --to host "$addr"
		for member in "$devices/$addr"/iommu_group/devices/*; do
			echo on >"$member/power/control"
		done
	done
}
