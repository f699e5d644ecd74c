#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdev-ls on a text fixture; UPDATE_EXPECTED=1 rewrites the expected files.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
pci=$root/sys/devices/pci0000:00
fixture vgpu
pve100=00000000-0000-0000-0000-000000000100
printf 'kvm\0-pidfile\0/var/run/qemu-server/100.pid\0-device\0%s\0' \
	"vfio-pci,sysfsdev=/sys/bus/mdev/devices/$pve100,id=hostpci0" >"$root/proc/4100/cmdline"
printf '/usr/bin/nvidia-vgpu-mgr\0' >"$root/proc/900/cmdline"
printf 'vgpu\0%s\0' 4d1a38a5-0000-4000-8000-000000000001 >"$root/proc/901/cmdline"

# Instances and definitions.
expect 0 mdev-ls -R "$root" -H
silent
same vgpu-list.tsv
expect 0 env PVE_GPU_ROOT="$root" mdev-ls --header --raw
same vgpu-list.tsv
expect 0 mdev-ls -R "$root" -j 334852FE-079B-11EE-9FC7-77463608F467 41:00.5
prints '{"id":"334852fe-079b-11ee-9fc7-77463608f467","type":"nvidia-50","name":"GRID P40-6Q","parent":"0000:82:00.0","group":91,"state":"active","start":"auto","user":"none","guest":null,"backend":"mdev"}\n{"id":"0000:41:00.5","type":"nvidia-660","name":"NVIDIA A40-8Q","parent":"0000:41:00.0","group":51,"state":"active","start":null,"user":"none","guest":null,"backend":"nvidia"}\n' json
expect 66 mdev-ls -R "$root" -o id "$pve100" 00000000-0000-0000-0000-00000000dead
prints "$pve100\n" 'the one that is there'
says 'no such vGPU: 00000000-0000-0000-0000-00000000dead'
expect 0 mdev-ls -R "$root" -0 -o id,user -p mtty
tr '\0' '@' <"$dir/out" >"$dir/nul"
printf '%s' '00000001-0000-0000-0000-000000000101	none@83b8f4f2-509f-382f-3c1e-e6bfe0fa1001	process/4711@' |
	cmp -s - "$dir/nul" || fail 'records end with NUL'

# Each spelling of a parent; a VF is one of its card.
for name in 0000:82:00.0 82:00.0 00000000:82:00.0 pci_0000_82_00_0 \
	/sys/class/mdev_bus/0000:82:00.0; do
	expect 0 mdev-ls -R "$root" -o id,state -p "$name"
	silent
	prints "$pve100\tactive\n334852fe-079b-11ee-9fc7-77463608f467\tactive\n334855e2-079b-11ee-9fc9-83e0dccb6713\tdefined\n" "$name"
done
expect 0 mdev-ls -R "$root" -o id,parent -p pci_0000_41_00_5
prints '0000:41:00.5\t0000:41:00.0\n' 'one VF'
expect 1 mdev-ls -R "$root" -p 41:00.4
prints '' 'a VF without a type'
expect 66 mdev-ls -R "$root" -p 99:00.0
says 'no such parent: 0000:99:00.0'
expect 69 mdev-ls -R "$root" -p 03:00.0
says "0000:03:00.0 offers no vGPUs; see 'mdev-ls --check -p 0000:03:00.0'"
expect 64 mdev-ls -R "$root" -p ../x
says 'not the name of a device'
expect 64 mdev-ls -R "$root" --check -p a/b
says 'not the name of a device'
prints '' '--check of no name'

# Types.
expect 0 mdev-ls -R "$root" -H --types
same vgpu-types.tsv
says '0000:61:00.0 has no VFs yet: /usr/lib/nvidia/sriov-manage -e 0000:61:00.0'
expect 0 mdev-ls -R "$root" -q --types
silent
expect 0 mdev-ls -R "$root" -a -t -o parent,available vf
silent
prints '0000:00:02.0\t0\n0000:05:00.0\t63\n' 'SR-IOV of others'
for name in nvidia-50 'GRID P40-6Q' 'grid p40-6q' P40-6Q 6q; do
	expect 0 mdev-ls -R "$root" -t -o type "$name"
	prints 'nvidia-50\n' "$name"
done
expect 0 mdev-ls -R "$root" -t -o type -p 41:00.0 660
prints 'nvidia-660\n' 'an id of NVIDIA'
expect 1 mdev-ls -R "$root" -t 99q
prints '' 'no such type'
expect 1 mdev-ls -R "$root" -t -p 82:00.0 mtty-1
expect 0 mdev-ls -R "$root" -j -t -p mtty mtty-2
prints '{"parent":"mtty","type":"mtty-2","name":"Dual port serial","available":11,"api":"vfio-pci","description":null,"reason":null,"backend":"mdev"}\n' 'json of types'

# Several lines are one, as mdevctl has it.
printf 'low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\n' \
	>"$root/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/description"
expect 0 mdev-ls -R "$root" -t -o description mtty-2
prints 'low_gm_size: 128MB, high_gm_size: 512MB, fence: 4\n' 'one line'

# Leftovers.
expect 0 mdev-ls -R "$root" --leftovers
silent
same vgpu-leftovers.tsv
expect 1 mdev-ls -R "$root" -l -p 82:00.0
prints '' 'no leftover of the P40'
echo '0000:41:00.5 105 time:99999999999' >"$root/run/qemu-server/pci-id-reservations"
expect 0 mdev-ls -R "$root" -o user 41:00.5
prints 'qemu/105\n' 'a VM that starts'
expect 1 mdev-ls -R "$root" -l -p 41:00.0
rm "$root/run/qemu-server/pci-id-reservations"

# A process with a device alone may have any; not what the host's own driver has.
mkdir -p "$root/proc/4800/fd"
echo holder >"$root/proc/4800/comm"
echo 0::/ >"$root/proc/4800/cgroup"
ln -s 'anon_inode:[vfio-device]' "$root/proc/4800/fd/3"
expect 0 mdev-ls -R "$root" -o id,user 334852fe-079b-11ee-9fc7-77463608f467 "$pve100" 00:02.2
prints "334852fe-079b-11ee-9fc7-77463608f467\tprocess/4800?\n$pve100\tqemu/100\n0000:00:02.2\tnone\n" 'perhaps'
rm -r "$root/proc/4800"

# The types that NVIDIA's driver offers no more are remembered.
echo 663 >"$pci/0000:41:00.4/nvidia/current_vgpu_type"
: >"$pci/0000:41:00.4/nvidia/creatable_vgpu_types"
: >"$pci/0000:41:00.6/nvidia/creatable_vgpu_types"
expect 0 mdev-ls -R "$root" -q -t -o type,name,available -p 41:00.0
prints 'nvidia-658\tNVIDIA A40-4Q\t0\nnvidia-660\tNVIDIA A40-8Q\t0\nnvidia-663\tNVIDIA A40-48Q\t0\n' remembered
expect 0 mdev-ls -R "$root" -o id,name -p 41:00.0
prints '0000:41:00.4\tNVIDIA A40-48Q\n0000:41:00.5\tNVIDIA A40-8Q\n' names
echo 0 >"$pci/0000:41:00.4/nvidia/current_vgpu_type"
printf 'ID  : vGPU Name\n660 : NVIDIA A40-8Q\n663 : NVIDIA A40-48Q\n' \
	>"$pci/0000:41:00.4/nvidia/creatable_vgpu_types"
printf '660 : NVIDIA A40-8Q\n' >"$pci/0000:41:00.6/nvidia/creatable_vgpu_types"

# The diagnosis.
expect 69 mdev-ls -R "$root" --check
silent
same vgpu-check.tsv
expect 1 mdev-ls -R "$root" --check -o level,what -p 61:00.0
prints 'ok\t0000:61:00.0: nvidia, back-end nvidia\nok\tnvidia-vgpu-mgr runs\nwarn\t1 process of nvidia-vgpu-mgr without a vGPU\ntodo\t0000:61:00.0: no VFs yet\ntodo\t0000:61:00.0: no types without VFs\nok\t0\nok\tnothing is made yet\nok\tno VM has more vGPUs than its kind allows\nok\tnothing is to start at boot\n' 'a card without VFs'
expect 69 mdev-ls -R "$root" --check -o level,topic,what -p 04:00.0
grep -qxF 'fail	driver	0000:04:00.0: nouveau makes no vGPUs' "$dir/out" || fail nouveau
expect 69 mdev-ls -R "$root" --check -o level,what -p 77:00.0
grep -qxF 'fail	there is no 0000:77:00.0' "$dir/out" || fail 'no such card'
mkdir -p "$root/lib/udev/rules.d"
echo 'ACTION=="add", RUN+="/usr/sbin/mdevctl start-parent-mdevs %k"' \
	>"$root/lib/udev/rules.d/60-mdevctl.rules"
expect 1 mdev-ls -R "$root" --check -o level,what -p 82:00.0
grep -qxF "todo	1 to start at boot, but mdevctl's udev rule runs /usr/sbin/mdevctl, which is not there" \
	"$dir/out" || fail 'mdevctl is elsewhere'
mkdir -p "$root/usr/sbin"
: >"$root/usr/sbin/mdevctl"
expect 0 mdev-ls -R "$root" --check -o level,what -p 82:00.0
grep -qxF 'ok	1 to start at boot, by mdevctl' "$dir/out" || fail 'mdevctl starts it'
rm "$root/usr/sbin/mdevctl" "$root/lib/udev/rules.d/60-mdevctl.rules"
rm -r "$root/proc/900" "$root/proc/901"
expect 69 mdev-ls -R "$root" --check -o level,what -p 82:00.0
grep -qxF 'fail	nvidia-vgpu-mgr does not run' "$dir/out" || fail 'service down'
rm "$root/usr/bin/nvidia-vgpu-mgr"
expect 69 mdev-ls -R "$root" --check -o level,what -p 82:00.0
grep -qF "NVIDIA's vGPU manager is not installed" "$dir/out" || fail 'not installed'

# A host without any.
mkdir -p "$dir/bare/sys/bus/pci/devices" "$dir/bare/proc"
expect 1 mdev-ls -R "$dir/bare"
expect 1 mdev-ls -R "$dir/bare" --types
expect 1 mdev-ls -R "$dir/bare" --leftovers
silent
expect 69 mdev-ls -R "$dir/bare" --check
grep -qxF 'fail	driver	this host has no GPU	-' "$dir/out" || fail 'no GPU'

# Options.
expect 64 mdev-ls --types --leftovers
says 'exclude each other'
expect 64 mdev-ls -R "$root" --types 6q 8q
says 'too many operands: 8q'
expect 64 mdev-ls -R "$root" --check x
expect 64 mdev-ls -R "$root" -o nothing
expect 64 mdev-ls --wrong
expect 0 mdev-ls --version
expect 0 mdev-ls --help
for long in null header root all check json leftovers output parent quiet raw types help version; do
	grep -q -- "--$long" "$dir/out" || fail "--help lacks --$long"
done
[ "$(wc -l <"$dir/out")" -le 24 ] || fail '--help is long'
exit "$failed"
