#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gpu-doctor: a host where all is well, then one fault at a time; other hosts; the bundle
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
LC_ALL=C.UTF-8
export LC_ALL
command -v depmod >/dev/null || PATH=$PATH:/usr/sbin:/sbin
command -v depmod >/dev/null || {
	echo "depmod is missing (apt-get install kmod)"
	exit 77
}
PVE_GPU_COMMANDS=$src/fixtures/hosts/bin
export PVE_GPU_COMMANDS

# doctor CODE ARG...
doctor() {
	want=$1
	shift
	rc=0
	gpu-doctor -R "$r" "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	[ "$rc" -eq "$want" ] || fail "gpu-doctor $* exited $rc, not $want: $(cat "$dir/out" "$dir/err")"
	[ ! -s "$dir/err" ] || [ "$want" -gt 1 ] || fail "gpu-doctor $* said: $(cat "$dir/err")"
}
has() {
	for text; do
		grep -qF -e "$text" "$dir/out" || fail "not in the report: $text (it is: $(cat "$dir/out"))"
	done
}
has_not() {
	! grep -qF -e "$1" "$dir/out" || fail "in the report: $1"
}

# An Arc card for VM 100, set up and booted, its backup protected.
"$src/fixtures/hosts/mkhost" pve9-uefi-arc "$dir/well"
r=$dir/well
vfio-setup -R "$r" apply -q --gpu 05:00.0 --early >"$dir/out" 2>&1 || fail "vfio-setup apply: $(cat "$dir/out")"
PVE_GPU_ROOT=$r "$PVE_GPU_COMMANDS/boot" 6.14.8-2-pve || fail "boot"
for addr in 0000:05:00.0 0000:06:00.0; do
	link=$(readlink "$r/sys/bus/pci/devices/$addr/driver")
	ln -sfn "${link%/*}/vfio-pci" "$r/sys/bus/pci/devices/$addr/driver"
	echo flr bus >"$r/sys/bus/pci/devices/$addr/reset_method"
done
for module in vfio vfio_iommu_type1 vfio_pci; do
	mkdir -p "$r/sys/module/$module"
done
pve=$r/etc/pve
# The host's own processes: none, and nobody runs.
mkdir -p "$r/proc/1/fd" "$r/run" "$r/var/lib" "$r/etc/pve-gpu-utils/vzdump.d" "$r/etc/systemd/system/multi-user.target.wants"
{
	printf 'name: desktop\nmemory: 8192\nmachine: q35\nscsi0: local:vm-100-disk-0,size=8G\n'
	printf 'hostpci0: 0000:05:00.0,pcie=1\nhostpci1: 0000:06:00.0,pcie=1\n'
} >"$pve/nodes/pve/qemu-server/100.conf"
printf 'name: files\nscsi0: local:vm-101-disk-0,size=8G\n' >"$pve/nodes/pve/qemu-server/101.conf"
printf 'vzdump: nightly\n\tschedule 02:00\n\tall 1\n\tmode snapshot\n' >"$pve/jobs.cfg"
printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,snippets\n\n' >"$pve/storage.cfg"
printf 'script: /etc/pve-gpu-utils/vzdump-hook\n' >"$r/etc/vzdump.conf"
cp "$src/../utils/vzdump-hook" "$r/etc/pve-gpu-utils/vzdump-hook"
cp "$src/../utils/50-gpu" "$r/etc/pve-gpu-utils/vzdump.d/50-gpu"
chmod 755 "$r/etc/pve-gpu-utils/vzdump-hook" "$r/etc/pve-gpu-utils/vzdump.d/50-gpu"
ln -s nowhere "$r/etc/systemd/system/multi-user.target.wants/pve-gpu-recover.service"

about=well
doctor 0
has 'nothing found' 'is started for its backup'
has_not '  warn'
doctor 0 -q
[ ! -s "$dir/out" ] || fail "-q says: $(cat "$dir/out")"
doctor 0 -v
has '  ok    iommu: at work' '  ok    0000:05:00.0 8086:56a0: driver vfio-pci' '  ok    qemu/100: 0000:05:00.0 0000:06:00.0' \
	'  ok    hook: vzdump calls' '  ok    nothing was left behind'
doctor 0 --json
grep -qxF '{"section":"leftovers","level":"ok","what":"nothing was left behind","why":null,"command":null}' "$dir/out" ||
	fail "JSON: $(cat "$dir/out")"
cp -a "$r" "$dir/before"
doctor 0
diff -r --no-dereference "$dir/before" "$r" >"$dir/diff" 2>&1 || fail "something was changed: $(cat "$dir/diff")"
rm -rf "$dir/before"

# fault NAME: the well host again
fault() {
	about=$1
	rm -rf "$dir/r"
	cp -a "$dir/well" "$dir/r"
	r=$dir/r
	pve=$r/etc/pve
	vm=$pve/nodes/pve/qemu-server
	gpu=$r/sys/bus/pci/devices/0000:05:00.0
}

fault "the hook is off"
echo 'mode: snapshot' >"$r/etc/vzdump.conf"
doctor 1
has '  fail  hook: vzdump calls no hook script' '        # pve-gpu-hooks enable' '1 found: see'
# The command that it names is what helps; the stub comes from the sources here.
pkgdatadir=$(sed -n 's|^[[:space:]]*source=\(/.*\)/vzdump-hook$|\1|p' "$(command -v pve-gpu-hooks)")
mkdir -p "$r$pkgdatadir"
cp "$src/../utils/vzdump-hook" "$r$pkgdatadir/vzdump-hook"
pve-gpu-hooks -R "$r" enable >"$dir/out" 2>&1 || fail "enable: $(cat "$dir/out")"
doctor 0

fault "set-up taken away"
rm "$r/etc/modprobe.d/pve-gpu-utils.conf"
doctor 1
has '  todo  files: /etc/modprobe.d/pve-gpu-utils.conf' '        # vfio-setup apply'
vfio-setup -R "$r" apply -q >"$dir/out" 2>&1 || fail "apply: $(cat "$dir/out")"
doctor 0

fault "never set up"
vfio-setup -R "$r" undo -q >"$dir/out" 2>&1 || fail "undo: $(cat "$dir/out")"
doctor 1
has '  todo  claim: 0000:05:00.0' '        # vfio-setup apply -g 0000:05:00.0'
[ "$(grep -cF 'takes effect at the next boot' "$dir/out")" -eq 1 ] || fail "the next boot, not once: $(cat "$dir/out")"

fault "no answer"
printf '\377\377\377\377\377\377\377\377' >"$gpu/config"
doctor 1
has '  fail  0000:05:00.0 8086:56a0 does not answer' '        # pci-rescan 0000:05:00.0'
echo D3cold >"$gpu/power_state"
doctor 0

fault "group mates"
ln -s "../../../../devices/pci0000:00/0000:00:1f.6" "$r/sys/kernel/iommu_groups/$(basename "$(readlink "$gpu/iommu_group")")/devices/0000:00:1f.6"
doctor 1
has '  warn  0000:05:00.0 shares its IOMMU group'

fault "no function-level reset"
echo bus >"$gpu/reset_method"
doctor 1
has '  warn  qemu/100: 0000:05:00.0 has no function-level reset, and no hook resets it before a start' \
	'        # pve-gpu-hooks guest 100 enable'
echo 'hookscript: local:snippets/pve-gpu-hook' >>"$vm/100.conf"
mkdir -p "$r/var/lib/vz/snippets"
cp "$src/../utils/guest-hook" "$r/var/lib/vz/snippets/pve-gpu-hook"
chmod 755 "$r/var/lib/vz/snippets/pve-gpu-hook"
doctor 0

fault "a card that is gone"
sed -i 's/^hostpci1: .*/hostpci1: 0000:0a:00.0/' "$vm/100.conf"
doctor 1
has '  fail  qemu/100 hostpci1: 0000:0a:00.0 is not there' '        # qm set 100 --delete hostpci1'

fault "a value that is refused"
sed -i 's/^hostpci1: .*/hostpci1: 0000:0A:00.0/' "$vm/100.conf"
doctor 1
has '  fail  qemu/100: hostpci1: ' '        # qm set 100 --delete hostpci1'

fault "a mapping that has grown old"
sed -i 's/^hostpci0: .*/hostpci0: mapping=arc/' "$vm/100.conf"
mkdir -p "$pve/mapping"
printf 'arc\n\tmap id=8086:56a0,iommugroup=99,node=pve,path=0000:05:00.0\n\tmap id=8086:56a0,iommugroup=9,node=pve,path=0000:0b:00.0\n\tmap id=8086:1111,iommugroup=5,node=other,path=0000:05:00.0\n' >"$pve/mapping/pci.cfg"
now=iommugroup=$(basename "$(readlink "$gpu/iommu_group")"),node=pve,path=0000:05:00.0,subsystem-id=$(cut -c 3- "$gpu/subsystem_vendor"):$(cut -c 3- "$gpu/subsystem_device")
doctor 1
has '  fail  qemu/100 hostpci0: mapping arc and the hardware differ in iommugroup of 0000:05:00.0' \
	'  warn  qemu/100 hostpci0: 0000:0b:00.0 of mapping arc is not there' \
	"        # pvesh set /cluster/mapping/pci/arc --map id=8086:56a0,$now --map id=8086:1111,iommugroup=5,node=other,path=0000:05:00.0"
[ "$(grep -c 'pvesh set' "$dir/out")" -eq 1 ] || fail "the command is named more than once"
# What pvesh would write.
printf 'arc\n\tmap id=8086:56a0,%s\n\tmap id=8086:1111,iommugroup=5,node=other,path=0000:05:00.0\n' "$now" >"$pve/mapping/pci.cfg"
doctor 0
sed -i s/mapping=arc/mapping=nosuch/ "$vm/100.conf"
doctor 1
has '  fail  qemu/100 hostpci0: no mapping nosuch for this node'

fault "two that want it at boot"
printf 'onboot: 1\n' >>"$vm/100.conf"
sed 's/^scsi0.*/scsi0: local:vm-102-disk-0,size=8G/' "$vm/100.conf" >"$vm/102.conf"
doctor 1
has 'qemu/100 and qemu/102 both start at boot and want 0000:05:00.0' '        # qm set 102 --onboot 0' \
	'  note  qemu/100,qemu/102 take turns at 0000:05:00.0'
printf '[old]\nonboot: 1\n' | cat "$dir/well/etc/pve/nodes/pve/qemu-server/100.conf" - >"$vm/102.conf"
doctor 0

fault "a container without its node"
printf 'hostname: llm\ndev0: /dev/nvidia0\nrootfs: local:200,size=4G\n' >"$pve/nodes/pve/lxc/200.conf"
doctor 1
has '  fail  lxc/200 dev0: its node is not there' '        # systemctl enable --now pve-gpu-nodes.service'

fault "leftovers"
sed -i '1ilock: backup' "$vm/101.conf"
mkdir -p "$r/run/pve-gpu-utils/rescan"
: >"$r/run/pve-gpu-utils/rescan/0000:05:00.0"
: >"$r/run/pve-gpu-utils/rescan/10000:e1:00.0"
doctor 1
has '  warn  qemu/101 is locked for a backup, and none runs' '        # qm unlock 101' \
	'  warn  pci-rescan has not put everything back at 0000:05:00.0' '        # pci-rescan 0000:05:00.0' \
	'        # pci-rescan 10000:e1:00.0'
# While a backup runs its lock is in order.
: >"$r/run/vzdump.lock"
flock "$r/run/vzdump.lock" gpu-doctor -R "$r" >"$dir/out" 2>&1 || :
has_not 'is locked for a backup, and none runs'

fault "a program that breaks"
mkdir "$dir/broken"
for file in "$(dirname "$(command -v gpu-doctor)")"/*; do
	ln -s "$file" "$dir/broken/"
done
rm -f "$dir/broken/mdev-ls"
printf '#!/bin/sh\necho "mdev-ls: out of luck" >&2\nexit 71\n' >"$dir/broken/mdev-ls"
chmod 755 "$dir/broken/mdev-ls"
rc=0
"$dir/broken/gpu-doctor" -R "$r" >"$dir/out" 2>&1 || rc=$?
[ "$rc" -eq 1 ] || fail "exit code $rc"
has '  fail  mdev-ls failed (exit code 71)' 'out of luck'

fault "a signal while a program hangs"
# shellcheck disable=SC2016 # for the other shell
printf '#!/bin/sh\necho $$ >"$PVE_GPU_ROOT/hangs"\nexec sleep 100\n' >"$dir/broken/mdev-ls"
mkdir "$dir/tmp"
TMPDIR=$dir/tmp "$dir/broken/gpu-doctor" -R "$r" >"$dir/out" 2>&1 &
pid=$!
for _ in $(seq 60); do
	[ ! -s "$r/hangs" ] || break
	sleep 1
done
begin=$(date +%s)
kill -TERM "$pid"
rc=0
wait "$pid" || rc=$?
[ "$rc" -eq 130 ] || fail "exit code $rc"
[ $(($(date +%s) - begin)) -le 60 ] || fail "it was waited for"
[ -z "$(ls "$dir/tmp")" ] || fail "left behind: $(ls "$dir/tmp")"
# One that nobody has reaped yet is dead, too.
goes_on() { grep -qs '^State:	[^ZX]' "/proc/$(cat "$r/hangs")/status"; }
for _ in $(seq 30); do
	goes_on || break
	sleep 1
done
! goes_on || fail "the program goes on"

# No Proxmox VE, and nothing at all.
fault "plain Debian"
rm -rf "$pve"
doctor 0
has 'this is no host of Proxmox VE'
r=$dir/none
doctor 66

# Hosts of the other tests: what they are made of is found.
about=list-pve1
r=$dir/list-pve1
fixture list-pve1 "$r"
doctor 1
has '  fail  qemu/103 hostpci1: mapping moved and the hardware differ in iommugroup' \
	"  fail  qemu/106: hostpci2: cannot set both 'host' and 'mapping'" '        # pct set 202 --delete dev0' \
	'  fail  lxc/200 dev2: its node is not there' '        # mdev-rm --leftovers' \
	'  note  qemu/1000,lxc/201 take turns at 0000:06:00.0 (host-driver)'
doctor 1 -j
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys
for line in sys.stdin: assert set(json.loads(line)) == {"section", "level", "what", "why", "command"}' \
		<"$dir/out" || fail "no JSON"
fi

about=vgpu
r=$dir/vgpu
fixture vgpu "$r"
doctor 1
has '        # /usr/lib/nvidia/sriov-manage -e 0000:61:00.0' '        # pve-gpu-hooks mdev enable' \
	'  warn  vGPU 0000:41:00.5 (nvidia-660 on 0000:41:00.0) is used by nobody' '        # mdev-rm --leftovers'

# --- the bundle ----------------------------------------------------------------

fault "bundle"
secret='8c6d4b20-1b54-4048-85b3-a6a62d165c01'
cat >>"$vm/100.conf" <<END
description: call %2B49-30-1234567, password hunter2
args: -vnc :1,password=hunter2
net0: virtio=BC:24:11:2E:C5:01,bridge=vmbr0
smbios1: uuid=$secret
hostpci2: 0000:0c:00.0,romfile=desktop.rom
hostpci3: mapping=card-of-erika
hookscript: nfs-tank:snippets/hermes-192.168.7.20.sh
dev0: /dev/serial/by-id/usb-FTDI_A50285BI-if00
lxc.mount.entry: /srv/moonshot srv none bind
[before-merger]
hostpci0: 0000:05:00.0
END
mkdir -p "$pve/mapping"
printf 'card-of-erika\n\tmap id=8086:56a0,node=pve,path=0000:05:00.0\n' >"$pve/mapping/pci.cfg"
printf 'nfs: nfs-tank\n\tserver 192.168.7.9\n' >>"$pve/storage.cfg"
printf 'user:carla@pve:1:0:Carla:Z:carla@acme.example::\npool:bigbank:::\n' >"$pve/user.cfg"
mkdir -p "$pve/nodes/hermes/lxc"
printf 'hostname: payroll-db\nlxc.environment: TOKEN=hunter2\n' >"$pve/nodes/hermes/lxc/300.conf"
printf 'vzdump: weekly-merkur\n\tpool bigbank\n\tmailto boss@acme.example\n\tnode hermes\n\tcomment for payroll-db\n' >"$pve/jobs.cfg"
printf '127.0.0.1 localhost\n192.168.7.20 hermes.acme.example hermes # payroll-db.acme.example\n' >"$r/etc/hosts"
printf 'search acme.example lan.acme.example\nnameserver 192.168.7.1\n' >"$r/etc/resolv.conf"
printf 'options vfio-pci ids=8086:56a0 # ask Zaphod\ninstall evil /bin/sh -c token123\n' >"$r/etc/modprobe.d/local.conf"
echo "root=UUID=$secret quiet intel_iommu=on rd.iscsi.password=hunter2 x=\"a hunter2\" ip=192.168.7.20::192.168.7.1:255.255.255.0:hermes:eno1" >"$r/etc/kernel/cmdline"
mkdir -p "$r/etc/default"
printf 'GRUB_CMDLINE_LINUX="quiet iommu=pt x=\\"a hunter2\\" ip=192.168.7.20"\n' >>"$r/etc/default/grub"
doctor 1 -q --bundle "$dir/report.txt"
[ "$(stat -c %a "$dir/report.txt")" = 600 ] || fail "mode $(stat -c %a "$dir/report.txt")"
for word in hunter2 Zaphod token123 erika nfs-tank A50285BI moonshot merger merkur carla bigbank hermes acme payroll boss desktop "$secret" 192.168.7 1234567 BC:24:11; do
	! grep -qi -e "$word" "$dir/report.txt" || fail "the bundle tells $word: $(grep -i -e "$word" "$dir/report.txt")"
done
for text in '==> report' '  fail  qemu/100 hostpci2' '==> /etc/pve/local/qemu-server/100.conf' 'hostpci0: 0000:05:00.0,pcie=1' \
	'==> pve-hostpci-ls' 'romfile=guest-' 'root=... quiet intel_iommu=on rd.iscsi.password=... x=... ip=...' 'GRUB_CMDLINE_LINUX="quiet iommu=pt x=... ip=..."' '[snapshot]' 'mapping=mapping-1' 'pool pool-1' 'options vfio-pci ids=8086:56a0' '==> gpu-ls --tree' 'node host-'; do
	grep -qF -e "$text" "$dir/report.txt" || fail "not in the bundle: $text"
done
# One name, one number.
host=$(sed -n 's/.*snippets\/\(host-[0-9]*\)-ip-[0-9]*\.sh.*/\1/p' "$dir/report.txt" | head -n 1)
grep -qF "node ${host:-none}" "$dir/report.txt" || fail "numbers differ: $(grep -F host- "$dir/report.txt")"
doctor 1 -q --bundle=-
grep -qF '==> report' "$dir/out" || fail "no bundle on standard output"
set -- "$dir"/report.txt*
[ $# -eq 1 ] || fail "left beside the bundle: $*"
doctor 73 --bundle "$dir"
doctor 73 --bundle "$dir/nowhere/report.txt"
# What is no plain file stays what it is: a FIFO here, /dev/stdout elsewhere.
mkfifo "$dir/pipe"
doctor 73 --bundle "$dir/pipe"
grep -qF "$dir/pipe is no plain file (- is standard output)" "$dir/err" || fail "said: $(cat "$dir/err")"
[ -p "$dir/pipe" ] || fail "the bundle took the place of a FIFO"
bundle=$(dirname "$(command -v gpu-doctor)")/doctor-bundle
[ -x "$bundle" ] || bundle=/usr/libexec/pve-gpu-utils/doctor-bundle
mkdir "$dir/seen"
for to in /proc/self/fd/1 /dev/null report.txt nowhere; do
	ln -sfn "$to" "$dir/link"
	rc=0
	PVE_GPU_ROOT=$r "$bundle" "$dir/seen" "$dir/link" >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc,$(readlink "$dir/link")" = "73,$to" ] || fail "a link to $to: exit code $rc"
	[ ! -s "$dir/out" ] || fail "a link to $to is followed"
done

# --- options -----------------------------------------------------------------------

about=options
doctor 64 --nope
doctor 64 operand
doctor 64 --bundle
doctor 0 --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
doctor 0 --version

exit $failed
