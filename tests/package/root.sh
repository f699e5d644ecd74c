#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# root.sh make SUITE DIR [PACKAGE...] - a minimal Debian root
# root.sh run DIR COMMAND...          - a command in it, with its own mounts and processes
set -eu

case $1 in
make)
	suite=$2
	dir=$3
	shift 3
	# The mirror that this machine uses, so that a local one is used here too.
	# shellcheck disable=SC2016 # apt's own variable
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'ORIGIN: Debian' 'LABEL: Debian' | head -n 1)
	include=
	for package; do
		include=$include${include:+,}$package
	done
	# shellcheck disable=SC2086 # none or one word
	exec mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "8"' ${include:+"--include=$include"} "$suite" "$dir" $mirror
	;;
run)
	dir=$2
	shift 2
	# shellcheck disable=SC2016 # expanded by the inner shell
	exec unshare --mount --pid --fork --kill-child sh -ec '
		dir=$1
		shift
		mount --bind "$dir" "$dir"
		mount -t proc proc "$dir/proc"
		mount --rbind /dev "$dir/dev"
		mount --rbind /sys "$dir/sys"
		[ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
		# No chroot: its "/" would be no mount point, which the simulated host needs.
		cd "$dir"
		pivot_root . mnt
		umount -l /mnt
		# The first process has to reap what others leave behind: a shell that waits does.
		PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" || exit $?' sh "$dir" "$@"
	;;
esac
