#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vfio-bind on a text fixture: nothing moves there, so the sequences are read
# from -n, and the record files are real.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT
fixture bind-host
devices=$root/sys/bus/pci/devices

unchanged() {
	find "$root" -type f -exec cksum {} + | sort >"$dir/now"
	cmp -s "$dir/before" "$dir/now" || fail "$1: the tree was changed"
}
find "$root" -type f -exec cksum {} + | sort >"$dir/before"

# The group goes as a whole, without its bridge; override before unbind.
expect 0 vfio-bind -n --to vfio-pci 01:00.0
silent
prints - "to vfio-pci" <<EOF
echo vfio-pci > $devices/0000:01:00.0/driver_override
echo 0000:01:00.0 > $devices/0000:01:00.0/driver/unbind
echo 0000:01:00.0 > $root/sys/bus/pci/drivers_probe
echo vfio-pci > $devices/0000:01:00.1/driver_override
echo 0000:01:00.1 > $devices/0000:01:00.1/driver/unbind
echo 0000:01:00.1 > $root/sys/bus/pci/drivers_probe
EOF
unchanged "-n"

# Both functions named: no member twice. One: only what was named.
expect 0 vfio-bind -n -t vfio-pci 0000:01:00.1 00000000:01:00.0
[ "$(wc -l <"$dir/out")" -eq 6 ] || fail "a member was bound twice"
expect 0 vfio-bind -nv -1 --to vfio-pci 01:00.1
silent
prints - "--one" <<EOF
echo vfio-pci > $devices/0000:01:00.1/driver_override
echo 0000:01:00.1 > $devices/0000:01:00.1/driver/unbind
echo 0000:01:00.1 > $root/sys/bus/pci/drivers_probe
EOF

# A host driver leaves no override behind.
expect 0 vfio-bind -n -1 --to snd_hda_intel 01:00.0
prints - "to a host driver" <<EOF
echo snd_hda_intel > $devices/0000:01:00.0/driver_override
echo 0000:01:00.0 > $devices/0000:01:00.0/driver/unbind
echo 0000:01:00.0 > $root/sys/bus/pci/drivers_probe
echo > $devices/0000:01:00.0/driver_override
EOF

# Right already: nothing to write.
expect 0 vfio-bind -n --to host 01:00.0
prints '' "to host, already there"
expect 0 vfio-bind -n --to vfio-pci 04:00.0
prints '' "to vfio-pci, already there"

# Held by a guest; used by a host's process; not there; no function; a bridge.
expect 75 vfio-bind -n --to host 04:00.0
says "0000:04:00.0: in use by process 4711"
expect 75 vfio-bind -n --to vfio-pci 05:00.0
says "0000:05:00.0: in use by process 1234 (ollama) of unit/ollama.service"
expect 0 vfio-bind -n -f --to vfio-pci 05:00.0
says "0000:05:00.0: in use by process 1234 (ollama) of unit/ollama.service: /dev/nvidia1; taken all the same"
expect 66 vfio-bind -n --to vfio-pci 0a:00.0
says "0000:0a:00.0: no such function"
expect 64 vfio-bind -n --to vfio-pci 01:00
expect 64 vfio-bind -n --to vfio-pci 0000:01:00.0/../0000:00:1f.2
expect 69 vfio-bind -n --to vfio-pci 00:01.0
says "0000:00:01.0: a bridge cannot be bound"
expect 69 vfio-bind -n --to xe 01:00.0
says "driver xe is not loaded: modprobe xe"

# A sound card's driver waits for its users, too; each of them is said once.
card=$root/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.1/sound/card1
mkdir -p "$card/controlC1" "$card/pcmC1D3p" "$root/sys/class/sound" "$root/proc/77/fd"
ln -s "../../devices/pci0000:00/0000:00:01.0/0000:01:00.1/sound/card1/controlC1" "$root/sys/class/sound/controlC1"
ln -s "../../devices/pci0000:00/0000:00:01.0/0000:01:00.1/sound/card1/pcmC1D3p" "$root/sys/class/sound/pcmC1D3p"
ln -s /dev/snd/controlC1 "$root/proc/77/fd/5"
ln -s /dev/snd/pcmC1D3p "$root/proc/77/fd/6"
echo pipewire >"$root/proc/77/comm"
echo 0::/user.slice >"$root/proc/77/cgroup"
expect 75 vfio-bind -n --to vfio-pci 01:00.0
says "0000:01:00.1: in use by process 77 (pipewire): /dev/snd/controlC1"
[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "one user is said twice"
prints '' "a sound card in use"
rm -r "$root/proc/77"
find "$root" -type f -exec cksum {} + | sort >"$dir/before"

# What the host lives on.
for how in "--to vfio-pci" "--record $dir/record"; do
	# shellcheck disable=SC2086
	expect 69 vfio-bind $how 02:00.0
	says "0000:03:00.0: network card eno1 is up"
	says "--force takes it all the same"
	# shellcheck disable=SC2086
	expect 69 vfio-bind $how 00:1f.2
	says "0000:00:1f.2: disk sda2 is mounted on /"
done
[ ! -e "$dir/record" ] || fail "a refused record was written"
expect 0 vfio-bind -n -f --to vfio-pci 00:1f.2
says "taken all the same"
unchanged "refusals"

# The record.
expect 0 vfio-bind --record "$dir/record" 01:00.1 04:00.0
silent
printf '#addr\tdriver\tdriver_override\n0000:01:00.0\tnvidia\t-\n0000:01:00.1\tsnd_hda_intel\t-\n0000:04:00.0\tvfio-pci\tvfio-pci\n#end 3\n' >"$dir/want"
diff -u "$dir/want" "$dir/record" >&2 || fail "record"
[ "$(stat -c %a "$dir/record")" = 600 ] || fail "mode of the record"
unchanged "--record"
expect 0 vfio-bind -n --record "$dir/other" 01:00.1
[ ! -e "$dir/other" ] || fail "-n wrote a record"
expect 71 vfio-bind --record "$dir/no/such/folder" 01:00.1
says "$dir/no/such/folder: No such file or directory"
[ ! -e "$dir/no" ] || fail "a folder was made"

# Nothing to restore; then one that is not as recorded.
expect 0 vfio-bind --restore "$dir/record"
silent
unchanged "--restore"
ln -sfn ../../../../bus/pci/drivers/vfio-pci "$root/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/driver"
expect 0 vfio-bind -n --restore "$dir/record"
prints - "--restore" <<EOF
echo nvidia > $devices/0000:01:00.0/driver_override
echo 0000:01:00.0 > $devices/0000:01:00.0/driver/unbind
echo 0000:01:00.0 > $root/sys/bus/pci/drivers_probe
echo > $devices/0000:01:00.0/driver_override
EOF

# To restore is to take away as well: from a process, from the host, from a guest.
{
	printf '#addr\tdriver\tdriver_override\n0000:05:00.0\tvfio-pci\tvfio-pci\n'
	printf '0000:03:00.0\tvfio-pci\tvfio-pci\n#end 2\n'
} >"$dir/away"
expect 69 vfio-bind -n --restore "$dir/away"
says "0000:03:00.0: network card eno1 is up"
prints '' "--restore of the host's network"
sed -i -e /03:00.0/d -e 's/#end 2/#end 1/' "$dir/away"
expect 75 vfio-bind -n --restore "$dir/away"
says "0000:05:00.0: in use by process 1234 (ollama)"
prints '' "--restore under a process"
expect 0 vfio-bind -n -f --restore "$dir/away"
says "taken all the same"
grep -q '^echo vfio-pci > ' "$dir/out" || fail "-f --restore writes nothing"
chmod 666 "$dir/away"
expect 65 vfio-bind -n -f --restore "$dir/away"
says "$dir/away: others may write to it"

# Killed after one of two was bound, and run again: FILE keeps what was before.
expect 0 vfio-bind -n --to vfio-pci --record "$dir/record" 01:00.0
grep -q '^# record 2 functions in ' "$dir/out" || fail "-n does not tell of the record"
expect 69 vfio-bind --to vfio-pci --record "$dir/record" 01:00.0
says "0000:01:00.1: driver vfio-pci did not take it"
printf '#addr\tdriver\tdriver_override\n0000:01:00.0\tnvidia\t-\n0000:01:00.1\tsnd_hda_intel\t-\n#end 2\n' >"$dir/want"
diff -u "$dir/want" "$dir/record" >&2 || fail "the record of the first run is lost"
says "0000:01:00.1: put back as it was"

# What is no file stays what it is, and nothing is bound without a record.
mkfifo "$dir/pipe"
cp -a "$root" "$dir/kept"
expect 71 vfio-bind --to vfio-pci --record "$dir/pipe" 01:00.0
says "$dir/pipe: not a regular file"
[ -p "$dir/pipe" ] || fail "--record took the place of a FIFO"
diff -r --no-dereference "$dir/kept" "$root" >&2 || fail "bound without a record"
ln -s /proc/self/fd/1 "$dir/stdout"
expect 71 vfio-bind --record "$dir/stdout" 01:00.0
[ -L "$dir/stdout" ] || fail "--record took the place of a link into /proc"

# A function that is gone is said and skipped; a file that is cut is not believed.
printf '#addr\tdriver\tdriver_override\n0000:0a:00.0\tnvidia\t-\n#end 1\n' >"$dir/record"
expect 0 vfio-bind --restore "$dir/record"
says "0000:0a:00.0: gone since it was recorded; skipped"
printf '0000:01:00.0\tnvidia\t-\n' >"$dir/record"
expect 65 vfio-bind --restore "$dir/record"
says "$dir/record: not a complete record"
printf 'a\000b\n#end 1\n' >"$dir/record"
expect 65 vfio-bind --restore "$dir/record"
expect 66 vfio-bind --restore "$dir/none"
expect 71 vfio-bind --restore "$dir"

# Wrong use.
expect 64 vfio-bind
expect 64 vfio-bind 01:00.0
expect 64 vfio-bind --to vfio-pci
expect 64 vfio-bind --to ../x 01:00.0
expect 64 vfio-bind --restore x 01:00.0
expect 64 vfio-bind --restore x --to host
expect 64 vfio-bind --nope
says "Try 'vfio-bind --help'."
expect 0 vfio-bind --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
expect 0 vfio-bind --version
grep -q '^vfio-bind (pve-gpu-utils) ' "$dir/out" || fail "--version"
expect 74 sh -c "vfio-bind --help >/dev/full"

exit $failed
