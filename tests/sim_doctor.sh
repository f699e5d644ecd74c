#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_doctor.sh - gpu-doctor, as installed, on a simulated host: what it finds, its
# commands, a bundle
# shellcheck disable=SC1091,SC2016,SC2154 # the library; scripts that the host expands; its rc
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
sim_begin
sim_suite

sim_host sample
sim_sh '
	echo "== before"
	gpu-doctor; echo "rc $?"
	echo "== by hand"
	# What it says puts these right, done.
	gpu-doctor -j | sed -n "s/.*\"command\":\"\(pve-gpu-hooks [^\"]*\)\".*/\1/p" | sort -u >/root/commands
	cat /root/commands
	sh -e /root/commands; echo "rc $?"
	echo "== after"
	gpu-doctor -q; echo "rc $?"
	echo "== bundle"
	gpu-doctor -q --bundle=/root/bundle >/dev/null; echo "rc $?"
	ls -l /root/bundle; cat /root/bundle'
ok 'it runs' test "$rc" -eq 0
cp "$T/out" "$T/all"
part() { sed -n "/^== $1\$/,/^== /p" "$T/all" >"$T/out"; }

part before
ok 'findings' out '^rc 1$'
ok 'no hook' out '^  fail  hook: vzdump calls no hook script'
ok 'a card without FLR' out '^  warn  qemu/100: 0000:01:00.0 has no function-level reset'
ok 'not for one that has it' no_out 'qemu/102: .*function-level'
ok 'who takes turns' out '^  note  qemu/100,lxc/200 take turns at 0000:01:00.0'
ok 'the plan' out '^  \| 02:00 +qemu/107 +is started for its backup; stops qemu/102'
part 'by hand'
ok 'it names two commands' test "$(grep -c '^pve-gpu-hooks \(enable\|guest 100 enable\)$' "$T/out")" -eq 2
ok 'which work' out '^rc 0$'
part after
ok 'nothing of backup and guests is left' no_out '^(Backup|Guests)$'
part bundle
ok 'a bundle' out '^==> gpu-ls --tree$'
ok 'for its owner alone' out '^-rw------- '
ok 'the plan in it' out '"guest":"qemu/107"'
for name in cad render-a transcode vdi ollama dns pve1; do
	ok "without the name $name" no_out "(^|[^A-Za-z0-9])$name([^A-Za-z0-9]|\$)"
done
sim_end
