#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# hooks-report: what status, plan and example say of made-up hosts
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
report=$(command -v hooks-report || echo /usr/libexec/pve-gpu-utils/hooks-report)
tab=$(printf '\t')
stub=/etc/pve-gpu-utils/vzdump-hook

# host NAME: VM 100 runs with the card, 101 is off and wants it, all is enabled
host() {
	about=$1
	rm -rf "$dir/r"
	r=$dir/r
	fixture two-vms "$r"
	etc=$r/etc/pve/nodes/pve1
	printf '/usr/bin/kvm\0-id\000100\0-pidfile\0/var/run/qemu-server/100.pid\0-device\0vfio-pci,host=0000:01:00.0,id=hostpci0\0' \
		>"$r/proc/4242/cmdline"
	printf 'name: cad\nscsi0: local:vm-100-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' >"$etc/qemu-server/100.conf"
	printf 'name: lab\nscsi0: local:vm-101-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' >"$etc/qemu-server/101.conf"
	printf 'hostname: dns\nrootfs: local:200,size=4G\n' >"$etc/lxc/200.conf"
	printf 'vzdump: nightly\n\tschedule 02:00\n\tall 1\n\tmode snapshot\n' >"$r/etc/pve/jobs.cfg"
	printf 'script: %s\n' "$stub" >"$r/etc/vzdump.conf"
	mkdir -p "$r/etc/pve-gpu-utils/vzdump.d" "$r/etc/systemd/system/multi-user.target.wants" "$r/var/lib"
	cp "$src/../utils/vzdump-hook" "$r$stub"
	cp "$src/../utils/50-gpu" "$r/etc/pve-gpu-utils/vzdump.d/50-gpu"
	chmod 755 "$r$stub" "$r/etc/pve-gpu-utils/vzdump.d" "$r/etc/pve-gpu-utils/vzdump.d/50-gpu"
	ln -s nowhere "$r/etc/systemd/system/multi-user.target.wants/pve-gpu-recover.service"
}

conf() {
	printf '[backup]\n%s\n' "$1" >"$r/etc/pve-gpu-utils/pve-gpu-utils.conf"
}

# report EXPECTED-CODE ARGUMENTS
report() {
	want=$1
	shift
	expect "$want" "$report" -R "$r" "$@"
}

# broken CODE PATTERN: status has this line
broken() {
	report "$1" status
	said "$2"
}

# ---- status
host well
report 0 status
[ "$(cut -f 1 "$dir/out" | sort -u)" = ok ] || fail "not all is well: $(cat "$dir/out")"
said "^ok${tab}job${tab}nightly (02:00, snapshot) backs up 3 guests; others stop 1 time"
report 0 status -j
said '^{"level":"ok","topic":"config",.*"why":null}$'
report 0 status -H -o topic,level
[ "$(head -n 1 "$dir/out")" = "#topic${tab}level" ] || fail "-H -o: $(head -n 1 "$dir/out")"

host guest-hook
printf 'hookscript: local:snippets/pve-gpu-hook++my.pl\n' >>"$etc/qemu-server/101.conf"
printf 'hookscript: local:snippets/pve-gpu-hooked\n' >>"$etc/qemu-server/100.conf"
broken 1 "^fail${tab}guest${tab}qemu/101 cannot start: its hookscript local:snippets/pve-gpu-hook++my.pl: No such file or directory${tab}pve-gpu-hooks guest 101 enable"
mkdir -p "$r/var/lib/vz/snippets"
cp "$src/../utils/guest-hook" "$r/var/lib/vz/snippets/pve-gpu-hook++my.pl"
printf '#!/bin/sh\n' >"$r/var/lib/vz/snippets/pve-gpu-hooked"
broken 1 "^fail${tab}guest${tab}qemu/100 cannot start: .*: not executable${tab}put it back"
chmod 755 "$r/var/lib/vz/snippets/pve-gpu-hooked"
report 0 status
said "^ok${tab}guest${tab}qemu/101 calls the GPU hook (local:snippets/pve-gpu-hook++my.pl)"
[ "$(grep -c 'GPU hook' "$dir/out")" -eq 1 ] || fail "who calls the GPU hook: $(cat "$dir/out")"
printf 'hookscript: gone:snippets/x\n' >>"$etc/lxc/200.conf"
broken 1 "^fail${tab}guest${tab}lxc/200 cannot start: its hookscript gone:snippets/x: no such storage"

host not-enabled
: >"$r/etc/vzdump.conf"
broken 1 "^fail${tab}hook${tab}vzdump calls no hook script${tab}pve-gpu-hooks enable"
rm "$r/etc/vzdump.conf"
broken 1 "^fail${tab}hook${tab}vzdump calls no hook script"
host another-script
printf 'script: %s\nscript: /usr/local/bin/x\nhookscript: /y\n' "$stub" >"$r/etc/vzdump.conf"
broken 1 "^fail${tab}hook${tab}vzdump calls /usr/local/bin/x instead"
said "^warn${tab}hook${tab}hookscript: "
host stub-missing
rm "$r$stub"
broken 1 "^fail${tab}hook${tab}$stub: No such file"
host stub-not-executable
chmod 644 "$r$stub"
broken 1 "^fail${tab}hook${tab}$stub: not executable"
host entry-missing
rm "$r/etc/pve-gpu-utils/vzdump.d/50-gpu"
broken 1 "^fail${tab}hook${tab}.*/50-gpu: No such file"
host entry-of-others
chmod 775 "$r/etc/pve-gpu-utils/vzdump.d/50-gpu"
broken 1 "^fail${tab}hook${tab}/etc/pve-gpu-utils/vzdump.d/50-gpu others may write to it.*${tab}the chain runs without"
host chain-of-others
chmod 777 "$r/etc/pve-gpu-utils/vzdump.d"
broken 1 "^fail${tab}hook${tab}/etc/pve-gpu-utils/vzdump.d/50-gpu is in a folder that others may write to"
host own-script
printf '\tscript /usr/local/bin/own\n' >>"$r/etc/pve/jobs.cfg"
broken 1 "^fail${tab}job${tab}nightly has a script of its own: /usr/local/bin/own"
host own-script-ours
printf '\tscript %s\n' "$stub" >>"$r/etc/pve/jobs.cfg"
report 0 status
host disabled
printf '\tenabled 0\n' >>"$r/etc/pve/jobs.cfg"
broken 0 "^warn${tab}job${tab}nightly is disabled"
host other-node
printf '\tnode pve2\n' >>"$r/etc/pve/jobs.cfg"
broken 0 "^warn${tab}job${tab}no backup job for this node"
host no-pool
printf 'vzdump: p\n\tpool gpus\n' >"$r/etc/pve/jobs.cfg"
broken 0 "^warn${tab}job${tab}p: there is no pool gpus"
host never-stop
conf 'never-stop = 100'
broken 1 "^fail${tab}guest${tab}the backup of qemu/101 will fail${tab}.*qemu/100.*never-stop"
said "^fail${tab}job${tab}nightly (02:00, snapshot): 1 of 3 backups will fail"
host ha-refuse
printf 'vm: 100\n\tstate started\n\n' >"$r/etc/pve/ha/resources.cfg"
broken 1 "^fail${tab}guest${tab}the backup of qemu/101 will fail${tab}.*qemu/100.*HA"
conf 'ha = stop'
report 0 status
host ha-stop-mode
printf 'vm: 100\n\tstate started\n\n' >"$r/etc/pve/ha/resources.cfg"
conf 'ha = stop'
sed -i 's/snapshot/stop/' "$r/etc/pve/jobs.cfg"
broken 1 "^fail${tab}guest${tab}the backup of qemu/100 will fail${tab}managed by HA: vzdump refuses mode stop"
report 0 plan
said 'qemu/100 .*FAILS: managed by HA'
host locked
echo 'lock: migrate' >>"$etc/qemu-server/101.conf"
broken 0 "^warn${tab}guest${tab}qemu/101 is locked (migrate)"
host bad-value
echo 'hostpci1: nonsense' >>"$etc/qemu-server/101.conf"
broken 0 "^warn${tab}guest${tab}PVE drops or refuses"
host bad-conf
conf 'never-stopp = 100'
broken 1 "^fail${tab}config${tab}.*pve-gpu-utils.conf:2: .*never-stopp"
host no-service
rm "$r/etc/systemd/system/multi-user.target.wants/pve-gpu-recover.service"
broken 1 "^fail${tab}boot${tab}pve-gpu-recover.service is not enabled"
conf 'boot-restart = no'
broken 0 "^ok${tab}boot${tab}boot-restart = no"
host damaged-journal
mkdir -p "$r/var/lib/pve-gpu-utils"
printf '#boot_id\t01234567-89ab-cdef-0123-456789abcdef\n' >"$r/var/lib/pve-gpu-utils/journal"
broken 1 "^fail${tab}journal${tab}.*journal: damaged"
host left-over-journal
PVE_GPU_ROOT=$r vm-state-save --journal qemu/100 conflict:qemu/101
broken 1 "^fail${tab}journal${tab}qemu/100 was stopped by a backup job that is dead${tab}vm-state-restore --recover"
host unreadable-jobs
rm "$r/etc/pve/jobs.cfg"
mkdir "$r/etc/pve/jobs.cfg"
broken 1 "^fail${tab}job${tab}.*jobs.cfg: Is a directory"
report 71 plan

# ---- plan
host plan
printf 'vzdump: again\n\tschedule 04:00\n\tvmid 101\n' >>"$r/etc/pve/jobs.cfg"
rm "$r/etc/vzdump.conf"
report 0 plan
[ "$(grep -c '^$' "$dir/out")" -eq 1 ] || fail "an empty line between two jobs, and no other: $(cat "$dir/out")"
grep -q '^pve-gpu-hooks: the hook is not enabled' "$dir/err" || fail "who says so: $(cat "$dir/err")"
host plan
report 0 plan
cat >"$dir/want" <<'END'
nightly: mode snapshot
02:00    qemu/100     is backed up as it runs
02:00    qemu/101     is started for its backup; stops qemu/100 (function 0000:01:00.0); starts qemu/100 again after it
02:00    lxc/200      is backed up as it lies
3 of 3 backed up, 1 interruption, about 11 min of downtime if a backup takes 10
END
diff -u "$dir/want" "$dir/out" || fail "plan"
[ ! -s "$dir/err" ] || fail "plan says $(cat "$dir/err")"
report 0 plan -j
cat >"$dir/want" <<'END'
{"job":"nightly","schedule":"02:00","guest":"qemu/100","way":"running","backup":"made","stops":null,"starts":null,"why":null}
{"job":"nightly","schedule":"02:00","guest":"qemu/101","way":"started","backup":"made","stops":"qemu/100","starts":"qemu/100","why":null}
{"job":"nightly","schedule":"02:00","guest":"lxc/200","way":"stopped","backup":"made","stops":null,"starts":null,"why":null}
END
diff -u "$dir/want" "$dir/out" || fail "plan -j"
sed -i 's/snapshot/stop/' "$r/etc/pve/jobs.cfg"
report 0 plan
said 'qemu/100 .*is shut down and started again by vzdump itself$'
said 'qemu/101 .*; stops qemu/100 (function 0000:01:00.0); starts qemu/100 again'
report 0 status
said 'others stop 1 time'
conf 'never-stop = 100'
report 0 plan
said 'qemu/101 .*FAILS: .*never-stop'
said '2 of 3 backed up'
host plan-own-script
printf '\tscript /usr/local/bin/own\n' >>"$r/etc/pve/jobs.cfg"
report 0 plan
said 'without the hook: it has a script of its own, /usr/local/bin/own'
said 'qemu/101 .*FAILS'
host plan-not-enabled
: >"$r/etc/vzdump.conf"
report 0 plan
grep -q 'not enabled' "$dir/err" || fail "plan does not say that the hook is not enabled"
printf '\tenabled 0\n' >>"$r/etc/pve/jobs.cfg"
report 0 plan
said 'no backup job is enabled for this node'
host plan-other-guests
printf 'vzdump: one\n\tschedule sat 18:15\n\tvmid 200,999\n' >"$r/etc/pve/jobs.cfg"
report 0 plan
said '^sat 18:15 lxc/200 '
! grep -q 'qemu/' "$dir/out" || fail "plan of guests not selected"

# ---- example: a configuration that is well, and empty of effect
host example
printf 'vm: 101\n\tstate started\n\n' >"$r/etc/pve/ha/resources.cfg"
report 0 example
said '^#   0000:01:00.0  10de:2204  driver vfio-pci: qemu/100 (running) qemu/101$'
said 'HA manages.*: 101$'
cp "$dir/out" "$r/etc/pve-gpu-utils/pve-gpu-utils.conf"
rm "$r/etc/pve/ha/resources.cfg"
report 0 status
cp "$src/../examples/pve-gpu-utils.conf" "$r/etc/pve-gpu-utils/pve-gpu-utils.conf"
report 0 status
# Every key that is shown is one: without the comment signs it is read as well.
for file in "$dir/example" "$src/../examples/pve-gpu-utils.conf"; do
	[ -e "$file" ] || report 0 example
	[ -e "$file" ] || cp "$dir/out" "$file"
	sed 's/^#\([a-z-]* =\)/\1/' "$file" >"$r/etc/pve-gpu-utils/pve-gpu-utils.conf"
	[ "$(grep -c '^[a-z-]* =' "$r/etc/pve-gpu-utils/pve-gpu-utils.conf")" -eq 15 ] || fail "$file: not 15 keys"
	report 0 example
	report 0 plan
	"$report" -R "$r" status | grep -q "^ok${tab}config" || fail "$file: keys are wrong"
done

# ---- chosen: what PVE would pass to a VM, for the hook
host chosen
report 0 chosen qemu/101
[ "$(cat "$dir/out")" = 0000:01:00.0 ] || fail "chosen $(cat "$dir/out")"
report 0 chosen qemu/555
[ ! -s "$dir/out" ] || fail "a guest without a GPU chooses $(cat "$dir/out")"
report 64 chosen
report 64 chosen 101x
report 64 status qemu/101

# ---- wrong use, nothing there
host usage
for args in '' 'status plan' frobnicate '-j -H status' '-o nothing plan' --frob; do
	# shellcheck disable=SC2086 # arguments
	report 64 $args
done
report 0 --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "help is longer than 24 lines"
rm -rf "$r/etc/pve"
report 66 status
report 66 plan

exit "$failed"
