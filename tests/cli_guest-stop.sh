#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-stop on real processes behind a small qm and pct.
set -eu
here=$(dirname "$0")
[ -n "${FAKE_PVE-}" ] || exec "$here/fake-pve.sh" "$0"
# shellcheck source-path=SCRIPTDIR source=fake-guests.sh
. "$here/fake-guests.sh"

fresh "wrong use"
vm 101
expect 64 guest-stop
expect 64 guest-stop --bogus
expect 64 guest-stop -P 0 101
expect 64 guest-stop -t 1x 101
expect 64 guest-stop 101/../102
expect 64 guest-stop unit/../x
expect 66 guest-stop 999
says "999: no such guest"
expect 0 guest-stop --help
grep -q -- --timeout "$FAKE/out" || fail "help does not tell --timeout"
[ "$(wc -l <"$FAKE/out")" -le 24 ] || fail "help is long"
expect 0 guest-stop -V

fresh "two VMs and a container"
vm 101
vm 102
ct 200
up qemu/101 qemu/102 lxc/200
expect 0 guest-stop 101 qemu/102 lxc/200
must_be_down qemu/101 qemu/102 lxc/200
says "qemu/101 stopped"
says "lxc/200 stopped"
grep -q '^qm shutdown 101 --timeout 180$' "$FAKE/log" || fail "timeout of 101"
grep -q '^pct shutdown 200 --timeout 180$' "$FAKE/log" || fail "timeout of 200"

fresh "one that is down already, one named twice"
vm 101
vm 102
up qemu/102
expect 0 guest-stop 101 102 qemu/102
says "qemu/101 does not run"
[ "$(grep -c shutdown "$FAKE/log")" -eq 1 ] || fail "102 was stopped twice"

fresh "reverse of the start-up order, own time"
vm 101 'startup: order=1'
vm 102 'startup: order=2,down=7'
vm 103
up qemu/101 qemu/102 qemu/103
expect 0 guest-stop -t 30 -f 101 102 103
[ "$(grep shutdown "$FAKE/log")" = "qm shutdown 103 --timeout 30 --forceStop 1
qm shutdown 102 --timeout 7 --forceStop 1
qm shutdown 101 --timeout 30 --forceStop 1" ] || fail "order: $(cat "$FAKE/log")"

fresh "dry run"
vm 101
up qemu/101
expect 0 guest-stop -n 101
[ "$(cat "$FAKE/out")" = "qm shutdown 101 --timeout 180" ] || fail "dry run printed another command"
must_run qemu/101
! grep -q shutdown "$FAKE/log" || fail "a dry run called qm"

fresh "it refuses"
vm 101
vm 102
up qemu/101 qemu/102
echo refuse >"$FAKE/STOP-101"
expect 75 guest-stop -t 1 101 102
says "qemu/101 not stopped: .*exit code 255.*got timeout"
must_run qemu/101
must_be_down qemu/102

fresh "the command ends well and later the guest is down"
vm 101
up qemu/101
echo late >"$FAKE/STOP-101"
expect 0 guest-stop 101
must_be_down qemu/101

fresh "locked: nobody is stopped"
vm 101
vm 102 'lock: snapshot'
up qemu/101
echo >"$FAKE/START-102"
up qemu/102
expect 75 guest-stop 101 102
says "qemu/102 is locked (snapshot)"
says "nothing was stopped"
must_run qemu/101 qemu/102

fresh "HA"
vm 101
up qemu/101
printf 'vm: 101\n\tstate started\n' >/etc/pve/ha/resources.cfg
vm-state-save --journal 101 conflict:qemu/100
expect 69 guest-stop 101
says "HA-managed"
must_run qemu/101
must_be_forgotten qemu/101
mkdir -p /etc/pve-gpu-utils
printf '[backup]\nha = stop\n' >/etc/pve-gpu-utils/pve-gpu-utils.conf
echo late >"$FAKE/STOP-101"
expect 0 guest-stop 101
must_be_down qemu/101
printf '[backup]\nfoo = bar\n' >/etc/pve-gpu-utils/pve-gpu-utils.conf
expect 78 guest-stop 101

fresh "the progress line fits the terminal"
vm 101
vm 102
up qemu/101 qemu/102
echo late >"$FAKE/STOP-101"
echo late >"$FAKE/STOP-102"
expect 0 script -qec "stty cols 30; guest-stop 101 102 >/dev/null" /dev/null </dev/null
tr '\r' '\n' <"$FAKE/out" | sed 's/.*\[K//' >"$FAKE/lines"
grep -q '^stopping qemu/102 [0-9]* s, stopp' "$FAKE/lines" || fail "no progress line"
! grep -q '.\{30\}' "$FAKE/lines" || fail "a progress line of 30 columns or more"

fresh "a host service"
vm 101
expect 0 guest-stop unit/ollama.service
grep -q '^systemctl stop ollama.service$' "$FAKE/log" || fail "the service was not stopped"

fresh "another root"
mkdir -p "$FAKE/root/etc/pve/nodes/pve1/qemu-server"
ln -sfn nodes/pve1 "$FAKE/root/etc/pve/local"
echo "name: x" >"$FAKE/root/etc/pve/nodes/pve1/qemu-server/101.conf"
expect 69 guest-stop -R "$FAKE/root" 101
expect 0 guest-stop -R "$FAKE/root" -n 101

fresh "a closed standard output stops nobody half-way"
vm 101
vm 102
up qemu/101 qemu/102
(guest-stop -P 1 101 102 2>/dev/null || :) | true
sleep 3
must_be_down qemu/101 qemu/102
echo "guest-stop: all passed"
