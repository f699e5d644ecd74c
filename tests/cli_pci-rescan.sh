#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pci-rescan on files: nothing moves there, so what would be written is read
# from -n; guards, exit codes, the state file and the put-back are real. The moves
# themselves are tests/lab's. Config space is bytes, so the host is built here.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT
state=$root/run/pve-gpu-utils/rescan

# shellcheck source=rescan-host.sh
. "$src/rescan-host.sh"

shows() { grep -qE -- "$1" "$dir/out" || { fail "not shown: $1"; cat "$dir/out" >&2; }; }
# Without the root in its paths; on stdin.
prints_here() {
	sed -i "s,$root,,g" "$dir/out"
	prints - "$1"
}
sum() { find "$root" -type f ! -name rescan.lock -exec cksum {} + | sort; }
unchanged() {
	sum >"$dir/now"
	diff "$dir/before" "$dir/now" >&2 || fail "$1: something was written"
}
sum >"$dir/before"

# Wrong use.
expect 64 pci-rescan
expect 64 pci-rescan ../../x
expect 64 pci-rescan 01:00
expect 64 pci-rescan 1:0.0
expect 64 pci-rescan 01:00.8
expect 64 pci-rescan 01:00.0 0000:01:00.0/../0000:00:08.0
expect 64 pci-rescan --only middle 01:00.0
expect 64 pci-rescan --first card --last slot 01:00.0
expect 64 pci-rescan --for 12 01:00.0
expect 64 pci-rescan -t 0 01:00.0
expect 64 pci-rescan --force=vfs,nonsense 07:00.0
says "nonsense: not the name of a refusal"
expect 66 pci-rescan ffff:ff:1f.7
says "ffff:ff:1f.7: no such function"
expect 69 pci-rescan 00:01.0
says "0000:00:01.0: a bridge"
unchanged "wrong use"
expect 73 pci-rescan -R "$dir/slip" 01:00.0
says "$dir/slip/run/pve-gpu-utils: No such file or directory"
[ ! -e "$dir/slip" ] || fail "a root was made"
expect 0 pci-rescan --help
for option in --root --force --first --for --json --last --methods --dry-run --only --quiet --timeout --verbose; do
	shows "$option"
done
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is too long"

# GPU and audio in one slot: removed both, the override first, autoprobe last.
expect 0 pci-rescan -n 01:00.0
silent
prints_here "slot" <<END
# wake
echo 0 > /sys/bus/pci/devices/0000:00:01.0/d3cold_allowed
echo on > /sys/bus/pci/devices/0000:00:01.0/power/control
echo 0 > /sys/bus/pci/devices/0000:01:00.0/d3cold_allowed
echo 0 > /sys/bus/pci/devices/0000:01:00.1/d3cold_allowed
# slot
echo 0 > /sys/bus/pci/drivers_autoprobe
echo 1 > /sys/bus/pci/devices/0000:01:00.1/remove
echo 1 > /sys/bus/pci/devices/0000:01:00.0/remove
echo 1 > /sys/class/pci_bus/0000:01/rescan
# put back
echo 1 > /sys/bus/pci/devices/0000:00:01.0/d3cold_allowed
echo auto > /sys/bus/pci/devices/0000:00:01.0/power/control
echo vfio-pci > /sys/bus/pci/devices/0000:01:00.0/driver_override
echo 0000:01:00.0 > /sys/bus/pci/drivers/vfio-pci/bind
echo vfio-pci > /sys/bus/pci/devices/0000:01:00.1/driver_override
echo 0000:01:00.1 > /sys/bus/pci/drivers/vfio-pci/bind
echo 1 > /sys/bus/pci/drivers_autoprobe
END
unchanged "-n"
cp "$dir/out" "$dir/slot"
# The slot mate named, or both: the same.
expect 0 pci-rescan -n 0000:01:00.1 00000000:01:00.0
prints_here "both of a slot" <"$dir/slot"

# A card with a switch goes as a whole, ports with their driver.
expect 0 pci-rescan -n 04:00.0
grep -E '^#|/remove|/rescan|/bind|autoprobe' "$dir/out" >"$dir/some"
mv "$dir/some" "$dir/out"
prints_here "card" <<END
# wake
# card
echo 0 > /sys/bus/pci/drivers_autoprobe
echo 1 > /sys/bus/pci/devices/0000:02:00.0/remove
echo 1 > /sys/class/pci_bus/0000:02/rescan
# put back
echo 0000:02:00.0 > /sys/bus/pci/drivers/pcieport/bind
echo 0000:03:01.0 > /sys/bus/pci/drivers/pcieport/bind
echo 0000:03:02.0 > /sys/bus/pci/drivers/pcieport/bind
echo 0000:04:00.0 > /sys/bus/pci/drivers/vfio-pci/bind
echo 0000:05:00.0 > /sys/bus/pci/drivers/vfio-pci/bind
echo 1 > /sys/bus/pci/drivers_autoprobe
END
# Its two functions are one card: one removal.
expect 0 pci-rescan -n 04:00.0 05:00.0
[ "$(grep -c /remove "$dir/out")" -eq 1 ] || fail "a card of two functions is removed twice"
expect 0 pci-rescan -n --only slot 04:00.0 05:00.0
[ "$(grep -c /remove "$dir/out")" -eq 2 ] || fail "slots of both functions"
expect 0 pci-rescan -n 01:00.0 04:00.0
[ "$(grep -c /remove "$dir/out")" -eq 3 ] || fail "two cards"

# FLR: from the mildest on. There is no reset_subordinate here.
expect 0 pci-rescan -n 06:00.0
grep -E '^#|reset|remove' "$dir/out" >"$dir/some"
mv "$dir/some" "$dir/out"
prints_here "own" <<END
# wake
# own
echo default > /sys/bus/pci/devices/0000:06:00.0/reset_method
echo 1 > /sys/bus/pci/devices/0000:06:00.0/reset
echo flr bus > /sys/bus/pci/devices/0000:06:00.0/reset_method
# slot, if the card is not well then
echo 1 > /sys/bus/pci/devices/0000:06:00.0/remove
# put back
END
expect 0 pci-rescan -n --last own 01:00.0
shows '^# own'
expect 0 pci-rescan -nv 06:00.0
says "subordinate: left out:"
expect 69 pci-rescan -n --only subordinate 06:00.0
says "no reset_subordinate"
expect 69 pci-rescan -n --only card 06:00.0
: >"$devices/0000:00:03.0/reset_subordinate"
expect 0 pci-rescan -n --only subordinate 06:00.0
shows "echo 1 > .*/0000:00:03.0/reset_subordinate"
rm "$devices/0000:00:03.0/reset_subordinate"

# The configuration says where a card begins; an option goes before it.
mkdir -p "$root/etc/pve-gpu-utils"
printf '[rescan]\ncard = 06:00.0 slot\n' >"$root/etc/pve-gpu-utils/pve-gpu-utils.conf"
expect 0 pci-rescan -n 06:00.0
! grep -q '^# own' "$dir/out" || fail "card = ADDR RUNG"
expect 0 pci-rescan -n --first own 06:00.0
shows '^# own'
printf '[rescan]\ncard = 06:00.0 nothing\n' >"$root/etc/pve-gpu-utils/pve-gpu-utils.conf"
expect 78 pci-rescan -n 06:00.0
rm -r "${root:?}/etc"

# Refused, and by which name it may be forced.
expect 69 pci-rescan 00:08.0
says "(boot-vga)"
says "nothing was done; a name in brackets is one for --force"
expect 69 pci-rescan 07:00.0
says "(vfs)"
expect 69 pci-rescan -n --force=boot-vga 07:00.0
expect 0 pci-rescan -n --force=vfs 07:00.0
says "(vfs); done all the same"
expect 0 pci-rescan -nf 07:00.0
# Guests come before force.
expect 75 pci-rescan --force 08:00.0
says "0000:08:00.0 is in use by process 4711 (kvm)"
echo "0000:01:00.1 101 time:99999999999" >"$root/run/qemu-server/pci-id-reservations"
expect 75 pci-rescan 01:00.0
says "0000:01:00.1 is reserved for VM 101"
expect 0 pci-rescan -n --for 101 01:00.0
mkdir -p "$root/proc/4712"
echo kvm >"$root/proc/4712/comm"
printf '/usr/bin/kvm\0-id\0102\0-pidfile\0/var/run/qemu-server/102.pid\0' >"$root/proc/4712/cmdline"
echo '4712 (kvm) S 1 4712 4712 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0' >"$root/proc/4712/stat"
echo 4712 >"$root/run/qemu-server/102.pid"
echo "0000:01:00.1 102 pid:4712" >"$root/run/qemu-server/pci-id-reservations"
expect 75 pci-rescan 01:00.0
says "0000:01:00.1 is reserved for VM 102, process 4712 (kvm)"
rm -r "$root/proc/4712" "$root/run/qemu-server/102.pid"
expect 0 pci-rescan -n 01:00.0
echo "0000:01:00.1 101 time:1000" >"$root/run/qemu-server/pci-id-reservations"
expect 0 pci-rescan -n 01:00.0
rm "$root/run/qemu-server/pci-id-reservations"
# One that is refused keeps no other from being rescued.
expect 69 pci-rescan -n 07:00.0 01:00.0
shows "0000:01:00.0/remove"
rm -rf "$root/run/pve-gpu-utils"
unchanged "refusals"

# Done: on files nothing goes away, so nothing but power settings has to be put back.
expect 0 pci-rescan 01:00.0
silent
shows '^0000:01:00.0  slot +[0-9]+\.[0-9] ms  config space healthy$'
[ "$(cat "$bus/drivers_autoprobe")" = 1 ] || fail "drivers_autoprobe is $(cat "$bus/drivers_autoprobe")"
[ "$(cat "$devices/0000:01:00.0/remove")" = 1 ] || fail "the GPU was not removed"
[ "$(cat "$root/sys/class/pci_bus/0000:01/rescan")" = 1 ] || fail "its bus was not rescanned"
[ "$(cat "$devices/0000:00:01.0/power/control")" = auto ] || fail "power/control of the port"
[ -z "$(ls "$state")" ] || fail "a state file is left"
[ "$(stat -c %a "$state")" = 700 ] || fail "mode of $state"
[ "$(stat -c %a "$state/..")" = 700 ] || fail "mode of $state/.."
expect 0 pci-rescan -q 01:00.0
[ ! -s "$dir/out" ] || fail "-q shows steps"

expect 0 pci-rescan -j --only slot 01:00.0
shows '^\{"type":"write","addr":"0000:01:00.0","step":"slot","path":"[^"]*/0000:01:00.0/remove","value":"1","ms":[0-9]+\.[0-9]{3},"errno":0,"error":null,"left":null\}$'
shows '^\{"type":"step","addr":"0000:01:00.0","step":"slot","ok":true,"text":"config space healthy","writes_ms":[0-9.]+,"ms":[0-9.]+\}$'
shows '^\{"type":"result","addr":"0000:01:00.0","rung":"slot","verdict":"config space healthy","exit":0,"writes_ms":[0-9.]+,"ms":[0-9.]+\}$'
! grep -v '^{.*}$' "$dir/out" || fail "-j prints other lines"

# A second run at the same time waits, then gives up.
if command -v flock >/dev/null; then
	expect 75 flock "$root/run/pve-gpu-utils/rescan.lock" pci-rescan -t 1 01:00.0
	says "another pci-rescan is at work"
fi

# Dead: refused; forced, and it stays dead.
cp "$devices/0000:06:00.0/config" "$dir/config"
head -c 64 /dev/zero | tr '\0' '\377' >"$devices/0000:06:00.0/config"
expect 69 pci-rescan 06:00.0
says "(dead)"
expect 74 pci-rescan --force=dead --only slot -t 1 06:00.0
says "0000:06:00.0: did not come back: 0000:06:00.0 config space reads ffff"
[ "$(cat "$bus/drivers_autoprobe")" = 1 ] || fail "drivers_autoprobe after a failure"
cp "$dir/config" "$devices/0000:06:00.0/config"
expect 0 pci-rescan -q 06:00.0

# A run was killed: the next one puts back what its file says.
{
	printf 'autoprobe\t1\n'
	bars=f0000000-f0ffffff-40200,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0
	printf '0000:00:01.0\tabove\t8086:a70d:1043:1234\t060400\t01\t%s\tpcieport\t1\t=\t-\t=-1\t=1\t=1\t-\t=auto\n' $bars
	printf '0000:01:00.0\twhole\t10de:2204:1043:1234\t030000\t80\t%s\tvfio-pci\t1\t=vfio-pci\t=bus\t=-1\t=1\t=1\t-\t=on\n' $bars
	printf '#end 2\n'
} >"$dir/left"
killed() {
	cp "$dir/left" "$state/0000:01:00.0"
	echo 0 >"$bus/drivers_autoprobe"
	echo '(null)' >"$devices/0000:01:00.0/driver_override"
	echo on >"$devices/0000:00:01.0/power/control"
	: >"$bus/drivers/vfio-pci/bind"
}
healed() {
	[ "$(cat "$bus/drivers_autoprobe")" = 1 ] || fail "$1: drivers_autoprobe"
	[ "$(head -c 8 "$devices/0000:01:00.0/driver_override")" = vfio-pci ] || fail "$1: driver_override"
	[ "$(head -c 4 "$devices/0000:00:01.0/power/control")" = auto ] || fail "$1: power/control"
}
mv "$devices/0000:01:00.1" "$dir/audio"
killed
expect 0 pci-rescan -n 01:00.0
says "0000:01:00.0: a run did not end"
[ "$(cat "$bus/drivers_autoprobe")" = 0 ] || fail "-n heals"
expect 0 pci-rescan 06:00.0
healed "a run for another card"
[ ! -e "$state/0000:01:00.0" ] || fail "the state file stays although all is healed"
killed
rm "$devices/0000:01:00.0/driver"
expect 74 pci-rescan -v 01:00.0
healed "a run for this card"
says "came back changed: 0000:01:00.0 driver vfio-pci did not take it again"
[ "$(cat "$bus/drivers/vfio-pci/bind")" = 0000:01:00.0 ] || fail "the driver was not asked"
lent 0000:01:00.0
expect 0 pci-rescan -q 01:00.0
mv "$dir/audio" "$devices/0000:01:00.1"

# What somebody has set since stays.
killed
driver 0000:01:00.0 nvidia
expect 0 pci-rescan -q 06:00.0
[ ! -s "$bus/drivers/vfio-pci/bind" ] || fail "a driver was taken away from another card"
[ -e "$state/0000:01:00.0" ] || fail "the file of a card that another driver has is gone"
rm "$state/0000:01:00.0"
lent 0000:01:00.0

# A function that did not come back is known by the file, and by it alone.
mkdir -p "$root/sys/class/pci_bus/0000:09"
: >"$root/sys/class/pci_bus/0000:09/rescan"
sed 's/0000:01:00.0/0000:09:00.0/' "$dir/left" >"$state/0000:09:00.0"
expect 74 pci-rescan -t 1 09:00.0
says "0000:09:00.0: did not come back"
[ "$(cat "$root/sys/class/pci_bus/0000:09/rescan")" = 1 ] || fail "the bus of a lost function was not rescanned"
[ -e "$state/0000:09:00.0" ] || fail "the state file of a lost function is gone"
[ "$(cat "$bus/drivers_autoprobe")" = 1 ] || fail "drivers_autoprobe with a lost function"
expect 0 pci-rescan -q 01:00.0
rm "$state/0000:09:00.0"
expect 66 pci-rescan 09:00.0

# A file that was cut short is not believed; what is left of a write is removed.
head -n 2 "$dir/left" >"$state/0000:01:00.0"
: >"$state/.0000:01:00.0.Ab12Cd"
expect 0 pci-rescan 01:00.0
says "1 files are not complete"
[ ! -e "$state/.0000:01:00.0.Ab12Cd" ] || fail "a temporary file is left"
rm -f "$state/0000:01:00.0"
rm -rf "$state"
ln -s /tmp "$state"
expect 73 pci-rescan 01:00.0
rm "$state"

# Methods.
expect 69 pci-rescan --methods 00:08.0
says "0000:00:08.0: the kernel has no reset for it"
expect 66 pci-rescan --methods 0a:00.0
# What is known of a function that is gone is kept, in the file of the same name.
{
	sed '/^#end/d' "$dir/left"
	sed -n 's/^0000:01:00.0/0000:01:00.7/p' "$dir/left"
	echo '#end 3'
} >"$state/0000:01:00.0"
expect 0 pci-rescan -t 1 --methods 01:00.0
grep -q '^0000:01:00.7' "$state/0000:01:00.0" || fail "--methods forgets a lost function"
rm -f "$state/0000:01:00.0"
expect 0 pci-rescan -n --methods 06:00.0
shows "echo flr > .*/0000:06:00.0/reset_method"

# A caller that has closed its streams: nothing that is printed goes into a file of ours.
# (The shell between us and valgrind has files of its own there.)
[ -n "${TEST_VALGRIND-}" ] || expect 74 sh -c 'exec pci-rescan --methods 01:00.0 >&- 2>&-'
! grep -qvx '[0-9]*' "$state.lock" || fail "the lock holds what was printed"

# Without root nothing is tried.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	expect 77 env -u PVE_GPU_ROOT setpriv --reuid 65534 --clear-groups "$(command -v pci-rescan)" 01:00.0
	says "needs root"
fi
exit $failed
