#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_lxc-nvidia-setup.sh - lxc-nvidia-setup and pve-gpu-nodes on a simulated host with a
# pct, an apt-get and an installer: containers of several kinds, again, a reboot.
# shellcheck disable=SC1091,SC2016,SC2154 # the library; scripts that the host expands; its rc
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
. ./pve-sim/lxclib.sh
sim_begin
sim_suite
[ -z "$sim_dest" ] || [ -x "$sim_dest/usr/sbin/lxc-gpu-mount" ] || exit 1
sim_limit=600
sim_tail=60

# ---- an unprivileged container that runs, with MIG -----------------------------------
sim_host nvidia
sim_sh "$SETUP"'
	cp "$(conf 200)" /tmp/before
	lxc-nvidia-setup --check 200; echo "check before: $?"
	ls /dev/nvidia* 2>/dev/null
	lxc-nvidia-setup --sha256 "" 200; echo "setup: $?"
	cp "$(conf 200)" /tmp/after
	diff /tmp/before /tmp/after | grep -c "^<"; sed "s/^/conf: /" /tmp/after
	ls /etc/systemd/system/multi-user.target.wants
	for f in sources.list.d/pve-gpu-utils-nvidia.list preferences.d/pve-gpu-utils-nvidia keyrings/pve-gpu-utils-nvidia.asc; do
		pct exec 200 -- sed "s|^|$f: |" "/etc/apt/$f"
	done
	grep installer.run /run/pve-sim/ct.log
	echo "left: $(left 200)"
	lxc-nvidia-setup --check 200; echo "check after: $?"
	n=$(starts 200) i=$(calls nvidia-driver-installer) a=$(calls apt-get)
	lxc-nvidia-setup 200; echo "again: $? $(($(starts 200) - n)) $(($(calls nvidia-driver-installer) - i)) $(($(calls apt-get) - a))"
	cmp /tmp/after "$(conf 200)" && echo "unchanged"
	lxc-nvidia-setup --cuda 12.4 200; echo "cuda: $? $(($(calls nvidia-driver-installer) - i))"
	grep -o "install .*cuda.*" /run/pve-sim/ct.log
	lxc-nvidia-setup --cuda 12-4 200 2>&1 | grep "cuda-toolkit-12-4 already"
	lxc-gpu-mount --remove 200; echo "removed: $?"; pct stop 200; pct start 200
	sort "$(conf 200)" >/tmp/s1; sort /tmp/before | diff - /tmp/s1 && echo "as before"'
ok 'nothing there: 5' out '^check before: 5$'
ok 'set up' out '^setup: 0$'
ok 'no line of before is gone' out '^0$'
ok 'PVE 8.2 and up: devN' out '^conf: dev[0-9]+: /dev/nvidia0,mode=0666$'
ok 'the MIG instances' out '^conf: dev[0-9]+: /dev/nvidia-caps/nvidia-cap22,'
ok 'not the right to change MIG' no_out '^conf: .*nvidia-cap1,'
ok 'the boot unit is enabled' out '^pve-gpu-nodes.service$'
ok 'a source that APT reads' out '^sources.*: deb \[signed-by=/etc/apt/keyrings/pve-gpu-utils-nvidia.asc\] https://developer.*/debian12/x86_64/ /$'
ok 'its key' out '^keyrings.*: key$'
ok 'no kernel modules by apt' out '^preferences.*: Package: cuda-drivers\* nvidia-driver\*.* nvidia-dkms\*'
ok 'nor by the installer' out 'installer.run --no-kernel-modules --silent --tmpdir=/var/tmp/lxc-nvidia-setup\.[A-Za-z0-9]+$'
ok 'no sum was given: said' out 'warning: no SHA-256 sum'
ok 'nothing temporary left' out '^left: $'
ok 'nvidia-smi sees the cards' out '\| GPU /dev/nvidia1$'
ok 'the versions are the same' out '^check after: 0$'
ok 'again: no restart, no installer, no apt' out '^again: 0 0 0 0$'
ok 'again: no change' out '^unchanged$'
ok 'CUDA later, without the installer' out '^cuda: 0 0$'
ok 'the toolkit, not the drivers' out '^install --no-install-recommends cuda-toolkit-12-4$'
ok 'CUDA again: nothing' out 'has cuda-toolkit-12-4 already'
ok 'lines taken away' out '^removed: 0$'
ok 'as it was' out '^as before$'
ok 'no line in the journal of failures' no_out 'failed, exit code [^5]'

# ---- a reboot of the host --------------------------------------------------------------
sim_host nvidia
sim_sh "$SETUP"'lxc-nvidia-setup -q 200; echo "setup: $?"; systemctl disable pve-gpu-nodes.service'
ok 'quiet: not a word' is "$(grep -v '^sim: guest 203' "$T/out")" 'setup: 0'
sim_boot 'pct status 200; ls /dev/nvidia-uvm'
ok 'without the unit: not started' out '^status: stopped$'
ok 'PVE says why' out 'Device /dev/nvidia.* does not exist'
sim_sh 'systemctl enable pve-gpu-nodes.service'
sed -i 's/^511 nvidia-uvm/236 nvidia-uvm/' "$H/disk/etc/pve-sim/proc-devices"
sim_boot 'pct status 200; stat -c "%n %t:%T" /dev/nvidia-uvm; pct exec 200 -- nvidia-smi; echo "smi: $?"'
ok 'with it: started' out '^status: running$'
ok 'the major of this boot' out '^/dev/nvidia-uvm ec:0$'
ok 'and it works' out '^smi: 0$'

# ---- the module that nobody has loaded -----------------------------------------------
sim_host nvidia
sed -i '/nvidia-uvm/d' "$H/disk/etc/pve-sim/proc-devices"
printf '%s\n' '#!/bin/sh' 'echo "modprobe $*"' '! grep -qs no-uvm /run/pve-sim/faults || exit 1' \
	'sed "s/^507.*/&\n509 nvidia-uvm/" /proc/devices >/tmp/d && cat /tmp/d >/proc/devices' >"$H/disk/usr/sbin/modprobe"
chmod 755 "$H/disk/usr/sbin/modprobe"
rm -f "$H/disk/usr/bin/nvidia-modprobe"
sim_sh '
	nodes=/usr/libexec/pve-gpu-utils/pve-gpu-nodes
	simctl fault no-uvm; $nodes; echo "no module: $?"; ls /dev/nvidiactl
	simctl fault -; $nodes -n; $nodes -v; echo "loaded: $?"
	stat -c "%n %t:%T %a" /dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia0 /dev/nvidia-caps/nvidia-cap22
	$nodes; echo "again: $?"'
ok 'modprobe fails: 69' out '^no module: 69$'
ok 'the others are made all the same' out '^/dev/nvidiactl$'
ok 'a dry run names it' out '^modprobe nvidia-uvm$'
ok 'loaded' out '^modprobe -qb nvidia-uvm$'
ok 'and made' out '^/dev/nvidia-uvm 1fd:0 666$'
ok 'the tools' out '^/dev/nvidia-uvm-tools 1fd:1 666$'
ok 'a MIG instance' out '^/dev/nvidia-caps/nvidia-cap22 1fb:16 444$'
ok 'again: nothing' is "$(sed '/^again: 0/q' "$T/out" | tail -n 2 | tr '\n' ' ')" '/dev/nvidia-caps/nvidia-cap22 1fb:16 444 again: 0 '

# ---- other containers ------------------------------------------------------------------
sim_host nvidia
sim_sh "$SETUP"'
	lxc-nvidia-setup --style mount --gpu 0 201; echo "off: $?"
	pct status 201; sed "s/^/conf: /" "$(conf 201)"
	GPU_ASSIGNMENT=none lxc-nvidia-setup 204; echo "none: $?"
	grep -o "apt-get.* install .*curl.*" /run/pve-sim/ct.log | sed "s/.* install/install/"
	awk "/^\[/ { exit } /^dev/" "$(conf 204)" | wc -l; sed -n "/^\[before/,\$p" "$(conf 204)" | grep -c nvidia
	NVIDIA_DRIVER_VERSION=host lxc-nvidia-setup --check 204; echo "204: $?"
	pct stop 204; lxc-nvidia-setup --check 204; echo "mounted: $?"; grep "^lock" "$(conf 204)"; mount | grep -c rootfs
	for f in sources.list.d/pve-gpu-utils-nvidia.list; do pct exec 201 -- cat /etc/apt/$f; done
	lxc-nvidia-setup -n 200; echo "dry: $?"; grep -c nvidia "$(conf 200)"
	simctl fault "ct no-nvtop"
	cp /dev/null /tmp/empty; lxc-nvidia-setup --repo https://repo.example.org/nvidia --repo-key https://repo.example.org/k.gpg 200; echo "nvtop: $?"
	pct exec 200 -- cat /etc/apt/sources.list.d/pve-gpu-utils-nvidia.list'
ok 'one that was off' out '^off: 0$'
ok 'is on now' out '^status: running$'
ok 'the first by its address is minor 1' out '^conf: lxc.mount.entry: /dev/nvidia1 dev/nvidia1 none bind,optional,create=file 0 0$'
ok 'and not the other' no_out '^conf: .*/dev/nvidia0 '
ok 'none: the standard nodes' out '^none: 0$'
ok 'a downloader is installed' out '^install --no-install-recommends curl ca-certificates$'
ok 'above the snapshot' out '^3$'
ok 'not in it' out '^0$'
ok '--check while it runs' out '^204: 0$'
ok '--check of a stopped one' out '^mounted: 0$'
ok 'and no mount, no lock stays' no_out '^lock: mounted'
ok 'a dry run: the diff' out '^\+dev0: '
ok 'a dry run: the installer' out '^container 200: https://.*\.run --no-kernel-modules --silent$'
ok 'without nvtop in the sources' out '^nvtop: 0$'
ok 'that is said' out 'nvtop is in none of its APT sources'
ok 'another repository' out '^deb \[signed-by=/etc/apt/keyrings/pve-gpu-utils-nvidia.gpg\] https://repo.example.org/nvidia bookworm main$'
sim_end
