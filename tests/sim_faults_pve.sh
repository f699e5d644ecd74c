#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_faults_pve.sh - qm and pct that hang, fail or lie, guests that will not stop
# or are locked, an administrator at work in the middle of a backup, a stopwait that
# runs out, HA that is slow or dead.
# shellcheck disable=SC1091,SC2013,SC2016,SC2034,SC2154 # the libraries; scripts that the host expands; their variables
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
. ./pve-sim/faultlib.sh
sim_begin
sim_suite

nodes='s/^speed.*/&\nother-nodes = pve2/'
# 102 runs without a GPU and is backed up last; 101 is in no job.
third='s/^	vmid .*/	vmid 100,102/;$a== qemu/102 running\nname: files\nscsi0: local:102/vm-102-disk-0.raw,size=4G'
failed() { event "backup-failed $1"; }
ran_on() { no_event "down $1"; }
state_is() { is "$(sed -n "s,^$1 ,,p" "$H/after")" "$2"; }
# 100 could not be backed up for want of the GPU, everybody else could.
stood_aside()
{
	check 'that backup fails' failed qemu/100
	check 'no other fails' is "$(awk -F '\t' '$2 == "backup-failed" && $3 != "qemu/100"' "$H/events")" ''
	same
	tidy
}
went_well()
{
	check 'the job goes well' is "$rc" 0
	same
	tidy
}

# ---- qm, pct -----------------------------------------------------------------------

shutdown_hangs()
{
	fault_host two-vms ''
	fault_sh -c 'stop-timeout = 1' -f 'qm-shutdown 101 hang' 'simctl night'
	stood_aside
	check 'the guest was never down' ran_on qemu/101
	check 'it is said that qm was given up' told 'qemu/101 not stopped: qm shutdown 101 .*was given up after'
}
shutdown_fails()
{
	fault_host "$1" ''
	fault_sh -f "$2" 'simctl night'
	stood_aside
	check 'the guest was never down' ran_on "$3"
	check 'what qm says is passed on' told "$3 not stopped: .*simulated failure"
}
shutdown_lies()
{
	fault_host two-vms ''
	fault_sh -f 'qm-shutdown 101 nothing' 'simctl night'
	stood_aside
	check 'the guest was never down' ran_on qemu/101
	check 'nobody believed it' told 'qemu/101 not stopped: qm shutdown 101 .*ended well, yet it still runs'
}
# The start fails in the job, and is possible again later.
start_fails()
{
	fault_host "$1" "$4"
	fault_sh -f "$2 fail" 'when "job-end -" "sleep 1; simctl fault -"; simctl night'
	went_well
	check 'it was down meanwhile' event "down $3"
	check 'the failed start is said' told "$3 not started: .*exit code 255: .*simulated failure"
	check 'and the later one' told "$3 started"
}
start_lies()
{
	fault_host two-vms ''
	fault_sh -f 'qm-start 101 nothing' 'when "job-end -" "simctl fault -"; simctl night'
	went_well
	check 'nobody believed it' told 'qemu/101 not started: qm start 101 ended well, yet it does not run'
	check 'the later start is said' told 'qemu/101 started'
}
# By hand, with a shorter limit than the hook's 300 s.
start_hangs()
{
	fault_host two-vms "$1"
	fault_sh 'vm-state-save --journal qemu/101 conflict:qemu/100; qm shutdown 101; simctl fault "qm-start 101 hang"
		vm-state-restore -t 2; echo "code $?"; pgrep -x qm; simctl fault -; vm-state-restore; echo "code $?"'
	check 'it is given up' told 'qemu/101 not started: qm start 101 was given up after'
	check 'as a temporary failure, then all is well' is "$(sed -n 's/^code //p' "$T/out" | tr '\n' ' ')" '75 0 '
	check 'qm does not hang on' no_out '^[0-9]+$'
	same
	tidy
}
# In a night: the hook's limit is 300 s, the guardian starts it after that.
start_hangs_long()
{
	fault_host two-vms ''
	fault_sh -f 'qm-start 101 hang' 'when "hook qemu/101 backup-start" "simctl fault -"; simctl night'
	went_well
	check 'it is given up' told 'qemu/101 not started: qm start 101 was given up after 3'
}
# It fails for ever: the guardian gives up after max-wait, the next job tries again.
start_never()
{
	fault_host two-vms ''
	fault_sh -c 'max-wait = 1' -f 'qm-start 101 fail' 'simctl night
		n=0; while ps -eo args= | grep -v grep | grep -q -e --guard && [ $n -lt 3000 ]; do sleep 0.1; n=$((n + 1)); done
		ls /var/lib/pve-gpu-utils/journal; simctl fault -; simctl night'
	went_well
	check 'the guest stays in the journal' out '^/var/lib/pve-gpu-utils/journal$'
	check 'the command is named' told 'qemu/101 not started: qm start 101: exit code 255.*stays in the journal'
	check 'the next job starts it' told 'qemu/101 started'
}

# ---- guests that do not do what they are told ----------------------------------------

never_stops()
{
	fault_host two-vms "$1"
	"$SIM" set "$H" 101 shutdown=never
	fault_sh 'simctl night'
	stood_aside
	check 'the guest was never down' ran_on qemu/101
	check 'the reason is said' told 'qemu/101 not stopped: qm shutdown 101 .*got timeout'
	check 'and that it is watched' told 'qemu/101 was told to stop and still runs'
}
# ... and after max-wait nobody waits for it any more.
watched_in_vain()
{
	fault_host two-vms ''
	"$SIM" set "$H" 101 shutdown=never
	fault_sh -c 'max-wait = 1' 'patience=1000000; simctl night'
	stood_aside
	check 'the guardian has given up' is "$(ls "$H/watched" 2>/dev/null)" ''
}
is_forced()
{
	fault_host two-vms ''
	"$SIM" set "$H" 101 shutdown=never
	fault_sh -c 'force-stop = yes' 'simctl night'
	went_well
	check 'it was terminated' event 'down qemu/101 stopped'
	check 'both are backed up' is "$(grep -c backup-made "$H/events")" 2
}
# The time-out is over, the job too, then it goes down after all.
stops_late()
{
	fault_host "$1" "$2"
	"$SIM" set "$H" 101 shutdown=never
	fault_sh 'when "job-end -" "simctl set 101 shutdown=60; kill -USR1 \$(cat /run/qemu-server/101.pid)"
		patience=200; simctl night'
	stood_aside
	check 'it went down' event 'down qemu/101 powered.off'
	check 'the guardian starts it' told 'qemu/101 started'
}
is_locked()
{
	fault_host two-vms ''
	fault_sh 'echo "lock: snapshot" >>/etc/pve/qemu-server/101.conf; simctl states >/run/pve-sim/before; simctl night'
	check 'both fail, locked as the one is' is "$(grep -c backup-failed "$H/events")" 2
	same
	tidy
	check 'the guest was never down' ran_on qemu/101
	check 'the reason is said' told 'qemu/101 is locked \(snapshot\): not stopped'
}
# Locked while it is down; unlocked later.
is_locked_meanwhile()
{
	fault_host two-vms ''
	fault_sh 'during "echo lock: snapshot >>/etc/pve/qemu-server/101.conf"
		when "job-end -" "sleep 1; qm unlock 101"; simctl night'
	same
	tidy
	check 'its backup is made' made qemu/100
	check 'the lock is said' told 'qemu/101 is locked \(snapshot\): not started now'
	check 'the later start, too' told 'qemu/101 started'
}
# The guest of the backup itself is locked: nothing is stopped for it.
target_locked()
{
	fault_host two-vms '/^name: render/a lock: migrate'
	fault_sh 'simctl night'
	stood_aside
	check 'the guest was never down' ran_on qemu/101
}

# ---- the administrator ---------------------------------------------------------------

# In a job that keeps it down until its end somebody starts it.
admin_starts()
{
	fault_host two-vms "$third"
	fault_sh -c 'restart = job-end' 'during qemu/102 "qm start 101"; simctl night'
	went_well
	check 'it was started by hand, once' is "$(awk -F '\t' '$2 == "ready" { on = 1 } on && $2 == "up"' "$H/events" | wc -l)" 1
	check 'that it is left alone is said' told 'qemu/101 was started meanwhile by somebody else: left alone'
}
# Once back it is not ours any more.
admin_stops()
{
	fault_host two-vms "$third"
	fault_sh 'during qemu/102 "qm shutdown 101"; simctl night'
	check 'the job goes well' is "$rc" 0
	tidy
	check 'it was started' told 'qemu/101 started'
	check 'what he stopped stays down' state_is qemu/101 stopped
}
# He stops it before we do: it is not ours at all.
admin_stops_first()
{
	fault_host two-vms ''
	fault_sh 'hook=/etc/pve-gpu-utils/vzdump.d/10-admin
		printf "#!/bin/sh\n[ \"\$1.\$3\" != backup-start.100 ] || /usr/sbin/qm stop 101\n" >$hook; chmod 755 $hook; simctl night'
	check 'the job goes well' is "$rc" 0
	tidy
	check 'it stays down' state_is qemu/101 stopped
	check 'nobody started it' is "$(grep -c "	up	" "$H/events")" 1
}
admin_migrates()
{
	fault_host two-vms "$nodes;s/^	vmid .*/	vmid 100/"
	fault_sh 'during "qm migrate 101 pve2"; simctl night'
	check 'the job goes well' is "$rc" 0
	tidy
	check 'it is not started here' is "$(grep -c "	up	" "$H/events")" 1
	check 'it is said where it is' told 'qemu/101 is on node pve2 now: left alone'
	check 'its config is there' test -e "$H/disk/etc/pve/nodes/pve2/qemu-server/101.conf"
}
admin_deletes()
{
	fault_host two-vms 's/^	vmid .*/	vmid 100/'
	fault_sh 'during "qm destroy 101"; simctl night'
	check 'the job goes well' is "$rc" 0
	tidy
	check 'it is said' told 'qemu/101 does not exist any more'
}
# He lets the guest run that is being backed up; later he stops it again.
admin_wants_target()
{
	fault_host two-vms 's/^	vmid .*/	vmid 100/'
	fault_sh 'during "qm start 100"; when "job-end -" "sleep 2; qm stop 100"; patience=1000000; simctl night'
	check 'the job goes well' is "$rc" 0
	same
	tidy
	check 'it had his guest' event 'up qemu/100'
	check 'it is said who has the GPU' told 'qemu/101 .*(qemu/100 runs and has what it needs|until qemu/100 is backed up)|qemu/100 was started during its backup'
	check 'the other one is back when that is down' told 'qemu/101 started'
}
# As above, but it stays up: the GPU is his choice, and he is told the command.
admin_keeps_target()
{
	fault_host two-vms 's/^	vmid .*/	vmid 100/'
	fault_sh -c 'max-wait = 1' 'during "qm start 100"; patience=1000000; simctl night'
	check 'his guest runs' state_is qemu/100 running
	check 'the command is named' told 'qemu/101 not started: qemu/100 runs and has what it needs; when that is down: qm start 101'
	tidy
}
# vzdump is told to end: the task's Stop, or vzdump --stop.
admin_ends_job()
{
	fault_host two-vms "$2" kill-delay=60
	fault_sh "during \"$1\"; simctl night"
	check 'the backup was broken off' failed qemu/100
	same
	tidy
	check 'the guest was down and is back' told 'qemu/101 started'
}

# ---- stop mode, HA ---------------------------------------------------------------------

stopwait()
{
	fault_host stopmode "$1"
	"$SIM" set "$H" 100 shutdown=never
	fault_sh 'when "backup-failed qemu/100" "simctl set 100 shutdown=60; kill -USR1 \$(cat /run/qemu-server/100.pid)"
		patience=300; simctl night'
	check 'that backup fails' failed qemu/100
	check 'the others are made' is "$(grep -c backup-made "$H/events")" 3
	same
	tidy
	check 'it went down later' event 'down qemu/100'
	check 'the guardian starts it' told 'qemu/100 started'
}
ha_is_slow()
{
	fault_host ha "$1" ha-delay=90
	fault_sh -c 'ha = stop' 'simctl night'
	went_well
	check 'HA wants it up again' is "$(sed -n 's/^\tstate //p' "$H/disk/etc/pve/ha/resources.cfg")" started
}
# The job dies in the backup of the guest that it stopped: its paused kvm is HA's, and locked.
# To HA the guest is stopped already. The agent may sleep, after which nobody stops anything.
ha_job_dies()
{
	fault_host ha ''
	fault_sh -c 'ha = stop\nrestart = job-end' 'during qemu/101 "
			'"$1"'
			kill -9 \$(printf %d 0x\$(cut -d: -f3 /run/vzdump.pid))"
		simctl night'
	check 'the backup of the other one is made' made qemu/100
	check 'the paused kvm is told of' told 'qemu/101: ending the paused kvm'
	same
	tidy
}
# 6 minutes: HA takes its time, and so does the hook.
ha_is_dead()
{
	fault_host ha '' ha=off
	sim_limit=700
	fault_sh -c 'ha = stop\nstop-timeout = 1\nmax-wait = 1' 'simctl night'
	check 'that backup fails' failed qemu/100
	same
	check 'the guest was never down' ran_on qemu/101
	check 'HA does not go on wanting it down' is "$(sed -n 's/^\tstate //p' "$H/disk/etc/pve/ha/resources.cfg")" started
}

off='s/^speed.*/&\nsystemd = off/'
off_stop='1i== conf\nsystemd = off'
run_case 'qm shutdown hangs' shutdown_hangs
run_case 'qm shutdown fails' shutdown_fails two-vms 'qm-shutdown 101 fail' qemu/101
run_case 'pct shutdown fails' shutdown_fails hostdriver 'pct-shutdown 200 fail' lxc/200
run_case 'qm shutdown does nothing' shutdown_lies
run_case 'qm start fails' start_fails two-vms 'qm-start 101' qemu/101 ''
run_case 'qm start fails, no systemd' start_fails two-vms 'qm-start 101' qemu/101 "$off"
run_case 'pct start fails' start_fails hostdriver 'pct-start 200' lxc/200 ''
run_case 'qm start does nothing' start_lies
run_case 'qm start hangs' start_hangs ''
run_case 'qm start hangs, no systemd' start_hangs "$off"
run_case 'qm start fails for ever' start_never
run_case 'a guest will not stop' never_stops ''
run_case 'a guest will not stop, no systemd' never_stops "$off"
run_case 'a guest does not stop in max-wait' watched_in_vain
run_case 'force-stop' is_forced
run_case 'a guest stops late' stops_late two-vms ''
run_case 'a guest stops late, no systemd' stops_late two-vms "$off"
run_case 'a locked guest' is_locked
run_case 'a guest locked meanwhile' is_locked_meanwhile
run_case 'the guest of the backup is locked' target_locked
run_case 'started by hand' admin_starts
run_case 'stopped by hand' admin_stops
run_case 'stopped by hand before' admin_stops_first
run_case 'migrated' admin_migrates
run_case 'deleted' admin_deletes
run_case 'the guest of the backup is wanted' admin_wants_target
run_case 'the guest of the backup is kept' admin_keeps_target
run_case 'task stopped' admin_ends_job 'simctl task-stop' ''
run_case 'vzdump --stop' admin_ends_job 'vzdump --stop' ''
run_case 'task stopped, no systemd' admin_ends_job 'simctl task-stop' "$off"
run_case 'stopwait runs out' stopwait ''
run_case 'stopwait runs out, no systemd' stopwait "$off_stop"
run_case 'HA is slow' ha_is_slow ''
run_case 'HA, and the job dies' ha_job_dies :
if [ -n "$long" ]; then
	run_case 'qm start hangs in a night' start_hangs_long
	run_case 'HA does not act' ha_is_dead
	run_case 'HA sleeps, and the job dies' ha_job_dies 'simctl fault ha-sleeps'
fi

cases_end
sim_end
