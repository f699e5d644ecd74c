# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# CUDA jobs (cudajob on the libcuda of tests/fakecuda) through all four stages with the
# real CRIU: cuda-runc over runc, cuda-runc below containerd, criu-cuda.sh on a bare tree.
# A node that CRIU cannot dump is open in each job while it has its GPU.

host() {
	boot job off
}

machine() {
	fake=/usr/lib/lab/fakecuda
	cp $fake/libcuda.so.1 /usr/lib/x86_64-linux-gnu/
	mkdir -p /run/fake-cuda /srv/out
	: >/run/fake-cuda/log
	minor=$(sed -n 's/^ *\([0-9]*\) vga_arbiter$/\1/p' /proc/misc)
	mknod -m 666 /dev/nvidia0 c 10 "$minor"
	make_bundle
	check "criu check" criu check
	over_runc
	hook_mounts plain
	rm -rf /srv/img4
	hook_mounts
	below_containerd
	bare_tree
}

# What the jobs of a container have counted, in one line.
counts() { tail -q -n 1 "$@" | tr '\n' ' '; }
# on FILE...: each goes on counting.
on() {
	for job; do
		within 20 test -s "$job" || return 1
		was=$(cat "$job")
		within 20 larger "$job" "$was" || {
			echo "$job stands at $was"
			return 1
		}
	done
}
larger() { [ -s "$1" ] && [ "$(cat "$1")" -gt "$2" ]; }
at_least() { # COUNTS FILE...: each is not below what it was
	was=$1
	shift
	for job; do
		echo "$job: $(cat "$job"), was ${was%% *}"
		[ "$(cat "$job")" -ge "${was%% *}" ] || return 1
		was=${was#* }
	done
}
# Each stands; a count that was under way when it was stopped may still be written.
stand() {
	for _ in 1 2 3; do
		was=$(counts "$@")
		sleep 1
		[ "$(counts "$@")" != "$was" ] || return 0
	done
	return 1
}
# verified PID-FILE-PAIRS...: "PID=FILE": its GPU memory is what it was
verified() {
	for pair; do
		rm -f "${pair#*=}.sum"
		kill -USR1 "${pair%%=*}"
	done
	for pair; do
		within 20 test -e "${pair#*=}.sum" || return 1
		cat "${pair#*=}.sum"
		grep -q '^ok ' "${pair#*=}.sum" || return 1
	done
}

make_bundle() {
	bundle=/srv/job
	out=$bundle/rootfs/out
	mkdir -p $out $bundle/rootfs/bin $bundle/rootfs/proc $bundle/rootfs/dev $bundle/rootfs/etc
	touch $bundle/rootfs/etc/hosts $bundle/rootfs/etc/resolv.conf
	for file in /bin/sh:/bin /usr/lib/lab/fakecuda/cudajob:/bin /lib64/ld-linux-x86-64.so.2:/lib64 \
		/lib/x86_64-linux-gnu/libc.so.6:/lib/x86_64-linux-gnu $fake/libcuda.so.1:/lib/x86_64-linux-gnu; do
		mkdir -p "$bundle/rootfs${file#*:}"
		cp -L "${file%%:*}" "$bundle/rootfs${file#*:}/"
	done
	cat >$bundle/config.json <<END
{ "ociVersion": "1.0.2",
  "process": { "terminal": false, "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": [ "PATH=/bin" ], "args": [
      "/bin/sh", "-c", "/bin/cudajob -m 4 -t 200 /out/b & exec /bin/cudajob -m 8 -t 200 /out/a" ] },
  "root": { "path": "rootfs", "readonly": false }, "hostname": "job",
  "mounts": [ { "destination": "/proc", "type": "proc", "source": "proc" },
    { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": [ "nosuid", "mode=755" ] } ],
  "linux": { "namespaces": [ { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" } ],
    "devices": [ { "path": "/dev/nvidia0", "type": "c", "major": 10, "minor": $minor, "fileMode": 438, "uid": 0, "gid": 0 } ],
    "resources": { "devices": [ { "allow": false, "access": "rwm" },
      { "allow": true, "type": "c", "major": 10, "minor": $minor, "access": "rwm" } ] } } }
END
}

# --- cuda-runc over runc ---------------------------------------------------------

status_is() {
	status=$(runc state job 2>&1 | sed -n 's/^ *"status": "\(.*\)",$/\1/p')
	echo "${status:-gone}"
	[ "${status:-gone}" = "$1" ]
}
job_pids() { runc ps -f json job | tr -d '[]' | tr ',' ' '; }
run_job() { (cd $bundle && cuda-runc run -d job </dev/null >/dev/null 2>&1); }
has_node() { for pid in $(job_pids); do readlink "/proc/$pid/fd"/* | grep -x /dev/nvidia0 || return 1; done; }
dump() { (cd $bundle && "$@"); }
transcript() { lab_say "    a and b count: $(counts $out/a $out/b)- $1"; }

over_runc() {
	lab_say "a container of two jobs, cuda-runc over runc"
	run_job || lab_fail "cuda-runc run"
	check "both count" on $out/a $out/b
	transcript running
	check "both have the GPU open" has_node
	rc=0
	(cd $bundle && runc checkpoint --image-path /srv/plain --work-path /srv/work job) >/run/plain.out 2>&1 || rc=$?
	check "runc alone cannot: the GPU is in use" test $rc != 0
	check "CRIU says so" grep -a "Can't dump file .* of that type" /srv/work/dump.log
	check "both go on" on $out/a $out/b

	transcript "runc alone refused"
	check "checkpoint --leave-running" dump cuda-runc checkpoint --leave-running --image-path /srv/img1 --work-path /srv/work job
	check "both go on, on the GPU" on $out/a $out/b
	check "it is open again" has_node
	transcript "checkpoint --leave-running"

	# By its name, of real control groups.
	check "cuda-ckpt suspend --container" cuda-ckpt suspend --container job
	check "both stand" stand $out/a $out/b
	check "the GPU is free" not has_node
	check "cuda-ckpt resume --cgroup" cuda-ckpt resume --cgroup "$(cgroup_of_job)"
	check "both go on" on $out/a $out/b
	: >/run/fake-cuda/log
	echo 100000000000 >/run/fake-cuda/vram-used
	check "more GPU memory than the host has left: refused" refused 75 env LD_LIBRARY_PATH=$fake/nvml \
		cuda-ckpt suspend --container job
	rm /run/fake-cuda/vram-used

	# As an engine does it: paused.
	runc pause job
	check "a frozen container: refused at once" refused 75 cuda-ckpt suspend --container job
	check "the driver was not called" untouched
	: >/run/fake-cuda/log
	check "checkpoint of a paused container" dump cuda-runc checkpoint --image-path /srv/img2 --work-path /srv/work job
	dumped=$(counts $out/a $out/b)
	check "the container is gone" status_is gone
	check "both stand" stand $out/a $out/b
	transcript "checkpoint, the container is gone"
	check "all locks before the first checkpoint" in_order lock checkpoint
	: >/run/fake-cuda/log
	check "restore" dump cuda-runc --log /srv/log.json --log-format json restore --detach --image-path /srv/img2 \
		--work-path /srv/work --bundle $bundle job </dev/null
	check "the container runs" status_is running
	check "both go on" on $out/a $out/b
	check "from where they were" at_least "$dumped" $out/a $out/b
	transcript "restore"
	check "all restores before the first unlock" in_order restore unlock
	# shellcheck disable=SC2046 # two pids
	set -- $(job_pids)
	check "their GPU memory is what it was" verified "$1=$out/a" "$2=$out/b"
	check "it is open again" has_node

	# A stage 4 that fails must not leave a container that never goes on.
	check "checkpoint again" dump cuda-runc checkpoint --image-path /srv/img3 --work-path /srv/work job
	echo 'restore * 2' >/run/fake-cuda/faults
	check "a restore whose stage 4 fails, fails" not dump cuda-runc --log /srv/log.json --log-format json restore --detach \
		--image-path /srv/img3 --work-path /srv/work --bundle $bundle job </dev/null
	check "the container is gone" status_is gone
	check "the log has the reason, as JSON" grep -E '^\{"level":"error","msg":".*(memory|CUDA).*"' /srv/log.json
	rm -f /run/fake-cuda/faults
	dumped=$(counts $out/a $out/b)
	check "without the fault the same image is restored" dump cuda-runc restore --detach --image-path /srv/img3 \
		--work-path /srv/work --bundle $bundle job </dev/null
	check "both go on" on $out/a $out/b
	check "from where they were" at_least "$dumped" $out/a $out/b
	transcript "restored after a failure"
	runc kill job KILL
	within 20 status_is stopped || :
	runc delete job
}
cgroup_of_job() {
	pid=$(job_pids)
	sed -n 's/^0:://p' "/proc/${pid%% *}/cgroup"
}
refused() {
	due=$1
	shift
	rc=0
	timeout 60 "$@" || rc=$?
	echo "exit $rc"
	[ $rc = "$due" ]
}
untouched() { not grep -E ' (lock|checkpoint|restore|unlock) ' /run/fake-cuda/log; }
in_order() {
	last=$(grep -n " $1 [0-9]* end 0" /run/fake-cuda/log | tail -n 1 | cut -d: -f1)
	first=$(grep -n -m 1 " $2 [0-9]* begin" /run/fake-cuda/log | cut -d: -f1)
	echo "last $1 in line ${last:-none}, first $2 in line ${first:-none}"
	[ "${last:-999999}" -lt "${first:-0}" ]
}

# --- what NVIDIA's hook mounts behind the runtime's back --------------------------

hook_mounts() { # [plain]: restored by a configuration without the hook
	lab_say "mounts of a prestart hook, as NVIDIA's makes them"
	mkdir -p /opt/nvidia/dir /run/nvidia-persistenced
	echo driver >/opt/nvidia/libnvidia-ml.so.580.65.06
	echo folder >/opt/nvidia/dir/file
	echo socket >/run/nvidia-persistenced/socket
	cat >/srv/hook <<'END'
#!/bin/sh
# The container's mount namespace, before its root is changed: the host's tree is there.
pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p')
rootfs=/srv/job/rootfs
mkdir -p $rootfs/usr/lib/nvidia-dir $rootfs/run/nvidia-persistenced
: >$rootfs/usr/lib/libnvidia-ml.so.580.65.06
: >$rootfs/run/nvidia-persistenced/socket
nsenter -t "$pid" -m sh -c "mount --bind /opt/nvidia/libnvidia-ml.so.580.65.06 $rootfs/usr/lib/libnvidia-ml.so.580.65.06 &&
	mount -o remount,bind,ro $rootfs/usr/lib/libnvidia-ml.so.580.65.06 &&
	mount --bind /opt/nvidia/dir $rootfs/usr/lib/nvidia-dir &&
	mount --bind /run/nvidia-persistenced/socket $rootfs/run/nvidia-persistenced/socket" >>/srv/hook.log 2>&1
echo "$pid: $?" >>/srv/hook.log
END
	chmod 755 /srv/hook
	cp $bundle/config.json /srv/config.plain
	sed -i 's|^  "linux": {|  "hooks": { "prestart": [ { "path": "/srv/hook" } ] },\n&|' $bundle/config.json
	rm -f $out/*
	run_job || lab_fail "cuda-runc run with a hook"
	check "the hook has mounted" sees_mounts
	check "both count" on $out/a $out/b
	check "suspended, no GPU is in use" cuda-ckpt suspend --container job
	rc=0
	(cd $bundle && runc checkpoint --leave-running --image-path /srv/plain2 --work-path /srv/work job) >/run/plain.out 2>&1 || rc=$?
	check "runc alone cannot all the same" test $rc != 0
	check "CRIU says that it is the mounts" grep -a "unreachable sharing" /srv/work/dump.log
	check "resumed" cuda-ckpt resume --container job
	check "checkpoint" dump cuda-runc --log /srv/log.json --log-format json checkpoint --image-path /srv/img4 --work-path /srv/work job
	check "the container is gone" status_is gone
	dumped=$(counts $out/a $out/b)
	# Another root file system, which has none of the mount points.
	rm -rf $bundle/rootfs/usr/lib/nvidia-dir $bundle/rootfs/usr/lib/libnvidia-ml.so.580.65.06 $bundle/rootfs/run
	[ -z "${1-}" ] || cp /srv/config.plain $bundle/config.json
	check "restore" dump cuda-runc --log /srv/log.json --log-format json restore --detach --image-path /srv/img4 \
		--work-path /srv/work --bundle $bundle job </dev/null
	check "the mounts are there again" sees_mounts
	check "both go on" on $out/a $out/b
	check "from where they were" at_least "$dumped" $out/a $out/b
	runc kill job KILL
	within 20 status_is stopped || :
	runc delete job
	cp /srv/config.plain $bundle/config.json
}
sees_mounts() {
	pid=$(runc state job | sed -n 's/^ *"pid": \([0-9]*\),$/\1/p')
	grep nvidia "/proc/$pid/mountinfo"
	grep -x driver "/proc/$pid/root/usr/lib/libnvidia-ml.so.580.65.06" &&
		grep -x folder "/proc/$pid/root/usr/lib/nvidia-dir/file" &&
		grep -x socket "/proc/$pid/root/run/nvidia-persistenced/socket"
}

# --- below containerd ------------------------------------------------------------

task_pid() { ctr tasks ls | sed -n "s/^$1 *\([0-9]*\) .*/\1/p"; }
no_task() { [ -z "$(task_pid "$1")" ]; }

below_containerd() {
	lab_say "containerd with cuda-runc"
	touch /etc/hosts /etc/resolv.conf
	mkdir /srv/image
	tar -C $bundle/rootfs -cf /srv/image/layer.tar .
	printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$(sha256sum </srv/image/layer.tar | cut -c1-64)" >/srv/image/config.json
	printf '[{"Config":"config.json","RepoTags":["docker.io/library/job:latest"],"Layers":["layer.tar"]}]' \
		>/srv/image/manifest.json
	tar -C /srv/image -cf /srv/image.tar manifest.json config.json layer.tar
	containerd >/srv/containerd.log 2>&1 &
	within 60 ctr version >/dev/null 2>&1 || lab_fail "containerd does not start"
	check "the image is there" ctr image import /srv/image.tar
	rm -f /srv/out/*
	check "ctr run" ctr run -d --runc-binary /usr/bin/cuda-runc --net-host --device /dev/nvidia0 \
		--mount type=bind,src=/srv/out,dst=/out,options=rbind:rw \
		docker.io/library/job:latest job /bin/cudajob -m 8 -t 200 /out/a
	check "it counts" within 60 larger /srv/out/a 20
	dumped=$(cat /srv/out/a)
	lab_say "    counts: $dumped - running"
	: >/run/fake-cuda/log
	check "ctr containers checkpoint" ctr containers checkpoint --task job checkpoint
	check "the driver was asked for all four stages" all_stages
	check "it goes on" on /srv/out/a
	lab_say "    counts: $(cat /srv/out/a) - checkpoint; the task goes on"
	ctr tasks kill -s KILL job
	within 20 stopped job || :
	ctr tasks rm job >/dev/null 2>&1 || :
	ctr containers rm job
	lab_say "    counts: $(cat /srv/out/a) - killed and removed"
	check "it stands" stand /srv/out/a
	check "ctr containers restore" ctr containers restore --live job2 checkpoint
	check "it goes on" on /srv/out/a
	check "from where it was at the checkpoint" at_least "$dumped" /srv/out/a
	lab_say "    counts: $(cat /srv/out/a) - restored as another container"
	check "its GPU memory is what it was" verified "$(task_pid job2)=/srv/out/a"
	check "the new task runs under cuda-runc" grep -q cuda-runc \
		/run/containerd/io.containerd.runtime.v2.task/default/job2/options.json
	ctr tasks kill -s KILL job2
	within 20 stopped job2 || :
}
stopped() { ctr tasks ls | grep -q "^$1 .*STOPPED"; }
all_stages() {
	for stage in lock checkpoint restore unlock; do
		grep " $stage [0-9]* end 0" /run/fake-cuda/log || return 1
	done
}

# --- a bare tree of processes -----------------------------------------------------

bare_tree() {
	lab_say "a shell with two jobs, criu-cuda.sh"
	script=/usr/share/doc/cuda-ckpt/examples/criu-cuda.sh
	[ -e $script ] || script=/usr/lib/lab/criu-cuda.sh
	rm -f /srv/out/*
	# Twice away from us: a dumped process that nobody waits for is a zombie in its own way.
	(setsid sh -c 'echo $$ >/run/tree.pid
		cudajob=/usr/lib/lab/fakecuda/cudajob
		$cudajob -m 4 -t 200 /srv/out/b &
		$cudajob -m 8 -t 200 /srv/out/a
		wait' </dev/null >/dev/null 2>&1 &)
	check "both count" on /srv/out/a /srv/out/b
	lab_say "    a and b count: $(counts /srv/out/a /srv/out/b)- running"
	tree=$(cat /run/tree.pid)
	check "dump" sh $script dump "$tree" /srv/tree
	dumped=$(counts /srv/out/a /srv/out/b)
	check "the tree is gone" not test -e "/proc/$tree"
	check "both stand" stand /srv/out/a /srv/out/b
	lab_say "    a and b count: $dumped- dumped, the tree is gone"
	check "restore" sh $script restore /srv/tree
	check "both go on" on /srv/out/a /srv/out/b
	check "from where they were" at_least "$dumped" /srv/out/a /srv/out/b
	lab_say "    a and b count: $(counts /srv/out/a /srv/out/b)- restored"
	# shellcheck disable=SC2046 # two pids
	set -- $(pgrep -P "$tree")
	check "they are the same processes" test $# = 2
	check "their GPU memory is what it was" verified_any "$@"
	# shellcheck disable=SC2046 # several pids
	kill -KILL "$tree" "$@"
}
# Which of the two counts into which file is told by their arguments.
verified_any() {
	for pid; do
		file=$(tr '\0' '\n' <"/proc/$pid/cmdline" | tail -n 1)
		verified "$pid=$file" || return 1
	done
}
