#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gpu-ls on a text fixture; UPDATE_EXPECTED=1 rewrites the expected files.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
fixture gpus

expect 0 gpu-ls -R "$root" -H
same gpus.tsv
silent
expect 0 gpu-ls -R "$root" -a -o addr,name
prints '0000:01:00.0\tNVIDIA Corporation GA102 [GeForce RTX 3090]
0000:01:00.1\tNVIDIA Corporation GA102 High Definition Audio Controller
0000:04:00.0\tIntel Corporation DG2 [Arc A310]
0000:05:00.0\tIntel Corporation DG2 Audio Controller
0000:41:00.0\tNVIDIA Corporation GA102GL [A40]
0000:41:00.4\tNVIDIA Corporation GA102GL [A40]
0000:41:00.5\tNVIDIA Corporation GA102GL [A40]
0000:42:00.0\tNVIDIA Corporation GP102GL [Tesla P40]
0000:43:00.0\tAdvanced Micro Devices, Inc. [AMD/ATI] Aqua Vanjaram [Instinct MI300X]
0000:45:00.0\tASPEED Technology, Inc. Device 2000
' '--all: the audio of the Arc card, but not that of the mainboard'

# Functions by name: whatever they are, in any spelling, once.
expect 0 gpu-ls -R "$root" -o addr,class 00000000:01:00.1 0000:00:1F.3 00:1f.3
prints '0000:00:1f.3\t040300\n0000:01:00.1\t040300\n' operands
expect 0 gpu-ls -R "$root" -a -o addr 05:00.0
prints '0000:04:00.0\n0000:05:00.0\n' 'the card of an operand'
expect 66 gpu-ls -R "$root" -o addr 09:00.0 01:00.0 09:00.1
prints '0000:01:00.0\n' 'one that is missing hides another'
says 'no such function: 09:00.0'
says 'no such function: 09:00.1'
for operand in 01:00 ../../x '' 1:0.0.0 01:00.8 01:00.0/ gpu; do
	expect 64 gpu-ls -R "$root" 01:00.0 "$operand"
	says "not an address of a PCI function: $operand"
	[ ! -s "$dir/out" ] || fail "'$operand' printed something"
done

# Formats.
expect 0 gpu-ls -R "$root" -j -o addr,iommu_group,numvfs,mdev_types,boot_vga,numa_node 42:00.0 45:00.0
prints '{"addr":"0000:42:00.0","iommu_group":25,"numvfs":null,"mdev_types":"nvidia-46,nvidia-63","boot_vga":null,"numa_node":1}
{"addr":"0000:45:00.0","iommu_group":28,"numvfs":null,"mdev_types":null,"boot_vga":0,"numa_node":null}
' '-j'
gpu-ls -R "$root" -0 -o addr 01:00.0 04:00.0 | tr '\0' ';' >"$dir/out"
prints '0000:01:00.0;0000:04:00.0;' '-0'
PVE_GPU_ROOT=$root expect 0 gpu-ls -o addr 01:00.0
prints '0000:01:00.0\n' PVE_GPU_ROOT
expect 64 gpu-ls -R "$root" -o addr,bdf
says 'bdf: no such field; there are addr,class,id,name,'
expect 64 gpu-ls -R "$root" -j -0
for format in -0 -H -j -r -oaddr; do
	expect 64 gpu-ls -R "$root" --tree "$format"
	says '--tree is for people'
done

# The drawing: nothing runs, then some do.
expect 0 gpu-ls -R "$root" --tree
same gpus.tree.txt
silent
run() { # VMID PID ADDR...: the VM runs with these functions
	vmid=$1 pid=$2
	shift 2
	mkdir -p "$root/proc/$pid"
	echo "$pid" >"$root/run/qemu-server/$vmid.pid"
	{
		printf '/usr/bin/kvm\0-id\0%s\0-pidfile\0/var/run/qemu-server/%s.pid\0' "$vmid" "$vmid"
		for addr; do
			printf -- '-device\0vfio-pci,host=%s,id=hostpci0.0\0' "$addr"
		done
	} >"$root/proc/$pid/cmdline"
	echo "$pid (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0" >"$root/proc/$pid/stat"
}
run 100 7100 0000:01:00.0 0000:01:00.1
run 101 7101 0000:04:00.0
printf 'Num RefCount\n0: 2 0 10000 1 1 7 @/var/lib/lxc/200/command\n' >"$root/proc/net/unix"
expect 0 gpu-ls -R "$root" -t -a
same gpus.tree-all.txt
silent
[ "$(wc -L <"$dir/out")" -le 100 ] || fail "the drawing is too wide"
expect 0 gpu-ls -R "$root" --tree 04:00.0
[ "$(grep -c '0000:0' "$dir/out")" -eq 5 ] || fail "--tree draws more than was asked for"
expect 0 env LC_ALL=C.UTF-8 gpu-ls -R "$root" --tree 43:00.0
grep -q '└─lxc/200' "$dir/out" || fail "--tree in UTF-8"

# A guest whose config cannot be read hides nobody else.
mkfifo "$root/etc/pve/nodes/pve1/qemu-server/150.conf"
expect 0 gpu-ls -R "$root" --tree 41:00.0
says 'qemu/150: config is not a regular file'
grep -q 'qemu/102' "$dir/out" || fail "guests got lost"
rm "$root/etc/pve/nodes/pve1/qemu-server/150.conf"

# No Proxmox VE: no guests, and nothing said of it.
mv "$root/etc/pve" "$dir/pve"
expect 0 gpu-ls -R "$root" --tree 01:00.0
silent
! grep -q qemu "$dir/out" || fail "guests without /etc/pve"
mv "$dir/pve" "$root/etc/pve"

# No names.
rm "$root/usr/share/misc/pci.ids"
expect 0 gpu-ls -R "$root" -o id,name 01:00.0
prints '10de:2204\t-\n' 'without pci.ids'
expect 0 gpu-ls -R "$root" --tree 01:00.0
grep -q 'boot display, 10de:2204' "$dir/out" || fail "--tree without pci.ids"
echo nonsense >"$root/usr/share/misc/pci.ids"
expect 0 gpu-ls -R "$root" -o id,name 01:00.0
prints '10de:2204\t-\n' 'with a damaged pci.ids'

# No GPU, no bus.
rm "$root"/sys/bus/pci/devices/*
expect 1 gpu-ls -R "$root"
prints '' 'no GPU'
silent
expect 1 gpu-ls -R "$root" --tree
prints '' 'no GPU, no drawing'
rm -r "$root/sys/bus"
expect 69 gpu-ls -R "$root"
says '/sys/bus/pci/devices'

expect 0 gpu-ls --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
expect 0 gpu-ls --version
expect 64 gpu-ls --nope
expect 74 sh -c 'gpu-ls --help >/dev/full'
exit $failed
