#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vzdump-hook-chain - run every script of /etc/pve-gpu-utils/vzdump.d for a backup phase
#
# vzdump knows one script only. Its variables go to the scripts untouched, PATH
# too (vzdump sets none), so this one calls its own tools by full name.
set -eu

dir=${PVE_GPU_ROOT:-}/etc/pve-gpu-utils/vzdump.d
phase=${1:-}
mode=${2:-}

say() {
	printf 'vzdump-hook-chain: %s\n' "$*"
}

# A script that others can change would run as root.
is_safe() {
	if ! [ -O "$1" ]; then
		say "$1: not owned by root: left out"
		return 1
	fi
	open=$(/usr/bin/find -L "$1" -maxdepth 0 -perm /022 2>/dev/null) || open=unknown
	if [ -n "$open" ]; then
		say "$1: group or others may write to it: left out (chmod go-w)"
		return 1
	fi
}

# Who may write to a folder that a link leads to, or through, chooses what is called.
is_safe_way() {
	at=$1
	while [ -L "$at" ]; do
		to=$(/usr/bin/readlink "$at") || return 1
		case $to in
		/*) at=$to ;;
		*) at=${at%/*}/$to ;;
		esac
		is_safe "$(/usr/bin/dirname "$at")" || return 1
	done
}

[ -n "$phase" ] || {
	echo "Usage: vzdump-hook-chain PHASE [MODE VMID], as vzdump calls it" >&2
	exit 64
}

# Who may put a file there could choose what is called.
[ ! -d "$dir" ] || is_safe "$dir" || exit 0

first=0
for script in "$dir"/*; do
	name=${script##*/}
	# Editors' and dpkg's left-overs (.dpkg-new, ~) are no scripts: run-parts(8).
	case $name in
	'*' | *[!A-Za-z0-9_-]*) continue ;;
	esac
	[ -f "$script" ] || continue
	if ! [ -x "$script" ]; then
		say "$script: not executable: left out (chmod +x)"
		continue
	fi
	is_safe "$script" || continue
	is_safe_way "$script" || continue
	rc=0
	"$script" "$@" || rc=$?
	[ "$rc" -eq 0 ] && continue
	# Taken away by a package removal after the loop had seen it.
	[ -e "$script" ] || continue
	say "$name failed with exit code $rc in $phase"
	[ "$first" -ne 0 ] || first=$rc
done

# In stop and suspend mode vzdump leaves a guest down whose pre-restart failed
# (pve-manager, VZDump.pm); after a snapshot the code only fails the backup.
if [ "$phase" = pre-restart ] && [ "$mode" != snapshot ] && [ "$first" -ne 0 ]; then
	say "pre-restart: exit code $first kept from vzdump, so that it starts the guest again"
	first=0
fi
exit "$first"
