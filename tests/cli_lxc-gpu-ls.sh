#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-gpu-ls on a text fixture.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
conf=$root/etc/pve/nodes/pve1/lxc
fixture list-pve1

expect 65 lxc-gpu-ls -R "$root" -H
prints '#guest\tkey\talt\taddr\tmdev_type\tmapping\tstate\tnode\tstatus\theld
lxc/200\tdev0\t0\t0000:05:00.0\t-\t-\tstopped\tpve1\tok\t-
lxc/200\tdev2\t0\t-\t-\t-\tstopped\tpve1\tmissing\t-
lxc/200\tdev10\t0\t0000:00:02.0\t-\t-\tstopped\tpve1\tok\t-
lxc/201\tdev0\t0\t0000:06:00.0\t-\t-\tstopped\tpve1\tok\t-
lxc/201\tlxc.mount.entry\t0\t0000:00:02.0\t-\t-\tstopped\tpve1\tok\t-
lxc/201\tlxc.mount.entry\t0\t0000:06:00.0\t-\t-\tstopped\tpve1\tok\t-
' stopped
says "lxc/202: dev0: mode: '666' is not 0 and three octal digits"
says "lxc/202: dev1: path: '/dev/../etc/passwd' is not a clean path"

# A running container holds what the main section gives it; what is pending waits.
mkdir -p "$root/proc/net"
printf 'Num RefCount\n0: 2 0 10000 1 1 7 @/var/lib/lxc/200/command\n0: 2 0 10000 1 1 8 @/var/lib/lxc/201/command\n' \
	>"$root/proc/net/unix"
expect 0 lxc-gpu-ls -R "$root" -o key,addr,state,status,held 200 201
prints 'dev0\t0000:05:00.0\trunning\tok\tconfig
dev2\t-\trunning\tmissing\t-
dev10\t0000:00:02.0\trunning\tok\tconfig
lxc.mount.entry\t0000:00:02.0\trunning\tok\tconfig
lxc.mount.entry\t0000:06:00.0\trunning\tok\tconfig
' running
expect 0 lxc-gpu-ls -R "$root" -v 200
says 'lxc/200 runs'
expect 0 lxc-gpu-ls -R "$root" --section pending -o guest,key,addr,held 201
prints 'lxc/201\tdev0\t0000:06:00.0\t-\n' pending
expect 0 lxc-gpu-ls -R "$root" --section snap -o guest,addr
prints 'lxc/203\t0000:00:02.0\n' snapshot
expect 0 lxc-gpu-ls -R "$root" -N pve2
prints 'lxc/220\tdev0\t0\t-\t-\t-\t-\tpve2\t-\t-\n' '-N'

# entry TEXT: what an lxc.mount.entry gives
entry() {
	printf 'lxc.mount.entry: %s none bind 0 0\n' "$1" >"$conf/300.conf"
	expect 0 lxc-gpu-ls -R "$root" -o addr,status 300
}
entry '/dev/dri/ dev/dri'
prints '0000:00:02.0\tok\n0000:06:00.0\tok\n' 'folder with a slash'
entry '/dev /dev'
prints '0000:00:02.0\tok\n0000:05:00.0\tok\n0000:06:00.0\tok\n' 'all of /dev'
entry '/dev//dri/\143ard0 dev/dri/card0'
prints '0000:00:02.0\tok\n' 'octal'
entry '/dev/kfd dev/kfd'
prints '0000:06:00.0\tok\n' kfd
entry '/dev/dri/card10 dev/dri/card10'
prints '-\tmissing\n' 'missing node'
for path in /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-caps /dev/nvme0 /dev/drivers /srv/dev/dri; do
	entry "$path x"
	[ ! -s "$dir/out" ] || fail "$path gives a record"
done
printf 'lxc.mount.entry: /dev/dri\000/card0 x none bind\n' >"$conf/300.conf"
expect 65 lxc-gpu-ls -R "$root" 300
says 'NUL byte'
printf ' dev0: /dev/nvidia0\ndev0: /dev/dri/card1\ndev0: /dev/nvidia0' >"$conf/300.conf"
expect 65 lxc-gpu-ls -R "$root" -o addr 300
prints '0000:05:00.0\n' 'the last one counts'
says 'lxc/300: line 1 is no setting'
printf '[bad section]\ndev0: /dev/nvidia0\n' >"$conf/300.conf"
expect 0 lxc-gpu-ls -R "$root" -o addr 300
prints '0000:05:00.0\n' 'an unknown header changes nothing'
rm "$conf/300.conf"
mkdir "$conf/300.conf"
expect 65 lxc-gpu-ls -R "$root" 300
says 'lxc/300: config is not a regular file'

expect 64 lxc-gpu-ls -R "$root" qemu/100
says 'qemu/100 is no container: ask pve-hostpci-ls'
expect 64 lxc-gpu-ls -R "$root" ../200
expect 66 lxc-gpu-ls -R "$root" 4711
says 'lxc/4711: no such container on node pve1'
expect 66 lxc-gpu-ls -R "$dir/none"
expect 64 lxc-gpu-ls --nope
expect 0 lxc-gpu-ls --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
expect 0 lxc-gpu-ls --version
expect 74 sh -c "lxc-gpu-ls -R '$root' 200 >/dev/full"
exit $failed
