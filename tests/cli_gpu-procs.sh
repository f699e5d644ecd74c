#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gpu-procs on a text fixture.
set -eu
src=${TEST_SRC:-$(dirname "$0")}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=$dir/root
sh "$src/mktree.sh" "$src/fixtures/bind-host.tree" "$root"
failed=0

fail() { echo "FAIL: $*" >&2; failed=1; }
expect() {
	want=$1
	shift
	rc=0
	"$@" >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -eq "$want" ] || { fail "$* exited $rc, not $want"; cat "$dir/err" >&2; }
}
prints() { printf '%b' "$2" >"$dir/want"; diff -u "$dir/want" "$dir/out" >&2 || fail "$1"; }

container='999\tjellyfin ffmpeg\t0000:00:02.0\t/dev/dri/renderD128\tlxc/200\n'
unit='1234\tollama\t0000:05:00.0\t/dev/nvidia1,/dev/nvidiactl\tunit/ollama.service\n'

expect 0 gpu-procs -R "$root"
[ ! -s "$dir/err" ] || fail "said something"
prints "all" "$container$unit"
PVE_GPU_ROOT=$root expect 0 gpu-procs -H
prints "header" "#pid\tcomm\taddr\tnodes\towner\n$container$unit"
expect 0 gpu-procs -R "$root" --guest lxc/200
prints "--guest" "$container"
expect 0 gpu-procs -R "$root" --container 0123456789ab
prints "--container" "$container"
expect 0 gpu-procs -R "$root" 00000000:05:00.0 01:00.0
prints "by address" "$unit"
expect 0 gpu-procs -R "$root" -o owner,pid
prints "-o" 'lxc/200\t999\nunit/ollama.service\t1234\n'
expect 0 gpu-procs -R "$root" -j -o pid,addr,owner 05:00.0
prints "-j" '{"pid":1234,"addr":"0000:05:00.0","owner":"unit/ollama.service"}\n'
gpu-procs -R "$root" -0 -o pid | tr '\0' ';' >"$dir/out"
prints "-0" '999;1234;'

# Nobody is an answer, not an error.
expect 1 gpu-procs -R "$root" --guest qemu/100
prints "nobody" ''
expect 1 gpu-procs -R "$root" 01:00.0
expect 1 gpu-procs -R "$root" --container 0123456789a
expect 69 gpu-procs -R "$dir/none"

expect 64 gpu-procs -R "$root" 01:00
expect 64 gpu-procs -R "$root" --guest 100
expect 64 gpu-procs -R "$root" --guest qemu/100 --container x
expect 64 gpu-procs -R "$root" -o pid,nope
grep -qF 'nope: no such field' "$dir/err" || fail "bad field is not named"
expect 64 gpu-procs -R "$root" -j -0
expect 64 gpu-procs -R "$root" --nope
expect 0 gpu-procs --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
expect 0 gpu-procs --version
expect 74 sh -c "gpu-procs -R '$root' >/dev/full"

exit $failed
