#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdev-rm on a text fixture: users, writes, definitions.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
mdevs=$root/sys/bus/mdev/devices
vfs=$root/sys/devices/pci0000:00
pve100=00000000-0000-0000-0000-000000000100
p40=334852fe-079b-11ee-9fc7-77463608f467
defined=334855e2-079b-11ee-9fc9-83e0dccb6713
fixture vgpu "$dir/new"

# Plain files keep the first bytes of what they had: types of one digit, and a fresh tree.
echo 6 >"$dir/new/sys/devices/pci0000:00/0000:41:00.5/nvidia/current_vgpu_type"
printf '/usr/bin/nvidia-vgpu-mgr\0' >"$dir/new/proc/900/cmdline"
printf 'vgpu\0%s\0' 4d1a38a5-0000-4000-8000-000000000001 >"$dir/new/proc/901/cmdline"
fresh() {
	rm -rf "$root"
	cp -a "$dir/new" "$root"
}

# One that nobody uses; its definition stays, and that is said.
fresh
expect 0 mdev-rm -R "$root" "$(echo $p40 | tr a-f A-F)"
prints "$p40\tnvidia-50\tGRID P40-6Q\t0000:82:00.0\t91\tauto\tmdev\n" 'what was removed'
holds "$mdevs/$p40/remove" 1
says "$p40 is defined to come again at boot; --undefine ends that"
[ -e "$root/etc/mdevctl.d/0000:82:00.0/$p40" ] || fail 'the definition stays'
expect 0 mdev-rm -R "$root" -o id --undefine $p40
silent
prints "$p40\n" -o
[ ! -e "$root/etc/mdevctl.d/0000:82:00.0/$p40" ] || fail 'the definition goes'

# What is only defined.
expect 66 mdev-rm -R "$root" $defined
says "$defined is defined and not there; --undefine removes the definition"
expect 66 mdev-rm -R "$root" -u -p mtty $defined
expect 0 mdev-rm -R "$root" -u $defined
[ ! -e "$root/etc/mdevctl.d/0000:82:00.0/$defined" ] || fail 'a definition alone'
expect 66 mdev-rm -R "$root" -u $defined
says "no such vGPU: $defined"

# Users first; the rest goes all the same.
fresh
expect 75 mdev-rm -R "$root" -q -o id $pve100 00000000-0000-0000-0000-00000000dead $p40
says "$pve100 is in use by VM 100"
says 'no such vGPU: 00000000-0000-0000-0000-00000000dead'
prints "$p40\n" 'the other one'
holds "$mdevs/$pve100/remove" ''
expect 75 mdev-rm -R "$root" -f $pve100
holds "$mdevs/$pve100/remove" ''
expect 75 mdev-rm -R "$root" 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
says 'is in use by process 4711'
echo '0000:41:00.5 105 time:99999999999' >"$root/run/qemu-server/pci-id-reservations"
expect 75 mdev-rm -R "$root" 41:00.5
says '0000:41:00.5 is in use by VM 105'
holds "$vfs/0000:41:00.5/nvidia/current_vgpu_type" 6
rm "$root/run/qemu-server/pci-id-reservations"

# A process that has some VFIO device open: only with -f.
mkdir -p "$root/proc/4800/fd"
echo holder >"$root/proc/4800/comm"
echo 0::/ >"$root/proc/4800/cgroup"
ln -s 'anon_inode:[vfio-device]' "$root/proc/4800/fd/3"
expect 75 mdev-rm -R "$root" 41:00.5
says 'may use it; when it does not: -f'
expect 0 mdev-rm -R "$root" -f 41:00.5
holds "$vfs/0000:41:00.5/nvidia/current_vgpu_type" 0
prints '0000:41:00.5\tnvidia-6\t-\t0000:41:00.0\t51\t-\tnvidia\n' 'a VF'

# Leftovers: not what is in use, not what a definition starts.
fresh
expect 0 mdev-rm -R "$root" -n --leftovers
prints "echo 0 > $root/sys/bus/pci/devices/0000:41:00.5/nvidia/current_vgpu_type\necho 1 > $root/sys/bus/mdev/devices/00000001-0000-0000-0000-000000000101/remove\n" 'a dry run'
says 'process 901 of nvidia-vgpu-mgr is left over'
expect 0 mdev-rm -R "$root" -l -p mtty -o id
prints '00000001-0000-0000-0000-000000000101\n' 'leftovers of one'
silent
holds "$mdevs/$p40/remove" ''
expect 0 mdev-rm -R "$root" -l -p 82:00.0
prints '' 'no leftovers'

# All of one parent.
fresh
expect 75 mdev-rm -R "$root" -u -o id --all -p pci_0000_82_00_0
prints "$p40\n" 'all but one'
says "$pve100 is in use"
[ ! -e "$root/etc/mdevctl.d/0000:82:00.0/$defined" ] || fail 'all definitions'
[ -e "$root/etc/mdevctl.d/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001" ] || fail 'not of others'
expect 66 mdev-rm -R "$root" --all -p 99:00.0
says 'no such parent: 0000:99:00.0'
expect 69 mdev-rm -R "$root" --all -p 03:00.0
says '0000:03:00.0 offers no vGPUs'
expect 64 mdev-rm -R "$root" --all -p a/b
expect 66 mdev-rm -R "$root" -p mtty $p40
says 'is at 0000:82:00.0'

# Plain SR-IOV goes at once, and not from under a driver of the host.
fresh
mkdir -p "$root/etc/pve-gpu-utils/vgpu.d/0000:00:02.0"
printf '{"mdev_type": "vf", "start": "auto", "numvfs": 2}' \
	>"$root/etc/pve-gpu-utils/vgpu.d/0000:00:02.0/0000:00:02.0"
expect 69 mdev-rm -R "$root" 00:02.1
says 'VFs of plain SR-IOV go all at once: mdev-rm --all -p 0000:00:02.0'
expect 75 mdev-rm -R "$root" --all -p 00:02.0
says "0000:00:02.2 is in use by the host's driver i915: -f, when nothing needs it"
holds "$vfs/0000:00:02.0/sriov_numvfs" 2
expect 75 mdev-rm -R "$root" -u --all -p 00:02.0
[ -e "$root/etc/pve-gpu-utils/vgpu.d/0000:00:02.0/0000:00:02.0" ] || fail 'the definition of what stays'
expect 0 mdev-rm -R "$root" -n -f -u --all -p 00:02.0
[ "$(grep -c '^rm ' "$dir/out")" -eq 1 ] || fail 'the definition, once'
expect 0 mdev-rm -R "$root" -f -u --all -p 00:02.0 -o id
prints '0000:00:02.1\n0000:00:02.2\n' VFs
holds "$vfs/0000:00:02.0/sriov_numvfs" 0
[ ! -e "$root/etc/pve-gpu-utils/vgpu.d/0000:00:02.0" ] || fail 'an empty folder of ours'

# A release that stays busy: tried again, then said.
rm -r "$vfs/0000:41:00.5/nvidia/current_vgpu_type"
printf '660\n' >"$vfs/0000:41:00.5/nvidia/current_vgpu_type"
before=$(date +%s)
# Meanwhile somebody opens the next one: that is seen.
mkdir -p "$root/proc/4900/fd"
echo late >"$root/proc/4900/comm"
echo 0::/ >"$root/proc/4900/cgroup"
(
	while [ "$(cat "$vfs/0000:41:00.5/nvidia/current_vgpu_type")" = 660 ]; do sleep 0.1; done
	ln -s /dev/vfio/91 "$root/proc/4900/fd/5"
) &
expect 75 mdev-rm -R "$root" --wait=4 41:00.5 $p40
[ $(($(date +%s) - before)) -ge 2 ] || fail 'tries again'
says '0000:41:00.5: Device or resource busy: its user still holds it'
says "$p40 is in use by process 4900 (late)"
holds "$mdevs/$p40/remove" ''
kill $! 2>/dev/null || :
wait

# Options.
expect 64 mdev-rm -R "$root"
says 'remove what?'
expect 64 mdev-rm -R "$root" --all
says '--all needs a parent'
expect 64 mdev-rm -R "$root" --all --leftovers -p mtty
expect 64 mdev-rm -R "$root" --leftovers $p40
expect 64 mdev-rm -R "$root" -w x $p40
expect 64 mdev-rm -R "$root" -o nothing $p40
expect 64 mdev-rm --wrong
[ "$(id -u)" -eq 0 ] || expect 77 mdev-rm $p40
expect 0 mdev-rm --version
expect 0 mdev-rm --help
for long in all dry-run force header help json leftovers null output parent quiet raw root timeout \
	undefine verbose version wait; do
	grep -q -- "--$long" "$dir/out" || fail "--help lacks --$long"
done
[ "$(wc -l <"$dir/out")" -le 24 ] || fail '--help is long'
exit "$failed"
