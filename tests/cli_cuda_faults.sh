#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cuda-ckpt against a libcuda without a GPU (fakecuda/): 1 to 64 processes that count on
# and keep their memory, every failure of every stage, calls that hang, drivers of 12.4 to
# 13.4, processes in the middle of their copies. Prints a table of what was seen.
# PVE_GPU_TEST_LONG: more of the same.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
jobs=
# shellcheck disable=SC2086 # several processes
trap 'last_words $?; kill -KILL $jobs 2>/dev/null || :; rm -rf "$dir"' EXIT
fail() {
	echo "FAIL: $*" >&2
	: >"$dir/failed"
	failed=1
}

rc=0
sh "$src/fakecuda/build.sh" "$dir/lib" || rc=$?
[ "$rc" -eq 0 ] || exit "$rc"
[ "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)" -eq 0 ] || [ "$(id -u)" -eq 0 ] || {
	echo 'skipped: this system lets nobody but root look into a process'
	exit 77
}
export LD_LIBRARY_PATH="$dir/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
export ASAN_OPTIONS

# knobs DIR [NAME VALUE]...: from now on this is the driver's folder, and there is no
# fault
knobs() {
	FAKE_CUDA_DIR=$1
	export FAKE_CUDA_DIR
	shift
	rm -rf "$FAKE_CUDA_DIR"
	mkdir -p "$FAKE_CUDA_DIR"
	: >"$FAKE_CUDA_DIR/log"
	while [ $# -gt 0 ]; do
		echo "$2" >"$FAKE_CUDA_DIR/$1"
		shift 2
	done
}
fault() { printf '%s\n' "$@" >"$FAKE_CUDA_DIR/faults"; }
forget() {
	rm -f "$FAKE_CUDA_DIR/faults" "$FAKE_CUDA_DIR"/used.*
	: >"$FAKE_CUDA_DIR/log"
}
# Between the making of the file and its first line it is empty.
count() {
	number=$(cat "$dir/job.$1" 2>/dev/null) || number=
	echo "${number:-0}"
}

slow=${TEST_SLOW:-1}
# start N [OPTION...]: N jobs that count, into job.PID; their pids in $pids
start() {
	left=$1
	shift
	pids=
	while [ "$left" -gt 0 ]; do
		# shellcheck disable=SC2016 # the inner shell's
		sh -c 'file=$0.$$; exec "$@" "$file"' "$dir/job" "$dir/lib/cudajob" "$@" >/dev/null 2>&1 &
		pids="$pids $!"
		left=$((left - 1))
	done
	jobs="$jobs $pids"
	for p in $pids; do
		counts_on "$p" || fail "job $p does not start"
	done
}
end() {
	# shellcheck disable=SC2086 # several processes
	kill -KILL $pids 2>/dev/null || :
}

# A job goes on counting.
counts_on() {
	before=$(count "$1")
	tries=0
	until [ "$(count "$1")" -gt "$before" ]; do
		tries=$((tries + 1))
		[ $tries -lt $((3000 * slow)) ] || return 1
		sleep 0.02
	done
}
all_count() { # TEXT
	for p in $pids; do
		counts_on "$p" || fail "$1: $p does not go on"
	done
}
# All stand still while we look. Who is stopped between a step and writing it down writes
# it down yet, once.
all_stand() {
	text=$1
	# shellcheck disable=SC2086 # several processes
	set -- $pids
	for _ in 1 2; do
		for p; do count "$p" >"$dir/was.$p"; done
		sleep 0.15
		moved=
		for p; do
			[ "$(count "$p")" = "$(cat "$dir/was.$p")" ] || moved="$moved $p"
		done
		[ -n "$moved" ] || return 0
		# shellcheck disable=SC2086
		set -- $moved
	done
	fail "$text:$moved goes on"
}
# Every word of their GPU memory is what it was.
all_verified() {
	for p in $pids; do
		rm -f "$dir/job.$p.sum"
		kill -USR1 "$p" 2>/dev/null || :
	done
	for p in $pids; do
		tries=0
		until [ -e "$dir/job.$p.sum" ] || [ $tries -eq $((3000 * slow)) ]; do
			tries=$((tries + 1))
			sleep 0.02
		done
		grep -qs '^ok ' "$dir/job.$p.sum" || fail "$1: the memory of $p: $(cat "$dir/job.$p.sum" 2>&1)"
	done
}

ms() { echo $(($(date +%s%N) / 1000000)); }
# try ARG...: cuda-ckpt; its exit code in $rc, its time in $spent. Where nothing hangs, a
# starved machine is not to look as if something did.
try() {
	begin=$(ms)
	rc=0
	timeout $((600 * slow)) cuda-ckpt -t 200000 "$@" >"$dir/out.$id" 2>"$dir/err.$id" </dev/null || rc=$?
	spent=$(($(ms) - begin))
}
# ckpt CODE ARG...: the exit code that is due, or - for any but 0
ckpt() {
	due=$1
	shift
	try "$@"
	case $due.$rc in
	-.0 | -.124 | -.64 | -.127) ;;
	-.* | "$rc.$rc") return 0 ;;
	esac
	fail "$id: cuda-ckpt $* exited $rc, not $due: $(cat "$dir/err.$id")"
}
says() { grep -qF -- "$1" "$dir/err.$id" || fail "$id: does not say '$1': $(cat "$dir/err.$id")"; }
calls() { grep -Ec " $1 [0-9]+ begin" "$FAKE_CUDA_DIR/log" || :; }
# under_way N OP: so many calls of it have begun
under_way() {
	tries=0
	until [ "$(calls "$2")" -ge "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt $((3000 * slow)) ] || { fail "$id: $(calls "$2") calls of $2, not $1"; return; }
		sleep 0.02
	done
}
# all_end PID...: what runs beside us; without it set -e would pass over them
all_end() {
	for beside; do wait "$beside" || fail "a part of this test ended with $?"; done
}
# Nothing was asked of the driver that changes anything.
untouched() {
	if grep -E ' (lock|checkpoint|restore|unlock) ' "$FAKE_CUDA_DIR/log" >&2; then
		fail "$id: the driver was called"
	fi
}
row() { printf '%-36s %4s  %s\n' "$1" "$2" "$3"; }
head() { printf '\n%-36s %4s  %s\n' "$1" exit seen; }

# --- 1 to 64 processes --------------------------------------------------------

head 'processes: suspend, resume'
for n in 1 2 8 64; do
	id=$n
	knobs "$dir/k"
	if [ $n = 64 ]; then start $n -t 200; else start $n; fi
	# shellcheck disable=SC2086 # several processes
	set -- $pids
	: >"$FAKE_CUDA_DIR/log"
	ckpt 0 suspend "$@"
	all_stand "$n suspended"
	if grep -q ' init ' "$FAKE_CUDA_DIR/log"; then fail "$n: cuInit, only to suspend"; fi
	last=$(grep -n ' lock [0-9]* end 0' "$FAKE_CUDA_DIR/log" | tail -n 1 | cut -d: -f1)
	first=$(grep -n -m 1 ' checkpoint [0-9]* begin' "$FAKE_CUDA_DIR/log" | cut -d: -f1)
	[ "${last:-999999}" -lt "${first:-0}" ] || fail "$n: a checkpoint before the last lock"
	ckpt 0 state "$@"
	[ "$(grep -c checkpointed "$dir/out.$id")" -eq "$n" ] || fail "$n: states: $(cat "$dir/out.$id")"
	: >"$FAKE_CUDA_DIR/log"
	ckpt 0 resume "$@"
	[ "$(calls init)" -eq 1 ] || fail "$n: $(calls init) cuInit"
	last=$(grep -n ' restore [0-9]* end 0' "$FAKE_CUDA_DIR/log" | tail -n 1 | cut -d: -f1)
	first=$(grep -n -m 1 ' unlock [0-9]* begin' "$FAKE_CUDA_DIR/log" | cut -d: -f1)
	[ "${last:-999999}" -lt "${first:-0}" ] || fail "$n: an unlock before the last restore"
	all_count "$n resumed"
	all_verified "$n resumed"
	row "$n" 0 'all stood; all count on, memory verified'
	end
done

# --- every failure of every stage, in the second of four ----------------------

errors='1 2 3 34 100 201 304 401 600 800 801 803 999 12345 crash late-999'
suspend_faults() {
	start 4
	# shellcheck disable=SC2086
	set -- $pids
	for stage in lock checkpoint; do
		for what in $errors; do
			id=$stage.$what
			knobs "$dir/k.suspend"
			fault "$stage $2 $what"
			ckpt - suspend "$@"
			says "$2"
			rm -f "$FAKE_CUDA_DIR/faults"
			all_count "$id"
			row "$stage: $what" "$rc" 'all count on'
		done
	done
	# What fails on the way back is tried again.
	for stage in restore unlock; do
		id=back.$stage
		knobs "$dir/k.suspend"
		fault "checkpoint $3 2" "$stage $2 999 once"
		ckpt - suspend "$@"
		all_count "$id"
		row "checkpoint: 2; back, $stage: 999 once" "$rc" 'all count on'
	done
	all_verified 'after all these'
	end
	# A driver that kills the one that it works on: the others go on.
	for stage in lock checkpoint; do
		id=$stage.kill
		start 4
		# shellcheck disable=SC2086
		set -- $pids
		knobs "$dir/k.suspend"
		fault "$stage $2 kill"
		ckpt - suspend "$@"
		says "$2"
		for p in "$1" "$3" "$4"; do counts_on "$p" || fail "$id: $p does not go on"; done
		row "$stage: the process is killed" "$rc" 'the others count on'
		end
	done
}
resume_faults() {
	start 4
	# shellcheck disable=SC2086
	set -- $pids
	for stage in restore unlock; do
		for what in $errors; do
			id=$stage.$what
			knobs "$dir/k.resume"
			ckpt 0 suspend "$@"
			fault "$stage $2 $what"
			try resume "$@"
			if [ $stage = restore ]; then
				[ $rc -ne 0 ] || fail "$id: exit 0"
				all_stand "$id"
				seen='all are suspended as before'
			else
				# Who is restored is let go.
				for p in "$1" "$3" "$4"; do counts_on "$p" || fail "$id: $p does not go on"; done
				seen='the others count on'
				[ $rc -ne 0 ] || {
					all_count "$id"
					seen='all count on'
				}
			fi
			[ $rc -eq 0 ] || says "$2"
			forget
			[ $rc -eq 0 ] || {
				code=$rc
				ckpt 0 resume "$@"
				rc=$code
				seen="$seen; without the fault all count on"
			}
			all_count "$id, then resumed"
			row "$stage: $what" "$rc" "$seen"
		done
		id=$stage.once
		knobs "$dir/k.resume"
		ckpt 0 suspend "$@"
		fault "$stage $2 999 once"
		ckpt 0 resume "$@"
		all_count "$id"
		row "$stage: 999 once" 0 'tried again; all count on'
	done
	id=init
	knobs "$dir/k.resume"
	ckpt 0 suspend "$@"
	for what in 999 100 crash; do
		fault "init 0 $what"
		ckpt - resume "$@"
		all_stand "cuInit $what"
		row "cuInit: $what" "$rc" 'all are suspended as before'
	done
	forget
	ckpt 0 resume "$@"
	all_count 'cuInit failed, then resumed'
	all_verified 'after all these'
	end
}
# Side by side: most of the time goes by in waiting.
suspend_faults >"$dir/rows.suspend" &
waits=$!
resume_faults >"$dir/rows.resume" &
waits="$waits $!"

# --- calls that do not return, side by side -------------------------------------

# hanging STAGE FAULT: suspend with a limit of 300 ms. Who never returns is told of, and
# the others go on; who returns late takes back what it did.
hanging() {
	id=$1.$2
	# The way back waits for cuInit, however short the limit of the calls is.
	knobs "$dir/k.$id" init-ms 2500
	start 4
	# shellcheck disable=SC2086
	set -- "$1" "$2" $pids
	case $2 in
	sleep-*) fault "$1 $4 sleep-$((${2#*-} * slow))" ;;
	*) fault "$1 $4 $2" ;;
	esac
	ckpt 75 suspend --timeout $((300 * slow)) "$3" "$4" "$5" "$6"
	[ "$spent" -lt $((15000 * slow)) ] || fail "$id: waits for $spent ms"
	says 'does not answer'
	says "$4"
	for p in "$3" "$5" "$6"; do counts_on "$p" || fail "$id: $p does not go on"; done
	seen='the others count on'
	case $2 in
	sleep-*)
		all_count "$id: after the call"
		seen='all count on once the call has returned'
		;;
	esac
	row "$1: $2" "$rc" "after $((spent / 1000)).$((spent / 100 % 10)) s $seen"
	end
}
n=0
for what in 'lock hang' 'lock late-hang' 'lock sleep-4000' 'checkpoint hang' 'checkpoint sleep-7000'; do
	n=$((n + 1))
	# shellcheck disable=SC2086 # two words
	hanging $what >"$dir/row.$n" &
	waits="$waits $!"
done
# shellcheck disable=SC2086
all_end $waits
head 'suspend of 4, 1 of them fails'
cat "$dir/rows.suspend"
head 'resume of 4, 1 of them fails'
cat "$dir/rows.resume"
head 'suspend of 4, limit 300 ms, 1 hangs'
cat "$dir"/row.?
# A lock that is not to be had in time is the driver's own answer.
id=busy
knobs "$dir/k"
start 1 -t 1
echo 1 >"$FAKE_CUDA_DIR/hold-kernels"
under_way 1 kernel
# shellcheck disable=SC2086
ckpt 75 suspend --timeout $((200 * slow)) $pids
rm "$FAKE_CUDA_DIR/hold-kernels"
all_count busy
row 'lock: a kernel that does not end' "$rc" 'counts on'
end

# --- signals ----------------------------------------------------------------------

# struck SIGNAL COPIES VERB: a signal to cuda-ckpt in the middle of copies, when so many
# have begun
struck() {
	id=struck.$1.$2.$3
	knobs "$dir/k.$id"
	start 4
	# shellcheck disable=SC2086
	set -- "$1" "$2" "$3" $pids
	[ "$3" = suspend ] || ckpt 0 suspend "$4" "$5" "$6" "$7"
	: >"$FAKE_CUDA_DIR/log"
	: >"$FAKE_CUDA_DIR/hold-copies"
	cuda-ckpt "$3" "$4" "$5" "$6" "$7" >"$dir/out.$id" 2>"$dir/err.$id" &
	pid=$!
	if [ "$3" = suspend ]; then under_way "$2" checkpoint; else under_way "$2" restore; fi
	kill -"$1" $pid 2>/dev/null || fail "$id: has ended already"
	rm "$FAKE_CUDA_DIR/hold-copies"
	rc=0
	wait $pid || rc=$?
	case $1 in
	KILL) [ $rc -eq 137 ] || fail "$id: exit $rc" ;;
	*) [ $rc -eq 75 ] || fail "$id: exit $rc: $(cat "$dir/err.$id")" ;;
	esac
	if [ "$3" = suspend ]; then
		seen='all count on'
	else
		[ "$1" = KILL ] || all_stand "$id"
		seen='resumed again, all count on'
		# A worker whose parent was killed is at work on them for a while.
		tries=0
		until timeout $((30 * slow)) cuda-ckpt resume "$4" "$5" "$6" "$7" >/dev/null 2>"$dir/err.$id" || [ $tries -eq 30 ]; do
			tries=$((tries + 1))
			sleep 0.2
		done
	fi
	all_count "$id"
	all_verified "$id"
	row "$3: SIG$1, $2 copies begun" "$rc" "$seen"
	end
}
head 'copies, a signal'
waits=
n=0
for what in 'INT 1 suspend' 'TERM 4 suspend' 'KILL 4 suspend' 'INT 1 resume' 'KILL 4 resume'; do
	n=$((n + 1))
	# shellcheck disable=SC2086 # three words
	struck $what >"$dir/sig.$n" &
	waits="$waits $!"
done
# shellcheck disable=SC2086
all_end $waits
cat "$dir"/sig.?

# --- drivers -----------------------------------------------------------------------

head driver
start 2
# shellcheck disable=SC2086
set -- $pids
gpu=GPU-00000000-1111-2222-3333-4444444444
for version in 12080 12090 13000 13020 13040; do
	id=$version
	knobs "$dir/k" version $version gpus 2
	ckpt 0 suspend "$@"
	if [ $version -lt 13000 ]; then
		: >"$FAKE_CUDA_DIR/log"
		ckpt 69 resume --gpu-map "${gpu}00=${gpu}01,${gpu}01=${gpu}00" "$@"
		untouched
		ckpt 0 resume "$@"
		seen='no --gpu-map, nothing touched; all count on'
	else
		ckpt 0 resume --gpu-map "${gpu}00=${gpu}01,${gpu}01=${gpu}00" "$@"
		seen='to the other GPU and back; all count on'
	fi
	all_count "$id"
	if [ $version -ge 13000 ]; then
		ckpt 0 suspend "$@"
		# A map has to name all GPUs.
		ckpt - resume --gpu-map "${gpu}01=${gpu}00" "$@"
		ckpt 0 resume --gpu-map "${gpu}00=${gpu}01,${gpu}01=${gpu}00" "$@"
		all_count "$id, back"
	fi
	row "$((version / 1000)).$((version % 1000 / 10))" 0 "$seen"
done
id=old
knobs "$dir/k" version 12040
LD_LIBRARY_PATH=$dir/lib/old:$LD_LIBRARY_PATH ckpt 69 suspend "$@"
says 12.4
all_count old
row '12.4, without these calls' 69 'all count on'
id=persistence
knobs "$dir/k" init-ms $((1500 * slow))
ckpt 0 suspend "$@"
[ "$(calls init)" -eq 0 ] || fail "a suspend waits for cuInit"
ckpt 0 resume "$@"
[ "$(calls init)" -eq 1 ] || fail "cuInit $(calls init) times"
all_count "$id"
row 'cuInit of 1.5 s' 0 'none for suspend, one for resume'
all_verified drivers

# --- found before anything is touched -----------------------------------------------

head 'found before anything is touched'
knobs "$dir/k"
# refused ID CODE TEXT ARG...: and nothing was asked of the driver that changes anything
refused() {
	id=$1
	code=$2
	text=$3
	shift 3
	: >"$FAKE_CUDA_DIR/log"
	ckpt "$code" "$@"
	untouched
	[ -s "$dir/err.$id" ] || fail "$id: says nothing"
	row "$text" "$rc" "$(sed -n '1s/^cuda-ckpt: //; 1s/[0-9][0-9][0-9]* (/N (/; 1p' "$dir/err.$id" | cut -c1-90)"
}
for word in 0 -1 12a '' 99999999999 1.5; do
	refused "word.$word" 64 "pid '$word'" suspend -- "$1" "$word"
done
refused pid1 - 'pid 1, beside a good one' suspend "$1" 1
sleep 0 &
gone=$!
wait $gone
refused gone 66 'a pid that is gone' suspend "$1" $gone
thread=$(for task in "/proc/$1/task"/*; do echo "${task##*/}"; done | grep -vx "$1" | tail -n 1)
refused thread - 'a thread for a process' suspend "$2" "$thread"
sleep 300 &
plain=$!
jobs="$jobs $plain"
refused nocuda - 'no CUDA in the process' suspend "$1" $plain
"$dir/lib/cudabare" wait &
bare=$!
jobs="$jobs $bare"
refused nocontext - 'libcuda mapped, no context' suspend "$1" $bare
kill -STOP "$2"
until grep -q '^State:	T' "/proc/$2/status"; do sleep 0.02; done
refused stopped - 'a stopped process' suspend "$1" "$2"
kill -CONT "$2"
refused unlock - 'unlock while running' unlock "$1" "$2"
refused restore - 'restore while running' restore "$1" "$2"
refused checkpoint - 'checkpoint while running' checkpoint "$1" "$2"
fault "state $2 304"
refused state304 - 'state: 304' suspend "$1" "$2"
forget
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	id=user
	chmod 755 "$dir" "$dir/lib" && chmod -R a+rwX "$dir/k"
	refuse() { setpriv --reuid 65534 --regid 65534 --clear-groups -- "$ckpt" "$@"; }
	mkdir "$dir/bin"
	cp "$(command -v cuda-ckpt)" "$dir/bin/cuda-ckpt"
	cat >"$dir/bin/as-nobody" <<-END
		#!/bin/sh
		exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$dir/bin/cuda-ckpt" "\$@"
	END
	chmod 755 "$dir/bin" "$dir/bin"/*
	mkdir "$dir/nobody"
	ln -s ../bin/as-nobody "$dir/nobody/cuda-ckpt"
	chmod 755 "$dir/nobody"
	old=$PATH
	PATH=$dir/nobody:$PATH
	refused user 77 "another user's process" suspend "$1"
	PATH=$old
fi
all_count 'after all these'

# Too little GPU memory, by libnvidia-ml.
LD_LIBRARY_PATH=$dir/lib/nvml:$LD_LIBRARY_PATH
id=vram
# Who is not root keeps the record himself.
record=
[ "$(id -u)" -eq 0 ] || record=--record=$dir/record
echo 800000000 >"$FAKE_CUDA_DIR/vram-free"
ckpt 0 suspend ${record:+"$record"} "$@"
echo 1000000 >"$FAKE_CUDA_DIR/vram-free"
refused vram - 'too little free GPU memory' resume ${record:+"$record"} "$@"
all_stand "$id"
echo 800000000 >"$FAKE_CUDA_DIR/vram-free"
ckpt 0 resume ${record:+"$record"} "$@"
all_count "$id"
all_verified "$id"
LD_LIBRARY_PATH=${LD_LIBRARY_PATH#*:}
fault "state $2 hang"
refused hang 75 'state: the driver hangs' suspend --timeout 300 "$1" "$2"
all_count 'after that'
end

# --- one after the other, and all at once --------------------------------------------

head 'copies that take a while'
CUDA_CHECKPOINT_JOB_FILE=$dir/jobfile
export CUDA_CHECKPOINT_JOB_FILE
start 3
unset CUDA_CHECKPOINT_JOB_FILE
id=job
knobs "$dir/k" copy-ms 100
# shellcheck disable=SC2086
set -- $pids
ckpt 0 suspend "$@"
ckpt 0 resume "$@"
all_count "$id"
deep=$(awk '$3 != "init" { n += $5 == "begin" ? 1 : -1; if (n > most) most = n } END { print most }' "$FAKE_CUDA_DIR/log")
[ "$deep" = 1 ] || fail "a job's processes: $deep calls at a time"
row '3 of a job, CUDA_CHECKPOINT_JOB_FILE' 0 'never two calls at a time'
end

id=speed
knobs "$dir/k"
start 8 -t 50
# shellcheck disable=SC2086
set -- $pids
# No copy ends before the last has begun.
: >"$FAKE_CUDA_DIR/hold-copies"
{ under_way 8 checkpoint; rm "$FAKE_CUDA_DIR/hold-copies"; } &
waits=$!
ckpt 0 suspend "$@"
all_end $waits
row '8 copies, as one unit' 0 "all at once: $spent ms"
ckpt 0 resume "$@"
all_count "$id"
all_verified "$id"
end

# What failed in the background counts, too.
[ ! -e "$dir/failed" ] || failed=1
exit $failed
