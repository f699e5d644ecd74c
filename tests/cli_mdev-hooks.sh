#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pve-gpu-hooks mdev, and what the unit and the udev rule agree on.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
switch=$root/etc/pve-gpu-utils/mdev-autostart

hooks() {
	want=$1
	shift
	expect "$want" pve-gpu-hooks -R "$root" mdev "$@"
}

fixture vgpu

# Off at first, on, off again; once more is no error.
hooks 1 status
said 'fail  defined vGPUs are not made at boot (pve-gpu-hooks mdev enable)'
hooks 0 disable
said 'not enabled'
hooks 0 enable
said 'enabled: from the next boot on'
[ -f "$switch" ] || fail 'the switch'
[ "$(find "${switch%/*}" -type f | wc -l)" -eq 1 ] || fail 'something is left'
hooks 0 enable
said 'already enabled'
hooks 0 status
said 'ok    defined vGPUs are made at boot'
said 'ok    334852fe-079b-11ee-9fc7-77463608f467: nvidia-50 at 0000:82:00.0'
# What is manual is not its business.
not_said 334855e2
hooks 0 disable
[ ! -e "$switch" ] || fail 'switched off'

# What is auto and not there is named; mdev-mk --auto has the same switch.
timeout 60 mdev-mk -q -R "$root" -p mtty -t mtty-2 --auto -u 83b8f4f2-509f-382f-3c1e-e6bfe0fa1042 \
	>"$dir/out"
hooks 1 status
said 'ok    defined vGPUs are made at boot'
said 'fail  83b8f4f2-509f-382f-3c1e-e6bfe0fa1042: mtty-2 at mtty is not there'

# Wrong use.
for args in '' frobnicate 'enable now' '--frob'; do
	# shellcheck disable=SC2086 # arguments
	hooks 64 $args
	said "Try 'pve-gpu-hooks mdev --help'"
done
hooks 0 --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail 'help is longer than 24 lines'
hooks 0 --version
said 'pve-gpu-hooks (pve-gpu-utils) '

# The rule and the unit look for the same file, and the rule names the unit.
for place in "$src/../utils" /usr/lib/udev/rules.d /lib/udev/rules.d; do
	rules=$place/60-pve-gpu-mdev.rules
	[ -e "$rules" ] || continue
	grep -q 'TEST!="/etc/pve-gpu-utils/mdev-autostart"' "$rules" || fail 'the rule and the switch'
	# shellcheck disable=SC2016 # udev's word, not the shell's
	grep -q 'systemctl --no-block start pve-gpu-mdev@$kernel.service' "$rules" || fail 'the rule and the unit'
done
for unit in "$src/../utils/pve-gpu-mdev@.service.in" /usr/lib/systemd/system/pve-gpu-mdev@.service; do
	[ -e "$unit" ] || continue
	grep -qx 'ConditionPathExists=/etc/pve-gpu-utils/mdev-autostart' "$unit" || fail 'the unit and the switch'
	grep -q '/mdev-mk --start-auto --wait=30 %i$' "$unit" || fail 'the unit and mdev-mk'
done
exit "$failed"
