#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# inside.sh - in the Debian root that run.sh has made: vfio-setup for real
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL=C DEBIAN_FRONTEND

passed=0
failed=0
out=/run/out
# check TEXT COMMAND...
check() {
	text=$1
	shift
	if "$@" >/run/check 2>&1; then
		passed=$((passed + 1))
		echo "ok   $text"
	else
		failed=$((failed + 1))
		echo "FAIL $text"
		tail -n 30 /run/check | sed 's/^/       /'
	fi
}
not() { ! "$@"; }
show() { sed 's/^/     | /' $out; }
# exits RC WORDS...: vfio-setup; its words are kept for said().
exits() {
	want=$1
	shift
	rc=0
	timeout 300 vfio-setup "$@" >$out 2>&1 || rc=$?
	[ "$rc" -eq "$want" ] || {
		echo "exited $rc, not $want"
		cat $out
		return 1
	}
}
exits_one_of() { # RC RC WORDS...
	one=$1 two=$2
	shift 2
	exits "$one" "$@" || [ "$rc" -eq "$two" ]
}
said() { grep -q -e "$1" $out || { cat $out; return 1; }; }

[ ! -e /roots/package.deb ] || check "the package installs" dpkg -i /roots/package.deb
[ -e /etc/default/grub ] || cp /usr/share/grub/default/grub /etc/default/grub
mkdir -p /run/lock
# Debian's default but for the level: the tests make a dozen of them.
printf 'COMPRESS=zstd\nCOMPRESSLEVEL=1\n' >/etc/initramfs-tools/conf.d/quick
kver=$(basename /boot/vmlinuz-* | sed 's/vmlinuz-//')
echo "$(. /etc/os-release && echo "$PRETTY_NAME"), kernel $kver, $(modprobe --version | head -n 1), $(dpkg-query -W -f 'initramfs-tools ${Version}' initramfs-tools), $(dpkg-query -W -f 'grub-pc ${Version}' grub-pc)"

# host NAME: its /sys; what the kernel of this machine shows stays away.
host() {
	! mountpoint -q /sys || umount /sys
	mount --bind "/roots/$1/sys" /sys
	for file in cmdline iomem cpuinfo interrupts; do
		mount --bind "/roots/$1/proc/$file" /proc/$file
	done
}
tree() {
	find /etc /boot /usr/lib/modprobe.d /usr/lib/udev /var/lib/pve-gpu-utils -xdev ! -path '/boot/initrd*' \
		-printf '%p %y %m %u %g %l\n' 2>/dev/null | sort
	find /etc /boot -xdev -type f ! -path '/boot/initrd*' -exec cksum {} + | sort -k 3
}
initrd_list() { lsinitramfs "/boot/initrd.img-$kver" | sort; }
in_initrd() { lsinitramfs "/boot/initrd.img-$kver" | grep -E "$1"; }
unpack_initrd() {
	rm -rf /run/initrd
	unmkinitramfs "/boot/initrd.img-$kver" /run/initrd
	# With microcode in front the main part is in a folder of its own.
	[ ! -d /run/initrd/main ] || mv /run/initrd/main /run/initrd.main
	[ ! -d /run/initrd.main ] || { rm -rf /run/initrd && mv /run/initrd.main /run/initrd; }
}
depends() { modprobe -n -v -S "$kver" --show-depends "$1"; }
before_host_driver() { # MODULE: vfio-pci comes before it
	depends "$1" >/run/depends
	cat /run/depends
	sed -n "/vfio-pci\.ko/=" /run/depends | head -n 1 >/run/first
	sed -n "/\/$1\.ko/=" /run/depends | tail -n 1 >/run/last
	[ -s /run/first ] && [ -s /run/last ] && [ "$(cat /run/first)" -lt "$(cat /run/last)" ]
}
# Each normal entry of grub.cfg has the word, no recovery entry has it, all have root=.
grub_has() {
	grep -E '^[[:space:]]*linux' /boot/grub/grub.cfg >/run/lines
	cat /run/lines
	[ -s /run/lines ] && ! grep -v 'root=' /run/lines && grep -q "$1" /run/lines &&
		! grep -v ' single' /run/lines | grep -v -w -e "$1" && ! grep ' single' /run/lines | grep -w -e "$1"
}
grub_lacks() { ! grep -w -e "$1" /boot/grub/grub.cfg; }

update-initramfs -u -k all >/dev/null 2>&1
check "update-grub works here" update-grub
initrd_list >/run/initrd-before
tree >/run/before
undone() {
	tree >/run/now
	diff -u /run/before /run/now
}

echo "== one card, ids"
host deb12-grub-nvidia
check "check before: something to do" exits 1 check --gpu 01:00.0
check "diff: exit 1" exits 1 diff --gpu 01:00.0 --early --cmdline iommu=pt
check "apply" exits 0 apply --gpu 01:00.0 --early --cmdline iommu=pt
show
check "grub.cfg has the word" grub_has iommu=pt
check "the initramfs has vfio-pci" in_initrd '/vfio-pci\.ko'
check "the initramfs has our modprobe.d file" in_initrd '^etc/modprobe\.d/pve-gpu-utils\.conf$'
unpack_initrd
check "with the same bytes" cmp /run/initrd/etc/modprobe.d/pve-gpu-utils.conf /etc/modprobe.d/pve-gpu-utils.conf
check "modprobe obeys: vfio-pci before nouveau" before_host_driver nouveau
check "modprobe obeys: vfio-pci before snd-hda-intel" before_host_driver snd-hda-intel
check "with the ids" sh -c "modprobe -n -v -S $kver --show-depends nouveau | grep 'vfio-pci.*ids=.*10de:2204'"
check "the sound driver is not blacklisted" not grep -r '^blacklist snd' /etc/modprobe.d
check "diff: nothing left" exits 0 diff
check "check: a reboot is to be made" exits 1 check
show
stat -c '%n %y' /boot/grub/grub.cfg /boot/initrd.img-* >/run/times
check "apply again" exits 0 apply
check "which ran nothing" sh -c 'stat -c "%n %y" /boot/grub/grub.cfg /boot/initrd.img-* | diff /run/times -'
check "undo" exits 0 undo
check "everything is as before" undone
check "the initramfs, too" sh -c "lsinitramfs /boot/initrd.img-$kver | sort | diff /run/initrd-before -"
check "modprobe: nouveau alone again" not before_host_driver nouveau

echo "== two identical cards, by slot"
host pve8-grub-twins
check "apply" exits 0 apply --gpu 65:00.0 --early
show
rule=/etc/udev/rules.d/10-pve-gpu-utils.rules
check "a rule for the slot" grep -q '0000:65:00\.0' $rule
check "none for the twin" not grep -q '0000:01:00\.0' $rule
check "no id takes the twin" not grep -rq 'ids=.*10de:2204' /etc/modprobe.d
if udevadm verify --help >/dev/null 2>&1; then
	check "udevadm verify" udevadm verify --resolve-names=never $rule
else
	check "udevadm finds nothing wrong in the rule" sh -c \
		"udevadm test /devices/virtual/mem/null 2>&1 | grep -i '10-pve-gpu-utils.*\(invalid\|ignor\|unknown\)' && exit 1 || exit 0"
fi
unpack_initrd
copy=$(find /run/initrd/ -path '*rules.d/10-pve-gpu-utils.rules' | head -n 1)
check "the rule is in the initramfs" cmp "$copy" $rule
check "the initramfs has vfio-pci" in_initrd '/vfio-pci\.ko'
check "undo" exits 0 undo
check "everything is as before" undone

echo "== both loaders by proxmox-boot-tool (a stand-in)"
host pve8-both-loaders
cp /roots/bin/proxmox-boot-tool /roots/bin/lib.sh /usr/sbin/
mkdir -p /var/lib/esp/9D3A-11F0/grub /var/lib/esp/9D3A-11F0/loader/entries /run/by-uuid /var/lib/stand-in
# What stands for the ESP writes its grub.cfg with the real grub-mkconfig.
sed -i 's,STAND_IN_CFG=\(.*\) "${0%/\*}/update-grub",grub-mkconfig -o \1 2>/dev/null,' /usr/sbin/proxmox-boot-tool
echo 9D3A-11F0 >/etc/kernel/proxmox-boot-uuids
printf 'root=ZFS=rpool/ROOT/pve-1 boot=zfs' >/etc/kernel/cmdline
mkdir -p /dev/disk/by-uuid
mount -t tmpfs none /dev/disk/by-uuid
: >/dev/disk/by-uuid/9D3A-11F0
proxmox-boot-tool refresh >/dev/null
tree >/run/before
esp=/var/lib/esp/9D3A-11F0
check "apply" exits 0 apply --gpu 01:00.0 --cmdline iommu=pt
show
check "systemd-boot's entries have root= and the word" sh -c "! grep -h ^options $esp/loader/entries/* | grep -v 'root=ZFS.*iommu=pt'"
check "the ESP's grub.cfg has the word" grep -q iommu=pt $esp/grub/grub.cfg
check "/etc/kernel/cmdline still has no last newline" sh -c '[ -n "$(tail -c 1 /etc/kernel/cmdline)" ]'
printf 'audit=0 %s quiet' "$(cat /etc/kernel/cmdline)" >/etc/kernel/cmdline
check "undo after the administrator added words" exits 0 undo
check "theirs stay, ours are gone" sh -c '[ "$(cat /etc/kernel/cmdline)" = "audit=0 root=ZFS=rpool/ROOT/pve-1 boot=zfs quiet" ]'
check "also on the ESP" sh -c "! grep -rq iommu=pt $esp"
printf 'root=ZFS=rpool/ROOT/pve-1 boot=zfs' >/etc/kernel/cmdline
check "everything is as before" undone
rm /dev/disk/by-uuid/9D3A-11F0
check "ESP not there: apply fails" not exits 0 apply --gpu 01:00.0 --cmdline iommu=pt
show
check "and says which" said '9D3A-11F0'
check "and takes its files back" sh -c '! ls /etc/*/*pve-gpu-utils* /etc/*/*/*pve-gpu-utils* 2>/dev/null'
check "the command line is as before" sh -c '[ "$(cat /etc/kernel/cmdline)" = "root=ZFS=rpool/ROOT/pve-1 boot=zfs" ]'
: >/dev/disk/by-uuid/9D3A-11F0
check "the ESP is back: undo" exits 0 undo
check "everything is as before" undone
umount /dev/disk/by-uuid
rm -r /etc/kernel/proxmox-boot-uuids /etc/kernel/cmdline /usr/sbin/proxmox-boot-tool /usr/sbin/lib.sh
tree >/run/before

echo "== faults"
host deb12-grub-nvidia
mv /usr/sbin/update-initramfs /usr/sbin/update-initramfs.real
stub() { # SHELL: what update-initramfs is for now
	printf '#!/bin/sh\n%s\n' "$1" >/usr/sbin/update-initramfs
	chmod 755 /usr/sbin/update-initramfs
}
failing='echo "update-initramfs: failed for /boot/initrd.img" >&2; exit 1'
stub "[ -e /run/failed ] && exit 0; : >/run/failed; $failing"
check "update-initramfs fails: so does apply" exits_one_of 71 74 apply --gpu 01:00.0 --early
show
check "and says so" said 'update-initramfs'
check "nothing is left" undone
stub "$failing"
check "update-initramfs fails all the time" exits_one_of 71 74 apply --gpu 01:00.0 --early
check "the files are taken back" sh -c '! ls /etc/*/*pve-gpu-utils* /etc/*/*/*pve-gpu-utils* 2>/dev/null'
check "check tells" not exits 0 check
stub 'exit 0'
check "it works again: undo" exits 0 undo
check "nothing is left" undone
# Slow enough to be killed in the middle of it.
stub '[ -e /run/slow ] || exit 0; : >/run/began; sleep 3'
: >/run/slow
rm -f /run/began
vfio-setup apply --gpu 01:00.0 --early --cmdline iommu=pt >$out 2>&1 &
pid=$!
ticks=0
while [ ! -e /run/began ] && [ $ticks -lt 1200 ]; do sleep 0.1; ticks=$((ticks + 1)); done
kill -KILL $pid
wait $pid 2>/dev/null
rm -f /run/slow
check "killed in the middle of update-initramfs: check tells" not exits 0 check
show
check "undo heals" exits 0 undo
check "everything is as before" undone
mv /usr/sbin/update-initramfs.real /usr/sbin/update-initramfs

mount --bind /etc /etc && mount -o remount,bind,ro /etc
check "/etc read-only" not exits 0 apply --gpu 01:00.0
show
check "says so" said 'Read-only file system'
umount /etc
check "nothing is left" undone
rm -rf /var/lib/pve-gpu-utils
mkdir -p /run/full
mount -t tmpfs -o size=4k,nr_inodes=64 none /run/full
mkdir -p /var/lib/pve-gpu-utils
mount --bind /run/full /var/lib/pve-gpu-utils
head -c 8192 /dev/zero >/run/full/fill 2>/dev/null
check "no room for the state" not exits 0 apply --gpu 01:00.0
show
check "says so" said 'No space left'
umount /var/lib/pve-gpu-utils /run/full
rmdir /var/lib/pve-gpu-utils
check "nothing is left" undone
mkdir -p /run/full
mount -t tmpfs -o size=4k none /run/full
cp -a /etc/modprobe.d/. /run/full/
mount --bind /run/full /etc/modprobe.d
head -c 8192 /dev/zero >/run/full/fill 2>/dev/null
check "no room in /etc/modprobe.d" not exits 0 apply --gpu 01:00.0
show
check "says so" said 'No space left'
umount /etc/modprobe.d /run/full
check "nothing is left" undone

echo "# mine" >/etc/modprobe.d/pve-gpu-utils.conf
tree >/run/before
check "someone else's file of the name" not exits 0 apply --gpu 01:00.0
show
check "is named" said '/etc/modprobe.d/pve-gpu-utils.conf'
check "and stays" undone
rm /etc/modprobe.d/pve-gpu-utils.conf

printf '%d passed, %d failed, 0 skipped\n' $passed $failed
[ $failed -eq 0 ]
