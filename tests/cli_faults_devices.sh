#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs that write to devices, and vfio-setup, on text fixtures, each write, rename, fsync,
# mkdir and spawn of them failing in turn: no crash, no file half-done, the right exit code.
# PVE_GPU_TEST_LONG: all that reads, too.
set -eu
src=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
unset PVE_GPU_ROOT
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$src/faults.sh"
root=$faults/root

made bind-host
made vgpu

# Files of sysfs do not answer here: the driver does not take the card, all is put back.
try 'vfio-bind --dry-run' 0 "$faults/bind-host" vfio-bind -R "$root" -n --to vfio-pci 01:00.0
lenient=1
try 'vfio-bind' 69 "$faults/bind-host" vfio-bind -R "$root" --to vfio-pci 01:00.0
try 'vfio-bind --record' 0 "$faults/bind-host" vfio-bind -R "$root" --record "$root/before" 01:00.0
vfio-bind -R "$faults/bind-host" --record "$faults/bind-host/before" 01:00.0
lenient=1
try 'vfio-bind --restore' 0 "$faults/bind-host" vfio-bind -R "$root" --restore "$root/before"

# What an NVIDIA card could make is kept for others to show: nobody misses it, and nobody
# looks at what is kept of a VF.
memory='^\./run/pve-gpu-utils(/vgpu-types)? d 700|vgpu-types/[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9] '
lenient=1
varies=$memory
try mdev-ls 0 "$faults/vgpu" mdev-ls -R "$root"
lenient=1
varies=$memory
try 'mdev-ls --types' 0 "$faults/vgpu" mdev-ls -R "$root" --types
lenient=1
also=1
varies=$memory
try 'mdev-ls --check' 69 "$faults/vgpu" mdev-ls -R "$root" --check
uuid=83b8f4f2-509f-382f-3c1e-e6bfe0fa1042
varies=$memory
try mdev-mk 0 "$faults/vgpu" mdev-mk -R "$root" -p 82:00.0 -t 6q -u $uuid
varies=$memory
try 'mdev-mk --define' 0 "$faults/vgpu" mdev-mk -R "$root" -p 82:00.0 -t 6q -u $uuid --define
varies=$memory
try 'mdev-mk --auto' 0 "$faults/vgpu" mdev-mk -R "$root" -p 82:00.0 -t 6q -u $uuid --auto
# A driver that is busy, as a system that is, is tried again.
lenient=1
varies=$memory
try 'mdev-rm --undefine' 0 "$faults/vgpu" mdev-rm -R "$root" --undefine 334852fe-079b-11ee-9fc7-77463608f467
lenient=1
varies=$memory
try 'mdev-rm' 0 "$faults/vgpu" mdev-rm -R "$root" 334852fe-079b-11ee-9fc7-77463608f467
# What cannot be read is not removed.
also=0
lenient=1
varies=$memory
try 'mdev-rm --leftovers' 75 "$faults/vgpu" mdev-rm -R "$root" --leftovers --timeout 1 --wait 0
mkdir -p "$faults/vgpu/etc/pve-gpu-utils"
: >"$faults/vgpu/etc/pve-gpu-utils/mdev-autostart"
lenient=1
varies=$memory
try 'mdev-mk --start-auto' 0 "$faults/vgpu" mdev-mk -R "$root" --start-auto

# shellcheck source=rescan-host.sh
rm -rf "$root" && . "$src/rescan-host.sh"
mv "$root" "$faults/rescan"
# To wake the card first is no must. The file of a run that could not put all back stays;
# what comes of it is seen below.
left='^\./run/pve-gpu-utils/rescan/0000:01:00\.0 '
lenient=1
keeps=$left
try pci-rescan 0 "$faults/rescan" pci-rescan -R "$root" 01:00.0
lenient=1
keeps=$left
try 'pci-rescan --json' 0 "$faults/rescan" pci-rescan -R "$root" -j 01:00.0
# Nor is it to say who has the lock.
lenient=1
keeps=$left
try 'pci-rescan --methods' 0 "$faults/rescan" pci-rescan -R "$root" --methods 01:00.0

# What cannot be put back for want of a process, once or from then on, the next run puts
# back, and a run for another card in between, which has no process either, does not make
# it forgotten. A list that is long: files keep the end of a longer line, as of "auto".
kept() {
	find "$root/sys" -name control -exec sed -i s/^onto/on/ {} +
	(cd "$root/sys" && find . -type f \( -name drivers_autoprobe -o -name reset_method \
		-o -name driver_override -o -name d3cold_allowed -o -name control \) -exec grep -H . {} + | sort)
}
without() { # AT ARGUMENT...: of pci-rescan; no process from the AT-th on, or just not that
	at=$1
	shift
	rc=0
	"$faults/faultcall" spawn ENOMEM "$at" "$faults/call" pci-rescan -q -R "$root" "$@" \
		>"$faults/out" 2>"$faults/err" || rc=$?
	! crashed || fault_fails "exited $rc"
}
ends_as_it_began() { # ARGUMENT...: of pci-rescan
	fresh_root "$faults/rescan"
	kept >"$faults/start"
	n=0
	made_before=$faults_made
	while :; do
		n=$((n + 1))
		name="pci-rescan $*: process $n"
		label="$name"
		fresh_root "$faults/rescan"
		without "$n" "$@"
		[ -s "$faults/call" ] || break
		kept >/dev/null
		pci-rescan -q -R "$root" "$@" >"$faults/out" 2>"$faults/err" || :
		kept | diff "$faults/start" - >"$faults/differs" || fault_fails "not put back: $(cat "$faults/differs")"
		[ -z "$(ls "$root/run/pve-gpu-utils/rescan")" ] || fault_fails 'a file is left'
		label="$name and all after it"
		fresh_root "$faults/rescan"
		without "$n+" "$@"
		kept >/dev/null
		without 1+ --only slot 07:00.0
		kept >/dev/null
		pci-rescan -q -R "$root" --methods 07:00.0 >"$faults/out" 2>"$faults/err" || :
		kept | diff "$faults/start" - >"$faults/differs" || fault_fails "not put back: $(cat "$faults/differs")"
		[ -z "$(ls "$root/run/pve-gpu-utils/rescan")" ] || fault_fails 'a file is left'
		faults_made=$((faults_made + 2))
	done
	echo "pci-rescan $* and again: $((faults_made - made_before)) faults"
	[ "$n" -gt 3 ] || fault_fails "$n faults only"
}
for addr in 0000:01:00.0 0000:06:00.0 0000:07:00.0; do
	echo 'device_specific flr bus' >"$faults/rescan/sys/bus/pci/devices/$addr/reset_method"
done
ends_as_it_began --only own 06:00.0
ends_as_it_began --only slot 01:00.0 06:00.0
ends_as_it_began --methods 06:00.0

# What it does when it is killed, or a command of the host fails: cli_vfio-setup_faults.sh.
command -v depmod >/dev/null || PATH=$PATH:/usr/sbin:/sbin
if command -v depmod >/dev/null; then
	PVE_GPU_COMMANDS=$src/fixtures/hosts/bin
	export PVE_GPU_COMMANDS
	"$src/fixtures/hosts/mkhost" pve9-both-twins "$faults/host"
	# It reports what it could not find out, on standard output; a tool that says more about
	# the boot loader is no must.
	also='1 69'
	lenient=1
	try 'vfio-setup check' 0 "$faults/host" vfio-setup -R "$root" check
	lenient=1
	try 'vfio-setup diff' 1 "$faults/host" vfio-setup -R "$root" diff --gpu 47:00.0 --early
	# What fails is taken back; a file that cannot be synced is there all the same.
	lenient=1
	kinds='sync:EIO spawn:EAGAIN link:EIO truncate:ENOSPC'
	try 'vfio-setup apply' 0 "$faults/host" vfio-setup -R "$root" apply --gpu 47:00.0 --early
else
	echo 'vfio-setup: not run: depmod is missing (apt-get install kmod)'
fi
faults_end
