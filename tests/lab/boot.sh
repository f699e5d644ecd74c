#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# boot.sh [-t SECONDS] IMAGE DISK LOG [WORD...] - boot the machine of
# image.sh's directory IMAGE with DISK; the words go on its command line, its
# console into LOG. Lines of the machine that start with "lab" are shown as
# they come.
#
# "lab-kill" on the console: QEMU is killed with SIGKILL at once. DISK is a
# qcow2 file with QEMU's write-back cache: what the machine has not flushed is
# in no table of the file yet, and lost with the process, as with a real disk.
#
# "lab-end": the step is over, QEMU is switched off likewise.
#
# Exit 0 the machine powered off or its step is over, 9 it lost power on its own
# wish, 1 neither in time.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

limit=240
if [ "${1-}" = -t ]; then
	limit=$2
	shift 2
fi
image=$1 disk=$2 log=$3
shift 3

: >"$log"
# TCG and one processor: KVM may be there and hang, and a second processor
# makes one boot in five panic early.
# shellcheck disable=SC2054 # the commas are QEMU's
set -- -machine q35,kernel-irqchip=split -accel tcg -cpu max -smp 1 -m 1024 \
	-display none -vga none -nic none -monitor none -no-reboot -serial "file:$log" \
	-kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
	-append "console=ttyS0 root=/dev/vda rootfstype=ext4 rw intel_iommu=on iommu=pt \
quiet loglevel=2 panic=-1 systemd.show_status=0 mitigations=off audit=0 $*" \
	-drive "file=$disk,format=qcow2,if=none,id=disk,cache=writeback" \
	-device intel-iommu,intremap=on,caching-mode=on \
	-device virtio-blk-pci,drive=disk \
	-device pcie-root-port,id=rp1,chassis=1,slot=1 -device ati-vga,bus=rp1 \
	-device pcie-root-port,id=rp2,chassis=2,slot=2 \
	-device ati-vga,bus=rp2,addr=0.0,multifunction=on -device intel-hda,bus=rp2,addr=0.1 \
	-device pcie-root-port,id=rp3,chassis=3,slot=3 -device bochs-display,bus=rp3
nice -n 10 qemu-system-x86_64 "$@" >"$log.qemu" 2>&1 &
qemu=$!
trap 'kill -KILL $qemu 2>/dev/null || :' EXIT
trap 'exit 130' INT TERM HUP

# What is new, in whole lines.
shown=0
show() {
	lines=$(head -n "$(wc -l <"$log")" "$log" | grep -a '^lab' | tr -d '\r') || return 0
	[ -n "$lines" ] || return 0
	printf '%s\n' "$lines" | tail -n "+$((shown + 1))" |
		sed 's/^lab: FAIL/FAIL/; s/^lab: /    /; /^lab-/d'
	shown=$(printf '%s\n' "$lines" | wc -l)
}

ticks=$((limit * 5))
while [ $ticks -gt 0 ]; do
	word=$(grep -aE '^lab-(kill|end)' "$log" | tr -d '\r') || :
	if [ -n "$word" ]; then
		kill -KILL $qemu
		wait $qemu 2>/dev/null || :
		show
		[ "$word" = lab-end ] && exit 0
		exit 9
	fi
	show
	# Gone, or a zombie: which of them depends on the shell.
	state=$(cut -d' ' -f3 /proc/$qemu/stat 2>/dev/null) || state=Z
	if [ "$state" = Z ]; then
		wait $qemu && exit 0
		cat "$log.qemu" >&2
		exit 1
	fi
	sleep 0.2
	ticks=$((ticks - 1))
done
printf 'boot.sh: neither power-off nor the moment to kill within %s s; the console ends in:\n' "$limit" >&2
tail -n 15 "$log" >&2
exit 1
