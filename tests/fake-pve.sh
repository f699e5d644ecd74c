#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fake-pve.sh SCRIPT - run SCRIPT in namespaces of its own with an /etc/pve of
# one node, and with a qm and a pct that start and stop real processes:
# FAKE/START-101 and FAKE/STOP-101 say how that goes (hang, fail, nothing, late;
# refuse), FAKE/log gets every call.
set -eu
here=$(dirname "$0")
case $here in /*) ;; *) here=$PWD/$here ;; esac

skip() {
	echo "SKIP: $1"
	exit 77
}

if [ "$1" != --inside ]; then
	[ "$(id -u)" -eq 0 ] || skip "needs root for namespaces of its own"
	unshare -m -p -n -f --mount-proc true 2>/dev/null || skip "cannot make namespaces here"
	command -v perl >/dev/null || skip "needs perl for the processes of the guests"
	script=$1
	case $script in /*) ;; *) script=$PWD/$script ;; esac
	exec unshare -m -p -n -f --kill-child --mount-proc "$here/fake-pve.sh" --inside "$script"
fi

FAKE=/mnt/fake
export FAKE
mount -t tmpfs fake /mnt
mkdir -p "$FAKE"
for dir in etc usr/sbin usr/bin var/lib; do
	upper=/mnt/upper/$dir work=/mnt/work/$dir
	mkdir -p "$upper" "$work"
	mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$upper,workdir=$work" "/$dir" 2>/dev/null ||
		skip "no overlay file system here"
done
mount -t tmpfs run /run
mkdir -p /run/qemu-server /run/lock /etc/pve/nodes/pve1/qemu-server /etc/pve/nodes/pve1/lxc \
	/etc/pve/nodes/pve2/qemu-server /etc/pve/ha
ln -s nodes/pve1 /etc/pve/local
ln -s nodes/pve1/qemu-server /etc/pve/qemu-server
ln -s nodes/pve1/lxc /etc/pve/lxc
rm -rf /var/lib/pve-gpu-utils

cat >/usr/sbin/qm <<'END'
#!/bin/sh
verb=$1 id=$2 pidfile=/var/run/qemu-server/$2.pid
[ -d /var/run/qemu-server ] || pidfile=/run/qemu-server/$2.pid
tool=${0##*/}
if [ "$tool" = qm ]; then conf=/etc/pve/local/qemu-server/$id.conf; else conf=/etc/pve/local/lxc/$id.conf; fi
echo "$tool $*" >>"$FAKE/log"
how() { cat "$FAKE/$1-$id" 2>/dev/null || echo well; }
pid() { cat "$FAKE/pid-$id" 2>/dev/null || echo 9999999; }
runs() { kill -0 "$(pid)" 2>/dev/null; }
victim=$(pid)
# One at a time for each guest, as qm and pct have it.
locked() {
	(
		flock 9
		"$@"
	) 9>"$FAKE/lock-$id"
}
not_twice() {
	! runs || {
		echo "already running" >&2
		exit 255
	}
}
start() {
	not_twice	# by somebody who had the lock before us
	if [ "$tool" = qm ]; then
		perl -e 'fork and exit; require POSIX; POSIX::setsid(); open STDIN, "<", "/dev/null";
			open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
			open F, ">", "$ENV{FAKE}/pid-$ARGV[0]"; print F $$; close F;
			open F, ">", $ARGV[1]; print F "$$\n"; close F;
			exec { "/usr/bin/perl" } "kvm", "-e", "sleep 1000", "--", "-id", $ARGV[0],
				"-pidfile", "/var/run/qemu-server/$ARGV[0].pid"' "$id" "$pidfile" 9>&-
	else
		perl -MIO::Socket::UNIX -e 'fork and exit; require POSIX; POSIX::setsid();
			open STDIN, "<", "/dev/null"; open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
			my $s = IO::Socket::UNIX->new(Local => "\0/var/lib/lxc/$ARGV[0]/command", Listen => 1) or die;
			open F, ">", "$ENV{FAKE}/pid-$ARGV[0]"; print F $$; close F; sleep 1000' "$id" 9>&-
	fi
	n=0
	until runs && { [ "$tool" = pct ] || grep -qa '^kvm' "/proc/$(pid)/cmdline"; }; do
		n=$((n + 1))
		if [ "$n" -ge 600 ]; then
			echo "$tool: the process of $id does not come up" >&2
			exit 1
		fi
		sleep 0.1
	done
}
halt() {
	[ "$(pid)" = "$victim" ] || return 0	# started again meanwhile
	kill "$victim" 2>/dev/null
	while runs; do sleep 0.1; done
	rm -f "$FAKE/pid-$id"
	[ "$tool" = pct ] || rm -f "$pidfile"
}
case $verb in
start)
	not_twice
	case $(how START) in
	hang) sleep 1000 ;;
	fail) echo "start failed: QEMU exited with code 1" >&2; exit 255 ;;
	nothing) exit 0 ;;
	late) (sleep 2; locked start) </dev/null >/dev/null 2>&1 & exit 0 ;;
	*) locked start ;;
	esac ;;
shutdown | stop)
	case $(how STOP) in
	refuse) sleep 1; echo "VM quit/powerdown failed - got timeout" >&2; exit 255 ;;
	nothing) exit 0 ;;
	late) (sleep 3; locked halt) </dev/null >/dev/null 2>&1 & exit 0 ;;
	*) locked halt ;;
	esac ;;
status)
	[ "$(how STATUS)" != fail ] || exit 255
	if runs && [ -e "$FAKE/prelaunch-$id" ]; then echo "status: prelaunch"
	elif runs; then echo "status: running"
	else echo "status: stopped"; fi ;;
unlock)
	[ "$(how UNLOCK)" != fail ] || exit 255
	sed -i '/^lock:/d' "$conf" ;;
*) exit 1 ;;
esac
END
cp /usr/sbin/qm /usr/sbin/pct
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
echo "systemctl $*" >>"$FAKE/log"
case $1 in
is-system-running) cat "$FAKE/system" 2>/dev/null || echo running ;;
*) exit 0 ;;
esac
END
chmod +x /usr/sbin/qm /usr/sbin/pct /usr/bin/systemctl
: >"$FAKE/log"
export FAKE_PVE=yes
exec "$2"
