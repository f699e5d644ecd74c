#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gpu-procs on a text fixture.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
fixture bind-host

# Beside the fixture's: the guest's card is a display, a vGPU of the other one has a
# group of its own, and a job that is in a checkpoint has closed all nodes.
for a in class=0x030000 vendor=0x10de device=0x2684; do
	echo "${a#*=}" >"$root/sys/bus/pci/devices/0000:04:00.0/${a%=*}"
done
mdev=4b20d080-1b54-4048-85b3-a6a62d165c01
mkdir -p "$root/sys/bus/pci/devices/0000:05:00.0/$mdev" "$root/sys/bus/mdev/devices" \
	"$root/proc/4712/fd" "$root/proc/2500" "$root/proc/2501"
ln -s "../../pci/devices/0000:05:00.0/$mdev" "$root/sys/bus/mdev/devices/$mdev"
ln -s ../../../../kernel/iommu_groups/27 "$root/sys/bus/pci/devices/0000:05:00.0/$mdev/iommu_group"
process() { # PID NAME CGROUP
	echo "$2" >"$root/proc/$1/comm"
	echo "0::$3" >"$root/proc/$1/cgroup"
}
process 4712 kvm /qemu.slice/101.scope
ln -s /dev/vfio/27 "$root/proc/4712/fd/30"
ln -s /dev/vfio/3 "$root/proc/4712/fd/31"
pod=pod12345678-1234-1234-1234-123456789abc
id=fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210
process 2500 python3 /kubepods/burstable/$pod/$id
cat >"$root/proc/2500/maps" <<'END'
55d0c0a00000-55d0c0a01000 r--p 00000000 08:02 1311	/usr/bin/python3.11
7f1200000000-7f1201a00000 r-xp 00000000 00:2f 77 /usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06 (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
END
process 2501 cudart-only /system.slice/x.service
echo '7f12000000-7f1201a000 r-xp 00000000 00:2f 77    /opt/libcudart.so.12' >"$root/proc/2501/maps"
cp "$root/proc/2500/maps" "$root/proc/1234/maps"

lib=libcuda.so.580.65.06
container='999\tjellyfin ffmpeg\t0000:00:02.0\t/dev/dri/renderD128\tlxc/200\t-\n'
unit="1234\tollama\t0000:05:00.0\t/dev/nvidia1,/dev/nvidiactl\tunit/ollama.service\t$lib\n"
job="2500\tpython3\t-\t-\tpod/${pod#pod}\t$lib\n"
vm='4711\tkvm\t0000:04:00.0\t/dev/vfio/4\tqemu/100\t-\n'
vgpu='4712\tkvm\t0000:05:00.0\t/dev/vfio/27\tqemu/101\t-\n'

expect 0 gpu-procs -R "$root"
[ ! -s "$dir/err" ] || fail "said something"
prints "$container$unit$job$vm$vgpu" "all"
PVE_GPU_ROOT=$root expect 0 gpu-procs -H
prints "#pid\tcomm\taddr\tnodes\towner\tcuda\n$container$unit$job$vm$vgpu" "header"
expect 0 gpu-procs -R "$root" --guest lxc/200
prints "$container" "--guest"
expect 0 gpu-procs -R "$root" --container 0123456789ab
prints "$container" "--container"
expect 0 gpu-procs -R "$root" --container $id
prints "$job" "--container of a pod"
expect 0 gpu-procs -R "$root" --guest qemu/100
prints "$vm" "--guest of a VM"
expect 0 gpu-procs -R "$root" --guest 100
prints "$vm" "--guest by VMID"
expect 0 gpu-procs -R "$root" --guest 200
prints "$container" "--guest by a container's VMID"
expect 0 gpu-procs -R "$root" 00000000:05:00.0 01:00.0
prints "$unit$vgpu" "by address"
expect 0 gpu-procs -R "$root" -o owner,pid
prints "lxc/200\t999\nunit/ollama.service\t1234\npod/${pod#pod}\t2500\nqemu/100\t4711\nqemu/101\t4712\n" "-o"
expect 0 gpu-procs -R "$root" -j -o pid,addr,owner 05:00.0
prints '{"pid":1234,"addr":"0000:05:00.0","owner":"unit/ollama.service"}\n{"pid":4712,"addr":"0000:05:00.0","owner":"qemu/101"}\n' "-j"
expect 0 gpu-procs -R "$root" -j --guest qemu/100
prints '{"pid":4711,"comm":"kvm","addr":"0000:04:00.0","nodes":"/dev/vfio/4","owner":"qemu/100","cuda":null}\n' "-j, a line"
gpu-procs -R "$root" -0 -o pid | tr '\0' ';' >"$dir/out"
prints '999;1234;2500;4711;4712;' "-0"

# Nobody is an answer, not an error.
expect 1 gpu-procs -R "$root" --guest qemu/102
prints '' "nobody"
expect 1 gpu-procs -R "$root" --guest qemu/200
expect 1 gpu-procs -R "$root" --guest 102
expect 1 gpu-procs -R "$root" 01:00.0
expect 1 gpu-procs -R "$root" --container 0123456789a
expect 69 gpu-procs -R "$dir/none"

expect 64 gpu-procs -R "$root" 01:00
expect 64 gpu-procs -R "$root" --guest 99
expect 64 gpu-procs -R "$root" --guest 100x
expect 64 gpu-procs -R "$root" --guest unit/x.service
expect 64 gpu-procs -R "$root" --guest qemu/100 --container x
expect 64 gpu-procs -R "$root" -o pid,nope
grep -qF 'nope: no such field' "$dir/err" || fail "bad field is not named"
expect 64 gpu-procs -R "$root" -j -0

# A name of a process is anybody's text: nothing of it reaches a terminal as it is.
printf 'a\033[31m\tb\n' >"$root/proc/1234/comm"
expect 0 gpu-procs -R "$root" -o comm 05:00.0
prints 'a\\x1b[31m\\x09b\nkvm\n' "control characters"
expect 64 gpu-procs -R "$root" --nope
expect 0 gpu-procs --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
expect 0 gpu-procs --version
expect 74 sh -c "gpu-procs -R '$root' >/dev/full"

# On this host: a plain file of a node's name, in a mount namespace of somebody's own.
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	# shellcheck disable=SC2016 # the inner sh expands
	unshare -m sh -c 'mount -t tmpfs none /dev && : >/dev/nvidia77 && exec 9</dev/nvidia77 && exec sleep 30' 2>/dev/null &
	pid=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(readlink "/proc/$pid/fd/9" 2>/dev/null)" != /dev/nvidia77 ] || break
		sleep 1
	done
	rc=0
	gpu-procs -o pid,nodes >"$dir/out" 2>"$dir/err" || rc=$?
	! grep -qF /dev/nvidia77 "$dir/out" || fail "a plain file is taken for a GPU's node: $(cat "$dir/out")"
	[ "$(readlink "/proc/$pid/fd/9" 2>/dev/null)" = /dev/nvidia77 ] || echo "(no mount namespace: the plain file was not tried)"
	kill "$pid" 2>/dev/null || :
fi

exit $failed
