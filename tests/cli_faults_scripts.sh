#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that are shell scripts, each write, rename, fsync, mkdir and spawn failing in
# turn: theirs, and those of all that they start. No crash of any of these, no file half-done,
# no success that is none.
set -eu
src=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
unset PVE_GPU_ROOT
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$src/faults.sh"
root=$faults/root
# What a shell cannot read is the same as what it cannot write: it is said and ends it.
kinds="$writing pipe:EMFILE"
# Each costs a run of a dozen programs.
[ -n "${PVE_GPU_TEST_LONG-}" ] && usual=1 || usual=12

# script NAME RC TREE COMMAND...: try() with all that it starts
script() {
	everyone=-a
	# The shell itself ends with 2 when it cannot make a process, other tools with 1.
	also="1 2 ${also-}"
	lost=' 1 2 69 71 73 74 '
	step=$usual
	try "$@"
}
hooks=$(command -v pve-gpu-hooks)
pkgdatadir=$(sed -n 's|^[[:space:]]*source=\(/.*\)/vzdump-hook$|\1|p' "$hooks")
libexec=$(dirname "$hooks")
[ -x "$libexec/hooks-report" ] || libexec=/usr/libexec/pve-gpu-utils

# --- pve-gpu-hooks: /etc/vzdump.conf, the switch for vGPUs, a guest's hook script ---

sh "$src/mktree.sh" "$src/fixtures/two-vms.tree" "$faults/off"
etc=$faults/off/etc
mkdir -p "$faults/off$pkgdatadir" "$faults/off/run" "$faults/off/var/lib/vz"
cp "$src/../utils/vzdump-hook" "$src/../utils/guest-hook" "$faults/off$pkgdatadir"
printf 'name: cad\nscsi0: local:vm-100-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' \
	>"$etc/pve/nodes/pve1/qemu-server/100.conf"
printf 'vzdump: nightly\n\tschedule 02:00\n\tall 1\n\tmode snapshot\n' >"$etc/pve/jobs.cfg"
printf 'tmpdir: /var/tmp\n' >"$etc/vzdump.conf"
cp -a "$faults/off" "$faults/on"
pve-gpu-hooks -R "$faults/on" enable >/dev/null
script 'pve-gpu-hooks enable' 0 "$faults/off" pve-gpu-hooks -R "$root" enable
script 'pve-gpu-hooks disable' 0 "$faults/on" pve-gpu-hooks -R "$root" disable
script 'pve-gpu-hooks enable -n' 0 "$faults/off" pve-gpu-hooks -R "$root" enable -n
script 'pve-gpu-hooks status' 1 "$faults/off" pve-gpu-hooks -R "$root" status
script 'pve-gpu-hooks plan' 0 "$faults/on" pve-gpu-hooks -R "$root" plan
script 'pve-gpu-hooks example' 0 "$faults/on" pve-gpu-hooks -R "$root" example
faults_end
