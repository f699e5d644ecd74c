# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# gpu-ls: its fields against this kernel's files, and the drawing of the tree.

# as_sysfs ADDR: a record built from the kernel's files, field by field
as_sysfs() {
	at=$devices/$1
	group=$(readlink "$at/iommu_group")
	reset=$(tr ' ' ',' <"$at/reset_method" 2>/dev/null) || reset=none
	{
		echo "$1"
		sed 's/^0x//' "$at/class"
		echo "$(sed 's/^0x//' "$at/vendor"):$(sed 's/^0x//' "$at/device")"
		driver "$1"
		echo "${group##*/}"
		echo "${reset:-none}"
		cat "$at/sriov_numvfs" 2>/dev/null || echo -
		cat "$at/sriov_totalvfs" 2>/dev/null || echo -
		echo -
		cat "$at/boot_vga" 2>/dev/null || echo -
		sed 's/^-1$/-/' "$at/numa_node"
	} >/run/lab/want
	gpu-ls -r -o addr,class,id,driver,iommu_group,reset,numvfs,totalvfs,mdev_types,boot_vga,numa_node "$1" |
		tr '\t' '\n' >/run/lab/got
	diff /run/lab/want /run/lab/got
}
lists() {
	gpu-ls -r -o addr | tr '\n' ' ' >/run/lab/got
	cat /run/lab/got
	[ "$(cat /run/lab/got)" = "$* " ]
}
# draws LINE: the drawing has this line; blanks count as one
draws() {
	tr -s ' ' </run/lab/tree | sed 's/ $//' >/run/lab/lines
	cat /run/lab/lines
	grep -qxF -- "$1" /run/lab/lines
}

machine() {
	vfs 2
	vfio-bind -q --to vfio-pci $slot
	echo >$devices/$arc/reset_method
	for addr in $primary $gpu $slot $slot_audio $arc $arc_top $pf "${pf%0}1" $drm $drm_audio $mixed_disk; do
		check "$addr as in sysfs" as_sysfs $addr
	done
	check "the GPUs and nothing else" lists $primary $gpu $slot $arc $drm $mixed $loose
	check "the name is that of pci.ids" test "$(gpu-ls -r -o name $gpu)" = \
		"Advanced Micro Devices, Inc. [AMD/ATI] Rage 4 [Rage 128 PRO AGP 4X]"
	check "what is not there" exits 66 gpu-ls ff:1f.7

	lab_say "the tree"
	hostname lab
	mkdir -p /etc/pve/nodes/lab/qemu-server
	ln -s nodes/lab /etc/pve/local
	ln -s nodes/lab/qemu-server /etc/pve/qemu-server
	printf 'hostpci0: %s\nmemory: 64\n' $arc >/etc/pve/qemu-server/100.conf
	gpu-ls --tree $arc $slot >/run/lab/tree
	sed 's/^/lab-tree: /' /run/lab/tree >$console
	group=$(readlink $devices/$arc/iommu_group)
	check "host bridge" grep -q '^pci0000:00 ' /run/lab/tree
	check "root port" draws "\`-0000:00:12.0 $(basename "$(readlink $devices/0000:00:12.0/iommu_group)") pcieport root port"
	check "switch" draws " \`-$arc_top $(basename "$(readlink $devices/$arc_top/iommu_group)") pcieport switch, upstream port"
	check "GPU" draws " \`-$arc ${group##*/} none Rage 4 [Rage 128 PRO AGP 4X]"
	check "guest" draws " \`-qemu/100 stopped: hostpci0"
	check "the other GPU" draws "| \`-$slot $(basename "$(readlink $devices/$slot/iommu_group)") vfio-pci bus Rage 4 [Rage 128 PRO AGP 4X]"
	rm -r /etc/pve
	vfio-bind -q --to host $slot
	echo on >$devices/$slot/power/control
	echo on >$devices/$slot_audio/power/control
	echo default >$devices/$arc/reset_method
	vfs 0
}
