# SPDX-License-Identifier: GPL-2.0-or-later
# fake-guests.sh - for the tests that run inside of fake-pve.sh; sourced.
# shellcheck shell=sh

# set -e is silent.
trap 'rc=$?; [ $rc -eq 0 ] || echo "exit code $rc in: ${test_name:-the preparation}" >&2' EXIT

fail() {
	echo "FAIL: $1" >&2
	[ ! -s "$FAKE/out" ] || sed 's/^/  out: /' "$FAKE/out" >&2
	[ ! -s "$FAKE/err" ] || sed 's/^/  err: /' "$FAKE/err" >&2
	exit 1
}

# expect STATUS COMMAND...: its output in FAKE/out and FAKE/err.
expect() {
	want=$1
	shift
	rc=0
	"$@" >"$FAKE/out" 2>"$FAKE/err" || rc=$?
	[ "$rc" -eq "$want" ] || fail "$* exited $rc, not $want"
}

says() {
	cat "$FAKE/out" "$FAKE/err" | grep -q -- "$1" || fail "$test_name: nothing says '$1'"
}

# vm ID LINE...: the config of a VM.
vm() {
	id=$1
	shift
	{
		echo "name: vm$id"
		echo "scsi0: local:vm-$id-disk-0,size=1G"
		for line; do echo "$line"; done
	} >"/etc/pve/nodes/pve1/qemu-server/$id.conf"
}

ct() {
	id=$1
	shift
	{
		echo "hostname: ct$id"
		for line; do echo "$line"; done
	} >"/etc/pve/nodes/pve1/lxc/$id.conf"
}

up() {
	for guest; do
		case $guest in
		lxc/*) /usr/sbin/pct start "${guest#*/}" ;;
		*) /usr/sbin/qm start "${guest#*/}" ;;
		esac
	done
	: >"$FAKE/log"
}

down() {
	for guest; do
		case $guest in
		lxc/*) /usr/sbin/pct stop "${guest#*/}" ;;
		*) /usr/sbin/qm stop "${guest#*/}" ;;
		esac
	done
	: >"$FAKE/log"
}

runs() {
	[ "$(vm-state-save -r -o state - "$1")" = running ]
}

must_run() {
	for guest; do runs "$guest" || fail "$test_name: $guest does not run"; done
}

must_be_down() {
	for guest; do ! runs "$guest" || fail "$test_name: $guest runs"; done
}

journal=/var/lib/pve-gpu-utils/journal

must_be_journaled() {
	grep -q "^$1	" "$journal" || fail "$test_name: $1 is not in the journal"
}

must_be_forgotten() {
	[ ! -e "$journal" ] || ! grep -q "^$1	" "$journal" ||
		fail "$test_name: $1 is still in the journal"
}

# fresh NAME: begin a test with nobody up and no state.
fresh() {
	test_name=$1
	for conf in /etc/pve/nodes/pve1/qemu-server/*.conf /etc/pve/nodes/pve1/lxc/*.conf; do
		[ -e "$conf" ] || continue
		id=${conf##*/}
		id=${id%.conf}
		rm -f "$FAKE"/*-"$id.how" "$FAKE/START-$id" "$FAKE/STOP-$id" "$FAKE/prelaunch-$id" \
			"$FAKE/STATUS-$id" "$FAKE/UNLOCK-$id"
		case $conf in
		*/lxc/*) [ ! -e "$FAKE/pid-$id" ] || /usr/sbin/pct stop "$id" ;;
		*) [ ! -e "$FAKE/pid-$id" ] || /usr/sbin/qm stop "$id" ;;
		esac
		rm -f "$conf"
	done
	rm -rf /var/lib/pve-gpu-utils /etc/pve-gpu-utils /etc/pve/ha/resources.cfg "$FAKE/system" \
		/run/vzdump.pid /etc/pve/nodes/pve2/qemu-server/*.conf
	: >"$FAKE/log"
}
