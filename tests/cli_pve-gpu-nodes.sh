#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pve-gpu-nodes: which nodes, with which numbers and modes; twice changes nothing
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
# An installed one is not in PATH.
nodes=$(command -v pve-gpu-nodes) || nodes=/usr/libexec/pve-gpu-utils/pve-gpu-nodes

host() {
	about=$1
	rm -rf "$dir/r"
	r=$dir/r
	fixture nvidia-mig "$r"
}

# run EXPECTED-CODE ARGUMENTS
run() {
	want=$1
	shift
	expect "$want" "$nodes" -R "$r" "$@"
}
out_is() {
	sed "s|$r||" "$dir/out" | sort >"$dir/got"
	printf '%s\n' "$1" | sort | diff -u - "$dir/got" >"$dir/diff" || fail "output: $(cat "$dir/diff")"
}
err_has() {
	grep -q -- "$1" "$dir/err" || fail "no '$1' in: $(cat "$dir/err")"
}
put() {
	printf '%b\n' "$2" >"$r$1"
}

all='mkdir -m 0755 /dev/nvidia-caps
mknod -m 0400 /dev/nvidia-caps/nvidia-cap1 c 507 1
mknod -m 0444 /dev/nvidia-caps/nvidia-cap12 c 507 12
mknod -m 0444 /dev/nvidia-caps/nvidia-cap13 c 507 13
mknod -m 0444 /dev/nvidia-caps/nvidia-cap2 c 507 2
mknod -m 0666 /dev/nvidia-modeset c 195 254
mknod -m 0666 /dev/nvidia-uvm c 511 0
mknod -m 0666 /dev/nvidia-uvm-tools c 511 1
mknod -m 0666 /dev/nvidia0 c 195 0
mknod -m 0666 /dev/nvidia1 c 195 1
mknod -m 0666 /dev/nvidiactl c 195 255'

host 'a dry run'
run 0 -n
out_is "$all"
[ ! -e "$r/dev/nvidiactl" ] || fail "made something"

host 'no driver'
rm -r "$r/proc/driver"
run 0
[ ! -s "$dir/err" ] || fail "said: $(cat "$dir/err")"
run 0 -v
err_has 'not loaded: nothing to do'

host 'no MIG, no modeset, other modes'
rm -r "$r/proc/driver/nvidia/capabilities" "$r/sys/module/nvidia_modeset"
put /proc/driver/nvidia/params 'ModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 44\nDeviceFileMode: 432'
run 0 -n
out_is 'mknod -m 0660 /dev/nvidia-uvm c 511 0
mknod -m 0660 /dev/nvidia-uvm-tools c 511 1
mknod -m 0660 /dev/nvidia0 c 195 0
mknod -m 0660 /dev/nvidia1 c 195 1
mknod -m 0660 /dev/nvidiactl c 195 255'

host 'the module is not loaded yet'
put /proc/devices 'Character devices:\n195 nvidia-frontend\n507 nvidia-caps\n\nBlock devices:\n511 nvidia-uvm'
run 0 -n
grep -qx 'modprobe nvidia-uvm' "$dir/out" || fail "no modprobe: $(cat "$dir/out")"
! grep -q 'nvidia-uvm c' "$dir/out" || fail "took a block device's number"

host 'device files are not ours to make'
put /proc/driver/nvidia/params 'ModifyDeviceFiles: 0'
run 0
err_has 'NVreg_ModifyDeviceFiles=0'
[ ! -e "$r/dev/nvidiactl" ] || fail "made all the same"

host 'something else stands there'
: >"$r/dev/nvidiactl"
run 73 -n
err_has '/dev/nvidiactl: is no device node: move it away'

host 'odd texts'
put /proc/driver/nvidia/gpus/0000:41:00.0/information 'Device Minor: \t -1'
put /proc/driver/nvidia/gpus/0000:c1:00.0/information 'Device Minor: \t 99999999999999999999'
put /proc/driver/nvidia/capabilities/mig/config 'DeviceFileMinor:'
: >"$r/proc/driver/nvidia/params"
run 0 -n
! grep -Eq '/dev/nvidia[0-9]|cap1 ' "$dir/out" || fail "$(cat "$dir/out")"
grep -q '^mknod -m 0666 .*/nvidiactl c 195 255$' "$dir/out" || fail "the default mode: $(cat "$dir/out")"

host 'waiting for a card without a driver'
rm "$r/sys/bus/pci/devices/0000:c1:00.0/driver"
begin=$(date +%s)
run 0 -n --wait=1
[ $(($(date +%s) - begin)) -ge 1 ] || fail "did not wait"
out_is "$all"

about='wrong use'
for arg in --no-such-option --wait=x --wait=-1 operand; do
	run 64 "$arg"
done
run 0 --help
for word in --root --dry-run --quiet --verbose --wait --help --version; do
	grep -q -- "$word" "$dir/out" || fail "--help lacks $word"
done
run 0 --version
grep -q '(pve-gpu-utils) [0-9]' "$dir/out" || fail "--version"

# ---- for real: needs root, and a container that may make nodes ----
host 'made'
if [ "$(id -u)" -ne 0 ] || ! mknod "$dir/probe" c 195 255 2>/dev/null; then
	[ "$failed" -eq 0 ] || exit 1
	echo "no device nodes can be made here: only the dry runs were tested"
	exit 0
fi
seen() {
	(cd "$r/dev" && find . -type c -printf '%P ' -exec stat -c '%t:%T %a %u:%g' {} \; | sort)
}
umask 077
run 0 -v
err_has '/dev/nvidia-uvm: made (511:0)'
seen >"$dir/nodes"
diff -u - "$dir/nodes" >"$dir/diff" <<'EOF' || fail "nodes: $(cat "$dir/diff")"
nvidia-caps/nvidia-cap1 1fb:1 400 0:0
nvidia-caps/nvidia-cap12 1fb:c 444 0:0
nvidia-caps/nvidia-cap13 1fb:d 444 0:0
nvidia-caps/nvidia-cap2 1fb:2 444 0:0
nvidia-modeset c3:fe 666 0:0
nvidia-uvm 1ff:0 666 0:0
nvidia-uvm-tools 1ff:1 666 0:0
nvidia0 c3:0 666 0:0
nvidia1 c3:1 666 0:0
nvidiactl c3:ff 666 0:0
EOF
[ "$(stat -c %a "$r/dev/nvidia-caps")" = 755 ] || fail "mode of the folder"
(cd "$r/dev" && find . -type c -printf '%P %i\n' | sort) >"$dir/inodes"
run 0 -v
[ ! -s "$dir/err" ] || fail "twice: $(cat "$dir/err")"
(cd "$r/dev" && find . -type c -printf '%P %i\n' | sort) | cmp -s - "$dir/inodes" || fail "twice made nodes anew"

about='another major after a boot'
put /proc/devices 'Character devices:\n195 nvidia\n507 nvidia-caps\n236 nvidia-uvm'
run 0 -v
[ "$(stat -c %t:%T "$r/dev/nvidia-uvm" "$r/dev/nvidia-uvm-tools" | tr '\n' ' ')" = 'ec:0 ec:1 ' ] || fail "numbers"
[ "$(grep -c made "$dir/err")" -eq 2 ] || fail "made more: $(cat "$dir/err")"
run 0 -n
[ ! -s "$dir/out" ] || fail "not done: $(cat "$dir/out")"

about='no nvidia-uvm'
rm "$r/dev/nvidia-uvm" "$r/dev/nvidia1"
put /proc/devices 'Character devices:\n195 nvidia\n507 nvidia-caps'
run 69
err_has 'modprobe nvidia-uvm'
[ -c "$r/dev/nvidia1" ] || fail "the others are not made"
[ "$(find "$r/dev" ! -type d ! -type c | wc -l)" -eq 0 ] || fail "left-overs"
exit "$failed"
