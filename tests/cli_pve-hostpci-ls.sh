#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pve-hostpci-ls on a text fixture; UPDATE_EXPECTED=1 rewrites the expected files.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
conf=$root/etc/pve/nodes/pve1/qemu-server
fixture list-pve1

# run VMID PID [-device WORD]...: the VM runs
run() {
	vmid=$1 pid=$2
	shift 2
	mkdir -p "$root/proc/$pid"
	echo "$pid" >"$root/run/qemu-server/$vmid.pid"
	{
		printf '/usr/bin/kvm\0-id\0%s\0-pidfile\0/var/run/qemu-server/%s.pid\0' "$vmid" "$vmid"
		[ $# -eq 0 ] || printf '%s\0' "$@"
	} >"$root/proc/$pid/cmdline"
	echo "$pid (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0" >"$root/proc/$pid/stat"
}

# Nothing runs: what each VM will be given at its next start.
expect 65 pve-hostpci-ls -R "$root" -H
same list-pve1.stopped.tsv "$dir/out"
same list-pve1.stopped.err "$dir/err"
PVE_GPU_ROOT=$root expect 65 pve-hostpci-ls
[ "$(wc -l <"$dir/out")" -eq 27 ] || fail "PVE_GPU_ROOT"

# Some run: what they hold, beside what their configs name.
run 100 7100 -device vfio-pci,host=0000:01:00.0,id=hostpci0.0 -device vfio-pci,host=0000:01:00.1,id=hostpci0.1
run 102 7102 -S -device vfio-pci,host=0000:02:00.0,id=hostpci0.0 -device vfio-pci,host=0000:02:00.1,id=hostpci0.1
run 104 7104 -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/00000000-0000-0000-0000-000000000104,id=hostpci0 \
	-device vfio-pci,host=0000:83:00.4,id=hostpci1
run 105 7105
run 110 7110 -device vfio-pci,host=0000:06:00.0,id=hostpci3
run 1000 8000
echo '0000:06:00.0 1000 pid:8000' >"$root/run/qemu-server/pci-id-reservations"
expect 65 pve-hostpci-ls -R "$root"
same list-pve1.running.tsv "$dir/out"

# One that was started with another value than its config has now.
run 106 7106 -device vfio-pci,host=0000:41:00.0,id=hostpci2
expect 65 pve-hostpci-ls -R "$root" -o key,addr,status,held 106
grep '^hostpci2' "$dir/out" >"$dir/two"
mv "$dir/two" "$dir/out"
prints 'hostpci2\t-\trefused\t-\nhostpci2\t0000:41:00.0\tok\tcmdline\n' 'refused, and held'
rm "$root/run/qemu-server/106.pid"

# Single guests, in any order, given twice: sorted, once.
expect 0 pve-hostpci-ls -R "$root" -o guest,addr,held qemu/1000 102 102
prints 'qemu/102\t0000:41:00.0\t-\nqemu/102\t0000:02:00.0\tcmdline\nqemu/102\t0000:02:00.1\tcmdline\nqemu/1000\t0000:06:00.0\treservation\n' operands
silent

# Sections.
expect 0 pve-hostpci-ls -R "$root" --section current -o key,addr,held 101
prints 'hostpci0\t0000:01:00.0\t-\nhostpci0\t0000:01:00.1\t-\nhostpci1\t0000:41:00.0\t-\n' current
expect 0 pve-hostpci-ls -R "$root" --section pending -o guest,addr
prints 'qemu/100\t0000:02:00.0\nqemu/100\t0000:02:00.1\nqemu/101\t0000:02:00.0\nqemu/101\t0000:02:00.1\n' pending
silent
expect 0 pve-hostpci-ls -R "$root" --section before -o guest,addr
prints 'qemu/100\t0000:41:00.0\n' snapshot
expect 66 pve-hostpci-ls -R "$root" --section nosuch 100
says "qemu/100: no snapshot 'nosuch'"
expect 0 pve-hostpci-ls -R "$root" --section nosuch
expect 64 pve-hostpci-ls -R "$root" --section ../x

# Other nodes: by their configs alone.
expect 0 pve-hostpci-ls -R "$root" -N pve2
prints 'qemu/120\thostpci0\t0\t0000:c1:00\t-\tgpu\t-\tpve2\t-\t-\nqemu/120\thostpci1\t0\t0000:01:00\t-\t-\t-\tpve2\t-\t-\n' '-N'
silent
expect 65 pve-hostpci-ls -R "$root" -a -o guest,node
grep -q '^qemu/120	pve2$' "$dir/out" || fail "-a misses pve2"
cut -f 1 "$dir/out" | sort -t / -k 2n -s -c || fail "-a is not sorted"
expect 66 pve-hostpci-ls -R "$root" -N pve9
says 'pve9: no such node'
expect 66 pve-hostpci-ls -R "$root" -a 100 4711
says 'qemu/4711: no such VM on any node'
expect 64 pve-hostpci-ls -R "$root" -N ../pve1
expect 64 pve-hostpci-ls -R "$root" -a -N pve1

# Formats.
expect 0 pve-hostpci-ls -R "$root" -v 100
says "qemu/100 runs, process 7100"
expect 0 pve-hostpci-ls -R "$root" -j -o guest,alt,addr,mapping 100
prints '{"guest":"qemu/100","alt":0,"addr":"0000:01:00.0","mapping":null}\n{"guest":"qemu/100","alt":0,"addr":"0000:01:00.1","mapping":null}\n' '-j'
pve-hostpci-ls -R "$root" -0 -o addr 100 | tr '\0' ';' >"$dir/out"
prints '0000:01:00.0;0000:01:00.1;' '-0'
expect 64 pve-hostpci-ls -R "$root" -j -0
expect 64 pve-hostpci-ls -R "$root" -o guest,nope
says 'nope: no such field'

# Operands that are no VMID, and VMIDs that are nobody's.
for operand in ../100 100/../101 abc 99 0100 1000000000 12345678901234567890 '' 100.conf qemu/x; do
	expect 64 pve-hostpci-ls -R "$root" "$operand"
	says "is no VMID"
	[ ! -s "$dir/out" ] || fail "'$operand' printed something"
done
expect 64 pve-hostpci-ls -R "$root" lxc/200
says 'lxc/200 is no VM: ask lxc-gpu-ls'
expect 66 pve-hostpci-ls -R "$root" 4711 102
says 'qemu/4711: no such VM on node pve1'
[ "$(wc -l <"$dir/out")" -eq 3 ] || fail "one VM that is missing hides another"
expect 66 pve-hostpci-ls -R "$dir/none"
says 'is not there: is this a node of Proxmox VE'
expect 64 pve-hostpci-ls --nope
expect 0 pve-hostpci-ls --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
expect 0 pve-hostpci-ls --version
expect 74 sh -c "pve-hostpci-ls -R '$root' 100 >/dev/full"

# Bad input. Nothing else may get lost for it.
rm "$conf"/106.conf
bad() { # EXIT WORDS: of VM 150
	expect "$1" pve-hostpci-ls -R "$root" 150 102
	[ -z "$2" ] || says "$2"
	[ "$(grep -c ^qemu/102 "$dir/out")" -eq 3 ] || fail "VM 102 got lost for '$2'"
}
mkdir "$conf/150.conf"
bad 65 'qemu/150: config is not a regular file'
expect 65 pve-hostpci-ls -R "$root"
rmdir "$conf/150.conf"
ln -s nowhere "$conf/150.conf"
bad 65 'qemu/150: config is a link that leads nowhere'
rm "$conf/150.conf"
mkfifo "$conf/150.conf"
bad 65 'qemu/150: config is not a regular file'
rm "$conf/150.conf"
head -c 1048577 /dev/zero | tr '\0' x >"$conf/150.conf"
bad 65 'qemu/150: config is larger than 1 MiB'
{ printf 'args: '; head -c 1048000 /dev/zero | tr '\0' x; printf '\nhostpci0: 41:00.0'; } >"$conf/150.conf"
bad 0 ''
grep -q '^qemu/150	hostpci0	0	0000:41:00.0' "$dir/out" || fail "a long line, no final newline"
{ printf 'hostpci0: 41:00.0,romfile='; head -c 1048000 /dev/zero | tr '\0' ';'; printf '\n'; } >"$conf/150.conf"
bad 65 'qemu/150: hostpci0: romfile:'
[ "$(wc -c <"$dir/err")" -lt 1000 ] || fail "a long value is printed whole"
printf 'hostpci0: 41:00\000.0\nhostpci1: 41:00.0\n' >"$conf/150.conf"
bad 65 'qemu/150: hostpci0: NUL byte in the value'
grep -q '^qemu/150	hostpci1	0	0000:41:00.0' "$dir/out" || fail "NUL byte"
printf 'hostpci0: 41:00.0\r\nhostpci1:\r\n' >"$conf/150.conf"
bad 65 'qemu/150: hostpci1: property contains a line feed'
: >"$conf/150.conf"
bad 0 ''
printf 'gpu\n\tmap id=10de:2204,node=pve1,path=41:00.0\n' >"$root/etc/pve/mapping/pci.cfg"
expect 65 pve-hostpci-ls -R "$root" -o status 102
says "/etc/pve/mapping/pci.cfg:2: gpu: map: path: '41:00.0' is not DDDD:BB:DD[.F]"
rm -r "$root/sys/bus/pci" "$root/etc/pve/mapping"
expect 0 pve-hostpci-ls -R "$root" -o addr,status 105
prints '10000:e1:00.0\tmissing\n0000:09:00\tmissing\n0000:09:00.3\tmissing\n' 'no PCI bus'
exit $failed
