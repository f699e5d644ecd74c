#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sim_lxc-nvidia-setup_faults.sh - lxc-nvidia-setup on a simulated host: each step's
# failure and exit code, a node that goes away, kills, two at a time.
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
sum=$(printf 'x' | sha256sum | cut -d ' ' -f 1)

# ---- every failing step ----------------------------------------------------------------
# CODE, FAULT (or -), CONTAINER, ARGUMENTS; then faults end: is it as before, can it be
# started?
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
	for id in 0 -5 abc 1x "200;id"; do try 2 - "$id"; done
	for word in --gpu= --driver= --repo= --runfile= --driver=abc --repo=ftp://x/y --runfile=relative --sha256=12 \
		--cuda=x --style=x --timeout=0 --timeout=x --no-such-option "--gpu=0;1" --runfile=http://x.example.org/a.run \
		--repo-key=http://x.example.org/k "--repo=https://x y" --runfile=https://x/NVIDIA-Linux-x86_64-535.1.run \
		--runfile=/no/such/file; do
		try 2 - 200 "$word"
	done
	try 3 - 99
	try 3 - 1000000000
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
	simctl fault "pct-start hang"; lxc-gpu-mount -q --remove 200
	cd /usr/libexec/pve-gpu-utils; cp -p lxc-nvidia-container /tmp; sed -i "s/timeout + 60))/timeout + 3))/" lxc-nvidia-container
	lxc-nvidia-setup --timeout 1 200 >/tmp/out 2>&1; echo "hanging start: $?"
	cp -p /tmp/lxc-nvidia-container .; cd /; simctl fault -; pct start 200 && pct exec 200 -- nvidia-smi >/dev/null; echo "starts: $?"'
ok 'every step its exit code, every container as before' no_out '^BAD'
ok 'all of them were tried' is "$(grep -c '^good: ' "$T/out")" 53
ok 'not root' out '^not root: 4$'
ok 'nothing was written before the checks were done' out '^0$'
ok 'in the end it works' out '^in the end: 0$'
ok 'a start that hangs' out '^hanging start: 6$'
ok 'and later it starts' out '^starts: 0$'

# ---- an installer of the host that is not, or not whole, in the container --------------
# On the same host.
sim_sh "$SETUP"'
	{ cat /usr/lib/pve-sim/ct-tool; echo "# version 550.54.14"; } >/root/driver.run
	for fault in fail nothing full short -; do
		fresh
		simctl fault -; [ "$fault" = - ] || simctl fault "pct-push $fault"
		n=$(calls nvidia-driver-installer)
		lxc-nvidia-setup --runfile=/root/driver.run 200 >/tmp/out 2>&1; rc=$?
		echo "push $fault: $rc, $(grep -c "/root/driver.run could not be copied" /tmp/out), $(($(calls nvidia-driver-installer) - n)), left: $(pct exec 200 -- find /var/tmp -name "lxc-nvidia-setup.*")"
		sed "s/^/push $fault: | /" /tmp/out
	done'
for fault in fail nothing full short; do
	ok "pct push, $fault: said, not run" out "^push $fault: 5, 1, 0, left: \$"
done
ok "what pct says of it" out '^push full: .*failed to create file: /var/tmp/.*: No space left on device'
ok "how much of it came" out '^push short: .* [0-9]+ of [0-9]+ bytes came'
ok "the whole file is run" out '^push -: 0, 0, 1, left: $'

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

# ---- in the end the container has the state that it had --------------------------------
# A pct that is ended while what it asked for goes on; HA; a container that cannot start.
# On the same host: its libraries are there.
sim_sh "$SETUP"'
	mkdir /run/stub
	cat >/usr/sbin/pct <<"END"
#!/bin/sh
# "late VERB": what was asked for comes 3 s after pct has hung.
verb=$1 late= refuse=
echo "$verb" >>/run/stub/calls
[ ! -e /run/stub/refuse ] || read -r refuse </run/stub/refuse
[ "$verb" != "$refuse" ] || { [ ! -e /run/stub/off ] || exit 255; }
[ ! -e /run/stub/late ] || read -r late </run/stub/late
[ "$verb" != "$late" ] || {
	rm /run/stub/late
	setsid sh -c "sleep 3; /usr/sbin/pct.real $verb $2; : >/run/stub/off" >/dev/null 2>&1 </dev/null &
	: >/run/stub/hung
	exec sleep 1000
}
exec /usr/sbin/pct.real "$@"
END
	chmod +x /usr/sbin/pct
	# ended WHAT CONTAINER COMMAND...: ended with all of its own, once COMMAND says so
	ended() {
		what=$1 id=$2
		shift 2
		rm -f /run/stub/off /run/stub/hung; : >/run/stub/calls
		rm -rf /run/pve-gpu-utils/lxc-nvidia-setup
		lxc-gpu-mount -q --remove $id >/dev/null 2>&1
		setsid lxc-nvidia-setup --timeout 10 $id >/run/stub/out 2>&1 &
		pid=$!
		simctl until 100 "$@"
		kill -TERM "-$pid"; wait $pid; rc=$?
		[ ! -e /run/stub/hung ] || simctl until 100 test -e /run/stub/off
		echo "$what: $rc, $(pct.real status $id), $(grep -c "^start" /run/stub/calls) starts"
		sed "s/^/$what| /" /run/stub/out | tail -n 6
	}
	pct.real start 200
	echo shutdown >/run/stub/late; ended late-stop 200 test -e /run/stub/hung
	echo shutdown >/run/stub/late; echo start >/run/stub/refuse; ended no-start 200 test -e /run/stub/hung
	rm /run/stub/refuse; pct.real start 200
	echo start >/run/stub/late; ended late-start 201 test -e /run/stub/hung
	mkdir -p /etc/pve/ha; ha-manager add ct:200
	ended HA 200 grep -q "ha-request.*stopped" /run/pve-sim/events
	simctl until 100 sh -c "pct.real status 200 | grep -q running"; echo "HA: later: $?"'
ok 'stopped after pct was ended: runs again' out '^late-stop: 1, status: running, 1 starts$'
ok 'one that cannot start is tried twice' out '^no-start: 1, status: stopped, 2 starts$'
ok 'and that is said' out '^no-start\| .*did not start$'
ok 'started after pct was ended: is off again' out '^late-start: 1, status: stopped, 1 starts$'
ok 'HA: runs again' out '^HA: later: 0$'

# ---- killed at any point, run again ----------------------------------------------------
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
				simctl until 100 grep -q "^$word" /run/pve-sim/ct.log ;;
			*) word=${point% hang}; simctl until 100 pgrep -f "^/usr/bin/perl /usr/sbin/pct ${word#pct-}" >/dev/null ;;
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
	simctl until 100 grep -q "^apt-get" /run/pve-sim/ct.log
	lxc-nvidia-setup 200; echo "second: $?"'
ok 'the second one keeps off' out '^second: 1$'
ok 'and says so' out 'another run of lxc-nvidia-setup is at work'
sim_end
