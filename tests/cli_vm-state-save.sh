#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vm-state-save on real processes behind a small qm and pct.
set -eu
here=$(dirname "$0")
[ -n "${FAKE_PVE-}" ] || exec "$here/fake-pve.sh" "$0"
# shellcheck source-path=SCRIPTDIR source=fake-guests.sh
. "$here/fake-guests.sh"
state=/var/lib/pve-gpu-utils/state

fresh "wrong use"
vm 101
expect 64 vm-state-save --bogus
expect 64 vm-state-save --journal 101
expect 64 vm-state-save --journal 101 because
expect 64 vm-state-save --journal 101 conflict:../x
expect 64 vm-state-save --journal ../101 vzdump
expect 64 vm-state-save --journal unit/a/b vzdump
expect 64 vm-state-save --forget
expect 64 vm-state-save --journal --forget 101 vzdump
expect 64 vm-state-save -o nonsense -
expect 64 vm-state-save ''
expect 66 vm-state-save --journal 999 vzdump
expect 66 vm-state-save - 101 999
[ ! -e /var/lib/pve-gpu-utils ] || fail "wrong use wrote something"
expect 0 vm-state-save --help
[ "$(wc -l <"$FAKE/out")" -le 24 ] || fail "help is long"

fresh "records"
vm 101 'onboot: 1'
vm 102 'lock: snapshot' 'template: 1'
ct 200
echo "memory: 512" >/etc/pve/nodes/pve1/qemu-server/103.conf
up qemu/101 lxc/200
expect 0 vm-state-save -o guest,state,node,name,lock,template,disks,onboot -
printf 'qemu/101\trunning\tpve1\tvm101\t-\t0\t1\t1
qemu/102\tstopped\tpve1\tvm102\tsnapshot\t1\t1\t0
qemu/103\tstopped\tpve1\t-\t-\t0\t0\t0
lxc/200\trunning\tpve1\tct200\t-\t0\t0\t0\n' | sort >"$FAKE/want"
sort "$FAKE/out" | diff -u "$FAKE/want" - || fail "records"
expect 0 vm-state-save -r -o state,template,disks - qemu/103
[ "$(cat "$FAKE/out")" = "stopped	0	0" ] || fail "one guest's facts"
expect 0 vm-state-save -j -o guest,pid - 101
grep -q '^{"guest":"qemu/101","pid":[0-9]*}$' "$FAKE/out" || fail "JSON"
[ ! -e /var/lib/pve-gpu-utils ] || fail "printing wrote something"

fresh "a file"
vm 101
vm 102
up qemu/101
expect 0 vm-state-save -q
[ "$(stat -c %a "$state")" = 600 ] || fail "mode of the state file"
[ "$(stat -c %a "${state%/*}")" = 700 ] || fail "mode of the state folder"
sed -n 1p "$state" | grep -q "^#boot_id $(cat /proc/sys/kernel/random/boot_id)$" || fail "boot id"
sed -n 3p "$state" | grep -q '^#node pve1$' || fail "node"
[ "$(tail -n 1 "$state")" = "#end 2" ] || fail "end"
grep -q "^qemu/101	running	$(cat /run/qemu-server/101.pid)	pve1	[0-9]*	vm101	" "$state" || fail "record of 101"
expect 0 vm-state-save "$FAKE/mine" 102
[ "$(tail -n 1 "$FAKE/mine")" = "#end 1" ] || fail "end of a file for one guest"
mkfifo "$FAKE/pipe"
expect 74 vm-state-save "$FAKE/pipe" 102
grep -qF "$FAKE/pipe: state not saved: not a regular file" "$FAKE/out" "$FAKE/err" || fail "a FIFO: what was said"
[ -p "$FAKE/pipe" ] || fail "a file took the place of a FIFO"

fresh "the journal"
vm 101
ct 200
up qemu/101 lxc/200
expect 0 vm-state-save --journal 101 conflict:qemu/100
expect 0 vm-state-save --journal lxc/200 conflict:qemu/100
expect 0 vm-state-save --journal unit/ollama.service conflict:qemu/100
expect 0 vm-state-save --journal qemu/101 vzdump
expect 0 vm-state-save --journal qemu/101 conflict:qemu/105
[ "$(grep -c '^qemu/101	' "$journal")" -eq 2 ] || fail "one entry per kind of reason"
grep -q '^qemu/101	running	.*	conflict:qemu/105	[0-9]*$' "$journal" || fail "the later one counts"
grep -q '^unit/ollama.service	running	-	pve1	-	conflict:qemu/100	' "$journal" || fail "unit"
grep -q '^#job 0 0$' "$journal" || fail "there is no job"
[ "$(stat -c %a "$journal")" = 600 ] || fail "mode of the journal"
sleep 1000 &
worker=$!
start=$(cut -d' ' -f22 "/proc/$worker/stat")
printf 'UPID:pve1:%08X:%08X:65000000:vzdump:101:root@pam:\n' "$worker" "$start" >/run/vzdump.pid
expect 0 vm-state-save --journal 101 vzdump
grep -q "^#job $worker $start$" "$journal" || fail "job stamp: $(cat "$journal")"
kill "$worker"
expect 0 vm-state-save --forget 101 vzdump
[ "$(grep -c '^qemu/101	' "$journal")" -eq 1 ] || fail "forgot too much"
expect 0 vm-state-save --forget 101
expect 0 vm-state-save --forget lxc/200
expect 0 vm-state-save --forget unit/ollama.service
[ ! -e "$journal" ] || fail "an empty journal is left"
expect 0 vm-state-save --forget qemu/101

fresh "two at a time"
for i in 1 2 3 4 5 6 7 8; do vm 10$i; done
pids=
for i in 1 2 3 4 5 6 7 8; do
	vm-state-save --journal 10$i vzdump &
	pids="$pids $!"
done
for pid in $pids; do wait "$pid" || fail "journal under contention"; done
[ "$(tail -n 1 "$journal")" = "#end 8" ] || fail "an entry got lost"

fresh "a damaged journal is set aside"
vm 101
vm 102
vm-state-save --journal 102 vzdump
sed -i '$d' "$journal"
expect 0 vm-state-save --journal 101 vzdump
says "damaged, not believed"
says "qm start 102"
grep -q '^qemu/102' "$journal.bad" || fail "the damaged journal is not kept"
must_be_journaled qemu/101

fresh "a journal that lost the name of its boot"
vm 101
mkdir -m 700 /var/lib/pve-gpu-utils
printf '#job 5 5\nqemu/100\tstopped\t7\tpve1\t7\tbackup\t1\n#end 1\n' >"$journal"
expect 0 vm-state-save --journal 101 vzdump
must_be_journaled qemu/101
grep -q '^qemu/100	stopped	-	pve1	-	backup	1$' "$journal" || fail "who is being backed up is lost"

fresh "disk full"
vm 101
up qemu/101
mkdir -p /var/lib/pve-gpu-utils
mount -t tmpfs -o size=4k full /var/lib/pve-gpu-utils
cat /dev/zero >/var/lib/pve-gpu-utils/junk 2>/dev/null || :
expect 74 vm-state-save --journal 101 conflict:qemu/100
says "No space left"
expect 74 vm-state-save
umount /var/lib/pve-gpu-utils
[ ! -e "$journal" ] || fail "half a journal"

fresh "a file instead of the folder"
vm 101
: >/var/lib/pve-gpu-utils
expect 74 vm-state-save
expect 74 vm-state-save --journal 101 vzdump
rm /var/lib/pve-gpu-utils

fresh "no pmxcfs"
mount -t tmpfs none /etc/pve
expect 69 vm-state-save
says "not mounted"
umount /etc/pve
echo "vm-state-save: all passed"
