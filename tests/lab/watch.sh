# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Run QEMU and watch the machine's console; both labs' boot scripts read this.

# What is new on the console, in whole lines, those that start with "lab".
shown=0
show() {
	lines=$(head -n "$(wc -l <"$log")" "$log" | grep -a '^lab' | tr -d '\r') || return 0
	[ -n "$lines" ] || return 0
	printf '%s\n' "$lines" | tail -n "+$((shown + 1))" |
		sed "s/^lab: FAIL/FAIL${label:+ $label}/; s/^lab: /    ${label:+$label }/; /^lab-/d"
	shown=$(printf '%s\n' "$lines" | wc -l)
}

# answer: what the host does each time that it looks, if it is there to be asked.
answer() { :; }

# watch LOG SECONDS QEMU-ARGUMENT...: until the machine is off, or has said
# "lab-end" (its step is over) or "lab-kill" (it wants to lose its power), on
# which QEMU is killed. Exits 0, 0, 9; 1 when none of it came in time.
watch() {
	log=$1 limit=$2
	shift 2
	: >"$log"
	nice -n 10 qemu-system-x86_64 "$@" >"$log.qemu" 2>&1 &
	qemu=$!
	trap 'kill -KILL $qemu 2>/dev/null || :' EXIT
	trap 'exit 130' INT TERM HUP
	end=$(($(date +%s) + limit))
	while [ "$(date +%s)" -lt $end ]; do
		word=$(grep -aE '^lab-(kill|end)' "$log" | tr -d '\r') || :
		if [ -n "$word" ]; then
			kill -KILL $qemu
			wait $qemu 2>/dev/null || :
			show
			[ "$word" = lab-end ] && exit 0
			exit 9
		fi
		show
		answer
		# Gone, or a zombie: which of them depends on the shell.
		state=$(cut -d' ' -f3 /proc/$qemu/stat 2>/dev/null) || state=Z
		if [ "$state" = Z ]; then
			wait $qemu && exit 0
			cat "$log.qemu" >&2
			exit 1
		fi
		sleep 0.2
	done
	printf '%s: neither power-off nor the moment to kill within %s s; the console ends in:\n' "$0" "$limit" >&2
	tail -n 15 "$log" >&2
	exit 1
}
