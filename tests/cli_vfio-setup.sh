#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vfio-setup on a text fixture: what it refuses, what it says, and that nothing
# is half-done. Stand-ins take the place of update-grub and the others.
# shellcheck disable=SC2016 # what is in single quotes is for others to expand
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
bin=$dir/bin
unset PVE_GPU_COMMANDS
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT

has() { grep -qF -- "$1" "$dir/out" || { fail "not printed: $1"; cat "$dir/out" >&2; }; }
has_not() { ! grep -qF -- "$1" "$dir/out" || { fail "printed: $1"; cat "$dir/out" >&2; }; }
tree() { (cd "$root" && find . -printf '%p %y %m %l\n' | sort && find . -type f -exec cksum {} + | sort); }
fresh() {
	rm -rf "$root" "$bin"
	fixture setup-host
	mkdir "$bin"
	for name in update-grub update-initramfs proxmox-boot-tool kernel-install; do
		stand_in "$name" "echo '$name' \"\$@\" >>'$dir/log'"
	done
	: >"$dir/log"
	tree >"$dir/start"
}
stand_in() { # NAME SHELL
	printf '#!/bin/sh\n%s\n' "$2" >"$bin/$1"
	chmod 755 "$bin/$1"
}
unchanged() {
	tree >"$dir/now"
	diff -u "$dir/start" "$dir/now" >&2 || fail "$1: the tree is not as at the start"
}
ran() { # TEXT: the commands since the last look
	printf '%s' "$1" >"$dir/want"
	diff -u "$dir/want" "$dir/log" >&2 || fail "other commands were run"
	: >"$dir/log"
}
cmdline=$root/etc/kernel/cmdline
state=$root/var/lib/pve-gpu-utils/vfio-setup
modprobe=$root/etc/modprobe.d/pve-gpu-utils.conf
set_up() { PVE_GPU_COMMANDS=$bin expect "$@"; }

# --- wrong use ---------------------------------------------------------------
fresh
expect 64 vfio-setup
says "no command is given"
says "Try 'vfio-setup --help'."
expect 64 vfio-setup what
says "what: not a command"
expect 64 vfio-setup check apply
expect 64 vfio-setup apply
says "nothing is applied yet"
expect 64 vfio-setup diff
expect 64 vfio-setup undo --gpu 01:00.0
expect 64 vfio-setup check --nope
expect 64 vfio-setup check -o level,colour
expect 64 vfio-setup check -j -0
for addr in 01:00.8 nvidia '' '01:00.0;x'; do
	expect 64 vfio-setup apply --gpu "$addr"
	says "not the address of a PCI function"
done
for id in 10de 10de:22041 10de:220x '10de:2204 '; do
	expect 64 vfio-setup apply --id "$id"
	says "not a vendor and device id"
done
for module in '' 'a b' ../x vfio-pci vfio; do
	expect 64 vfio-setup apply --gpu 01:00.0 --blacklist "$module"
done
newline='a
b'
for word in '' 'a b' "$newline" 'a"b' "a'b" 'a$b' 'a\b' 'a;b' root=/dev/sdb1 --; do
	expect 64 vfio-setup apply --gpu 01:00.0 --cmdline="$word"
done
expect 66 vfio-setup apply --gpu 09:00.0
says "0000:09:00.0"
expect 66 vfio-setup apply --id 10de:9999
expect 69 vfio-setup apply --gpu 00:01.0
expect 69 vfio-setup apply --id 8086:1533
unchanged "wrong use"
expect 0 vfio-setup --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
for option in all-gpus blacklist cmdline dry-run early force gpu header help id json null \
	output quiet raw reboot root verbose version; do
	has "--$option"
done
expect 0 vfio-setup --version
has "vfio-setup (pve-gpu-utils) "
expect 74 sh -c "vfio-setup --help >/dev/full"

# Who is not root does nothing on the host itself.
if [ "$(id -u)" -eq 0 ]; then
	expect 77 env -u PVE_GPU_ROOT setpriv --reuid 65534 --clear-groups "$(command -v vfio-setup)" check
	grep -q 'needs root\|ermission denied' "$dir/err" || fail "root is not asked for"
fi

# --- check -------------------------------------------------------------------
expect 1 vfio-setup check --gpu 01:00.0
silent
grep -q "^todo	files	/etc/modprobe.d/pve-gpu-utils.conf: to be written	" "$dir/out" || fail "files"
grep -q "^todo	driver	.*nouveau" "$dir/out" || fail "driver"
grep -q "^ok	boot	GRUB" "$dir/out" || fail "boot"
expect 1 vfio-setup check -H --gpu 01:00.0
[ "$(head -n 1 "$dir/out")" = "#level	topic	what	how" ] || fail "-H"
expect 1 vfio-setup check -o topic,level --gpu 01:00.0
grep -qx "boot	ok" "$dir/out" || fail "-o"
expect 1 vfio-setup check -j --gpu 01:00.0
has '{"level":"todo","topic":"files","what":"/etc/modprobe.d/pve-gpu-utils.conf: to be written","how":'
expect 69 vfio-setup check --gpu 00:01.0
grep -q "^fail	cards	0000:00:01.0" "$dir/out" || fail "a bridge"
grep -q "^ok	files	nothing is applied" "$dir/out" || fail "nothing is applied"
unchanged check

# --- diff and apply -------------------------------------------------------------
expect 1 vfio-setup diff --gpu 01:00.0 --cmdline iommu=pt
silent
has "--- /dev/null"
has "+++ /etc/modprobe.d/pve-gpu-utils.conf"
has "+options vfio-pci ids=10de:2204,10de:1aef"
has "+vfio_iommu_type1"
has '+GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT iommu=pt"'
has_not /var/lib
expect 0 vfio-setup apply -n --gpu 01:00.0 --cmdline iommu=pt
has "write /etc/modprobe.d/pve-gpu-utils.conf"
has "to run: chroot $root /usr/sbin/update-initramfs -u -k all"
has "to run: chroot $root /usr/sbin/update-grub"
unchanged "apply -n"
# Another root's commands are not run, but told.
expect 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
has "to run: chroot $root /usr/sbin/update-grub"
has "a reboot puts it into effect"
expect 0 vfio-setup undo
unchanged "undo without commands"
set_up 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt --cmdline quiet
silent
has "run /usr/sbin/update-grub"
ran "update-initramfs -u -k all
update-grub
"
# "quiet" was there before.
grep -qx 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT iommu=pt"' \
	"$root/etc/default/grub.d/pve-gpu-utils.cfg" || fail "the drop-in of GRUB"
[ "$(stat -c %a "${state%/*}" "$state" "$state/manifest" "$modprobe" | tr '\n' ' ')" = "700 700 600 644 " ] || fail "modes"
[ ! -e "$state/journal" ] || fail "a journal is left"
grep -qx "root=/dev/sda1 ro quiet" "$cmdline" || fail "the left-over cmdline is touched"
tree >"$dir/applied"
set_up 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt --cmdline quiet
has "nothing to change; a reboot puts it into effect"
set_up 0 vfio-setup apply
has "nothing to change"
ran ""
expect 0 vfio-setup diff
[ ! -s "$dir/out" ] || fail "diff after apply"
tree >"$dir/now"
cmp -s "$dir/applied" "$dir/now" || fail "apply again changed something"
expect 1 vfio-setup check
grep -q "^ok	files	3 files as apply wrote them" "$dir/out" || fail "check after apply"
grep -q "^todo	boot	iommu=pt: configured, not in" "$dir/out" || fail "configured, not staged"

# Fewer wishes: what is no longer asked for goes.
set_up 0 vfio-setup apply --gpu 01:00.0
has "remove /etc/default/grub.d/pve-gpu-utils.cfg"
ran "update-grub
"
set_up 0 vfio-setup undo
ran "update-initramfs -u -k all
"
unchanged undo
set_up 0 vfio-setup undo
has "nothing to change"
ran ""
unchanged "undo again"

# --- a file of GRUB's that forgets ours --------------------------------------------
mkdir "$root/etc/default/grub.d"
echo 'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"' >"$root/etc/default/grub.d/zz.cfg"
set_up 0 vfio-setup apply -n --gpu 01:00.0 --cmdline iommu=pt
says "/etc/default/grub.d/zz.cfg:1 sets GRUB_CMDLINE_LINUX_DEFAULT anew"
set_up 1 vfio-setup check --gpu 01:00.0 --cmdline iommu=pt
grep -q "^warn	boot	/etc/default/grub.d/zz.cfg:1 sets" "$dir/out" || fail "check: a reset"

# --- another card in the slot -----------------------------------------------------
fresh
set_up 0 vfio-setup apply --gpu 01:00.0
echo 0x2206 >"$root/sys/bus/pci/devices/0000:01:00.0/device"
: >"$dir/log"
set_up 69 vfio-setup apply
says "0000:01:00.0: holds 10de:2206"
set_up 69 vfio-setup apply --gpu 01:00.0
set_up 69 vfio-setup check
grep -q "^fail	cards	0000:01:00.0: holds 10de:2206" "$dir/out" || fail "another card"
set_up 0 vfio-setup apply --gpu 01:00.0 --force
grep -q "ids=10de:2206,10de:1aef" "$modprobe" || fail "--force takes the new card"
set_up 0 vfio-setup undo

# --- files in the way ---------------------------------------------------------------
fresh
echo "options vfio-pci ids=1:2" >"$modprobe"
tree >"$dir/start"
set_up 73 vfio-setup apply --gpu 01:00.0
says "/etc/modprobe.d/pve-gpu-utils.conf: there is a file of this name"
set_up 73 vfio-setup apply --force --gpu 01:00.0
set_up 1 vfio-setup check --gpu 01:00.0
has "there is a file of this name"
ran ""
unchanged "a foreign file"
rm "$modprobe"
ln -s /nowhere "$modprobe"
set_up 73 vfio-setup apply --force --gpu 01:00.0
says "a symbolic link"
rm "$modprobe"
mkdir "$modprobe"
set_up 73 vfio-setup apply --gpu 01:00.0
rmdir "$modprobe"

# One of ours with lines of somebody else: they stay, ours come and go.
set_up 0 vfio-setup apply --gpu 01:00.0
cp "$modprobe" "$dir/ours"
{ echo "# before"; cat "$dir/ours"; echo "# behind"; } >"$modprobe"
: >"$dir/log"
set_up 0 vfio-setup apply
has "nothing to change"
ran ""
set_up 0 vfio-setup apply --gpu 01:00.0 --blacklist nouveau
{ echo "# before"; cat "$dir/ours"; echo "blacklist nouveau"; echo "# behind"; } >"$dir/want"
cmp -s "$dir/want" "$modprobe" || { fail "others' lines"; cat "$modprobe" >&2; }
set_up 0 vfio-setup undo
[ "$(cat "$modprobe")" = "# before
# behind" ] || fail "undo and others' lines"
fresh

# One of ours that was changed since.
set_up 0 vfio-setup apply --gpu 01:00.0
sed 's/ids=/disable_vga=1 ids=/' "$modprobe" >"$dir/want"
cp "$dir/want" "$modprobe"
: >"$dir/log"
for command in apply undo; do
	set_up 73 vfio-setup "$command"
	says "/etc/modprobe.d/pve-gpu-utils.conf: changed since vfio-setup wrote it"
done
set_up 1 vfio-setup diff
has "-options vfio-pci disable_vga=1"
ran ""
set_up 0 vfio-setup apply --force
ran "update-initramfs -u -k all
"
cp "$dir/want" "$modprobe"
# Gone is no hindrance.
rm "$root/etc/modules-load.d/pve-gpu-utils.conf"
set_up 0 vfio-setup undo --force
fresh
# The manifest is lost: what has our mark is taken away with --force.
set_up 0 vfio-setup apply --gpu 01:00.0
rm -r "$root/var/lib/pve-gpu-utils"
set_up 0 vfio-setup undo
has "nothing to change"
set_up 0 vfio-setup undo --force
unchanged "undo --force without a manifest"

# --- /etc/kernel/cmdline ---------------------------------------------------------------
pbt() {
	fresh
	echo 8357-FBD5 >"$root/etc/kernel/proxmox-boot-uuids"
	stand_in proxmox-boot-tool "echo proxmox-boot-tool \"\$@\" >>'$dir/log'
case \$1 in
status) echo '8357-FBD5 is configured with: uefi (versions: 6.8.12-1-pve)' ;;
*) echo 'Copying and configuring kernels on /dev/disk/by-uuid/8357-FBD5' ;;
esac"
	tree >"$dir/start"
}
pbt
printf 'root=ZFS=rpool/ROOT/pve-1  boot=zfs' >"$cmdline"
chmod 640 "$cmdline"
tree >"$dir/start"
set_up 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt --cmdline a=b
[ "$(cat "$cmdline")" = 'root=ZFS=rpool/ROOT/pve-1  boot=zfs iommu=pt a=b' ] || fail "words"
[ "$(stat -c %a "$cmdline")" = 640 ] || fail "mode of cmdline"
[ ! -e "$root/etc/default/grub.d" ] || fail "GRUB is not in use"
grep -qx "proxmox-boot-tool refresh" "$dir/log" || fail "no refresh"
cp -a "$root" "$dir/copy"
set_up 0 vfio-setup undo
unchanged "undo with cmdline"
# Edited since: only our words go.
rm -rf "$root"
mv "$dir/copy" "$root"
printf 'root=ZFS=rpool/ROOT/pve-1 mitigations=off iommu=pt nmi_watchdog=0 a=b\n' >"$cmdline"
set_up 0 vfio-setup apply
has "nothing to change"
set_up 0 vfio-setup undo
[ "$(cat "$cmdline")" = 'root=ZFS=rpool/ROOT/pve-1 mitigations=off nmi_watchdog=0' ] || fail "undo after an edit"
[ ! -e "$state" ] || fail "state is left"
# Not one line, or none.
pbt
printf 'root=/dev/sda1\nquiet\n' >"$cmdline"
tree >"$dir/start"
set_up 65 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "/etc/kernel/cmdline: more than one line"
unchanged "two lines"
echo quiet >"$cmdline"
tree >"$dir/start"
set_up 65 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "/etc/kernel/cmdline: has no root="
unchanged "a command line without root="
rm "$cmdline"
tree >"$dir/start"
set_up 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
[ "$(cat "$cmdline")" = "root=/dev/sda1 ro quiet iommu=pt" ] || fail "made from the running one"
set_up 0 vfio-setup undo
unchanged "cmdline was made"
echo quiet >"$root/proc/cmdline"
tree >"$dir/start"
set_up 69 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "no root="
unchanged "no root="
# Which loader is not told: both are served.
pbt
rm "$bin/proxmox-boot-tool"
set_up 74 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "which boot loader is in use is not clear"
# The ESP is not there: nothing is begun, or all is taken back.
pbt
stand_in proxmox-boot-tool 'echo "WARN: /dev/disk/by-uuid/8357-FBD5 does not exist - skipping"'
set_up 74 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "no EFI system partition of /etc/kernel/proxmox-boot-uuids is there"
ran ""
unchanged "no ESP"
set_up 69 vfio-setup check --gpu 01:00.0
grep -q "^fail	boot	proxmox-boot-tool status: WARN: .*8357-FBD5" "$dir/out" || fail "check: no ESP"
stand_in proxmox-boot-tool 'echo "WARN: /dev/disk/by-uuid/8357-FBD5 does not exist - skipping"
case $1 in
status) echo "0000-0001 is configured with: uefi (versions: 6.8)" ;;
*) echo "Copying and configuring kernels on /dev/disk/by-uuid/0000-0001" ;;
esac'
set_up 1 vfio-setup check --gpu 01:00.0
grep -q "^warn	boot	proxmox-boot-tool status: WARN: .*8357-FBD5" "$dir/out" || fail "check: one ESP less"
set_up 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "8357-FBD5 does not exist"
set_up 0 vfio-setup undo
unchanged "one ESP less"
stand_in proxmox-boot-tool 'case $1 in
status) echo "8357-FBD5 is configured with: uefi (versions: 6.8)" ;;
*) echo "WARN: /dev/disk/by-uuid/8357-FBD5 does not exist - skipping" ;;
esac'
set_up 74 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "every EFI system partition was skipped"
says "everything is as it was before"
unchanged "the ESP went away"
# It cannot be made effective, nor taken back: the next run does it.
stand_in proxmox-boot-tool 'case $1 in
status) echo "8357-FBD5 is configured with: uefi (versions: 6.8)" ;;
*) exit 1 ;;
esac'
set_up 74 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "/usr/sbin/proxmox-boot-tool refresh: exit status 1"
says "not all could be put back"
grep -qx "root=/dev/sda1 ro quiet" "$cmdline" || fail "the words are still there"
set_up 1 vfio-setup check --gpu 01:00.0
has "an earlier run did not end"
stand_in proxmox-boot-tool 'echo "8357-FBD5 is configured with: uefi (versions: 6.8.12-1-pve)"'
set_up 0 vfio-setup undo
has "run again /usr/sbin/proxmox-boot-tool refresh"
unchanged "refresh works again"

# --- failing, killed, locked out --------------------------------------------------------
fresh
stand_in update-grub "echo update-grub >>'$dir/log'; exit 3"
set_up 74 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "/usr/sbin/update-grub: exit status 3"
has "put back /etc/modprobe.d/pve-gpu-utils.conf"
has "run again /usr/sbin/update-initramfs -u -k all"
ran "update-initramfs -u -k all
update-grub
update-initramfs -u -k all
update-grub
"
stand_in update-grub ":"
set_up 0 vfio-setup undo
unchanged "update-grub failed"

fresh
stand_in update-grub "[ -e '$dir/once' ] || { : >'$dir/once'; exit 1; }"
set_up 74 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "everything is as it was before"
unchanged "update-grub failed once"
rm "$dir/once"

# Killed while a command runs.
fresh
stand_in update-initramfs "echo killed >>'$dir/log'; kill -9 \$PPID"
PVE_GPU_COMMANDS=$bin expect 137 sh -c 'vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt; exit $?'
[ -e "$state/journal" ] || fail "no journal of the killed run"
[ -e "$modprobe" ] || fail "killed too early"
stand_in update-initramfs "echo update-initramfs \"\$@\" >>'$dir/log'"
expect 1 vfio-setup check --gpu 01:00.0
has "an earlier run did not end"
cp -a "$root" "$dir/copy"
: >"$dir/log"
set_up 0 vfio-setup undo
says "an earlier run did not end; what it did is put back first"
ran "update-initramfs -u -k all
"
unchanged "undo after a killed apply"
rm -rf "$root"
mv "$dir/copy" "$root"
set_up 0 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
ran "update-initramfs -u -k all
update-initramfs -u -k all
update-grub
"
set_up 0 vfio-setup undo
unchanged "apply after a killed apply"

# Told to end while a command runs: it is taken back.
fresh
stand_in update-initramfs "[ -e '$dir/once' ] || { : >'$dir/once'; kill -TERM \$PPID; }"
set_up 75 vfio-setup apply --gpu 01:00.0 --cmdline iommu=pt
says "told to end"
says "everything is as it was before"
unchanged "SIGTERM"
rm "$dir/once"

# Two at a time.
fresh
mkdir -p "$state"
(
	flock -x 9
	set_up 75 vfio-setup apply --gpu 01:00.0
	says "another vfio-setup is at work"
	[ "$failed" -eq 0 ]
) 9<"$state" || failed=1

# Killed while a command runs: nobody begins another one beside it.
fresh
stand_in update-initramfs "[ -e '$dir/once' ] || { : >'$dir/once'; kill -KILL \$PPID; until [ -e '$dir/go' ] || [ ! -d '$dir' ]; do sleep 0.1; done; }"
set_up 137 vfio-setup apply --gpu 01:00.0
set_up 75 vfio-setup undo
says "or a command that one began"
: >"$dir/go"
flock -w 60 "$state" true || fail "the command does not end"
set_up 0 vfio-setup undo
unchanged "undo after an apply that was killed in a command"
rm "$dir/once"

# State that is not to be believed.
fresh
mkdir -p "$state"
printf 'version\t1\nword\ta\n' >"$state/manifest"
for command in apply undo check diff; do
	set_up 65 vfio-setup "$command"
	says "/var/lib/pve-gpu-utils/vfio-setup/manifest: not complete"
done
rm "$state/manifest"
printf 'version\t1\n' >"$state/journal"
set_up 65 vfio-setup apply --gpu 01:00.0
says "/var/lib/pve-gpu-utils/vfio-setup/journal: not complete"
ran ""

# The reboot is systemd's; in another root there is none.
fresh
expect 0 vfio-setup apply --reboot --gpu 01:00.0
says "no reboot"
stand_in systemctl "echo systemctl \"\$@\" >>'$dir/log'"
: >"$dir/log"
set_up 0 vfio-setup apply --reboot
ran "systemctl reboot
"
# Booted since, and not in effect: another boot would not help.
printf 'cpu 1\nbtime %s\n' "$(($(date +%s) + 100))" >"$root/proc/stat"
set_up 0 vfio-setup apply --reboot
has "nothing to change; not all is in effect"
ran ""
rm "$root/proc/stat"
set_up 0 vfio-setup undo --reboot
ran "update-initramfs -u -k all
systemctl reboot
"
set_up 0 vfio-setup undo --reboot
ran ""

exit $failed
