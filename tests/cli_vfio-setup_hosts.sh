#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cli_vfio-setup_hosts.sh [HOST...] - vfio-setup on every host of fixtures/hosts
#
# On each: check, diff, apply, apply again, a boot, undo. What check says and
# what the files then hold is compared with HOST.want; after undo the tree is the
# one of the start, byte for byte. Ends with a table of the hosts.
# HOSTS_UPDATE=1 writes the .want files anew: read what git diff says of them.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
hosts=$src/fixtures/hosts
command -v depmod >/dev/null || PATH=$PATH:/usr/sbin:/sbin
command -v depmod >/dev/null || {
	echo "depmod is missing (apt-get install kmod)"
	exit 77
}
PVE_GPU_COMMANDS=$hosts/bin
export PVE_GPU_COMMANDS

fail() {
	echo "FAIL: $host: $*" >&2
	failed=$((failed + 1))
}

# setup RC|- WORDS...: its output in $dir/out and $dir/err, its exit code in $rc.
setup() {
	want=$1
	shift
	rc=0
	timeout 60 vfio-setup -R "$root" "$@" >"$dir/out" 2>"$dir/err" || rc=$?
	case $want.$rc in
	-.0 | -.1 | -.6? | -.7?) return 0 ;;
	"$rc.$rc") ;;
	*)
		fail "vfio-setup $* exited $rc, not $want"
		cat "$dir/out" "$dir/err" >&2
		;;
	esac
}
# Every path with its kind, mode and link, and every file's bytes.
tree() {
	(cd "$root" && find . -printf '%p %y %m %l\n' | sort && find . -type f -exec cksum {} + | sort -k 3)
}
# The same with the times of change: nothing was so much as touched.
tree_times() {
	(cd "$root" && find . ! -path ./var/lib/pve-gpu-utils/vfio-setup -printf '%p %y %m %l %s %i %T@\n' | sort)
}
same_tree() { # NAME TEXT
	tree >"$dir/now"
	cmp -s "$dir/$1" "$dir/now" || {
		fail "$2"
		diff -u "$dir/$1" "$dir/now" | head -n 40 >&2
	}
}
commands() {
	cat "$root.commands" 2>/dev/null || :
	rm -f "$root.commands"
}
# check's lines without the advice: TAB-separated as in a pipe.
answers() {
	echo "exit $rc"
	cut -f 1-3 "$dir/out" | sed "s,$root,,g; s/\t/  /g"
}
# What in a file of ours is in force.
in_force() {
	sed 's/^[[:space:]]*#.*//; /^[[:space:]]*$/d' "$1"
}
# Files that differ from the start's, but for those that the commands made.
changed() {
	(cd "$root" && find . -type f -exec cksum {} + | sort) >"$dir/sums"
	{
		comm -13 "$dir/sums-before" "$dir/sums" | sed 's/^[0-9]* [0-9]* //'
		# One that is gone.
		cut -d ' ' -f 3- "$dir/sums-before" | while read -r f; do
			[ -e "$root/$f" ] || echo "$f"
		done
	} | sort -u | grep -v -e '^./boot/' -e '^./var/lib/esp/' -e '^./var/lib/pve-gpu-utils/' || :
}
# The functions that vfio-pci is to take: what the files say, as a kernel would read them.
given_away() {
	ids=$(sed -n 's/^options vfio[-_]pci .*ids=\([^ ]*\).*/\1/p; s/.*vfio-pci\.ids=\([^ "]*\).*/\1/p' \
		"$root"/etc/modprobe.d/pve-gpu-utils.conf "$root"/proc/cmdline 2>/dev/null | tr ',' ' ')
	for device in "$root"/sys/bus/pci/devices/*; do
		id=$(cut -c 3- "$device/vendor"):$(cut -c 3- "$device/device")
		sub=$(cut -c 3- "$device/subsystem_vendor"):$(cut -c 3- "$device/subsystem_device")
		case " $ids " in
		*" $id "* | *" $id:$sub "*)
			echo "${device##*/}"
			continue
			;;
		esac
		! sed -e ':more' -e '/\\$/{N;b more' -e '}' "$root"/etc/udev/rules.d/10-pve-gpu-utils.rules 2>/dev/null |
			tr -d '\\\n' | grep -q "KERNEL==\"${device##*/}\".*driver_override" || echo "${device##*/}"
	done
}
to_vfio() {
	for addr in $(given_away); do
		device=$root/sys/bus/pci/devices/$addr
		# The way up is as long for every driver.
		if link=$(readlink "$device/driver"); then
			ln -sfn "${link%/*}/vfio-pci" "$device/driver"
		else
			link=$(readlink "$device/iommu_group") || continue
			ln -sfn "${link%/kernel/*}/bus/pci/drivers/vfio-pci" "$device/driver"
		fi
	done
	for module in vfio vfio_iommu_type1 vfio_pci; do
		mkdir -p "$root/sys/module/$module"
	done
}

one_host() {
	root=$dir/$host
	"$hosts/mkhost" "$host" "$root" || {
		fail "mkhost"
		return
	}
	# shellcheck disable=SC2046 # options are words
	set -- $(cat "$root.options")
	cp -a "$root" "$root.start"
	tree >"$dir/before"
	(cd "$root" && find . -type f -exec cksum {} + | sort) >"$dir/sums-before"
	got=$dir/got

	setup - check "$@"
	{
		echo "== check $*"
		answers
	} >"$got"
	before=$rc
	same_tree before "check changed something"
	setup - diff "$@"
	cp "$dir/out" "$dir/diff"
	same_tree before "diff changed something"
	[ -z "$(commands | grep -v '^proxmox-boot-tool status')" ] || fail "check or diff ran a command"
	diff_rc=$rc

	setup - apply -n "$@"
	same_tree before "apply -n changed something"
	[ -z "$(commands | grep -v '^proxmox-boot-tool status')" ] || fail "apply -n ran a command"

	setup - apply "$@"
	{
		echo "== apply"
		echo "exit $rc"
		sed "s,$root,,g" "$dir/err"
	} >>"$got"
	if [ "$rc" -ne 0 ]; then
		same_tree before "a refused apply changed something"
		commands >/dev/null
		after=- booted=- files=0
		finish
		return
	fi
	ran=$(commands)
	printf '%s\n' "$ran" | grep -v '^proxmox-boot-tool status' | uniq | sed 's/^/ran: /' >>"$got"
	changed >"$dir/changed"
	files=$(wc -l <"$dir/changed")
	while read -r file; do
		echo "-- ${file#.} $(stat -c %a "$root/$file")"
		case $file in
		./etc/kernel/cmdline | ./etc/default/grub) cat "$root/$file" ;;
		*) in_force "$root/$file" ;;
		esac
	done <"$dir/changed" >>"$got"
	[ "$files" -eq 0 ] || [ "$diff_rc" -eq 1 ] || fail "diff exited $diff_rc, though apply writes files"
	[ "$files" -gt 0 ] || [ "$diff_rc" -eq 0 ] || fail "diff exited $diff_rc, though apply writes nothing"
	# diff told the same lines as those that changed.
	while read -r file; do
		old=$root.start/$file
		[ -e "$old" ] || old=/dev/null
		diff -u "$old" "$root/$file" | sed 1,2d || :
	done <"$dir/changed" | grep '^[-+]' | sort >"$dir/lines"
	grep '^[-+]' "$dir/diff" | grep -Ev '^(---|\+\+\+) ' | sort >"$dir/diff-lines"
	cmp -s "$dir/lines" "$dir/diff-lines" || {
		fail "diff said other lines than apply changed"
		diff -u "$dir/lines" "$dir/diff-lines" >&2 || :
	}
	grep '^+++ ' "$dir/diff" | sed "s,^+++ \([^	]*\).*,\1,; s,^$root,,; s,^b/,/," | sort >"$dir/diff-files"
	sed 's/^\.//' "$dir/changed" | cmp -s - "$dir/diff-files" || {
		fail "diff named other files than apply changed"
		cat "$dir/diff-files" >&2
	}
	# Never a word less than before, above all root=.
	words_kept "$root.start/etc/kernel/cmdline" "$root/etc/kernel/cmdline"
	(cd "$root.start" && find boot var/lib/esp -name '*.cfg' -o -name '*.conf' 2>/dev/null || :) | while read -r file; do
		[ "$(grep -c 'root=' "$root.start/$file")" -eq "$(grep -c 'root=' "$root/$file")" ] || echo "$file"
	done >"$dir/lost"
	[ ! -s "$dir/lost" ] || fail "lost root=: $(cat "$dir/lost")"

	setup 0 diff
	[ ! -s "$dir/out" ] || fail "diff says something after apply"
	setup - check
	{
		echo "== check, applied"
		answers
	} >>"$got"
	after=$rc
	commands >/dev/null
	tree_times >"$dir/times"
	setup 0 apply "$@"
	setup 0 apply
	tree_times | cmp -s "$dir/times" - || {
		fail "apply again changed something"
		tree_times | diff "$dir/times" - | head >&2
	}
	[ -z "$(commands | grep -v '^proxmox-boot-tool status')" ] || fail "apply again ran a command"

	# The boot: what the loader has now, and the drivers that follow from the files.
	cp -a "$root/proc/cmdline" "$root.cmdline"
	cp -a "$root/sys" "$root.sys"
	running=$(sed -n 2p "$root.about")
	PVE_GPU_ROOT=$root "$hosts/bin/boot" "$running" 2>/dev/null || :
	{
		echo "== booted"
		given_away | sed 's/^/vfio-pci: /'
		cat "$root/proc/cmdline"
	} >>"$got"
	to_vfio
	setup - check
	answers >>"$got"
	booted=$rc
	rm -r "$root/sys"
	mv "$root.sys" "$root/sys"

	setup 0 undo
	commands >"$dir/ran-undo"
	[ -z "$ran" ] || [ -s "$dir/ran-undo" ] || fail "undo ran no command"
	cp -p "$root.cmdline" "$root/proc/cmdline"
	same_tree before "after undo the tree is not as before"
	setup 0 undo
	same_tree before "a second undo changed something"
	[ -z "$(commands | grep -v '^proxmox-boot-tool status')" ] || fail "a second undo ran a command"
	rm -f "$root.cmdline"
	finish
}
words_kept() { # BEFORE AFTER
	[ -e "$1" ] || return 0
	tr -s ' \t\n' '\n' <"$1" | sed '/^$/d' | sort >"$dir/words-before"
	tr -s ' \t\n' '\n' <"$2" | sed '/^$/d' | sort >"$dir/words-after"
	[ -z "$(comm -23 "$dir/words-before" "$dir/words-after")" ] || fail "lost words of $2"
	[ "$(wc -l <"$1")" -eq "$(wc -l <"$2")" ] || fail "$2: not as many lines as before"
}
finish() {
	if [ -n "${HOSTS_UPDATE-}" ]; then
		cp "$got" "$hosts/$host.want"
	elif ! diff -u "$hosts/$host.want" "$got" >"$dir/golden"; then
		fail "not as in $host.want"
		cat "$dir/golden" >&2
	fi
	{
		tr '\n' '\t' <"$root.about"
		printf '%s\t%s\t%s\t%s\n' "$before" "$after" "$booted" "$files"
	} | awk -F '\t' -v host="$host" '{ printf "%-26s %-11s %-22s %5s %5s %5s %5s  %s\n", host, $1, $2, $4, $5, $6, $7, $3 }' \
		>>"$dir/table"
	chmod -R u+w "$root"
	rm -rf "$root" "$root".*
}

[ $# -gt 0 ] || {
	for file in "$hosts"/*.host; do
		set -- "$@" "$(basename "$file" .host)"
	done
}
for host; do
	one_host
done
printf '%-26s %-11s %-22s %5s %5s %5s %5s\n' host loader kernel check after boot files
cat "$dir/table"
[ "$failed" -eq 0 ] || {
	echo "$failed failures on $# hosts" >&2
	exit 1
}
echo "$# hosts"
