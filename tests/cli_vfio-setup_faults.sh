#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vfio-setup killed at every write, every write failing, commands that fail, files
# in the way, bad input: nothing is half-done, and the next run heals.
# PVE_GPU_TEST_LONG: at every system call that tells of a change, not at writes alone.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
hosts=$src/fixtures/hosts
# It does not work under a tracer; leaks are looked for without one.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
export ASAN_OPTIONS
PATH=$PATH:/usr/sbin:/sbin
for tool in strace depmod:kmod; do
	command -v "${tool%:*}" >/dev/null || {
		echo "${tool%:*} is missing (apt-get install ${tool#*:})"
		exit 77
	}
done
strace -qq -o /dev/null true 2>/dev/null || {
	echo "strace may not trace here"
	exit 77
}
PVE_GPU_COMMANDS=$hosts/bin
export PVE_GPU_COMMANDS

fail() {
	echo "FAIL: $*" >&2
	failed=$((failed + 1))
}
# setup RC|- WORDS...
setup() {
	want=$1
	shift
	rc=0
	timeout 60 vfio-setup -R "$root" "$@" >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$want" = - ] || [ "$rc" -eq "$want" ] || {
		fail "vfio-setup $* exited $rc, not $want"
		cat "$dir/out" "$dir/err" >&2
	}
}
says() { grep -qF -e "$1" "$dir/err" || { fail "not said: $1"; cat "$dir/err" >&2; }; }
# The state folder itself may outlive a kill, empty: nobody knows then who made
# it, and so the manifest says something else of it.
tree() {
	(cd "$root" && find . ! -path ./var/lib/pve-gpu-utils -printf '%p %y %m %l\n' | sort &&
		find . -type f ! -name manifest -exec cksum {} + | sort)
}
is() { # NAME
	tree >"$dir/now"
	cmp -s "$dir/$1" "$dir/now"
}
must_be() { # NAME TEXT
	is "$1" || {
		fail "$2"
		diff "$dir/$1" "$dir/now" | head -n 20 >&2
	}
}
# Every file is as it was or as it is to be; the command line has its root=.
whole() {
	for file in $files; do
		for other in start applied; do
			[ ! -e "$dir/$other.copy$file" ] && [ ! -e "$root$file" ] && continue 2
			! cmp -s "$dir/$other.copy$file" "$root$file" || continue 2
		done
		fail "$1: $file is half-done"
	done
	grep -q '^root=' "$root/etc/kernel/cmdline" || fail "$1: no root= any more"
}

"$hosts/mkhost" pve9-both-twins "$root"
state=$root/var/lib/pve-gpu-utils/vfio-setup
options='--gpu 47:00.0 --early --cmdline iommu=pt'
files='/etc/kernel/cmdline /etc/default/grub.d/pve-gpu-utils.cfg /etc/modprobe.d/pve-gpu-utils.conf
	/etc/modules-load.d/pve-gpu-utils.conf /etc/udev/rules.d/10-pve-gpu-utils.rules
	/etc/initramfs-tools/hooks/pve-gpu-utils'
cp -a "$root" "$dir/start.copy"
tree >"$dir/start"
# shellcheck disable=SC2086 # options are words
setup 0 apply $options
cp -a "$root" "$dir/applied.copy"
tree >"$dir/applied"
for file in $files; do
	[ -e "$root$file" ] || fail "the host does not need $file: choose another"
done
setup 0 undo
must_be start "undo"

# --- killed ----------------------------------------------------------------

# calls WORDS...: "NAME COUNT" of each kind of call that a run of it makes
calls() {
	# In valgrind it would be valgrind that is killed and whose calls fail: none of
	# them.
	[ -z "${TEST_VALGRIND-}" ] || { vfio-setup -R "$root" "$@" >/dev/null 2>&1 || :; return; }
	strace -qq -c -o "$dir/counts" vfio-setup -R "$root" "$@" >/dev/null 2>&1 || :
	awk -v kinds=" $kinds " '$NF != "total" && index(kinds, " " $NF " ") { print $NF, $4 }' "$dir/counts"
}
kinds='write rename renameat renameat2 unlink unlinkat mkdir linkat clone clone3'
[ -z "${PVE_GPU_TEST_LONG-}" ] || kinds="$kinds fsync fchmod fchown rmdir flock"

# killed_at CALL N WORDS...: true when it was
killed_at() {
	inject=$1:signal=KILL:when=$2
	shift 2
	rc=0
	strace -qq -o /dev/null -e trace="${inject%%:*}" -e inject="$inject" \
		vfio-setup -R "$root" "$@" >"$dir/out" 2>"$dir/err" || rc=$?
	# A command that it began goes on, and keeps its lock.
	[ ! -d "$state" ] || flock -w 60 "$state" true || fail "a command does not end"
	[ "$rc" -eq 137 ]
}
kills=0
# shellcheck disable=SC2086 # options are words
kill_all() {
	verb=$1
	shift
	while read -r call count; do
		at=1
		while [ "$at" -le "$count" ]; do
			where="$verb killed at $call $at"
			killed_at "$call" "$at" "$verb" "$@" || break
			kills=$((kills + 1))
			whole "$where"
			setup - check
			case $rc in
			0 | 1 | 69) ;;
			*) fail "$where: check exited $rc" ;;
			esac
			# The one heals as the other does; each leads to one of the two
			# ends.
			if [ $((kills % 2)) -eq 0 ]; then
				setup 0 undo
				must_be start "$where, then undo"
				[ "$verb" = apply ] || setup 0 apply $options
			else
				setup 0 apply $options
				must_be applied "$where, then apply"
				[ "$verb" = undo ] || setup 0 undo
			fi
			at=$((at + 1))
		done
		# It ran to its end, or died of the kill at its very last call.
		if [ "$verb" = apply ]; then
			setup 0 undo
		else
			setup 0 apply $options
		fi
	done <"$dir/calls"
}
# shellcheck disable=SC2086
calls apply $options >"$dir/calls"
setup 0 undo
# shellcheck disable=SC2086
kill_all apply $options
must_be start "after all kills of apply"
# shellcheck disable=SC2086
setup 0 apply $options
calls undo >"$dir/calls"
# shellcheck disable=SC2086
setup 0 apply $options
kill_all undo
setup 0 undo
must_be start "after all kills of undo"

# --- failing system calls ----------------------------------------------------

faults=0
# fail_all CALL ERRNO: each call of that kind fails once; the run takes back what it did.
fail_all() {
	count=$(sed -n "s/^$1 //p" "$dir/calls")
	at=1
	while [ "$at" -le "${count:-0}" ]; do
		rc=0
		# shellcheck disable=SC2086 # options are words
		strace -qq -o /dev/null -e trace="$1" -e inject="$1:error=$2:when=$at" \
			vfio-setup -R "$root" apply $options >"$dir/out" 2>"$dir/err" || rc=$?
		faults=$((faults + 1))
		where="$1 $at fails with $2"
		case $rc in
		0) [ "$1" = fsync ] || is applied || is start || fail "$where: exit 0, and neither done nor undone" ;;
		7[134])
			is start || is applied || {
				fail "$where: exit $rc, and half-done"
				diff "$dir/start" "$dir/now" | head -n 20 >&2
				cat "$dir/err" >&2
			}
			[ -s "$dir/err" ] || fail "$where: nothing said"
			;;
		*)
			fail "$where: exit $rc"
			cat "$dir/err" >&2
			;;
		esac
		setup 0 undo
		must_be start "$where, then undo"
		at=$((at + 1))
	done
}
# shellcheck disable=SC2086
calls apply $options >"$dir/calls"
setup 0 undo
fail_all write ENOSPC
fail_all rename EROFS
fail_all mkdir ENOSPC
[ -z "${PVE_GPU_TEST_LONG-}" ] || fail_all fsync EIO

# --- commands that fail ------------------------------------------------------

for command in update-initramfs proxmox-boot-tool update-grub; do
	echo $command >"$root.fail"
	# shellcheck disable=SC2086
	setup - apply $options
	case $command.$rc in
	update-grub.*) ;;	# perhaps nobody calls it here
	*.7[14]) says $command ;;
	*) fail "$command fails, apply exits $rc" ;;
	esac
	rm "$root.fail"
	setup 0 undo
	must_be start "$command failed, then undo"
done

# An ESP that is not there: the real tool warns, goes on and exits 0.
mv "$root/dev/disk/by-uuid/9D3A-11F0" "$dir/esp"
# shellcheck disable=SC2086
setup - apply $options
case $rc in
7[134] | 69) says 9D3A-11F0 ;;
*) fail "without its ESP apply exits $rc" ;;
esac
whole "without its ESP"
cmp -s "$dir/start.copy/etc/kernel/cmdline" "$root/etc/kernel/cmdline" || fail "without its ESP: words stay behind"
mv "$dir/esp" "$root/dev/disk/by-uuid/9D3A-11F0"
setup 0 undo
must_be start "the ESP is back, then undo"

# --- files in the way ----------------------------------------------------------

for file in $files; do
	[ "$file" != /etc/kernel/cmdline ] || continue
	for kind in foreign link folder; do
		case $kind in
		foreign) echo '# mine' >"$root$file" ;;
		link) ln -s /dev/null "$root$file" ;;
		folder) mkdir "$root$file" ;;
		esac
		tree >"$dir/before"
		# shellcheck disable=SC2086
		setup - apply $options
		[ "$rc" -ge 64 ] || fail "$file is a $kind: apply exits $rc"
		says "$file"
		must_be before "$file is a $kind: changed"
		setup - check
		rm -r "$root$file"
	done
done
must_be start "files in the way"

# A line of the administrator's in a file of ours outlives apply and undo.
# shellcheck disable=SC2086
setup 0 apply $options
echo 'options vfio-pci disable_vga=1' >>"$root/etc/modprobe.d/pve-gpu-utils.conf"
setup - apply
grep -q disable_vga "$root/etc/modprobe.d/pve-gpu-utils.conf" || fail "apply threw an edit away"
setup 0 undo
[ "$(cat "$root/etc/modprobe.d/pve-gpu-utils.conf")" = 'options vfio-pci disable_vga=1' ] ||
	fail "after undo there is not just the administrator's line: $(cat "$root/etc/modprobe.d/pve-gpu-utils.conf")"
rm "$root/etc/modprobe.d/pve-gpu-utils.conf"
PVE_GPU_ROOT=$root "$hosts/bin/update-initramfs" -u -k all >/dev/null
must_be start "undo after an edit"

# A line of ours that the administrator has changed: no word of it is lost unasked.
# shellcheck disable=SC2086
setup 0 apply $options
sed -i 's/^softdep amdgpu .*/& my_module/' "$root/etc/modprobe.d/pve-gpu-utils.conf"
setup - apply
grep -q my_module "$root/etc/modprobe.d/pve-gpu-utils.conf" || fail "apply threw a changed line away"
setup - undo
if [ "$rc" -ne 0 ]; then
	grep -q my_module "$root/etc/modprobe.d/pve-gpu-utils.conf" || fail "undo refused and threw a changed line away all the same"
	setup 0 undo --force
fi
rm -f "$root/etc/modprobe.d/pve-gpu-utils.conf"
PVE_GPU_ROOT=$root "$hosts/bin/update-initramfs" -u -k all >/dev/null
must_be start "undo after a changed line"

# The administrator's own words, before and after ours, stay; ours go.
# shellcheck disable=SC2086
setup 0 apply $options
printf 'quiet %s audit=0\n' "$(cat "$root/etc/kernel/cmdline")" >"$root/etc/kernel/cmdline"
setup 0 undo
[ "$(cat "$root/etc/kernel/cmdline")" = "quiet root=ZFS=rpool/ROOT/pve-1 boot=zfs audit=0" ] ||
	fail "undo after other words: $(cat "$root/etc/kernel/cmdline")"
cp -p "$dir/start.copy/etc/kernel/cmdline" "$root/etc/kernel/cmdline"
PVE_GPU_ROOT=$root "$hosts/bin/proxmox-boot-tool" refresh >/dev/null
must_be start "undo after other words"

# The slot holds another card now: said, and nothing is written for it.
# shellcheck disable=SC2086
setup 0 apply $options
device=$root/sys/bus/pci/devices/0000:47:00.0/device
echo 0x73df >"$device"
tree >"$dir/before"
setup - check
[ "$rc" -ne 0 ] || fail "another card in the slot: check exits 0"
grep -q '1002:73df' "$dir/out" || fail "another card in the slot: check does not name it"
setup - apply
[ "$rc" -ge 64 ] || fail "another card in the slot: apply exits $rc"
says 1002:73df
must_be before "another card in the slot: changed"
setup 0 undo
echo 0x73bf >"$device"
must_be start "undo with another card in the slot"

# A second run while one is at work.
mkdir -p "$root/var/lib/pve-gpu-utils/vfio-setup"
exec 9<"$root/var/lib/pve-gpu-utils/vfio-setup"
# shellcheck disable=SC2086
if flock -n 9; then
	setup 75 apply $options
fi
exec 9<&-
rm -r "$root/var/lib/pve-gpu-utils"
must_be start "a second run"

# --- bad input -----------------------------------------------------------------

newline='a
b'
while IFS='|' read -r want words; do
	# shellcheck disable=SC2086 # options are words
	setup "$want" apply $words
	[ -s "$dir/err" ] || fail "apply $words: nothing said"
	must_be start "apply $words changed something"
done <<'END'
64|--gpu 0000:47
64|--gpu ../../etc
64|--gpu 47:00.9
66|--gpu 0000:4f:00.0
69|--gpu 0000:00:03.1
64|--id 10de
64|--id 10de:22045
64|--id 10de:2204,10de:1aef
66|--id 10de:2204
64|--id *:*
64|--gpu 47:00.0 --cmdline root=/dev/sdx
64|--gpu 47:00.0 --cmdline a"b
64|--gpu 47:00.0 --cmdline a'b
64|--gpu 47:00.0 --cmdline $(reboot)
64|--gpu 47:00.0 --cmdline `reboot`
64|--gpu 47:00.0 --cmdline a\b
64|--gpu 47:00.0 --cmdline --
64|--gpu 47:00.0 --cmdline #x
64|--gpu 47:00.0 --blacklist a/b
64|--gpu 47:00.0 more
64|--no-such-option
END
for word in "$newline" 'a b' "a	b" '' "$(printf 'a\001b')" "$(printf 'a\177b')" "$(printf 'a\303\266')"; do
	setup 64 apply --gpu 47:00.0 --cmdline "$word"
	must_be start "--cmdline '$word' changed something"
done
# What the host lives on, by its id.
for id in 1022:43f6 8086:15f3 1022:15b6; do
	setup 69 apply --id $id
	says "$id"
	must_be start "--id $id changed something"
done
setup 69 apply --gpu 47:00.0 --blacklist snd_hda_intel
must_be start "--blacklist of the host's sound changed something"

echo "killed $kills times, $faults faults"
[ "$failed" -eq 0 ] || {
	echo "$failed failures" >&2
	exit 1
}
