#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# vzdump-hook-chain and the stub: who is called, with what, and which code comes back
# shellcheck disable=SC2016 # what the made scripts expand
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
chain=$(command -v vzdump-hook-chain || echo /usr/libexec/pve-gpu-utils/vzdump-hook-chain)
scripts=$root/etc/pve-gpu-utils/vzdump.d
log=$dir/log

# script NAME BODY
script() {
	printf '#!/bin/sh\n%s\n' "$2" >"$scripts/$1"
	chmod 755 "$scripts/$1"
}

# run EXPECTED-CODE ARGUMENTS: as vzdump calls it, without an environment
run() {
	want=$1
	shift
	: >"$log"
	rc=0
	env -i PVE_GPU_ROOT="$root" LC_ALL=C LOG="$log" VMTYPE=qemu "$chain" "$@" >"$dir/out" 2>&1 || rc=$?
	[ "$rc" -eq "$want" ] || fail "$*: exit code $rc, not $want: $(cat "$dir/out")"
}

called() {
	got=$(tr '\n' ' ' <"$log")
	[ "$got" = "$1" ] || fail "called '$got', not '$1'"
}

# No folder at all, an empty one
run 0 job-start
mkdir -p "$scripts"
run 0 job-start
[ ! -s "$dir/out" ] || fail "an empty chain says something"
run 64

# Order, arguments, environment
script 50-gpu 'echo "50:$1:${2-}:${3-}:$VMTYPE" >>"$LOG"'
script 10-first 'echo "10:$#" >>"$LOG"; /usr/bin/env >"$LOG.env"'
run 0 backup-start snapshot 101
called '10:3 50:backup-start:snapshot:101:qemu '
! grep -q '^PATH=' "$log.env" || fail "PATH handed on though vzdump gives none"
grep -q '^VMTYPE=qemu$' "$log.env" || fail "VMTYPE lost"
run 0 job-end
called '10:1 50:job-end:::qemu '

# Left out: names, no file, not executable, others may write, a directory
script 20-x.dpkg-new 'echo no >>"$LOG"'
script 20-x~ 'echo no >>"$LOG"'
script 30-off 'echo no >>"$LOG"'
chmod 644 "$scripts/30-off"
script 40-open 'echo no >>"$LOG"'
chmod 775 "$scripts/40-open"
script 41-open 'echo no >>"$LOG"'
chmod 757 "$scripts/41-open"
mkdir "$scripts/45-dir"
ln -s nowhere "$scripts/46-dangling"
run 0 log-end stop 101
called '10:3 50:log-end:stop:101:qemu '
said '30-off: not executable'
said '40-open: group or others'
said '41-open: group or others'
rm -rf "$scripts/20-x~" "$scripts/20-x.dpkg-new" "$scripts/30-off" "$scripts/40-open" "$scripts/41-open" "$scripts/45-dir" "$scripts/46-dangling"
if [ "$(id -u)" -eq 0 ]; then
	script 47-foreign 'echo no >>"$LOG"'
	chown 65534 "$scripts/47-foreign"
	run 0 job-start
	called '10:1 50:job-start:::qemu '
	said '47-foreign: not owned by root'
	rm "$scripts/47-foreign"
else
	echo "not run: a script of another owner (needs root)"
fi

# A link: who may write to a folder on its way chooses what is called.
mkdir -p "$dir/ours" "$dir/theirs"
script 70-ours 'echo 70 >>"$LOG"'
mv "$scripts/70-ours" "$dir/ours/hook"
cp -p "$dir/ours/hook" "$dir/theirs/hook"
ln -s hook "$dir/ours/near"
ln -s "$dir/ours/near" "$dir/theirs/far"
for mode in 777 775; do
	chmod "$mode" "$dir/theirs"
	for to in theirs/hook theirs/far; do
		ln -sfn "$dir/$to" "$scripts/70-link"
		run 0 job-start
		called '10:1 50:job-start:::qemu '
		said "$dir/theirs: group or others may write to it"
	done
done
for to in "$dir/ours/hook" "$dir/ours/near" ../../../../ours/hook; do
	ln -sfn "$to" "$scripts/70-link"
	run 0 job-start
	called '10:1 50:job-start:::qemu 70 '
done
rm "$scripts/70-link"

# All run whatever fails; the first failure's code counts
script 10-first 'echo 10 >>"$LOG"; exit 3'
script 50-gpu 'echo 50 >>"$LOG"; exit 4'
script 60-last 'echo 60 >>"$LOG"'
for phase in job-init job-start 'backup-start stop 101' 'pre-stop stop 101' 'post-restart stop 101' \
	'backup-end stop 101' 'backup-abort stop 101' 'log-end stop 101' job-end job-abort; do
	# shellcheck disable=SC2086 # arguments
	run 3 $phase
	called '10 50 60 '
	said '10-first failed with exit code 3'
	said '50-gpu failed with exit code 4'
done
# pre-restart: vzdump would not start the guest again
run 0 pre-restart stop 101
called '10 50 60 '
said 'kept from vzdump'
run 0 pre-restart suspend 101
run 3 pre-restart snapshot 101

# A script that takes itself away, one that dies of a signal
rm "$scripts/10-first" "$scripts/50-gpu"
script 10-gone 'rm "$0"; exit 9'
run 0 job-start
called '60 '
script 10-killed 'kill -9 $$'
run 137 job-start
called '60 '

# The stub and the entry of the suite: silent and well when the package is gone
stub=$src/../utils/vzdump-hook
for file in "$stub" "$src/../utils/50-gpu"; do
	sed "s|/usr/libexec/pve-gpu-utils|$dir/libexec|" "$file" >"$dir/stub"
	chmod 755 "$dir/stub"
	env -i "$dir/stub" backup-start stop 101 >"$dir/out" 2>&1 || fail "$file fails without the package"
	[ ! -s "$dir/out" ] || fail "$file says something without the package"
	mkdir -p "$dir/libexec/vzdump-hook-chain" "$dir/libexec/vzdump-gpu-hook"
	env -i "$dir/stub" job-end || fail "$file execs a directory"
	rm -rf "$dir/libexec"
	mkdir "$dir/libexec"
	printf '#!/bin/sh\necho "$@"\nexit 5\n' >"$dir/libexec/vzdump-hook-chain"
	cp "$dir/libexec/vzdump-hook-chain" "$dir/libexec/vzdump-gpu-hook"
	env -i "$dir/stub" job-end || fail "$file execs what is not executable"
	chmod 755 "$dir/libexec/"*
	rc=0
	env -i "$dir/stub" backup-start stop 101 >"$dir/out" || rc=$?
	[ "$rc.$(cat "$dir/out")" = "5.backup-start stop 101" ] || fail "$file: $rc $(cat "$dir/out")"
	rm -rf "$dir/libexec"
done

exit "$failed"
