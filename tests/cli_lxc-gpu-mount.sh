#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-gpu-mount on a text fixture: what it writes, twice, what it takes away, what it
# refuses.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
conf=$root/etc/pve/nodes/pve1/lxc
fixture lxc-host

pve() {
	mkdir -p "$root/var/lib/dpkg"
	printf 'Package: bash\nStatus: install ok installed\nVersion: 5.2\n\nPackage: pve-container\nStatus: install ok installed\nVersion: %s\n' \
		"$1" >"$root/var/lib/dpkg/status"
}
majors() {
	printf 'Character devices:\n  1 mem\n195 nvidia\n237 nvidia-caps\n%s nvidia-uvm\n509 kfd\n\nBlock devices:\n' \
		"$1" >"$root/proc/devices"
}
# begin [LINE...]: a fresh container 200
begin() {
	printf 'arch: amd64\nhostname: ct\n' >"$conf/200.conf"
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$conf/200.conf"
	cp "$conf/200.conf" "$dir/before"
}
# is TITLE, the config on stdin
is() { cat >"$dir/want"; diff -u "$dir/want" "$conf/200.conf" >&2 || fail "$1"; }
back() {
	expect 0 lxc-gpu-mount -R "$root" --remove 200
	cmp "$dir/before" "$conf/200.conf" || fail "$1: --remove does not give back the same bytes"
}
mount_line() { echo "lxc.mount.entry: /$1 ${2:-$1} none bind,optional,create=file 0 0"; }
rule() { echo "lxc.cgroup2.devices.allow: c $1 wr"; }

majors 508
pve 5.1.10

# PVE's own form, where it has one. uvm's nodes will be made by the service.
begin
expect 0 lxc-gpu-mount -R "$root" --gpu 1 200
is 'index 1 is the second address, which has minor 0' <<-'EOF'
	arch: amd64
	hostname: ct
	dev0: /dev/nvidia-uvm,mode=0666
	dev1: /dev/nvidia-uvm-tools,mode=0666
	dev2: /dev/nvidia0,mode=0666
	dev3: /dev/nvidiactl,mode=0666
EOF
silent '--gpu 1'
cp "$conf/200.conf" "$dir/once"
inode=$(stat -c %i "$conf/200.conf")
expect 0 lxc-gpu-mount -v -R "$root" --gpu 41:00.0 200
cmp "$dir/once" "$conf/200.conf" || fail 'the second time changes something'
[ "$(stat -c %i "$conf/200.conf")" = "$inode" ] || fail 'the second time writes the file'
says 'lxc/200: nothing to change'
expect 0 lxc-gpu-ls -R "$root" -o key,addr,status 200
printf 'dev2\t0000:41:00.0\tok\n' | diff -u - "$dir/out" >&2 || fail 'lxc-gpu-ls sees another GPU'
back 'dev style'

# What the manual shows.
begin 'unprivileged: 1'
for args in '-n --gpu 0' '--gpu 0' '--gpu 0/gi3' '--gpu 0000:00:02.0' '--remove'; do
	# shellcheck disable=SC2086 # options
	expect 0 lxc-gpu-mount -R "$root" $args 200
done
cmp "$dir/before" "$conf/200.conf" || fail 'the examples one after the other'

# The raw form before PVE had devN, and where it is asked for.
for version in 5.0.6 4.4-3 none; do
	pve "$version"
	begin
	expect 0 lxc-gpu-mount -R "$root" --gpu 1 200
	grep -q '^lxc.mount.entry' "$conf/200.conf" || fail "$version has no devN"
	! grep -q '^dev' "$conf/200.conf" || fail "devN with $version"
done
for version in 5.0.7 5.1 5.2.0 6.0.1 10.1.2; do
	pve "$version"
	begin
	expect 0 lxc-gpu-mount -R "$root" --gpu 1 200
	grep -q '^dev0' "$conf/200.conf" || fail "$version has devN"
done
begin '' '[snap]' 'arch: amd64'
expect 0 lxc-gpu-mount -R "$root" --style mount --gpu 0/gi5 lxc/200
{
	printf 'arch: amd64\nhostname: ct\n'
	mount_line dev/nvidia-caps/nvidia-cap48
	rule 237:48
	mount_line dev/nvidia-caps/nvidia-cap49
	rule 237:49
	mount_line dev/nvidia-uvm
	rule 508:0
	mount_line dev/nvidia-uvm-tools
	rule 508:1
	mount_line dev/nvidia1
	rule 195:1
	mount_line dev/nvidiactl
	rule 195:255
	printf '\n[snap]\narch: amd64\n'
} | is 'MIG instance 5 of the GPU with minor 1'
cp "$conf/200.conf" "$dir/once"

# Another boot: uvm's major has moved. Old rules go, --remove knows them as well.
majors 511
expect 0 lxc-gpu-mount -R "$root" --style mount --gpu 0/gi5 200
sed 's/c 508:/c 511:/' "$dir/once" >"$dir/want"
# stale rules go and new ones come at the end of the main section
sort "$dir/want" >"$dir/want.sorted"
sort "$conf/200.conf" | diff -u "$dir/want.sorted" - >&2 || fail 'after a boot with another major'
[ "$(sed -n '/^\[snap/,$p' "$conf/200.conf" | wc -l)" -eq 2 ] || fail 'lines went into the snapshot'
cp "$dir/once" "$conf/200.conf"
back 'majors of an older boot'
majors 508

# From one form to the other, and from one set of GPUs to another.
pve 5.1.10
begin
expect 0 lxc-gpu-mount -R "$root" --style mount --gpu 1 200
expect 0 lxc-gpu-mount -R "$root" --style dev --gpu 0/gi3,1 200
is 'dev instead of mount' <<-'EOF'
	arch: amd64
	hostname: ct
	dev0: /dev/nvidia-caps/nvidia-cap30,mode=0666
	dev1: /dev/nvidia-caps/nvidia-cap31,mode=0666
	dev2: /dev/nvidia-uvm,mode=0666
	dev3: /dev/nvidia-uvm-tools,mode=0666
	dev4: /dev/nvidia0,mode=0666
	dev5: /dev/nvidia1,mode=0666
	dev6: /dev/nvidiactl,mode=0666
EOF
expect 0 lxc-gpu-mount -R "$root" --gpu none 200
is 'none: the standard nodes only' <<-'EOF'
	arch: amd64
	hostname: ct
	dev2: /dev/nvidia-uvm,mode=0666
	dev3: /dev/nvidia-uvm-tools,mode=0666
	dev6: /dev/nvidiactl,mode=0666
EOF
expect 0 lxc-gpu-mount -R "$root" --style mount --gpu none 200
! grep -q '^dev' "$conf/200.conf" || fail 'mount instead of dev'
grep -q 'create=dir' "$conf/200.conf" || fail 'none has no nvidia-caps'
back 'back and forth'

# Groups are the container's own: a stopped one's that is mounted, a running one's by its
# init.
mkdir -p "$root/var/lib/lxc/200/rootfs/etc"
printf 'root:x:0:\nvideo:x:44:me\nrender:x:992:\n' >"$root/var/lib/lxc/200/rootfs/etc/group"
begin
expect 0 lxc-gpu-mount -R "$root" --gpu 0000:06:00.0,0000:00:02.0 200
is 'AMD and Intel' <<-'EOF'
	arch: amd64
	hostname: ct
	dev0: /dev/dri/by-path/pci-0000:00:02.0-card,gid=44,mode=0660
	dev1: /dev/dri/by-path/pci-0000:00:02.0-render,gid=992,mode=0660
	dev2: /dev/dri/renderD128,gid=992,mode=0660
	dev3: /dev/kfd,gid=992,mode=0660
EOF
mkdir -p "$root/proc/4711/root/etc" "$root/proc/4712/root/etc" "$root/proc/4713"
printf 'render:x:104:\nvideo:x:44:\n' >"$root/proc/4711/root/etc/group"
printf 'render:x:7:\n' >"$root/proc/4712/root/etc/group"
echo '0::/lxc/200/ns/init.scope' >"$root/proc/4711/cgroup"
printf 'Name:\tsystemd\nNSpid:\t4711\t1\n' >"$root/proc/4711/status"
echo '0::/lxc/200/ns/system.slice/docker-0123456789ab.scope' >"$root/proc/4712/cgroup"
printf 'Name:\tinit\nNSpid:\t4712\t88\t1\n' >"$root/proc/4712/status"
echo '0::/lxc.monitor/200' >"$root/proc/4713/cgroup"
printf 'Name:\tlxc\nNSpid:\t4713\n' >"$root/proc/4713/status"
printf 'Num RefCount\n0: 2 0 10000 1 1 7 @/var/lib/lxc/200/command\n' >"$root/proc/net/unix"
expect 0 lxc-gpu-mount -R "$root" --gpu 0000:06:00.0 200
is 'a running container: other ids, kept indexes' <<-'EOF'
	arch: amd64
	hostname: ct
	dev2: /dev/dri/renderD128,gid=104,mode=0660
	dev3: /dev/kfd,gid=104,mode=0660
EOF
says 'takes effect at its next start'
# a link in the container leads nowhere else
printf 'render:x:666:\n' >"$dir/group"
ln -sf "$dir/group" "$root/proc/4711/root/etc/group"
expect 0 lxc-gpu-mount -R "$root" --gpu 0000:06:00.0 200
says 'only root can use the nodes'
! grep -q 'gid=666' "$conf/200.conf" || fail "a link led out of the container"
expect 4 lxc-gpu-mount -R "$root" --strict --gpu 0000:06:00.0 200
rm "$root/proc/4711/root/etc/group"
mkfifo "$root/proc/4711/root/etc/group"
expect 4 lxc-gpu-mount -R "$root" --strict --gpu 0000:06:00.0 200
rm "$root/proc/4711/root/etc/group"
printf 'video:x:44:\n' >"$root/proc/4711/root/etc/group"
expect 4 lxc-gpu-mount -R "$root" --strict --gpu 0000:06:00.0 200
says 'no group render'
# cards' group is no matter where no card is given
printf 'render:x:104:\n' >"$root/proc/4711/root/etc/group"
expect 0 lxc-gpu-mount -R "$root" --strict --gpu 0000:06:00.0 200
expect 4 lxc-gpu-mount -R "$root" --strict --gpu 0000:00:02.0 200
says 'no group video'
echo 'Num RefCount' >"$root/proc/net/unix"

# Raw lines for DRM nodes: Intel's by its place, under the name that programs look for.
begin
expect 0 lxc-gpu-mount -R "$root" --style mount --gpu 0000:00:02.0 200
{
	printf 'arch: amd64\nhostname: ct\n'
	mount_line dev/dri/by-path/pci-0000:00:02.0-card dev/dri/card1
	rule 226:1
	mount_line dev/dri/by-path/pci-0000:00:02.0-render dev/dri/renderD129
	rule 226:129
} | is 'Intel by its place'
silent 'a privileged container'
back 'Intel'
begin 'unprivileged: yes'
expect 4 lxc-gpu-mount -R "$root" --strict --style mount --gpu 0000:00:02.0 200
says 'unprivileged container cannot open it'
cmp "$dir/before" "$conf/200.conf" || fail 'a refusal changes the file'
expect 0 lxc-gpu-mount -R "$root" --style mount --gpu 0000:00:02.0 200
says 'use --style dev'

# All of them; what is missing is left out, or is an error.
begin
expect 0 lxc-gpu-mount -R "$root" 200
[ "$(grep -c '^dev' "$conf/200.conf")" -eq 13 ] || { fail 'all'; cat "$conf/200.conf" >&2; }
begin
expect 0 lxc-gpu-mount -R "$root" --gpu 1,7 200
says 'no NVIDIA GPU 7'
grep -q nvidia0 "$conf/200.conf" || fail 'the GPU that is there'
expect 4 lxc-gpu-mount -R "$root" --strict --gpu 1,7 200
expect 4 lxc-gpu-mount -R "$root" --gpu 7,0000:99:00.0 200
says 'none of these GPUs is there'
rm "$root/dev/nvidia0"
begin
expect 4 lxc-gpu-mount -R "$root" --strict --gpu 1 200
says '/dev/nvidia0 is not there: left out'
cmp "$dir/before" "$conf/200.conf" || fail 'strict changes the file'
expect 0 lxc-gpu-mount -q -R "$root" --gpu 1 200
silent '-q'
! grep -q nvidia0 "$conf/200.conf" || fail 'a devN on a missing node keeps a container from starting'
: >"$root/dev/nvidia0"

# A dry run prints the change and makes none.
begin '' '[snap]' 'arch: amd64'
expect 0 lxc-gpu-mount -n -R "$root" --gpu none 200
cmp "$dir/before" "$conf/200.conf" || fail '-n changes the file'
grep -q '^+dev0: /dev/nvidia-uvm,mode=0666' "$dir/out" || fail '-n prints no diff'
grep -q '^--- /etc/pve/nodes/pve1/lxc/200.conf' "$dir/out" || fail '-n names no file'
[ ! -e "$root/run/lock" ] || rm -rf "$root/run/lock"
expect 0 lxc-gpu-mount -n -R "$root" --remove 200
[ ! -s "$dir/out" ] || fail '-n --remove prints a change where none is'

# The file keeps its mode and leaves nothing beside it, not even what a killed run left.
begin
chmod 640 "$conf/200.conf"
: >"$conf/200.conf.tmp.lxc-gpu-mount.4711"
: >"$conf/2001.conf.tmp.lxc-gpu-mount.1"
expect 0 lxc-gpu-mount -R "$root" --gpu 1 200
[ "$(stat -c %a "$conf/200.conf")" = 640 ] || fail 'mode of the file'
[ "$(echo "$conf"/200*)" = "$conf/200.conf $conf/2001.conf.tmp.lxc-gpu-mount.1" ] ||
	fail "left behind: $(echo "$conf"/*)"
[ -e "$root/run/lock/lxc/pve-config-200.lock" ] || fail 'no lock taken'

# Locked: by PVE's own lock, by a task.
begin 'lock: backup'
expect 4 lxc-gpu-mount -R "$root" --gpu 1 200
says 'lxc/200 is locked (backup)'
begin 'lock: mounted'
expect 4 lxc-gpu-mount -R "$root" --remove 200
says 'pct unmount 200'
begin '[snap]' 'lock: backup'
expect 0 lxc-gpu-mount -R "$root" --gpu 1 200
begin
if command -v flock >/dev/null; then
	flock -o "$root/run/lock/lxc/pve-config-200.lock" sleep 100 &
	holder=$!
	while flock -n "$root/run/lock/lxc/pve-config-200.lock" true; do sleep 0.1; done
	expect 4 lxc-gpu-mount -R "$root" --gpu 1 200
	says 'somebody else keeps it'
	kill "$holder"
	wait "$holder" 2>/dev/null || :
	cmp "$dir/before" "$conf/200.conf" || fail 'changed without the lock'
fi

# dev0 to dev255 taken
begin
i=0
while [ "$i" -lt 256 ]; do
	echo "dev$i: /dev/ttyS$i"
	i=$((i + 1))
done >>"$conf/200.conf"
cp "$conf/200.conf" "$dir/before"
expect 4 lxc-gpu-mount -R "$root" --gpu 1 200
says 'no devN left'
cmp "$dir/before" "$conf/200.conf" || fail 'a full config is changed'

# Exit codes: 2 input, 3 no such container, 4 the host.
begin
expect 2 lxc-gpu-mount -R "$root"
expect 2 lxc-gpu-mount -R "$root" 200 201
expect 2 lxc-gpu-mount -R "$root" ct
expect 2 lxc-gpu-mount -R "$root" -- -5
expect 2 lxc-gpu-mount -R "$root" 0
expect 2 lxc-gpu-mount -R "$root" ../200
expect 2 lxc-gpu-mount -R "$root" qemu/200
expect 2 lxc-gpu-mount -R "$root" --gpu '' 200
expect 2 lxc-gpu-mount -R "$root" --gpu 0,x 200
expect 2 lxc-gpu-mount -R "$root" --gpu 0/../.. 200
expect 2 lxc-gpu-mount -R "$root" --style raw 200
expect 2 lxc-gpu-mount -R "$root" --nope 200
expect 2 lxc-gpu-mount -R "$root" --remove --gpu 0 200
says 'name those that are to stay'
expect 3 lxc-gpu-mount -R "$root" 4711
says 'lxc/4711: no such container'
expect 3 lxc-gpu-mount -R "$root" 7
expect 3 lxc-gpu-mount -R "$root" 12345678901
expect 3 lxc-gpu-mount -R "$root" 220
says 'lxc/220 is on node pve2'
expect 4 lxc-gpu-mount -R "$dir/none" 200
says 'is Proxmox VE'
mkdir "$conf/300.conf"
expect 4 lxc-gpu-mount -R "$root" --remove 300
rm -r "$root/proc/driver" "$root/dev/nvidia"* "$root/dev/dri" "$root/dev/kfd" "$root/sys" "$root/proc/devices"
expect 4 lxc-gpu-mount -R "$root" 200
says 'no GPU of this host'
expect 4 lxc-gpu-mount -R "$root" --gpu none 200
says 'is the driver loaded?'
cmp "$dir/before" "$conf/200.conf" || fail 'a failure changes the file'
expect 0 lxc-gpu-mount --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail '--help is long'
expect 0 lxc-gpu-mount --version
expect 1 sh -c 'lxc-gpu-mount --help >/dev/full'
exit $failed
