#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdev-mk on a text fixture: choice, writes, definitions, what it prints.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
p40=$root/sys/devices/pci0000:00/0000:82:00.0
a40=$root/sys/devices/pci0000:00
uuid=83b8f4f2-509f-382f-3c1e-e6bfe0fa1042

fixture vgpu "$dir/new"

# Plain files keep the first bytes of what they had: each part begins anew.
fresh() {
	rm -rf "$root"
	cp -a "$dir/new" "$root"
}
nothing() { [ ! -s "$dir/out" ] || { fail "$1: printed something"; cat "$dir/out" >&2; }; }
create=$p40/mdev_supported_types/nvidia-50/create

# Each way to say the same type.
for name in nvidia-50 'GRID P40-6Q' 'grid p40-6q' P40-6Q 6q; do
	fresh
	expect 0 mdev-mk -R "$root" -p 00000000:82:00.0 -t "$name" -u "$uuid"
	silent
	prints "$uuid\tnvidia-50\tGRID P40-6Q\t0000:82:00.0\t-\t-\tmdev\n" "$name"
	holds "$create" "$uuid"
done

# A random UUID, version 4, and no other card is touched.
fresh
expect 0 mdev-mk -R "$root" -t 6q -o id,type
grep -Eqx '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}	nvidia-50' "$dir/out" ||
	fail 'a random UUID'
holds "$create" "$(cut -f 1 "$dir/out")"
expect 0 mdev-mk -R "$root" -t mtty-2 -p mtty -u "$uuid" -j
prints "{\"id\":\"$uuid\",\"type\":\"mtty-2\",\"name\":\"Dual port serial\",\"parent\":\"mtty\",\"group\":null,\"start\":null,\"backend\":\"mdev\"}\n" mtty
holds "$root/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/create" "$uuid"

# More than one type, and none.
fresh
cp -r "$p40/mdev_supported_types/nvidia-50" "$p40/mdev_supported_types/nvidia-51"
echo 'GRID P41-6Q' >"$p40/mdev_supported_types/nvidia-51/name"
expect 64 mdev-mk -R "$root" -t 6q
says '6q is more than one'
says '-p 0000:82:00.0 -t nvidia-50: GRID P40-6Q (nvidia-50), 2 left'
says '-p 0000:82:00.0 -t nvidia-51: GRID P41-6Q (nvidia-51), 2 left'
nothing 'two types'
holds "$create" ''
expect 66 mdev-mk -R "$root" -t 99q
says "no type 99q; see 'mdev-ls --types'"
expect 66 mdev-mk -R "$root" -p 99:00.0 -t 6q
says 'no such parent: 0000:99:00.0'
expect 69 mdev-mk -R "$root" -p 03:00.0 -t 6q
says 'offers no vGPUs'

# Too few: nothing is begun. Too many for one VM: said.
fresh
expect 75 mdev-mk -R "$root" -t 6q -c 3
says 'GRID P40-6Q (nvidia-50) at 0000:82:00.0: 3 wanted, 2 left'
holds "$create" ''
expect 75 mdev-mk -R "$root" -t 12c
says '1 wanted, 0 left: another size is in use'
expect 0 mdev-mk -R "$root" -t 6q -c 2
says 'give each to another VM: on Maxwell and Pascal boards'
[ "$(wc -l <"$dir/out")" -eq 2 ] || fail 'two lines'
expect 0 mdev-mk -q -R "$root" -t 6q -c 2
silent

# More than anything has: said at once. With a wrong field nothing is made either.
fresh
# shellcheck disable=SC2016 # its own
expect 75 sh -c 'ulimit -t $1; exec mdev-mk -R "$2" -t 6q -c 65535' sh $((5 * ${TEST_SLOW:-1})) "$root"
says '65535 wanted, 2 left'
for bad in '-o id,nothing' '-j -0'; do
	# shellcheck disable=SC2086 # words that belong apart
	expect 64 mdev-mk -R "$root" -t 6q $bad
	holds "$create" ''
done

# One UUID, once on a host.
fresh
expect 73 mdev-mk -R "$root" -p 82:00.0 -t 6q -u 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
says '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 is there already, as mtty-1 at mtty'
expect 64 mdev-mk -R "$root" -t 6q -u "$uuid" -u "$(echo "$uuid" | tr a-f A-F)"
says "named twice: $uuid"
expect 64 mdev-mk -R "$root" -t 6q -u "${uuid%?}"
says 'not a UUID'
holds "$create" ''
expect 0 mdev-mk -R "$root" -t 6q -u 334852FE-079B-11EE-9FC7-77463608F467 -o id,group,start
prints '334852fe-079b-11ee-9fc7-77463608f467\t91\tauto\n' 'what is there is as good'
holds "$create" ''

# Definitions, as mdevctl writes them.
fresh
expect 0 mdev-mk -R "$root" -t 6q -u "$uuid" --define
printf '{\n  "mdev_type": "nvidia-50",\n  "start": "manual",\n  "attrs": []\n}' >"$dir/want"
cmp "$dir/want" "$root/etc/mdevctl.d/0000:82:00.0/$uuid" || fail 'a definition'
[ ! -e "$root/etc/pve-gpu-utils/mdev-autostart" ] || fail '--define switches nothing on'
expect 0 mdev-mk -R "$root" -u 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 --auto -o start
prints 'auto\n' 'what exists is defined'
grep -q '"start": "auto"' "$root/etc/mdevctl.d/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001" ||
	fail 'it is auto now'
[ -e "$root/etc/pve-gpu-utils/mdev-autostart" ] || fail '--auto switches it on'
expect 66 mdev-mk -R "$root" -u 00000000-0000-4000-8000-000000000000
says 'neither exists nor is defined'
echo 1 >"$p40/mdev_supported_types/nvidia-286/available_instances"
expect 0 mdev-mk -R "$root" -u 334855e2-079b-11ee-9fc9-83e0dccb6713 -o id,start
prints '334855e2-079b-11ee-9fc9-83e0dccb6713\tmanual\n' 'from its definition'
holds "$p40/mdev_supported_types/nvidia-286/create" 334855e2-079b-11ee-9fc9-83e0dccb6713

# Attributes come after; one that cannot be written takes all back.
fresh
expect 73 mdev-mk -R "$root" -t 6q -u "$uuid" --auto --attr=nvidia/vgpu_params=frame_rate_limiter=0
says "$uuid: attribute nvidia/vgpu_params: No such file or directory"
says '1 of 1 made by this call: removed again'
[ ! -e "$root/etc/mdevctl.d/0000:82:00.0/$uuid" ] || fail 'a definition of nothing'
expect 0 mdev-mk -R "$root" -n -t 6q -u "$uuid" --auto --attr=a=1 --attr=a=2
prints "echo $uuid > $root/sys/class/mdev_bus/0000:82:00.0/mdev_supported_types/nvidia-50/create\necho 1 > $root/sys/bus/mdev/devices/$uuid/a\necho 2 > $root/sys/bus/mdev/devices/$uuid/a\nprintf '%s' '{\n  \"mdev_type\": \"nvidia-50\",\n  \"start\": \"auto\",\n  \"attrs\": [\n    {\n      \"a\": \"1\"\n    },\n    {\n      \"a\": \"2\"\n    }\n  ]\n}' > $root/etc/mdevctl.d/0000:82:00.0/$uuid\n" 'a dry run'
[ ! -e "$root/etc/pve-gpu-utils/mdev-autostart" ] || fail 'a dry run switches nothing on'
# What a dry run prints can be given to a shell.
expect 0 mdev-mk -R "$root" -n -t 6q -u "$uuid" --define --attr="a=it's \$x * 1"
sed -i "s,$root,$dir/dry," "$dir/out"
mkdir -p "$dir/dry/etc/mdevctl.d/0000:82:00.0"
sh "$dir/out"
grep -qF "\"a\": \"it's \$x * 1\"" "$dir/dry/etc/mdevctl.d/0000:82:00.0/$uuid" || fail 'a dry run: not as given'
for bad in nothing =1 ../x=1 /x=1; do
	expect 64 mdev-mk -R "$root" -t 6q --attr="$bad"
done

# NVIDIA's VFIO: the first free VF that offers it.
fresh
echo 'ID : vGPU Name
6 : NVIDIA A40-8Q' >"$a40/0000:41:00.6/nvidia/creatable_vgpu_types"
: >"$a40/0000:41:00.4/nvidia/creatable_vgpu_types"
expect 0 mdev-mk -R "$root" -t 6 -p 41:00.0 --auto
silent
prints '0000:41:00.6\tnvidia-6\tNVIDIA A40-8Q\t0000:41:00.0\t52\tauto\tnvidia\n' 'a VF'
holds "$a40/0000:41:00.6/nvidia/current_vgpu_type" 6
printf '{\n  "mdev_type": "nvidia-6",\n  "start": "auto",\n  "attrs": []\n}' >"$dir/want"
cmp "$dir/want" "$root/etc/pve-gpu-utils/vgpu.d/0000:41:00.0/0000:41:00.6" || fail 'its definition'
expect 75 mdev-mk -R "$root" -t nvidia-6 -p 41:00.4
fresh
expect 0 mdev-mk -n -R "$root" -t 8q -c 2
prints "echo 660 > $root/sys/bus/pci/devices/0000:41:00.4/nvidia/current_vgpu_type\necho 660 > $root/sys/bus/pci/devices/0000:41:00.6/nvidia/current_vgpu_type\n" 'two VFs'
expect 66 mdev-mk -R "$root" -t 8q -u 82:00.0
says 'not a VF of 0000:41:00.0'

# Plain SR-IOV.
expect 0 mdev-mk -n -R "$root" -p 05:00.0 -t vf -c 4
prints "echo 4 > $root/sys/bus/pci/devices/0000:05:00.0/sriov_numvfs\n" VFs
expect 75 mdev-mk -R "$root" -p 00:02.0 -t vf -c 3
says 'their number changes only through 0'
expect 73 mdev-mk -R "$root" -p 05:00.0 -t vf -c 64
says '0000:05:00.0 can have 63 VFs at most'
expect 0 mdev-mk -R "$root" -p 00:02.0 -t vf -c 2 --auto -o id,start
prints '0000:00:02.1\tauto\n0000:00:02.2\tauto\n' 'VFs that are there'
grep -q '"numvfs": 2' "$root/etc/pve-gpu-utils/vgpu.d/0000:00:02.0/0000:00:02.0" || fail numvfs
expect 64 mdev-mk -R "$root" -u 00:02.1
says 'made and defined together: -u 0000:00:02.0'

# For libvirt and for Proxmox VE.
fresh
expect 0 mdev-mk -R "$root" -u 334852fe-079b-11ee-9fc7-77463608f467 --xml
prints "<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='on'>\n  <source>\n    <address uuid='334852fe-079b-11ee-9fc7-77463608f467'/>\n  </source>\n</hostdev>\n" xml
expect 0 mdev-mk -R "$root" -t mtty-2 -u "$uuid" --xml
grep -q "display='off'" "$dir/out" || fail 'a display for Q alone'
expect 0 mdev-mk -R "$root" -u 41:00.5 --xml
prints "<hostdev mode='subsystem' type='pci' managed='no'>\n  <source>\n    <address domain='0x0000' bus='0x41' slot='0x00' function='0x5'/>\n  </source>\n</hostdev>\n" 'xml of a VF'
expect 0 mdev-mk -R "$root" -p 41:00.5 -t 660 --pve
prints 'hostpci0: 0000:41:00.5,mdev=nvidia-660\n' 'what is there on a VF'
expect 0 mdev-mk -R "$root" -u 41:00.5 --pve
prints 'hostpci0: 0000:41:00.5,mdev=nvidia-660\n' 'hostpci of a VF'
expect 0 mdev-mk -R "$root" -p 00:02.0 -t vf -c 2 --pve
prints 'hostpci0: 0000:00:02.1\nhostpci1: 0000:00:02.2\n' 'hostpci of VFs'
expect 0 mdev-mk -R "$root" -u 00000001-0000-0000-0000-000000000101 --pve
prints 'hostpci1: mtty,mdev=mtty-1\n' "PVE's UUID"
expect 0 mdev-mk -R "$root" -u 334852fe-079b-11ee-9fc7-77463608f467 --pve
prints 'args: -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/334852fe-079b-11ee-9fc7-77463608f467\n' 'args'

# At boot: what is auto, of all, of one card, on one VF.
fresh
auto=$root/etc/mdevctl.d/0000:82:00.0/$uuid
printf '{"mdev_type": "nvidia-50", "start": "auto"}' >"$auto"
expect 0 mdev-mk -R "$root" --start-auto -v 82:00.0
holds "$create" "$uuid"
says '334852fe-079b-11ee-9fc7-77463608f467: nvidia-50 at 0000:82:00.0 is there'
nothing 'a boot'
printf '{"mdev_type": "nvidia-99", "start": "auto"}' >"$auto"
mkdir -p "$root/etc/mdevctl.d/0000:99:00.0" "$root/etc/pve-gpu-utils/vgpu.d/0000:41:00.0"
cp "$auto" "$root/etc/mdevctl.d/0000:99:00.0/$uuid"
printf '{"mdev_type": "nvidia-6", "start": "auto", "attrs": []}' \
	>"$root/etc/pve-gpu-utils/vgpu.d/0000:41:00.0/0000:41:00.6"
echo 'no JSON' >"$root/etc/mdevctl.d/0000:82:00.0/83b8f4f2-509f-382f-3c1e-e6bfe0fa1043"
echo '6 : NVIDIA A40-8Q' >"$a40/0000:41:00.6/nvidia/creatable_vgpu_types"
expect 69 mdev-mk -R "$root" --start-auto all
says "$uuid: nvidia-99 at 0000:82:00.0: 0000:82:00.0 offers no type nvidia-99"
says "$uuid: nvidia-99 at 0000:99:00.0: there is no 0000:99:00.0, or it offers no vGPUs"
says '83b8f4f2-509f-382f-3c1e-e6bfe0fa1043: no JSON'
holds "$a40/0000:41:00.6/nvidia/current_vgpu_type" 6
expect 0 mdev-mk -R "$root" --start-auto 41:00.6
expect 0 mdev-mk -R "$root" --start-auto 41:00.7
expect 69 mdev-mk -R "$root" --start-auto --wait=1 99:00.0

# One at a time.
fresh
mkdir -p "$root/run/pve-gpu-utils"
if command -v flock >/dev/null; then
	exec 9>"$root/run/pve-gpu-utils/vgpu.lock"
	flock 9
	mdev-mk -R "$root" -t 6q -u "$uuid" >"$dir/out" 2>&1 9>&- &
	sleep 1
	holds "$create" ''
	exec 9>&-
	wait $! || fail 'after the lock'
	holds "$create" "$uuid"
fi

# Options.
expect 64 mdev-mk -R "$root"
says 'make what?'
expect 64 mdev-mk -R "$root" -t 6q --define --auto
says '--define and --auto exclude each other'
expect 64 mdev-mk -R "$root" -t 6q --xml --pve
expect 64 mdev-mk -R "$root" -t 6q x
says 'unexpected operand: x'
expect 64 mdev-mk -R "$root" --start-auto -t 6q
expect 64 mdev-mk -R "$root" --start-auto a b
expect 64 mdev-mk -R "$root" -t 6q -c 0
expect 64 mdev-mk -R "$root" -t 6q -c 1 -u "$uuid" -u 83b8f4f2-509f-382f-3c1e-e6bfe0fa1043
expect 64 mdev-mk -R "$root" -c 2 -u "$uuid"
expect 64 mdev-mk --wrong
[ "$(id -u)" -eq 0 ] || expect 77 mdev-mk -t 6q
expect 0 mdev-mk --version
expect 0 mdev-mk --help
for long in attr auto count define dry-run header help json null output parent pve quiet raw root \
	start-auto type uuid verbose version wait xml; do
	grep -q -- "--$long" "$dir/out" || fail "--help lacks --$long"
done
[ "$(wc -l <"$dir/out")" -le 24 ] || fail '--help is long'
exit "$failed"
