#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_backup.sh - plain nights on simulated hosts with the hook: every backup that
# can be made is made, every guest is as before, nothing is left behind.
# shellcheck disable=SC1091,SC2016,SC2154 # the library; scripts that the host expands; its rc
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
sim_begin
sim_suite

# Enable, see the states, play the jobs, see the states again.
night()
{
	sim_sh 'pve-gpu-hooks enable || exit 99
		[ -z "$1" ] || printf "[backup]\n%b\n" "$1" >/etc/pve-gpu-utils/pve-gpu-utils.conf
		simctl states >/run/pve-sim/before
		shift
		simctl night "$@"; rc=$?
		simctl settle 100 || rc=98
		simctl states >/run/pve-sim/after
		{ ls /var/lib/pve-gpu-utils/journal; ls /var/lib/pve-gpu-utils/drivers/*; ls /sys/bus/mdev/devices; } >/run/pve-sim/left 2>/dev/null
		exit $rc' "$@"
}
made() { awk -F '\t' '$2 == "backup-made" { sub(".*/", "", $3); print $3 }' "$H/events" | tr '\n' ' '; }
same() { ok 'all guests as before' diff "$H/before" "$H/after"; }
tidy() { ok 'no journal, no driver records left' is "$(grep -c -e journal -e drivers "$H/left" || :)" 0; }
stops() { awk -F '\t' '/job-begin/ { on = 1 } on && $2 == "down" { print $3 }' "$H/events" | tr '\n' ' '; }

all_made()
{
	ok 'the job succeeds' is "$rc" 0
	ok 'all backups are made' is "$(made)" "$1 "
	same
	tidy
	ok 'none was harmed' no_event 'harmed'
	ok 'a guardian watches the job' no_out 'no guardian for this job'
}

sim_host two-vms
night ''
all_made '100 101'
ok 'one guest was stopped, once (100 is not in its way)' is "$(stops)" 'qemu/101 '

sim_host two-vms systemd=off
night ''
all_made '100 101'

sim_host sample speed=240
night ''
all_made '100 102 103 105 106 107 108 200'
ok 'the HA guest was left alone' no_event 'ha-request'
ok 'the container has its GPU back' event 'bind 0000:01:00.0 nvidia'
ok 'the audio function, too' event 'bind 0000:01:00.1 snd_hda_intel'

for policy in last job-end; do
	sim_host sample speed=240
	night "restart = $policy"
	all_made '100 102 103 105 106 107 108 200'
done

sim_host mapping
night ''
all_made '100 101 102 103'

sim_host mdev
night ''
all_made '100 101 102 103'
ok 'the instances that were are' is "$(grep -c '^00000000' "$H/left")" 2

sim_host vgpu
night ''
all_made '100 101 102'

sim_host hostdriver
night ''
all_made '100 200 201 202'
ok 'only those two were stopped' is "$(stops | tr ' ' '\n' | grep . | sort | tr '\n' ' ')" 'lxc/200 lxc/201 '

sim_host unit
night 'host-services = ollama.service'
all_made '100'
ok 'the service runs again' is "$(state unit/ollama.service)" up

sim_host unit
night ''
ok 'a service that may not be stopped: the backup fails' is "$rc $(made)" '255 '
ok 'and is named' out 'ollama'
ok 'it is not harmed' is "$(state unit/ollama.service)" up
same

sim_host ha
night ''
ok 'HA is refused: that backup fails' is "$rc $(made)" '255 101 '
ok 'with a reason' out 'HA'
same
tidy

sim_host ha
night 'ha = stop'
all_made '100 101'
ok 'by request' event 'ha-request qemu/101 stopped'
ok 'HA wants it up again' is "$(sed -n 's/^\tstate //p' "$H/disk/etc/pve/ha/resources.cfg")" started

sim_host stopmode
night ''
all_made '100 101 102 200'

sim_host stopmode
night '' - --mode suspend
all_made '100 101 102 200'

sim_host group
night ''
ok 'only the one without its device fails' is "$rc $(made)" '255 100 101 102 103 '
ok 'for the right reason' out 'qemu/104 .*0000:09:00.0 is not there'
same
tidy

# disabled again, all is as if it had never been
sim_host two-vms
sim_sh 'cp /etc/vzdump.conf /run/before; pve-gpu-hooks enable; pve-gpu-hooks status; echo "rc $?"; pve-gpu-hooks disable; diff /run/before /etc/vzdump.conf && echo same'
ok 'status says protected' out '^rc 0$'
ok 'disable undoes enable' out '^same$'

sim_end
