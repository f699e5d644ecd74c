#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_self.sh - does the simulated host behave as a real one, failures included?
# Needs nothing of the suite.
# shellcheck disable=SC1091,SC2016,SC2154 # the library; scripts that the host expands; its rc
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
sim_begin

# A hook that notes what it is given and fails where it is told to: FAIL=PHASE,
# or PHASE:VMID, in /run/fail.
recorder()
{
	cat >"$H/hook" <<-'END'
	#!/bin/sh
	{
		echo "$*"
		env | grep -Ev '^(PWD|SHLVL|_|OLDPWD)=' | sort | sed 's/^/  /'
		read -r line && echo "  stdin not empty"
	} >>/run/pve-sim/hook.log
	echo "said by $1"
	case " $(cat /run/fail 2>/dev/null) " in
	*" $1 "*|*" $1:${3:-} "*) exit 3 ;;
	esac
	exit 0
	END
	chmod 755 "$H/hook"
}
NIGHT='simctl night - --script /run/pve-sim/hook'
phases() { grep -v '^ ' "$H/hook.log" | tr '\n' ';'; }

# ---- a night without a hook ------------------------------------------------
sim_host two-vms
sim_sh 'simctl night; rc=$?; simctl states; ls /run/vzdump.pid; vzdump 101; ls /run/vzdump.pid; exit $rc'
ok 'a failed backup makes the job fail' is "$rc" 255
ok 'the real message' out "^ERROR: Backup of VM 100 failed - PCI device '0000:01:00.0' already in use by VMID '101'"
ok 'the running guest is backed up all the same' event 'backup-made qemu/101'
ok 'nobody is harmed' out '^qemu/101 running$'
ok 'no lock is left' no_out 'lock=backup'
ok 'the job says so' out '^TASK ERROR: job errors$'
ok 'the UPID stays after errors' out '^/run/vzdump.pid$'
ok 'not after a good job' out 'ls: cannot access'

# ---- phases, arguments, environment ------------------------------------------
sim_host two-vms
recorder
sim_sh 'qm shutdown 101; vzdump 101 100 --script /run/pve-sim/hook --storage local; rc=$?; pgrep -c kvm; exit $rc'
ok 'both stopped ones can be backed up in turn' is "$rc" 0
ok 'phases of stopped guests, ascending' is "$(phases)" \
	'job-init;job-start;backup-start stop 100;backup-end stop 100;log-end stop 100;backup-start stop 101;backup-end stop 101;log-end stop 101;job-end;'
ok 'job-init has no more than this' is "$(sed -n '/^job-init/,/^job-start/{/^ /p}' "$H/hook.log")" \
	"  LC_ALL=C
  LVM_SUPPRESS_FD_WARNINGS=1
  STOREID=local"
ok 'and a guest phase this' is "$(sed -n '/^backup-start stop 100/,/^backup-end/{/^ /p}' "$H/hook.log")" \
	"  DUMPDIR=/var/lib/vz/dump
  HOSTNAME=render
  LC_ALL=C
  LOGFILE=/var/log/vzdump/qemu-100.log
  LVM_SUPPRESS_FD_WARNINGS=1
  STOREID=local
  TARGET=/var/lib/vz/dump/vzdump-qemu-100.vma.zst
  VMTYPE=qemu"
ok 'stdin is at its end' is "$(grep -c 'stdin not' "$H/hook.log")" 0
ok 'its words are in the task log' out '^INFO: said by backup-end$'
ok 'the paused kvm is gone' out '^0$'

sim_host two-vms
recorder
sim_sh "$NIGHT --vmid 101"
ok 'phases of a running guest' is "$(phases)" \
	'job-init;job-start;backup-start snapshot 101;pre-stop snapshot 101;pre-restart snapshot 101;post-restart snapshot 101;backup-end snapshot 101;log-end snapshot 101;job-end;'

sim_host stopmode
recorder
sim_sh "$NIGHT; simctl states"
ok 'phases in stop mode: restart after backup-end, none for the stopped' is "$(phases | tr ';' '\n' | sed -n '/10[01]/p' | tr '\n' ';')" \
	'backup-start stop 100;pre-stop stop 100;backup-end stop 100;pre-restart stop 100;post-restart stop 100;log-end stop 100;backup-start stop 101;backup-abort stop 101;log-end stop 101;'
ok 'a VM runs again before its archive is complete' is \
	"$(grep -n 'qemu/100' "$H/events" | awk -F '\t' '/\tup\t/ && seen { print "early"; exit } /vzdump-stop/ { seen = 1 } /backup-made/ { print "late"; exit }')" early
ok 'all as before' out '^qemu/100 running$'
ok 'the container, too' out '^lxc/200 running$'

sim_host stopmode
recorder
sim_sh "$NIGHT --mode suspend --vmid 102,200; simctl states"
ok 'suspend mode: VM' is "$(phases | tr ';' '\n' | sed -n '/102/p' | tr '\n' ';')" \
	'backup-start suspend 102;pre-stop suspend 102;backup-end suspend 102;pre-restart suspend 102;post-restart suspend 102;log-end suspend 102;'
ok 'suspend mode: container' is "$(phases | tr ';' '\n' | sed -n '/200/p' | tr '\n' ';')" \
	'backup-start suspend 200;pre-stop suspend 200;pre-restart suspend 200;post-restart suspend 200;backup-end suspend 200;log-end suspend 200;'
ok 'and it goes on' out '^qemu/102 running$'

# ---- what a failing hook does ---------------------------------------------------
fails()
{
	sim_host "$1"
	recorder
	shift
	sim_sh "echo '$*' >/run/fail; $NIGHT; rc=\$?; simctl states; exit \$rc"
}
fails two-vms job-init
ok 'job-init: all fails' is "$rc $(phases)" '255 job-init;'
fails two-vms job-start
ok 'job-start: job-abort' is "$rc $(phases)" '255 job-init;job-start;job-abort;'
fails two-vms backup-start:100
ok 'backup-start: this guest, aborted' is "$(phases | cut -d ';' -f 3-6)" \
	'backup-start stop 100;backup-abort stop 100;log-end stop 100;backup-start snapshot 101'
ok 'backup-start: its kvm never starts' no_event 'kvm-up qemu/100'
ok 'backup-start: the real words' out "failed - command '/run/pve-sim/hook backup-start stop 100' failed: exit code 3"
fails two-vms backup-end:101
ok 'backup-end: made, but failed' event 'backup-failed qemu/101'
ok 'backup-end: backup-abort after it' out 'said by backup-abort'
fails two-vms log-end:101 backup-abort
ok 'log-end and backup-abort: only warned' is "$(grep -c '^WARN: command' "$T/out")" 2
fails two-vms job-end
ok 'job-end: job-abort, too' is "$rc $(phases | sed 's/.*\(job-end.*\)/\1/')" '255 job-end;job-abort;'
fails stopmode pre-restart:200
ok 'pre-restart in stop mode: the container stays off' out '^lxc/200 stopped$'
ok 'pre-restart in stop mode: only warned' event 'backup-made lxc/200'
fails two-vms pre-restart:101
ok 'pre-restart in snapshot mode: the backup fails' event 'backup-failed qemu/101'
sim_host two-vms
sim_sh 'vzdump 100 --script /usr/bin/gone'
ok 'a script that is gone breaks the job' out "^TASK ERROR: Error: The hook script '/usr/bin/gone' does not exist"
sim_host two-vms
sim_sh 'printf "#!/bin/sh\n[ \$1 = job-init ] && sleep 2 &\nexit 0\n" >/tmp/hook.$$; chmod +x /tmp/hook.$$; vzdump 101 --script /tmp/hook.$$; rm /tmp/hook.$$'
ok 'a child that keeps stdout holds the job up' is \
	"$(awk -F '\t' '$4 == "job-init" { a = $1 } $4 == "job-start" { print ($1 - a > 1.5) }' "$H/events")" 1

# ---- devices ---------------------------------------------------------------------
sim_host mapping
sim_sh 'cat /run/qemu-server/pci-id-reservations; qm start 102; qm start 103; qm stop 101; qm start 102; cat /run/qemu-server/pci-id-reservations; qm start 103; qm stop 102; qm stop 100; qm start 103; qm start 102; grep -ao "host=[^,]*" /proc/$(cat /run/qemu-server/102.pid)/cmdline'
ok 'alternatives in file order' out '^0000:01:00.0 100 pid:[0-9]+$'
ok 'none free' out "^could not find a free device for 'hostpci0'$"
ok 'a fixed one says by whom' out "^PCI device '0000:02:00.0' already in use by VMID '101'$"
ok 'the freed one is taken' out '^0000:02:00.0 102 pid:[0-9]+$'
ok 'and not the taken one' out "^host=0000:01:00.0$"

sim_host mapping
sim_sh 'echo 0xbeef >/run/x; printf "0x10de\n" >/dev/null; sed -i s/8798/8799/ /etc/pve/mapping/pci.cfg; qm stop 100; qm start 100; qm set 102 --hostpci0 mapping=nope; qm start 102; qm set 102 --hostpci0 0000:33:00; qm start 102; qm set 102 --hostpci0 "0000:01:00.0,"; qm set 102 --hostpci1 01:00.0; qm start 102; qm set 102 --hostpci1 0A:00.0; qm config 102'
ok 'mapping against hardware' out "PCI device mapping invalid \(hardware probably changed\): 'subsystem-id' does not match for 'gpu' \(1043:8799 != 1043:8798\)"
ok 'unknown mapping' out "^PCI device mapping not found for 'nope'$"
ok 'no such device' out "^no PCI device found for '0000:33:00'$"
ok 'twice' out "^device '0000:01:00.0' assigned more than once$"
ok 'bad values are dropped' out "unable to parse value of 'hostpci1' - format error"

sim_host two-vms
sim_sh 'qm set 101 --hostpci0 0000:09:00; qm config 101 --current; qm reboot 101; ls -l /sys/bus/pci/devices/0000:01:00.0/driver; cat /run/qemu-server/pci-id-reservations'
ok 'pending until the next start' out '^hostpci0: 0000:01:00$'
ok 'then it counts' out "^no PCI device found for '0000:09:00'$"
ok 'the old device stays on vfio-pci' out 'drivers/vfio-pci$'

sim_host group
sim_sh 'qm start 101; echo "rc $?"; cat /run/qemu-server/pci-id-reservations; simctl night'
ok 'one group, two users: QEMU fails' out 'failed to open /dev/vfio/1: Device or resource busy'
ok 'its reservation is taken back' no_out '^0000:02:00.0 101'
ok 'a template is started without devices' event 'backup-made qemu/102'
ok 'no disks, no kvm' out '^INFO: backup contains no disks$'
ok 'indeed none' no_event 'kvm-up qemu/103'

sim_host mdev
sim_sh 'T=/sys/bus/pci/devices/0000:82:00.0/mdev_supported_types; grep . $T/*/available_instances; ls /sys/bus/mdev/devices; qm start 102; qm stop 101; grep . $T/*/available_instances; qm start 103; qm start 102; ls /sys/bus/mdev/devices; cat /run/qemu-server/pci-id-reservations; tr "\0" " " </proc/$(cat /run/qemu-server/102.pid)/cmdline'
ok 'a full card has none left' out 'nvidia-65/available_instances:0$'
ok 'UUID by hostpci and VMID' out '^00000000-0000-0000-0000-000000000100$'
ok 'the real words' out "^could not create mediated device$"
ok 'one gone, one free' out 'nvidia-65/available_instances:1$'
ok 'other sizes wait' out 'nvidia-66/available_instances:0$'
ok 'mdevs are not reserved' no_out ' pid:'
ok 'the command line names it' out 'sysfsdev=/sys/bus/mdev/devices/00000000-0000-0000-0000-000000000102,id=hostpci0'

sim_host vgpu
sim_sh 'cat /sys/bus/pci/devices/0000:c1:00.[45]/nvidia/current_vgpu_type; qm stop 100; cat /sys/bus/pci/devices/0000:c1:00.4/nvidia/current_vgpu_type; qm start 102; grep 102 /run/qemu-server/pci-id-reservations'
ok 'types are set on the VFs' is "$(sed -n '1,3p' "$T/out" | tr '\n' ' ')" '1155 1156 0 '
ok 'and the VF is reserved' out '^0000:c1:00.4 102 pid:'

# ---- host drivers and containers ------------------------------------------------------
sim_host hostdriver
sim_sh 'ls /dev/nvidia0 /proc/driver/nvidia/gpus /sys/class/drm; vzdump 100; ls /dev/nvidia0; pct stop 200; pct start 200; pct shutdown 202; pct shutdown 202; pct list; echo 0000:01:00.0 >/sys/bus/pci/drivers/vfio-pci/unbind; echo 0000:01:00.0 >/sys/bus/pci/drivers/nvidia/bind; pct start 200; echo "rc $?"; ls /dev/nvidia0 /sys/class/drm'
ok 'the nodes are there' is "$(sed -n 1p "$T/out")" /dev/nvidia0
ok 'the driver is torn off, unasked' event 'harmed lxc/200'
ok 'the whole group, audio too' event 'unbind 0000:01:00.1'
ok 'and never given back' out "^ls: cannot access '/dev/nvidia0'"
ok 'the container cannot start any more' out '^Device /dev/nvidia0 does not exist$'
ok 'unlike qm, pct minds' out '^CT 202 not running$'
ok 'bound again, the nodes are back' is "$(tail -n 6 "$T/out" | grep -c -e '^rc 0' -e '^/dev/nvidia0' -e renderD128)" 3

sim_host two-vms
sim_sh 'cd /sys/bus/pci/devices/0000:01:00.1; D=/sys/bus/pci/drivers; qm stop 101; cat driver_override
put() { perl -e "open(F, q(>), shift) && defined syswrite(F, shift) or print qq(\$!\n)" "$2" "$1"; }
echo 0000:01:00.1 >driver/unbind; readlink driver; echo snd_hda_intel >driver_override; put 0000:01:00.1 $D/vfio-pci/bind; echo 0000:01:00.1 >/sys/bus/pci/drivers_probe; readlink driver
echo >driver_override; cat driver_override; put "10de 1aef" $D/vfio-pci/new_id; put 0000:01:00.1 $D/nouveau/bind'
ok 'override: none' is "$(sed -n 1p "$T/out")" '(null)'
ok 'override forbids the others' out '^No such device$'
ok 'the probe obeys it' out 'drivers/snd_hda_intel$'
ok 'a dynamic id is known' out '^File exists$'
ok 'bound twice' out '^Device or resource busy$'

# ---- locks, quorum, qm -----------------------------------------------------------------
sim_host two-vms lock-timeout=0.3
sim_sh 'qm start 101; echo "rc $?"; qm stop 100; echo "rc $?"; echo "lock: backup" >>/etc/pve/qemu-server/100.conf; qm start 100; qm unlock 100
simctl fault no-quorum; qm start 100; echo x >/etc/pve/y; simctl fault -
mkdir -p /run/lock/qemu-server; flock -o /run/lock/qemu-server/lock-100.conf sh -c ": >/run/held; sleep 1000" & simctl until 60 test -e /run/held; qm start 100; kill $!
qm list; qm status 101; simctl set 101 shutdown=never; qm shutdown 101 --timeout 10; echo "rc $?"; qm shutdown 101 --timeout 5 --forceStop 1; echo "rc $?"; qm status 101
simctl set 101 stop=never; qm start 101; qm stop 101 --timeout 10; echo "rc $?"; qm wait 101 --timeout 5; echo "rc $?"'
ok 'running' is "$(sed -n 1,3p "$T/out" | tr '\n' ';')" 'VM 101 already running;rc 255;rc 0;'
ok 'locked' out '^VM is locked \(backup\)$'
ok 'no quorum' out '^cluster not ready - no quorum\?$'
ok 'EACCES' out 'y: Permission denied'
ok 'config lock' out "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
ok 'list' out '^ +101 games +running'
ok 'a guest that will not' out '^VM quit/powerdown failed - got timeout$'
ok 'is forced' out '^VM quit/powerdown failed - terminating now with SIGTERM$'
ok 'even killed' event 'down qemu/101 killed'

# ---- HA --------------------------------------------------------------------------------
sim_host ha
sim_sh 'hold=/run/pve-sim/state/101.ha-hold
: >$hold; qm shutdown 101; echo "rc $?"; qm status 101; grep state /etc/pve/ha/resources.cfg; rm $hold; simctl seen "down qemu/101"; qm wait 101; qm status 101
: >$hold; qm start 101; qm status 101; rm $hold; simctl seen "down qemu/101(?s:.*)up qemu/101"; qm status 101; ha-manager status
vzdump 101 --mode stop; kill -9 $(cat /run/qemu-server/101.pid); simctl seen "down qemu/101 killed(?s:.*)up qemu/101"; qm status 101'
ok 'requests, later deeds' is "$(grep -e ^status -e ^rc -e state "$T/out" | tr '\n\t' ';;')" \
	'rc 0;status: running;;state stopped;status: stopped;status: stopped;status: running;status: running;'
ok 'stop mode is refused' out 'Cannot execute a backup with stop mode on a HA managed and enabled Service'
ok 'and backup-abort may come without backup-start' event 'backup-failed qemu/101'

sim_host ha
recorder
sim_sh 'vzdump 101 --mode stop --script /run/pve-sim/hook; vzdump 101 --script /run/pve-sim/hook'
ok 'what was refused has no VMTYPE' is "$(awk '/^[^ ]/ { p = $1 " " $2 } / VMTYPE=/ { print p }' "$H/hook.log" | grep -c ' stop$')" 0
ok 'what was not has one' out 'Finished Backup of VM 101'
ok 'in its phases' is "$(grep -c ' VMTYPE=qemu' "$H/hook.log")" "$(grep -c ' snapshot 101' "$H/hook.log")"

# To HA a backup's kvm that waits does not run, and a stop of what is stopped is nothing new.
sim_host ha
sim_sh 'simctl set 101 backup=600; qm shutdown 101; simctl seen "down qemu/101"; qm wait 101; vzdump 101 & simctl seen "backup-begin qemu/101"
kill -9 $(printf %d 0x$(cut -d: -f3 /run/vzdump.pid)); wait; qm stop 101 --skiplock; echo "rc $?"; sleep 0.6; qm status 101; qm unlock 101; qm wait 101; qm status 101'
ok 'HA ends a paused kvm when it is unlocked, not before' is "$(grep -e ^status -e ^rc "$T/out" | tr '\n' ';')" \
	'rc 0;status: prelaunch;status: stopped;'

sim_host ha
sim_sh 'simctl set 101 shutdown=never; qm shutdown 101 --timeout 30; simctl seen "down qemu/101"; qm wait 101; qm status 101'
ok 'HA forces a virtual machine after the time that was given' is "$(grep ^status "$T/out")" 'status: stopped'

# ---- stop mode: stopwait ---------------------------------------------------------------
sim_host stopmode
sim_sh 'simctl set 100 shutdown=120; simctl night; simctl states; qm wait 100; simctl states'
ok 'stopwait runs out' out "failed - command 'qm shutdown 100 --skiplock --keepActive --timeout 60' failed: exit code 255"
ok 'it goes down later and stays off' is "$(grep 'qemu/100' "$T/out" | tail -n 1)" 'qemu/100 stopped'

# ---- ends ------------------------------------------------------------------------------
slow_hook='printf "#!/bin/sh\n[ \$1 != backup-start ] || { echo at work; until [ -e /run/go ]; do sleep 0.1; done; }\nexit 0\n" >/run/hook; chmod 755 /run/hook;'
sim_host stopmode
sim_sh "$slow_hook"' vzdump 101 102 --script /run/hook & simctl until 60 grep -q "INFO: at work" /run/pve-sim/tasks.log; kill -TERM $(printf %d 0x$(cut -d: -f3 /run/vzdump.pid)); simctl seen "backup-failed qemu/101"; : >/run/go; wait'
ok 'TERM during a hook fails this guest only' out "Backup of VM 101 failed - command '/run/hook backup-start stop 101' failed: interrupted by signal"
ok 'and the job goes on to its end' event 'hook - job-end'

sim_host stopmode
recorder
sim_sh 'simctl set 102 backup=600; vzdump 102 200 --script /run/pve-sim/hook & simctl seen "backup-begin qemu/102"; vzdump --stop; wait; simctl states'
ok 'TERM during the copy ends the job' is "$(phases | sed 's/.*\(backup-abort.*\)/\1/')" 'backup-abort snapshot 102;log-end snapshot 102;job-abort;'
ok 'the next guest has no turn' no_event 'backup-begin lxc/200'
ok 'the lock goes' no_out 'lock=backup'

sim_host stopmode kill-delay=5
sim_sh 'printf "#!/bin/sh\n[ \$1 = backup-abort ] && { trap \"\" TERM; sleep 60; }\nexit 0\n" >/run/hook; chmod 755 /run/hook; simctl set 102 backup=600; vzdump 102 --script /run/hook & simctl seen "backup-begin qemu/102"; simctl task-stop; wait; simctl until 60 sh -c "! pgrep hook"; pgrep -c hook; simctl states'
ok 'KILL follows' is "$(grep -c -e backup-abort "$H/events"):$(grep -c -e job-end -e log-end "$H/events")" 1:0
ok 'nobody of the group survives' out '^0$'

sim_host stopmode
sim_sh 'qm stop 100; simctl set 101 backup=600; vzdump 101 & simctl seen "backup-begin qemu/101"; kill -9 $(printf %d 0x$(cut -d: -f3 /run/vzdump.pid)); wait; simctl states; qm status 101; qm start 100; qm stop 101; qm stop 101 --skiplock; qm unlock 101; qm start 100; echo "rc $?"'
ok 'a killed vzdump leaves kvm and lock' out '^qemu/101 prelaunch lock=backup$'
ok 'prelaunch' out '^status: prelaunch$'
ok 'which keeps the GPU' out "already in use by VMID '101'"
ok 'and is locked' out '^VM is locked \(backup\)$'
ok 'until somebody tidies up' is "$(tail -n 1 "$T/out")" 'rc 0'

sim_host stopmode
sim_sh 'cat /proc/sys/kernel/random/boot_id; simctl set 102 backup=600; vzdump 102 & simctl seen "backup-begin qemu/102"; simctl power-off'
ok 'power loss' is "$rc" 137
first=$(sed -n 1p "$T/out")
sim_sh 'simctl states; ls /run/qemu-server; cat /proc/sys/kernel/random/boot_id'
ok 'all are off, the lock is there' out '^qemu/102 stopped lock=backup$'
ok 'another boot' is "$([ "$first" = "$(tail -n 1 "$T/out")" ] || echo new)" new
sim_boot 'simctl states'
ok 'startall takes the lock' out "^removing left-over backup lock from '102'$"
ok 'startall starts onboot guests' out '^qemu/100 running$'
ok 'and only these' out '^lxc/200 stopped$'

sim_host two-vms
recorder
sim_sh 'vzdump 101 --script /run/pve-sim/hook & vzdump 101 --script /run/pve-sim/hook & wait'
ok 'two jobs: both job-init first' is "$(phases | sed 's/job-end.*//' | tr ';' '\n' | grep -c job-init)" 2
ok 'one after the other' is "$(cut -f 2 "$H/events" | grep job- | tr '\n' ' ')" 'job-begin job-end job-begin job-end '

# ---- containers change the worker's mount namespace ------------------------------------
sim_host hostdriver
sim_sh 'printf "#!/bin/sh\n[ \$1 != log-end ] || echo \"ns \$(readlink /proc/self/ns/mnt)\"\n" >/run/hook; chmod 755 /run/hook; readlink /proc/1/ns/mnt; vzdump 200 202 --script /run/hook'
ok 'after the first container the hook is elsewhere' is \
	"$(sed -n 's/^INFO: ns //p' "$T/out" | grep -cv "$(sed -n 1p "$T/out")")" 2

# ---- faults ----------------------------------------------------------------------------
sim_host two-vms
sim_sh 'simctl fault "qm-start 100 nothing"; qm start 100; echo "rc $?"; qm status 100; simctl fault -
printf "#!/bin/sh\necho one; /bin/true; /bin/true\necho three\n" >/usr/sbin/vm-state-save; chmod 755 /usr/sbin/vm-state-save
simctl fault steps; vm-state-save; simctl fault -; rm /run/pve-sim/steps.n; simctl fault "kill-at 2 self"; vm-state-save; echo "rc $?"'
ok 'qm that lies' is "$(sed -n 1,2p "$T/out" | tr '\n' ';')" 'rc 0;status: stopped;'
ok 'steps are numbered' is "$(sed -n 2p "$H/steps" | cut -f 1,3-5)" "$(printf '2\tvm-state-save\texec\t/bin/true')"
ok 'the second is the last' is "$(grep -c KILL "$H/steps")" 1
sim_host two-vms
sim_sh 'printf "#!/bin/sh\n/bin/true; /bin/true\n" >/usr/sbin/vm-state-save; chmod 755 /usr/sbin/vm-state-save; simctl fault "kill-at 1 power"; vm-state-save; sleep 100'
ok 'power loss at a step' is "$rc" 137
sim_host two-vms
sim_sh 'simctl fault "enospc /var/lib/pve-gpu-utils"; mkdir /var/lib/pve-gpu-utils; simctl fault -; mkdir /var/lib/pve-gpu-utils; simctl fault "enospc /var/lib/pve-gpu-utils"; echo x >/var/lib/pve-gpu-utils/y; echo x >/var/lib/z && echo fine'
ok 'a full disk' is "$(grep -c 'No space left' "$T/out")" 2
ok 'only there' out '^fine$'

sim_end
