#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_lxc-nvidia-setup.sh - lxc-nvidia-setup and pve-gpu-nodes on a simulated host with a pct,
# an apt-get and an installer: each step's failure and exit code, kills, a reboot.
# shellcheck disable=SC1091,SC2016,SC2154 # the library; scripts that the host expands; its rc
set -eu
cd "${TEST_SRC:-$(dirname "$0")}"
. ./pve-sim/testlib.sh
sim_begin
sim_suite
[ -z "$sim_dest" ] || [ -x "$sim_dest/usr/sbin/lxc-gpu-mount" ] || exit 1
sim_limit=600
sim_tail=60
sum=$(printf 'x' | sha256sum | cut -d ' ' -f 1)

# Inside: short waits; what an orchestrator sets; a word on what is left of a run.
SETUP='cd /
	sed -i -e "s/^poll=3/poll=1/" -e "s/ + 60))/ + 3))/g" /usr/sbin/lxc-nvidia-setup /usr/libexec/pve-gpu-utils/lxc-nvidia-install
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

# ---- other containers ---------------------------------------------------------------------
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

# ---- every failing step -----------------------------------------------------------------
# CODE, FAULT (or -), CONTAINER, ARGUMENTS; then faults end: is it as before, can it be started?
sim_host nvidia
sim_sh "$SETUP"'
	try() {
		want=$1 fault=$2 id=$3
		shift 3
		was=$(pct status "$id" 2>/dev/null)
		simctl fault -
		[ "$fault" = - ] || simctl fault "$fault"
		lxc-nvidia-setup --timeout 3 "$@" $id >/tmp/out 2>&1; rc=$?
		simctl fault -
		now=$(pct status "$id" 2>/dev/null)
		if [ "$rc" -eq "$want" ] && [ "$was" = "$now" ]; then echo "good: $fault $*"
		else echo "BAD: $fault $*: $rc, not $want; $was, $now"; cat /tmp/out; fi
		case $id in 20[01])
			[ "$now" = "status: running" ] || { pct start "$id" >/dev/null && pct shutdown "$id"; } || echo "BAD: $fault: does not start"
			[ "$now" != "status: running" ] || [ -z "$(pct exec "$id" -- find /var/tmp /etc/apt -name "*.new" -o -name "lxc-nvidia-setup.*")" ] ||
				echo "BAD: $fault: something is left in it"
		esac
	}
	try 2 - ""
	try 2 - "200 201"
	for id in 0 99 -5 abc 1x 1000000000 "200;id"; do try 2 - "$id"; done
	for word in --gpu= --driver= --repo= --runfile= --driver=abc --repo=ftp://x/y --runfile=relative --sha256=12 \
		--cuda=x --style=x --timeout=0 --timeout=x --no-such-option "--gpu=0;1" --runfile=http://x.example.org/a.run \
		--repo-key=http://x.example.org/k "--repo=https://x y" --runfile=https://x/NVIDIA-Linux-x86_64-535.1.run \
		--runfile=/no/such/file; do
		try 2 - 200 "$word"
	done
	try 3 - 300
	try 3 - 100
	try 4 - 203
	try 4 no-quorum 200
	try 4 - 200 --gpu=7
	try 5 - 202
	try 5 - 200 --driver=535.1 --runfile=https://x.example.org/a.run
	mv /usr/sbin/lxc-gpu-mount /usr/sbin/x; try 4 - 200; mv /usr/sbin/x /usr/sbin/lxc-gpu-mount
	setpriv --reuid=65534 --regid=65534 --clear-groups lxc-nvidia-setup 200 2>/tmp/out; echo "not root: $?"
	cat "$(conf 200)" >/tmp/now; grep -c nvidia /tmp/now
	for fault in dns apt-update curl installer half "apt-install nvtop" nvidia-smi; do
		fresh; try 5 "ct $fault" 200
	done
	fresh; try 5 - 200 --sha256='"$sum"'
	fresh; try 5 "ct apt-install cuda-toolkit-12-4" 200 --cuda=12-4
	fresh; try 5 "ct apt-install curl" 204
	fresh; try 5 "pct-exec fail" 200
	fresh; try 6 "pct-shutdown fail" 200
	fresh; try 6 "pct-shutdown nothing" 200
	# A start that fails leaves it off: whoever finds out why starts it.
	pct stop 200; try 6 "pct-start fail" 200
	try 6 "pct-start nothing" 200
	pct stop 201; try 5 "ct installer" 201
	try 5 "ct dns" 201
	pct start 200; cp "$(conf 200)" /tmp/c; lxc-nvidia-setup 200 >/tmp/out 2>&1; echo "in the end: $?"
	simctl fault "pct-start hang"; lxc-gpu-mount -q --remove 200; lxc-nvidia-setup --timeout 1 200 >/tmp/out 2>&1; echo "hanging start: $?"
	simctl fault -; pct start 200 && pct exec 200 -- nvidia-smi >/dev/null; echo "starts: $?"'
ok 'every step its exit code, every container as before' no_out '^BAD'
ok 'all of them were tried' is "$(grep -c '^good: ' "$T/out")" 53
ok 'not root' out '^not root: 4$'
ok 'nothing was written before the checks were done' out '^0$'
ok 'in the end it works' out '^in the end: 0$'
ok 'a start that hangs' out '^hanging start: 6$'
ok 'and later it starts' out '^starts: 0$'

# A node that goes away between the edit and the restart must not keep the container off.
sim_host nvidia
sim_sh "$SETUP"'
	lxc-nvidia-setup --gpu none 200 >/dev/null 2>&1; echo "first: $?"
	mv /usr/sbin/pct /usr/sbin/pct.real
	printf "%s\n" "#!/bin/sh" "[ \"\$1\" != shutdown ] || rm -f /dev/nvidia1" "exec /usr/sbin/pct.real \"\$@\"" >/usr/sbin/pct
	chmod +x /usr/sbin/pct
	lxc-nvidia-setup 200; echo "gone: $?"
	pct status 200; grep -c nvidia "$(conf 200)"'
ok 'a node that goes away: 6' out '^gone: 6$'
ok 'its lines are taken away' out '^0$'
ok 'so that it runs' out '^status: running$'

# ---- killed at any point, run again ---------------------------------------------------------
sim_host nvidia
sim_sh "$SETUP long=${PVE_SIM_LONG:-${PVE_GPU_TEST_LONG:-}}"'
	for point in "ct apt-update hang" "ct curl hang" "ct installer hang" "pct-shutdown hang" "pct-start hang" "ct nvidia-smi hang" half; do
		for signal in KILL TERM; do
			case $long$signal$point in
			*curl* | TERM*update* | TERM*half | TERM*start* | TERM*nvidia-smi*) continue ;;
			esac
			lxc-gpu-mount -q --remove 200 >/dev/null 2>&1
			[ "$(pct status 200)" = "status: running" ] || pct start 200
			fresh
			simctl fault -; simctl fault "$point"
			: >/run/pve-sim/ct.log
			setsid lxc-nvidia-setup 200 >/tmp/out 2>&1 &
			pid=$!
			word=${point#* } word=${word% hang}
			case $point in
			half) wait $pid; pid= ;;
			ct*) case $word in apt-update) word="apt-get.*update" ;; installer) word="nvidia-driver-installer" ;; esac
				simctl until 20 grep -q "^$word" /run/pve-sim/ct.log ;;
			*) word=${point% hang}; simctl until 20 pgrep -f "^/usr/bin/perl /usr/sbin/pct ${word#pct-}" >/dev/null ;;
			esac
			[ -z "$pid" ] || { kill -$signal "-$pid"; wait $pid; }
			simctl fault -
			lxc-nvidia-setup 200 >/tmp/out 2>&1; rc=$?
			if [ $rc -eq 0 ] && [ -z "$(left 200)" ] && pct exec 200 -- nvidia-smi >/dev/null; then echo "good: $signal $point"
			else echo "BAD: $signal $point: $rc $(left 200)"; cat /tmp/out; fi
		done
	done'
ok 'killed and run again' no_out '^BAD'
ok 'at every point' is "$(grep -c '^good: ' "$T/out")" "$([ -n "${PVE_SIM_LONG:-${PVE_GPU_TEST_LONG:-}}" ] && echo 14 || echo 8)"

# Two at a time.
sim_host nvidia
sim_sh "$SETUP"'
	simctl fault "ct apt-update hang"
	lxc-nvidia-setup 200 >/tmp/first 2>&1 &
	simctl until 20 grep -q "^apt-get" /run/pve-sim/ct.log
	lxc-nvidia-setup 200; echo "second: $?"'
ok 'the second one keeps off' out '^second: 1$'
ok 'and says so' out 'another run of lxc-nvidia-setup is at work'
sim_end
