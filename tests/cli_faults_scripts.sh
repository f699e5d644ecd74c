#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that are shell scripts, each write, rename, fsync, mkdir and spawn failing in
# turn: theirs, and those of all that they start. No crash of any of these, no file half-done,
# no success that is none.
set -eu
src=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
unset PVE_GPU_ROOT
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$src/faults.sh"
root=$faults/root
# What a shell cannot read is the same as what it cannot write: it is said and ends it.
kinds="$writing pipe:EMFILE"
# Each costs a run of a dozen programs.
[ -n "${PVE_GPU_TEST_LONG-}" ] && usual=1 || usual=12

# script NAME RC TREE COMMAND...: try() with all that it starts
script() {
	everyone=-a
	# The shell itself ends with 2 when it cannot make a process, other tools with 1.
	also="1 2 ${also-}"
	# What a hook says is for a log: nothing is done otherwise without it.
	lost=" ${lenient:+0} $also 69 71 73 74 "
	step=$usual
	try "$@"
}
hooks=$(command -v pve-gpu-hooks)
pkgdatadir=$(sed -n 's|^[[:space:]]*source=\(/.*\)/vzdump-hook$|\1|p' "$hooks")
libexec=$(dirname "$hooks")
[ -x "$libexec/hooks-report" ] || libexec=/usr/libexec/pve-gpu-utils

# --- pve-gpu-hooks: /etc/vzdump.conf, the switch for vGPUs, a guest's hook script ---

sh "$src/mktree.sh" "$src/fixtures/two-vms.tree" "$faults/off"
etc=$faults/off/etc
mkdir -p "$faults/off$pkgdatadir" "$faults/off/run" "$faults/off/var/lib/vz"
cp "$src/../utils/vzdump-hook" "$src/../utils/guest-hook" "$faults/off$pkgdatadir"
printf 'name: cad\nscsi0: local:vm-100-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' \
	>"$etc/pve/nodes/pve1/qemu-server/100.conf"
printf 'vzdump: nightly\n\tschedule 02:00\n\tall 1\n\tmode snapshot\n' >"$etc/pve/jobs.cfg"
printf 'tmpdir: /var/tmp\n' >"$etc/vzdump.conf"
cp -a "$faults/off" "$faults/on"
pve-gpu-hooks -R "$faults/on" enable >/dev/null
script 'pve-gpu-hooks enable' 0 "$faults/off" pve-gpu-hooks -R "$root" enable
script 'pve-gpu-hooks disable' 0 "$faults/on" pve-gpu-hooks -R "$root" disable
script 'pve-gpu-hooks enable -n' 0 "$faults/off" pve-gpu-hooks -R "$root" enable -n
script 'pve-gpu-hooks status' 1 "$faults/off" pve-gpu-hooks -R "$root" status
script 'pve-gpu-hooks plan' 0 "$faults/on" pve-gpu-hooks -R "$root" plan
script 'pve-gpu-hooks example' 0 "$faults/on" pve-gpu-hooks -R "$root" example

sh "$src/mktree.sh" "$src/fixtures/vgpu.tree" "$faults/vgpu"
sh "$src/mkfiles.sh" "$src/fixtures/vgpu.files" "$faults/vgpu"
script 'pve-gpu-hooks mdev enable' 0 "$faults/vgpu" pve-gpu-hooks -R "$root" mdev enable
pve-gpu-hooks -R "$faults/vgpu" mdev enable >/dev/null
script 'pve-gpu-hooks mdev status' 0 "$faults/vgpu" pve-gpu-hooks -R "$root" mdev status
script 'pve-gpu-hooks mdev disable' 0 "$faults/vgpu" pve-gpu-hooks -R "$root" mdev disable

# A node alone whose storage holds snippets; qm does what PVE's does with a hook script.
sh "$src/mktree.sh" "$src/fixtures/guest-hook.tree" "$faults/guest"
mkdir -p "$faults/guest/var/lib/vz" "$faults/guest$pkgdatadir" "$faults/guest/usr/sbin"
cp "$src/../utils/guest-hook" "$faults/guest$pkgdatadir"
printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,snippets\n\n' >"$faults/guest/etc/pve/storage.cfg"
printf '{"nodename":"pve1","version":1}\n' >"$faults/guest/etc/pve/.members"
cat >"$faults/guest/usr/sbin/qm" <<-END
	#!/bin/sh
	trap 'rm -f "\$conf.\$\$"' EXIT
	conf=$root/etc/pve/nodes/pve1/qemu-server/\$2.conf
	case \$1.\$3 in
	set.--hookscript) sed "\\\$a hookscript: \$4" "\$conf" >"\$conf.\$\$" && mv "\$conf.\$\$" "\$conf" ;;
	set.--delete) sed "/^\$4:/d" "\$conf" >"\$conf.\$\$" && mv "\$conf.\$\$" "\$conf" ;;
	esac || exit 255
END
chmod 755 "$faults/guest/usr/sbin/qm"
script 'pve-gpu-hooks guest enable' 0 "$faults/guest" pve-gpu-hooks -R "$root" guest 100 enable
script 'pve-gpu-hooks guest status' 1 "$faults/guest" pve-gpu-hooks -R "$root" guest 100 status
rm -rf "$root"
cp -a "$faults/guest" "$root"
pve-gpu-hooks -R "$root" guest 100 enable >/dev/null
cp -a "$root" "$faults/hooked"
script 'pve-gpu-hooks guest disable' 0 "$faults/hooked" pve-gpu-hooks -R "$root" guest 100 disable

# --- the hooks: nothing that goes wrong with themselves is in the way of a backup or a start ---

chain=$libexec/vzdump-hook-chain
mkdir -p "$faults/chain/etc/pve-gpu-utils/vzdump.d"
for part in 10-one 50-two; do
	printf '#!/bin/sh\necho "$0 $*" >>"%s/ran"\n' "$faults" >"$faults/chain/etc/pve-gpu-utils/vzdump.d/$part"
	chmod 755 "$faults/chain/etc/pve-gpu-utils/vzdump.d/$part"
done
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT
# What it calls fails, and is told; the others are called all the same.
lenient=1
script vzdump-hook-chain 0 "$faults/chain" "$chain" job-start
mkdir -p "$faults/hook/var/lib" "$faults/hook/run" "$faults/hook/proc"
# The hooks as shipped, but for the places where they find their programs; pci-rescan has
# nothing to reset here.
mkdir "$faults/bin"
bindir=$(dirname "$(command -v vm-state-save)")
for hook in vzdump-gpu-hook guest-gpu-hook; do
	sed "s|^PATH=.*|PATH=$faults/bin:$bindir:/usr/sbin:/usr/bin:/sbin:/bin|" "$libexec/$hook" >"$faults/bin/$hook"
done
ln -s "$libexec/guest-report" "$faults/bin/guest-report"
printf '#!/bin/sh\n' >"$faults/bin/pci-rescan"
chmod 755 "$faults/bin"/*
hook_try() {
	lenient=1
	script "$@"
}
hook_try 'vzdump-gpu-hook job-start' 0 "$faults/hook" "$faults/bin/vzdump-gpu-hook" job-start
hook_try 'guest-gpu-hook pre-start' 0 "$faults/guest" "$faults/bin/guest-gpu-hook" 100 pre-start
hook_try 'guest-gpu-hook post-start' 0 "$faults/guest" "$faults/bin/guest-gpu-hook" 105 post-start
hook_try 'guest-gpu-hook pre-stop' 0 "$faults/guest" "$faults/bin/guest-gpu-hook" 105 pre-stop
unset PVE_GPU_ROOT

# --- lxc-nvidia-setup: what it does is tested on the simulated host ---

made nvidia-mig
mv "$faults/nvidia-mig" "$faults/lxc"
find "$faults/lxc/proc" -type f | while read -r file; do
	text=$(cat "$file")
	printf '%b\n' "$text" >"$file"
done
libs=$faults/lxc/var/lib/lxc/200/rootfs/usr/lib/x86_64-linux-gnu
mkdir -p "$faults/lxc/etc/pve/nodes/pve1/lxc" "$libs" "$faults/lxc/run/lock/lxc" "$faults/lxc/var/lib/dpkg"
ln -s nodes/pve1 "$faults/lxc/etc/pve/local"
ln -s nodes/pve1/lxc "$faults/lxc/etc/pve/lxc"
printf 'arch: amd64\nhostname: ollama\nostype: debian\nrootfs: local:200,size=8G\nunprivileged: 1\n' \
	>"$faults/lxc/etc/pve/nodes/pve1/lxc/200.conf"
ln -s libnvidia-ml.so.550.54.14 "$libs/libnvidia-ml.so.1"
ln -s libcuda.so.550.54.14 "$libs/libcuda.so.1"
also='3 4 5'
script 'lxc-nvidia-setup --check' 0 "$faults/lxc" lxc-nvidia-setup -R "$root" --check 200
also='3 4 5'
script 'lxc-nvidia-setup -n' 0 "$faults/lxc" lxc-nvidia-setup -R "$root" -n --gpu all --driver 550.54.14 \
	--repo https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64 \
	--runfile https://us.download.nvidia.com/tesla/550.54.14/NVIDIA-Linux-x86_64-550.54.14.run 200

# --- gpu-doctor ---

mkdir "$faults/bundle"
whole_bundle() {
	for left in "$faults/bundle"/*; do
		case $left in
		*/text) tail -n 1 "$left" | grep -q '^script: \|^==> ' || fault_fails "the bundle ends with: $(tail -n 1 "$left")" ;;
		*'*') ;;
		*) fault_fails "left $left" ;;
		esac
		rm -f "$left"
	done
}
# A tool that fails is a finding, 1, as others are here, and is in the bundle, too.
lenient=1
script gpu-doctor 1 "$faults/on" gpu-doctor -R "$root"
lenient=1
script 'gpu-doctor --json' 1 "$faults/on" gpu-doctor -R "$root" --json
lenient=1
after=whole_bundle
script 'gpu-doctor --bundle' 1 "$faults/on" gpu-doctor -R "$root" --bundle "$faults/bundle/text"
faults_end
