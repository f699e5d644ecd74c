#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What others may influence: names in configs and of processes that would command a
# terminal or a shell, files and folders that others may write to, links in the way,
# programs of the same name in PATH.
# shellcheck disable=SC2016 # what a shell would expand is to stay as it is
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
LC_ALL=C.UTF-8
call() { timeout 60 "$@" </dev/null; }
says() { grep -qF -e "$1" "$dir/out" "$dir/err" || { fail "not said: $1"; cat "$dir/out" "$dir/err" >&2; }; }
# Neither a control character nor U+009B, in what was printed.
harmless() { # WHAT
	! LC_ALL=C tr -d '\n\t' <"$dir/out" | LC_ALL=C grep -q '[[:cntrl:]]' || fail "$1: a control character in the output"
	! LC_ALL=C tr -d '\n\t' <"$dir/err" | LC_ALL=C grep -q '[[:cntrl:]]' || fail "$1: a control character in the messages"
	! cat "$dir/out" "$dir/err" | LC_ALL=C grep -q "$(printf '\302\233')" || fail "$1: U+009B"
}

# --- names ------------------------------------------------------------------

evil=$(printf 'a\033[31mb\007\302\233Jc$(touch "%s/pwned")`id`;x' "$dir")
fixture two-vms
etc=$root/etc/pve/nodes/pve1
conf() { # VMID LINE...
	{
		printf '#%s\n' "$evil"
		printf 'name: %s\n' "$evil"
		shift
		printf '%s\n' "$@"
	} >"$etc/qemu-server/$vmid.conf"
}
for vmid in 100 101; do
	conf "$vmid" 'scsi0: local:vm-disk,size=8G' 'hostpci0: 0000:01:00.0' \
		"hostpci1: mapping=$evil" "lock: $evil" "hookscript: local:snippets/$evil" "hostpci99: $evil"
done
printf 'hostname: %s\ndev0: /dev/nvidia0,mode=%s\nlxc.mount.entry: /dev/dri/%s dev/dri none bind 0 0\n' "$evil" "$evil" "$evil" \
	>"$etc/lxc/200.conf"
printf 'vzdump: %s\n\tschedule %s\n\tall 1\n\tmode snapshot\n\tscript %s\n' "$evil" "$evil" "$evil" >"$root/etc/pve/jobs.cfg"
mkdir -p "$root/etc/pve/mapping"
printf '%s\n\tmap node=%s,path=%s,id=%s\n' "$evil" "$evil" "$evil" "$evil" >"$root/etc/pve/mapping/pci.cfg"
mkdir -p "$root/proc/4711/fd" "$root/dev"
printf '%s\n' "$evil" | cut -c 1-15 >"$root/proc/4711/comm"
printf '0::/system.slice/%s.service\n' "$evil" >"$root/proc/4711/cgroup"
ln -s /dev/nvidia0 "$root/proc/4711/fd/3"
libexec=$(dirname "$(command -v vm-state-save)")
[ -x "$libexec/hooks-report" ] || libexec=/usr/libexec/pve-gpu-utils

# any WHAT COMMAND...: whatever it exits with, what it prints is harmless
any() {
	what=$1
	shift
	rc=0
	timeout 60 "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	[ "$rc" -lt 99 ] || fail "$what exited $rc"
	harmless "$what"
	[ -s "$dir/out" ] || [ -s "$dir/err" ] || fail "$what says nothing"
}
any vm-state-save vm-state-save -R "$root" -
says '\x1b[31mb\x07\xc2\x9bJc$(touch'
any 'vm-state-save --json' vm-state-save -R "$root" -j -
any pve-hostpci-ls pve-hostpci-ls -R "$root"
any 'pve-hostpci-ls --json' pve-hostpci-ls -R "$root" -j
any lxc-gpu-ls lxc-gpu-ls -R "$root"
any gpu-procs gpu-procs -R "$root"
any 'gpu-ls --tree' gpu-ls -R "$root" --tree
any 'hooks-report status' "$libexec/hooks-report" -R "$root" status
any 'hooks-report plan' "$libexec/hooks-report" -R "$root" plan
any 'hooks-report example' "$libexec/hooks-report" -R "$root" example
any gpu-doctor gpu-doctor -R "$root"
any 'guest-report facts' "$libexec/guest-report" -R "$root" facts 101
printf '/usr/bin/kvm\0-id\000100\0-pidfile\0/var/run/qemu-server/100.pid\0' >"$root/proc/4242/cmdline"
vm-state-save -q -R "$root"
vm-state-save -R "$root" --journal qemu/100 conflict:qemu/101 || fail "journal"
rm "$root/run/qemu-server/100.pid"
any 'vm-state-restore -n' vm-state-restore -R "$root" -n
printf '%s\t%s\n' "$evil" x >"$dir/records"
any gpu-conflicts gpu-conflicts -R "$root" "$dir/records"
any 'an operand' vm-state-save -R "$root" - "$evil"
any 'an option' mdev-ls -R "$root" -o "$evil"
if command -v script >/dev/null; then
	# On a terminal it is a table, drawn by another library.
	rc=0
	script -qec "vm-state-save -R '$root' -" "$dir/typescript" >/dev/null 2>&1 || rc=$?
	sed 1d "$dir/typescript" | tr -d '\r' | grep -v '^Script done' >"$dir/out"
	: >"$dir/err"
	grep -qF '$(touch' "$dir/out" || fail "no table: $(cat "$dir/out")"
	harmless "a table"
fi
# What runs in a container is shown by a script.
at=$(command -v lxc-nvidia-exec || echo "$libexec/lxc-nvidia-exec")
printf '%s\n\tok \303\244\n' "$evil" >"$dir/said"
sh -c "$(sed -n '/^show_output()/,/^}/p' "$at")"'; show_output "$1"' sh "$dir/said" >"$dir/out" 2>"$dir/err"
says "$(printf 'ok \303\244')"
harmless lxc-nvidia-exec
[ ! -e "$dir/pwned" ] || fail "a name reached a shell"

# --- files and folders of others ---------------------------------------------

mkdir -p "$root/etc/pve-gpu-utils"
config=$root/etc/pve-gpu-utils/pve-gpu-utils.conf
printf '[backup]\nnever-stop = 101\n' >"$config"
expect 0 "$libexec/hooks-report" -R "$root" example
chmod 666 "$config"
any 'a config that others may write to' "$libexec/hooks-report" -R "$root" status
says 'others may write to it'
expect 78 gpu-conflicts -R "$root" --for qemu/101 /dev/null
chmod 644 "$config"
chmod 777 "${config%/*}"
expect 78 gpu-conflicts -R "$root" --for qemu/101 /dev/null
says 'in a folder that others may write to'
chmod 755 "${config%/*}"
expect 0 gpu-conflicts -R "$root" --for qemu/101 /dev/null
rm "$config"

state=$root/var/lib/pve-gpu-utils
chmod 777 "$state"
expect 0 vm-state-save -q -R "$root"
[ "$(stat -c %a "$state")" = 700 ] || fail "the state folder stays open to others"
[ "$(stat -c %a "$state/state")" = 600 ] || fail "mode of the state file"
mv "$state" "$dir/elsewhere"
ln -s "$dir/elsewhere" "$state"
rm "$dir/elsewhere/state"
expect 74 vm-state-save -q -R "$root"
[ ! -e "$dir/elsewhere/state" ] || fail "a link was followed to $dir/elsewhere"
rm "$state"
mv "$dir/elsewhere" "$state"
# A link where the file goes is replaced, where a lock goes refused.
echo mine >"$dir/victim"
ln -sf "$dir/victim" "$state/state"
expect 0 vm-state-save -q -R "$root"
[ "$(cat "$dir/victim")" = mine ] && [ ! -L "$state/state" ] || fail "written through a link"
rm -f "$state/journal.lock"
ln -s "$dir/victim" "$state/journal.lock"
rc=0
vm-state-save -R "$root" --journal qemu/101 conflict:qemu/100 2>"$dir/err" || rc=$?
[ "$rc" -ne 0 ] || fail "a lock that is a link is taken"
[ "$(cat "$dir/victim")" = mine ] || fail "a lock was written through a link"
rm -f "$state/journal.lock"
if [ "$(id -u)" -eq 0 ]; then
	chown 65534 "$state"
	expect 74 vm-state-save -q -R "$root"
	chown 0 "$state"
fi

# --- programs in PATH, scripts of others --------------------------------------

mkdir "$dir/bin"
for name in qm pct awk sed find cat mkdir timeout logger systemctl systemd-run flock setsid rm mv \
	mktemp pve-hostpci-ls hooks-report guest-report vm-state-save id cut grep; do
	printf '#!/bin/sh\necho %s >>"%s/taken"\n' "$name" "$dir" >"$dir/bin/$name"
	chmod 755 "$dir/bin/$name"
done
with_path() {
	rc=0
	env PATH="$dir/bin:$PATH" PVE_GPU_ROOT="$root" "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	[ ! -e "$dir/taken" ] || { fail "$* took from PATH: $(sort -u "$dir/taken" | tr '\n' ' ')"; rm -f "$dir/taken"; }
}
for script in vzdump-gpu-hook guest-gpu-hook pve-gpu-hooks vzdump-hook-chain; do
	at=$(command -v "$script" || echo "$libexec/$script")
	case $script in
	guest-gpu-hook) with_path "$at" 101 pre-start ;;
	pve-gpu-hooks) with_path "$at" status ;;
	*) with_path "$at" job-abort ;;
	esac
done
with_path "$(command -v vm-state-restore)" -n

chain=$(command -v vzdump-hook-chain || echo "$libexec/vzdump-hook-chain")
hooks=$root/etc/pve-gpu-utils/vzdump.d
mkdir -p "$hooks"
printf '#!/bin/sh\necho ran >>"%s/ran"\n' "$dir" >"$hooks/10-mine"
chmod 755 "$hooks/10-mine"
run_chain() {
	rm -f "$dir/ran"
	rc=0
	PVE_GPU_ROOT=$root "$chain" job-start >"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -eq 0 ] || fail "the chain exited $rc"
}
run_chain
[ -e "$dir/ran" ] || fail "the chain does not run a script of root's"
chmod 775 "$hooks/10-mine"
run_chain
[ ! -e "$dir/ran" ] || fail "a script that others may write to was run"
chmod 755 "$hooks/10-mine"
chmod 777 "$hooks"
run_chain
[ ! -e "$dir/ran" ] || fail "a script in a folder that others may write to was run"
says 'group or others may write to it'
[ "$failed" -eq 0 ]
