#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-setup: what it refuses, --check, -n. What it does is tested on the simulated
# host.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
unset NVIDIA_RUNFILE_SHA256 NVIDIA_REPO_KEY_URL

repo=https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64
runfile=https://us.download.nvidia.com/tesla/550.54.14/NVIDIA-Linux-x86_64-550.54.14.run
libs=usr/lib/x86_64-linux-gnu

# A host with two cards and the container 200, its file system mounted.
host() {
	about=$1
	rm -rf "$dir/r"
	r=$dir/r
	fixture nvidia-mig "$r"
	mkdir -p "$r/etc/pve/nodes/pve1/lxc" "$r/var/lib/lxc/200/rootfs/$libs" "$r/run/lock/lxc" "$r/var/lib/dpkg"
	ln -s nodes/pve1 "$r/etc/pve/local"
	ln -s nodes/pve1/lxc "$r/etc/pve/lxc"
	ct=$r/var/lib/lxc/200/rootfs
	conf=$r/etc/pve/nodes/pve1/lxc/200.conf
	printf 'arch: amd64\nhostname: ollama\nostype: debian\nrootfs: local:200,size=8G\nunprivileged: 1\n' >"$conf"
	cp "$conf" "$dir/conf"
}

# run EXPECTED-CODE ARGUMENTS
run() {
	want=$1
	shift
	rc=0
	GPU_ASSIGNMENT=all NVIDIA_DRIVER_VERSION=550.54.14 NVIDIA_REPO_URL=$repo NVIDIA_RUNFILE_URL=$runfile \
		lxc-nvidia-setup -R "$r" "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	[ "$rc" -eq "$want" ] || fail "exit code $rc, not $want: $* ($(cat "$dir/err"))"
	cmp -s "$conf" "$dir/conf" || fail "the configuration was changed: $*"
}
err_has() {
	grep -q -- "$1" "$dir/err" || fail "no '$1' in: $(cat "$dir/err")"
}
out_has() {
	grep -qx -- "$1" "$dir/out" || fail "no '$1' in: $(cat "$dir/out")"
}

host 'wrong use'
run 2 -n
err_has "Try 'lxc-nvidia-setup --help'"
run 2 -n 200 201
run 2 -n 200 -- 201
run 2 200
err_has '-R is for --check and -n'
for id in 0 -5 +200 0200 200.5 abc 1x '200;id' '' lxc/ qemu/200 '200
201'; do
	run 2 -n -- "$id"
done
for word in --gpu= --driver= --repo= --runfile= '--gpu=0;id' '--gpu=0
1' --driver=abc --driver=550 --driver=-1.2 --repo=ftp://x/y --repo=relative '--repo=https://x y' --runfile=relative \
	--runfile=http://x.example.org/a.run --repo-key=http://x.example.org/k --repo-key=file:///k --sha256=12 --cuda=x --cuda=12-4-1 \
	--style=x --timeout=0 --timeout=x --timeout=-1 --no-such-option \
	--runfile=https://x.example.org/NVIDIA-Linux-x86_64-535.1.run --runfile=/no/such/file --runfile=file:///no/such/file; do
	run 2 -n "$word" 200
done
for var in GPU_ASSIGNMENT NVIDIA_DRIVER_VERSION NVIDIA_REPO_URL NVIDIA_RUNFILE_URL; do
	rc=0
	env GPU_ASSIGNMENT=all NVIDIA_DRIVER_VERSION=550.54.14 "NVIDIA_REPO_URL=$repo" "NVIDIA_RUNFILE_URL=$runfile" "$var=" \
		lxc-nvidia-setup -R "$r" -n 200 2>"$dir/err" || rc=$?
	[ "$rc" -eq 2 ] || fail "without $var: exit code $rc"
	err_has "$var is not set"
done
for option in --gpu --driver --repo --runfile --sha256 --repo-key --cuda --style --timeout --root; do
	run 2 $option
done
run 0 --help
for word in --gpu --driver --repo --runfile --sha256 --repo-key --cuda --style --strict --timeout --check --dry-run --quiet \
	--verbose --root --help --version; do
	grep -q -- "$word" "$dir/out" || fail "--help lacks $word"
done
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is too long"
run 0 --version
grep -q '^lxc-nvidia-setup (pve-gpu-utils) [0-9]' "$dir/out" || fail "--version"

host 'container and host'
for id in 7 99 201 1000000000 99999999999999999999; do
	run 3 -n $id
done
run 3 --check 201
echo 'ostype: alpine' >"$conf" && cp "$conf" "$dir/conf"
run 5 -n 200
err_has 'is alpine; only Debian and Ubuntu'
host 'another version than the host'\''s'
run 5 -n --driver 535.183.01 --runfile https://x.example.org/driver.run 200
err_has "the host's driver is 550.54.14: libraries of 535.183.01 would not work"
run 5 -n --driver host --runfile https://x.example.org/NVIDIA-Linux-x86_64-535.183.01.run 200
host 'no driver'
rm -r "$r/sys/module/nvidia" "$r/proc/driver"
run 4 -n 200
err_has "driver is not loaded"
run 4 --check 200

host 'a dry run'
run 0 -n 200
grep -q '^+.*/dev/nvidia-uvm' "$dir/out" || fail "no diff: $(cat "$dir/out")"
out_has "container 200: $runfile --no-kernel-modules --silent"
out_has "container 200: /etc/apt/sources.list.d/pve-gpu-utils-nvidia.list: deb $repo/ /"
run 0 -n --cuda=12.4 --repo=https://repo.example.org/nvidia lxc/200
out_has 'container 200: .*: deb https://repo.example.org/nvidia CODENAME main'
out_has 'container 200: apt-get install cuda-toolkit-12-4'
mkdir -p "$r/root" && : >"$r/root/installer.run"
run 0 -n --runfile=/root/installer.run 200
out_has 'container 200: /root/installer.run --no-kernel-modules --silent'
run 0 -n --runfile=http://x.example.org/a.run --sha256="$(printf %064d 7)" 200
run 4 -n --gpu=7 200
run 4 -n --gpu=0000:09:00.0 200
echo 470.223.02 >"$r/sys/module/nvidia/version"
run 0 -n --driver host --runfile https://x.example.org/driver.run 200
out_has 'container 200: https://x.example.org/driver.run --no-kernel-module --silent'

host 'the version by /proc'
rm -r "$r/sys/module/nvidia"
run 0 -n 200
echo 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build' >"$r/proc/driver/nvidia/version"
run 0 -n 200

host '--check'
run 5 --check 200
err_has 'has no libraries of the NVIDIA driver'
ln -s libnvidia-ml.so.550.54.14 "$ct/$libs/libnvidia-ml.so.1"
ln -s libcuda.so.550.54.14 "$ct/$libs/libcuda.so.1"
run 0 --check 200
out_has "container 200: its libraries and the host's driver are 550.54.14"
run 0 -q --check 200
[ ! -s "$dir/err" ] || fail "quiet: $(cat "$dir/err")"
ln -sf libcuda.so.535.183.01 "$ct/$libs/libcuda.so.1"
run 5 --check 200
err_has 'has libraries of 535.183.01 550.54.14 side by side'
ln -sf libnvidia-ml.so.535.183.01 "$ct/$libs/libnvidia-ml.so.1"
run 5 --check 200
err_has "has libraries of 535.183.01, and the host's driver is 550.54.14: run lxc-nvidia-setup"

host '--check: Debian'\''s own packages'
for lib in libnvidia-ml libcuda; do
	ln -s "/etc/alternatives/glx--$lib.so.1-x86_64-linux-gnu" "$ct/$libs/$lib.so.1"
	mkdir -p "$ct/$libs/nvidia/current"
	: >"$ct/$libs/nvidia/current/$lib.so.550.54.14"
done
run 0 --check 200

host '--check: 32-bit libraries of another version'
mkdir -p "$ct/usr/lib/i386-linux-gnu"
for lib in libnvidia-ml libcuda; do
	ln -s "$lib.so.550.54.14" "$ct/$libs/$lib.so.1"
	ln -s "$lib.so.535.183.01" "$ct/usr/lib/i386-linux-gnu/$lib.so.1"
done
run 5 --check 200
err_has 'side by side'

host '--check: links that lead out of the container'
mkdir -p "$dir/out-of-it/x86_64-linux-gnu"
for lib in libnvidia-ml libcuda; do
	ln -s "$lib.so.550.54.14" "$dir/out-of-it/x86_64-linux-gnu/$lib.so.1"
done
rm -r "${ct:?}/usr/lib"
ln -s "$dir/out-of-it" "$ct/usr/lib"
run 5 --check 200
rm "$ct/usr/lib"
mkdir "$ct/usr/lib"
ln -s "$dir/out-of-it/x86_64-linux-gnu" "$ct/usr/lib/x86_64-linux-gnu"
ln -s ../../../../../../../out-of-it/x86_64-linux-gnu "$ct/usr/lib64"
run 5 --check 200
err_has 'has no libraries of the NVIDIA driver'

host '--check: names that are no versions'
ln -s "$(printf 'libcuda.so.1.\0331m')" "$ct/$libs/libcuda.so.1"
run 5 --check 200
err_has 'has no libraries of the NVIDIA driver'

host '--check: nothing to see'
rm -r "${ct:?}/usr"
run 4 --check 200

host 'what stays behind in the container holds up nobody'
parts=$(dirname "$(command -v lxc-nvidia-setup)")
[ -r "$parts/lxc-nvidia-exec" ] || parts=${parts%/*}/libexec/pve-gpu-utils
rc=0
# shellcheck disable=SC2016 # its own
timeout 60 sh -eu -c '
	work=$2 quiet="" ctid=200
	. "$1"
	in_container() { shift; "$@"; }
	capture in_container 60 sh -c "sleep 90 & echo word"
	[ "$(cat "$work/out")" = word ] || exit 10
	rc=0
	capture in_container 60 sh -c "head -c 2000000 /dev/zero; exit 7" || rc=$?
	[ "$rc" -eq 7 ] || exit 11
	[ "$(stat -c %s "$work/out")" -eq 1000000 ] || exit 12
	' sh "$parts/lxc-nvidia-exec" "$dir" || rc=$?
[ "$rc" -eq 0 ] || fail "exit code $rc"
exit "$failed"
