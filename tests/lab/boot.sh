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
# LAB_DEVICES  more words for QEMU
# LAB_WORDS    more words for the kernel
#
# Exit 0 the machine powered off or its step is over, 9 it lost power on its own
# wish, 1 neither in time.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

lab=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lab/watch.sh
. "$lab/watch.sh"

limit=240
if [ "${1-}" = -t ]; then
	limit=$2
	shift 2
fi
image=$1 disk=$2 log=$3
shift 3

# TCG and one processor: KVM may be there and hang, and a second processor
# makes one boot in five panic early.
# shellcheck disable=SC2054 # the commas are QEMU's
set -- -machine q35,kernel-irqchip=split -accel tcg -cpu max -smp 1 -m 1024 \
	-display none -vga none -nic none -monitor none -no-reboot -serial "file:$log" \
	-kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
	-append "console=ttyS0 root=/dev/vda rootfstype=ext4 rw intel_iommu=on iommu=pt no_timer_check \
quiet loglevel=2 panic=-1 systemd.show_status=0 mitigations=off audit=0 $* ${LAB_WORDS-}" \
	-drive "file=$disk,format=qcow2,if=none,id=disk,cache=writeback" \
	-device intel-iommu,intremap=on,caching-mode=on \
	-device virtio-blk-pci,drive=disk \
	-device pcie-root-port,id=rp1,chassis=1,slot=1 -device ati-vga,bus=rp1 \
	-device pcie-root-port,id=rp2,chassis=2,slot=2 \
	-device ati-vga,bus=rp2,addr=0.0,multifunction=on -device intel-hda,bus=rp2,addr=0.1 \
	-device pcie-root-port,id=rp3,chassis=3,slot=3 -device bochs-display,bus=rp3 ${LAB_DEVICES-}
watch "$log" "$limit" "$@"
