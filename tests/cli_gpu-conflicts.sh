#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gpu-conflicts on a text fixture, with records as pve-hostpci-ls and lxc-gpu-ls print
# them.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
fixture conflicts
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT

call() { timeout 60 "$@" <"$dir/in"; }
# records LINE...: records, fields set apart by blanks
records() { printf '%s\n' "$@" | tr ' ' '\t' >"$dir/in"; }
conf() { mkdir -p "$root/etc/pve-gpu-utils"; printf '%b' "$1" >"$root/etc/pve-gpu-utils/pve-gpu-utils.conf"; }

# Nothing, and one line, are ordinary input.
: >"$dir/in"
expect 0 gpu-conflicts
prints ''; silent
expect 0 gpu-conflicts --for qemu/100
prints ''; silent
expect 0 gpu-conflicts -v --for 100
says 'qemu/100 has no GPU in these records'
records 'qemu/100 hostpci0 0 0000:02:00.0 - - stopped pve1 ok -'
expect 0 gpu-conflicts
prints ''; silent
expect 0 gpu-conflicts --for 100
prints ''; silent
printf 'qemu/100\thostpci0\t0\t0000:02:00.0\t-\t-\tstopped\tpve1\tok\t-' >"$dir/in"
expect 0 gpu-conflicts --for 100
prints ''; silent

# All kinds in one listing.
records 'qemu/100 hostpci0 0 0000:01:00.0 - - stopped pve1 ok -' \
	'qemu/100 hostpci0 0 0000:01:00.1 - - stopped pve1 ok -' \
	'qemu/101 hostpci0 0 0000:02:00.0 - - running pve1 ok cmdline' \
	'qemu/102 hostpci0 0 0000:03:00.0 - - stopped pve1 ok -' \
	'qemu/103 hostpci0 0 0000:02:00.0 - - stopped pve1 ok -' \
	'qemu/104 hostpci0 0 0000:41:00.0 - - stopped pve1 ok -' \
	'qemu/105 hostpci0 0 0000:41:00.1 - vf running pve1 ok cmdline' \
	'qemu/105 hostpci0 1 0000:41:00.2 - vf running pve1 ok -' \
	'qemu/106 hostpci0 0 0000:82:00.0 nvidia-63 - running pve1 ok cmdline' \
	'qemu/107 hostpci0 0 0000:82:00.0 nvidia-63 - running pve1 ok cmdline' \
	'qemu/108 hostpci0 0 0000:82:00.0 nvidia-64 - stopped pve1 ok -' \
	'lxc/200 dev0 0 0000:01:00.0 - - running pve1 ok config' \
	'qemu/900 hostpci0 0 0000:09:00.0 - vf - pve2 - -'
cp "$dir/in" "$dir/all"
expect 1 gpu-conflicts
prints '0000:01:00.0\thost-driver\tqemu/100,lxc/200\t1\tdriver nvidia
0000:01:00.0\tiommu-group\tqemu/100,lxc/200\t1\tgroup 14
0000:02:00.0\tfunction\tqemu/101,qemu/103\t1\t-
0000:02:00.0\tiommu-group\tqemu/101,qemu/102,qemu/103\t1\tgroup 15
0000:41:00.0\tpf-vf\tqemu/104,qemu/105\t1\tvirtual functions
0000:41:00.1\tfunction\tqemu/105,qemu/900\t1\tmapping vf
0000:41:00.2\tfunction\tqemu/105,qemu/900\t1\tmapping vf
0000:82:00.0\tmdev\tqemu/106,qemu/107,qemu/108\t2\tparent 0000:82:00.0 nvidia-63,nvidia-64
'
silent
expect 1 gpu-conflicts -H -o kind,addr
head -n 1 "$dir/out" | grep -qx '#kind	addr' || fail 'header'
expect 1 gpu-conflicts --json -o addr,running
head -n 1 "$dir/out" | grep -qx '{"addr":"0000:01:00.0","running":1}' || fail 'json'
expect 1 gpu-conflicts "$dir/in" /dev/null
[ "$(wc -l <"$dir/out")" -eq 8 ] || fail 'operands'

# The fewest guests to stop.
expect 1 gpu-conflicts --for qemu/103
prints 'qemu/101\t0000:02:00.0\tfunction\n'; silent
expect 1 gpu-conflicts --for=102
prints 'qemu/101\t0000:02:00.0\tiommu-group\n'
expect 1 gpu-conflicts --for 104
prints 'qemu/105\t0000:41:00.1\tpf-vf\n'
expect 1 gpu-conflicts --for 108
prints 'qemu/106\t0000:82:00.0\tmdev\nqemu/107\t0000:82:00.0\tmdev\n'
expect 0 gpu-conflicts --for 101
prints ''
expect 1 gpu-conflicts -v --for 103
says 'qemu/103: in the way as things stand: qemu/101'
says 'qemu/103: PVE will choose 0000:02:00.0'
says 'stopping qemu/101 frees 0000:02:00.0 (function)'
expect 1 gpu-conflicts -j --for 103
prints '{"guest":"qemu/101","addrs":"0000:02:00.0","kinds":"function"}\n'
expect 1 gpu-conflicts -o guest --for 103
prints 'qemu/101\n'
tr '\n' '\0' <"$dir/all" >"$dir/in"
expect 1 gpu-conflicts -0 --for 103
[ "$(tr '\0' '\n' <"$dir/out")" = "qemu/101	0000:02:00.0	function" ] || fail '--null'
cp "$dir/all" "$dir/in"

# A process of the host: in the way, unless its unit may be stopped for it.
expect 75 gpu-conflicts --for 100
prints ''
says 'qemu/100 cannot start now: process 4711 (ollama) of ollama.service uses 0000:01:00.0'
conf '[backup]\nhost-services = ollama\n'
expect 1 gpu-conflicts --for 100
prints 'lxc/200\t0000:01:00.0\thost-driver,iommu-group\nunit/ollama.service\t0000:01:00.0\thost-driver\n'
conf '[backup]\nnever-stop = 101\n'
expect 69 gpu-conflicts --for 103
prints ''
says 'qemu/103 cannot start whoever is stopped: qemu/101 in the way'
conf '[gpu-groups]\ngroup = 0000:03:00.0 103 105\n'
expect 1 gpu-conflicts --for 103
prints 'qemu/101\t0000:02:00.0\tfunction\nqemu/105\t0000:03:00.0\tdeclared\n'
expect 1 gpu-conflicts
grep -q 'declared	qemu/103,qemu/105	1	' "$dir/out" || fail 'declared'
conf '[backup]\nnever-stopp = 101\n'
expect 78 gpu-conflicts --for 103
prints ''
says 'never-stopp'
rm -r "$root/etc/pve-gpu-utils"

# A managed guest is not stopped with ha = refuse: the plan goes round it.
records 'qemu/100 hostpci0 0 0000:41:00.1 - vf stopped pve1 ok -' \
	'qemu/100 hostpci0 1 0000:41:00.2 - vf stopped pve1 ok -' \
	'qemu/101 hostpci0 0 0000:41:00.1 - - running pve1 ok cmdline' \
	'qemu/102 hostpci0 0 0000:41:00.2 - - running pve1 ok cmdline'
expect 1 gpu-conflicts -o guest --for 100
prints 'qemu/102\n'
mkdir -p "$root/etc/pve/ha"
printf 'vm: 102\n\tstate started\n' >"$root/etc/pve/ha/resources.cfg"
printf 'name: ha\nhostpci0: 0000:41:00.2\n' >"$root/etc/pve/nodes/pve1/qemu-server/102.conf"
expect 1 gpu-conflicts -o guest --for 100
prints 'qemu/101\n'
conf '[backup]\nha = stop\n'
expect 1 gpu-conflicts -o guest --for 100
prints 'qemu/102\n'
rm -r "$root/etc/pve-gpu-utils" "$root/etc/pve/ha"

# What no stop can help.
records 'qemu/100 hostpci0 0 0000:09:00.0 - - stopped pve1 missing -'
expect 69 gpu-conflicts --for 100
says 'hostpci0: 0000:09:00.0 is not there'
records 'qemu/100 hostpci0 0 - - gone stopped pve1 no-mapping -'
expect 69 gpu-conflicts --for 100
says "mapping 'gone' has no device on this node"

records 'qemu/100 hostpci0 0 - - - stopped pve1 refused -' \
	'qemu/100 hostpci1 0 0000:02:00.0 - - stopped pve1 ok -' \
	'qemu/101 hostpci0 0 0000:02:00.0 - - running pve1 ok cmdline'
expect 69 gpu-conflicts --for 100
prints ''
says 'hostpci0: Proxmox VE refuses to start with this value'
# It is in nobody's way, not on another node either.
records 'qemu/101 hostpci0 0 0000:02:00.0 - m stopped pve1 ok -' \
	'qemu/900 hostpci0 0 - - m - pve2 refused -'
expect 0 gpu-conflicts
prints ''

# Without an IOMMU no VM gets a device; containers do.
mkdir -p "$root/sys/class/iommu"
cp "$dir/all" "$dir/in"
expect 69 gpu-conflicts --for 103
prints ''
says 'this host has no IOMMU'
expect 0 gpu-conflicts --for lxc/200
expect 0 gpu-conflicts --for 101
mkdir "$root/sys/class/iommu/dmar0"
expect 1 gpu-conflicts --for 103
rm -r "$root/sys/class"

# Bad lines are named; a plan is not made of half the records.
{ cat "$dir/all"; printf 'qemu/109\thostpci0\n'; } >"$dir/in"
expect 65 gpu-conflicts
says 'standard input:14:'
[ "$(wc -l <"$dir/out")" -eq 8 ] || fail 'the good lines'
expect 65 gpu-conflicts --for 103
prints ''
records 'qemu/1 hostpci0 0 0000:02:00.0 - - stopped pve1 ok -'
expect 65 gpu-conflicts
says 'standard input:1:'
records 'qemu/100 hostpci0 0 0000:02:00.9 - - stopped pve1 ok -'
expect 65 gpu-conflicts
head -c 1048576 /dev/zero | tr '\0' x >"$dir/in"
expect 65 gpu-conflicts
expect 66 gpu-conflicts "$dir/nonexistent"
says "$dir/nonexistent"

# Use.
: >"$dir/in"
expect 64 gpu-conflicts --bogus
expect 64 gpu-conflicts --for ../100
says 'not a guest: ../100'
expect 64 gpu-conflicts -j -0
expect 64 gpu-conflicts -o nothing
says 'nothing: no such field'
expect 0 gpu-conflicts --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail 'help is long'
expect 0 gpu-conflicts -V
grep -q '^gpu-conflicts (pve-gpu-utils) ' "$dir/out" || fail 'version'
expect 74 sh -c 'gpu-conflicts --help >/dev/full'

# Ten thousand guests.
awk 'BEGIN { for (i = 0; i < 10000; i++)
	printf "qemu/%d\thostpci0\t0\t0000:02:00.0\t-\t-\t%s\tpve1\tok\t%s\n", 100 + i,
		i ? "stopped" : "running", i ? "-" : "cmdline" }' >"$dir/in"
expect 1 gpu-conflicts --for 9999
prints 'qemu/100\t0000:02:00.0\tfunction\n'
expect 1 gpu-conflicts -o kind,running
prints 'function\t1\n'

exit "$failed"
