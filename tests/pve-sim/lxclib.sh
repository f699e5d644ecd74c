# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2016,SC2034 # scripts that the host expands; for those who source this
# lxclib.sh - for the tests of lxc-nvidia-setup on simulated hosts; sourced after
# testlib.sh.
# Inside: short waits; what an orchestrator sets; a word on what is left of a run.
SETUP='cd /
	sed -i "s/^poll=3/poll=1/" /usr/sbin/lxc-nvidia-setup \
		/usr/libexec/pve-gpu-utils/lxc-nvidia-container /usr/libexec/pve-gpu-utils/lxc-nvidia-install
	export GPU_ASSIGNMENT=all NVIDIA_DRIVER_VERSION=550.54.14
	export NVIDIA_REPO_URL=https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64
	export NVIDIA_RUNFILE_URL=https://us.download.nvidia.com/XFree86/Linux-x86_64/550.54.14/NVIDIA-Linux-x86_64-550.54.14.run
	conf() { echo "/etc/pve/lxc/$1.conf"; }
	starts() { grep -c "	up	lxc/$1	" /run/pve-sim/events; }
	calls() { grep -c "^$1" /run/pve-sim/ct.log 2>/dev/null || :; }
	# Nothing of NVIDIA in the container 200 any more.
	fresh() {
		(cd /run/pve-sim/ct/200/root && rm -f usr/lib/*-linux-gnu/lib*nvidia* usr/lib/*-linux-gnu/libcuda* usr/bin/nvidia-smi \
			etc/apt/*/pve-gpu-utils* usr/local/bin/nvtop var/lib/packages)
		rm -rf /run/pve-gpu-utils/lxc-nvidia-setup
	}
	left() { pct exec "$1" -- find /var/tmp /etc/apt -name "*.new" -o -name "lxc-nvidia-setup.*"; ls /run/pve-gpu-utils/lxc-nvidia-setup | grep restart; }
	'
