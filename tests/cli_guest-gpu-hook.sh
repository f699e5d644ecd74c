#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-gpu-hook: every phase, with a pci-rescan and a vfio-bind that only write down
# how they were called and end as they are told
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
hook=$(command -v guest-gpu-hook || echo /usr/libexec/pve-gpu-utils/guest-gpu-hook)
report=$(command -v guest-report || echo /usr/libexec/pve-gpu-utils/guest-report)

# The hook as shipped, but for the places where it finds its programs.
mkdir "$dir/bin"
sed "s|^PATH=.*|PATH=$dir/bin:/usr/sbin:/usr/bin:/sbin:/bin|" "$hook" >"$dir/bin/guest-gpu-hook"
ln -s "$report" "$dir/bin/guest-report"
for program in pci-rescan vfio-bind; do
	cat >"$dir/bin/$program" <<-END
		#!/bin/sh
		echo "$program \$*" >>"$dir/calls"
		for last; do :; done
		[ ! -e "$dir/rc-$program-\$last" ] || exit "\$(cat "$dir/rc-$program-\$last")"
		exit "\$(cat "$dir/rc-$program")"
	END
done
chmod 755 "$dir/bin/"*

host() {
	about=$1
	rm -rf "$dir/r" "$dir"/rc-*
	r=$dir/r
	fixture guest-hook "$r"
	printf '/usr/bin/kvm\0-id\000105\0-pidfile\0/var/run/qemu-server/105.pid\0-device\0vfio-pci,host=0000:05:00.0,id=hostpci0\0' \
		>"$r/proc/4242/cmdline"
	printf 'gpu\n\tmap id=10de:2204,iommugroup=15,node=pve1,path=0000:02:00.0\n\tmap id=10de:2204,iommugroup=14,node=pve1,path=0000:01:00.0\n\n' \
		>"$r/etc/pve/mapping/pci.cfg"
	for program in pci-rescan vfio-bind; do
		echo 0 >"$dir/rc-$program"
	done
	notes=$r/run/pve-gpu-utils/guests
}

conf() {
	printf '[rescan]\n%s\n' "$1" >"$r/etc/pve-gpu-utils/pve-gpu-utils.conf"
}

set_lock() {
	echo "lock: backup" >>"$r/etc/pve/local/qemu-server/$1.conf"
	printf %s "UPID:pve1:0000${2:-1111}:00001234:65000000:vzdump::root@pam:" >"$r/run/vzdump.pid"
}

unlock() {
	sed -i '/^lock:/d' "$r/etc/pve/local/qemu-server/$1.conf"
	rm -f "$r/run/vzdump.pid"
}

# hook EXPECTED-CODE VMID PHASE: as PVE calls it
hook() {
	: >"$dir/calls"
	rc=0
	env -i LC_ALL=C PVE_MIGRATED_FROM= PVE_GPU_ROOT="$r" "$dir/bin/guest-gpu-hook" "$2" "$3" \
		>"$dir/out" 2>&1 </dev/null || rc=$?
	[ "$rc" -eq "$1" ] || fail "$2 $3: exit code $rc, not $1: $(cat "$dir/out")"
}

calls() {
	[ "$(cat "$dir/calls")" = "$1" ] || fail "called: $(cat "$dir/calls"), not: $1 (said: $(cat "$dir/out"))"
}

silent() {
	[ ! -s "$dir/out" ] || fail "says $(cat "$dir/out")"
}

# ---- pre-start: what is reset
host slot
hook 0 100 pre-start
calls 'pci-rescan --for 100 0000:01:00.0 0000:01:00.1 0000:01:00.2'
silent
[ ! -e "$notes" ] || fail "a plain start leaves notes"

host mapping
hook 0 101 pre-start
calls 'pci-rescan --for 101 0000:02:00.0'
printf '0000:02:00.0 100 time:%s\n' $(($(date +%s) + 60)) >"$r/run/qemu-server/pci-id-reservations"
hook 0 101 pre-start
calls 'pci-rescan --for 101 0000:01:00.0 0000:01:00.1 0000:01:00.2'
printf '0000:02:00.0 101 time:%s\n' $(($(date +%s) + 60)) >"$r/run/qemu-server/pci-id-reservations"
hook 0 101 pre-start
calls 'pci-rescan --for 101 0000:02:00.0'

host several
echo 'hostpci3: 02:00.0;03:00.0' >>"$r/etc/pve/local/qemu-server/100.conf"
hook 0 100 pre-start
calls 'pci-rescan --for 100 0000:01:00.0 0000:01:00.1 0000:01:00.2
pci-rescan --for 100 0000:02:00.0'

for vmid in 102 103 104 200; do
	host "nothing of $vmid is to be reset"
	hook 0 "$vmid" pre-start
	calls ''
	silent
done

host physical-function
echo 'hostpci0: 41:00.0' >"$r/etc/pve/local/qemu-server/102.conf"
hook 0 102 pre-start
calls 'pci-rescan --for 102 0000:41:00.0'

host PVE-refuses
echo 'hostpci1: 0000:77:00.0' >>"$r/etc/pve/local/qemu-server/100.conf"
hook 0 100 pre-start
calls ''

# ---- pre-start: exit codes
for policy in start abort; do
	abort=0
	[ "$policy" = start ] || abort=1
	for code in 66 69 71 75 77 78 126 143; do
		host "$policy-$code"
		conf "on-failure = $policy"
		echo "$code" >"$dir/rc-pci-rescan"
		hook "$abort" 100 pre-start
		if [ "$policy" = abort ]; then said 'qemu/100 is not started .*on-failure'; else said 'started all the same'; fi
	done
	host "$policy-74"
	conf "on-failure = $policy"
	echo 74 >"$dir/rc-pci-rescan"
	hook 1 100 pre-start
	said '0000:01:00.0,0000:01:00.1,0000:01:00.2: did not come back'
done

host lost-second
echo 'hostpci3: 02:00.0' >>"$r/etc/pve/local/qemu-server/100.conf"
echo 69 >"$dir/rc-pci-rescan-0000:01:00.2"
echo 74 >"$dir/rc-pci-rescan-0000:02:00.0"
hook 1 100 pre-start
said '0000:01:00.2: cannot be reset'
said '0000:02:00.0: did not come back'

host bad-config
conf 'on-failure = perhaps'
echo 75 >"$dir/rc-pci-rescan"
hook 0 100 pre-start
said 'pve-gpu-utils.conf:2: on-failure: .perhaps. is not'
said 'in use, not reset'

# ---- pre-start: what an earlier pci-rescan lost comes first, and once only
lost() {
	mkdir -p "$r/run/pve-gpu-utils/rescan"
	{
		printf 'autoprobe\t1\n'
		for addr; do
			printf '%s\twhole\t10de:2204:0000:0000\t030000\t00\t%s\tvfio-pci\t14\t-\t-\t-\t-\t-\t-\t-\n' \
				"$addr" 0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0
			rm -rf "$r/sys/bus/pci/devices/$addr" "$r/sys/devices/pci0000:00/$addr"
		done
		echo "#end $#"
	} >"$r/run/pve-gpu-utils/rescan/$1"
}
host lost
lost 0000:01:00.0 0000:01:00.2
echo 'hostpci3: 02:00.0' >>"$r/etc/pve/local/qemu-server/100.conf"
hook 0 100 pre-start
calls 'pci-rescan --for 100 0000:01:00.0 0000:01:00.2
pci-rescan --for 100 0000:02:00.0'
hook 0 101 pre-start
calls 'pci-rescan --for 101 0000:01:00.0 0000:01:00.2'
hook 0 103 pre-start
calls ''
echo 74 >"$dir/rc-pci-rescan"
hook 1 100 pre-start
calls 'pci-rescan --for 100 0000:01:00.0 0000:01:00.2'

host no-guest
hook 0 300 pre-start
said 'stands aside'
calls ''

# ---- a backup starts a guest that is off, to read its disks: nothing
host backup-only
conf 'post-stop = host'
set_lock 100
for phase in pre-start post-start pre-stop post-stop; do
	hook 0 100 "$phase"
	calls ''
	silent
done
[ -z "$(ls "$notes")" ] || fail "notes left: $(ls "$notes")"

# PVE 8 comes to post-stop when the job has taken its lock back
host backup-only-late
conf 'post-stop = host'
set_lock 100
for phase in pre-start post-start pre-stop; do
	hook 0 100 "$phase"
done
unlock 100
hook 0 100 post-stop
calls ''
hook 0 100 pre-start
calls 'pci-rescan --for 100 0000:01:00.0 0000:01:00.1 0000:01:00.2'

# ---- a backup in mode stop shuts down a guest that runs, and starts it for good
host mode-stop
conf 'post-stop = host'
hook 0 105 post-start
[ "$(cat "$notes/105.gpus")" = 0000:05:00.0 ] || fail "noted: $(cat "$notes/105.gpus")"
set_lock 105
hook 0 105 pre-stop
rm "$r/run/qemu-server/105.pid"
hook 0 105 post-stop
calls ''
hook 0 105 pre-start
calls 'pci-rescan --for 105 0000:05:00.0'
echo 4242 >"$r/run/qemu-server/105.pid"
hook 0 105 post-start
unlock 105
hook 0 105 pre-stop
rm "$r/run/qemu-server/105.pid"
hook 0 105 post-stop
calls 'vfio-bind --one --to host 0000:05:00.0'
[ -z "$(ls "$notes")" ] || fail "notes left: $(ls "$notes")"

# What a job of before noted does not count for this one
host mode-stop-failed
set_lock 105
hook 0 105 pre-stop
rm "$r/run/qemu-server/105.pid"
unlock 105
set_lock 105 2222
hook 0 105 pre-start
calls ''

# ---- post-stop
host keep
hook 0 105 post-start
hook 0 105 post-stop
calls ''
silent

host not-known
conf 'post-stop = host'
rm "$r/run/qemu-server/105.pid"
hook 0 105 post-stop
calls ''
said 'not known'

host no-gpu
conf 'post-stop = host'
hook 0 104 post-start
hook 0 104 post-stop
calls ''
silent

host reboot
conf 'post-stop = host'
hook 0 105 post-start
: >"$r/run/qemu-server/105.reboot"
hook 0 105 post-stop
calls ''
rm "$r/run/qemu-server/105.reboot"
echo 75 >"$dir/rc-vfio-bind"
hook 0 105 post-stop
calls 'vfio-bind --one --to host 0000:05:00.0'
said 'not all of 0000:05:00.0 went back'

# Another VM has reserved it meanwhile; a reservation that is over does not count
for line in "106 time:$(($(date +%s) + 60)) taken" "106 pid:4711 taken" "105 time:$(($(date +%s) + 60)) free" \
	"106 time:$(($(date +%s) - 60)) free"; do
	host "reserved by $line"
	conf 'post-stop = host'
	hook 0 105 post-start
	printf '0000:04:00.0 106 pid:1\n0000:05:00.0 %s\n' "${line% *}" >"$r/run/qemu-server/pci-id-reservations"
	hook 0 105 post-stop
	case $line in
	*taken)
		calls ''
		said 'another VM has them by now'
		;;
	*) calls 'vfio-bind --one --to host 0000:05:00.0' ;;
	esac
done

# ---- other phases, wrong use
host other
hook 0 100 mid-flight
silent
hook 0 100 ''
silent
for id in '' 0 010 qemu/100 ../100; do
	hook 64 "$id" pre-start
	calls ''
done
exit "$failed"
