#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-versions - the NVIDIA driver's version on the host, its libraries' in a
# container
#
# lxc-nvidia-versions [-R DIR] host         the version of the module that is loaded, or nothing
# lxc-nvidia-versions [-R DIR] [-m] CTID    a line for each version of libnvidia-ml and libcuda,
#                                           then "nvidia-smi" where that is there
# Goes by names; nothing in the container is opened or run. -m: one that is stopped is
# mounted for it. Exit code 1: its file system cannot be seen.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# The version of the module that is loaded, not of the one on the disk.
host_version() {
	if [ -r "$root/sys/module/nvidia/version" ]; then
		cat "$root/sys/module/nvidia/version"
	elif [ -r "$root/proc/driver/nvidia/version" ]; then
		tr -s ' \t' '\n' <"$root/proc/driver/nvidia/version" | grep -Ex '[0-9]+(\.[0-9]+)+' | head -n 1
	fi
}

# Of the container's first process.
container_root() {
	pid=$(lxc-info -p -H -n "$ctid" 2>/dev/null) || pid=''
	case $pid in
	'' | *[!0-9]*) return 1 ;;
	esac
	[ -d "/proc/$pid/root/usr" ] && echo "/proc/$pid/root"
}

is_own() { # ROOT DIR
	part=$2
	while [ "$part" != "$1" ]; do
		[ ! -L "$part" ] || return 1
		part=${part%/*}
	done
	[ -d "$2" ]
}

# Versions of the driver's libraries, each once; by the links that programs load. A name
# that is no version comes from whoever is root in there: it does not get out.
# A folder that is a link may lead out of the container: it is none of its own.
library_versions() { # ROOT
	for dir in "$1"/usr/lib/*-linux-gnu "$1/usr/lib64" "$1/usr/lib"; do
		is_own "$1" "$dir" || continue
		for lib in libnvidia-ml libcuda; do
			link=$(readlink "$dir/$lib.so.1") || link=''
			case ${link##*.so.} in
			[0-9]*.[0-9]*)
				printf '%s\n' "${link##*.so.}"
				continue
				;;
			esac
			sub=$dir/nvidia/current
			is_own "$1" "$sub" || sub=$dir
			for file in "$dir/$lib.so."[0-9]*.[0-9]* "$sub/$lib.so."[0-9]*.[0-9]*; do
				if [ -e "$file" ] || [ -L "$file" ]; then
					printf '%s\n' "${file##*.so.}"
				fi
			done
		done
	done | { grep -Ex '[0-9]+(\.[0-9]+)+' || :; } | sort -u | head -n 20
}

has_nvidia_smi() { # ROOT
	for file in "$1/usr/bin/nvidia-smi" "$1/usr/local/bin/nvidia-smi"; do
		is_own "$1" "${file%/*}" || continue
		if [ -e "$file" ] || [ -L "$file" ]; then
			return 0
		fi
	done
	return 1
}

unmount() {
	[ -n "$mounted" ] || return 0
	mounted=''
	[ "$(config_lock)" = mounted ] || return 0
	timeout -k 10 120 pct unmount "$ctid" >/dev/null ||
		echo "lxc-nvidia-setup: container $ctid: is still mounted: pct unmount $ctid" >&2
}

config_lock() {
	sed -n '/^\[/q; s/^lock:[[:space:]]*//p' "/etc/pve/lxc/$ctid.conf" 2>/dev/null || :
}

# Sets seen: the file system of a container that runs, is mounted, or is mounted for it.
see_container() {
	seen=$root/var/lib/lxc/$ctid/rootfs
	if [ -z "$root" ]; then
		if running=$(container_root); then
			seen=$running
		elif [ ! -d "$seen/usr" ] && [ -n "$may_mount" ]; then
			# Refused to us, somebody else's mount is his.
			[ -n "$(config_lock)" ] || mounted=yes
			rc=0
			timeout -k 10 120 pct mount "$ctid" >/dev/null || rc=$?
			case $rc in
			0) mounted=yes ;;
			124 | 137) return 1 ;;
			*)
				# Its lock stays on one that it could not mount.
				[ ! -d "$seen/usr" ] || mounted=''
				return 1
				;;
			esac
		fi
	fi
	[ -d "$seen/usr" ]
}

root='' may_mount='' mounted=''
while [ $# -gt 1 ]; do
	case $1 in
	-R)
		root=$2
		shift
		;;
	-m) may_mount=yes ;;
	*) break ;;
	esac
	shift
done
[ $# -eq 1 ] || {
	echo "usage: lxc-nvidia-versions [-R DIR] host | [-m] CTID (lxc-nvidia-setup calls it)" >&2
	exit 64
}
if [ "$1" = host ]; then
	host_version
	exit 0
fi
ctid=$1
trap unmount EXIT
trap 'exit 1' HUP INT TERM
see_container || exit 1
library_versions "$seen"
! has_nvidia_smi "$seen" || echo nvidia-smi
