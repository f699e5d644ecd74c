# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154,SC2089,SC2090 # the quotes are for the kernel
# Two identical cards with a real host driver (bochs). vfio-setup gives one of
# them away; the machine then boots with its own new initrd and the words of its
# own new grub.cfg, which are taken out of its disk. Then undo, and another boot.
# The kernel logs every driver that binds a device (dyndbg of drivers/base/dd.c).

given=0000:04:00.0
twin=0000:03:00.0
word=pcie_port_pm=off

host() {
	LAB_DEVICES='-device pcie-root-port,id=rp4,chassis=4,slot=4 -device bochs-display,bus=rp4'
	watch_words='log_buf_len=16M dyndbg="file drivers/base/dd.c +p"'
	LAB_WORDS=$watch_words
	debian=$image
	export LAB_DEVICES LAB_WORDS
	failed_before=$failed
	boot apply off
	[ "$failed" = "$failed_before" ] && image=$work/vfio-setup.1 && own_boot_files && boot given off
	[ "$failed" = "$failed_before" ] && image=$work/vfio-setup.2 && own_boot_files && boot after off
	image=$debian
	unset LAB_DEVICES LAB_WORDS
}

# What the machine's loader would load now: its kernel, its initrd, its words.
own_boot_files() {
	mkdir -p "$image"
	qemu-img convert -q -f qcow2 -O raw "$disk" "$image/raw"
	# The journal holds what was synced last.
	e2fsck -p "$image/raw" >/dev/null || [ $? -le 2 ]
	debugfs -R 'cat /boot/grub/grub.cfg' "$image/raw" >"$image/grub.cfg" 2>/dev/null
	line=$(grep -m 1 '^[[:space:]]*linux[[:space:]]' "$image/grub.cfg") || line=
	kver=$(printf '%s' "$line" | sed 's/.*vmlinuz-\([^ ]*\).*/\1/')
	printf '  grub.cfg:%s\n' "$(printf '%s' "$line" | sed 's/^[[:space:]]*linux//')"
	debugfs -R "dump /boot/vmlinuz-$kver $image/vmlinuz" "$image/raw" 2>/dev/null
	debugfs -R "dump /boot/initrd.img-$kver $image/initrd.img" "$image/raw" 2>/dev/null
	rm -f "$image/raw"
	# The lab has no service that makes a root "rw" that was mounted "ro".
	LAB_WORDS="$(printf '%s' "$line" | sed 's/^[[:space:]]*linux[[:space:]]*[^[:space:]]* *//') rw $watch_words"
}

machine() {
	case $1 in
	apply)
		lab_say "two cards of one kind, both on the host's driver"
		systemctl start systemd-udev-settle.service 2>/dev/null || udevadm settle
		check "$given is on bochs" within 20 driver_is $given bochs-drm
		check "$twin is on bochs" within 20 driver_is $twin bochs-drm
		# The host's driver in the initramfs too, as a screen wants it: the earliest that it can come.
		printf 'bochs\n' >>/etc/initramfs-tools/modules
		# Time is short: the emulated processor compresses it.
		printf 'COMPRESS=gzip\nCOMPRESSLEVEL=1\n' >/etc/initramfs-tools/conf.d/lab-quick
		[ -e /etc/default/grub ] || printf 'GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n' >/etc/default/grub
		mkdir -p /boot/grub
		check "the machine has a grub.cfg" update-grub
		etc_and_boot >/var/lib/lab/before
		lab_say "vfio-setup check --gpu $given"
		vfio-setup check --gpu $given >/run/check.out 2>&1 || :
		show /run/check.out
		check "apply" vfio-setup apply --gpu $given --early --cmdline $word
		show /run/lab-check.out
		check "grub.cfg has the word" grep -q "$word" /boot/grub/grub.cfg
		check "the initrd has the rule and vfio-pci" sh -c "lsinitramfs /boot/initrd.img-$(uname -r) >/run/list &&
			grep -q rules.d/10-pve-gpu-utils /run/list && grep -q vfio-pci.ko /run/list && grep -q bochs.ko /run/list"
		check "check says that a reboot is to come" check_exits 1
		;;
	given)
		udevadm settle
		check "the word is active" grep -qw "$word" /proc/cmdline
		check "$given is on vfio-pci" within 20 driver_is $given vfio-pci
		check "$twin is on bochs" within 20 driver_is $twin bochs-drm
		journalctl --sync
		journalctl -k -b -q --no-pager -o short-monotonic | grep -F -e $given -e $twin >/run/kernel || :
		grep -E 'probing driver|bound device' /run/kernel >/run/bound || :
		show /run/bound
		check "the kernel logs who binds" grep -qE "$twin.*(bound device to|probing) driver bochs-drm" /run/bound
		check "vfio-pci bound $given" grep -qE "$given.*bound device to driver vfio-pci" /run/bound
		check "no host driver ever bound it, or tried" not grep -E "$given.*(bochs|drm)|(bochs|drm).*$given" /run/kernel
		check "it is ready: check" check_exits 0
		show /run/check.out
		check "undo" vfio-setup undo
		show /run/lab-check.out
		etc_and_boot >/run/now
		check "/etc and /boot are as before apply" diff /var/lib/lab/before /run/now
		;;
	after)
		udevadm settle
		check "the word is gone" not grep -qw "$word" /proc/cmdline
		check "$given is on bochs again" within 20 driver_is $given bochs-drm
		check "$twin is on bochs" within 20 driver_is $twin bochs-drm
		check "vfio-pci holds nothing" not ls -d /sys/bus/pci/drivers/vfio-pci/0000:*
		check "nothing is left to undo" vfio-setup undo
		;;
	esac
}

check_exits() {
	rc=0
	vfio-setup check >/run/check.out 2>&1 || rc=$?
	cat /run/check.out
	[ "$rc" -eq "$1" ]
}
show() { expand -t 8 "$1" | cut -c 1-150 | sed 's/^/lab:      /' >$console; }
# All but the initrd's bytes, which have times in them: what is in it instead.
etc_and_boot() {
	find /etc /boot /var/lib/pve-gpu-utils -xdev ! -name 'initrd.img-*' ! -name grubenv -type f -exec cksum {} + 2>/dev/null | sort -k 3
	find /etc /boot /var/lib/pve-gpu-utils -xdev ! -name grubenv -printf '%p %y %m %l\n' 2>/dev/null | sort
}
