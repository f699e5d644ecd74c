#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# examples/criu-cuda.sh over a cuda-ckpt and a criu that write down how they are called.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
[ -e "$src/../examples/criu-cuda.sh" ] || {
	echo "the examples are not beside the tests"
	exit 77
}

cat >"$dir/cuda-ckpt" <<'CKPT'
#!/bin/sh
echo "cuda-ckpt $*" >>"$LOG"
while [ -e "$FAKE/slow-$1" ]; do : >"$FAKE/inside"; sleep 0.05; done
[ ! -e "$FAKE/fail-$1" ] || exit 69
[ "$1 ${2-}" != 'suspend --record' ] || : >"$3"
CKPT
cat >"$dir/criu" <<'CRIU'
#!/bin/sh
echo "criu $*" >>"$LOG"
while [ -e "$FAKE/slow" ]; do : >"$FAKE/inside"; sleep 0.05; done
[ ! -e "$FAKE/fail-criu" ] || exit 1
verb=$1
while [ $# -gt 0 ]; do
	case $1 in
	--images-dir) images=$2 ;;
	--pidfile) pidfile=$2 ;;
	esac
	shift
done
[ "$verb" = restore ] || { : >"$images/inventory.img"; exit 0; }
# The job, and a child of it.
rm -f "$FAKE/child"
sh -c 'sleep 300 & echo $! >"$FAKE/child"; exec sleep 300' >/dev/null 2>&1 &
echo $! >"$pidfile"
cp "$pidfile" "$FAKE/pid"
while [ ! -s "$FAKE/child" ]; do sleep 0.05; done
CRIU
chmod 755 "$dir/cuda-ckpt" "$dir/criu"

run() { # EXIT-STATUS ARG...
	want=$1
	shift
	rc=0
	env CUDA_CKPT="$dir/cuda-ckpt" CRIU="$dir/criu" FAKE="$dir" LOG="$dir/log" \
		sh "$src/../examples/criu-cuda.sh" "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	[ "$rc" -eq "$want" ] || { fail "criu-cuda.sh $* exited $rc, not $want"; cat "$dir/err" >&2; }
}
logged() { # NAME
	cat >"$dir/want"
	sed "s|$dir/images|IMAGES|g" "$dir/log" | diff -u "$dir/want" - >&2 || fail "$1: calls"
}
fresh() {
	rm -rf "$dir/images" "$dir"/fail-* "$dir"/slow* "$dir/inside" "$dir/child"
	: >"$dir/log"
}

for args in '' 'dump' 'dump 4711' 'restore' 'other 4711 x'; do
	fresh
	# shellcheck disable=SC2086 # words
	run 64 $args
done
for pid in 0 1 -1 12a ''; do
	fresh
	run 64 dump "$pid" "$dir/images"
	[ ! -s "$dir/log" ] || fail "touched something for process '$pid'"
done
run 66 restore "$dir/nowhere"

fresh
run 0 dump 4711 "$dir/images" --shell-job -v4
logged dump <<'WANT'
cuda-ckpt suspend --record IMAGES/cuda-ckpt.record --tree 4711
criu dump --tree 4711 --images-dir IMAGES --libdir IMAGES --shell-job -v4
WANT
[ "$(stat -c %a "$dir/images")" = 700 ] || fail "the images are for others to read"
: >"$dir/log"
run 0 restore "$dir/images" --shell-job
pid=$(cat "$dir/pid")
[ "$(cat "$dir/out")" = "$pid" ] || fail "restore does not say which process it is"
sed -i "s/ $pid\$/ PID/" "$dir/log"
logged restore <<'WANT'
criu restore --images-dir IMAGES --libdir IMAGES --restore-detached --pidfile IMAGES/restored.pid --shell-job
cuda-ckpt resume --record IMAGES/cuda-ckpt.record --tree PID
WANT
kill "$pid" "$(cat "$dir/child")" 2>/dev/null || :
rm "$dir/images/cuda-ckpt.record"
run 0 restore "$dir/images"
pid=$(cat "$dir/pid")
[ "$(tail -n 1 "$dir/log")" = "cuda-ckpt resume --tree $pid" ] || fail "images without a record: $(tail -n 1 "$dir/log")"
kill "$pid" "$(cat "$dir/child")" 2>/dev/null || :

fresh
run 0 dump -k 4711 "$dir/images"
logged "dump -k" <<'WANT'
cuda-ckpt suspend --record IMAGES/cuda-ckpt.record --tree 4711
criu dump --tree 4711 --images-dir IMAGES --libdir IMAGES --leave-running
cuda-ckpt resume --tree 4711
WANT

# What fails leaves the job running.
fresh
: >"$dir/fail-suspend"
run 69 dump 4711 "$dir/images"
! grep -q criu "$dir/log" || fail "dumped what was not suspended"
fresh
: >"$dir/fail-criu"
run 1 dump 4711 "$dir/images"
[ "$(tail -n 1 "$dir/log")" = 'cuda-ckpt resume --tree 4711' ] || fail "a dump that failed is not taken back"
grep -q 'the job runs on' "$dir/err" || fail "a dump that failed: nothing is said"
for slow in slow slow-suspend; do
	fresh
	: >"$dir/$slow"
	env CUDA_CKPT="$dir/cuda-ckpt" CRIU="$dir/criu" FAKE="$dir" LOG="$dir/log" \
		sh "$src/../examples/criu-cuda.sh" dump -k 4711 "$dir/images" >/dev/null 2>&1 </dev/null &
	pid=$!
	for _ in $(seq 1200); do
		[ ! -e "$dir/inside" ] || break
		sleep 0.05
	done
	kill $pid
	rm "$dir/$slow"
	rc=0
	wait $pid || rc=$?
	[ "$rc" -eq 143 ] || fail "SIGTERM: exit status $rc"
	[ "$(grep -c 'cuda-ckpt resume --tree 4711' "$dir/log")" = 1 ] || fail "SIGTERM, $slow: not taken back, or twice"
done

# A job that could not be resumed is ended, with all of its tree.
fresh
mkdir "$dir/images"
: >"$dir/images/inventory.img"
: >"$dir/fail-resume"
run 1 restore "$dir/images"
grep -q 'the job is ended' "$dir/err" || fail "a failed resume: nothing is said"
pid=$(cat "$dir/pid")
# What is killed has an end in its own time.
for member in "$pid" "$(cat "$dir/child")"; do
	for _ in $(seq 600); do
		grep -qs '^State:	[^ZX]' "/proc/$member/status" || continue 2
		sleep 0.1
	done
	fail "the job is left"
done
[ -e "$dir/images/inventory.img" ] || fail "the images are gone"

# The files that register cuda-runc name the program where it is installed.
for file in containerd-1.toml containerd-2.toml docker-daemon.json podman-containers.conf nvidia-container-runtime.toml; do
	grep -q '"/usr/bin/cuda-runc"' "$src/../examples/cuda-runc/$file" || fail "$file does not name /usr/bin/cuda-runc"
done
[ "$failed" -eq 0 ] || exit 1
