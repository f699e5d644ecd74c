# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# pci-rescan's writes against the same writes done bare, turn about in one boot.
# The machine's clock counts instructions; medians of all rounds.

# value NAME: of one JSON object on stdin
value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\)\"\{0,1\}[,}].*/\1/p"; }
# median FILE: of the sums of its lines, a line for each round
median() {
	awk '{ sum = 0; for (i = 1; i <= NF; i++) sum += $i; print sum }' "$1" | sort -n |
		awk '{ n[NR] = $1 } END { print NR % 2 ? n[(NR + 1) / 2] : (n[NR / 2] + n[NR / 2 + 1]) / 2 }'
}

# program ADDR, bare_loop: one round, a line each into their files
program() {
	pci-rescan -j --only slot "$1" >/run/lab/report || return 1
	grep '"type":"write"' /run/lab/report >/run/lab/writes
	value ms </run/lab/writes | tr '\n' ' ' | sed 's/$/\n/' >>/run/lab/program
	grep '"type":"result"' /run/lab/report | value ms >>/run/lab/whole
}
bare_loop() {
	while read -r line; do
		printf '%s %s\n' "$(echo "$line" | value value)" "$(echo "$line" | value path)"
	done </run/lab/writes >/run/lab/todo
	bare </run/lab/todo >/run/lab/bare.out || return 1
	cut -d' ' -f1 /run/lab/bare.out | tr '\n' ' ' | sed 's/$/\n/' >>/run/lab/bare
}
# compare ADDR TEXT
compare() {
	rm -f /run/lab/program /run/lab/whole /run/lab/bare
	take before
	# One of each first: what they read is in memory then.
	program "$1" && bare_loop
	rm -f /run/lab/program /run/lab/whole /run/lab/bare
	round=0
	while [ $round -lt $rounds ]; do
		round=$((round + 1))
		program "$1" && bare_loop || {
			lab_fail "$2: round $round"
			return
		}
	done
	check "$2: nothing is lost" as_at before
	p=$(median /run/lab/program) b=$(median /run/lab/bare) w=$(median /run/lab/whole)
	lab_say "$(awk -v p="$p" -v b="$b" -v w="$w" -v n="$(wc -l </run/lab/writes)" -v t="$2" 'BEGIN {
		printf "%s: %d writes %.2f ms, bare %.2f ms, ratio %.3f; own work beside them %.2f ms, ratio %.2f",
			t, n, p, b, p / b, w - p, (w - p) / b }')"
	check "$2: the writes cost at most 1.15 of the bare ones" awk -v p="$p" -v b="$b" 'BEGIN { exit p > 1.15 * b }'
}

machine() {
	rounds=9
	[ "$(lab_word lab.long)" != 1 ] || rounds=100
	lend $gpu $slot
	compare $gpu "a GPU alone"
	compare $slot "GPU and audio in one slot"
	unlend $gpu $slot
	compare $drm "a display and audio with host drivers"
}
