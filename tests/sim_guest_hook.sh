#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_guest_hook.sh - the guest hook on simulated hosts: starts, stops, reboots, nights,
# a guest that moves. pci-rescan only notes what it is asked: there is no bus to scan.
# shellcheck disable=SC1091,SC2016,SC2154 # the library; scripts that the host expands; its rc
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
sim_begin
sim_suite

# host NAME [K=V]...: with a pci-rescan that ends as /run/pve-sim/rescan-rc says
host()
{
	sim_host "$@"
	cat >"$H/disk/usr/sbin/pci-rescan" <<-'END'
	#!/bin/sh
	[ "$1" = --for ] || exit 64
	vmid=$2
	shift 2
	printf '0\trescan\tqemu/%s\t%s\n' "$vmid" "$*" >>/run/pve-sim/events
	exit "$(cat /run/pve-sim/rescan-rc 2>/dev/null || echo 0)"
	END
	chmod 755 "$H/disk/usr/sbin/pci-rescan"
}
conf() { mkdir -p "$H/disk/etc/pve-gpu-utils" && printf '[rescan]\n%s\n' "$1" >"$H/disk/etc/pve-gpu-utils/pve-gpu-utils.conf"; }
rescans() { awk -F '\t' '$2 == "rescan" { print $3 }' "$H/events" | tr '\n' ' '; }
made() { awk -F '\t' '$2 == "backup-made" { sub(".*/", "", $3); print $3 }' "$H/events" | tr '\n' ' '; }
# The driver of 0000:01:00.0, of .1, said by the script in the host.
DRIVERS='drivers() { for f in 0 1; do l=$(readlink /sys/bus/pci/devices/0000:01:00.$f/driver) || l=none; printf "%s " "${l##*/}"; done; echo; }'

# ---- start and stop ----------------------------------------------------------------
for pve in 9 8; do
	host two-vms pve=$pve
	conf 'post-stop = host'
	sim_sh "$DRIVERS"'
		pve-gpu-hooks guest 100 enable && pve-gpu-hooks guest 100 enable || exit 99
		qm shutdown 101
		qm start 100 || exit 98
		echo "running: $(drivers)"
		qm shutdown 100
		simctl until 60 sh -c "! ls /run/pve-gpu-utils/guests/100.gpus" || exit 97
		echo "stopped: $(drivers)"
		qm start 100; kill -USR1 "$(cat /run/qemu-server/100.pid)"
		simctl until 60 sh -c "! ls /run/pve-gpu-utils/guests/100.gpus" || exit 96
		echo "powered off: $(drivers)"
		pve-gpu-hooks guest 100 status; echo "status $?"
		pve-gpu-hooks status | grep "GPU hook"
		pve-gpu-hooks guest 100 disable
		qm config 100 | grep hookscript
		ls -A /var/lib/vz/snippets /run/pve-gpu-utils/guests
		exit 0'
	ok 'all went well' is "$rc" 0
	ok 'reset at each start' is "$(rescans)" 'qemu/100 qemu/100 '
	ok 'the whole slot' event 'rescan qemu/100 0000:01:00.0.0000:01:00.1'
	ok 'the guest has the card' out '^running: vfio-pci vfio-pci $'
	ok 'the host has it back' out '^stopped: nouveau snd_hda_intel $'
	ok 'after a power-off from inside as well' out '^powered off: nouveau snd_hda_intel $'
	ok 'status: all is well' out '^status 0$'
	ok 'status: reboots' out '^note *a reboot from inside the guest runs no hook'
	ok 'it is named in the status of all' out 'qemu/100 calls the GPU hook'
	ok 'disabled: nothing is left' no_out '^hookscript:|^pve-gpu-hook$|^100'
done

# a reboot by PVE: the card stays with vfio-pci meanwhile, and is reset
host two-vms
conf 'post-stop = host'
sim_sh "$DRIVERS"'
	pve-gpu-hooks guest 101 enable || exit 99
	qm reboot 101 && echo "again: $(drivers)"
	qm reset 101 2>/dev/null
	qm stop 101; drivers'
ok 'reset once' is "$(rescans)" 'qemu/101 '
ok 'never given to the host in between' is "$(grep -Ec '[[:blank:]]bind[[:blank:]].*nouveau' "$H/events" || :)" 1
ok 'it has it again' out '^again: vfio-pci vfio-pci $'
ok 'and in the end the host' out '^nouveau snd_hda_intel $'

# ---- what pci-rescan says ------------------------------------------------------------
for policy in start abort; do
	for code in 0 69 71 74 75; do
		host two-vms
		conf "on-failure = $policy"
		echo "$code" >"$H/rescan-rc"
		sim_sh 'pve-gpu-hooks guest 100 enable || exit 99
			qm shutdown 101
			qm start 100; rc=$?
			cat /run/qemu-server/pci-id-reservations
			exit $rc'
		case $policy.$code in
		*.74 | abort.[1-9]*)
			ok "$policy, $code: not started" is "$rc $(state qemu/100)" '255 -'
			ok 'PVE says why' out 'hookscript error for 100 on pre-start'
			ok 'nothing reserved' no_out '^0000:01'
			;;
		*) ok "$policy, $code: started" is "$rc $(state qemu/100)" '0 up' ;;
		esac
	done
done

# ---- nights --------------------------------------------------------------------------
# 100 is off: its backup starts it, 101 has to go meanwhile, and comes back with a reset.
for setting in 'pve=9 keep' 'pve=9 host' 'pve=8 host'; do
	host two-vms "${setting% *}"
	conf "post-stop = ${setting#* }"
	sim_sh 'pve-gpu-hooks enable && pve-gpu-hooks guest 100 enable && pve-gpu-hooks guest 101 enable || exit 99
		simctl states >/run/pve-sim/before
		simctl night; rc=$?
		simctl settle 100 || rc=98
		simctl states >/run/pve-sim/after
		simctl until 60 sh -c "! ls /run/pve-gpu-utils/guests/100*" 2>/dev/null
		ls -A /run/pve-gpu-utils/guests
		exit $rc'
	ok "$setting: the job succeeds" is "$rc" 0
	ok 'all backups are made' is "$(made)" '100 101 '
	ok 'all guests as before' diff "$H/before" "$H/after"
	ok '100 is started for its backup' event 'guest-hook qemu/100 pre-start'
	ok 'only 101, who runs again, was reset' is "$(rescans)" 'qemu/101 '
	ok 'what 101 has is known' out '^101.gpus$'
	ok 'of 100 nothing is left' no_out '^100'
done

# mode stop shuts 101 down and starts it again for good; also without the backup hook
for setting in 'pve=9 enable' 'pve=9 status' 'pve=8 status'; do
	host two-vms "${setting% *}"
	conf 'post-stop = host'
	sim_sh "$DRIVERS"'
		pve-gpu-hooks "$1" >/dev/null
		pve-gpu-hooks guest 101 enable || exit 99
		vzdump 101 --mode stop --storage local; rc=$?
		simctl settle 100
		sleep 0.5
		drivers
		exit $rc' "${setting#* }"
	ok "mode stop, $setting: made" is "$rc $(made)" '0 101 '
	ok 'and reset once' is "$(rescans)" 'qemu/101 '
	ok 'it runs, with its card' is "$(state qemu/101) $(grep -c '^vfio-pci vfio-pci $' "$T/out")" 'up 1'
done

# a backup that fails on a card that was lost: only this guest's
host two-vms
echo 74 >"$H/rescan-rc"
sim_sh 'pve-gpu-hooks enable && pve-gpu-hooks guest 101 enable || exit 99
	vzdump 101 --mode stop --storage local; rc=$?
	simctl settle 100
	exit $rc'
ok 'the card is lost in mode stop: that backup fails' is "$rc $(made)" '255 '
ok 'with the reason' out 'guest-gpu-hook: 0000:01:00.0,0000:01:00.1: did not come back'

# ---- a mapping: the card that PVE will choose -----------------------------------------
host mapping
sim_sh 'pve-gpu-hooks guest 102 enable || exit 99
	qm shutdown 101
	qm start 102
	tr "\0" " " <"/proc/$(cat /run/qemu-server/102.pid)/cmdline"; echo
	qm shutdown 102; qm shutdown 100
	qm start 102
	tr "\0" " " <"/proc/$(cat /run/qemu-server/102.pid)/cmdline"; echo'
ok 'the second card, then the first' is \
	"$(awk -F '\t' '$2 == "rescan" { print $4 }' "$H/events" | tr '\n' ' ')" '0000:02:00.0 0000:01:00.0 '
ok 'PVE took those' is "$(sed -n 's/.*vfio-pci,host=\(0000:0[12]\).*/\1/p' "$T/out" | tr '\n' ' ')" '0000:02 0000:01 '

# ---- chained, and to a node without the package ----------------------------------------
host mapping
mkdir -p "$H/disk/var/lib/vz/snippets" "$H/node/pve2"
printf '#!/bin/sh\nprintf "0\\tformer\\tqemu/%%s\\t%%s\\n" "$1" "$2" >>/run/pve-sim/events\n' \
	>"$H/disk/var/lib/vz/snippets/mine.sh"
chmod 755 "$H/disk/var/lib/vz/snippets/mine.sh"
sim_sh 'qm set 102 --hookscript local:snippets/mine.sh
	pve-gpu-hooks guest 102 enable || exit 99
	pve-gpu-hooks guest 102 status; echo "status $?"
	qm shutdown 100
	qm start 102; qm shutdown 102
	qm migrate 102 pve2
	pve-gpu-hooks guest 102 disable'
ok 'a copy for the other node' out 'copied to node pve2, too'
ok 'status names it' out 'node pve2 has no pve-gpu-utils: qemu/102 starts there without a reset'
ok 'the former script and ours' is \
	"$(awk -F '\t' '$2 == "former" || $2 == "rescan" { print $2, $4 }' "$H/events" | tr '\n' ';')" \
	'former pre-start;rescan 0000:01:00.0;former post-start;former pre-stop;former post-stop;'
ok 'gone to pve2: said' out 'qemu/102 is on node pve2: run this there'
H1=$H
cat >"$T/pve2.host" <<-'END'
	== conf
	node = pve2
	other-nodes = pve1
	== pci
	0000:07:00.0 030000 10de:2204 group=9 subsystem=1043:8798 reset native=nouveau
END
{
	echo '== file /etc/pve/mapping/pci.cfg'
	cat "$H1/disk/etc/pve/mapping/pci.cfg"
	echo '== qemu/102'
	cat "$H1/disk/etc/pve/nodes/pve2/qemu-server/102.conf"
} >>"$T/pve2.host"
host "$T/pve2.host"
mkdir -p "$H/disk/var/lib/vz/snippets"
cp -p "$H1/node/pve2/vz/snippets/"* "$H/disk/var/lib/vz/snippets/"
printf '#!/bin/sh\nprintf "0\\tformer\\tqemu/%%s\\t%%s\\n" "$1" "$2" >>/run/pve-sim/events\n' \
	>"$H/disk/var/lib/vz/snippets/mine.sh"
chmod 755 "$H/disk/var/lib/vz/snippets/mine.sh"
sim_sh 'qm config 102 | grep hookscript
	rm -rf /usr/libexec/pve-gpu-utils
	qm start 102 && qm shutdown 102; echo "rc $?"
	rm /var/lib/vz/snippets/pve-gpu-hook*
	qm start 102'
ok 'the setting went with it' out '^hookscript: local:snippets/pve-gpu-hook\+\+mine.sh$'
ok 'it starts there, without the package' out '^rc 0$'
ok 'its own script runs, without ours' is \
	"$(awk -F '\t' '$2 == "former" || $2 == "rescan" { print $2, $4 }' "$H/events" | tr '\n' ';')" \
	'former pre-start;former post-start;former pre-stop;former post-stop;'
ok 'without the stub PVE would not start it' out "hookscript error for 102 on pre-start: script .* does not exist"

# ---- not in its lock: other guests' commands go on while a hook is at work -------------
host two-vms
cat >"$H/disk/usr/sbin/pci-rescan" <<-'END'
	#!/bin/sh
	: >/run/at-work
	until [ -e /run/go ]; do sleep 0.1; done
END
sim_sh 'pve-gpu-hooks guest 100 enable; qm shutdown 101
	qm start 100 & simctl until 60 test -e /run/at-work
	timeout 30 qm status 100 && timeout 30 qm set 101 --memory 1024 && echo others
	: >/run/go
	wait'
ok 'others are not held up' out '^others$'

sim_end
