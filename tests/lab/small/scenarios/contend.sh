# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pve-hostpci-ls and gpu-conflicts: groups, a PF and its VFs, as this kernel has them.

vm() { # VMID LINE...
	id=$1
	shift
	printf '%s\n' "$@" "memory: 64" >"/etc/pve/qemu-server/$id.conf"
}
list() { pve-hostpci-ls | gpu-conflicts -r; }
# contends KIND GUESTS: a line says so
contends() {
	list >/run/lab/conflicts || :
	cat /run/lab/conflicts
	grep -q "	$1	$2	" /run/lab/conflicts
}

machine() {
	hostname lab
	mkdir -p /etc/pve/nodes/lab/qemu-server /etc/pve/nodes/lab/lxc
	ln -s nodes/lab /etc/pve/local
	ln -s nodes/lab/qemu-server /etc/pve/qemu-server
	ln -s nodes/lab/lxc /etc/pve/lxc
	vfs 3
	vm 100 "hostpci0: $gpu"
	vm 101 "hostpci0: $gpu"
	vm 102 "hostpci0: ${slot%.0}"
	vm 103 "hostpci0: $slot_audio"
	vm 104 "hostpci0: $pf"
	vm 105 "hostpci0: ${pf%0}1"
	vm 106 "hostpci0: ${pf%0}2"
	vm 107 "hostpci0: ${arc%.0}"
	vm 108 "hostpci0: $arc_audio"
	vm 109 "hostpci0: $slot"

	check "every function is there" all_there
	check "a GPU given twice" contends "function" qemu/100,qemu/101
	check "GPU and audio in one slot" contends "function" qemu/102,qemu/103
	check "one group" contends iommu-group qemu/102,qemu/103,qemu/109
	check "a PF and its VFs" contends pf-vf qemu/104,qemu/105,qemu/106
	check "two VFs are nobody's business" not contends '[a-z-]*' qemu/105,qemu/106
	check "functions behind one switch have groups of their own" \
		not contends '[a-z-]*' qemu/107,qemu/108
	check "nothing else contends" only 5
	check "nobody has to stop" exits 0 sh -c 'pve-hostpci-ls | gpu-conflicts --for 100'

	lab_say "the groups are the kernel's own"
	check "two functions of one slot" same_group $slot $slot_audio
	check "a PF and its VF" not same_group $pf "${pf%0}1"
	check "two cards" not same_group $gpu $slot
	vfs 0
	rm -r /etc/pve
}

all_there() {
	pve-hostpci-ls -r -o guest,addr,status >/run/lab/all
	cat /run/lab/all
	[ "$(grep -c '	ok$' /run/lab/all)" = 11 ] && [ "$(grep -vc '	ok$' /run/lab/all)" = 0 ]
}
only() {
	list >/run/lab/conflicts || :
	cat /run/lab/conflicts
	[ "$(wc -l </run/lab/conflicts)" = "$1" ]
}
same_group() { [ "$(readlink $devices/$1/iommu_group)" = "$(readlink $devices/$2/iommu_group)" ]; }
