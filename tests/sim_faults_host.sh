#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_faults_host.sh - a full disk, a cluster without quorum, two jobs at once,
# damaged state files, the package upgraded or removed in the middle of a job, the
# host going down in it, a guest that is down for too long, bad configuration.
# shellcheck disable=SC1091,SC2016,SC2034,SC2154 # the libraries; scripts that the host expands; their variables
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
. ./pve-sim/faultlib.sh
sim_begin
sim_suite

lib=/var/lib/pve-gpu-utils
state_is() { is "$(sed -n "s,^$1 ,,p" "$H/after")" "$2"; }
went_well()
{
	check 'the job goes well' is "$rc" 0
	same
	tidy
}
# As if there were no hook: 100 fails for want of its GPU, 101 is never down.
stood_aside()
{
	check 'the backup fails for PVE'\''s own reason' told "Backup of VM 100 failed - PCI device '0000:01:00.0' already in use by VMID '101'"
	check 'the other one is made' made qemu/101
	check 'the guest was never down' no_event 'down qemu/101'
	same
	tidy
}

# ---- disk, quorum ------------------------------------------------------------------

disk_full()
{
	fault_host two-vms "$1"
	fault_sh -f "enospc $lib" 'simctl night'
	stood_aside
	check 'it is said' told 'stands aside'
}
# There is a state folder, there was room, there is none any more.
disk_full_later()
{
	fault_host two-vms ''
	fault_sh "mkdir -m 700 $lib; touch $lib/hook.lock $lib/journal.lock; "'simctl fault "enospc '$lib'"; simctl night'
	stood_aside
	check 'it is said' told 'the journal cannot be written: stands aside'
}
disk_full_meanwhile()
{
	fault_host two-vms "$1"
	fault_sh "during \"simctl fault 'enospc $lib'\"; "'when "job-end -" "sleep 1; simctl fault -"; simctl night'
	went_well
	check 'the guest was down and is back' told 'qemu/101 started'
}
no_quorum_meanwhile()
{
	fault_host two-vms "$1"
	fault_sh 'during "simctl fault no-quorum"; when "job-end -" "sleep 3; simctl fault -"; simctl night'
	check 'the guest was down' event 'down qemu/101'
	check 'why it does not start is said' told 'qemu/101 not started: .*cluster not ready - no quorum'
	check 'then it is started' told 'qemu/101 started'
	check 'all run as before' is "$(sed 's/ lock=.*//' "$H/before")" "$(sed 's/ lock=.*//' "$H/after")"
	tidy
}
# Before the job: vzdump itself can do nothing, we neither.
no_quorum()
{
	fault_host two-vms ''
	fault_sh -f no-quorum 'simctl night'
	check 'no backup can be made' is "$(grep -c backup-failed "$H/events")" 2
	check 'the guest was never down' no_event 'down qemu/101'
	same
	tidy
}

# ---- two jobs ------------------------------------------------------------------------

two_jobs()
{
	fault_host two-vms "$1"
	fault_sh 'simctl night & simctl night; wait'
	same
	tidy
	check 'all backups of both are made' is "$(grep -c backup-made "$H/events")" 4
	check 'one after the other' is "$(cut -f 2 "$H/events" | grep job- | tr '\n' ' ')" 'job-begin job-end job-begin job-end '
}
# The first one dies while the second waits for its lock.
two_jobs_one_dies()
{
	fault_host two-vms "$1"
	fault_sh 'during "kill -9 -\$(printf %d 0x\$(cut -d : -f 3 /run/vzdump.pid))"; simctl night & sleep 0.3; simctl night; rc=$?; wait; (exit $rc)'
	same
	tidy
	check 'the second one is as it should be' is "$(awk -F '\t' '$2 == "job-begin" { n++ } n == 2 && $2 ~ /^(backup-made|job-end)$/ { print $2, $3 }' "$H/events" | tr '\n' ' ')" \
		'backup-made qemu/100 backup-made qemu/101 job-end - '
	check 'the kvm of the first one is ended' told 'qemu/100: ending the paused kvm that a broken-off backup left'
}
# Whoever should have looked after the guests is killed, too: the next job does.
nobody_left()
{
	fault_host two-vms "$1"
	fault_sh 'during "kill -9 \$(pgrep -x vm-state-restor); kill -9 -\$(printf %d 0x\$(cut -d : -f 3 /run/vzdump.pid))"
		simctl night; simctl states; simctl night'
	check 'all is down after the first job' out '^qemu/101 stopped'
	check 'the second one is as it should be' is "$rc" 0
	same
	tidy
	check 'it puts right what the first one left' told 'qemu/100: taking back the lock that a broken-off backup left'
}

# Two who start the same guest: one does, the other waits for it. $1 is between them.
two_starts()
{
	fault_host two-vms ''
	fault_sh "simctl set 101 start=120; vm-state-save /run/was; qm stop 101; vm-state-restore -v /run/was & $1
		vm-state-restore -v /run/was; rc=\$?; wait \$! || [ \$? -eq 137 ] || rc=1; $unit_files; (exit \$rc)"
	check 'both find it running' is "$rc" 0
	same
	tidy
	check 'it was started once' is "$(grep -c '	up	qemu/101' "$H/events")" 2
	check 'nobody is told that it runs already' not_told 'already running'
	check 'nothing is left of the unit' is "$(grep -c . "$H/unit-files")" 0
}
# What a hookscript leaves running keeps the unit of the first night's start.
hookscript_daemon()
{
	fault_host two-vms "\$a== file /var/lib/vz/snippets/stay.sh\n#!/bin/sh\n[ \$2 != $1 ] || setsid sleep 1234 </dev/null >/dev/null 2>\&1 \&"
	fault_sh "chmod 755 /var/lib/vz/snippets/stay.sh; qm set 101 --hookscript local:snippets/stay.sh
		simctl night; $unit_files; simctl night; $unit_files; $2 simctl night; rc=\$?; $unit_files
		ps -eo args= >/run/pve-sim/ps; (exit \$rc)"
	went_well
	check 'it was started every night' is "$(grep -c '	up	qemu/101' "$H/events")" 4
	check 'each in a unit whose name is free' is "$(sed 's/.service//' "$H/unit-files" | tr '\n' ' ')" "$3"
	check 'all backups are made' is "$(grep -c backup-made "$H/events")" 6
	check 'what it started lives' is "$(grep -c '^sleep 1234' "$H/ps")" "$4"
}
unit_files='simctl settle; LC_ALL=C ls /run/systemd/transient | sed -n s/^pve-gpu-start-//p >>/run/pve-sim/unit-files'

# ---- files of ours --------------------------------------------------------------------

# before the job; the guest that a garbled journal may name runs
damaged()
{
	fault_host two-vms ''
	fault_sh "mkdir -m 700 $lib; $1; simctl night"
	check 'the job goes well' is "$rc" 0
	same
	tidy
	[ -z "$2" ] || check 'it is said' told "$2"
}
damaged_folder()
{
	fault_host two-vms ''
	fault_sh "mkdir -m 700 $lib; mkdir $lib/journal; simctl night; rmdir $lib/journal"
	stood_aside
	check 'it is said' told 'journal.*[Dd]irectory|stands aside'
}
# In the middle of it, with a guest down.
damaged_meanwhile()
{
	fault_host two-vms ''
	fault_sh "during \"$1\"; simctl night"
	check 'the job goes well' is "$rc" 0
	same
	tidy
	check 'it is said' told "$2"
}
# Nobody can know who stopped it: it is named, with the way out.
emptied()
{
	fault_host two-vms ''
	fault_sh "during ': >$lib/journal'; simctl night"
	check 'the job goes well' is "$rc" 0
	check 'nobody else was stopped or started' is "$(diff "$H/before" "$H/after" | grep '^[<>]' | tr '\n' ' ')" '< qemu/101 running > qemu/101 stopped '
	tidy
	check 'who is down is said' told 'ran when the job began, not now: qemu/101; unless that is wanted: qm start 101'
}
# Power was lost, nothing of ours ran at boot: the next job finds the journal.
other_boot()
{
	fault_host two-vms '/^onboot/d'
	fault_sh "during 'simctl power-off'; simctl night"
	check 'power was lost' is "$rc" 137
	rm -f "$H/disk/etc/systemd/system/multi-user.target.wants/pve-gpu-recover.service"
	fault_sh -b 'simctl states; simctl night'
	check 'it was down then' out '^qemu/101 stopped'
	went_well
	check 'it is started' told 'qemu/101 started'
}

# ---- the package -----------------------------------------------------------------------

files='/usr/sbin/vm-state-restore /usr/sbin/vm-state-save /usr/sbin/guest-stop /usr/sbin/gpu-conflicts /usr/sbin/vfio-bind
	/usr/sbin/pve-hostpci-ls /usr/sbin/lxc-gpu-ls /usr/sbin/pve-gpu-hooks /usr/bin/gpu-procs
	/usr/libexec/pve-gpu-utils/vzdump-hook-chain /usr/libexec/pve-gpu-utils/vzdump-gpu-hook /usr/libexec/pve-gpu-utils/hooks-report'
files=$(echo "$files" | tr -s '\n\t' '  ')
upgrade="for f in $files /etc/pve-gpu-utils/vzdump.d/50-gpu; do cp -p \$f \$f.dpkg-new; mv \$f.dpkg-new \$f; done"
remove="rm -r $files /usr/libexec/pve-gpu-utils /usr/share/pve-gpu-utils"
# what purge takes as well: conffiles; the state only when no guest is down
purge="$remove; rm -f /etc/pve-gpu-utils/vzdump.d/50-gpu; rmdir /etc/pve-gpu-utils/vzdump.d"

upgraded()
{
	fault_host two-vms "$2"
	fault_sh "$1 '$upgrade'; simctl night"
	went_well
	check 'all backups are made' is "$(grep -c backup-made "$H/events")" 2
}
removed()
{
	fault_host two-vms "$2"
	fault_sh "during '$1'; simctl night"
	went_well
	check 'all backups are made' is "$(grep -c backup-made "$H/events")" 2
	check 'the guest was down' event 'down qemu/101'
	check 'who started it says so' told 'qemu/101 started'
	check 'the state folder is tidied up' no_state
}
no_state() { is "$(find "$H/disk$lib" -name '*state*' -o -name 'journal*' -o -name '*.lock' 2>/dev/null)" ''; }
# ... and vzdump is killed: only the guardian is left, without its programs.
removed_and_killed()
{
	fault_host hostdriver "$2"
	fault_sh "during '$1; kill -9 -\$(printf %d 0x\$(cut -d : -f 3 /run/vzdump.pid))'; simctl night"
	same
	tidy
	check 'both containers were down' is "$(awk -F '\t' '$2 == "down" && $3 ~ /lxc/' "$H/events" | wc -l)" 2
	check 'the kvm is ended' told 'qemu/100: ending the paused kvm'
	check 'the driver is back' event 'bind 0000:01:00.0 nvidia'
	check 'who started them says so' told 'lxc/200 started'
}

# ---- the host goes down ----------------------------------------------------------------

# systemd ends the job; nothing starts any more; after the boot all is as before.
shutdown()
{
	fault_host two-vms "$1"
	fault_sh 'during "simctl fault \"host-state stopping\"; simctl task-stop; said \"host shuts down: nothing is started\"
		sleep 1; simctl power-off"; simctl night; sleep 300'
	check 'the host is off' is "$rc" 137
	check 'nothing was started while it went down' is "$(grep -c "	up	qemu/101" "$H/events")" 1
	check 'it is said' told 'the host shuts down: nothing is started; what is in the journal starts at boot'
	rm -f "$H/faults"
	fault_sh -b ':'
	same
	tidy
	check 'who started it says so' told 'qemu/101 (started|was started meanwhile)'
}

# ---- time, configuration ---------------------------------------------------------------

# Down until the end of the job: but not for longer than max-wait.
overdue()
{
	fault_host two-vms "s/^	vmid .*/	vmid 100,102/;\$a== qemu/102 running\nname: files\nscsi0: local:102/vm-102-disk-0.raw,size=4G$1"
	fault_sh -c 'restart = job-end\nmax-wait = 1' \
		'during qemu/102 "simctl seen \"down qemu/101(?s:.*)up qemu/101\" 300"; simctl night'
	went_well
	check 'the guardian started it in the middle of the next backup' is \
		"$(awk -F '\t' '$2 == "backup-begin" && $3 == "qemu/102" { b = 1 } $2 == "backup-made" && $3 == "qemu/102" { b = 0 } $2 == "up" && $3 == "qemu/101" && b { print "yes" }' "$H/events")" yes
	check 'and says so' told 'qemu/101 started'
}
# A host service, too; the backup of a guest without a GPU is nothing it has to wait for.
overdue_service()
{
	fault_host unit "s/^	vmid .*/	vmid 100,102/;\$a== qemu/102 running\nname: files\nscsi0: local:102/vm-102-disk-0.raw,size=4G"
	fault_sh -c 'restart = job-end\nhost-services = ollama.service' \
		"during qemu/102 'sed -i -E /^unit/s/[0-9]{10}/1/ $lib/journal; simctl seen \"down unit/ollama(?s:.*)up unit/ollama\" 300'; simctl night"
	went_well
	check 'the guardian started it in the middle of the next backup' is \
		"$(awk -F '\t' '$2 == "backup-begin" && $3 == "qemu/102" { b = 1 } $2 == "backup-made" && $3 == "qemu/102" { b = 0 } $2 == "up" && $3 ~ /ollama/ && b { print "yes" }' "$H/events")" yes
}
bad_conf()
{
	fault_host two-vms ''
	fault_sh "$1; simctl night"
	check 'the guest is not harmed, its backup is made' made qemu/101
	same
	tidy
	check 'the file is named' told "pve-gpu-utils.conf$2"
}
# A guest's config that cannot be understood, all the night or from the middle on.
bad_guest()
{
	fault_host two-vms "\$a== qemu/102\nname: odd\nscsi0: local:102/vm-102-disk-0.raw,size=4G"
	fault_sh "$1; simctl night"
	went_well
	check 'all backups are made' is "$(grep -c backup-made "$H/events")" 2
}

daemons_end='pkill -f "[s]leep 1234"; simctl until 60 sh -c "! ls /run/systemd/transient/pve-gpu-start-*"; '
off='s/^speed.*/&\nsystemd = off/'
off_new='1i== conf\nsystemd = off'
conf=/etc/pve-gpu-utils/pve-gpu-utils.conf
run_case 'disk full' disk_full ''
run_case 'disk full, no systemd' disk_full "$off"
run_case 'disk full, later' disk_full_later
run_case 'disk full in the middle' disk_full_meanwhile ''
run_case 'disk full in the middle, no systemd' disk_full_meanwhile "$off"
run_case 'no quorum' no_quorum
run_case 'no quorum in the middle' no_quorum_meanwhile ''
run_case 'no quorum in the middle, no systemd' no_quorum_meanwhile "$off"
run_case 'two jobs' two_jobs ''
run_case 'two jobs, no systemd' two_jobs "$off"
run_case 'two jobs, the first dies' two_jobs_one_dies ''
run_case 'two jobs, the first dies, no systemd' two_jobs_one_dies "$off"
run_case 'vzdump and the guardian killed' nobody_left ''
run_case 'vzdump and the guardian killed, no systemd' nobody_left "$off"
run_case 'two starts at once' two_starts ''
run_case 'two starts, one after the other' two_starts 'sleep 1;'
run_case 'two starts, the first who asked is killed' two_starts 'sleep 1; kill -9 $!;'
run_case 'a hookscript leaves a daemon' hookscript_daemon post-start '' '101 101-1 101 101-1 101-2 101 ' 3
run_case 'a hookscript leaves a daemon, it ends' hookscript_daemon pre-start "$daemons_end" '101 101-1 101 101 ' 1
run_case 'journal empty' damaged ": >$lib/journal" 'journal: damaged, not believed'
run_case 'journal of garbage' damaged "head -c 5000 /dev/urandom >$lib/journal" 'journal: damaged, not believed'
run_case 'journal cut off' damaged "vm-state-save --journal qemu/100 vzdump; head -c 90 $lib/journal >$lib/j; mv $lib/j $lib/journal" 'journal: damaged, not believed'
run_case 'journal is a folder' damaged_folder
run_case 'state of garbage' damaged "head -c 5000 /dev/urandom >$lib/state" ''
run_case 'drivers of garbage' damaged "mkdir $lib/drivers; head -c 500 /dev/urandom >$lib/drivers/qemu-100" 'drivers/qemu-100'
run_case 'journal cut off in the middle' damaged_meanwhile "truncate -s -3 $lib/journal" 'ran when the job began, and count: qemu/101'
run_case 'journal emptied in the middle' emptied
run_case 'state cut off in the middle' damaged_meanwhile "truncate -s 20 $lib/state" ''
run_case 'journal of another boot' other_boot
run_case 'upgrade' upgraded during ''
run_case 'upgrade in job-start' upgraded 'when "hook - job-start"' ''
run_case 'upgrade, no systemd' upgraded during "$off"
run_case 'remove' removed "$remove" ''
run_case 'remove, no systemd' removed "$remove" "$off"
run_case 'purge' removed "$purge" ''
run_case 'remove, vzdump killed' removed_and_killed "$remove" ''
run_case 'purge, vzdump killed, no systemd' removed_and_killed "$purge" "$off_new"
run_case 'host shutdown' shutdown '/^onboot/d'
run_case 'host shutdown, guests that start at boot' shutdown ''
run_case 'host shutdown, no systemd' shutdown "/^onboot/d;$off"
run_case 'max-wait is over' overdue ''
run_case 'max-wait is over, no systemd' overdue '\n== conf\nsystemd = off'
run_case 'max-wait is over for a host service' overdue_service
run_case 'unknown key in the configuration' bad_conf "printf '[backup]\nrestrat = early\n' >$conf" ':2'
run_case 'garbage for a configuration' bad_conf "head -c 3000 /dev/urandom >$conf" ''
run_case 'a folder for a configuration' bad_conf "mkdir $conf" ''
run_case 'configuration broken in the middle' bad_conf "during 'echo nonsense >>$conf'" ''
run_case 'a line of 1 MiB' bad_guest "{ printf 'hostpci0: '; head -c 1048000 /dev/zero | tr '\\\\0' x; echo; } >>/etc/pve/qemu-server/102.conf"
run_case 'NUL bytes' bad_guest "printf 'args: \\\\0\\\\0\nhostpci0: 0000:01:00\\\\0\n' >>/etc/pve/qemu-server/102.conf"
run_case 'a line of 1 MiB in the middle' bad_guest "during '{ head -c 1000000 /dev/zero | tr \"\\\\0\" x; echo; } >>/etc/pve/qemu-server/102.conf'"
run_case 'a folder for a guest in the middle' bad_guest "during 'mkdir /etc/pve/qemu-server/103.conf; ln -s gone /etc/pve/qemu-server/104.conf'
	when 'job-end -' 'sleep 1; rmdir /etc/pve/qemu-server/103.conf; rm /etc/pve/qemu-server/104.conf'"

cases_end
sim_end
