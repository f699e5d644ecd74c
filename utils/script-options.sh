#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# script-options - a part of gpu-doctor, pve-gpu-hooks, guest-hooks, mdev-hooks: words,
# common options
#
# Read by them, which set $me, the name in messages, and $subcommand, or nothing there;
# their usage prints the help. Sets $root.
# shellcheck disable=SC2034,SC2154 # set by who reads it, or for them

EX_USAGE=64 EX_OSERR=71 EX_IOERR=74
root=${PVE_GPU_ROOT:-}
[ "$root" != / ] || root=''

say() {
	printf '%s: %s\n' "$me" "$1" >&2
}

note() {
	printf '%s: %s\n' "$me" "$1"
}

die() { # CODE TEXT
	say "$2"
	exit "$1"
}

wrong_use() {
	say "$1"
	echo "Try '$me ${subcommand:+$subcommand }--help'." >&2
	exit "$EX_USAGE"
}

# Take the first ARGUMENT if it is an option that all have; $taken words. Otherwise 1.
common_option() { # ARGUMENT...
	taken=1
	case $1 in
	-h | --help)
		usage || exit "$EX_IOERR"
		exit 0
		;;
	-V | --version)
		echo "$me (pve-gpu-utils) @VERSION@" || exit "$EX_IOERR"
		exit 0
		;;
	-R | --root)
		[ $# -gt 1 ] || wrong_use "$1 needs a directory"
		root=$2 taken=2
		;;
	-R*) root=${1#-R} ;;
	--root=*) root=${1#--root=} ;;
	*) return 1 ;;
	esac
	[ "$root" != / ] || root=''
}
