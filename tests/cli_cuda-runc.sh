#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cuda-runc over a runtime and a cuda-ckpt that write down how they are called.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
fixture cuda-runc

# cuda-ckpt is the one beside cuda-runc, which has to be the program itself for that.
runc="${TEST_VALGRIND-} $dir/bin/cuda-runc"
mkdir "$dir/bin" "$dir/path" "$dir/fake" "$dir/b" "$dir/b/rootfs" "$dir/cwd"
cp "${TEST_PROGRAMS:-$(dirname "$(command -v cuda-runc)")}/cuda-runc" "$dir/bin/cuda-runc"
fake=$dir/fake

cp "$src/fake-runc.sh" "$dir/path/runc"
cat >"$dir/bin/cuda-ckpt" <<'CKPT'
#!/bin/sh
# Stands for cuda-ckpt; in a frozen container the driver's calls would hang.
echo "cuda-ckpt $*" >>"$FAKE/log"
[ "$(cat "$FAKE/status")" = running ] || { echo "cuda-ckpt: frozen" >&2; echo FROZEN >>"$FAKE/log"; exit 75; }
verb=$1
record=
shift
while [ "$1" != -- ]; do
	[ "$1" != --record ] || record=$2
	shift
done
shift
[ "$verb" != suspend ] || [ -z "$record" ] || echo '#end 0' >"$record"
trap 'for pid; do echo running >"$FAKE/cuda.$pid"; done; exit 75' TERM
[ ! -e "$FAKE/fail-ckpt-$verb" ] || {
	echo "cuda-ckpt: no luck with \"$verb\"" >&2
	exit 71
}
for pid; do
	case $verb in
	state)
		if [ -e "$FAKE/cuda.$pid" ]; then
			printf '%s\t%s\t1\tjob\n' "$pid" "$(cat "$FAKE/cuda.$pid")"
		else
			echo "cuda-ckpt: process $pid has libcuda mapped, but does not use CUDA" >&2
			code=69
		fi
		;;
	suspend) echo checkpointed >"$FAKE/cuda.$pid" ;;
	resume) echo running >"$FAKE/cuda.$pid" ;;
	esac
done
: >"$FAKE/in-$verb"
while [ -e "$FAKE/slow-$verb" ]; do sleep 0.05; done
exit "${code-0}"
CKPT
chmod 755 "$dir/path/runc" "$dir/bin/cuda-ckpt"
mkdir "$dir/other"
printf '#!/bin/sh\necho "nvidia: $*"\n' >"$dir/other/nvidia-container-runtime"
chmod 755 "$dir/other/nvidia-container-runtime"

fresh() { # STATUS
	rm -rf "$fake" "$dir/image" "$dir/log.json" "${root:?}/etc"
	mkdir "$fake"
	echo "$1" >"$fake/status"
	echo '[4711,4712,4713,4714]' >"$fake/pids"
	echo running >"$fake/cuda.4711"
	echo running >"$fake/cuda.4712"
	printf '{"ociVersion":"1.0.2","root":{"path":"rootfs"},"mounts":[{"destination":"/proc"}]}' >"$dir/b/config.json"
	printf '100 0 0:30 / / rw - overlay overlay rw\n' >"$root/proc/4711/mountinfo"
	printf 'Name:\tjob\nTracerPid:\t0\nUid:\t0\n' >"$root/proc/4711/status"
	: >"$fake/log"
}
enter() { # cuda-runc in the environment of a shim: cwd is the bundle
	cd "$dir/b"
	exec env -i PATH="$dir/path:/usr/bin:/bin" PVE_GPU_ROOT="$root" FAKE="$fake" BUNDLE="$dir/b" \
		IMAGE="$dir/image" ${ASAN_OPTIONS:+"ASAN_OPTIONS=$ASAN_OPTIONS"} ${extra-} $runc "$@"
}
call() {
	(enter "$@")
}
expect() { # EXIT-STATUS ARG...
	want=$1
	shift
	rc=0
	call "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	[ "$rc" -eq "$want" ] || {
		fail "cuda-runc $* exited $rc, not $want"
		cat "$dir/err" "$fake/log" >&2
	}
}
logged() { # NAME: what was called, without the global options and numbers of our own
	sed -e 's/ --log [^ ]*//g; s/ --log-format [^ ]*//; s/ --root [^ ]*//' -e "s|$dir/image|IMAGE|" "$fake/log" >"$dir/calls"
	cat >"$dir/want"
	diff -u "$dir/want" "$dir/calls" >&2 || fail "$1: calls"
}
is() { [ "$(cat "$fake/$1" 2>/dev/null)" = "$2" ] || fail "$3: $1 is '$(cat "$fake/$1" 2>/dev/null)', not '$2'"; }
log_has() { # WORDS
	tail -n 1 "$dir/log.json" 2>/dev/null | grep -q '^{"level":"error","msg":".*","time":"20[0-9-]*T[0-9:]*Z"}$' ||
		fail "$1: no error line in --log"
	grep -qsF "$1" "$dir/log.json" || { fail "--log does not say: $1"; cat "$dir/log.json" >&2 || :; }
}
shim="--root /run/runc/ns --log $dir/log.json --log-format json"

# --- everything else is the real runtime's, as it is -------------------------
passes() {
	fresh running
	expect 42 "$@"
	[ "$(cat "$fake/log")" = "runc $*" ] || { fail "not passed on as it is: $*"; cat "$fake/log" >&2; }
}
passes create --bundle /b --pid-file /p c1
passes exec --process /tmp/p c1
passes exec c1 checkpoint --image-path /x c1
passes create checkpoint
passes run --bundle restore restore
passes --root checkpoint create restore
passes --root=checkpoint --log /dev/null start checkpoint
passes --log checkpoint --log-format json --systemd-cgroup update checkpoint
passes --criu /c --rootless true --debug events restore
passes -- list checkpoint
passes features
fresh running
expect 0 state c1
grep -q '"status": "running"' "$dir/out" || fail "state is not passed on"
rc=0
call >/dev/null 2>&1 || rc=$?
[ "$rc" -eq 42 ] || fail "no argument exited $rc"
fresh running
expect 42 --version
# stdin is the runtime's, too
sed 's/real: /&$(cat) /' "$dir/path/runc" >"$dir/other/runc-stdin"
chmod 755 "$dir/other/runc-stdin"
rc=0
echo typed | extra="CUDA_RUNC_RUNTIME=$dir/other/runc-stdin" call exec c1 >"$dir/out" || rc=$?
[ "$(cat "$dir/out")" = 'real: typed c1' ] || fail "stdin does not reach the runtime: $(cat "$dir/out")"

# No container yet: engines ask which options there are. And CUDA is not touched for a
# pre-dump.
untouched() {
	fresh paused
	: >"$fake/stop"
	rc=0
	call "$@" >/dev/null 2>&1 || rc=$?
	[ "$(cat "$fake/log")" = "runc $*" ] || { fail "not passed on as it is: $*"; cat "$fake/log" >&2; }
	is cuda.4711 running "$*"
}
untouched checkpoint --help
untouched restore -h
untouched checkpoint --image-path /i
untouched restore --lsm-mount-context
untouched checkpoint
untouched checkpoint --image-path /i --pre-dump c1
untouched checkpoint --pre-dump=true c1

# --- which runtime -------------------------------------------------------------
chooses() { # WORD ENV...
	word=$1
	shift
	got=$(cd "$dir/b" && env -i PVE_GPU_ROOT="$root" FAKE="$fake" "$@" $runc list 2>&1) || :
	[ "$got" = "$word list" ] || fail "with $* it chose '$got', not $word"
}
fresh running
both="PATH=$dir/path:$dir/other:/usr/bin:/bin"
printf '#!/bin/sh\necho "runc: $*"\n' >"$dir/other/runc"
chmod 755 "$dir/other/runc"
onlyrunc="PATH=$dir/onlyrunc:/usr/bin:/bin"
mkdir "$dir/onlyrunc"
ln -s "$dir/other/runc" "$dir/onlyrunc/runc"
chooses 'nvidia:' "$both"
chooses 'runc:' "$onlyrunc"
chooses 'runc:' "$both" CUDA_RUNC_RUNTIME="$dir/other/runc"
chooses 'runc:' PATH="$dir/onlyrunc:$dir/other" CUDA_RUNC_RUNTIME=runc
chooses 'nvidia:' "$onlyrunc" CUDA_RUNC_RUNTIME="$dir/other/nvidia-container-runtime"
for place in usr/bin usr/local/nvidia/toolkit; do
	mkdir -p "$root/$place"
	cp "$dir/other/nvidia-container-runtime" "$root/$place/"
	chooses 'nvidia:' "$onlyrunc"
	rm "$root/$place/nvidia-container-runtime"
done
# Not out of the container's bundle, where we run.
cp "$dir/other/nvidia-container-runtime" "$dir/b/"
chooses 'runc:' PATH=":.:$dir/onlyrunc"
rm "$dir/b/nvidia-container-runtime"
# Below nvidia-container-runtime it is runc, whatever is in PATH.
mkdir -p "$root/etc/nvidia-container-runtime"
config=$root/etc/nvidia-container-runtime/config.toml
ln -s "$dir/bin/cuda-runc" "$dir/other/cuda-runc"
printf '[nvidia-container-cli]\nruntimes = ["/x"]\n[nvidia-container-runtime]\n  # runtimes = ["runc"]\nruntimes = [\n "nowhere", # no\n "%s",\n "runc" ]\n' \
	"$dir/bin/cuda-runc" >"$config"
chooses 'runc:' PATH="$dir/onlyrunc:$dir/other"
printf '[nvidia-container-runtime]\nruntimes = ["cuda-runc", "runc"]\n' >"$config"
chooses 'runc:' PATH="$dir/onlyrunc:$dir/other"
printf '[nvidia-container-runtime]\nruntimes = ["runc", "cuda-runc"]\n' >"$config"
chooses 'nvidia:' PATH="$dir/onlyrunc:$dir/other"
mkdir -p "$root/xdg/nvidia-container-runtime"
printf "[nvidia-container-runtime]\nruntimes = ['cuda-runc']\n" >"$root/xdg/nvidia-container-runtime/config.toml"
chooses 'runc:' PATH="$dir/onlyrunc:$dir/other" XDG_CONFIG_HOME=/xdg
rm -r "${root:?}/etc"
# An nvidia-container-runtime that calls cuda-runc all the same ends at runc; a circle
# ends.
mkdir "$dir/circle"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$dir/bin/cuda-runc" >"$dir/circle/nvidia-container-runtime"
chmod 755 "$dir/circle/nvidia-container-runtime"
chooses 'runc:' PATH="$dir/circle:$dir/onlyrunc:/usr/bin:/bin"
chooses 'runc:' PATH="$dir/onlyrunc:/usr/bin:/bin" CUDA_RUNC_RUNTIME="$dir/circle/nvidia-container-runtime"
cp "$dir/circle/nvidia-container-runtime" "$dir/circle/runc"
refused() { # WORDS ENV...
	word=$1
	shift
	rc=0
	(cd "$dir/b" && timeout 100 env -i PVE_GPU_ROOT="$root" "$@" $runc --log "$dir/log.json" --log-format json list) \
		>"$dir/out" 2>"$dir/err" || rc=$?
	[ "$rc" -eq 127 ] || fail "with $* it exited $rc"
	grep -qF "$word" "$dir/err" || { fail "with $* it does not say: $word"; cat "$dir/err" >&2; }
	log_has "$word"
}
refused 'in a circle' PATH="$dir/circle:/usr/bin:/bin"
refused 'cuda-runc itself' PATH=/usr/bin:/bin CUDA_RUNC_RUNTIME="$dir/bin/cuda-runc"
refused 'no such program' PATH=/nowhere CUDA_RUNC_RUNTIME=runc
refused 'neither nvidia-container-runtime nor runc' PATH=/nowhere
[ "$(env -i PATH=/nowhere $runc --version | grep -c 'pve-gpu-utils')" = 1 ] || fail "--version without a runtime"
env -i $runc --help >"$dir/out" || fail "--help"
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "--help is long"
rm "$dir/other/runc"

# --- checkpoint ----------------------------------------------------------------
# A paused container is thawed for stage 1 and frozen again; the image is the runtime's.
fresh paused
# shellcheck disable=SC2086 # several options
expect 0 $shim checkpoint --image-path "$dir/image" --work-path /w c1
logged "checkpoint of a paused one" <<'WANT'
runc state c1
runc ps --format json c1
runc resume c1
runc ps --format json c1
cuda-ckpt state -q -- 4711 4712 4714
cuda-ckpt state -q -- 4714
cuda-ckpt suspend -q --record IMAGE/cuda-ckpt.record -- 4711 4712
runc pause c1
runc ps --format json c1
runc checkpoint --image-path IMAGE --work-path /w c1
WANT

[ ! -s "$dir/out" ] && [ ! -s "$dir/err" ] || fail "a checkpoint says something"
is status none "checkpoint"
grep -q '"suspended": 2' "$dir/image/cuda-runc.json" || fail "no note with the image"
[ "$(stat -c %a "$dir/image/cuda-runc.json")" = 600 ] || fail "the note is for all to read"
[ -e "$fake/image-seen/cuda-ckpt.record" ] || fail "no record of the GPU memory with the image"
[ -e "$fake/image-seen/cuda-runc.json" ] || fail "the note came after the dump"
[ "$(cat "$fake/criu.conf")" = 'libdir /run' ] || fail "CRIU's options: $(cat "$fake/criu.conf")"

# The runtime gets every global option; what is asked for beside it leaves no trace in the
# log.
grep -q "^runc --root /run/runc/ns --log $dir/log.json --log-format json checkpoint" "$fake/log" || fail "globals of checkpoint"
grep -q "^runc --root /run/runc/ns .*--log /dev/null state c1" "$fake/log" || fail "globals of state"
[ ! -e "$dir/log.json" ] || fail "a checkpoint that works writes to --log"

# A running one is not paused; "=" and single dashes are options, too.
fresh running
expect 0 -root=/r checkpoint -image-path="$dir/image" --leave-running=false c1
logged "checkpoint of a running one" <<'WANT'
runc -root=/r state c1
runc -root=/r ps --format json c1
runc -root=/r ps --format json c1
cuda-ckpt state -q -- 4711 4712 4714
cuda-ckpt state -q -- 4714
cuda-ckpt suspend -q --record IMAGE/cuda-ckpt.record -- 4711 4712
runc -root=/r ps --format json c1
runc -root=/r checkpoint -image-path=IMAGE --leave-running=false c1
WANT

# --leave-running: it runs on with its VRAM back, and is as paused as it was.
for status in running paused; do
	fresh $status
	# shellcheck disable=SC2086 # several options
	expect 0 $shim checkpoint --image-path "$dir/image" --leave-running c1
	is status $status "--leave-running"
	is cuda.4711 running "--leave-running"
	is cuda.4712 running "--leave-running"
	! grep -q FROZEN "$fake/log" || fail "called the driver in a frozen container"
	grep -q '"suspended": 2' "$dir/image/cuda-runc.json" || fail "--leave-running: no note"
done
logged "--leave-running of a paused one" <<'WANT'
runc state c1
runc ps --format json c1
runc resume c1
runc ps --format json c1
cuda-ckpt state -q -- 4711 4712 4714
cuda-ckpt state -q -- 4714
cuda-ckpt suspend -q --record IMAGE/cuda-ckpt.record -- 4711 4712
runc pause c1
runc ps --format json c1
runc checkpoint --image-path IMAGE --leave-running c1
runc state c1
runc resume c1
cuda-ckpt resume -q -- 4711 4712
runc pause c1
WANT
extra=CUDA_RUNC_TIMEOUT=250
fresh running
expect 0 checkpoint --image-path "$dir/image" c1
grep -q "^cuda-ckpt suspend -q --timeout 250 --record $dir/image/cuda-ckpt.record -- 4711 4712\$" "$fake/log" || fail "CUDA_RUNC_TIMEOUT"
fresh running
expect 0 checkpoint --leave-running --image-path "$dir/image" c1
grep -q '^cuda-ckpt resume -q --timeout 250 -- 4711 4712$' "$fake/log" || fail "CUDA_RUNC_TIMEOUT of the resume"
extra=

# Without CUDA it is the runtime's call and nothing else.
fresh paused
echo '[4713]' >"$fake/pids"
expect 0 checkpoint --image-path "$dir/image" c1
logged "checkpoint without CUDA" <<'WANT'
runc state c1
runc ps --format json c1
runc checkpoint --image-path IMAGE c1
WANT
[ ! -e "$dir/image" ] || fail "a note without CUDA"
fresh running
rm "$fake"/cuda.*
expect 0 checkpoint --image-path "$dir/image" c1
! grep -q suspend "$fake/log" || fail "suspended without a context"
[ ! -e "$dir/image" ] || fail "a note without a context"
# A container that is not there, or stopped, is the runtime's to refuse.
fresh none
echo 9 >"$fake/fail-checkpoint"
expect 9 checkpoint --image-path "$dir/image" c1
fresh stopped
echo 9 >"$fake/fail-checkpoint"
expect 9 checkpoint --image-path "$dir/image" c1
! grep -q cuda-ckpt "$fake/log" || fail "cuda-ckpt for a stopped container"
# Somebody has suspended one of them before: it stays so.
fresh running
echo checkpointed >"$fake/cuda.4712"
expect 0 checkpoint --image-path "$dir/image" --leave-running c1
is cuda.4711 running "partly suspended"
is cuda.4712 checkpointed "partly suspended"
grep -q '"suspended": 2' "$dir/image/cuda-runc.json" || fail "partly suspended: note"

# An earlier checkpoint in the same place: its note stays when nothing comes of the next
# one, and is not taken for that of one that has nothing to note.
fresh running
expect 0 checkpoint --image-path "$dir/image" --leave-running c1
cp "$dir/image/cuda-runc.json" "$dir/note"
echo 1 >"$fake/fail-ckpt-suspend"
expect 1 checkpoint --image-path "$dir/image" --leave-running c1
cmp "$dir/note" "$dir/image/cuda-runc.json" >&2 || fail "a failed suspend costs the earlier image its note"
[ -e "$dir/image/cuda-ckpt.record" ] || fail "a failed suspend costs the earlier image its record"
rm "$fake/fail-ckpt-suspend" "$fake"/cuda.*
expect 0 checkpoint --image-path "$dir/image" c1
[ ! -e "$dir/image/cuda-runc.json" ] || fail "the note of an earlier image stays with another one"
[ ! -e "$dir/image/cuda-ckpt.record" ] || fail "the record of an earlier image stays with another one"

# One that has a GPU open and no state that could be told is no process without CUDA.
fresh running
ln -s /dev/nvidia0 "$root/proc/4714/fd/5"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" c1
log_has 'process 4714 has libcuda mapped, but does not use CUDA'
is cuda.4711 running "a GPU without a state"
rm "$root/proc/4714/fd/5"

# Every failure leaves all as it was, says why in --log, and passes the exit status on.
as_it_was() { # NAME STATUS WORDS
	is status "$2" "$1"
	is cuda.4711 running "$1"
	is cuda.4712 running "$1"
	[ -z "$3" ] || log_has "$3"
	[ ! -e "$dir/image/cuda-runc.json" ] || fail "$1: a note is left"
	[ ! -e "$dir/image/cuda-ckpt.record" ] || fail "$1: a record is left"
	! grep -q FROZEN "$fake/log" || fail "$1: called the driver in a frozen container"
}
for status in running paused; do
	fresh $status
	echo 3 >"$fake/fail-checkpoint"
	# shellcheck disable=SC2086 # several options
	expect 3 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "failed dump, $status" $status 'failed with 3; its CUDA state is resumed'
	# shellcheck disable=SC2086 # several options
	expect 3 $shim checkpoint --leave-running --image-path "$dir/image" c1
	as_it_was "failed dump with --leave-running, $status" $status 'failed with 3'

	# A runtime that has no answer afterwards is no container that is gone.
	fresh $status
	echo 3 >"$fake/fail-checkpoint"
	: >"$fake/mute"
	# shellcheck disable=SC2086 # several options
	expect 3 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "failed dump, then no state, $status" $status 'failed with 3; its CUDA state is resumed'

	fresh $status
	: >"$fake/fail-ckpt-suspend"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "failed suspend, $status" $status 'cuda-ckpt suspend: cuda-ckpt: no luck with \"suspend\"'
	! grep -q 'runc .*checkpoint' "$fake/log" || fail "dumped after a failed suspend"

	fresh $status
	: >"$fake/fail-ckpt-state"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "failed state, $status" $status 'no luck'

	fresh $status
	echo 1 >"$fake/fail-ps"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "failed ps, $status" $status 'fake ps does not work'

	fresh $status
	: >"$dir/image"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "no room for the note, $status" $status '/image: '
	rm "$dir/image"

	fresh $status
	echo failed >"$fake/cuda.4714"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "a failed process, $status" $status 'process 4714: its CUDA state is failed'
	fresh $status
	echo locked >"$fake/cuda.4714"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	as_it_was "a locked process, $status" $status "'cuda-ckpt resume 4714' before"
done
fresh paused
echo 1 >"$fake/fail-resume"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" c1
as_it_was "cannot be thawed" paused 'resume: fake resume does not work'
fresh paused
echo 1 >"$fake/fail-pause"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" c1
is cuda.4711 running "cannot be frozen again"
log_has 'stays running: '
# What cannot be taken back is said with the command for it.
fresh paused
: >"$fake/fail-ckpt-resume"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --leave-running --image-path "$dir/image" c1
log_has "try 'cuda-ckpt resume --container c1'"
is status paused "failed resume"
# The container died with the dump: said, and nobody is resumed.
fresh running
sed 's/^checkpoint)/&\n	echo none >"$FAKE\/status"; exit 5/' "$dir/path/runc" >"$dir/other/runc-dies"
chmod 755 "$dir/other/runc-dies"
extra="CUDA_RUNC_RUNTIME=$dir/other/runc-dies"
# shellcheck disable=SC2086 # several options
expect 5 $shim checkpoint --image-path "$dir/image" c1
log_has 'no longer there'
extra=
# A node that NVML keeps open: said with the runtime's refusal.
fresh running
echo 1 >"$fake/fail-checkpoint"
ln -s /dev/nvidiactl "$root/proc/4713/fd/9"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" c1
as_it_was "NVML" running 'process 4713 has /dev/nvidiactl open'
rm "$root/proc/4713/fd/9"
# What the runtime itself says in the log is in the last line: a shim shows only that.
fresh running
echo 1 >"$fake/fail-checkpoint"
sed 's/^\[ ! -e "$FAKE\/fail-$verb" \]/[ "$verb" != checkpoint ] || echo "{\\"level\\":\\"error\\",\\"msg\\":\\"criu failed: -52\\"}" >>"$LOG"\n&/' \
	"$dir/path/runc" >"$dir/other/runc-says"
chmod 755 "$dir/other/runc-says"
extra="CUDA_RUNC_RUNTIME=$dir/other/runc-says LOG=$dir/log.json"
echo '{"level":"error","msg":"old"}' >"$dir/log.json"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" c1
log_has 'checkpoint of c1: criu failed: -52; its CUDA state is resumed'
extra=
# The log of runc without --log-format is text; without --log it is stderr.
fresh running
echo 1 >"$fake/fail-checkpoint"
expect 1 --log "$dir/log.json" checkpoint --image-path "$dir/image" c1
grep -q '^time="20.*Z" level=error msg="checkpoint of c1: failed with 1; its' "$dir/log.json" || fail "text log"
rm "$dir/log.json"
expect 1 checkpoint --image-path "$dir/image" c1
grep -q '^cuda-runc: checkpoint of c1: failed with 1; ' "$dir/err" || fail "stderr"

# --- stopped by a signal, or by the death of who called -------------------------
wait_for() {
	for _ in $(seq 1200); do
		[ ! -e "$1" ] || return 0
		sleep 0.05
	done
	fail "$1 never came"
}
# cuda-ckpt itself is killed half-way.
for status in running paused; do
	fresh $status
	sed 's/suspend) .*/suspend) echo locked >"$FAKE\/cuda.4712"; kill -KILL $$ ;;/' "$dir/bin/cuda-ckpt" >"$dir/ckpt-dies"
	mv "$dir/bin/cuda-ckpt" "$dir/ckpt-good"
	mv "$dir/ckpt-dies" "$dir/bin/cuda-ckpt"
	chmod 755 "$dir/bin/cuda-ckpt"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim checkpoint --image-path "$dir/image" c1
	mv "$dir/ckpt-good" "$dir/bin/cuda-ckpt"
	as_it_was "cuda-ckpt is killed, $status" $status 'cuda-ckpt suspend: exit status 137'
	grep -q '^cuda-ckpt resume -q -- 4712$' "$fake/log" || fail "what a killed cuda-ckpt had done is not taken back"
done
for stage in suspend checkpoint; do
	for signal in TERM INT KILL; do
		fresh paused
		: >"$fake/slow"
		: >"$fake/slow-$stage"
		# shellcheck disable=SC2086 # several options
		enter $shim checkpoint --image-path "$dir/image" c1 >/dev/null 2>&1 </dev/null &
		pid=$!
		wait_for "$fake/in-$stage"
		kill -s $signal $pid
		rc=0
		wait $pid 2>/dev/null || rc=$?
		[ "$rc" -ne 0 ] || fail "$signal in $stage: exit status 0"
		# Whoever takes back for one that was killed has an end, too.
		for _ in $(seq 1200); do
			pgrep -f "$dir/bin/cuda-runc" >/dev/null || break
			sleep 0.05
		done
		is cuda.4711 running "$signal in $stage"
		is status paused "$signal in $stage"
		is cuda.4712 running "$signal in $stage"
		[ ! -e "$dir/image/cuda-runc.json" ] || fail "$signal in $stage: a note is left"
	done
done

# --- restore ---------------------------------------------------------------------
suspended() { # as the restore finds it: an image, and processes whose state is in memory
	fresh none
	mkdir "$dir/image"
	printf '{"version":1,"suspended":2,"mounts":[%s]}' "${1-}" >"$dir/image/cuda-runc.json"
	echo checkpointed >"$fake/cuda.4711"
	echo checkpointed >"$fake/cuda.4712"
}
suspended
cp "$dir/image/cuda-runc.json" "$dir/note"
# Its stdio is the container's.
rc=0
: >"$dir/stdin"
# shellcheck disable=SC2086 # several options
call $shim restore --image-path "$dir/image" --work-path /w --detach --pid-file /p -no-subreaper --bundle "$dir/b" c1 \
	<"$dir/stdin" >"$dir/out" 2>"$dir/err" || rc=$?
[ "$rc" -eq 0 ] || { fail "restore exited $rc"; cat "$dir/err" "$dir/log.json" >&2; }
logged "restore" <<WANT
runc restore --image-path IMAGE --work-path /w --detach --pid-file /p -no-subreaper --bundle $dir/b c1
runc ps --format json c1
cuda-ckpt state -q -- 4711 4712 4714
cuda-ckpt state -q -- 4714
cuda-ckpt resume -q -- 4711 4712
WANT
printf '%s\n' "$dir/stdin" "$dir/out" "$dir/err" | diff -u - "$fake/stdio" >&2 || fail "the container's stdio"
[ ! -s "$dir/out" ] && [ ! -s "$dir/err" ] && [ ! -e "$dir/log.json" ] || fail "a restore is not silent"
[ "$(cat "$fake/criu.conf")" = 'libdir /run' ] || fail "restore: CRIU's options: $(cat "$fake/criu.conf")"
is cuda.4711 running restore
is cuda.4712 running restore
# CRIU's plugin may have resumed them.
suspended
echo running >"$fake/cuda.4711"
echo running >"$fake/cuda.4712"
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
! grep -q 'cuda-ckpt resume' "$fake/log" || fail "resumed what runs"
# One that was locked when it was dumped, too; an image of somebody else's has no note.
suspended
rm "$dir/image/cuda-runc.json"
echo locked >"$fake/cuda.4712"
expect 0 restore -d --image-path "$dir/image" -b "$dir/b" c1
is cuda.4712 running "an image without a note"
[ ! -e "$fake/criu.conf" ] || fail "CRIU's options without a note"
# The image path may be relative: to the bundle, where the runtime runs.
suspended
rm -rf "$dir/b/img"
mv "$dir/image" "$dir/b/img"
expect 0 restore --detach --image-path img c1
grep -q libdir "$fake/criu.conf" || fail "a relative image path"
rm -r "$dir/b/img"
# Without one, or with an empty one, it is here, wherever the bundle is.
mkdir -p "$dir/b2"
for word in --no-pivot --image-path=; do
	suspended
	cp "$dir/b/config.json" "$dir/b2/config.json"
	mv "$dir/image" "$dir/b/checkpoint"
	expect 0 restore --detach "$word" --bundle "$dir/b2" c1
	grep -q libdir "$fake/criu.conf" || fail "the image's path when none is given ($word)"
	rm -r "$dir/b/checkpoint"
done
# What the record says of GPU memory is compared before anything is moved there.
suspended
echo '#end 0' >"$dir/image/cuda-ckpt.record"
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
grep -qx "cuda-ckpt resume -q --record $dir/image/cuda-ckpt.record -- 4711 4712" "$fake/log" || fail "no --record"
# Other options of CRIU's stay.
suspended
echo 'tcp-established' >"$dir/criu.conf"
extra="CRIU_CONFIG_FILE=$dir/criu.conf"
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
[ "$(cat "$fake/criu.conf")" = "$(printf 'tcp-established\n\nlibdir /run')" ] || fail "CRIU_CONFIG_FILE: $(cat "$fake/criu.conf")"
extra=

# Other GPUs: the environment before the annotation.
one=GPU-00000000-0000-0000-0000-000000000001=GPU-00000000-0000-0000-0000-000000000002
two=GPU-00000000-0000-0000-0000-000000000001=GPU-00000000-0000-0000-0000-000000000003
suspended
printf '{"annotations":{"cuda-runc/gpu-map":"%s"}}' "$one" >"$dir/b/config.json"
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
grep -qx -- "cuda-ckpt resume -q --gpu-map $one -- 4711 4712" "$fake/log" || fail "GPU map of the annotation"
suspended
printf '{"annotations":{"cuda-runc/gpu-map":"%s"}}' "$one" >"$dir/b/config.json"
extra="CUDA_RUNC_GPU_MAP=$two"
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
grep -qx -- "cuda-ckpt resume -q --gpu-map $two -- 4711 4712" "$fake/log" || fail "GPU map of the environment"
for bad in GPU-1=GPU-2 --help "$one;reboot"; do
	suspended
	extra="CUDA_RUNC_GPU_MAP=$bad"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
	log_has 'not a list of OLD=NEW'
	[ ! -s "$fake/log" ] || fail "restored with a bad GPU map"
done
extra=

# The runtime's own failure is its own; the note of another version is refused before.
suspended
echo 4 >"$fake/fail-restore"
# shellcheck disable=SC2086 # several options
expect 4 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
[ "$(wc -l <"$fake/log")" -eq 1 ] || fail "more calls after a failed restore"
for note in '{"version":2,"suspended":1,"mounts":[]}' '{' '[]' '{"version":1,"suspended":-1,"mounts":[]}' \
	'{"version":1,"suspended":1,"mounts":[{"target":"/x"}]}'; do
	suspended
	printf '%s' "$note" >"$dir/image/cuda-runc.json"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
	log_has 'not a note of this version'
	[ ! -s "$fake/log" ] || fail "restored with $note"
done

# Stage 4 fails: nobody is left blocked in CUDA. Silent but for --log.
destroyed() { # WORDS
	log_has "$1"
	[ ! -s "$dir/out" ] && [ ! -s "$dir/err" ] || fail "$1: said something on the container's stdio"
	is status none "$1"
	grep -q 'kill --all c1 KILL$' "$fake/log" && grep -q 'delete --force c1$' "$fake/log" || fail "$1: not deleted"
	cmp "$dir/note" "$dir/image/cuda-runc.json" >&2 || fail "$1: the image is another"
}
suspended
: >"$fake/fail-ckpt-resume"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
destroyed 'cuda-ckpt resume: cuda-ckpt: no luck with \"resume\"; the container is deleted'
suspended
echo '[4713]' >"$fake/pids"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
destroyed '2 processes had CUDA state when the checkpoint was made, none has now'
suspended
echo 1 >"$fake/fail-ps"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
destroyed 'fake ps does not work'
suspended
echo failed >"$fake/cuda.4712"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
destroyed 'process 4712: its CUDA state is failed'
suspended
: >"$fake/fail-ckpt-resume"
echo 1 >"$fake/fail-delete"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
log_has 'and it could not be deleted: '
# Without --log there is only stderr.
suspended
: >"$fake/fail-ckpt-resume"
expect 1 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
grep -q '^cuda-runc: restore of c1: cuda-ckpt resume' "$dir/err" || fail "restore without --log"

# In the foreground the runtime lives as long as the container: stage 4 comes in between.
suspended
(
	for _ in $(seq 1200); do
		[ "$(cat "$fake/cuda.4712")" != running ] || break
		sleep 0.05
	done
	: >"$fake/stop"
) &
# shellcheck disable=SC2086 # several options
expect 7 $shim restore --image-path "$dir/image" --bundle "$dir/b" c1
is cuda.4711 running "restore in the foreground"
is cuda.4712 running "restore in the foreground"
wait
suspended
: >"$fake/fail-ckpt-resume"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --image-path "$dir/image" --bundle "$dir/b" c1
destroyed 'no luck'
# A signal goes to the container.
suspended
# shellcheck disable=SC2086 # several options
enter $shim restore --image-path "$dir/image" --bundle "$dir/b" c1 >/dev/null 2>&1 </dev/null &
pid=$!
for _ in $(seq 1200); do
	[ "$(cat "$fake/cuda.4712")" != running ] || break
	sleep 0.05
done
while pgrep -f "$dir/bin/cuda-ckpt" >/dev/null; do sleep 0.05; done
kill $pid
rc=0
wait $pid || rc=$?
[ "$rc" -eq 143 ] && is got TERM "a signal in the foreground"
[ "$rc" -eq 143 ] || fail "a signal in the foreground: exit status $rc"

# --- NVIDIA's mounts ---------------------------------------------------------------
mounted() {
	{
		echo '100 0 0:30 / / rw - overlay overlay rw'
		echo '101 100 0:31 / /proc rw - proc proc rw'
		echo '102 100 0:32 / /dev rw - tmpfs tmpfs rw'
		echo '103 100 8:2 /usr/lib/libcuda.so.580.65.06 /usr/lib64/libcuda.so.580.65.06 ro - ext4 /dev/sda2 rw'
		echo '104 100 8:2 /usr/bin/nvidia-smi /usr/bin/nvidia-smi ro shared:1 master:2 - ext4 /dev/sda2 rw'
		echo '105 101 0:33 / /proc/driver/nvidia rw - tmpfs tmpfs rw'
		echo '106 102 0:5 /nvidia0 /dev/nvidia0 rw - devtmpfs udev rw'
		echo '107 100 0:23 /nvidia-persistenced/socket /run/nvidia-persistenced/socket rw - tmpfs tmpfs rw'
		echo '108 100 8:2 /srv/cuda /data/cuda rw - ext4 /dev/sda2 rw'
		printf '%s\n' '109 100 8:2 /srv/x /data/x\040y rw - ext4 /dev/sda2 rw'
	} >"$root/proc/4711/mountinfo"
	{
		echo '25 1 8:2 / / rw - ext4 /dev/sda2 rw'
		echo '26 25 0:5 / /dev rw - devtmpfs udev rw'
		echo '27 25 0:23 / /run rw - tmpfs tmpfs rw'
	} >"$root/proc/self/mountinfo"
	printf '{"root":{"path":"rootfs"},"mounts":[{"destination":"/proc"},{"destination":"/data/cuda/"}]}' >"$dir/b/config.json"
}
fresh running
mounted
expect 0 checkpoint --image-path "$dir/image" c1
cat >"$dir/want" <<'WANT'
libdir /run
external mnt[/usr/lib64/libcuda.so.580.65.06]:cuda-runc-0
external mnt[/usr/bin/nvidia-smi]:cuda-runc-1
external mnt[/dev/nvidia0]:cuda-runc-2
external mnt[/run/nvidia-persistenced/socket]:cuda-runc-3
WANT
diff -u "$dir/want" "$fake/criu.conf" >&2 || fail "mounts for CRIU's dump"
cp "$dir/image/cuda-runc.json" "$dir/note"
# A container that has the mounts and no CUDA process yet: CRIU has to know all the same.
fresh running
mounted
echo '[4713]' >"$fake/pids"
expect 0 checkpoint --image-path "$dir/image" c1
sed 1d "$dir/want" | diff -u - "$fake/criu.conf" >&2 || fail "mounts without CUDA"

back() { # a restore of that image in a root file system that has none of the mount points
	rm -rf "$dir/b/rootfs"
	mkdir "$dir/b/rootfs"
	suspended
	mounted
	cp "$dir/note" "$dir/image/cuda-runc.json"
}
back
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
cat >"$dir/want" <<'WANT'
libdir /run
external mnt[cuda-runc-0]:/usr/lib/libcuda.so.580.65.06
external mnt[cuda-runc-1]:/usr/bin/nvidia-smi
external mnt[cuda-runc-2]:/dev/nvidia0
external mnt[cuda-runc-3]:/run/nvidia-persistenced/socket
WANT
diff -u "$dir/want" "$fake/criu.conf" >&2 || fail "mounts for CRIU's restore"
(cd "$dir/b/rootfs" && find . -type f | sort) >"$dir/out"
printf '%s\n' ./run/nvidia-persistenced/socket ./usr/bin/nvidia-smi ./usr/lib64/libcuda.so.580.65.06 |
	diff -u - "$dir/out" >&2 || fail "mount points in the root file system"
# Again: they are there; links lead nowhere else.
suspended
mounted
cp "$dir/note" "$dir/image/cuda-runc.json"
expect 0 restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
mkdir "$dir/outside"
back
mkdir -p "$dir/b/rootfs/usr/bin"
ln -s "$dir/outside" "$dir/b/rootfs/run"
ln -s "$dir/outside/made" "$dir/b/rootfs/usr/bin/nvidia-smi"
ln -s ../../../../../../../../../../../../../../../../../../../../../.."$dir/outside" "$dir/b/rootfs/usr/lib64"
call restore --detach --image-path "$dir/image" --bundle "$dir/b" c1 >/dev/null 2>&1 </dev/null || :
[ -z "$(ls -A "$dir/outside")" ] || fail "a link in the root file system leads out of it: $(ls -A "$dir/outside")"
# Another driver on this host: said before anything is restored.
back
mv "$root/usr/lib/libcuda.so.580.65.06" "$dir/driver"
# shellcheck disable=SC2086 # several options
expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
log_has 'made with another driver version'
[ ! -s "$fake/log" ] || fail "restored with another driver"
mv "$dir/driver" "$root/usr/lib/libcuda.so.580.65.06"
# A note of foreign hands does not mount what it likes.
mkdir -p "$root/home/nvidia"
: >"$root/etc-shadow"
ln -s ../../etc-shadow "$root/home/nvidia/link"
for pair in /etc/shadow:/nvidia /usr/bin/nvidia-smi:/etc/passwd /home/nvidia/../x:/nvidia /home/nvidia/link:/nvidia \
	'/usr/nvidia]:/x nvidia:/nvidia'; do
	rm -f "$dir/log.json"
	suspended "{\"target\":\"${pair##*:}\",\"source\":\"${pair%:*}\",\"directory\":false,\"on_rootfs\":false}"
	# shellcheck disable=SC2086 # several options
	expect 1 $shim restore --detach --image-path "$dir/image" --bundle "$dir/b" c1
	[ ! -s "$fake/log" ] || fail "restored with $pair"
	[ -s "$dir/log.json" ] || fail "$pair: not said"
done
# A mount whose source cannot be found is no checkpoint that could be restored.
fresh running
mounted
echo '110 100 0:77 / /opt/nvidia rw - ext4 /dev/sdz rw' >>"$root/proc/4711/mountinfo"
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" c1
log_has '/opt/nvidia in the container: its source (/) is not found'
is cuda.4711 running "an unknown mount"
! grep -q suspend "$fake/log" || fail "suspended with an unknown mount"

# What a container calls itself reaches neither the log nor a terminal raw.
fresh running
echo 1 >"$fake/fail-checkpoint"
bad=$(printf 'c\033[31m"\n\376')
# shellcheck disable=SC2086 # several options
expect 1 $shim checkpoint --image-path "$dir/image" "$bad"
log_has 'checkpoint of c\\x1b[31m\"\\x0a\\xfe: failed'
! grep -q "$(printf '\033')" "$dir/err" || fail "raw text on stderr"

# A call that is slow to stop is not left alone: no process of ours is left.
! pgrep -f "$dir/bin/cuda-runc" >/dev/null || fail "processes are left: $(pgrep -fa "$dir/bin/cuda-runc")"
[ "$failed" -eq 0 ] || exit 1
