#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdev-hooks - pve-gpu-hooks mdev: are defined vGPUs made at boot?
set -eu
self=${0%/*}
PATH=@sbindir@:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

EX_NOPERM=77
me=pve-gpu-hooks subcommand=mdev
# shellcheck source=utils/script-options.sh
. "$self/script-options"

usage() {
	cat <<'END'
Usage: pve-gpu-hooks [-R DIR] mdev enable | disable | status

  enable          make vGPUs that are defined with start: auto at each boot, and
                  when their card comes; "mdev-mk --auto" does this, too
  disable         do not; definitions and what is there stay
  status          is it on, and is all there? exit 0 yes, 1 no

  -R, --root=DIR  use DIR as the system root
  -h, --help      print this help and exit
  -V, --version   print the version and exit
END
}

enable_start() {
	if [ -e "$switch" ]; then
		note "already enabled"
		return
	fi
	mkdir -p "${switch%/*}" || die "$EX_OSERR" "${switch%/*} cannot be made"
	new=$(mktemp "$switch.XXXXXX") || die "$EX_OSERR" "cannot write beside $switch"
	trap 'rm -f "$new"' EXIT
	if ! { echo "# While this file is there, vGPUs that are defined with start: auto are made at boot." >"$new" &&
		chmod 644 "$new" && sync "$new" && mv -f "$new" "$switch"; }; then
		die "$EX_OSERR" "$switch could not be written"
	fi
	note "enabled: from the next boot on; now: mdev-mk --start-auto"
}

disable_start() {
	if [ ! -e "$switch" ]; then
		note "not enabled"
		return
	fi
	rm -f "$switch" || die "$EX_OSERR" "$switch could not be removed"
	note "disabled; mdevctl still starts the mediated devices, where it is installed"
}

line() {
	printf '%s\n' "$1" || exit 74	# said
}

# Of each definition with start: auto: is it there?
start_status() {
	failed=0
	if [ -e "$switch" ]; then
		line "ok    defined vGPUs are made at boot"
	else
		line "fail  defined vGPUs are not made at boot (pve-gpu-hooks mdev enable)"
		failed=1
	fi
	ls=$self/mdev-ls
	[ -x "$ls" ] || ls=@sbindir@/mdev-ls
	rc=0
	list=$("$ls" ${root:+-R "$root"} -a -q -r -o start,state,id,type,parent) || rc=$?
	[ "$rc" -le 1 ] || exit "$rc"	# said
	tab=$(printf '\t')
	while IFS=$tab read -r start state id type parent; do
		[ "$start" = auto ] || continue
		if [ "$state" = active ]; then
			line "ok    $id: $type at $parent"
		else
			line "fail  $id: $type at $parent is not there (mdev-mk -u $id, or journalctl -t mdev-mk)"
			failed=1
		fi
	done <<END
$list
END
	return "$failed"
}

command=''
while [ $# -gt 0 ]; do
	if common_option "$@"; then
		shift "$taken"
		continue
	fi
	case $1 in
	-*) wrong_use "unknown option $1" ;;
	*)
		[ -z "$command" ] || wrong_use "unexpected operand: $1"
		command=$1
		;;
	esac
	shift
done
switch=$root/etc/pve-gpu-utils/mdev-autostart
case $command in
disable | enable)
	[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "$EX_NOPERM" "$command needs root"
	"${command}_start"
	;;
status) start_status || exit 1 ;;
'') wrong_use "mdev what? enable, disable or status" ;;
*) wrong_use "unknown command $command" ;;
esac
