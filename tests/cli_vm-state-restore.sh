#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vm-state-restore on real processes behind a small qm and pct.
set -eu
here=$(dirname "$0")
[ -n "${FAKE_PVE-}" ] || exec "$here/fake-pve.sh" "$0"
# shellcheck source-path=SCRIPTDIR source=fake-guests.sh
. "$here/fake-guests.sh"
slow=${TEST_SLOW:-1}

# in_time COMMAND...: until it succeeds
in_time() {
	n=0
	until "$@"; do
		n=$((n + 1))
		[ $n -lt $((600 * slow)) ] || fail "$test_name: in vain: $*"
		sleep 0.1
	done
}

# stop_for BACKUP GUEST...: what the hook does.
stop_for() {
	backup=$1
	shift
	for guest; do
		vm-state-save --journal "$guest" "conflict:$backup"
		down "$guest"
	done
}

# A job: sets worker, with its UPID where vzdump leaves it.
job() {
	sleep 1000 &
	worker=$!
	printf 'UPID:pve1:%08X:%08X:65000000:vzdump::root@pam:' "$worker" \
		"$(cut -d' ' -f22 "/proc/$worker/stat")" >/run/vzdump.pid
}

end_job() {
	kill -9 "$worker"
	wait "$worker" 2>/dev/null || :
}

conf() {
	mkdir -p /etc/pve-gpu-utils
	printf '%s\n' "$@" >/etc/pve-gpu-utils/pve-gpu-utils.conf
}

fresh "wrong use"
expect 64 vm-state-restore --bogus
expect 64 vm-state-restore --after 100
expect 64 vm-state-restore --after qemu/100 --boot
expect 64 vm-state-restore --policy early
expect 64 vm-state-restore --policy never --after qemu/100
expect 64 vm-state-restore --no-lock
expect 64 vm-state-restore --guard x
expect 64 vm-state-restore -P 0
expect 64 vm-state-restore a b
expect 64 vm-state-restore --recover file
expect 66 vm-state-restore "$FAKE/absent"
expect 0 vm-state-restore --help
[ "$(wc -l <"$FAKE/out")" -le 24 ] || fail "help is long"
expect 0 vm-state-restore
expect 0 vm-state-restore --after qemu/100
expect 0 vm-state-restore --recover

fresh "journaled guests come back in start-up order, the others stay off"
vm 101 'startup: order=2'
vm 102 'startup: order=1,up=1'
vm 103
vm 104
ct 200
up qemu/101 qemu/102 qemu/103 lxc/200
stop_for qemu/100 qemu/101 qemu/102 qemu/103 lxc/200
expect 0 vm-state-restore -n
[ "$(head -n 2 "$FAKE/out")" = "qm start 102
qm start 101" ] || fail "order of the dry run"
[ "$(sort "$FAKE/out" | tr '\n' ,)" = "pct start 200,qm start 101,qm start 102,qm start 103," ] ||
	fail "dry run"
[ ! -s "$FAKE/log" ] || ! grep -q start "$FAKE/log" || fail "a dry run called qm"
must_be_journaled qemu/101
expect 0 vm-state-restore
must_run qemu/101 qemu/102 qemu/103 lxc/200
must_be_down qemu/104
[ "$(grep ' start ' "$FAKE/log" | head -n 2)" = "qm start 102
qm start 101" ] || fail "order of the starts"
says "qemu/101 started (.* s)"
[ ! -e "$journal" ] || fail "the journal is left"

fresh "left alone: started, deleted, moved, made a template, locked"
for id in 101 102 103 104 105 106; do vm $id; done
ct 200
up qemu/101 qemu/102 qemu/103 qemu/104 qemu/105 lxc/200
stop_for qemu/100 qemu/101 qemu/102 qemu/103 qemu/104 qemu/105 lxc/200
up qemu/101 lxc/200
rm /etc/pve/local/qemu-server/102.conf
mv /etc/pve/local/qemu-server/103.conf /etc/pve/nodes/pve2/qemu-server/
echo "template: 1" >>/etc/pve/local/qemu-server/104.conf
echo "lock: migrate" >>/etc/pve/local/qemu-server/105.conf
expect 75 vm-state-restore
says "qemu/101 was started meanwhile"
says "lxc/200 was started meanwhile"
says "qemu/102 does not exist any more"
says "qemu/103 is on node pve2 now"
says "qemu/104 is a template now"
says "qemu/105 is locked (migrate)"
! grep -q ' start ' "$FAKE/log" || fail "somebody was started"
for id in 101 102 103 104; do must_be_forgotten qemu/$id; done
must_be_journaled qemu/105
sed -i '/^lock/d' /etc/pve/local/qemu-server/105.conf
expect 0 vm-state-restore
must_run qemu/105

fresh "told to stop, still up; another run of it"
vm 101
ct 200
up qemu/101 lxc/200
vm-state-save --journal qemu/101 conflict:qemu/100
vm-state-save --journal lxc/200 conflict:qemu/100
expect 75 vm-state-restore
says "qemu/101 was told to stop and still runs"
says "lxc/200 was told to stop and still runs"
must_be_journaled qemu/101
down qemu/101 lxc/200
expect 0 vm-state-restore
must_run qemu/101 lxc/200

fresh "one that was off when it was journaled"
vm 101
vm-state-save --journal qemu/101 conflict:qemu/100
expect 0 vm-state-restore
must_be_down qemu/101
[ ! -e "$journal" ] || fail "the journal is left"

fresh "qm that fails, does nothing, hangs; HA"
for id in 101 102 103 104; do vm $id; done
up qemu/101 qemu/102 qemu/103 qemu/104
stop_for qemu/100 qemu/101 qemu/102 qemu/104
echo fail >"$FAKE/START-101"
echo nothing >"$FAKE/START-102"
echo hang >"$FAKE/START-103"
echo late >"$FAKE/START-104"
printf 'vm: 104\n\tstate started\n' >/etc/pve/ha/resources.cfg
expect 75 vm-state-restore
says "qemu/101 not started: qm start 101: exit code 255: start failed"
says "qemu/102 not started: qm start 102 ended well, yet it does not run"
says "qemu/104 started"
stop_for qemu/100 qemu/103
expect 75 vm-state-restore -t 3
says "qemu/103 not started: qm start 103 was given up after"
must_run qemu/104
for id in 101 102 103; do must_be_journaled qemu/$id; rm "$FAKE/START-$id"; done
expect 0 vm-state-restore
must_run qemu/101 qemu/102 qemu/103

fresh "a contender runs"
vm 101
vm 102
conf '[gpu-groups]' 'group = 0000:01:00.0 101 102'
up qemu/101
stop_for qemu/100 qemu/101
up qemu/102
expect 75 vm-state-restore
says "qemu/101 not started: qemu/102 runs.*qm start 101"
must_be_journaled qemu/101
must_be_down qemu/101
expect 0 vm-state-restore -n
grep -q '^qm start 101	# ' "$FAKE/out" || fail "dry run of a blocked guest"

fresh "after a backup: policies"
vm 100
vm 101
vm 103
conf '[backup]' 'lookahead = 2' '[gpu-groups]' 'group = 0000:01:00.0 100 101 103'
up qemu/101
vm-state-save --journal qemu/100 backup
stop_for qemu/100 qemu/101
expect 0 vm-state-restore --after qemu/100 -n
grep -q '^qm start 101	# waits for qemu/10[03]$' "$FAKE/out" || fail "dry run of a waiting guest"
expect 0 vm-state-restore --policy last --after qemu/100
says "qemu/101 stays down until qemu/103 is backed up"
must_be_down qemu/101
must_be_forgotten qemu/100
must_be_journaled qemu/101
expect 0 vm-state-restore --policy job-end --after qemu/103
must_be_down qemu/101
expect 0 vm-state-restore --after qemu/103
must_run qemu/101

fresh "a backup under way keeps its contenders down"
vm 100 'lock: backup'
vm 101
conf '[gpu-groups]' 'group = 0000:01:00.0 100 101'
up qemu/101
job
vm-state-save --journal qemu/100 backup
stop_for qemu/100 qemu/101
expect 0 vm-state-restore
must_be_down qemu/101
must_be_journaled qemu/100
expect 0 vm-state-restore --recover --no-lock
must_be_down qemu/101
end_job

fresh "recovery: paused kvm, lock, stop mode"
for id in 100 101 102 105; do vm $id; done
conf '[gpu-groups]' 'group = 0000:01:00.0 100 101'
job
up qemu/101 qemu/102
vm-state-save --journal qemu/100 backup
stop_for qemu/100 qemu/101
vm-state-save --journal qemu/102 vzdump
echo "lock: backup" >>/etc/pve/local/qemu-server/100.conf
echo "lock: backup" >>/etc/pve/local/qemu-server/102.conf
echo "lock: backup" >>/etc/pve/local/qemu-server/105.conf
down qemu/102
up qemu/100
: >"$FAKE/prelaunch-100"
end_job
expect 0 vm-state-restore --recover -n
[ "$(grep -v '#' "$FAKE/out" | tr '\n' ,)" = "qm stop 100 --skiplock,qm unlock 100,qm unlock 102," ] ||
	fail "dry run of a recovery"
expect 0 vm-state-restore --recover
must_be_down qemu/100
must_run qemu/101 qemu/102
grep -q '^qm stop 100 --skiplock$' "$FAKE/log" || fail "the paused kvm was not stopped as it has to be"
grep -q lock /etc/pve/local/qemu-server/100.conf && fail "the lock of 100 is left"
grep -q lock /etc/pve/local/qemu-server/105.conf || fail "a lock that is not ours was taken"
[ ! -e "$journal" ] || fail "the journal is left"

# The journal says that a dead job made a backup of qemu/100, whose kvm waits.
left() {
	job
	vm-state-save --journal qemu/100 backup
	up qemu/100
	: >"$FAKE/prelaunch-100"
	end_job
}

fresh "recovery: a paused kvm, unlocked already"
vm 100
left
expect 0 vm-state-restore --recover -n
[ "$(cat "$FAKE/out")" = "qm stop 100 --skiplock" ] || fail "dry run of a recovery without a lock"
echo fail >"$FAKE/STATUS-100"
expect 75 vm-state-restore --recover
must_run qemu/100
must_be_journaled qemu/100	# what it is could not be told
rm "$FAKE/STATUS-100"
expect 0 vm-state-restore --recover
says "qemu/100: ending the paused kvm"
must_be_down qemu/100
! grep -q unlock "$FAKE/log" || fail "a lock that was not there was taken back"
[ ! -e "$journal" ] || fail "the journal is left"

fresh "recovery: HA stops a paused kvm only when it is unlocked"
vm 100
left
echo "lock: backup" >>/etc/pve/local/qemu-server/100.conf
printf 'vm: 100\n\tstate stopped\n' >/etc/pve/ha/resources.cfg
expect 0 vm-state-restore --recover -n
[ "$(tr '\n' , <"$FAKE/out")" = "qm unlock 100,qm stop 100 --skiplock," ] || fail "dry run for a HA guest"
echo late >"$FAKE/STOP-100"
expect 0 vm-state-restore --recover
[ "$(grep -e unlock -e stop "$FAKE/log" | tr '\n' ,)" = "qm unlock 100,qm stop 100 --skiplock," ] ||
	fail "order of unlock and stop"
must_be_down qemu/100
[ ! -e "$journal" ] || fail "the journal is left"
rm /etc/pve/ha/resources.cfg

fresh "recovery: what runs or waits for somebody else is left alone"
for line in 'cores: 1' 'lock: create' 'freeze: 1'; do
	vm 100 "$line"
	left
	[ "$line" != 'cores: 1' ] || rm "$FAKE/prelaunch-100"
	expect 0 vm-state-restore --recover
	must_run qemu/100
	! grep -q -e stop -e unlock "$FAKE/log" || fail "$line: $(cat "$FAKE/log")"
	[ ! -e "$journal" ] || fail "$line: the journal is left"
	down qemu/100
done

fresh "recovery without pmxcfs: what is locked is not forgotten"
vm 100
left
down qemu/100
echo "lock: backup" >>/etc/pve/local/qemu-server/100.conf
mount -t tmpfs none /etc/pve
expect 75 vm-state-restore --recover
must_be_journaled qemu/100
expect 75 vm-state-restore
must_be_journaled qemu/100
umount /etc/pve
expect 0 vm-state-restore --recover
! grep -q ^lock /etc/pve/local/qemu-server/100.conf || fail "the lock is left"
[ ! -e "$journal" ] || fail "the journal is left"

# A host service that made way for 100 and has waited for too long, while 102 is backed up.
service_waits() {
	vm 100
	vm 102 'lock: backup'
	job
	vm-state-save --journal qemu/102 backup
	vm-state-save --journal unit/ollama.service conflict:qemu/100
	sed -i '/^unit/s/[0-9]*$/1/' "$journal"
	: >"$FAKE/log"
}
unit_starts() { grep -c '^systemctl start ollama.service$' "$FAKE/log" || :; }

fresh "an overdue host service waits for the backup of another guest, no longer"
service_waits
expect 0 vm-state-restore --after qemu/100
says "unit/ollama.service stays down until qemu/102 is backed up"
[ "$(unit_starts)" = 0 ] || fail "the service was started in the middle of a backup"
must_be_journaled unit/ollama.service
sed -i '/^lock/d' /etc/pve/local/qemu-server/102.conf
expect 0 vm-state-restore --after qemu/102
[ "$(unit_starts)" = 1 ] || fail "the service was not started after the backup"
[ ! -e "$journal" ] || fail "the journal is left"
end_job

fresh "a host service: a lock that cannot be taken back keeps it down no longer than the job"
service_waits
echo fail >"$FAKE/UNLOCK-102"
expect 0 vm-state-restore
[ "$(unit_starts)" = 0 ] || fail "the service was started in the middle of a backup"
end_job
expect 75 vm-state-restore --recover
[ "$(unit_starts)" = 1 ] || fail "the service was not started after the job"
must_be_journaled qemu/102
must_be_forgotten unit/ollama.service

fresh "recovery while a job has vzdump's lock"
vm 101
up qemu/101
stop_for qemu/100 qemu/101
exec 8>/run/vzdump.lock
flock 8
expect 75 vm-state-restore --recover 8>&-
says "a backup job runs"
must_be_down qemu/101
expect 0 vm-state-restore --recover --no-lock 8>&-
must_run qemu/101
exec 8>&-

fresh "boot"
for id in 101 102 103; do vm $id; done
echo "onboot: 1" >>/etc/pve/local/qemu-server/102.conf
for policy in yes onboot no; do
	conf '[backup]' "boot-restart = $policy"
	up qemu/101 qemu/102
	vm-state-save --journal qemu/100 backup 2>/dev/null || :
	stop_for qemu/100 qemu/101 qemu/102
	sed -i 's/^#boot_id .*/#boot_id 00000000-0000-0000-0000-000000000000/' "$journal"
	mkdir -p /var/lib/pve-gpu-utils/drivers
	echo "#functions" >/var/lib/pve-gpu-utils/drivers/qemu-100
	test_name="boot-restart = $policy"
	expect 0 vm-state-restore --boot
	case $policy in
	yes) must_run qemu/101 qemu/102 ;;
	onboot) must_be_down qemu/101; must_run qemu/102 ;;
	no) must_be_down qemu/101 qemu/102; says "boot-restart = no" ;;
	esac
	must_be_down qemu/103
	[ ! -e "$journal" ] || fail "the journal is left with boot-restart = $policy"
	[ ! -e /var/lib/pve-gpu-utils/drivers/qemu-100 ] || fail "drivers of another boot"
	for id in 101 102; do ! runs $id || down qemu/$id; done
done

fresh "boot: a contender is up already"
vm 101
vm 102
conf '[gpu-groups]' 'group = 0000:01:00.0 101 102'
up qemu/101
stop_for qemu/100 qemu/101
up qemu/102
sed -i 's/^#boot_id .*/#boot_id 00000000-0000-0000-0000-000000000000/' "$journal"
expect 75 vm-state-restore --boot
says "qemu/101 stays down.*start it with: qm start 101"
must_be_down qemu/101
[ ! -e "$journal" ] || fail "the journal is left"

fresh "the host shuts down"
vm 101
up qemu/101
stop_for qemu/100 qemu/101
echo stopping >"$FAKE/system"
expect 75 vm-state-restore
says "the host shuts down"
must_be_down qemu/101
must_be_journaled qemu/101

fresh "a damaged journal"
vm 101
up qemu/101
stop_for qemu/100 qemu/101
sed -i '$d' "$journal"
expect 65 vm-state-restore
says "damaged, not believed; kept as .*journal.bad"
says "qm start 101"
must_be_down qemu/101
[ -e "$journal.bad" ] || fail "journal.bad is missing"
[ ! -e "$journal" ] || fail "the damaged journal is still in place"

fresh "a damaged journal, and the state when the job began bears it out"
vm 101
vm 102
vm 103
up qemu/101
up qemu/103
vm-state-save -q
stop_for qemu/100 qemu/101
vm-state-save --journal qemu/102 vzdump
sed -i -e 's,^qemu/102\tstopped,qemu/102\trunning,' -e '$d' "$journal"
expect 0 vm-state-restore -n
[ "$(head -n 1 "$FAKE/out")" = "qm start 101" ] || fail "-n prints no command"
[ -e "$journal" ] || fail "-n has moved the journal"
expect 0 vm-state-restore
says "damaged, not believed; kept as .*journal.bad"
says "ran when the job began, and count: qemu/101"
says "qm start 102"
must_run qemu/101
must_be_down qemu/102
[ -e "$journal.bad" ] || fail "journal.bad is missing"
[ ! -e "$journal" ] || fail "the journal is left"

fresh "an empty journal: who is down since the job began is named"
vm 101
up qemu/101
vm-state-save -q
stop_for qemu/100 qemu/101
: >"$journal"
expect 65 vm-state-restore
says "ran when the job began, not now: qemu/101; unless that is wanted: qm start 101"
must_be_down qemu/101

fresh "a state file"
vm 101
vm 102
up qemu/101
vm-state-save "$FAKE/before"
down qemu/101
expect 0 vm-state-restore "$FAKE/before"
must_run qemu/101
must_be_down qemu/102
expect 0 vm-state-restore "$FAKE/before"
sed -i '$d' "$FAKE/before"
expect 65 vm-state-restore "$FAKE/before"
says "not believed"
vm-state-save "$FAKE/before"
sed -i 's/^#node .*/#node pve9/' "$FAKE/before"
expect 65 vm-state-restore "$FAKE/before"

fresh "no pmxcfs: nobody is forgotten"
vm 101
up qemu/101
stop_for qemu/100 qemu/101
mount -t tmpfs none /etc/pve
expect 75 vm-state-restore
says "not mounted"
umount /etc/pve
must_be_journaled qemu/101

fresh "another root"
mkdir -p "$FAKE/root"
cp -a /etc /var/lib/pve-gpu-utils "$FAKE/root" 2>/dev/null || :
mkdir -p "$FAKE/root/var/lib/pve-gpu-utils" "$FAKE/root/etc/pve/nodes/pve1/qemu-server" \
	"$FAKE/root/proc/sys/kernel/random"
vm 101
cp /etc/pve/local/qemu-server/101.conf "$FAKE/root/etc/pve/nodes/pve1/qemu-server/"
up qemu/101
vm-state-save --journal 101 conflict:qemu/100
cp "$journal" "$FAKE/root/var/lib/pve-gpu-utils/"
expect 69 vm-state-restore -R "$FAKE/root"
expect 0 vm-state-restore -R "$FAKE/root" -n
[ "$(cat "$FAKE/out")" = "qm start 101" ] || fail "dry run in another root"

fresh "the start survives us and everybody around us"
vm 101
up qemu/101
stop_for qemu/100 qemu/101
cat >/mnt/slow <<END
#!/bin/sh
: >$FAKE/starting
until [ -e $FAKE/go ]; do sleep 0.1; done
exec /usr/sbin/qm-real "\$@"
END
mv /usr/sbin/qm /usr/sbin/qm-real
cp /mnt/slow /usr/sbin/qm
sed -i 's/^tool=.*/tool=qm/' /usr/sbin/qm-real
chmod +x /usr/sbin/qm
setsid sh -c 'echo $$ >"$FAKE/group"; vm-state-restore | cat' >"$FAKE/out" 2>&1 &
in_time [ -e "$FAKE/starting" ]
kill -9 "-$(cat "$FAKE/group")"
: >"$FAKE/go"
in_time runs qemu/101
mv /usr/sbin/qm-real /usr/sbin/qm
sed -i "s/^tool=.*/tool=\${0##*\/}/" /usr/sbin/qm
must_run qemu/101
must_be_journaled qemu/101
vm-state-restore >/dev/null 2>&1 || :
[ ! -e "$journal" ] || fail "the journal is left"

fresh "the guardian: the worker is killed in the middle"
vm 100 'lock: backup'
vm 101
vm 102
conf '[gpu-groups]' 'group = 0000:01:00.0 100 101'
job
up qemu/101 qemu/102
vm-state-save --journal qemu/100 backup
stop_for qemu/100 qemu/101
vm-state-save --journal qemu/102 conflict:qemu/100	# told to stop, goes down later
up qemu/100
: >"$FAKE/prelaunch-100"
vm-state-restore --guard "$worker" >"$FAKE/guard" 2>&1 &
guard=$!
sleep "$slow"
must_be_down qemu/101
kill -0 "$guard" || fail "the guardian is gone: $(cat "$FAKE/guard")"
end_job
in_time runs qemu/101
must_be_down qemu/100
in_time eval '! grep -q "^qemu/101	" "$journal"'
kill -0 "$guard" || fail "the guardian did not wait for qemu/102: $(cat "$FAKE/guard")"
down qemu/102
n=0
while kill -0 "$guard" 2>/dev/null; do
	n=$((n + 1))
	[ $n -lt $((300 * slow)) ] || fail "the guardian goes on"
	sleep 1
done
must_run qemu/102
[ ! -e "$journal" ] || fail "the journal is left"

fresh "the guardian: nothing to do"
job
vm-state-restore --guard "$worker" &
guard=$!
end_job
wait "$guard" || fail "the guardian failed"
echo "vm-state-restore: all passed"
