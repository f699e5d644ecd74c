#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vzdump-gpu-hook where nothing can be done: it never fails a backup for that
# (what it does is tested on the simulated host)
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
hook=$(command -v vzdump-gpu-hook || echo /usr/libexec/pve-gpu-utils/vzdump-gpu-hook)
state=$root/var/lib/pve-gpu-utils

# run ARGUMENTS: as vzdump calls it; it has to end well whatever happens
run() {
	rc=0
	env -i PVE_GPU_ROOT="$root" LC_ALL=C VMTYPE="${type:-qemu}" timeout 60 "$hook" "$@" \
		>"$dir/out" 2>&1 </dev/null || rc=$?
	[ "$rc" -eq 0 ] || fail "$*: exit code $rc: $(cat "$dir/out")"
}

silent() {
	[ ! -s "$dir/out" ] || fail "$1: says $(cat "$dir/out")"
}

mkdir -p "$root/run" "$root/proc" "$root/var/lib"

# Phases without work touch nothing.
for args in '' job-init 'pre-restart stop 100' 'post-restart snapshot 100' 'backup-end stop 100' \
	'pre-stop snapshot 100' 'pre-stop suspend 100' job-abort frobnicate; do
	# shellcheck disable=SC2086 # arguments
	run $args
	silent "$args"
done
[ ! -e "$state" ] || fail "phases without work make files"

# VMIDs that are none
for id in '' ../100 100x 0100 '1 2' -1; do
	run backup-start stop "$id"
	said 'nothing is done'
	run log-end stop "$id"
	said 'nothing is done'
done
[ ! -e "$state" ] || fail "files made for a VMID that is none"

# Nothing of PVE there: said, aside, and nobody is waited for
run job-start
run backup-start stop 100
said 'stands aside'
run pre-stop stop 100
run backup-abort stop 100
run log-end stop 100
run job-end
type=lxc
run backup-start snapshot 200
silent 'a container'
type=qemu
[ "$(stat -c %a "$state")" = 700 ] || fail "state directory has mode $(stat -c %a "$state")"

# job-abort names the guardian only when somebody waits for it
: >"$state/journal"
run job-abort
said 'the guardian starts'
rm "$state/journal"

# The job died while we waited for our turn, by its process id and by its start time
mkdir -p "$root/proc/4660"
stat='4660 (task UPID) (x)) S 1 4660 4660 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0'
# vzdump writes no newline.
printf %s "UPID:pve1:00001234:00000309:655F0000:vzdump::root@pam:" >"$root/run/vzdump.pid"
echo "$stat" >"$root/proc/4660/stat"
run backup-start stop 100
said 'stands aside'
for other in "$(echo "$stat" | sed 's/ 777 / 778 /')" "$(echo "$stat" | sed 's/ S 1 / Z 1 /')"; do
	echo "$other" >"$root/proc/4660/stat"
	run backup-start stop 100
	said 'the backup job is dead: nothing is done'
done
rm -r "$root/proc/4660"
run pre-stop stop 100
said 'the backup job is dead'
echo "UPID:pve1:00001234:00000309:655F0000:vzdump::root@pam:" >"$root/run/vzdump.pid"
run pre-stop stop 100
said 'the backup job is dead'
for upid in '' 'UPID' 'UPID:pve1:zz:00000309:' 'UPID:pve1:1234;reboot:309:' 'x:pve1:1234:309:'; do
	printf %s "$upid" >"$root/run/vzdump.pid"
	run backup-start stop 100
	said 'stands aside'
done
rm "$root/run/vzdump.pid"

# The state cannot be written
rm -rf "$state"
: >"$state"
run backup-start stop 100
said 'cannot be written'
run log-end stop 100
rm "$state"

# Another phase at work is waited for, not joined
mkdir -m 700 "$state"
exec 9>"$state/hook.lock"
flock 9
(sleep 1; : >"$dir/done") 9>&9 &
exec 9>&-
run backup-start stop 100
[ -e "$dir/done" ] || fail "two phases at a time"
wait

# Whoever reads the output may be gone
rc=0
{ env -i PVE_GPU_ROOT="$root" VMTYPE=qemu timeout 60 "$hook" backup-start stop 100 2>&1; echo $? >"$dir/rc"; } | :
[ "$(cat "$dir/rc")" = 0 ] || fail "dies of a closed pipe: $(cat "$dir/rc")"

exit "$failed"
