# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2034,SC2154 # variables of testlib.sh and of those who source this
# faultlib.sh - for the tests that break things on simulated hosts; sourced after
# testlib.sh.
#   fault_host NAME [SED] [K=V]...  a fresh host of its own, its description edited
#   fault_sh [-c CONF] [-f FAULTS] [-b] SCRIPT   one boot: the hook enabled, the states saved in
#                       $H/before, SCRIPT; then until all is quiet: $H/after, $H/left, $H/procs
#   In SCRIPT: when REGEX SCRIPT runs SCRIPT once such an event was there (in the background);
#                       during [GUEST] SCRIPT in the middle of the backup of qemu/100, or GUEST, which
#                       goes on until it is done; said REGEX waits until one of us has said so
#   run_case WORDS FUNCTION [ARG]...   one case, beside others; WORDS go before what check says
#   cases_end           wait for all, add up
#   steps_of HOST [SED] the steps of an undisturbed night, in $T/steps: number, program, what, object
#   sample COUNT EVERY  COUNT numbers of these, evenly out of those where something is done; the
#                       plumbing between vzdump and the hook is the same in every phase: each
#                       EVERY-th of it is enough
#   made GUEST          was its backup made?
#   same, tidy          the states are as before; nothing of ours is left
#   told REGEX          is it in the task log, in syslog, in a unit's journal?
# Long: PVE_SIM_LONG=1, or what run-all.sh --long sets.
long=${PVE_SIM_LONG:-${PVE_GPU_TEST_LONG:-}}
fault_jobs=${PVE_SIM_JOBS:-4}
fault_begun=0
# process names, as cut off by the kernel
ours='vm-state-restor|vm-state-save|guest-stop|vzdump-gpu-hook|vzdump-hook-cha|vzdump-hook|50-gpu|vfio-bind|gpu-conflicts|hooks-report|qm|pct|vzdump|systemd-run'

fault_host()
{
	fault_name=$1
	shift
	mkdir -p "$T"
	cp "pve-sim/hosts/$fault_name.host" "$T/$fault_name.host"
	case ${1:-} in
	*[!a-z]=*|*' '*|s*|/*)
		sed -i "$1" "$T/$fault_name.host"
		shift ;;
	esac
	sim_host "$T/$fault_name.host" "$@"
	cat >"$H/case.sh" <<-END
	# CONF FAULTS SCRIPT
	cd /
	when() # REGEX SCRIPT
	{
		(
			n=0
			until grep -Eq -- "\$(printf '%s' "\$1" | sed 's/ /\t/g')" /run/pve-sim/events; do
				n=\$((n + 1))
				[ \$n -lt 15000 ] || exit
				sleep 0.02
			done
			eval "\$2"
		) &
	}
	during() # [GUEST] SCRIPT
	{
		[ \$# -eq 2 ] || set -- qemu/100 "\$1"
		: >/run/pve-sim/state/\${1#*/}.hold
		when "backup-begin \$1" "\$2; rm -f /run/pve-sim/state/\${1#*/}.hold"
	}
	said() { simctl until 60 grep -Erqs -- "\$1" /run/pve-sim/tasks.log /run/pve-sim/syslog /run/pve-sim/journal; }
	# The guardian that watches guests who were told to stop and run on does so for
	# max-wait: that is quiet, too.
	watches()
	{
		[ -e /var/lib/pve-gpu-utils/journal ] || return 1
		sed '/^#/d; s/\t.*//' /var/lib/pve-gpu-utils/journal | while read -r guest; do
			simctl states | grep -q "^\$guest running" || echo "\$guest"
		done | grep -q . && return 1
		n=\$((n + 20))
		[ \$n -ge \${patience:-80} ]
	}
	look()
	{
		n=0 i=0
		while ps -eo comm= | grep -Ex '$ours' >/run/pve-sim/procs && [ \$i -lt \${longest:-3000} ]; do
			sleep 0.1
			i=\$((i + 1))
			[ \$((i % 10)) -eq 0 ] || continue
			if ! ps -eo args= | grep -v -e '--guard' -e 'grep' | grep -Eq '/(vm-state-|guest-stop|vzdump|qm |pct )' && watches; then
				mv /run/pve-sim/procs /run/pve-sim/watched
				break
			fi
		done
		: >>/run/pve-sim/procs
		simctl states >/run/pve-sim/after
		[ -e /run/pve-sim/watched ] || (cd /var/lib/pve-gpu-utils 2>/dev/null && ls -d journal drivers/* 2>/dev/null) >/run/pve-sim/left
		: >>/run/pve-sim/left
	}
	if [ ! -e /run/pve-sim/before ]; then
		pve-gpu-hooks enable >/dev/null || exit 99
		[ -z "\$1" ] || printf '[backup]\n%b\n' "\$1" >/etc/pve-gpu-utils/pve-gpu-utils.conf
		simctl states >/run/pve-sim/before
	fi
	[ -z "\$2" ] || printf '%b\n' "\$2" >/run/pve-sim/faults
	rc=0
	eval "\$3" || rc=\$?
	look
	exit \$rc
	END
}

fault_sh()
{
	fault_conf='' fault_lines='' fault_boot=''
	while :; do
		case $1 in
		-c) fault_conf=$2; shift 2 ;;
		-f) fault_lines=$2; shift 2 ;;
		-b) fault_boot=--boot; shift ;;
		*) break ;;
		esac
	done
	rc=0
	timeout -k 5 "${sim_limit:-500}" "$SIM" run "$H" $fault_boot -- sh /run/pve-sim/case.sh "$fault_conf" \
		"$fault_lines" "$1" >"$T/out" 2>&1 || rc=$?
}

case_begin()
{
	fault_words=$1
	T=$T/case$2
	mkdir -p "$T"
	sim_checks=0 sim_failed=0 sim_hosts=0
	trap 'rc=$?; [ -e "$T/result" ] || echo "FAIL $fault_words: broke off, exit code $rc"; : >"$T/over"' EXIT
}

case_end()
{
	echo "$sim_checks $sim_failed" >"$T/result"
	if [ "$sim_failed" -gt 0 ] && [ -n "${PVE_SIM_KEEP:-}" ]; then
		mkdir -p "$PVE_SIM_KEEP/${0##*/}.${T##*/}"
		(cd "$H" && cp -r events tasks.log syslog journal steps before after left procs disk/var/lib/pve-gpu-utils \
			"$T/out" "$PVE_SIM_KEEP/${0##*/}.${T##*/}/" 2>/dev/null) || :
	fi
	"$SIM" rm "$T"/host*
	exit 0
}

# run_case WORDS FUNCTION [ARG]...: in the background, some at a time
run_case()
{
	fault_begun=$((fault_begun + 1))
	fault_log=$T/log.$fault_begun
	(
		case_begin "$1" "$fault_begun"
		shift
		fault_start=$(date +%s)
		"$@"
		[ -z "${PVE_SIM_KEEP:-}" ] || echo "$fault_words: $(($(date +%s) - fault_start)) s"
		case_end
	) >"$fault_log" 2>&1 &
	while [ $((fault_begun - $(find "$T" -mindepth 2 -maxdepth 2 -name over | wc -l))) -ge "$fault_jobs" ]; do
		sleep 0.2
	done
}

# Add up what the cases found.
cases_end()
{
	wait
	n=0
	while [ $n -lt $fault_begun ]; do
		n=$((n + 1))
		cat "$T/log.$n"
		if read -r checks failed <"$T/case$n/result"; then
			sim_checks=$((sim_checks + checks))
			sim_failed=$((sim_failed + failed))
		else
			echo "FAIL case $n broke off"
			sim_checks=$((sim_checks + 1))
			sim_failed=$((sim_failed + 1))
		fi
	done 2>/dev/null
}

made() { event "backup-made $1"; }
told() { cat "$H/tasks.log" "$H/syslog" "$H"/journal/* "$T/out" 2>/dev/null | grep -Eq -- "$1"; }
not_told() { ! told "$1"; }

check()
{
	sim_words=$1
	shift
	ok "$fault_words: $sim_words" "$@"
}

same() { check 'all guests as before' diff "$H/before" "$H/after"; }
tidy()
{
	check 'nothing is left in the journal, no drivers' is "$(cat "$H/left")" ''
	check 'no process of ours is left' is "$(cat "$H/procs")" ''
}

steps_of()
{
	fault_host "$1" "${2:-}"
	fault_sh -f steps 'simctl night'
	cp "$H/steps" "$T/steps"
	"$SIM" rm "$H"
}

sample()
{
	awk -F '\t' -v count="$1" -v every="$2" '
		$3 ~ /^(vzdump-hook|vzdump-hook-chain|50-gpu)$/ { if (plumbing++ % every == 0) n[++all] = $1; next }
		$4 == "exec" && $5 ~ /\/(touch|find|timeout|awk|sort|mkdir|systemctl)$/ { next }
		{ n[++all] = $1 }
		END { for (i = 0; i < count; i++) print n[1 + int(i * all / count)] }' "$T/steps" | sort -nu
}
