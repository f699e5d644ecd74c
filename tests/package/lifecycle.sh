#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lifecycle.sh DIR - install, enable, upgrade, remove and purge DIR/*.deb, in a root made for it
#
# Changes the system that it runs in: only for a throw-away root (root.sh).
# shellcheck disable=SC2016,SC2059 # for inner shells; the escapes are meant
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
DEBIAN_FRONTEND=noninteractive
export PATH DEBIAN_FRONTEND

dir=$1
stub=/etc/pve-gpu-utils/vzdump-hook
state=/var/lib/pve-gpu-utils
out=$(mktemp)
passes=0
failures=0

ok() { # TEXT COMMAND...
	text=$1
	shift
	if "$@" >"$out.cmd" 2>&1; then
		passes=$((passes + 1))
		echo "ok   $text"
	else
		failures=$((failures + 1))
		echo "FAIL $text"
		sed 's/^/       /' "$out.cmd"
		[ ! -s "$out" ] || sed 's/^/       dpkg: /' "$out"
	fi
}
not() {
	! "$@"
}
said() {
	grep -q -- "$1" "$out"
}
is() { # FILE TEXT
	printf "$2" | diff -u - "$1"
}
pkg() { # apt-get's arguments; its words are kept for said()
	apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >"$out" 2>&1
}
installed() {
	dpkg -L pve-gpu-utils cuda-ckpt | sort -u
}
# As vzdump calls it: nothing in the environment.
hook() {
	env -i "$stub" "$@" </dev/null
}

if [ -e /etc/pve ] || command -v pveversion >/dev/null; then
	echo "lifecycle.sh: not on a Proxmox VE host" >&2
	exit 69
fi
ok "lists of packages" pkg update
# Without it enable says that there is no Proxmox VE here.
mkdir /etc/pve

# --- install
ok "install with apt" pkg install --no-install-recommends "$dir"/pve-gpu-utils_*.deb "$dir"/cuda-ckpt_*.deb
ok "nothing said by the maintainer scripts" not said '^pve-gpu-utils: '
ok "no stub yet" not test -e $stub
ok "no state yet" not test -e $state
ok "no vzdump.conf made" not test -e /etc/vzdump.conf
ok "recovery unit is there" sh -c 'ls /lib/systemd/system/pve-gpu-recover.service'
ok "the nodes' unit is there, not enabled" sh -c 'ls /lib/systemd/system/pve-gpu-nodes.service &&
	! find /etc/systemd -name pve-gpu-nodes.service | grep .'
ok "recovery unit is not enabled" sh -c '! find /etc/systemd -name pve-gpu-recover.service | grep .'
ok "no vGPU is made at boot yet" sh -c 'ls /lib/udev/rules.d/60-pve-gpu-mdev.rules &&
	! test -e /etc/pve-gpu-utils/mdev-autostart'
ok "the only file in /etc besides completions is the chain's hook" \
	sh -c '[ "$(dpkg-query -W -f "\${Conffiles}\n" pve-gpu-utils cuda-ckpt | sed "/^$/d" | cut -d " " -f 2)" = /etc/pve-gpu-utils/vzdump.d/50-gpu ]'

programs=$(installed | grep -E '^/usr/s?bin/.')
ok "has programs" test -n "$programs"
for program in $programs; do
	name=${program##*/}
	# Two have codes of their own; one leaves it to the runtime, which is not there.
	case $name in
	cuda-runc) wrong=127 ;;
	lxc-gpu-mount | lxc-nvidia-setup) wrong=2 ;;
	*) wrong=64 ;;
	esac
	ok "$name --help, --version and wrong use" sh -c '
		"$1" --help | grep -q "^Usage:" && "$1" --version | grep -q "(pve-gpu-utils) [0-9]" &&
		rc=0 && { "$1" --no-such-option >/dev/null 2>&1 || rc=$?; } && [ "$rc" -eq "$2" ]' sh "$program" "$wrong"
	ok "$name has a manual page" sh -c "dpkg -L pve-gpu-utils cuda-ckpt | grep -q '/man[1-8]/$name\.[1-8]\.gz\$'"
	ok "$name has a completion" grep -qw -- "$name" "/usr/share/bash-completion/completions/$name"
done
ok "pve-gpu-utils(7) and pve-gpu-utils.conf(5)" \
	sh -c 'installed=$(dpkg -L pve-gpu-utils) && echo "$installed" | grep -q man7/pve-gpu-utils.7 && echo "$installed" | grep -q man5/pve-gpu-utils.conf.5'

# --- enable, remove, purge
former='# backups\nstorage: local\nscript: /usr/local/bin/my-hook --x\nmode: snapshot\n'
printf '#!/bin/sh\necho "my-hook $1" >>/tmp/my-hook.log\n' >/usr/local/bin/my-hook
chmod 755 /usr/local/bin/my-hook

printf "$former" >/etc/vzdump.conf
chmod 640 /etc/vzdump.conf
ok "enable refuses another script" not pve-gpu-hooks enable
ok "enable --replace" pve-gpu-hooks enable --replace
ok "vzdump.conf names the stub" grep -q "^script: $stub\$" /etc/vzdump.conf
ok "the stub runs, job-init" hook job-init
pve-gpu-hooks disable >/dev/null 2>&1
cp /etc/vzdump.conf /tmp/after-disable
ok "disable: vzdump.conf is as it was" is /etc/vzdump.conf "$former"
pve-gpu-hooks enable --replace >/dev/null 2>&1

ok "upgrade keeps it enabled" sh -c 'apt-get -q -y install --reinstall --no-install-recommends "$@"' sh "$dir"/pve-gpu-utils_*.deb
ok "after the upgrade vzdump.conf names the stub" grep -q "^script: $stub\$" /etc/vzdump.conf
mkdir -p /etc/pve/lxc
printf 'hostname: a\ndev0: /dev/nvidia-uvm,mode=0666\n' >/etc/pve/lxc/200.conf
printf 'hostname: b\n[before]\ndev0: /dev/nvidia-uvm\n' >/etc/pve/lxc/201.conf
ok "remove" pkg remove pve-gpu-utils
ok "remove names containers whose nodes nobody makes" said 'containers will not start: 200 *$'
rm -r /etc/pve/lxc
ok "remove says that backups go on without the hook" said 'backups go on without the hook'
ok "remove leaves the stub" test -x $stub
for phase in job-init job-start job-end job-abort; do
	ok "the stub alone: $phase ends with 0" hook $phase
done
for phase in backup-start pre-stop pre-restart post-restart backup-end backup-abort log-end; do
	ok "the stub alone: $phase ends with 0" hook $phase snapshot 100
done
ok "purge" pkg purge pve-gpu-utils
ok "purge: vzdump.conf as disable leaves it" cmp /etc/vzdump.conf /tmp/after-disable
ok "purge: its mode is kept" sh -c '[ "$(stat -c %a /etc/vzdump.conf)" = 640 ]'
ok "purge: /etc/pve-gpu-utils is gone" not test -e /etc/pve-gpu-utils
ok "purge: the state is gone" not test -e $state

install_again() {
	rm -rf $state /etc/pve-gpu-utils
	pkg install --no-install-recommends -o Dpkg::Options::=--force-confmiss "$dir"/pve-gpu-utils_*.deb
}
# What purge makes of vzdump.conf is what disable makes of it.
compare() { # NAME CONTENT OPTION
	ok "$1: install" install_again
	rm -f /etc/vzdump.conf
	[ -z "$2" ] || printf "$2" >/etc/vzdump.conf
	pve-gpu-hooks enable ${3:+"$3"} >/dev/null 2>&1
	[ -z "${4:-}" ] || sh -c "$4"
	cp /etc/vzdump.conf /tmp/enabled
	pve-gpu-hooks disable >/dev/null 2>&1
	rm -f /tmp/after-disable
	[ ! -e /etc/vzdump.conf ] || cp /etc/vzdump.conf /tmp/after-disable
	# The state that enable made has to be there again for the purge.
	rm -f /etc/vzdump.conf
	[ -z "$2" ] || printf "$2" >/etc/vzdump.conf
	pve-gpu-hooks enable ${3:+"$3"} >/dev/null 2>&1
	cp /tmp/enabled /etc/vzdump.conf
	ok "$1: purge" pkg purge pve-gpu-utils
	if [ -e /tmp/after-disable ]; then
		ok "$1: vzdump.conf as disable leaves it" cmp /etc/vzdump.conf /tmp/after-disable
	else
		ok "$1: no vzdump.conf, as disable leaves it" not test -e /etc/vzdump.conf
	fi
	ok "$1: nothing else left" not test -e /etc/pve-gpu-utils -o -e $state
}
compare "chained" "$former" --chain
compare "no vzdump.conf" '' ''
compare "no final newline" 'storage: local' ''
compare "script in the last line, no newline" 'storage: local\nscript: /usr/local/bin/my-hook' --replace
compare "edited since" "$former" --replace 'echo "bwlimit: 1000" >>/etc/vzdump.conf'
compare "our comments taken out" "$former" --replace 'sed -i "/^#/d" /etc/vzdump.conf'
compare "line taken out by hand" "$former" --replace 'sed -i "/vzdump-hook/d" /etc/vzdump.conf'

# --- purge at bad moments
install_again
rm -f /etc/vzdump.conf
pve-gpu-hooks enable >/dev/null 2>&1
mkdir -p /run
(
	flock 9
	exec sleep 1000
) 9>/run/vzdump.lock &
holder=$!
ok "a job has its lock" timeout 60 sh -c 'while flock -n /run/vzdump.lock true; do sleep 0.1; done'
ok "purge during a job" pkg purge pve-gpu-utils
ok "during a job: says so" said 'a backup job is running'
ok "during a job: the stub stays" test -x $stub
ok "during a job: the stub ends with 0" hook log-end snapshot 100
ok "during a job: the next one does not call it" not grep -q "$stub" /etc/vzdump.conf
kill "$holder"
rm -f /run/vzdump.lock
rm -rf /etc/pve-gpu-utils

install_again
pve-gpu-hooks enable >/dev/null 2>&1
printf 'vzdump: backup-1\n\tschedule 21:00\n\tscript %s\n' $stub >/etc/pve/jobs.cfg
ok "purge with a job that names the stub" pkg purge pve-gpu-utils
ok "job's own script: says so" said 'names it'
ok "job's own script: the stub stays" test -x $stub
rm -rf /etc/pve/jobs.cfg /etc/pve-gpu-utils

install_again
pve-gpu-hooks enable >/dev/null 2>&1
mkdir -p $state
printf '#boot_id\tx\n#job\t1\t2\nqemu/101\tstopped\t0\tpve\t0\tconflict:qemu/100\t1\n#end\t1\n' >$state/journal
mkdir -p $state/vfio-setup
: >$state/vfio-setup/manifest
: >/etc/vzdump.conf.pve-gpu-utils.abcdef
ok "purge with guests in the journal" pkg purge pve-gpu-utils
ok "journal: nothing of vfio-setup stays beside it" not test -e $state/vfio-setup
ok "journal: nor what a killed purge left" not test -e /etc/vzdump.conf.pve-gpu-utils.abcdef
ok "journal: named" said 'qemu/101'
ok "journal: kept" test -s $state/journal
rm -rf $state

install_again
printf '[backup]\n' >/etc/pve-gpu-utils/pve-gpu-utils.conf
printf '#!/bin/sh\n' >/etc/pve-gpu-utils/vzdump.d/10-own
ok "purge with files of the administrator" pkg purge pve-gpu-utils
ok "own files: named" said 'vzdump.d/10-own is not from the package'
ok "own files: kept" test -e /etc/pve-gpu-utils/vzdump.d/10-own -a -e /etc/pve-gpu-utils/pve-gpu-utils.conf
rm -rf /etc/pve-gpu-utils

# --- guests' hookscripts
snippets=/var/lib/vz/snippets
guests=/etc/pve/nodes/pve/qemu-server
install_again
mkdir -p $snippets $guests /srv/own/snippets /srv/shared/snippets
for stub_name in pve-gpu-hook pve-gpu-hook++old.sh pve-gpu-hook+nas+old.sh; do
	install -m 755 /usr/share/pve-gpu-utils/guest-hook "$snippets/$stub_name"
done
install -m 755 /usr/share/pve-gpu-utils/guest-hook /srv/own/snippets/pve-gpu-hook
install -m 755 /usr/share/pve-gpu-utils/guest-hook /srv/shared/snippets/pve-gpu-hook
install -D -m 755 /usr/share/pve-gpu-utils/guest-hook /srv/plugin/snippets/pve-gpu-hook
echo '# not ours' >$snippets/pve-gpu-hook+x+y
printf '#!/bin/sh\necho "old $1 $2" >>/tmp/old.log\n' >$snippets/old.sh
chmod 755 $snippets/old.sh
printf 'dir: local\n\tpath /var/lib/vz\n\tcontent snippets\n\ndir: own\n\tpath /srv/own\n\nmy-plugin2: x\n\tpath /srv/plugin\n\tshared 1\n\ndir: nas\n\tpath /srv/shared\n\tshared 1\n' >/etc/pve/storage.cfg
printf 'cores: 1\nhookscript: local:snippets/pve-gpu-hook++old.sh\n' >$guests/101.conf
printf 'cores: 1\n\n[before]\nhookscript: local:snippets/pve-gpu-hook+nas+old.sh\n' >$guests/102.conf
printf 'cores: 1\ndescription: hookscript: local:snippets/pve-gpu-hook\n' >$guests/103.conf
ok "remove with guests that have the hook" pkg remove pve-gpu-utils
ok "guests: named" said 'without a reset of their GPUs.*: 101 102 $'
for phase in pre-start post-start pre-stop post-stop; do
	ok "the guest's stub alone: $phase ends with 0" env -i $snippets/pve-gpu-hook 100 $phase
	ok "and calls the former script: $phase" env -i $snippets/pve-gpu-hook++old.sh 101 $phase
done
ok "the former script was called" is /tmp/old.log 'old 101 pre-start\nold 101 post-start\nold 101 pre-stop\nold 101 post-stop\n'
ok "purge with guests that have the hook" pkg purge pve-gpu-utils
ok "guests: stubs in use are named" said 'pve-gpu-hook++old.sh stays.*: 101 $'
ok "guests: a snapshot's, too" said 'pve-gpu-hook+nas+old.sh stays.*: 102 $'
ok "guests: stubs in use are kept" test -x $snippets/pve-gpu-hook++old.sh -a -x $snippets/pve-gpu-hook+nas+old.sh
ok "guests: those that nobody uses are gone" not test -e $snippets/pve-gpu-hook -o -e /srv/own/snippets/pve-gpu-hook
ok "guests: not those of a storage that we do not know" test -x /srv/plugin/snippets/pve-gpu-hook
ok "guests: not those of a shared storage" test -x /srv/shared/snippets/pve-gpu-hook
ok "guests: not files of others" test -e $snippets/pve-gpu-hook+x+y -a -e $snippets/old.sh
rm -rf /etc/pve/nodes /etc/pve/storage.cfg /var/lib/vz /srv/own /srv/shared /srv/plugin

# --- a run of pci-rescan that was killed
install_again
mkdir -p /run/pve-gpu-utils/rescan /run/pve-gpu-utils/guests
echo x >/run/pve-gpu-utils/rescan/0000:03:00.0
ok "remove after a run of pci-rescan that did not end" pkg remove pve-gpu-utils
ok "rescan: says what would put it right" said 'run: pci-rescan 0000:03:00.0'
ok "purge" pkg purge pve-gpu-utils
ok "rescan: what it left stays" test -e /run/pve-gpu-utils/rescan/0000:03:00.0
rm /run/pve-gpu-utils/rescan/0000:03:00.0
install_again
ok "purge" pkg purge pve-gpu-utils
ok "nothing of ours in /run" not test -e /run/pve-gpu-utils

# --- what vfio-setup has applied: on a sample host, then carried over into this root
hosts=$(cd "$(dirname "$0")/../fixtures/hosts" && pwd)
ok "kmod and perl are there" pkg install --no-install-recommends kmod perl-base
apply_here() {
	install_again
	rm -rf /tmp/host /tmp/host.*
	"$hosts/mkhost" pve9-both-twins /tmp/host
	ok "vfio-setup apply" env PVE_GPU_COMMANDS="$hosts/bin" \
		vfio-setup -R /tmp/host apply --gpu 47:00.0 --early --cmdline iommu=pt
	(cd /tmp/host && find etc var/lib/pve-gpu-utils \( -path "*pve-gpu-utils*" -o -path etc/kernel/cmdline \) -type f \
		-print0 | xargs -0 cp -a --parents -t /)
}
apply_here
written=$(cd /tmp/host && find etc -name '*pve-gpu-utils*')
ok "it wrote at least the udev rule, the modules, the boot menu's file" \
	sh -c 'ls /etc/udev/rules.d/*pve-gpu-utils* /etc/modprobe.d/pve-gpu-utils.conf /etc/default/grub.d/pve-gpu-utils.cfg'
ok "upgrade says nothing of it" sh -c 'apt-get -q -y install --reinstall --no-install-recommends "$@" 2>&1 | grep vfio-setup && exit 1 || exit 0' \
	sh "$dir"/pve-gpu-utils_*.deb
ok "remove with a host set up by vfio-setup" pkg remove pve-gpu-utils
ok "set-up: remove says what would take it back" said 'vfio-setup undo'
for file in $written; do
	ok "set-up: remove leaves $file" cmp "/$file" "/tmp/host/$file"
done
ok "purge with a host set up by vfio-setup" pkg purge pve-gpu-utils
for file in $written; do
	ok "set-up: purge takes $file away" not test -e "/$file"
	ok "set-up: and names it" said "taken away.* /$file"
done
ok "set-up: how to put that into effect" said 'in force until you run: update-initramfs -u -k all; update-grub$'
ok "set-up: the words left are named" said '/etc/kernel/cmdline keeps the words .*: .*iommu=pt'
ok "set-up: the command line is not touched" cmp /etc/kernel/cmdline /tmp/host/etc/kernel/cmdline
ok "set-up: the state is gone" not test -e $state

apply_here
echo 'options vfio-pci ids=1234:5678' >/etc/modprobe.d/pve-gpu-utils.conf
printf 'root=/dev/sda1\n' >/etc/kernel/cmdline
ok "purge after the files were changed by hand" pkg purge pve-gpu-utils
ok "set-up: a file that is not ours stays" test -e /etc/modprobe.d/pve-gpu-utils.conf
ok "set-up: no words, nothing said of them" not said 'keeps the words'
ok "set-up: the other files are gone" not test -e /etc/default/grub.d/pve-gpu-utils.cfg
rm -f /etc/modprobe.d/pve-gpu-utils.conf

apply_here
echo begun >$state/vfio-setup/journal
ok "purge after a run of vfio-setup that did not end" pkg purge pve-gpu-utils
ok "set-up: says so" said 'a run of vfio-setup did not end'
ok "set-up: its journal and all files stay" test -e $state/vfio-setup/journal -a -e /etc/modprobe.d/pve-gpu-utils.conf
# shellcheck disable=SC2086 # a list of files
(cd / && rm -rf $state $written etc/kernel/cmdline /tmp/host*)

# --- the guardian of a running job outlives upgrade and removal
install_again
sleep 1000 &
worker=$!
pve-gpu-hooks enable >/dev/null 2>&1
/usr/sbin/vm-state-restore --guard "$worker" </dev/null >/tmp/guardian.log 2>&1 &
guardian=$!
sleep 1
ok "the guardian waits" kill -0 "$guardian"
pkg install --reinstall --no-install-recommends "$dir"/pve-gpu-utils_*.deb
ok "the guardian outlives an upgrade" kill -0 "$guardian"
pkg purge pve-gpu-utils
ok "the guardian outlives a purge" kill -0 "$guardian"
kill "$worker"
ok "the guardian ends after its job" timeout 300 sh -c "while kill -0 $guardian 2>/dev/null; do sleep 1; done"
wait "$guardian" 2>/dev/null
ok "the guardian leaves nothing behind" not test -e $state

# --- vGPUs at boot
install_again
pve-gpu-hooks mdev enable >/dev/null 2>&1
mkdir -p /etc/pve-gpu-utils/vgpu.d/0000:41:00.0 /etc/mdevctl.d/mtty
: >/etc/pve-gpu-utils/vgpu.d/0000:41:00.0/0000:41:00.4
: >/etc/mdevctl.d/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
ok "remove keeps the definitions of vGPUs" sh -c 'apt-get -qy remove pve-gpu-utils >/dev/null 2>&1 &&
	test -e /etc/pve-gpu-utils/vgpu.d/0000:41:00.0/0000:41:00.4 && test -e /etc/pve-gpu-utils/mdev-autostart'
ok "purge after it" pkg purge pve-gpu-utils
ok "purge takes the definitions of vGPUs" sh -c '! ls -d /etc/pve-gpu-utils/vgpu.d /etc/pve-gpu-utils/mdev-autostart 2>/dev/null | grep .'
ok "purge leaves mdevctl's" test -e /etc/mdevctl.d/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
rm -r /etc/mdevctl.d

# --- the recovery unit
install_again
if command -v systemctl >/dev/null; then
	pve-gpu-hooks enable >/dev/null 2>&1
	ok "enable links the recovery unit" sh -c 'find /etc/systemd -name pve-gpu-recover.service | grep .'
	ok "purge" pkg purge pve-gpu-utils
	ok "purge takes the link away" sh -c '! find /etc/systemd -name pve-gpu-recover.service | grep .'
else
	pkg purge pve-gpu-utils
fi

ok "purge of cuda-ckpt" pkg purge cuda-ckpt
rm -f /etc/vzdump.conf
ok "nothing in /etc, /usr or /var speaks of the package" \
	sh -c '! { find /etc /usr /var/lib -path /var/lib/apt -prune -o -name "*pve-gpu*" -print; grep -rl pve-gpu /etc; } | grep .'

printf '%d passed, %d failed, 0 skipped\n' "$passes" "$failures"
[ "$failures" -eq 0 ]
