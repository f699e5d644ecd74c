#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cuda-runc over the real runc: a container whose CUDA jobs count, on a stand-in of
# libcuda. What of a checkpoint needs CRIU is done by a runtime in between where CRIU does
# not work.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
skip() {
	echo "$1: cuda-runc is not tried with the real runc"
	exit 77
}
[ "$(id -u)" -eq 0 ] || skip 'not root'
runc=$(command -v runc) || skip 'there is no runc'
command -v cuda-ckpt >/dev/null || skip 'there is no cuda-ckpt'
id=cuda-runc-$$
state=$dir/state
cleanup() {
	"$runc" --root "$state" delete --force "$id" >/dev/null 2>&1 || :
	rm -rf "$dir"
}
trap 'last_words $?; cleanup' EXIT

mkdir "$dir/fake" "$dir/lib" "$dir/b" "$dir/b/rootfs" "$dir/path" "$dir/between"
sh "$src/fakecuda/build.sh" "$dir/lib" >"$dir/build" 2>&1 || {
	[ $? -ne 77 ] || skip 'no C compiler'
	cat "$dir/build" >&2
	exit 1
}
mounts=
for path in /usr /bin /lib /lib64 "$dir/lib"; do
	[ ! -d "$path" ] || mounts="$mounts,{\"destination\":\"$path\",\"type\":\"bind\",\"source\":\"$path\",\"options\":[\"rbind\",\"ro\"]}"
done
config() { # ARGUMENT...: config.json of a container that runs it
	args=
	for arg; do
		args="$args${args:+,}\"$arg\""
	done
	cat >"$dir/b/config.json" <<JSON
{"ociVersion":"1.0.2",
 "process":{"terminal":false,"user":{"uid":0,"gid":0},"cwd":"/","args":[$args],
  "env":["PATH=/usr/bin:/bin","LD_LIBRARY_PATH=$dir/lib","FAKE_CUDA_DIR=$dir/fake"]},
 "root":{"path":"rootfs"},"hostname":"job",
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
  {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755"]},
  {"destination":"$dir/fake","type":"bind","source":"$dir/fake","options":["bind","rw"]}$mounts],
 "linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"ipc"},{"type":"uts"}]}}
JSON
}
# As little of the environment as a shim has; PATH without criu.
ln -s "$runc" "$dir/path/runc"
real() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$runc" --root "$state" "$@"; }
rt() {
	env -i PATH="$dir/path" LD_LIBRARY_PATH="$dir/lib" FAKE_CUDA_DIR="$dir/fake" ${extra-} \
		${ASAN_OPTIONS:+"ASAN_OPTIONS=$ASAN_OPTIONS"} "$(command -v cuda-runc)" \
		--root "$state" --log "$dir/log.json" --log-format json "$@"
}
extra=

# Are there containers on this machine, and can they be frozen?
config /bin/sleep 60
(cd "$dir/b" && real run -d "$id") >"$dir/probe" 2>&1 </dev/null ||
	skip "runc cannot run a container here ($(tail -n 1 "$dir/probe" | cut -c1-200))"
timeout 20 "$runc" --root "$state" pause "$id" >"$dir/probe" 2>&1 ||
	skip "runc cannot pause a container here ($(tail -n 1 "$dir/probe" | cut -c1-200))"
real resume "$id"
real delete --force "$id"

config "$dir/lib/cudajob" -m 4 -t 20 "$dir/fake/count"
counts() { # FILE: does it go on?
	before=$(cat "$1" 2>/dev/null || echo 0)
	for _ in $(seq 600); do
		now=$(cat "$1" 2>/dev/null || echo 0)
		[ "${now:-0}" -le "${before:-0}" ] || return 0
		sleep 0.05
	done
	return 1
}
stands() { # FILE: not while it is frozen or locked
	before=$(cat "$1")
	sleep 0.3
	[ "$(cat "$1")" = "$before" ]
}
is() { # STATUS NAME
	got=$(rt state "$id" | sed -n 's/^ *"status": "\(.*\)",*$/\1/p')
	[ "$got" = "$1" ] || fail "$2: the container is '$got', not $1"
}
driver() { # what the driver was asked, without who and when: "lock 123"
	sed -n 's/^[^ ]* [^ ]* \(lock\|checkpoint\|restore\|unlock\) \([0-9]*\) end 0$/\1 \2/p' "$dir/fake/log" 2>/dev/null
}

# create, start, exec, state, ps, pause, resume: the runtime's own.
(cd "$dir/b" && rt create --bundle "$dir/b" --pid-file "$dir/pid" "$id") </dev/null >/dev/null 2>"$dir/err" || {
	cat "$dir/err" >&2
	fail create
}
is created create
rt start "$id" || fail start
is running start
pid=$(cat "$dir/pid")
counts "$dir/fake/count" || fail "the job does not count"
[ "$(rt exec "$id" /bin/sh -c 'echo $((6 * 7))')" = 42 ] || fail exec
rt ps --format json "$id" | grep -q "^\[$pid\]" || fail ps
rt pause "$id" || fail pause
is paused pause
stands "$dir/fake/count" || fail "a paused job counts"

# A checkpoint of the paused container that CRIU refuses: thawed, suspended, frozen,
# resumed, frozen.
: >"$dir/fake/log"
rc=0
(cd "$dir/b" && rt checkpoint --image-path "$dir/image" --work-path "$dir/work" "$id") >"$dir/out" 2>&1 || rc=$?
[ "$rc" -ne 0 ] || fail "a checkpoint without CRIU"
is paused "refused checkpoint"
printf '%s\n' "lock $pid" "checkpoint $pid" "restore $pid" "unlock $pid" >"$dir/want"
driver | diff -u "$dir/want" - >&2 || fail "refused checkpoint: the driver's calls"
tail -n 1 "$dir/log.json" | grep -q '"level":"error".*its CUDA state is resumed' || {
	fail "refused checkpoint: --log"
	cat "$dir/log.json" >&2
}
stands "$dir/fake/count" || fail "refused checkpoint: it is paused and counts"
rt resume "$id" || fail resume
counts "$dir/fake/count" || fail "refused checkpoint: the job does not go on"
[ "$(env LD_LIBRARY_PATH="$dir/lib" FAKE_CUDA_DIR="$dir/fake" cuda-ckpt state -ro state "$pid")" = running ] ||
	fail "refused checkpoint: the state is not running"

# In place of CRIU: what a dump does to the container, and what it finds.
cat >"$dir/between/runc" <<BETWEEN
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
for arg; do
	[ "\$arg" != checkpoint ] || {
		"$runc" --root "$state" state "$id" | grep '"status"' >"$dir/seen"
		cat "$dir/fake/count" >>"$dir/seen"
		case " \$* " in
		*' --leave-running '*) exit 0 ;;
		esac
		# As after a dump: the processes are gone.
		exec "$runc" --root "$state" kill --all "$id" KILL
	}
done
exec "$runc" "\$@"
BETWEEN
chmod 755 "$dir/between/runc"
extra="CUDA_RUNC_RUNTIME=$dir/between/runc"

# A second job that was not started by the first: one unit.
rt exec -d --pid-file "$dir/pid2" --env "LD_LIBRARY_PATH=$dir/lib" --env "FAKE_CUDA_DIR=$dir/fake" \
	"$id" "$dir/lib/cudajob" -m 4 -t 20 "$dir/fake/count2" >/dev/null 2>&1 </dev/null || fail "exec -d"
counts "$dir/fake/count2" || fail "the second job does not count"
pid2=$(cat "$dir/pid2")
for status in running paused; do
	[ $status = running ] || rt pause "$id"
	: >"$dir/fake/log"
	rt checkpoint --leave-running --image-path "$dir/image" "$id" >"$dir/out" 2>&1 || {
		fail "checkpoint --leave-running, $status"
		cat "$dir/out" "$dir/log.json" >&2
	}
	is $status "--leave-running"
	grep -q "\"$status\"" "$dir/seen" || fail "--leave-running: dumped as $(cat "$dir/seen"), not $status"
	for one in "$pid" "$pid2"; do
		[ "$(driver | grep -c " $one\$")" -eq 4 ] || fail "--leave-running: not all stages of $one"
	done
	# No process copies while another one runs on, none runs on before all are back.
	[ "$(driver | cut -d ' ' -f 1 | uniq -c | awk '{ printf "%s%s ", $1, $2 }')" = '2lock 2checkpoint 2restore 2unlock ' ] ||
		fail "--leave-running: the order was $(driver | tr '\n' ' ')"
	[ $status = running ] || rt resume "$id"
	counts "$dir/fake/count" && counts "$dir/fake/count2" || fail "--leave-running, $status: a job does not go on"
	[ -e "$dir/image/cuda-runc.json" ] || fail "--leave-running: no note with the image"
done

# And without --leave-running: done, and gone.
rt pause "$id"
: >"$dir/fake/log"
rt checkpoint --image-path "$dir/image" "$id" >"$dir/out" 2>&1 || {
	fail "checkpoint"
	cat "$dir/out" >&2
}
grep -q '"paused"' "$dir/seen" || fail "checkpoint: dumped as $(cat "$dir/seen")"
[ "$(driver | grep -c '^checkpoint ')" -eq 2 ] || fail "checkpoint: not both are suspended"
! driver | grep -q restore || fail "checkpoint: resumed what is gone"
real resume "$id" >/dev/null 2>&1 || :
# Its first process ends when the namespace is empty, and who reaps the job that exec
# started is this machine's init, in its own time.
for _ in $(seq 600); do
	[ "$(real state "$id" | sed -n 's/^ *"status": "\(.*\)",*$/\1/p')" != stopped ] || break
	sleep 0.05
done
is stopped "checkpoint"
rt delete "$id" || fail delete
rt state "$id" >/dev/null 2>&1 && fail "state of a container that is deleted"

# Where CRIU works, all four stages. Its check does not tell: a container without CUDA does.
extra=
criu_works() {
	criu check || return 1
	config /bin/sleep 60
	(cd "$dir/b" && real run -d "$id") </dev/null || return 1
	probe=0
	PATH=/usr/sbin:/usr/bin:/sbin:/bin timeout 60 "$runc" --root "$state" checkpoint \
		--image-path "$dir/image1" --work-path "$dir/work1" "$id" || probe=1
	real delete --force "$id" >/dev/null 2>&1 || :
	config "$dir/lib/cudajob" -m 4 -t 20 "$dir/fake/count"
	return $probe
}
if criu_works >"$dir/criu" 2>&1; then
	ln -s "$(command -v criu)" "$dir/path/criu"
	(cd "$dir/b" && rt run -d --pid-file "$dir/pid" "$id") </dev/null >/dev/null 2>"$dir/err" || fail "run"
	counts "$dir/fake/count" || fail "CRIU: the job does not count"
	rt pause "$id"
	extra=PATH=/usr/sbin:/usr/bin:/sbin:/bin
	rt checkpoint --image-path "$dir/image2" --work-path "$dir/work" "$id" >"$dir/out" 2>&1 || {
		fail "checkpoint with CRIU"
		cat "$dir/out" "$dir/log.json" "$dir/work/dump.log" >&2 || :
	}
	rt delete --force "$id" >/dev/null 2>&1 || :
	before=$(cat "$dir/fake/count")
	rt restore --image-path "$dir/image2" --work-path "$dir/work" --detach --bundle "$dir/b" "$id" \
		</dev/null >"$dir/out" 2>&1 || {
		fail "restore with CRIU"
		cat "$dir/log.json" "$dir/work/restore.log" >&2 || :
	}
	[ ! -s "$dir/out" ] || fail "a restore is not silent: $(cat "$dir/out")"
	counts "$dir/fake/count" || fail "CRIU: the job does not go on"
	[ "$(cat "$dir/fake/count")" -gt "$before" ] || fail "CRIU: the job began anew"
else
	echo "no round trip with CRIU: $(tail -n 1 "$dir/criu" | cut -c1-200)"
fi
[ "$failed" -eq 0 ] || exit 1
