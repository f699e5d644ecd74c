#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-gpu-mount on a host with pct: devN by "pct set", which writes the file anew as
# Proxmox VE does; the service; group ids of stopped containers.
set -eu
[ "${FAKE_PVE:-}" = yes ] || exec "${TEST_SRC:-$(dirname "$0")}/fake-pve.sh" "$0"
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
conf=/etc/pve/nodes/pve1/lxc/200.conf

called() { grep -q -- "$1" "$FAKE/log" || { fail "no call of $1"; cat "$FAKE/log" >&2; }; }
uncalled() { ! grep -q -- "$1" "$FAKE/log" || fail "calls $1"; }
is() { cat >"$dir/want"; diff -u "$dir/want" "$conf" >&2 || fail "$1"; }
begin() {
	printf '#notes\narch: amd64\nrootfs: local-lvm:vm-200-disk-0,size=8G\n' >"$conf"
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$conf"
	: >"$FAKE/log"
	cp "$conf" "$dir/before"
}

# This machine's own GPUs are out of sight; one of another's takes their place.
if [ -e /proc/driver/nvidia ]; then
	mount -t tmpfs none /proc/driver/nvidia || { echo 'SKIP: cannot hide the NVIDIA driver'; exit 77; }
fi
mount -t tmpfs sys /sys
mount -t tmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mknod -m 666 /dev/null c 1 3
mkdir /dev/dri
for name in card0 renderD128; do
	mkdir -p "/sys/class/drm/$name"
	ln -s ../../../devices/pci0000:00/0000:00:02.0 "/sys/class/drm/$name/device"
	: >"/dev/dri/$name"
done
gpu=0000:00:02.0

# pct as Proxmox VE's: the digest is looked at, comments go to the top and raw lines to
# the end, a running container keeps changes of what it has pending.
cat >/usr/sbin/pct <<'END_PCT'
#!/usr/bin/perl
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
my ($verb, $id, @args) = @ARGV;
my $fake = $ENV{FAKE};
open(my $log, '>>', "$fake/log") or die;
print $log "pct @ARGV\n";
close($log);
my $conf = "/etc/pve/lxc/$id.conf";
my $rootfs = "/var/lib/lxc/$id/rootfs";
sub slurp { local $/; open(my $f, '<', $_[0]) or die "$_[0]: $!\n"; my $t = <$f>; return $t }
if ($verb eq 'mount' || $verb eq 'unmount') {
	my $text = slurp($conf);
	if ($verb eq 'mount') {
		if (-e "$fake/mount-meddle") {
			# Somebody else's is a moment earlier.
			system('mkdir', '-p', "$rootfs/etc", "$rootfs/usr");
			open(my $f, '>>', $conf) or die;
			print $f "lock: mounted\n";
			close($f);
			$text = slurp($conf);
		}
		die "CT is locked (mounted)\n" if $text =~ /^lock:/m;
		if (-e "$fake/mount-fails") {
			# As pct does: first the lock, then the mount.
			open(my $f, '>', $conf) or die;
			print $f $text, "lock: mounted\n";
			close($f);
			die "storage is offline\n";
		}
		system('mkdir', '-p', "$rootfs/etc");
		system('cp', "$fake/group", "$rootfs/etc/group");
		$text .= "lock: mounted\n";
	} else {
		die "busy\n" if -e "$fake/unmount-fails";
		system('rm', '-rf', $rootfs);
		$text =~ s/^lock: mounted\n//m;
	}
	open(my $f, '>', $conf) or die;
	print $f $text;
	exit 0;
}
die "unexpected: @ARGV\n" if $verb ne 'set';
if (-e "$fake/meddle") {
	unlink("$fake/meddle");
	open(my $f, '>>', $conf) or die;
	print $f "dev0: /dev/ttyS0\n";
	close($f);
}
die "set fails\n" if -e "$fake/set-fails";
my $raw = slurp($conf);
my (%set, @delete);
while (my $opt = shift @args) {
	my $value = shift @args;
	if ($opt eq '--digest') {
		die "detected modified configuration - file changed by other user? Try again.\n"
			if $value ne sha1_hex($raw);
	} elsif ($opt eq '--delete') {
		@delete = split(/,/, $value);
	} else {
		$opt =~ s/^--//;
		$set{$opt} = $value;
	}
}
my ($main, $rest) = $raw =~ /\A(.*?)(^\[.*)?\z/ms;
my (@notes, %conf, @lxc);
for (split(/\n/, $main)) {
	if (/^#/) { push @notes, $_ }
	elsif (/^(lxc\.[a-z0-9_.]+)\s*[:=]\s*(.*)/) { push @lxc, "$1: $2" }
	elsif (/^([a-z_]+\d*):\s*(.*)/) { $conf{$1} = $2 }
}
die "CT is locked ($conf{lock})\n" if $conf{lock};
$conf{$_} = $set{$_} for keys %set;
delete $conf{$_} for @delete;
open(my $f, '>', "$conf.tmp") or die;
print $f join('', map { "$_\n" } @notes, (map { "$_: $conf{$_}" } sort keys %conf), @lxc);
print $f "\n$rest" if defined($rest);
close($f);
rename("$conf.tmp", $conf) or die;
END_PCT
cat >/usr/sbin/pvesm <<'END_PVESM'
#!/bin/sh
echo "pvesm $*" >>"$FAKE/log"
cat "$FAKE/volume" 2>/dev/null || { echo "no such storage" >&2; exit 2; }
END_PVESM
chmod +x /usr/sbin/pct /usr/sbin/pvesm
printf 'video:x:44:\nrender:x:992:\n' >"$FAKE/group"

# By pct, with the group ids of a container that is mounted for it.
begin 'hostname: ct' '#more notes' 'lxc.cap.drop = mac_admin' '' '[snap]' 'arch: amd64'
expect 0 lxc-gpu-mount --style dev --gpu $gpu 200
is 'devN by pct' <<-'EOF'
	#notes
	#more notes
	arch: amd64
	dev0: /dev/dri/card0,gid=44,mode=0660
	dev1: /dev/dri/renderD128,gid=992,mode=0660
	hostname: ct
	rootfs: local-lvm:vm-200-disk-0,size=8G
	lxc.cap.drop: mac_admin

	[snap]
	arch: amd64
EOF
called 'pvesm path local-lvm:vm-200-disk-0'
called 'pct mount 200'
called 'pct unmount 200'
uncalled systemctl
cp "$conf" "$dir/once"
: >"$FAKE/log"
expect 0 lxc-gpu-mount -v --style dev --gpu $gpu 200
cmp "$dir/once" "$conf" || fail 'the second time changes something'
says 'nothing to change'
uncalled 'pct set'
# its storage is a folder: nothing is mounted
mkdir -p "$dir/subvol/etc"
printf 'video:x:44:\nrender:x:104:\n' >"$dir/subvol/etc/group"
echo "$dir/subvol" >"$FAKE/volume"
: >"$FAKE/log"
expect 0 lxc-gpu-mount --style dev --gpu $gpu 200
grep -q '^dev1: /dev/dri/renderD128,gid=104,mode=0660$' "$conf" || fail 'group ids of a folder'
uncalled 'pct mount'

# a mount in there is somebody's file system: it need never answer
mount -t tmpfs etc "$dir/subvol/etc"
printf 'video:x:44:\nrender:x:105:\n' >"$dir/subvol/etc/group"
expect 4 lxc-gpu-mount --strict --style dev --gpu $gpu 200
says '/etc/group: Invalid cross-device link'
umount "$dir/subvol/etc"

# From dev to mount and back: there is never a moment without.
expect 0 lxc-gpu-mount --style mount --gpu $gpu 200
! grep -q '^dev' "$conf" || fail 'devN stays'
grep -q 'lxc.cgroup2.devices.allow: c 226:128 wr' "$conf" || fail 'raw lines'
sed -n '/^\[snap/,$p' "$conf" >"$dir/snap"
[ "$(wc -l <"$dir/snap")" -eq 2 ] || fail 'lines went into the snapshot'
expect 0 lxc-gpu-mount --style dev --gpu $gpu 200
! grep -q '^lxc.mount' "$conf" || fail 'raw lines stay'
expect 0 lxc-gpu-mount --remove 200
! grep -q '/dev/' "$conf" || fail '--remove leaves something'
expect 0 lxc-gpu-mount --remove 200

# Killed on the way from raw lines to devN, run again: nothing of others is lost, there
# are nodes at every moment, and the end is the same.
to_dev() { lxc-gpu-mount -q --style dev --gpu $gpu 200; }
killed_at() { # SYSTEM-CALL WHEN
	cp "$dir/raw" "$conf"
	rc=0
	timeout 100 strace -qq -o /dev/null -e trace="$1" -e "inject=$1:signal=KILL:when=$2" \
		lxc-gpu-mount -q --style dev --gpu $gpu 200 >"$dir/out" 2>&1 || rc=$?
	[ "$rc" -ne 0 ] || return 0
	[ "$rc" -eq 137 ] || { fail "$1 $2: exited $rc"; cat "$dir/out" >&2; return 0; }
	kills=$((kills + 1))
	# pct goes on without us, as the real one does; before it is pct it has our name
	while pgrep -f '^lxc-gpu-mount|^/usr/bin/perl /usr/sbin/pct' >/dev/null; do sleep 0.1; done
	grep -q renderD128 "$conf" || fail "$1 $2: no nodes"
	grep -q '^dev0: /dev/ttyS0$' "$conf" || fail "$1 $2: somebody's line is lost"
	rc=0
	to_dev >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -eq 0 ] || { fail "$1 $2: again: $rc"; cat "$dir/err" >&2; }
	cmp "$dir/dev" "$conf" || fail "$1 $2: another end"
	for file in "$conf"?*; do
		[ ! -e "$file" ] || fail "$1 $2: $file is left"
	done
}
sweep() {
	kills=0
	begin 'dev0: /dev/ttyS0' '[snap]' 'arch: amd64'
	expect 0 lxc-gpu-mount --style mount --gpu $gpu 200
	cp "$conf" "$dir/raw"
	strace -qq -c -o "$dir/counts" lxc-gpu-mount -q --style dev --gpu $gpu 200
	cp "$conf" "$dir/dev"
	# those that change something, or all of them
	awk 'NR > 2 && $NF != "total" && $4 > 0 { print $NF, $4 }' "$dir/counts" >"$dir/calls"
	[ -n "${PVE_GPU_TEST_LONG:-}" ] ||
		sed -i -E '/^(write|rename|fsync|unlink|mkdir|flock|clone|v?fork|wait|exit)/!d' "$dir/calls"
	while read -r call count; do
		at=1
		while [ "$at" -le "$count" ]; do
			killed_at "$call" "$at" </dev/null
			at=$((at + 1))
		done
	done <"$dir/calls"
	[ $kills -ge 5 ] || { fail "killed only $kills times"; cat "$dir/calls" >&2; }
	echo "killed $kills times"
}
# LeakSanitizer cannot work in what strace traces.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
export ASAN_OPTIONS
if [ -n "${TEST_VALGRIND-}" ]; then
	echo 'in valgrind it is not killed'
elif strace -qq -o /dev/null true 2>/dev/null; then
	sweep
else
	echo 'strace is missing, or may not trace here: not killed'
fi

# Somebody adds a dev0 between our look and pct's: his stays, and ours comes behind.
begin
: >"$FAKE/meddle"
expect 0 lxc-gpu-mount --style dev --gpu $gpu 200
grep -q '^dev0: /dev/ttyS0$' "$conf" || fail "somebody's dev0 is lost"
grep -q '^dev2: /dev/dri/renderD128' "$conf" || fail 'ours behind it'

# What fails: 4, and the file is as it was.
begin
: >"$FAKE/set-fails"
expect 4 lxc-gpu-mount --style dev --gpu $gpu 200
says 'set fails'
says 'pct set 200 failed'
cmp "$dir/before" "$conf" || fail 'changed by a failure'
rm "$FAKE/set-fails" "$FAKE/volume"
: >"$FAKE/mount-fails"
expect 4 lxc-gpu-mount --strict --style dev --gpu $gpu 200
cmp "$dir/before" "$conf" || fail 'changed by a failed mount'
expect 0 lxc-gpu-mount --style dev --gpu $gpu 200
says 'only root can use the nodes'
# lxc-nvidia-setup looks at it in the same way.
versions=$(command -v lxc-nvidia-versions) || versions=/usr/libexec/pve-gpu-utils/lxc-nvidia-versions
begin
expect 1 "$versions" -m 200
cmp "$dir/before" "$conf" || fail 'lxc-nvidia-versions: changed by a failed mount'
rm "$FAKE/mount-fails"
# Somebody else's mount is his: the lock of before, and one that came a moment earlier.
begin 'lock: mounted'
expect 4 lxc-gpu-mount --strict --style dev --gpu $gpu 200
cmp "$dir/before" "$conf" || fail "somebody's lock is gone"
expect 1 "$versions" -m 200
cmp "$dir/before" "$conf" || fail "lxc-nvidia-versions: somebody's lock is gone"
uncalled 'pct unmount'
: >"$FAKE/mount-meddle"
for command in "lxc-gpu-mount --strict --style dev --gpu $gpu" "$versions -m"; do
	begin
	rm -rf /var/lib/lxc/200
	rc=0
	$command 200 >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -ne 0 ] || fail "$command: exited 0"
	called 'pct mount'
	uncalled 'pct unmount'
	grep -q '^lock: mounted$' "$conf" || fail "$command: somebody's new lock is gone"
done
rm -rf "$FAKE/mount-meddle" /var/lib/lxc/200
begin
: >"$FAKE/unmount-fails"
expect 4 lxc-gpu-mount --style dev --gpu $gpu 200
says 'still mounted: pct unmount 200'
rm -rf "$FAKE/unmount-fails" /var/lib/lxc/200
begin
expect 0 lxc-gpu-mount -n --style dev --gpu $gpu 200
says 'looked up only when it is done'
uncalled 'pct mount'
cmp "$dir/before" "$conf" || fail '-n changes'
mv /usr/sbin/pct /usr/sbin/pct.away
expect 4 lxc-gpu-mount -q --style dev --gpu $gpu 200
mv /usr/sbin/pct.away /usr/sbin/pct

# NVIDIA's nodes that come into being on use: the service is enabled once, and not for
# a dry run, for --remove, or for other GPUs.
mkdir -p /run/systemd/system
cat >/usr/bin/systemctl <<'END_SYSTEMCTL'
#!/bin/sh
echo "systemctl $*" >>"$FAKE/log"
case $1 in
is-enabled) [ -e "$FAKE/enabled" ] ;;
enable) : >"$FAKE/enabled" ;;
esac
END_SYSTEMCTL
mount -t tmpfs driver /proc/driver
mkdir -p /proc/driver/nvidia/gpus
printf 'Character devices:\n195 nvidia\n508 nvidia-uvm\n\nBlock devices:\n' >"$dir/devices"
mount --bind "$dir/devices" /proc/devices
touch /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-uvm-tools
begin
expect 0 lxc-gpu-mount -n --style dev --gpu none 200
uncalled systemctl
expect 0 lxc-gpu-mount -v --style dev --gpu none 200
called 'systemctl enable --quiet pve-gpu-nodes.service'
says 'pve-gpu-nodes.service will make the nodes at each boot'
grep -q '^dev0: /dev/nvidia-uvm,mode=0666$' "$conf" || fail 'no uvm'
: >"$FAKE/log"
expect 0 lxc-gpu-mount --style mount --gpu none 200
uncalled 'systemctl enable'
: >"$FAKE/log"
expect 0 lxc-gpu-mount --remove 200
uncalled systemctl
rm -r /run/systemd

# Without uvm's module a look loads nothing, and says that it will be made.
rm /dev/nvidia*
printf 'Character devices:\n195 nvidia\n\nBlock devices:\n' >"$dir/devices"
begin
expect 0 lxc-gpu-mount -n --style dev --gpu none 200
says '/dev/nvidia-uvm is not there: it is made first, if the driver can'
for line in 'dev0: /dev/nvidia-uvm,mode=0666' 'dev2: /dev/nvidiactl,mode=0666'; do
	grep -qxF "+$line" "$dir/out" || fail "-n leaves out what will be made: $line"
done
expect 0 lxc-gpu-mount -n --style mount --gpu none 200
grep -qxF '+lxc.cgroup2.devices.allow: c 195:255 wr' "$dir/out" || fail '-n leaves out what has its number'

# No root: 4.
if command -v setpriv >/dev/null; then
	chmod 755 "$dir"
	expect 4 setpriv --reuid=65534 --clear-groups "$(command -v lxc-gpu-mount)" --gpu $gpu 200
	says 'root is needed'
fi
exit $failed
