#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# ansible.sh SUITE PACKAGE - the role of examples/ansible in a Debian root of that suite
#
# ansible-lint finds nothing; a check before all is possible; the first run installs the
# package, sets a card up and enables the hooks; the second one changes nothing; so does a
# check after it. The package is really installed; the PCI bus, /etc/pve and the boot
# loader are those of a host of fixtures/hosts, which the programs take for their root.
# Exit 77: cannot run here.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL

suite=$1 package=$2
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
tests=${here%/*}
[ "$(id -u)" = 0 ] || {
	echo "only root can make a Debian root"
	exit 77
}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/pve-gpu-ansible.XXXXXX")
trap 'rm -rf --one-file-system "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

"$here/root.sh" make "$suite" "$tmp/root" ansible-core ansible-lint python3-apt kmod diffutils ca-certificates || {
	echo "mmdebstrap could not make a root of $suite with ansible"
	exit 77
}
cp -a "$tests/../examples/ansible" "$tmp/root/ansible"
cp "$package" "$tmp/root/ansible/package.deb"

# A host of Proxmox VE with an Arc card, the storage local, and of qm no more than "set".
host=$tmp/root/host
"$tests/fixtures/hosts/mkhost" pve9-uefi-arc "$host"
cp -a "$tests/fixtures/hosts/bin" "$tmp/root/commands"
mkdir -p "$host/var/lib/vz/snippets" "$host/run" "$host/usr/sbin" "$host/etc/systemd/system/multi-user.target.wants"
printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,snippets\n\n' >"$host/etc/pve/storage.cfg"
printf '{"nodename":"pve","version":1}\n' >"$host/etc/pve/.members"
printf 'hostpci0: 0000:05:00.0,pcie=1\nmachine: q35\n' >>"$host/etc/pve/nodes/pve/qemu-server/100.conf"
printf 'storage: local\n' >"$host/etc/vzdump.conf"
cat >"$host/usr/sbin/qm" <<'END'
#!/bin/sh
[ "$1.$3" = set.--hookscript ] && echo "hookscript: $4" >>"/host/etc/pve/local/qemu-server/$2.conf"
END
chmod 755 "$host/usr/sbin/qm"
cat >"$tmp/root/ansible/inventory.yml" <<'END'
---
gpu_hosts:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: /usr/bin/python3
      pve_gpu_utils_package: /ansible/package.deb
      pve_gpu_utils_cards: ["05:00.0"]
      pve_gpu_utils_setup_options: [--early]
      pve_gpu_utils_guests: [100]
      pve_gpu_utils_conf: |
        [backup]
        lookahead = 2
END
cat >"$tmp/root/inside" <<'END'
set -eu
cd /ansible
export HOME=/root PVE_GPU_ROOT=/host PVE_GPU_COMMANDS=/commands ANSIBLE_NOCOLOR=1 ANSIBLE_FORCE_COLOR=0 DEBIAN_FRONTEND=noninteractive
apt-get -q update >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "== ansible-lint"
ansible-lint --offline -q
play() {
	ansible-playbook -i inventory.yml site.yml "$@" >/tmp/play 2>&1 || { cat /tmp/play; exit 1; }
	sed -n '/^PLAY RECAP/,$p' /tmp/play
}
changed() {
	grep -q "changed=$1 .*failed=0" /tmp/play || { cat /tmp/play; echo "not changed=$1"; exit 1; }
}
echo "== with --check, before there is a package"
play --check
! dpkg -s pve-gpu-utils >/dev/null 2>&1 || { echo "a check has installed it"; exit 1; }
echo "== the first run"
play --diff
! grep -q 'changed=0 ' /tmp/play || { cat /tmp/play; exit 1; }
dpkg -s pve-gpu-utils | grep -q '^Status: install ok installed'
[ -e /host/etc/modprobe.d/pve-gpu-utils.conf ]
grep -qx 'script: /etc/pve-gpu-utils/vzdump-hook' /host/etc/vzdump.conf
grep -qx 'hookscript: local:snippets/pve-gpu-hook' /host/etc/pve/local/qemu-server/100.conf
grep -qx 'lookahead = 2' /etc/pve-gpu-utils/pve-gpu-utils.conf
echo "== the second run"
play
changed 0
echo "== with --check"
play --check
changed 0
echo "== another card's guest asks for nothing more, a lost stub for one thing"
rm /host/var/lib/vz/snippets/pve-gpu-hook
play
changed 1
[ -x /host/var/lib/vz/snippets/pve-gpu-hook ]
play
changed 0
END
timeout -k 10 1800 "$here/root.sh" run "$tmp/root" sh /inside </dev/null
