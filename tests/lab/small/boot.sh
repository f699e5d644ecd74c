#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# boot.sh [-t SECONDS] [-l LABEL] [-c] KERNEL INITRD LOG [WORD...] - boot the small
# lab's machine; the words go on its command line, its console into LOG. Its
# lines that start with "lab" are shown as they come, LABEL before each.
#
# -c: the machine's clock counts instructions, so that what it measures does not
# depend on what else this computer does.
#
# The machine asks the host by a line "lab-ask N COMMAND", and reads the answer from
# its second serial port:
#   unplug ID        the device is taken out of the machine; "gone", or "there" after a minute
#   plug ID DRIVER BUS [NAME=VALUE]  one is put in; "done"
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lab/watch.sh
. "$here/../watch.sh"

limit=240 label='' clock=''
while getopts t:l:c opt; do
	case $opt in
	t) limit=$OPTARG ;;
	l) label=$OPTARG ;;
	c) clock="-icount shift=3,sleep=off" ;;
	*) exit 64 ;;
	esac
done
shift $((OPTIND - 1))
kernel=$1 initrd=$2 log=$3
shift 3

# A named pipe each way: the second serial port, and QEMU's own control.
rm -f "$log".*
mkfifo "$log.port.in" "$log.port.out" "$log.qmp.in" "$log.qmp.out"
cat "$log.port.out" >/dev/null &
cat "$log.qmp.out" >"$log.qmp" &
asked=0 told=0
greeting='{"execute":"qmp_capabilities"}'

# qemu COMMAND [ARGUMENTS]: in JSON; reply is what it answers, empty when it never does.
qemu() {
	told=$((told + 1))
	printf '%s{"execute":"%s","id":%d,"arguments":{%s}}\n' "$greeting" "$1" $told "$2" >"$log.qmp.in"
	greeting=
	for _ in $(seq 600); do
		reply=$(grep -a "\"id\": ${told}[,}]" "$log.qmp") && return
		sleep 0.1
	done
}
answer() {
	line=$(head -n "$(wc -l <"$log")" "$log" | grep -a "^lab-ask $((asked + 1)) " | tr -d '\r') || return 0
	[ -n "$line" ] || return 0
	asked=$((asked + 1))
	# shellcheck disable=SC2086 # its words
	set -- $line
	case $3 in
	unplug)
		qemu device_del "\"id\":\"$4\""
		said=there
		for _ in $(seq 120); do
			qemu qom-list '"path":"/machine/peripheral"'
			case $reply in
			'' | *"\"name\": \"$4\""*) sleep 0.5 ;;
			*)
				said=gone
				break
				;;
			esac
		done
		;;
	plug)
		# A number: newer QEMUs take no string for it.
		more=${7:+,\"${7%%=*}\":${7#*=}}
		qemu device_add "\"id\":\"$4\",\"driver\":\"$5\",\"bus\":\"$6\"$more"
		said='done'
		;;
	esac
	printf '%s\n' "$said" >"$log.port.in"
}

# Root ports, all in one machine, so that what is done to one shows if it touches
# another: a GPU alone; GPU and audio in one slot; a card with a switch of its own;
# a PF with VFs; a display and audio with host drivers; a GPU and a disk
# behind one switch; a display that QEMU can unplug. The primary display is none of them.
# shellcheck disable=SC2054,SC2086 # the commas are QEMU's; the clock is two words
set -- $clock -machine q35,kernel-irqchip=split -accel tcg -cpu max -smp 1 -m 512 \
	-display none -vga cirrus -nic none -no-reboot -monitor none \
	-serial "file:$log" -serial "pipe:$log.port" -qmp "pipe:$log.qmp" \
	-kernel "$kernel/vmlinuz" -initrd "$initrd" \
	-append "console=ttyS0 intel_iommu=on iommu=pt no_timer_check quiet loglevel=2 nosoftlockup panic=-1 mitigations=off audit=0 $*" \
	-device intel-iommu,intremap=on,caching-mode=on \
	-drive driver=null-co,size=64M,if=none,id=disk0,read-zeroes=on \
	-drive driver=null-co,size=64M,if=none,id=disk1,read-zeroes=on \
	-device pcie-root-port,id=rp1,chassis=1,addr=10 -device ati-vga,id=gpu,bus=rp1 \
	-device pcie-root-port,id=rp2,chassis=2,addr=11 \
	-device ati-vga,id=slotgpu,bus=rp2,addr=0.0,multifunction=on \
	-device intel-hda,id=slotaudio,bus=rp2,addr=0.1,multifunction=on \
	-device pcie-root-port,id=rp3,chassis=3,addr=12 -device x3130-upstream,id=up3,bus=rp3 \
	-device xio3130-downstream,id=dn30,bus=up3,chassis=30,addr=0 -device ati-vga,id=arcgpu,bus=dn30 \
	-device xio3130-downstream,id=dn31,bus=up3,chassis=31,addr=1 -device intel-hda,id=arcaudio,bus=dn31 \
	-device pcie-root-port,id=rp4,chassis=4,addr=13 -device nvme-subsys,id=sub0 \
	-device nvme,id=pf,serial=lab,bus=rp4,subsys=sub0,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=12,msix_qsize=9 \
	-device nvme-ns,drive=disk0 \
	-device pcie-root-port,id=rp5,chassis=5,addr=14 \
	-device bochs-display,id=drm,bus=rp5,addr=0.0,multifunction=on \
	-device intel-hda,id=drmaudio,bus=rp5,addr=0.1 \
	-device pcie-root-port,id=rp6,chassis=6,addr=15 -device x3130-upstream,id=up6,bus=rp6 \
	-device xio3130-downstream,id=dn60,bus=up6,chassis=60,addr=0 -device ati-vga,id=mixedgpu,bus=dn60 \
	-device xio3130-downstream,id=dn61,bus=up6,chassis=61,addr=1 \
	-device virtio-blk-pci,id=mixeddisk,bus=dn61,drive=disk1 \
	-device pcie-root-port,id=rp7,chassis=7,addr=16 -device secondary-vga,id=loose,bus=rp7
watch "$log" "$limit" "$@"
