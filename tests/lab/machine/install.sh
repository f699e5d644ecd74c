#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# install.sh ROOT LAB SIM - make a Debian root the lab's machine: the simulated
# Proxmox VE, the machine's own files, the scenarios, and quiet services.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
root=$1 lab=$2 sim=$3

tar -C "$lab/machine/root" --owner=0 --group=0 -cf - . | tar -C "$root" -xf -
mkdir -p "$root/usr/lib/lab/scenarios" "$root/usr/lib/pve-sim" "$root/var/log/journal"
cp "$lab"/scenarios/*.sh "$root/usr/lib/lab/scenarios/"
cp "$sim/PveSim.pm" "$sim/qm" "$sim/pct" "$root/usr/lib/pve-sim/"
cp "$sim/vzdump" "$sim/pvesh" "$sim/ha-manager" "$root/usr/sbin/"
chmod +x "$root"/usr/lib/pve-sim/* "$root/usr/sbin/vzdump" "$root/usr/sbin/pvesh" "$root/usr/sbin/ha-manager"
ln -sf ../lab/ct "$root/usr/lib/pve-sim/ct"
"${CC:-cc}" -O1 -D_GNU_SOURCE -o "$root/usr/lib/lab/kvm" "$sim/kvm.c"
"${CC:-cc}" -O1 -D_GNU_SOURCE -o "$root/usr/lib/lab/hold" "$lab/small/tools/hold.c"
mkdir -p "$root/var/lib/vz/dump" "$root/var/log/vzdump" "$root/var/lib/lab"

# /etc/pve as pmxcfs shows it on a node named lab.
echo lab >"$root/etc/hostname"
mkdir -p "$root/etc/pve/nodes/lab/lxc" "$root/etc/pve/ha"
for link in local:nodes/lab qemu-server:nodes/lab/qemu-server lxc:nodes/lab/lxc; do
	ln -sfn "${link#*:}" "$root/etc/pve/${link%%:*}"
done

# The console is the test's, and time is short: every process counts under TCG.
for unit in serial-getty@ttyS0.service getty@tty1.service systemd-logind.service \
	systemd-firstboot.service systemd-timesyncd.service systemd-networkd.service \
	systemd-random-seed.service systemd-update-utmp.service ldconfig.service \
	systemd-journal-catalog-update.service systemd-hwdb-update.service \
	systemd-sysusers.service systemd-update-done.service systemd-user-sessions.service \
	systemd-machine-id-commit.service systemd-sysctl.service systemd-remount-fs.service \
	systemd-tmpfiles-setup-dev-early.service systemd-tmpfiles-setup-dev.service \
	systemd-udev-load-credentials.service run-lock.mount kmod-static-nodes.service tmp.mount \
	modprobe@.service sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-kernel-config.mount sys-fs-fuse-connections.mount dev-mqueue.mount \
	dev-hugepages.mount e2scrub_reap.service fstrim.timer apt-daily.timer \
	lxc.service lxc-net.service lxc-monitord.service apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer; do
	ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
for unit in pve-guests lab-step; do
	mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
	ln -sfn "../$unit.service" "$root/etc/systemd/system/multi-user.target.wants/"
done
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
