#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pve-gpu-hooks guest VMID: stubs, storages, other nodes, chained scripts
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
# As it was configured: make distcheck has a prefix of its own.
hooks=$(command -v pve-gpu-hooks)
pkgdatadir=$(sed -n 's|^[[:space:]]*source=\(/.*\)/vzdump-hook$|\1|p' "$hooks")
guest_hooks=$(command -v guest-hooks || echo /usr/libexec/pve-gpu-utils/guest-hooks)
libexecdir=$(sed -n 's|.*test -x \(/.*\)/guest-gpu-hook .*|\1|p' "$guest_hooks")

# A node alone whose storage "local" holds snippets; VM 100, container 200.
host() {
	about=$1
	rm -rf "$dir/r"
	r=$dir/r
	fixture guest-hook "$r"
	printf '/usr/bin/kvm\0-id\000105\0-pidfile\0/var/run/qemu-server/105.pid\0-device\0vfio-pci,host=0000:05:00.0,id=hostpci0\0' \
		>"$r/proc/4242/cmdline"
	mkdir -p "$r/var/lib/vz" "$r$pkgdatadir" "$r/usr/sbin" "$r/usr/bin"
	cp "$src/../utils/guest-hook" "$r$pkgdatadir/guest-hook"
	printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,snippets\n\n' >"$r/etc/pve/storage.cfg"
	printf '{"nodename":"pve1","version":1}\n' >"$r/etc/pve/.members"
	snippets=$r/var/lib/vz/snippets
	conf=$r/etc/pve/local/qemu-server/100.conf
	# What PVE checks and does, no more.
	cat >"$r/usr/sbin/qm" <<-END
		#!/bin/sh
		echo "qm \$*" >>"$r/calls"
		[ ! -e "$r/qm-fails" ] || { echo "qm fails" >&2; exit 255; }
		conf=$r/etc/pve/local/qemu-server/\$2.conf
		case \$1.\$3 in
		set.--hookscript)
			file=$r/var/lib/vz/snippets/\${4#*:snippets/}
			case \$4 in shared:*) file=$r/mnt/pve/shared/snippets/\${4#*:snippets/} ;; esac
			[ -x "\$file" ] || { echo "script '\$4' does not exist" >&2; exit 255; }
			sed -i /^hookscript:/d "\$conf"
			echo "hookscript: \$4" >>"\$conf"
			;;
		set.--delete) sed -i "/^\$4:/d" "\$conf" ;;
		*) exit 255 ;;
		esac
	END
	cat >"$r/usr/bin/ssh" <<-END
		#!/bin/sh
		for command; do :; done
		echo "ssh \$*" >>"$r/ssh-calls"
		[ ! -e "$r/ssh-fails" ] || exit 255
		printf '%s\n' "\$command" | sed -e "s|/var/lib/vz|$r/pve2/vz|g" -e "s|/mnt/pve|$r/mnt/pve|g" -e "s|$libexecdir|$r/pve2/libexec|g" >"$r/ssh-command"
		sh "$r/ssh-command"
	END
	chmod 755 "$r/usr/sbin/qm" "$r/usr/bin/ssh"
	mkdir -p "$r/pve2/vz" "$r/pve2/libexec"
}

cluster() {
	printf '{\n"nodename": "pve1",\n"version": 4,\n"cluster": { "name": "c", "version": 2, "nodes": 2, "quorate": 1 },\n"nodelist": {\n  "pve1": { "id": 1, "online": 1, "ip": "10.0.0.1"},\n  "pve2": { "id": 2, "online": %s, "ip": "10.0.0.2"}\n  }\n}\n' "$1" \
		>"$r/etc/pve/.members"
}

shared() {
	printf 'nfs: shared\n\tserver 10.0.0.9\n\texport /x\n\tcontent snippets\n%s\n' "${1:-}" >>"$r/etc/pve/storage.cfg"
	mkdir -p "$r/mnt/pve/shared"
}

# guest EXPECTED-CODE ARGUMENTS
guest() {
	want=$1
	shift
	rc=0
	: >"$r/calls"
	pve-gpu-hooks -R "$r" guest "$@" >"$dir/out" 2>&1 </dev/null || rc=$?
	[ "$rc" -eq "$want" ] || fail "$*: exit code $rc, not $want: $(cat "$dir/out")"
}

is_set() {
	now=$(sed -n 's/^hookscript: //p' "$conf")
	[ "$now" = "$1" ] || fail "hookscript is $now, not $1"
}

has_stub() {
	{ [ -x "$1" ] && cmp -s "$1" "$src/../utils/guest-hook"; } || fail "no stub at $1"
}

files_in() {
	got=$(find "$1" -mindepth 1 -printf '%f ')
	[ "$got" = "$2" ] || fail "$1 has $got, not $2"
}

# ---- on and off again
host plain
cp "$conf" "$dir/before"
guest 1 100 status
said '^fail *qemu/100 does not call the GPU hook (pve-gpu-hooks guest 100 enable)'
guest 0 100 enable
said 'reboot from inside the guest runs no hook: use "qm reboot 100"'
is_set local:snippets/pve-gpu-hook
has_stub "$snippets/pve-gpu-hook"
[ "$(stat -c %a "$snippets/pve-gpu-hook")" = 755 ] || fail "stub's mode"
files_in "$snippets" 'pve-gpu-hook '
guest 0 100 status
said '^ok *qemu/100 calls the GPU hook (local:snippets/pve-gpu-hook)'
said '^ok *before a start it resets 0000:01:00.0,0000:01:00.1,0000:01:00.2'
said '^note *a reboot from inside the guest runs no hook (qm reboot 100'
guest 0 qemu/100 enable
[ ! -s "$r/calls" ] || fail "a second enable calls $(cat "$r/calls")"
guest 0 100 disable
cmp -s "$conf" "$dir/before" || fail "not as before: $(cat "$conf")"
[ ! -e "$snippets/pve-gpu-hook" ] || fail "stub left"
guest 0 100 disable
said 'not enabled'
[ ! -s "$r/calls" ] || fail "a second disable calls $(cat "$r/calls")"

# A stub that somebody else's guest, or a snapshot, names stays
host named
guest 0 100 enable
printf 'memory: 512\n\n[before]\nhookscript: local:snippets/pve-gpu-hook\n' >"$r/etc/pve/nodes/pve2/qemu-server/300.conf"
guest 0 100 disable
has_stub "$snippets/pve-gpu-hook"

# A damaged, old or lost stub is put right
host damaged
guest 0 100 enable
echo '#!/bin/sh' >"$snippets/pve-gpu-hook"
guest 0 100 status
said 'warn .*is of another version'
guest 0 100 enable
has_stub "$snippets/pve-gpu-hook"
rm "$snippets/pve-gpu-hook"
guest 1 100 status
said 'fail .*pve-gpu-hook is not there: qemu/100 does not start'
guest 0 100 enable
has_stub "$snippets/pve-gpu-hook"
chmod 644 "$snippets/pve-gpu-hook"
guest 1 100 status
guest 0 100 enable
has_stub "$snippets/pve-gpu-hook"

# ---- a script that was there before
host chain
mkdir -p "$snippets"
printf '#!/bin/sh\necho former "$@"\n' >"$snippets/my hook.pl"
chmod 755 "$snippets/my hook.pl"
echo 'hookscript: local:snippets/my hook.pl' >>"$conf"
cp "$conf" "$dir/before"
guest 0 100 enable
said 'after local:snippets/my hook.pl has run'
is_set 'local:snippets/pve-gpu-hook++my hook.pl'
has_stub "$snippets/pve-gpu-hook++my hook.pl"
guest 0 100 enable
is_set 'local:snippets/pve-gpu-hook++my hook.pl'
guest 0 100 status
said '^ok *and its own script (local:snippets/my hook.pl)'
mv "$snippets/my hook.pl" "$snippets/away"
guest 1 100 status
said 'fail .*my hook.pl is not there: qemu/100 does not start'
guest 71 100 disable
said 'does not take local:snippets/my hook.pl'
is_set 'local:snippets/pve-gpu-hook++my hook.pl'
mv "$snippets/away" "$snippets/my hook.pl"
guest 0 100 disable
cmp -s "$conf" "$dir/before" || fail "not as before: $(cat "$conf")"
files_in "$snippets" 'my hook.pl '

host chain-from-another-storage
shared
cluster 1
mkdir -p "$snippets"
printf '#!/bin/sh\n' >"$snippets/a+b"
chmod 755 "$snippets/a+b"
echo 'hookscript: local:snippets/a+b' >>"$conf"
guest 0 100 enable
is_set shared:snippets/pve-gpu-hook+local+a+b
has_stub "$r/mnt/pve/shared/snippets/pve-gpu-hook+local+a+b"
guest 0 100 enable --storage local
is_set local:snippets/pve-gpu-hook++a+b
guest 0 100 enable --storage=shared
is_set shared:snippets/pve-gpu-hook+local+a+b
guest 0 100 disable
is_set local:snippets/a+b
has_stub "$r/mnt/pve/shared/snippets/pve-gpu-hook+local+a+b"

host no-snippet
echo 'hookscript: local:100/odd' >>"$conf"
guest 69 100 enable
said 'no snippet: local:100/odd'
is_set local:100/odd

# ---- which storage
host no-storage
printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup\n\n' >"$r/etc/pve/storage.cfg"
guest 69 100 enable
said 'pvesm set local --content iso,vztmpl,backup,snippets'
[ ! -e "$snippets" ] || fail "a folder made all the same"
guest 69 100 enable --storage local
host local-off
printf 'dir: local\n\tpath /var/lib/vz\n\tcontent snippets\n\tdisable\n\n' >"$r/etc/pve/storage.cfg"
guest 69 100 enable
[ ! -e "$snippets" ] || fail "a stub on a storage that is off"
sed -i 's/disable/disable 0/' "$r/etc/pve/storage.cfg"
guest 0 100 enable
is_set local:snippets/pve-gpu-hook
host no-storage.cfg
rm "$r/etc/pve/storage.cfg"
guest 0 100 enable
is_set local:snippets/pve-gpu-hook
host unusable
{
	printf 'dir: gone\n\tpath /mnt/gone\n\tcontent snippets\n\n'
	printf 'dir: off\n\tpath /var/lib/vz\n\tcontent snippets\n\tdisable\n\n'
	printf 'dir: theirs\n\tpath /var/lib/vz\n\tcontent snippets\n\tnodes pve2,pve3\n\n'
	printf 'zfspool: local-zfs\n\tpool rpool\n\tcontent snippets\n\n'
	printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso\n\n'
	printf 'dir: other\n\tpath /srv/vz\n\tcontent-dirs iso=a,snippets=etc/hooks\n\tcontent snippets,iso\n\tnodes pve1\n'
} >"$r/etc/pve/storage.cfg"
mkdir -p "$r/srv/vz"
guest 0 100 enable -n
said "install -D -m 755 .*/guest-hook '/srv/vz/etc/hooks/pve-gpu-hook'"
said '^/usr/sbin/qm set 100 --hookscript other:snippets/pve-gpu-hook$'
[ -z "$(ls "$r/srv/vz")" ] || fail "-n makes files"
is_set ''
for storage in gone off theirs local-zfs local nowhere; do
	rc=69
	case $storage in off | local-zfs | nowhere) rc=66 ;; esac
	guest "$rc" 100 enable --storage "$storage"
done
# A section of any type, to an empty line; what is in none, or comes twice, is not read.
host sections
{
	printf 'dir: local\n\tcontent iso\n\nDIR:   data  \n\tpath /srv/vz\n\tpath /srv/no\n#\n # x\n\tcontent snippets\n\n'
	printf 'my-plugin2: x\n\tpath /srv/x\n\tcontent iso\n\tnodes pve2\n\tdisable\n\n'
	printf '\tpath /srv/none\ndir: a b\n\tcontent-dirs snippets=none\n\n'
	printf 'dir: last\n\tpath /srv/last\nmy-plugin2: y\n\tcontent snippets\n'
} >"$r/etc/pve/storage.cfg"
mkdir -p "$r/srv/vz" "$r/srv/no" "$r/srv/x" "$r/srv/last"
guest 0 100 enable -n
said "install -D -m 755 .*/guest-hook '/srv/vz/snippets/pve-gpu-hook'"
said '^/usr/sbin/qm set 100 --hookscript data:snippets/pve-gpu-hook$'
guest 0 100 enable -n --storage last
said "install -D -m 755 .*/guest-hook '/srv/last/snippets/pve-gpu-hook'"
for storage in x y; do
	guest 66 100 enable --storage "$storage"
done
host alone-with-shared
shared
guest 0 100 enable
is_set local:snippets/pve-gpu-hook
host cluster-with-shared
shared
cluster 1
guest 0 100 enable
is_set shared:snippets/pve-gpu-hook
[ ! -e "$r/ssh-calls" ] || fail "goes to other nodes: $(cat "$r/ssh-calls")"
host shared-of-some
shared '	nodes pve1'
cluster 1
guest 0 100 enable
is_set local:snippets/pve-gpu-hook

# ---- options of pve-gpu-hooks before the word guest
host dry-run-before
rc=0
pve-gpu-hooks -R "$r" -n guest 100 enable >"$dir/out" 2>/dev/null || rc=$?
[ "$rc" -eq 0 ] || fail "-n before guest: exit code $rc"
said '^/usr/sbin/qm set 100 --hookscript'
said '^install -D '
[ -z "$(ls -d "$snippets" "$r/calls" 2>/dev/null)" ] || fail "-n before guest: something was done"
# What qm prints is no output of ours; the commands of a dry run are.
sed -i '2i echo "update VM"' "$r/usr/sbin/qm"
pve-gpu-hooks -R "$r" guest 100 enable >"$dir/out" 2>"$dir/err" || fail "enable"
! grep -q 'update VM' "$dir/out" || fail "what qm prints is in our output"
grep -q 'update VM' "$dir/err" || fail "what qm prints is lost"
pve-gpu-hooks -R "$r" guest 100 disable -n >"$dir/out" 2>/dev/null || fail "disable -n"
said '^/usr/sbin/qm set 100 --delete hookscript$'
printf '#!/bin/sh\n' >"$snippets/own"
chmod 755 "$snippets/own"
sed -i /^hookscript:/d "$conf"
echo "hookscript: local:snippets/own" >>"$conf"
pve-gpu-hooks -R "$r" guest 100 enable >/dev/null 2>&1 || fail "enable over a script"
pve-gpu-hooks -R "$r" guest 100 disable -n >"$dir/out" 2>/dev/null || fail "disable -n, with a former script"
said '^/usr/sbin/qm set 100 --hookscript local:snippets/own$'
for option in -j --chain; do
	rc=0
	pve-gpu-hooks -R "$r" "$option" guest 100 status >"$dir/out" 2>&1 || rc=$?
	[ "$rc" -eq 64 ] || fail "$option guest: exit code $rc, not 64"
done

# ---- other nodes
host cluster
cluster 1
guest 0 100 enable -n
said '^# and a copy of it to node pve2'
[ ! -e "$r/ssh-calls" ] || fail "-n goes to other nodes"
guest 0 100 enable
said 'copied to node pve2, too'
grep -q 'HostKeyAlias=pve2 .*root@10.0.0.2 ' "$r/ssh-calls" || fail "ssh: $(cat "$r/ssh-calls")"
has_stub "$r/pve2/vz/snippets/pve-gpu-hook"
files_in "$r/pve2/vz/snippets" 'pve-gpu-hook '
guest 0 100 status
said 'warn .*node pve2 has no pve-gpu-utils: qemu/100 starts there without a reset'
printf '#!/bin/sh\n' >"$r/pve2/libexec/guest-gpu-hook"
chmod 755 "$r/pve2/libexec/guest-gpu-hook"
guest 0 100 status
said '^ok *node pve2 has the hook, too'
rm "$r/pve2/vz/snippets/pve-gpu-hook"
guest 1 100 status
said 'fail .*node pve2 has no /var/lib/vz/snippets/pve-gpu-hook: qemu/100 does not start there'
: >"$r/ssh-fails"
guest 0 100 status
said 'warn .*node pve2 cannot be asked'
guest 0 100 enable
said 'warning: node pve2 could not be reached'
cluster 0
rm "$r/ssh-fails" "$r/ssh-calls"
guest 0 100 status
said 'warn .*node pve2 cannot be asked'
[ ! -e "$r/ssh-calls" ] || fail "asks a node that is down"

host cluster-shared-status
shared
cluster 1
guest 0 100 enable
mkdir -p "$r/pve2/vz"
rm -rf "$r/ssh-calls"
guest 0 100 status
said 'node pve2 has no pve-gpu-utils'
host cluster-storage-of-one
cluster 1
printf 'dir: local\n\tcontent iso\n\ndir: own\n\tpath /var/lib/vz\n\tcontent snippets\n\tnodes pve1\n' >"$r/etc/pve/storage.cfg"
guest 0 100 enable
not_said copied
guest 0 100 status
said 'warn .*node pve2 has no storage own: qemu/100 does not start there'

# ---- guests
host running
conf=$r/etc/pve/local/qemu-server/105.conf
guest 0 105 enable
[ "$(cat "$r/run/pve-gpu-utils/guests/105.gpus")" = 0000:05:00.0 ] || fail "what a running guest has is not noted"
guest 0 105 status
said 'resets 0000:05:00.0'
host nothing-to-reset
conf=$r/etc/pve/local/qemu-server/104.conf
guest 0 104 enable
guest 0 104 status
said 'warn .*no GPU of qemu/104 can be reset now'
host container
guest 69 200 enable
said 'lxc/200 is a container'
guest 0 200 status
guest 66 999 enable
said 'no such guest'
guest 66 300 enable
said 'qemu/300 is on node pve2'
echo 'lock: backup' >>"$conf"
guest 75 100 enable
said 'qemu/100 is locked (backup)'
is_set ''
host qm-fails
: >"$r/qm-fails"
guest 71 100 enable
said 'qm set failed'
is_set ''
rm "$r/qm-fails"
guest 0 100 enable
: >"$r/qm-fails"
guest 71 100 disable
has_stub "$snippets/pve-gpu-hook"
host package-damaged
rm "$r$pkgdatadir/guest-hook"
[ -e "$pkgdatadir/guest-hook" ] || guest 66 100 enable
host no-pve
rm -r "$r/etc/pve"
guest 66 100 enable
said 'is this a host of Proxmox VE'

# ---- the stub itself: our hook and the former one, in order, and their codes
host stub
mkdir -p "$dir/s"
cat >"$dir/hook" <<-END
	#!/bin/sh
	echo "ours \$*"
	exit "\${OURS:-0}"
END
cat >"$dir/s/former+1" <<-END
	#!/bin/sh
	echo "former \$*"
	exit "\${FORMER:-0}"
END
chmod 755 "$dir/hook" "$dir/s/former+1"
cat >"$dir/pvesm" <<-END
	#!/bin/sh
	[ "\$1 \$2" = "path other:snippets/former+1" ] && echo "$dir/s/former+1"
END
chmod 755 "$dir/pvesm"
for stub in pve-gpu-hook pve-gpu-hook++former+1 pve-gpu-hook+other+former+1 pve-gpu-hook++gone pve-gpu-hook+no+former+1; do
	sed -e "s|^hook=.*|hook=$dir/hook|" -e "s|/usr/sbin/pvesm|$dir/pvesm|" "$src/../utils/guest-hook" >"$dir/s/$stub"
	chmod 755 "$dir/s/$stub"
done

# stub NAME PHASE CODE OUTPUT
stub() {
	rc=0
	out=$(OURS=${ours:-0} FORMER=${former:-0} "$dir/s/$1" 100 "$2" 2>&1) || rc=$?
	[ "$rc" -eq "$3" ] || fail "$1 $2: exit code $rc, not $3"
	[ "$(printf '%s' "$out" | tr '\n' ';')" = "$4" ] || fail "$1 $2: $out"
}
stub pve-gpu-hook pre-start 0 'ours 100 pre-start'
for name in pve-gpu-hook++former+1 pve-gpu-hook+other+former+1; do
	ours=0 former=0
	stub "$name" pre-start 0 'former 100 pre-start;ours 100 pre-start'
	stub "$name" post-start 0 'former 100 post-start;ours 100 post-start'
	stub "$name" pre-stop 0 'ours 100 pre-stop;former 100 pre-stop'
	stub "$name" post-stop 0 'ours 100 post-stop;former 100 post-stop'
	former=7
	stub "$name" pre-start 7 'former 100 pre-start'
	stub "$name" post-stop 7 'ours 100 post-stop;former 100 post-stop'
	ours=1 former=0
	stub "$name" pre-start 1 'former 100 pre-start;ours 100 pre-start'
	stub "$name" post-stop 1 'ours 100 post-stop;former 100 post-stop'
done
ours=0
stub pve-gpu-hook++gone pre-start 1 "pve-gpu-hook++gone: $dir/s/gone does not exist or is not executable"
stub pve-gpu-hook+no+former+1 pre-start 1 \
	'pve-gpu-hook+no+former+1: no:snippets/former+1 does not exist or is not executable'
# without the package
chmod 644 "$dir/hook"
stub pve-gpu-hook pre-start 0 ''
stub pve-gpu-hook++former+1 pre-start 0 'former 100 pre-start'
rm "$dir/hook"
stub pve-gpu-hook pre-start 0 ''
stub pve-gpu-hook post-stop 0 ''
stub pve-gpu-hook++former+1 post-stop 0 'former 100 post-stop'

# ---- wrong use
host wrong-use
for args in '' 100 'enable 100' '100 frobnicate' '100 enable now' '100 --frob' '100 status -n' \
	'100 disable --storage=local' '100 enable --storage' '../100 status' 'lxc/200 status' '010 enable'; do
	# shellcheck disable=SC2086 # arguments
	guest 64 $args
	said "Try 'pve-gpu-hooks guest --help'"
done
guest 0 --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "help is longer than 24 lines"
for option in -n --dry-run -R --root --storage -h --help -V --version; do
	said "$option"
done
guest 0 --version
said '^pve-gpu-hooks (pve-gpu-utils) '
rc=0
pve-gpu-hooks enable guest >"$dir/out" 2>&1 || rc=$?
[ "$rc" -eq 64 ] || fail "enable guest: exit code $rc"
exit "$failed"
