#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-gpu-mount on the cluster file system (pmxcfs/pmxcfs.c, mounted): what it refuses,
# no quorum, a full file, a reader and another writer beside it, killed at every step.
# PVE_GPU_TEST_LONG: at every system call, not only those that deal with files.
set -eu
# It does not work under a tracer; leaks are looked for without one.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
export ASAN_OPTIONS

skip() {
	echo "$*"
	exit 77
}
if [ "${1-}" != --inside ]; then
	[ "$(id -u)" -eq 0 ] || skip "only root can mount"
	[ -c /dev/fuse ] || skip "there is no /dev/fuse"
	command -v "${CC:-cc}" >/dev/null || skip "no C compiler for the stand-in of pmxcfs"
	command -v pkg-config >/dev/null && pkg-config --exists fuse3 ||
		skip "libfuse3's headers are missing (apt-get install libfuse3-dev pkgconf)"
	command -v strace >/dev/null || skip "strace is missing (apt-get install strace)"
	strace -qq -o /dev/null true 2>/dev/null || skip "strace may not trace here"
	unshare -m true 2>/dev/null || skip "no mount namespace of its own here"
	exec unshare -m --propagation private "$0" --inside
fi

# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
server=
end() {
	cd /
	umount -l "$dir/root/etc/pve" 2>/dev/null || :
	[ -z "$server" ] || kill "$server" 2>/dev/null || :
	rm -rf --one-file-system "$dir"
}
trap 'last_words $?; end' EXIT
pve=$root/etc/pve
state=$dir/state
conf=$pve/nodes/pve1/lxc/200.conf

# shellcheck disable=SC2046 # options
${CC:-cc} -O1 -D_GNU_SOURCE -o "$dir/pmxcfs" "$src/pmxcfs/pmxcfs.c" $(pkg-config --cflags --libs fuse3)

fail() {
	echo "FAIL: $*" >&2
	failed=$((failed + 1))
}
expect() {
	want=$1
	shift
	rc=0
	timeout 60 "$@" >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -eq "$want" ] || {
		fail "$* exited $rc, not $want"
		cat "$dir/out" "$dir/err" >&2
	}
}
says() { grep -qF -e "$1" "$dir/err" || { fail "not said: $1"; cat "$dir/err" >&2; }; }
mount_it() {
	"$dir/pmxcfs" pve1 "$state" -f -s -o allow_other,default_permissions "$pve" &
	server=$!
	for _ in $(seq 600); do
		! mountpoint -q "$pve" || return 0
		kill -0 $server 2>/dev/null || break
		sleep 0.1
	done
	skip "the stand-in of pmxcfs cannot be mounted here"
}
log() { : >"$state/log"; }
logged() { grep -qxE -e "$1" "$state/log" || { fail "$2: not logged: $1"; cat "$state/log" >&2; }; }
# Nothing but the config lies in its folder.
alone() {
	left=$(ls -A "$pve/nodes/pve1/lxc")
	[ "$left" = 200.conf ] || fail "$1: the folder has $left"
}
same() { cmp -s "$dir/$1" "$conf" || { fail "$2"; diff "$dir/$1" "$conf" >&2 || :; }; }
mkdir "$dir/bin"
printf '#!/bin/sh\nexec lxc-gpu-mount -R %s "$@" 200\n' "$root" >"$dir/bin/gpu_mount"
chmod +x "$dir/bin/gpu_mount"
PATH=$dir/bin:$PATH

fixture lxc-host
printf 'Character devices:\n  1 mem\n195 nvidia\n237 nvidia-caps\n508 nvidia-uvm\n\nBlock devices:\n' >"$root/proc/devices"
rm -rf "$pve"
mkdir -p "$pve" "$state"
mount_it

# --- the stand-in itself: what a program meets on the real one -------------------

is_refused() {
	want=$1
	shift
	! "$@" 2>"$dir/err" || fail "$* is not refused"
	says "$want"
}
[ "$(stat -c '%A %a %U:%G' "$pve/nodes/pve1")" = 'drwxr-xr-x 755 root:www-data' ] || fail "a folder's mode"
echo one >"$pve/priv/x"
[ "$(stat -c %a "$pve/priv/x")" = 600 ] || fail "a private file's mode"
chmod 600 "$pve/priv/x" || fail "chmod to the mode that it has"
rm "$pve/priv/x"
echo one >"$conf"
[ "$(stat -c '%a %U:%G' "$pve/lxc/200.conf")" = '640 root:www-data' ] || fail "a file's mode"
chmod 640 "$conf" || fail "chmod to the mode that it has"
is_refused 'not permitted' chmod 600 "$conf"
is_refused 'not permitted' chown 1000 "$conf"
is_refused '' ln "$conf" "$pve/x"
is_refused '' ln -s x "$pve/x"
is_refused 'File exists' cp "$conf" "$pve/qemu-server/200.conf"
printf 'two' >"$conf.tmp.1"
mv "$conf.tmp.1" "$conf"
[ "$(cat "$conf")" = two ] || fail "rename"
head -c 1048576 /dev/zero >"$pve/x"
is_refused 'too large' sh -c 'head -c 1 /dev/zero >>"$1"' - "$pve/x"
rm "$pve/x"
: >"$state/noquorum"
[ "$(stat -c %a "$pve/local")" = 555 ] || fail "no quorum does not show"
is_refused 'ermission denied' sh -c 'echo x >"$1"' - "$conf"
is_refused 'ermission denied' mv "$conf" "$conf.x"
is_refused 'ermission denied' rm -f "$conf"
rm "$state/noquorum"
alone "the stand-in"

# --- one change ------------------------------------------------------------------

cat >"$dir/old" <<'END'
#GPU box%3A two cards
arch: amd64
dev3: /dev/ttyUSB0
hostname: ct
memory: 2048
parent: before
rootfs: local:200/vm-200-disk-0.raw,size=8G
unprivileged: 1
lxc.cap.drop: sys_time

[pve:pending]
memory: 4096

[before]
arch: amd64
dev0: /dev/nvidia0,mode=0666
snaptime: 1763000000
END
put_old() { cp "$dir/old" "$conf"; }
put_old

for style in dev mount; do
	log
	expect 0 gpu_mount --style $style --gpu 1
	cp "$conf" "$dir/$style"
	! cmp -s "$dir/old" "$dir/$style" || fail "$style changes nothing"
	temp='/nodes/pve1/lxc/200\.conf\.[^ ]*'
	logged "create 0 $temp" $style
	logged "write 0 $temp 0 $(wc -c <"$dir/$style")" "$style, in one write"
	logged "rename 0 $temp /nodes/pve1/lxc/200\.conf" $style
	[ "$(wc -l <"$state/log")" -eq 3 ] || { fail "$style does more than that"; cat "$state/log" >&2; }
	[ "$(stat -c '%a %U:%G' "$conf")" = '640 root:www-data' ] || fail "$style: mode"
	log
	expect 0 gpu_mount --style $style --gpu 1
	same $style "$style twice"
	[ ! -s "$state/log" ] || fail "$style twice writes"
	expect 0 gpu_mount -n --style $style --gpu 0
	[ ! -s "$state/log" ] || fail "$style -n writes"
	alone $style
	expect 0 gpu_mount --remove
	same old "$style: --remove does not give back the same bytes"
done

# --- what is refused ----------------------------------------------------------------

: >"$state/noquorum"
for words in '--style dev --gpu 1' '--style mount --gpu 1'; do
	# shellcheck disable=SC2086 # options
	expect 4 gpu_mount $words
	says quorum
	same old "changed without quorum"
done
rm "$state/noquorum"
cp "$dir/mount" "$conf"
: >"$state/noquorum"
expect 4 gpu_mount --remove
says quorum
same mount "removed without quorum"
rm "$state/noquorum"
put_old
: >"$state/ioerror"
expect 4 gpu_mount --gpu 1
same old "changed in spite of a fault of the database"
rm "$state/ioerror"
alone "refused"

# A config that our lines make longer than a file can be.
fill=$((1048576 - $(wc -c <"$dir/old") - 100))
{
	head -c $fill /dev/zero | tr '\0' '#'
	echo
	cat "$dir/old"
} >"$dir/long"
cp "$dir/long" "$conf"
log
expect 4 gpu_mount --style mount --gpu 1
same long "a file that is full"
! grep -q '^write 27 ' "$state/log" || fail "it is found out by the write that does not fit"
put_old
alone "a file that is full"

# --- a reader and another writer ----------------------------------------------------

# Whoever reads meanwhile sees the one or the other.
: >"$state/delay"
(
	while [ ! -e "$dir/stop" ]; do
		# FUSE finds a name, then opens what it has found, which may be gone by
		# then; hardly so many times in turn.
		tries=0
		until cat "$conf" >"$dir/read" 2>/dev/null; do
			tries=$((tries + 1))
			[ $tries -lt 5 ] || { echo "not there" >>"$dir/seen"; break; }
		done
		cmp -s "$dir/old" "$dir/read" || cmp -s "$dir/mount" "$dir/read" || echo other >>"$dir/seen"
		echo . >>"$dir/reads"
	done
) &
reader=$!
# However slow the reader is here.
: >"$dir/reads"
rounds=0
while [ $rounds -lt 5 ] || [ "$(wc -l <"$dir/reads")" -lt 20 ]; do
	expect 0 gpu_mount --style mount --gpu 1
	expect 0 gpu_mount --remove
	rounds=$((rounds + 1))
	[ $rounds -lt 200 ] || break
done
: >"$dir/stop"
wait $reader
rm "$state/delay"
[ ! -e "$dir/seen" ] || fail "a reader saw something else: $(sort "$dir/seen" | uniq -c)"
[ "$(wc -l <"$dir/reads")" -ge 20 ] || fail "the reader read too little"
same old "after the reader"

# Proxmox VE counts up a note under its lock; neither loses what the other wrote.
lock=$root/run/lock/lxc/pve-config-200.lock
[ -e "$lock" ] || fail "no lock of PVE's name"
: >"$state/delay"
(
	for n in 1 2 3 4 5 6 7 8; do
		flock "$lock" sh -c 'sed "s/^memory: 20.*/memory: 20$2/" "$1" >"$1.tmp.$$" && mv "$1.tmp.$$" "$1"' - "$conf" $n
	done
) &
writer=$!
for _ in 1 2 3; do
	expect 0 gpu_mount --style mount --gpu 1
	expect 0 gpu_mount --remove
done
wait $writer
rm "$state/delay"
sed 's/^memory: 2048/memory: 208/' "$dir/old" >"$dir/counted"
same counted "a change was lost"
alone "two writers"
put_old

# Two of ours with different wishes.
gpu_mount --style mount --gpu 1 &
one=$!
gpu_mount --style dev --gpu 1 &
wait $one || fail "one of two failed"
wait $! || fail "the other of two failed"
cmp -s "$dir/mount" "$conf" || cmp -s "$dir/dev" "$conf" || fail "neither wish"
alone "two of ours"
put_old

# Who is killed and whose calls fail would be valgrind.
[ -z "${TEST_VALGRIND-}" ] || exit $((failed > 0))

# --- killed at every step -------------------------------------------------------------

kinds='openat write rename renameat renameat2 unlink unlinkat mkdir flock close fsync read newfstatat'
# calls WORDS...: "NAME COUNT" of each kind of call that a run of it makes
calls() {
	strace -qq -f -c -o "$dir/counts" lxc-gpu-mount -R "$root" "$@" 200 >/dev/null 2>&1 || :
	awk -v kinds=" $kinds " -v all="${PVE_GPU_TEST_LONG-}" '
		$1 ~ /^[0-9.]+$/ && $NF != "total" && (all || index(kinds, " " $NF " ")) { print $NF, $4 }' "$dir/counts"
}
kills=0
# kill_all FROM TO WORDS...: from one state of the file to the other.
kill_all() {
	from=$1 to=$2
	shift 2
	cp "$dir/$from" "$conf"
	calls "$@" >"$dir/calls"
	while read -r call count; do
		at=1
		while [ "$at" -le "$count" ]; do
			cp "$dir/$from" "$conf"
			rc=0
			strace -qq -f -o /dev/null -e trace="$call" -e "inject=$call:signal=KILL:when=$at" \
				lxc-gpu-mount -R "$root" "$@" 200 >"$dir/out" 2>"$dir/err" || rc=$?
			where="$* killed at $call $at"
			at=$((at + 1))
			# One call less than before: that run was whole.
			[ "$rc" -eq 137 ] || continue
			kills=$((kills + 1))
			cmp -s "$dir/$from" "$conf" || cmp -s "$dir/$to" "$conf" || {
				fail "$where: neither the old nor the new config"
				cat "$conf" >&2
			}
			# What it left beside is taken away by the next.
			[ "$(ls -A "$pve/nodes/pve1/lxc")" = 200.conf ] || left=yes
			expect 0 gpu_mount "$@"
			same "$to" "$where: the next run does not heal"
			[ "$(ls -A "$pve/nodes/pve1/lxc")" = 200.conf ] || swept=no
		done
	done <"$dir/calls"
}
left=''
swept=yes
kill_all old mount --style mount --gpu 1
kill_all mount old --remove
kill_all mount dev --style dev --gpu 1
[ "$left" = yes ] || fail "no kill left a file beside: not killed where it counts"
put_old
expect 0 gpu_mount --style mount --gpu 1
alone "after all kills"
[ "$kills" -ge 100 ] || fail "killed $kills times only"

# --- every one of those calls fails ---------------------------------------------------

faults=0
fault_all() {
	from=$1 to=$2
	shift 2
	for call in openat write renameat fsync close flock unlinkat read; do
		for error in EIO ENOSPC EACCES EINTR; do
			case $call.$error in
			*.EINTR) [ $call = write ] || [ $call = flock ] || continue ;;
			close.E[NA]* | read.E[NA]* | flock.E[NA]*) continue ;;
			esac
			for at in 1 2 3 4; do
				cp "$dir/$from" "$conf"
				rc=0
				# Of all files below the root: the loader's are not meant.
				strace -qq -f -o "$dir/trace" -P "$conf" -P "${conf%/*}" -P "$lock" -e trace=all \
					-e "inject=$call:error=$error:when=$at" \
					timeout 30 lxc-gpu-mount -R "$root" "$@" 200 >"$dir/out" 2>"$dir/err" || rc=$?
				where="$* with $error at $call $at"
				grep -q INJECTED "$dir/trace" || break
				faults=$((faults + 1))
				case $rc in
				0) same "$to" "$where: says that it is done" ;;
				[1-6])
					[ -s "$dir/err" ] || fail "$where: exits $rc and says nothing"
					cmp -s "$dir/$from" "$conf" || cmp -s "$dir/$to" "$conf" ||
						fail "$where: neither the old nor the new config"
					;;
				*) fail "$where: exits $rc"; cat "$dir/err" >&2 ;;
				esac
				rm -f "$conf".*
			done
		done
	done
}
fault_all old mount --style mount --gpu 1
[ "$faults" -ge 10 ] || fail "$faults faults only"

echo "killed $kills times, $faults faults, swept $swept"
[ "$failed" -eq 0 ] || {
	echo "$failed failures" >&2
	exit 1
}
