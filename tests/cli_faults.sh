#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs that list and write down, on text fixtures, each write, rename, fsync, mkdir and
# spawn of them failing in turn: no crash, no file half-done, the right exit code.
# PVE_GPU_TEST_LONG: all that reads, too. Those that write to devices, and vfio-setup:
# cli_faults_devices.sh; that need guests: _guests; CUDA's: _cuda; shell scripts: _scripts.
set -eu
src=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
unset PVE_GPU_ROOT
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$src/faults.sh"
root=$faults/root

made gpus
made list-pve1
made bind-host
made conflicts

try gpu-ls 0 "$faults/gpus" gpu-ls -R "$root"
try 'gpu-ls --json' 0 "$faults/gpus" gpu-ls -R "$root" -j
try 'gpu-ls --tree' 0 "$faults/gpus" gpu-ls -R "$root" --tree
try pve-hostpci-ls 65 "$faults/list-pve1" pve-hostpci-ls -R "$root"
try lxc-gpu-ls 65 "$faults/list-pve1" lxc-gpu-ls -R "$root"
# A process may end while it is looked at.
also=1
try gpu-procs 0 "$faults/bind-host" gpu-procs -R "$root"

printf '%s\thostpci0\t0\t0000:02:00.0\t-\t-\t%s\tpve1\tok\t%s\n' qemu/100 stopped - \
	qemu/101 running cmdline >"$faults/records"
input=$faults/records
try gpu-conflicts 1 "$faults/conflicts" gpu-conflicts -R "$root"
input=$faults/records
try 'gpu-conflicts --for' 1 "$faults/conflicts" gpu-conflicts -R "$root" --for qemu/100

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
try 'hooks-report chosen' 0 "$faults/two-vms" "$report/hooks-report" -R "$root" chosen qemu/100
try 'hooks-report status' 1 "$faults/two-vms" "$report/hooks-report" -R "$root" status
try 'hooks-report plan' 0 "$faults/two-vms" "$report/hooks-report" -R "$root" plan
try 'hooks-report example' 0 "$faults/two-vms" "$report/hooks-report" -R "$root" example

made lxc-host
mkdir -p "$faults/lxc-host/var/lib/dpkg"
printf 'Package: pve-container\nStatus: install ok installed\nVersion: 5.1.10\n' >"$faults/lxc-host/var/lib/dpkg/status"
printf 'Character devices:\n195 nvidia\n237 nvidia-caps\n508 nvidia-uvm\n\nBlock devices:\n' >"$faults/lxc-host/proc/devices"
printf 'arch: amd64\nhostname: ct\n' >"$faults/lxc-host/etc/pve/nodes/pve1/lxc/200.conf"
# Exit codes of its own. What cannot be read of the host makes another config, as whole: one of
# the other style, or without a node. Its folder is synced where that can be.
also='3 4'
lenient=1
varies='[0-9] \./etc/pve/nodes/pve1/lxc/200\.conf$'
try lxc-gpu-mount 0 "$faults/lxc-host" lxc-gpu-mount -R "$root" --gpu 1 200
also='3 4'
lenient=1
varies='[0-9] \./etc/pve/nodes/pve1/lxc/200\.conf$'
try 'lxc-gpu-mount --style' 0 "$faults/lxc-host" lxc-gpu-mount -R "$root" --gpu 1 --style mount 200
lxc-gpu-mount -R "$faults/lxc-host" --gpu 1 200
also='3 4'
lenient=1
varies='[0-9] \./etc/pve/nodes/pve1/lxc/200\.conf$'
try 'lxc-gpu-mount --remove' 0 "$faults/lxc-host" lxc-gpu-mount -R "$root" --remove 200

# NVIDIA's nodes are made where files are.
if [ "$(id -u)" -eq 0 ]; then
	made nvidia-mig
	# A file of several lines stands in one, with \n between.
	find "$faults/nvidia-mig/proc" -type f | while read -r file; do
		text=$(cat "$file")
		printf '%b\n' "$text" >"$file"
	done
	nodes=$(command -v pve-gpu-nodes) || nodes=/usr/libexec/pve-gpu-utils/pve-gpu-nodes
	try pve-gpu-nodes 0 "$faults/nvidia-mig" "$nodes" -R "$root"
	try 'pve-gpu-nodes -n' 0 "$faults/nvidia-mig" "$nodes" -R "$root" -n
fi
redact=$(command -v doctor-redact) || redact=/usr/libexec/pve-gpu-utils/doctor-redact
printf 'guest\tcad\nhost\tpve1\n' >"$faults/two-vms/names"
printf 'cad runs on pve1, 192.0.2.7\n' >"$faults/text"
input=$faults/text
try doctor-redact 0 "$faults/two-vms" "$redact" "$root/names"

# What nobody gets to read is a failure, and told, of every program. cuda-runc's version is
# the real runtime's.
if [ -e /dev/full ]; then
	for program in cuda-ckpt cuda-runc doctor-redact gpu-conflicts gpu-doctor gpu-ls gpu-procs guest-hooks \
		guest-report guest-stop hooks-report lxc-gpu-ls lxc-gpu-mount lxc-nvidia-setup mdev-hooks mdev-ls \
		mdev-mk mdev-rm pci-rescan pve-gpu-hooks pve-gpu-nodes pve-hostpci-ls vfio-bind vfio-setup \
		vm-state-restore vm-state-save; do
		path=$(command -v "$program") || path=/usr/libexec/pve-gpu-utils/$program
		for option in --help --version; do
			[ "$program$option" != cuda-runc--version ] || continue
			label="$program $option >/dev/full"
			: >"$faults/out"
			: >"$faults/call"
			rc=0
			"$path" $option >/dev/full 2>"$faults/err" || rc=$?
			case $program,$rc in
			# They have codes of their own.
			lxc-gpu-mount,1 | lxc-nvidia-setup,1 | *,74) ;;
			*) fault_fails "exited $rc" ;;
			esac
			[ -s "$faults/err" ] || fault_fails "exited $rc and said nothing"
		done
	done
fi
faults_end
