#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdev-mk, mdev-rm and mdev-ls on NVIDIA's vendor-specific VFIO: a card with 24 GiB and
# eight VFs whose files answer as the driver does (nvidia-vfio.c).
# TRANSCRIPT=FILE: what a user types, and sees, goes there.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
pf=0000:41:00.0
bus=$root/sys/devices/pci0000:40
card=$bus/$pf

command -v "${CC:-cc}" >/dev/null || {
	echo 'skipped: no C compiler for the stand-in of the driver'
	exit 77
}
${CC:-cc} -O1 -Wall -Wextra -D_GNU_SOURCE -shared -fPIC -o "$dir/driver.so" "$src/nvidia-vfio.c"

# The VFs of a card whose driver was loaded just now: nothing is set.
function_at() { # ADDR GROUP
	mkdir -p "$bus/$1" "$root/sys/bus/pci/devices"
	ln -s "../../../devices/pci0000:40/$1" "$root/sys/bus/pci/devices/$1"
	echo 0x10de >"$bus/$1/vendor"
	echo 0x2236 >"$bus/$1/device"
	echo 0x030200 >"$bus/$1/class"
	ln -s ../../../bus/pci/drivers/nvidia "$bus/$1/driver"
	ln -s "../../../kernel/iommu_groups/$2" "$bus/$1/iommu_group"
}
fresh() { # [mixed]
	rm -rf "$root"
	mkdir -p "$root/sys/bus/pci/drivers/nvidia" "$root/etc" "$root/proc" "$root/run"
	function_at $pf 40
	echo 8 >"$card/sriov_totalvfs"
	echo 8 >"$card/sriov_numvfs"
	n=0
	for vf in 0000:41:00.4 0000:41:00.5 0000:41:00.6 0000:41:00.7 \
		0000:41:01.0 0000:41:01.1 0000:41:01.2 0000:41:01.3; do
		function_at $vf $((50 + n))
		ln -s ../$pf "$bus/$vf/physfn"
		ln -s ../$vf "$card/virtfn$n"
		mkdir -p "$bus/$vf/nvidia" "$bus/$vf/vfio-dev/vfio$n"
		echo 0 >"$bus/$vf/nvidia/current_vgpu_type"
		for file in creatable_vgpu_types placement_id vgpu_params; do
			: >"$bus/$vf/nvidia/$file"
		done
		n=$((n + 1))
	done
	{
		printf '%s\n' 'memory 24576' "$@" \
			'type 590 3072 NVIDIA A10-3Q' 'type 592 6144 NVIDIA A10-6Q' \
			'type 593 8192 NVIDIA A10-8Q' 'type 595 24576 NVIDIA A10-24Q' \
			'type 608 6144 NVIDIA A10-6C' 'type 614 3072 NVIDIA A10-3B'
	} >"$card/.card"
}
order() { printf '%s\n' "$@" >"$card/.orders"; }
writes() { cat "$card/.writes" 2>/dev/null || :; }

# The stand-in is preloaded before the sanitizer of a program that has one.
preloaded() {
	ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0" \
		LD_PRELOAD="$dir/driver.so" PVE_GPU_ROOT="$root" timeout 60 "$@"
}
tell() {
	[ -z "${TRANSCRIPT-}" ] || {
		printf '# '
		for word; do
			case $word in
			*\ *) printf "'%s' " "$word" ;;
			*) printf '%s ' "$word" ;;
			esac
		done
		printf '\n'
		cat "$dir/out" "$dir/err"
	} | sed "s|$root||g; s/ \$//" >>"$TRANSCRIPT"
}
expect() {
	want=$1
	shift
	rc=0
	preloaded "$@" >"$dir/out" 2>"$dir/err" || rc=$?
	tell "$@"
	[ "$rc" -eq "$want" ] || { fail "$* exited $rc, not $want"; cat "$dir/out" "$dir/err" >&2; }
}
# holds WANT TEXT: types of the eight VFs, as the driver has them
holds() {
	cat "$bus"/*/nvidia/current_vgpu_type | tr '\n' ' ' >"$dir/held"
	[ "$(cat "$dir/held")" = "$1 " ] || fail "$2: the VFs have $(cat "$dir/held"), not $1"
}
# left WANT TEXT: free instances of 3Q, 6Q, 8Q, 24Q, 6C, 3B
left() {
	preloaded mdev-ls -q -t -o available | tr '\n' ' ' >"$dir/left"
	[ "$(cat "$dir/left")" = "$1 " ] || fail "$2: left are $(cat "$dir/left"), not $1"
}
# wrote TEXT: on stdin, all writes since the card is fresh
wrote() { cat >"$dir/want"; writes | diff -u "$dir/want" - >&2 || fail "$1: other writes"; }
# by_hand VF VALUE ERROR: what a plain write gets
by_hand() {
	printf '%s\n' "$2" | preloaded dd "of=$bus/$1/nvidia/current_vgpu_type" conv=notrunc \
		status=none 2>"$dir/err" || :
	if [ -n "$3" ]; then
		grep -q "$3" "$dir/err" || fail "write $2 to $1: no '$3'"
	else
		silent "write $2 to $1"
	fi
}
list_of() { preloaded cat "$bus/$1/nvidia/creatable_vgpu_types"; }

# ---- the stand-in answers as the driver does ----

fresh
[ "$(list_of 0000:41:00.4 | wc -l)" = 7 ] || fail 'all types and a heading at first'
by_hand 0000:41:00.4 592 ''
[ -z "$(list_of 0000:41:00.4)" ] || fail 'a VF with a vGPU offers none'
list_of 0000:41:01.3 | sed 1d | cut -d: -f1 | tr -d ' ' | tr '\n' ' ' >"$dir/out"
[ "$(cat "$dir/out")" = '592 608 ' ] || fail 'siblings offer one size only'
by_hand 0000:41:00.4 608 'Device or resource busy'
by_hand 0000:41:00.5 590 'Input/output error'
by_hand 0000:41:00.5 999 'Invalid argument'
by_hand 0000:41:00.5 nonsense 'Invalid argument'
by_hand 0000:41:00.5 608 ''
by_hand 0000:41:00.6 592 ''
[ -n "$(list_of 0000:41:00.7)" ] || fail 'room for one more'
by_hand 0000:41:00.7 592 ''
[ -z "$(list_of 0000:41:01.0)" ] || fail 'a full card offers none'
by_hand 0000:41:01.0 592 'Input/output error'
holds '592 608 592 592 0 0 0 0' 'by hand'
order 'busy 0000:41:00.4'
by_hand 0000:41:00.4 0 'Device or resource busy'
by_hand 0000:41:00.4 0 ''
holds '0 608 592 592 0 0 0 0' 'released at the second try'
preloaded cat "$bus/0000:41:00.4/nvidia/placement_id" 2>"$dir/err" && fail 'a placement without a vGPU'
grep -q 'No such device or address' "$dir/err" || fail 'placement_id: not ENXIO'
preloaded cat "$bus/0000:41:00.5/nvidia/placement_id" || fail 'a placement with one'

# ---- four by name ----

fresh
[ -z "${TRANSCRIPT-}" ] || : >"$TRANSCRIPT"
expect 0 mdev-ls -H -t -o type,name,available,reason
expect 0 mdev-mk -H -t 6q -c 4
silent 'four 6Q'
prints '#id	type	name	parent	group	start	backend
0000:41:00.4	nvidia-592	NVIDIA A10-6Q	0000:41:00.0	50	-	nvidia
0000:41:00.5	nvidia-592	NVIDIA A10-6Q	0000:41:00.0	51	-	nvidia
0000:41:00.6	nvidia-592	NVIDIA A10-6Q	0000:41:00.0	52	-	nvidia
0000:41:00.7	nvidia-592	NVIDIA A10-6Q	0000:41:00.0	53	-	nvidia
' 'four 6Q'
holds '592 592 592 592 0 0 0 0' 'four 6Q'
wrote 'four 6Q' <<'END'
0000:41:00.4 592 ok
0000:41:00.5 592 ok
0000:41:00.6 592 ok
0000:41:00.7 592 ok
END
expect 0 mdev-ls -H -t -o type,name,available,reason
left '0 0 0 0 0 0' 'four 6Q'
expect 0 mdev-ls -H -o id,name,group,state,user
expect 75 mdev-mk -t 6q
says '0000:41:00.0: 1 wanted, 0 left'
says '4 x NVIDIA A10-6Q (nvidia-592)'
expect 0 mdev-mk -u 0000:41:00.5 --pve
prints 'hostpci0: 0000:41:00.5,mdev=nvidia-592\n' pve
expect 0 mdev-mk -u 0000:41:00.5 --xml
prints "<hostdev mode='subsystem' type='pci' managed='no'>
  <source>
    <address domain='0x0000' bus='0x41' slot='0x00' function='0x5'/>
  </source>
</hostdev>
" xml
expect 0 mdev-rm 0000:41:00.5 pci_0000_41_00_6
holds '592 0 0 592 0 0 0 0' 'two removed'
# An upper bound: six VFs are free, and each offers it.
left '0 6 0 0 6 0' 'two removed'
expect 0 mdev-rm --all -p 41:00.0
holds '0 0 0 0 0 0 0 0' 'all removed'
left '8 8 8 8 8 8' 'all removed: a VF each'

# The names of what is offered no more are known from the time when it was.
fresh
expect 0 mdev-mk -t 'nvidia a10-24q' -o id,type,name
prints '0000:41:00.4	nvidia-595	NVIDIA A10-24Q\n' 'by the whole name'
expect 0 mdev-ls -q -t -o name,available 6q
prints 'NVIDIA A10-6Q	0\n' 'none left, and its name'
expect 75 mdev-mk -t 6q -p pci_0000_41_00_0
says '0 left'
expect 0 mdev-rm 41:00.4

# ---- all or nothing ----

# Each of the eight VFs offers it, and four fill the card.
expect 0 mdev-rm --all -p 41:00.0
: >"$card/.writes"
expect 75 mdev-mk -t 6q -c 5
says 'NVIDIA A10-6Q (nvidia-592) at 0000:41:00.0'
says '4 of 5 made by this call: removed again'
holds '0 0 0 0 0 0 0 0' 'five do not fit'
wrote 'five do not fit' <<'END'
0000:41:00.4 592 ok
0000:41:00.5 592 ok
0000:41:00.6 592 ok
0000:41:00.7 592 ok
0000:41:00.7 0 ok
0000:41:00.6 0 ok
0000:41:00.5 0 ok
0000:41:00.4 0 ok
END
expect 75 mdev-mk -t 6q -c 9
says '9 wanted, 8 left'
# What was there before stays.
expect 0 mdev-mk -t 6c -c 2 -o id
prints '0000:41:00.4\n0000:41:00.5\n' 'two 6C'
expect 75 mdev-mk -t 6q -c 3
holds '608 608 0 0 0 0 0 0' 'two 6C stay'
expect 75 mdev-mk -t 3q
says 'another size'
holds '608 608 0 0 0 0 0 0' 'no other size'
expect 0 mdev-mk -t 6q -c 2 -o id,type
prints '0000:41:00.6	nvidia-592\n0000:41:00.7	nvidia-592\n' 'the same size, another series'
expect 0 mdev-rm --all -p 41:00.0

# Several sizes at a time, where that is on.
fresh mixed
expect 0 mdev-mk -t 8q -o id
expect 0 mdev-mk -t 6q -c 2 -o id
prints '0000:41:00.5\n0000:41:00.6\n' 'mixed sizes'
left '5 0 0 0 0 5' 'mixed sizes: 4 GiB are left'
expect 0 mdev-mk -t 3b -o id
expect 75 mdev-mk -t 3b
holds '593 592 592 614 0 0 0 0' 'mixed sizes'

# ---- the driver's errors ----

# EINVAL of one VF: the next is taken.
fresh
order 'invalid 0000:41:00.4'
expect 0 mdev-mk -t 6q -o id
prints '0000:41:00.5\n' 'EINVAL: the next VF'
expect 0 mdev-rm 41:00.5
# EINVAL of all.
: >"$card/.orders"
for vf in 00.4 00.5 00.6 00.7 01.0 01.1 01.2 01.3; do
	echo "invalid 0000:41:$vf" >>"$card/.orders"
done
expect 73 mdev-mk -t 6q
says 'Invalid argument: the driver of 0000:41:00.0 refused'
holds '0 0 0 0 0 0 0 0' 'EINVAL of all'
# EIO is an order of steps gone wrong: no other VF is tried, what was made goes.
fresh
order 'io 0000:41:00.6'
expect 73 mdev-mk -t 6q -c 3
says 'Input/output error: the driver of 0000:41:00.0 could not make it; the order is: MIG on'
says '2 of 3 made by this call: removed again'
holds '0 0 0 0 0 0 0 0' EIO
# A write that succeeds and changes nothing.
fresh
order 'deaf 0000:41:00.4'
expect 73 mdev-mk -t 6q
holds '0 0 0 0 0 0 0 0' 'a deaf VF'
# On a VF by its name: what it is already needs no write, another type is refused.
fresh
expect 0 mdev-mk -p 41:01.2 -t 6q -o id,group
prints '0000:41:01.2	56\n' 'on a VF'
expect 0 mdev-mk -p 41:01.2 -t 6q -o id
prints '0000:41:01.2\n' 'again'
wrote 'again' <<'END'
0000:41:01.2 592 ok
END
expect 73 mdev-mk -p 41:01.2 -t 6c
says '0000:41:01.2 is there already, as nvidia-592 at 0000:41:00.0'
expect 66 mdev-mk -t 7q
says 'no type 7q'
expect 64 mdev-mk -t 6q -c 0
expect 66 mdev-mk -p 41:00.0 -u 42:00.4 -t 6q

# ---- release, while the user's QEMU is closing ----

fresh
expect 0 mdev-mk -t 6q -o id
order 'busy 0000:41:00.4' 'perm 0000:41:00.4'
expect 0 mdev-rm --wait 60 41:00.4
wrote 'busy for two tries' <<'END'
0000:41:00.4 592 ok
0000:41:00.4 0 EBUSY
0000:41:00.4 0 EPERM
0000:41:00.4 0 ok
END
holds '0 0 0 0 0 0 0 0' 'released in the end'
expect 0 mdev-mk -t 6q -o id
order 'busy 0000:41:00.4' 'busy 0000:41:00.4' 'busy 0000:41:00.4'
expect 75 mdev-rm --wait 1 41:00.4
says '0000:41:00.4: Device or resource busy'
holds '592 0 0 0 0 0 0 0' 'still held'
order
# A write that succeeds and changes nothing is no release.
order 'deaf 0000:41:00.4'
expect 75 mdev-rm --wait 0 41:00.4
holds '592 0 0 0 0 0 0 0' 'a deaf release'
# A VM has it: nothing is written.
mkdir -p "$root/proc/4100/fd"
echo kvm >"$root/proc/4100/comm"
echo 0::/qemu.slice/100.scope >"$root/proc/4100/cgroup"
echo '4100 (kvm) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 777 0' >"$root/proc/4100/stat"
printf 'kvm\0-device\0vfio-pci,host=0000:41:00.4\0' >"$root/proc/4100/cmdline"
: >"$card/.writes"
expect 75 mdev-rm 41:00.4
says '0000:41:00.4 is in use by'
expect 75 mdev-rm --all -p 41:00.0
expect 0 mdev-rm --leftovers
wrote 'in use' </dev/null
holds '592 0 0 0 0 0 0 0' 'in use'
rm -r "$root/proc/4100"
expect 0 mdev-ls -o id --leftovers
prints '0000:41:00.4\n' 'a leftover'
expect 0 mdev-rm --leftovers -o id
prints '0000:41:00.4\n' 'the leftover goes'
holds '0 0 0 0 0 0 0 0' 'the leftover goes'

# ---- definitions, since a reboot sets all VFs to 0 ----

fresh
expect 0 mdev-mk -t 6q -c 2 --auto -o id,start
prints '0000:41:00.4	auto\n0000:41:00.5	auto\n' auto
expect 0 mdev-mk -t 6c --define -o id,start
prints '0000:41:00.6	manual\n' define
for vf in 4 5 6; do
	echo 0 >"$bus/0000:41:00.$vf/nvidia/current_vgpu_type"
done
: >"$card/.writes"
expect 0 mdev-ls -o id,state,start
prints '0000:41:00.4	defined	auto\n0000:41:00.5	defined	auto\n0000:41:00.6	defined	manual\n' 'after a reboot'
expect 0 mdev-mk --start-auto
wrote 'at boot' <<'END'
0000:41:00.4 592 ok
0000:41:00.5 592 ok
END
expect 0 mdev-mk --start-auto 41:00.0
expect 0 mdev-mk -u 41:00.6 -o id,type
prints '0000:41:00.6	nvidia-608\n' 'by its definition'
holds '592 592 608 0 0 0 0 0' 'as defined'
# One that fails is named, the others are made.
for vf in 4 5 6; do
	echo 0 >"$bus/0000:41:00.$vf/nvidia/current_vgpu_type"
done
order 'io 0000:41:00.4'
expect 69 mdev-mk --start-auto
says '0000:41:00.4: nvidia-592 at 0000:41:00.0: Input/output error'
holds '0 592 0 0 0 0 0 0' 'the other'
order 'io 0000:41:00.4'
expect 0 mdev-mk --start-auto --wait 60
holds '592 592 0 0 0 0 0 0' 'at the second try'
expect 0 mdev-rm --undefine --all -p 41:00.0
expect 1 mdev-ls
holds '0 0 0 0 0 0 0 0' undefined

# A dry run writes nothing.
: >"$card/.writes"
expect 0 mdev-mk -n -t 6q -c 2
grep -q "echo 592 > $root/sys/bus/pci/devices/0000:41:00.5/nvidia/current_vgpu_type" "$dir/out" ||
	fail 'the second write of a dry run'
wrote 'dry run' </dev/null

# ---- many at a time: the lock keeps them apart, the card is never over-full ----

fresh
pids=
for i in 1 2 3 4 5 6; do
	preloaded mdev-mk -q -t 6q >"$dir/race.$i" 2>&1 &
	pids="$pids $!"
done
made=0
for pid in $pids; do
	if wait "$pid"; then
		made=$((made + 1))
	fi
done
[ "$made" = 4 ] || { fail "$made of six made one each, not 4"; cat "$dir"/race.* >&2; }
holds '592 592 592 592 0 0 0 0' 'six at a time'
[ "$(writes | grep -vc ' ok$')" = 0 ] || { fail 'a write was refused'; writes >&2; }

# ---- make and remove, again and again ----

rounds=20
[ -z "${PVE_GPU_TEST_LONG-}" ] || rounds=1000
fresh
i=0
while [ $i -lt $rounds ] && [ $failed = 0 ]; do
	i=$((i + 1))
	expect 0 mdev-mk -q -t 6q -c 4
	expect 0 mdev-rm -q --all -p 41:00.0
done
holds '0 0 0 0 0 0 0 0' "$rounds rounds"
[ "$(writes | grep -c ' ok$')" = $((rounds * 8)) ] || fail "$rounds rounds: $(writes | wc -l) writes"
[ -z "$(ls "$root/etc/mdevctl.d" "$root/etc/pve-gpu-utils/vgpu.d" 2>/dev/null)" ] || fail 'something is left'

exit $failed
