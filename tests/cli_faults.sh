#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every program on text fixtures, each write, rename, fsync, mkdir and spawn of it
# failing in turn: no crash, no file half-done, the right exit code.
# vfio-setup has a test of its own; programs that need guests: cli_faults_guests.sh.
set -eu
src=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
unset PVE_GPU_ROOT
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$src/faults.sh"
root=$faults/root

made() { # NAME: the tree of a fixture
	sh "$src/mktree.sh" "$src/fixtures/$1.tree" "$faults/$1"
	[ ! -e "$src/fixtures/$1.files" ] || sh "$src/mkfiles.sh" "$src/fixtures/$1.files" "$faults/$1"
}

made gpus
made list-pve1
made bind-host
made vgpu
made conflicts

try gpu-ls 0 "$faults/gpus" gpu-ls -R "$root"
try 'gpu-ls --json' 0 "$faults/gpus" gpu-ls -R "$root" -j
try 'gpu-ls --tree' 0 "$faults/gpus" gpu-ls -R "$root" --tree
# A folder that cannot be read to its end must not look like one with fewer guests.
usual=$kinds
kinds="$usual readdir:EIO"
try pve-hostpci-ls 65 "$faults/list-pve1" pve-hostpci-ls -R "$root"
try lxc-gpu-ls 65 "$faults/list-pve1" lxc-gpu-ls -R "$root"
kinds=$usual
# A process may end while it is looked at.
also=1
try gpu-procs 0 "$faults/bind-host" gpu-procs -R "$root"

printf '%s\thostpci0\t0\t0000:02:00.0\t-\t-\t%s\tpve1\tok\t%s\n' qemu/100 stopped - \
	qemu/101 running cmdline >"$faults/records"
input=$faults/records
try gpu-conflicts 1 "$faults/conflicts" gpu-conflicts -R "$root"
input=$faults/records
try 'gpu-conflicts --for' 1 "$faults/conflicts" gpu-conflicts -R "$root" --for qemu/100

# Files of sysfs do not answer here: the driver does not take the card, all is put back.
try 'vfio-bind --dry-run' 0 "$faults/bind-host" vfio-bind -R "$root" -n --to vfio-pci 01:00.0
lenient=1
try 'vfio-bind' 69 "$faults/bind-host" vfio-bind -R "$root" --to vfio-pci 01:00.0
try 'vfio-bind --record' 0 "$faults/bind-host" vfio-bind -R "$root" --record "$root/before" 01:00.0

# What an NVIDIA card could make is kept for others to show: nobody misses it.
lenient=1
try mdev-ls 0 "$faults/vgpu" mdev-ls -R "$root"
lenient=1
try 'mdev-ls --types' 0 "$faults/vgpu" mdev-ls -R "$root" --types
lenient=1
try 'mdev-ls --check' 69 "$faults/vgpu" mdev-ls -R "$root" --check
uuid=83b8f4f2-509f-382f-3c1e-e6bfe0fa1042
try mdev-mk 0 "$faults/vgpu" mdev-mk -R "$root" -p 82:00.0 -t 6q -u $uuid
try 'mdev-mk --define' 0 "$faults/vgpu" mdev-mk -R "$root" -p 82:00.0 -t 6q -u $uuid --define
try 'mdev-mk --auto' 0 "$faults/vgpu" mdev-mk -R "$root" -p 82:00.0 -t 6q -u $uuid --auto
# A driver that is busy, as a system that is, is tried again.
lenient=1
try 'mdev-rm --undefine' 0 "$faults/vgpu" mdev-rm -R "$root" --undefine 334852fe-079b-11ee-9fc7-77463608f467

# shellcheck source=rescan-host.sh
rm -rf "$root" && . "$src/rescan-host.sh"
mv "$root" "$faults/rescan"
# To wake the card first is no must.
lenient=1
try pci-rescan 0 "$faults/rescan" pci-rescan -R "$root" 01:00.0
lenient=1
try 'pci-rescan --json' 0 "$faults/rescan" pci-rescan -R "$root" -j 01:00.0
# Nor is it to say who has the lock.
lenient=1
try 'pci-rescan --methods' 0 "$faults/rescan" pci-rescan -R "$root" --methods 01:00.0

made two-vms
etc=$faults/two-vms/etc
printf 'name: cad\nscsi0: local:vm-100-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' \
	>"$etc/pve/nodes/pve1/qemu-server/100.conf"
printf 'name: lab\nscsi0: local:vm-101-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' \
	>"$etc/pve/nodes/pve1/qemu-server/101.conf"
printf 'vzdump: nightly\n\tschedule 02:00\n\tall 1\n\tmode snapshot\n' >"$etc/pve/jobs.cfg"
try vm-state-save 0 "$faults/two-vms" vm-state-save -R "$root"
try 'vm-state-save -' 0 "$faults/two-vms" vm-state-save -R "$root" -
try 'vm-state-save --journal' 0 "$faults/two-vms" vm-state-save -R "$root" --journal qemu/101 conflict:qemu/100
vm-state-save -R "$faults/two-vms" --journal qemu/101 conflict:qemu/100
try 'vm-state-save --journal, a second' 0 "$faults/two-vms" \
	vm-state-save -R "$root" --journal qemu/100 vzdump
try 'vm-state-save --forget' 0 "$faults/two-vms" vm-state-save -R "$root" --forget qemu/101
report=$(dirname "$(command -v vm-state-save)")
[ -x "$report/guest-report" ] || report=/usr/libexec/pve-gpu-utils
for what in facts start held lost; do
	try "guest-report $what" 0 "$faults/two-vms" "$report/guest-report" -R "$root" $what 101
done
try 'hooks-report status' 1 "$faults/two-vms" "$report/hooks-report" -R "$root" status
try 'hooks-report plan' 0 "$faults/two-vms" "$report/hooks-report" -R "$root" plan
try 'hooks-report example' 0 "$faults/two-vms" "$report/hooks-report" -R "$root" example

made lxc-host
mkdir -p "$faults/lxc-host/var/lib/dpkg"
printf 'Package: pve-container\nStatus: install ok installed\nVersion: 5.1.10\n' >"$faults/lxc-host/var/lib/dpkg/status"
printf 'Character devices:\n195 nvidia\n237 nvidia-caps\n508 nvidia-uvm\n\nBlock devices:\n' >"$faults/lxc-host/proc/devices"
printf 'arch: amd64\nhostname: ct\n' >"$faults/lxc-host/etc/pve/nodes/pve1/lxc/200.conf"
# Exit codes of its own; the folder that the config is in is synced where that can be.
also=4
lenient=1
try lxc-gpu-mount 0 "$faults/lxc-host" lxc-gpu-mount -R "$root" --gpu 1 200
also=4
lenient=1
try 'lxc-gpu-mount --style' 0 "$faults/lxc-host" lxc-gpu-mount -R "$root" --gpu 1 --style mount 200
lxc-gpu-mount -R "$faults/lxc-host" --gpu 1 200
also=4
lenient=1
try 'lxc-gpu-mount --remove' 0 "$faults/lxc-host" lxc-gpu-mount -R "$root" --remove 200
faults_end
