#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cuda-ckpt's command line: both spellings, what is refused before anything is touched,
# selections, memory, reports, signals. Against a libcuda without a GPU (fakecuda/);
# failures of the driver are cli_cuda_faults.sh's.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
jobs=
groups=
# shellcheck disable=SC2317 # by the trap
clean() {
	# shellcheck disable=SC2086 # several processes
	kill -KILL $jobs 2>/dev/null || :
	for group in $groups; do
		for i in 1 2 3 4 5; do
			rmdir "$group" 2>/dev/null && break
			sleep "0.$i"
		done
	done
	rm -rf "$dir"
}
trap 'last_words $?; clean' EXIT
# Without timeout: functions too, and signals go to the program itself.
call() {
	# Where nothing hangs, a starved machine is not to look as if something did.
	case "$1 ${2-}" in
	'cuda-ckpt '[a-z]* | 'cuda-ckpt -q')
		shift
		set -- cuda-ckpt -t 60000 "$@"
		;;
	esac
	"$@"
}

[ "$(id -u)" -eq 0 ] || { echo 'skipped: root is needed to work on other processes'; exit 77; }

# --- no driver is needed to refuse these ---
for word in 0 12a 1.5 '' 99999999999999999999 0x10 -- +1; do
	expect 64 cuda-ckpt suspend -- "$word"
done
expect 64 cuda-ckpt suspend 12a
says '12a: not a process id'
expect 64 cuda-ckpt suspend -1
says '-1: not a process id'
expect 64 cuda-ckpt suspend 0
says '0: not a process id'
expect 64 cuda-ckpt suspend
expect 64 cuda-ckpt nonsense 1
expect 64 cuda-ckpt suspend --timeout 1s 1
expect 64 cuda-ckpt suspend --timeout -1 1
expect 64 cuda-ckpt suspend --tree
expect 64 cuda-ckpt suspend --cgroup relative
expect 64 cuda-ckpt suspend --cgroup /a --container b
expect 64 cuda-ckpt suspend --container ''
expect 64 cuda-ckpt suspend --guest qemu/100
says 'run cuda-ckpt in it'
expect 64 cuda-ckpt suspend --guest lxc/
expect 64 cuda-ckpt suspend --gpu-map GPU-0=GPU-1 1
expect 64 cuda-ckpt resume --gpu-map GPU-0=GPU-1 1
expect 64 cuda-ckpt suspend --pid 1
expect 64 cuda-ckpt state -j -0 1
expect 66 cuda-ckpt suspend 4194305
says 'process 4194305: no such process'
expect 66 cuda-ckpt suspend --cgroup /no/such/group
expect 66 cuda-ckpt suspend --container no-such-container
expect 66 cuda-ckpt suspend --guest lxc/4711
expect 69 cuda-ckpt suspend 1
says 'does not use CUDA'
for word in 0 -1 12a; do
	expect 1 cuda-ckpt --action lock --pid "$word"
	says "$word: not a process id"
done
expect 1 cuda-ckpt --action lock --pid 1
expect 1 cuda-ckpt --action lock --pid 4194305
expect 1 cuda-ckpt --action lock
says 'Error: --pid is required'
expect 1 cuda-ckpt --action jump --pid 1
expect 1 cuda-ckpt --action lock --pid 1 --timeout soon
expect 1 cuda-ckpt --action lock --nonsense
# What would be passed over in silence is no option of this spelling.
for word in --tree --cgroup=/a --container=a --guest=lxc/1 --record=/nonexistent/a --gpu-map=GPU-0=GPU-1 -j; do
	expect 1 cuda-ckpt --action lock --pid 1 "$word"
	says 'take --pid, --timeout and --force only'
done
expect 0 cuda-ckpt
cp "$dir/out" "$dir/usage"
expect 0 cuda-ckpt --help
prints - "no action: usage" <"$dir/usage"
[ "$(wc -l <"$dir/usage")" -le 24 ] || fail "--help is longer than 24 lines"

# --- a libcuda that needs no GPU, and programs that use it ---
rc=0
sh "$src/fakecuda/build.sh" "$dir/lib" || rc=$?
[ "$rc" -eq 0 ] || { [ "$failed" -eq 0 ] || rc=1; exit "$rc"; }
FAKE_CUDA_DIR=$dir/knobs
export FAKE_CUDA_DIR
mkdir "$FAKE_CUDA_DIR"
: >"$FAKE_CUDA_DIR/log"
knob() { echo "$2" >"$FAKE_CUDA_DIR/$1"; }
fault() { rm -f "$FAKE_CUDA_DIR"/used.*; printf '%s\n' "$@" >"$FAKE_CUDA_DIR/faults"; }
slow=${TEST_SLOW:-1}
with_nvml="$dir/lib:$dir/lib/nvml"
PATH_BEFORE=${LD_LIBRARY_PATH:-}

# A program is named where it is not installed: no library of its own may be in the way.
expect 1 cuda-ckpt check -r
grep -q '^-	driver	fail	libcuda.so.1 is not there$' "$dir/out" || fail "check without a driver"
LD_LIBRARY_PATH=$dir/lib${PATH_BEFORE:+:$PATH_BEFORE}
export LD_LIBRARY_PATH

# soon TEXT COMMAND...: within a minute the command's output is the text
soon() {
	want=$1
	shift
	for _ in $(seq $((600 * slow))); do
		[ "$("$@" 2>/dev/null)" != "$want" ] || return 0
		sleep 0.1
	done
	return 1
}
# Nothing when one of them cannot be asked.
state() {
	cuda-ckpt state -r "$@" >"$dir/state" 2>/dev/null || return 0
	cut -f2 "$dir/state" | sort -u | tr '\n' ' '
}
# await STATE PID...
await() {
	word=$1
	shift
	soon "$word " state "$@" || fail "$* are not $word: $(state "$@")"
}
# shellcheck disable=SC2317 # by soon
under_way() { grep -c " $1 $2 begin" "$FAKE_CUDA_DIR/log"; }
# held OP PID: this call takes place when let_go says so
held() {
	: >"$FAKE_CUDA_DIR/hold"
	fault "$1 $2 held"
}
let_go() { rm "$FAKE_CUDA_DIR/hold"; }
# begun OP PID: the driver is at it; the log was emptied before
begun() { soon 1 under_way "$1" "$2" || fail "no $1 of $2 begins"; }
# The pid of a job that counts by now in $pid.
job() {
	"$dir/lib/cudajob" -m 1 -t 20 "$dir/count.$$" >/dev/null 2>&1 &
	pid=$!
	jobs="$jobs $pid"
	await running "$pid"
}
is() {
	want=$1
	shift
	now=$(state "$@")
	[ "$now" = "$want " ] || fail "state of $* is $now, not $want"
}
touched() { grep -vE ' (state|tid|init) ' "$FAKE_CUDA_DIR/log" | grep -q .; }
untouched() {
	! touched || { fail "$1: the driver was told to do something"; cat "$FAKE_CUDA_DIR/log" >&2; }
	: >"$FAKE_CUDA_DIR/log"
}

job; one=$pid
job; two=$pid

# --- the spelling with --action ---
action() { expect "$1" cuda-ckpt --action "$2" --pid "$one"; }
action 0 state; echo running | prints - "state"
action 0 lock; echo 'Process locked' | prints - "lock"
action 0 state; echo locked | prints - "state, locked"
action 1 lock; says 'Failed to lock: CUDA error 401: cuCheckpointProcessLock failed'
action 0 checkpoint; echo 'VRAM checkpointed to RAM' | prints - "checkpoint"
action 0 state; echo checkpointed | prints - "state, checkpointed"
action 1 unlock; says 'Failed to unlock: CUDA error 401: cuCheckpointProcessUnlock failed'
action 0 restore; echo 'VRAM restored from RAM' | prints - "restore"
action 0 unlock; echo 'Process unlocked' | prints - "unlock"
arrow=$(printf '\342\206\222')
action 0 full-checkpoint
prints - "full-checkpoint" <<END
Performing full checkpoint (lock + VRAM${arrow}RAM) for PID $one...
Full checkpoint complete - VRAM is now in host RAM
END
action 0 full-restore
prints - "full-restore" <<END
Performing full restore (RAM${arrow}VRAM + unlock) for PID $one...
Full restore complete - process is running
END
fault "checkpoint $one 999"
action 1 full-checkpoint
says 'Failed: checkpoint failed: CUDA error 999: cuCheckpointProcessCheckpoint failed'
fault
is running "$one"
knob gpus 2
expect 0 cuda-ckpt --list-gpus
prints - "GPUs" <<'END'
Found 2 GPU(s):
  GPU 0: GPU-00000000111122223333444444444400
  GPU 1: GPU-00000000111122223333444444444401
END
fault 'init * 100'
expect 1 cuda-ckpt --list-gpus
says 'Failed to initialize CUDA: CUDA error 100: cuInit failed'
fault
knob gpus 1

# --- what a state does not allow is found before anything is touched ---
: >"$FAKE_CUDA_DIR/log"
expect 69 cuda-ckpt checkpoint "$one"; says 'is running: lock it first, or use suspend'
expect 69 cuda-ckpt restore "$one"; says 'there is nothing to restore'
expect 69 cuda-ckpt unlock "$one"; says 'nothing to do'
untouched "stages that do not fit a running process"
expect 0 cuda-ckpt lock "$one"; silent
expect 69 cuda-ckpt lock "$one" "$two"; says 'is locked'
is locked "$one"
is running "$two"
expect 0 cuda-ckpt -q checkpoint "$one"; silent
: >"$FAKE_CUDA_DIR/log"
expect 69 cuda-ckpt lock "$one"; says 'is checkpointed: resume it first'
expect 69 cuda-ckpt checkpoint "$one"
expect 69 cuda-ckpt unlock "$one"; says 'restore it first, or use resume'
untouched "stages that do not fit a checkpointed process"
expect 0 cuda-ckpt restore "$one"
expect 0 cuda-ckpt unlock "$one"
is running "$one"

# --- suspend and resume are idempotent, whatever each of them is in ---
expect 0 cuda-ckpt -q suspend "$one"; silent
expect 0 cuda-ckpt -q suspend "$one" "$two"; silent
is checkpointed "$one" "$two"
: >"$FAKE_CUDA_DIR/log"
expect 0 cuda-ckpt -q suspend "$one" "$two"; silent
untouched "suspended already"
expect 0 cuda-ckpt restore "$two"
expect 0 cuda-ckpt resume "$one" "$two"; silent
is running "$one" "$two"
: >"$FAKE_CUDA_DIR/log"
expect 0 cuda-ckpt resume "$one" "$two"; silent
untouched "running already"
expect 0 cuda-ckpt -q suspend "$one" "$one" "$two" "$one"
[ "$(grep -c "checkpoint $one begin" "$FAKE_CUDA_DIR/log")" -eq 1 ] || fail "named twice, done twice"
expect 0 cuda-ckpt resume "$one" "$two"

# --- processes that the driver's calls would hang on, or take for another ---
tid=$(for task in /proc/"$one"/task/*; do echo "${task##*/}"; done | grep -vx "$one" | head -n 1)
: >"$FAKE_CUDA_DIR/log"
expect 66 cuda-ckpt suspend "$tid"; says "$tid is a thread of process $one"
untouched "a thread's id"
# shellcheck disable=SC2317 # by soon
process_state() { awk '$1 == "State:" { print $2 }' "/proc/$1/status"; }
kill -STOP "$one"
soon T process_state "$one" || fail "a process cannot be stopped"
expect 75 cuda-ckpt suspend "$one" "$two"; says "kill -CONT $one"
expect 1 cuda-ckpt check -r "$one"
grep -q "^$one	stopped	fail	" "$dir/out" || fail "check does not tell of a stop"
kill -CONT "$one"
untouched "a stopped process"
(sh -c 'exit 0' & echo $! >"$dir/zombie"; exec sleep 1000) & keeper=$!
jobs="$jobs $keeper"
soon sleep cat "/proc/$keeper/comm" || fail "no parent that does not wait"
zombie=$(cat "$dir/zombie")
if soon Z process_state "$zombie"; then
	expect 66 cuda-ckpt suspend "$zombie"; says 'has ended; its parent'
fi
# A user who may not look into its folder cannot run the program: it is copied. What is
# none, but a script that runs it under a tool, writes where that user may not.
program=$(command -v cuda-ckpt)
if [ "$(head -c 4 "$program" | tail -c 3)" != ELF ] && [ -z "${TEST_VALGRIND-}" ]; then
	echo 'not tested here: another user (the program is run by another)'
elif command -v setpriv >/dev/null && setpriv --reuid 65534 --clear-groups true 2>/dev/null; then
	mkdir -m 755 "$dir/other"
	chmod 755 "$dir"
	cp "$program" "$dir/other/cuda-ckpt"
	expect 77 setpriv --reuid 65534 --clear-groups "$dir/other/cuda-ckpt" suspend "$one"
	says 'is of user 0: root is needed'
	expect 77 setpriv --reuid 65534 --clear-groups "$dir/other/cuda-ckpt" suspend --tree $$
	says 'processes of other users in the selection: '
	[ "$(wc -l <"$dir/err")" -eq 2 ] || { fail "a line for each process of a tree"; cat "$dir/err" >&2; }
	expect 1 setpriv --reuid 65534 --clear-groups "$dir/other/cuda-ckpt" --action lock --pid "$one"
	untouched "another user's process"
else
	echo 'not tested here: another user (no setpriv)'
fi

# --- the library alone is no CUDA: refused by name, left out of a selection ---
LD_PRELOAD=$dir/lib/libcuda.so.1 sleep 1000 &
idle=$!
jobs="$jobs $idle"
soon libcuda grep -om 1 libcuda "/proc/$idle/maps" || fail "libcuda is not loaded into sleep"
if grep -q libcuda "/proc/$idle/maps" && ! cuda-ckpt -t 60000 state "$idle" >/dev/null 2>&1; then
	expect 69 cuda-ckpt suspend "$idle"; says 'but does not use CUDA'
fi

# --- a tree: the shell that began it has no CUDA ---
sh -c '"$1" -m 1 -t 20 "$2" & "$1" -m 1 -t 20 "$3" & wait' sh "$dir/lib/cudajob" "$dir/t1" "$dir/t2" >/dev/null 2>&1 &
tree=$!
jobs="$jobs $tree"
# shellcheck disable=SC2317 # by soon
tree_size() { cuda-ckpt state --tree -r "$tree" | grep -c running; }
soon 2 tree_size || fail "two jobs do not start"
expect 69 cuda-ckpt suspend "$tree"
expect 0 cuda-ckpt -q suspend --tree -j "$tree"
[ "$(grep -c '"stage":"checkpoint"' "$dir/out")" -eq 2 ] || fail "--tree is not two jobs"
expect 0 cuda-ckpt state --tree -r "$tree"
members=$(cut -f1 "$dir/out")
jobs="$jobs $members"
# shellcheck disable=SC2086 # several processes
is checkpointed $members
expect 0 cuda-ckpt resume --tree "$tree"
expect 1 cuda-ckpt suspend --tree "$keeper"
silent

# --- a report of each stage ---
expect 0 cuda-ckpt -q suspend -H "$one"
[ "$(head -n 1 "$dir/out")" = "#pid	stage	seconds	bytes	result" ] || fail "header of the report"
[ "$(cut -f1,2,5 "$dir/out" | tail -n 2 | tr '\t\n' '  ')" = "$one lock ok $one checkpoint ok " ] ||
	fail "report of a suspend: $(cat "$dir/out")"
expect 0 cuda-ckpt resume -j -o stage,result "$one"
prints - "report of a resume" <<'END'
{"stage":"restore","result":"ok"}
{"stage":"unlock","result":"ok"}
END
expect 0 cuda-ckpt suspend -v "$one"
says 'checkpoint in'
says 'is not known (by libnvidia-ml.so.1)'
expect 0 cuda-ckpt resume "$one"

# --- memory: the host's, the group's, the GPU's ---
LD_LIBRARY_PATH=$with_nvml${PATH_BEFORE:+:$PATH_BEFORE}
: >"$FAKE_CUDA_DIR/log"
if grep -q '"vram-used"' "$src/fakecuda/nvml.c"; then
	knob vram-used 1125899906842624
	expect 75 cuda-ckpt suspend "$one" "$two"
	says 'available host memory: '
	says '2097152.00 GiB that are needed'
	untouched "too little host memory"
	expect 0 cuda-ckpt suspend --force "$one"
	says 'tried all the same'
	rm "$FAKE_CUDA_DIR/vram-used"
	expect 0 cuda-ckpt resume -f "$one"
fi
expect 0 cuda-ckpt suspend --record "$dir/record" "$one"; silent
[ "$(tail -n 1 "$dir/record")" = '#end 1' ] || fail "the record has no end"
: >"$FAKE_CUDA_DIR/log"
knob vram-free 1000
expect 75 cuda-ckpt resume "$one"
says 'free memory of GPU-00000000-1111-2222-3333-444444444400: 0.00 GiB'
expect 75 cuda-ckpt resume --record "$dir/record" "$one"
printf 'GPU-00000000-1111-2222-3333-4444444444ff\t5\n#end 1\n' >"$dir/elsewhere"
expect 69 cuda-ckpt resume --record "$dir/elsewhere" "$one"; says '--gpu-map'
expect 66 cuda-ckpt resume --record "$dir/none" "$one"
for text in '' '#end 1' 'GPU-0	5' '#end 0
x'; do
	echo "$text" >"$dir/bad"
	expect 65 cuda-ckpt resume --record "$dir/bad" "$one"
done
untouched "too little GPU memory"
rm "$FAKE_CUDA_DIR/vram-free"
expect 0 cuda-ckpt resume --record "$dir/record" "$one"; silent
is running "$one"
# One that is suspended already needs its GPU memory again, too; a suspend that is taken
# back leaves the record of an earlier one as it was.
expect 0 cuda-ckpt suspend --record "$dir/record" "$one"
expect 0 cuda-ckpt suspend --record "$dir/both" "$one" "$two"
[ "$(awk 'NR == 1 { print $2 }' "$dir/both")" -eq $((2 * $(awk 'NR == 1 { print $2 }' "$dir/record"))) ] ||
	fail "a record of two, one of them suspended before: $(cat "$dir/record" "$dir/both")"
expect 0 cuda-ckpt resume "$one" "$two"; silent
mkfifo "$dir/pipe"
expect 73 cuda-ckpt suspend --record "$dir/pipe" "$one"
says "$dir/pipe: not a regular file"
[ -p "$dir/pipe" ] || fail "--record took the place of a FIFO"
is running "$one"
fault "checkpoint $one 999"
expect 69 cuda-ckpt suspend --record "$dir/new" "$one"
[ ! -e "$dir/new" ] || fail "the record of a suspend that was taken back"
cp "$dir/both" "$dir/earlier"
expect 69 cuda-ckpt suspend --record "$dir/both" "$one"
cmp "$dir/earlier" "$dir/both" >&2 || fail "a suspend that was taken back has changed a record"
fault
expect 0 cuda-ckpt suspend "$one"; silent
ls /run/pve-gpu-utils/cuda/"$one"-* >/dev/null 2>&1 || fail "no note of the GPU memory that was in use"
expect 0 cuda-ckpt resume "$one"; silent
! ls /run/pve-gpu-utils/cuda/"$one"-* >/dev/null 2>&1 || fail "the note of a process that runs stays"
expect 73 cuda-ckpt suspend --record "$dir/no/such/folder/record" "$one"
is running "$one"

# --- another GPU ---
knob gpus 2
gpu=GPU-00000000-1111-2222-3333-4444444444
map=${gpu}00=${gpu}01,${gpu}01=${gpu}00
expect 64 cuda-ckpt suspend --gpu-map "$map" "$one"
expect 64 cuda-ckpt resume --gpu-map "$map,$map" "$one"; says 'named twice'
expect 0 cuda-ckpt suspend "$one"
: >"$FAKE_CUDA_DIR/log"
expect 69 cuda-ckpt resume --gpu-map "${gpu}00=${gpu}07" "$one"; says "${gpu}07: no such GPU here"
untouched "a GPU map to a GPU that is not here"
knob version 12080
: >"$FAKE_CUDA_DIR/log"
expect 69 cuda-ckpt resume --gpu-map "$map" "$one"; says 'needs a driver of CUDA 13.0'
untouched "a GPU map with an old driver"
rm "$FAKE_CUDA_DIR/version"
expect 0 cuda-ckpt resume --gpu-map "$map" "$one"
is running "$one"
expect 0 cuda-ckpt suspend "$one"
expect 0 cuda-ckpt resume --gpu-map "$map" "$one"
knob gpus 1
LD_LIBRARY_PATH=$dir/lib${PATH_BEFORE:+:$PATH_BEFORE}

# --- the other spelling looks at memory, too ---
LD_LIBRARY_PATH=$with_nvml${PATH_BEFORE:+:$PATH_BEFORE}
knob vram-used 1125899906842624
: >"$FAKE_CUDA_DIR/log"
action 1 full-checkpoint; says 'available host memory: '
untouched "too little host memory, --action"
rm "$FAKE_CUDA_DIR/vram-used"
action 0 full-checkpoint; silent
: >"$FAKE_CUDA_DIR/log"
knob vram-free 1000
action 1 full-restore; says 'free memory of GPU-'
untouched "too little GPU memory, --action"
rm "$FAKE_CUDA_DIR/vram-free"
action 0 full-restore; silent
! ls /run/pve-gpu-utils/cuda/"$one"-* >/dev/null 2>&1 || fail "the note of a process that runs stays (--action)"
LD_LIBRARY_PATH=$dir/lib${PATH_BEFORE:+:$PATH_BEFORE}

# --- more processes than descriptors are allowed for at first ---
limited='prlimit --nofile=8:'
# It would be valgrind's.
[ -z "${TEST_VALGRIND-}" ] || limited=
$limited cuda-ckpt -q suspend "$one" "$two" || fail "a soft limit of open files stops it"
expect 0 cuda-ckpt resume "$one" "$two"

# --- what fails before the first stage is not called one ---
fault "state $one 304"
expect 69 cuda-ckpt suspend "$one"; says "process $one (cudajob): state: CUDA error 304"
expect 1 cuda-ckpt --action restore --pid "$one"; says 'CUDA error 304: cuCheckpointProcessGetState failed'
fault

fault "state $one crash"
expect 1 cuda-ckpt check -r "$one"
grep -q "^$one	cuda	fail	the driver's library crashed" "$dir/out" || fail "check and a library that crashes"
fault

# --- a driver that is too old, or none ---
knob version 12040
expect 69 cuda-ckpt suspend "$one"; says 'the driver is of CUDA 12.4: checkpoints need 12.8'
expect 1 cuda-ckpt check -r
grep -q '^-	driver	fail	CUDA 12.4' "$dir/out" || fail "check does not tell of an old driver"
rm "$FAKE_CUDA_DIR/version"
expect 69 env LD_LIBRARY_PATH="$dir/lib/old${PATH_BEFORE:+:$PATH_BEFORE}" cuda-ckpt suspend "$one"
expect 0 cuda-ckpt check -r "$one"
grep -q "^$one	state	ok	running$" "$dir/out" || fail "check of a process that can be"
grep -q '^-	driver	ok	CUDA 13.0$' "$dir/out" || fail "check of the driver"

# --- another root: facts, never the driver ---
expect 66 cuda-ckpt -R "$dir" suspend "$one"
mkdir -p "$dir/root/proc/77"
printf 'Name:\tx\nState:\tS (sleeping)\nTgid:\t77\nPid:\t77\nPPid:\t1\nUid:\t0\t0\t0\t0\n' >"$dir/root/proc/77/status"
printf '77 (x) S 1 77\n' >"$dir/root/proc/77/stat"
printf '0::/a/b\n' >"$dir/root/proc/77/cgroup"
printf '7f0000000000-7f0000001000 r-xp 00000000 08:01 42 /usr/lib/libcuda.so.580.65.06\n' >"$dir/root/proc/77/maps"
: >"$dir/root/proc/77/environ"
expect 69 cuda-ckpt -R "$dir/root" suspend 77; says 'knows the processes of this host only'
# A CRIU that others may write to is not run, on whatever root.
mkdir -p "$dir/root/usr/local/sbin"
: >"$dir/root/usr/local/sbin/criu"
chmod 757 "$dir/root/usr/local/sbin/criu"
expect 0 cuda-ckpt -R "$dir/root" check -r
grep -q "^-	criu	warn	$dir/root/usr/local/sbin/criu others may write to it: .*; it was not run\$" "$dir/out" ||
	{ fail "check and a CRIU that others may write to"; cat "$dir/out" >&2; }
chmod 755 "$dir/root/usr/local/sbin/criu"
expect 0 cuda-ckpt -R "$dir/root" check -r
grep -q "^-	criu	unknown	" "$dir/out" || fail "check and a CRIU of another root"
# The process of that number may be there on this host, too.
mkdir "$dir/root/proc/$one"
for file in status stat cgroup maps environ; do
	sed "s/77/$one/g" "$dir/root/proc/77/$file" >"$dir/root/proc/$one/$file"
done
: >"$FAKE_CUDA_DIR/log"
expect 1 cuda-ckpt -R "$dir/root" --action lock --pid "$one"; says 'knows the processes of this host only'
expect 1 cuda-ckpt -R "$dir/root" --list-gpus
untouched "another root, --action"
is running "$one"
mkdir -p "$dir/root/sys/fs/cgroup/a/b"
: >"$dir/root/sys/fs/cgroup/cgroup.controllers"
echo 1 >"$dir/root/sys/fs/cgroup/a/cgroup.freeze"
expect 75 cuda-ckpt -R "$dir/root" suspend --cgroup /a; says 'echo 0 > /sys/fs/cgroup/a/cgroup.freeze'

# --- one at a time ---
held lock "$one"
: >"$FAKE_CUDA_DIR/log"
cuda-ckpt -q suspend "$one" & first=$!
begun lock "$one"
expect 75 cuda-ckpt suspend "$one"; says 'another cuda-ckpt is at work on it'
let_go
wait "$first" || fail "the first of two runs failed"
fault
expect 0 cuda-ckpt resume "$one"

# --- signals take back, and so does a death ---
for signal in INT TERM HUP; do
	held checkpoint "$two"
	: >"$FAKE_CUDA_DIR/log"
	# A shell starts what is in the background with SIGINT ignored.
	sh -c 'trap - INT; exec "$@"' sh cuda-ckpt suspend "$one" "$two" 2>"$dir/err" & run=$!
	begun checkpoint "$two"
	kill -s "$signal" "$run"
	let_go
	rc=0
	wait "$run" || rc=$?
	[ "$rc" -eq 75 ] || fail "SIG$signal: exit $rc, not 75"
	says 'stopped by a signal'
	is running "$one" "$two"
done
for at in lock checkpoint; do
	held "$at" "$two"
	: >"$FAKE_CUDA_DIR/log"
	cuda-ckpt -q suspend "$one" "$two" & run=$!
	begun "$at" "$two"
	kill -KILL "$run"
	wait "$run" 2>/dev/null || :
	let_go
	await running "$one" "$two"
done
for at in restore unlock; do
	fault
	expect 0 cuda-ckpt -q suspend "$one" "$two"
	held "$at" "$two"
	: >"$FAKE_CUDA_DIR/log"
	cuda-ckpt -q resume "$one" "$two" & run=$!
	begun "$at" "$two"
	kill -KILL "$run"
	wait "$run" 2>/dev/null || :
	let_go
	await running "$one" "$two"
done
fault
# shellcheck disable=SC2317 # by soon
code() {
	rc=0
	"$@" 2>"$dir/err" || rc=$?
	echo "$rc"
}
# At any time: it is done or it is not, for all of them, and can be done again.
knob copy-ms 40
times=4
[ -z "${PVE_GPU_TEST_LONG:-}" ] || times=100
while [ "$times" -gt 0 ]; do
	for verb in suspend resume; do
		cuda-ckpt -q "$verb" "$one" "$two" 2>/dev/null & run=$!
		sleep "0.$(printf '%03d' $((times * 53 % 230)))"
		[ $((times % 2)) -eq 0 ] && signal=KILL || signal=TERM
		kill -s "$signal" "$run" 2>/dev/null || :
		wait "$run" 2>/dev/null || :
		# A killed run's workers are busy for a moment.
		soon 0 code cuda-ckpt -q "$verb" "$one" "$two" || fail "no $verb after SIG$signal: $(cat "$dir/err")"
	done
	times=$((times - 1))
done
rm "$FAKE_CUDA_DIR/copy-ms"
is running "$one" "$two"

# --- in order, where the job says so ---
CUDA_CHECKPOINT_JOB_FILE=$dir/jobfile
export CUDA_CHECKPOINT_JOB_FILE
job; three=$pid
job; four=$pid
unset CUDA_CHECKPOINT_JOB_FILE
knob copy-ms 100
: >"$FAKE_CUDA_DIR/log"
expect 0 cuda-ckpt -q suspend "$four" "$three"
expect 0 cuda-ckpt resume "$three" "$four"
rm "$FAKE_CUDA_DIR/copy-ms"
overlap=$(awk '$3 ~ /^(lock|checkpoint|restore|unlock)$/ {
	if ($5 == "begin" && ++open > 1) bad++
	if ($5 == "end") open--
} END { print bad + 0 }' "$FAKE_CUDA_DIR/log")
[ "$overlap" -eq 0 ] || fail "a job's processes were worked on at the same time"
[ "$(grep -c ' unlock .* end 0' "$FAKE_CUDA_DIR/log")" -eq 2 ] || fail "a job's processes were not all done"

# --- one that begins to use CUDA meanwhile ---
sh -c 'while [ ! -e "$3" ]; do sleep 0.05; done; "$1" -m 1 -t 20 "$2" & wait' \
	sh "$dir/lib/cudajob" "$dir/t3" "$dir/go" >/dev/null 2>&1 & late=$!
jobs="$jobs $late"
held lock "$one"
: >"$FAKE_CUDA_DIR/log"
cuda-ckpt -q -t 100000 suspend --tree "$one" "$late" 2>"$dir/err" & run=$!
begun lock "$one"
: >"$dir/go"
# shellcheck disable=SC2317 # by soon
late_ones() { cuda-ckpt state --tree -r "$late" | grep -c running; }
soon 1 late_ones || fail "nobody begins to use CUDA meanwhile"
let_go
rc=0
wait "$run" || rc=$?
[ "$rc" -eq 75 ] || fail "a newcomer: exit $rc, not 75"
says 'has begun to use CUDA meanwhile'
fault
is running "$one"
# shellcheck disable=SC2046 # several processes
jobs="$jobs $(cuda-ckpt state -r --tree "$late" | cut -f1 | tr '\n' ' ')"

# --- control groups: a selection, a freezer, a limit ---
# new_group NAME CONTROLLER: $group, in a hierarchy that has the controller, or nothing
new_group() {
	group=
	for top in /sys/fs/cgroup "/sys/fs/cgroup/$2"; do
		[ "$2" != freezer ] || [ "$top" != /sys/fs/cgroup ] || [ -e "$top/cgroup.controllers" ] || continue
		[ "$2" = freezer ] || [ "$top" != /sys/fs/cgroup ] ||
			grep -qw "$2" "$top/cgroup.subtree_control" 2>/dev/null || continue
		mkdir "$top/$1" 2>/dev/null || continue
		group=$top/$1
		groups="$groups $group"
		return
	done
}
new_group "cuda-ckpt-test.$$" freezer
if [ -n "$group" ] && echo "$one" >"$group/cgroup.procs" 2>/dev/null; then
	expect 0 cuda-ckpt -q suspend -j --cgroup "/cuda-ckpt-test.$$"
	[ "$(grep -c '"stage":"checkpoint"' "$dir/out")" -eq 1 ] || fail "--cgroup is not one job"
	expect 0 cuda-ckpt resume --cgroup "$group"
	is running "$one"
	expect 0 cuda-ckpt -q suspend --container "cuda-ckpt-test.$$"
	is checkpointed "$one"
	expect 0 cuda-ckpt resume --container "cuda-ckpt-test.$$"
	expect 0 cuda-ckpt resume --container "cuda-ckpt-test.$$" "$one"
	expect 66 cuda-ckpt resume --container "cuda-ckpt-test.$$.no" "$one"
	expect 66 cuda-ckpt suspend --cgroup "$group.no"
	if [ -e "$group/cgroup.freeze" ]; then
		freeze="echo 1 >$group/cgroup.freeze" thaw="echo 0 > $group/cgroup.freeze"
	else
		freeze="echo FROZEN >$group/freezer.state" thaw="echo THAWED > $group/freezer.state"
	fi
	sh -c "$freeze"
	: >"$FAKE_CUDA_DIR/log"
	expect 75 cuda-ckpt suspend "$one" "$two"; says "$thaw"
	expect 75 cuda-ckpt suspend --cgroup "/cuda-ckpt-test.$$"
	expect 1 cuda-ckpt check -r "$one"
	grep -q "^$one	frozen	fail	" "$dir/out" || fail "check does not tell of a frozen group"
	! grep -q " $one " "$FAKE_CUDA_DIR/log" || fail "the driver was asked about a frozen process"
	# The way out that is said is one.
	sh -c "$thaw"
	expect 0 cuda-ckpt -q suspend "$one" "$two"
	expect 0 cuda-ckpt resume "$one" "$two"
else
	echo 'not tested here: a frozen group (no control group can be made)'
fi
new_group "cuda-ckpt-limit.$$" memory
if [ -n "$group" ]; then
	# A job of 64 MiB with 40 MiB left for it.
	sh -c 'echo $$ >"$1/cgroup.procs" && exec "$2" -m 64 -t 20 "$3"' sh "$group" "$dir/lib/cudajob" "$dir/t4" >/dev/null 2>&1 &
	big=$!
	jobs="$jobs $big"
	await running "$big"
	# It counts when it has touched all that it takes.
	soon yes sh -c '[ ! -s "$1" ] || echo yes' sh "$dir/t4" || fail "the job of 64 MiB does not count"
	if [ -e "$group/memory.max" ]; then
		limit=$group/memory.max used=$group/memory.current
	else
		limit=$group/memory.limit_in_bytes used=$group/memory.usage_in_bytes
	fi
	echo $(($(cat "$used") + 40 * 1024 * 1024)) >"$limit"
	: >"$FAKE_CUDA_DIR/log"
	LD_LIBRARY_PATH=$with_nvml${PATH_BEFORE:+:$PATH_BEFORE}
	expect 75 cuda-ckpt suspend "$big" "$one"; says "memory limit of $group: "; says 'raise the limit'
	untouched "too little room in a group"
	echo $((512 * 1024 * 1024)) >"$limit"
	expect 0 cuda-ckpt suspend "$big" "$one"
	expect 0 cuda-ckpt resume "$big" "$one"
	LD_LIBRARY_PATH=$dir/lib${PATH_BEFORE:+:$PATH_BEFORE}
else
	echo 'not tested here: a memory limit (no control group can be made)'
fi

# --- progress is for a terminal; a pipe of ours is nobody else's ---
knob copy-ms 1000
if command -v script >/dev/null; then
	script -qec "cuda-ckpt suspend $one $two" /dev/null >"$dir/tty" 2>&1 </dev/null || fail "suspend on a terminal"
	grep -qF 'checkpoint: 0 of 2 processes' "$dir/tty" || fail "no progress on a terminal: $(cat "$dir/tty")"
	expect 0 cuda-ckpt resume "$one" "$two"; silent
fi
rm -f "$FAKE_CUDA_DIR/copy-ms"
fault "lock $one hang"
before=$(date +%s)
out=$(timeout $((100 * slow)) cuda-ckpt -t 500 suspend "$one" "$two" 2>&1) && fail "a call that hangs: exit 0"
[ $(($(date +%s) - before)) -lt $((50 * slow)) ] || fail "waited for a call that hangs: $out"
case $out in
*'the driver does not answer'*) ;;
*) fail "a call that hangs: $out" ;;
esac
is running "$two"
# Only whoever hangs is left, by the driver's own log.
hung=$(awk '$3 == "lock" && $5 == "begin" { print $2 }' "$FAKE_CUDA_DIR/log" | tail -n 2)
for pid in $hung; do
	[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != cuda-ckpt ] || kill -KILL "$pid"
done
exit "$failed"
