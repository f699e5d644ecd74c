# SPDX-License-Identifier: GPL-2.0-or-later
# rescan-host.sh - the host of the tests of pci-rescan, built in $root; sourced. Its
# config space is bytes. Sets bus and devices.
# shellcheck shell=sh
bus=$root/sys/bus/pci
devices=$bus/devices

# byte HH: one byte of that value
byte() {
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf '%o' "0x$1")"
}
# config VVVV DDDD CCCCCC HH: the first 64 bytes of config space, with BAR 0 at 0xf0000000
config() {
	for b in "${1#??}" "${1%??}" "${2#??}" "${2%??}" 00 00 00 00 00 "${3#????}" "$(echo "$3" | cut -c 3-4)" \
		"${3%????}" 00 00 "$4" 00 00 00 00 f0; do
		byte "$b"
	done
	head -c 44 /dev/zero
}
# fn PLACE VVVV DDDD CCCCCC HH METHODS: a function at sys/devices/PLACE
fn() {
	path=$root/sys/devices/$1 addr=${1##*/}
	mkdir -p "$path/power" "$devices"
	ln -s "../../../devices/$1" "$devices/$addr"
	config "$2" "$3" "$4" "$5" >"$path/config"
	{
		echo 0x00000000f0000000 0x00000000f0ffffff 0x0000000000040200
		yes 0x0000000000000000 0x0000000000000000 0x0000000000000000 | head -n 6
	} >"$path/resource"
	echo "0x$2" >"$path/vendor"
	echo "0x$3" >"$path/device"
	echo 0x1043 >"$path/subsystem_vendor"
	echo 0x1234 >"$path/subsystem_device"
	echo "0x$4" >"$path/class"
	echo '(null)' >"$path/driver_override"
	echo on >"$path/power/control"
	echo 1 >"$path/d3cold_allowed"
	echo 1 >"$path/msi_bus"
	echo -1 >"$path/numa_node"
	: >"$path/remove"
	: >"$path/reset"
	[ -z "$6" ] || echo "$6" >"$path/reset_method"
}
# port PLACE BUS: a bridge with this bus below it
port() {
	fn "$1" 8086 a70d 060400 01 ""
	mkdir -p "$root/sys/devices/$1/pci_bus/$2" "$root/sys/class/pci_bus/$2"
	: >"$root/sys/class/pci_bus/$2/rescan"
	driver "${1##*/}" pcieport
	echo auto >"$root/sys/devices/$1/power/control"
}
driver() {
	mkdir -p "$bus/drivers/$2"
	: >"$bus/drivers/$2/bind"
	: >"$bus/drivers/$2/unbind"
	ln -sfn "$bus/drivers/$2" "$devices/$1/driver"
}
lent() {
	driver "$1" vfio-pci
	echo vfio-pci >"$devices/$1/driver_override"
}
group() {
	n=$1
	shift
	for addr; do
		mkdir -p "$root/sys/kernel/iommu_groups/$n/devices"
		ln -s "../../../../bus/pci/devices/$addr" "$root/sys/kernel/iommu_groups/$n/devices/$addr"
		ln -s "$root/sys/kernel/iommu_groups/$n" "$devices/$addr/iommu_group"
	done
}

# GPU and audio in one slot, both lent to guests; a card with a switch; a GPU with
# FLR; the host's own display; a PF with VFs; a GPU beside a disk behind a switch; one
# that process 4711 holds.
pci=pci0000:00
mkdir -p "$bus" "$root/proc/self" "$root/run/qemu-server"
echo 1 >"$bus/drivers_autoprobe"
: >"$bus/drivers_probe"
port $pci/0000:00:01.0 0000:01
fn $pci/0000:00:01.0/0000:01:00.0 10de 2204 030000 80 bus
fn $pci/0000:00:01.0/0000:01:00.1 10de 1aef 040300 80 ""
lent 0000:01:00.0
lent 0000:01:00.1
group 1 0000:00:01.0 0000:01:00.0 0000:01:00.1
port $pci/0000:00:02.0 0000:02
up=$pci/0000:00:02.0/0000:02:00.0
port $up 0000:03
port $up/0000:03:01.0 0000:04
port $up/0000:03:02.0 0000:05
fn $up/0000:03:01.0/0000:04:00.0 8086 56a6 030000 00 bus
fn $up/0000:03:02.0/0000:05:00.0 8086 4f92 040300 00 bus
lent 0000:04:00.0
lent 0000:05:00.0
port $pci/0000:00:03.0 0000:06
fn $pci/0000:00:03.0/0000:06:00.0 10de 2684 030000 00 "flr bus"
lent 0000:06:00.0
fn $pci/0000:00:08.0 1002 164e 030000 00 ""
echo 1 >"$devices/0000:00:08.0/boot_vga"
port $pci/0000:00:04.0 0000:07
fn $pci/0000:00:04.0/0000:07:00.0 10de 20b0 030200 00 flr
echo 2 >"$devices/0000:07:00.0/sriov_numvfs"
echo 4 >"$devices/0000:07:00.0/sriov_totalvfs"
port $pci/0000:00:05.0 0000:08
fn $pci/0000:00:05.0/0000:08:00.0 10de 2204 030000 00 bus
lent 0000:08:00.0
group 8 0000:08:00.0
mkdir -p "$root/proc/4711/fd"
ln -s /dev/vfio/8 "$root/proc/4711/fd/20"
echo kvm >"$root/proc/4711/comm"
echo 0::/qemu.slice/108.scope >"$root/proc/4711/cgroup"
