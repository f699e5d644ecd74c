#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cuda-ckpt, with its workers, on programs that use a libcuda without a GPU, and cuda-runc
# over a runtime of a few lines, each write, rename, fsync, mkdir and spawn of them failing in
# turn: no crash; a job goes on, or is suspended as was asked, and can be resumed.
set -eu
src=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
unset PVE_GPU_ROOT
[ "$(id -u)" -eq 0 ] || { echo 'skipped: root is needed to work on other processes'; exit 77; }
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$src/faults.sh"
rc=0
sh "$src/fakecuda/build.sh" "$faults/lib" || rc=$?
[ "$rc" -eq 0 ] || exit "$rc"
root=$faults/root
pid=
trap 'last_words $?; [ -z "$pid" ] || kill -KILL $pid 2>/dev/null || :; rm -rf "$faults"' EXIT
FAKE_CUDA_DIR=$faults/knobs
# What the stand-in writes down is not the program's.
FAULTS_NOT_BELOW=$FAKE_CUDA_DIR
libs=$faults/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export FAKE_CUDA_DIR FAULTS_NOT_BELOW
mkdir "$FAKE_CUDA_DIR"
: >"$FAKE_CUDA_DIR/log"

# each SET-UP CHECK COMMAND...: with one fault after the other
each() {
	before=$1 after=$2
	shift 2
	label=$name
	made_before=$faults_made
	$before
	how_many "$@"
	[ "$rc" -eq "$ok" ] || fault_fails "exited $rc without a fault"
	$after
	mv "$faults/counts" "$faults/all"
	for kind in $kinds; do
		count_of "${kind%:*}" "$faults/all"
		last=$count
		error=${kind#*:} call=${kind%:*}
		at=1
		while [ "$at" -le "$last" ]; do
			$before
			fault "$call" "$error" "$at" "$@" || break
			$after
			at=$((at + 1))
		done
	done
	echo "$name: $((faults_made - made_before)) faults"
}

# --- cuda-ckpt ---

ckpt() { LD_LIBRARY_PATH=$libs cuda-ckpt "$@"; }
state() { ckpt state -r "$pid" 2>/dev/null | cut -f2; }
count() { cat "$faults/job" 2>/dev/null || :; }
counts_on() {
	was=$(count)
	tries=0
	until [ "$(count)" != "$was" ]; do
		tries=$((tries + 1))
		[ $tries -lt $((3000 * ${TEST_SLOW:-1})) ] || return 1
		sleep 0.02
	done
}
LD_LIBRARY_PATH=$libs "$faults/lib/cudajob" -m 1 -t 20 "$faults/job" >/dev/null 2>&1 &
pid=$!
counts_on || { echo 'FAIL: the job does not start' >&2; exit 1; }
goes() {
	[ "$(state)" = running ] || ckpt resume -q "$pid" || fault_fails "the job cannot be resumed"
}
stands() {
	[ "$(state)" = checkpointed ] || ckpt suspend -q "$pid" || fault_fails "the job cannot be suspended"
}
suspended() {
	case $rc.$(state) in
	0.checkpointed) ;;
	0.*) fault_fails "exited 0, and the job is $(state)" ;;
	*) ckpt resume -q "$pid" 2>/dev/null || [ "$(state)" = running ] || fault_fails "the job is $(state) for good" ;;
	esac
	left=$(find "$faults/rec" -name '*.??????')
	[ -z "$left" ] || fault_fails "left $left"
	ckpt resume -q "$pid" 2>/dev/null || :
	counts_on || fault_fails "the job does not count any more"
}
resumed() {
	case $rc.$(state) in
	0.running) ;;
	0.*) fault_fails "exited 0, and the job is $(state)" ;;
	*) [ "$(state)" = running ] || ckpt resume -q "$pid" || fault_fails "the job is $(state) for good" ;;
	esac
	counts_on || fault_fails "the job does not count any more"
}
mkdir "$faults/rec"
everyone=-a
# Memory that cannot be told, a record of it: said, and the job is suspended all the same.
lenient=1
kinds="$writing pipe:EMFILE"
name='cuda-ckpt suspend'
each goes suspended env LD_LIBRARY_PATH="$libs" cuda-ckpt suspend --record "$faults/rec/record" "$pid"
name='cuda-ckpt resume'
each stands resumed env LD_LIBRARY_PATH="$libs" cuda-ckpt resume "$pid"
goes
name='cuda-ckpt state'
each true true env LD_LIBRARY_PATH="$libs" cuda-ckpt state -r "$pid"
# What cannot be found out is not well.
also=1
name='cuda-ckpt check'
each true true env LD_LIBRARY_PATH="$libs" cuda-ckpt check -r "$pid"
also=
kill -KILL "$pid"
pid=

# --- cuda-runc: the runtime and cuda-ckpt keep what they are told in files ---

FAKE=$faults/fake
FAULTS_NOT_BELOW=$FAKE
FAULTS_PROGRAM=cuda-runc
BUNDLE=$faults/b
export FAKE FAULTS_PROGRAM BUNDLE
mkdir "$FAKE" "$faults/bin" "$faults/b" "$faults/b/rootfs"
: >"$FAKE/dumps"
echo '[4711]' >"$FAKE/pids"
cp "$(command -v cuda-runc)" "$faults/bin/cuda-runc"
cp "$src/fake-runc.sh" "$faults/bin/runc"
cat >"$faults/bin/cuda-ckpt" <<'CKPT'
#!/bin/sh
set -e
verb=$1
for last; do :; done
case $verb in
state) printf '%s\t%s\t1\tjob\n' "$last" "$(cat "$FAKE/cuda")" ;;
suspend)
	echo checkpointed >"$FAKE/cuda"
	while [ "$1" != -- ]; do
		case $1 in --record) echo '#end 0' >"$2" ;; esac
		shift
	done
	;;
resume) echo running >"$FAKE/cuda" ;;
esac
CKPT
chmod 755 "$faults/bin/runc" "$faults/bin/cuda-ckpt"
printf '{"ociVersion":"1.0.2","root":{"path":"rootfs"},"mounts":[{"destination":"/proc"}]}' >"$faults/b/config.json"
made cuda-runc
root=$faults/cuda-runc
printf '100 0 0:30 / / rw - overlay overlay rw\n' >"$root/proc/4711/mountinfo"
printf 'Name:\tjob\nTracerPid:\t0\nUid:\t0\n' >"$root/proc/4711/status"
IMAGE=$faults/image
PVE_GPU_ROOT=$root
PATH=$faults/bin:$PATH
CUDA_RUNC_RUNTIME=$faults/bin/runc
export IMAGE PVE_GPU_ROOT PATH CUDA_RUNC_RUNTIME
cd "$faults/b"
runs() {
	echo running >"$FAKE/status"
	echo running >"$FAKE/cuda"
	rm -rf "$IMAGE" "$faults/log.json"
	mkdir "$IMAGE"
}
dumped() {
	case $rc.$(cat "$FAKE/status").$(cat "$FAKE/cuda") in
	0.none.checkpointed) [ -e "$IMAGE/dump" ] || fault_fails "exited 0, and nothing is dumped" ;;
	0.*) fault_fails "exited 0, and the container is $(cat "$FAKE/status"), CUDA $(cat "$FAKE/cuda")" ;;
	*.running.running | *.none.checkpointed) ;;
	*) fault_fails "exited $rc, and the container is $(cat "$FAKE/status"), CUDA $(cat "$FAKE/cuda")" ;;
	esac
}
rests() {
	runs
	cuda-runc --root "$faults/run" checkpoint --image-path "$IMAGE" c1 >"$faults/out" 2>&1 ||
		fault_fails "there is nothing to restore"
}
restored() {
	case $rc.$(cat "$FAKE/status").$(cat "$FAKE/cuda") in
	0.running.running) ;;
	0.*) fault_fails "exited 0, and the container is $(cat "$FAKE/status"), CUDA $(cat "$FAKE/cuda")" ;;
	*.running.checkpointed) fault_fails "exited $rc, and the container runs with its CUDA put away" ;;
	esac
}
# An OCI runtime fails with 1.
also=1
name='cuda-runc checkpoint'
each runs dumped cuda-runc --root "$faults/run" --log "$faults/log.json" --log-format json checkpoint --image-path "$IMAGE" c1
name='cuda-runc restore'
each rests restored cuda-runc --root "$faults/run" --log "$faults/log.json" --log-format json restore --detach --image-path "$IMAGE" c1
faults_end
