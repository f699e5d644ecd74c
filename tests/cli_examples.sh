#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# cli_examples.sh [PAGE...] - run the EXAMPLES of the manual pages on made-up hosts
#
# Each line "# COMMAND" of a page's EXAMPLES is run, in order, in its host's root, with
# stand-ins for other packages' programs, and with -n what writes to a kernel. What it
# prints and its exit code are compared with fixtures/examples/PAGE. Wrong options (64)
# and unknown commands (127) are never right. EXAMPLES_UPDATE=1 writes the files anew:
# read what git diff says of them.
set -eu
TEST_SRC=$(cd "${TEST_SRC:-$(dirname "$0")}" && pwd)
man=$TEST_SRC/../man
wanted=$TEST_SRC/fixtures/examples
unset PVE_GPU_ROOT
LC_ALL=C.UTF-8
export LC_ALL
[ -d "$man" ] || {
	echo "the manual pages are not beside the tests"
	exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
ran=0

# The host that a page's examples are run on; "-" and a reason for those that are not.
host_of() {
	case $1 in
	gpu-ls.8 | gpu-conflicts.8 | lxc-gpu-ls.8 | pve-hostpci-ls.8) echo list-pve1 ;;
	gpu-doctor.8) echo gpus ;;
	pci-rescan.8) echo conflicts ;;
	gpu-procs.1 | vfio-bind.8) echo bind-host ;;
	mdev-ls.8 | mdev-mk.8 | mdev-rm.8) echo vgpu ;;
	guest-stop.8 | pve-gpu-hooks.8 | guest-gpu-hook.8 | pve-gpu-utils.7 | pve-gpu-utils.conf.5 | \
		vm-state-restore.8 | vm-state-save.8 | vzdump-gpu-hook.8) echo two-vms ;;
	vfio-setup.8) echo setup-host ;;
	cuda-ckpt.1 | cuda-runc.1) echo "- the CUDA tests run what it shows, with a stand-in for the driver" ;;
	lxc-gpu-mount.8) echo lxc-host ;;
	lxc-nvidia-setup.8 | pve-gpu-nodes.8) echo "- the simulation runs what it shows" ;;
	*) echo "?" ;;
	esac
}

build_host() { # NAME
	sh "$TEST_SRC/mktree.sh" "$TEST_SRC/fixtures/$1.tree" "$root"
	[ ! -f "$TEST_SRC/fixtures/$1.files" ] ||
		sh "$TEST_SRC/mkfiles.sh" "$TEST_SRC/fixtures/$1.files" "$root"
	mkdir -p "$root/root" "$root/etc/pve-gpu-utils/vzdump.d" "$root/run" "$root/var/lib"
	case $1 in
	lxc-host)
		printf '195 nvidia\n237 nvidia-caps\n510 nvidia-uvm\n' >"$root/proc/devices"
		printf 'arch: amd64\nhostname: ct\n' >"$root/etc/pve/nodes/pve1/lxc/200.conf"
		;;
	bind-host)
		mkdir -p "$root/etc/pve/nodes/pve1/qemu-server" "$root/etc/pve/nodes/pve1/lxc"
		ln -s nodes/pve1 "$root/etc/pve/local"
		;;
	two-vms)
		# As "pve-gpu-hooks enable" needs it: the stubs that the package brings.
		pkgdatadir=$(sed -n 's|^[[:space:]]*source=\(/.*\)/vzdump-hook$|\1|p' "$(command -v pve-gpu-hooks)")
		mkdir -p "$root$pkgdatadir" "$root/var/lib/vz" "$root/usr/sbin" "$root/etc/systemd/system/multi-user.target.wants"
		cp "$TEST_SRC/../utils/vzdump-hook" "$TEST_SRC/../utils/guest-hook" "$root$pkgdatadir/"
		cp "$TEST_SRC/../utils/50-gpu" "$root/etc/pve-gpu-utils/vzdump.d/"
		chmod 755 "$root/etc/pve-gpu-utils/vzdump.d/50-gpu"
		ln -s nowhere "$root/etc/systemd/system/multi-user.target.wants/pve-gpu-recover.service"
		printf '/usr/bin/kvm\0-id\000100\0-pidfile\0/var/run/qemu-server/100.pid\0-device\0vfio-pci,host=0000:01:00.0,id=hostpci0\0' \
			>"$root/proc/4242/cmdline"
		for vm in 100 101; do
			printf 'name: vm%s\nscsi0: local:vm-%s-disk-0,size=8G\nhostpci0: 0000:01:00.0\n' $vm $vm \
				>"$root/etc/pve/nodes/pve1/qemu-server/$vm.conf"
		done
		printf 'hostname: dns\nrootfs: local:200,size=4G\n' >"$root/etc/pve/nodes/pve1/lxc/200.conf"
		printf 'vzdump: backup-7c0e\n\tschedule 02:00\n\tall 1\n\tmode snapshot\n' >"$root/etc/pve/jobs.cfg"
		printf 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,snippets\n\n' >"$root/etc/pve/storage.cfg"
		printf '{"nodename":"pve1","version":1}\n' >"$root/etc/pve/.members"
		# Of qm no more than the hookscript.
		cat >"$root/usr/sbin/qm" <<-END
			#!/bin/sh
			[ "\$1.\$3" != set.--hookscript ] || echo "hookscript: \$4" >>"$root/etc/pve/local/qemu-server/\$2.conf"
		END
		chmod 755 "$root/usr/sbin/qm"
		;;
	esac
}

# Other packages' programs: they say that they were called.
mkdir "$tmp/bin"
for program in docker jq journalctl less mail pct qm systemctl virsh; do
	cat >"$tmp/bin/$program" <<-'END'
		#!/bin/sh
		lines=
		[ -t 0 ] || lines=$(head -c 65536 | wc -l)
		echo "[${0##*/} $*] after ${lines:-0} lines"
	END
	chmod 755 "$tmp/bin/$program"
done

# The text of EXAMPLES without its macros: commands with a line "#EXAMPLE" before each.
examples() {
	awk '
		/^\.Sh / { inside = $2 == "EXAMPLES"; next }
		!inside { next }
		/^\.Bd / { block = 1; next }
		/^\.Ed/ { block = 0; next }
		/^\.Dl / { sub(/^\.Dl /, ""); if (/^# /) print; next }
		block { print }' "$1" |
		sed 's/\\(dq/"/g; s/\\(aq/'"'"'/g; s/\\&//g; s/\\-/-/g; s/\\e/\\/g'
}

# Split into files 001, 002, ...: a command and what belongs to it until the shell is
# content.
split_commands() { # DIR
	n=0
	file=
	while IFS= read -r line; do
		case $line in
		'# ...') continue ;;
		'# '*)
			n=$((n + 1))
			file=$1/$(printf %03d "$n")
			printf '%s\n' "${line#\# }" >"$file"
			;;
		*)
			[ -n "$file" ] || continue
			# Complete already: this is what it prints.
			if sh -n "$file" 2>/dev/null && ! { grep -q "<<'END'" "$file" && ! grep -qx END "$file"; }; then
				file=
				continue
			fi
			printf '%s\n' "$line" >>"$file"
			;;
		esac
	done
}

run_page() {
	page=$1
	rm -rf "$tmp/r" "$tmp/commands" "$tmp/work"
	root=$tmp/r
	mkdir "$tmp/commands" "$tmp/work"
	build_host "$2"
	examples "$man/$page" | split_commands "$tmp/commands"
	: >"$tmp/got"
	for file in "$tmp/commands/"*; do
		[ -f "$file" ] || break
		rc=0
		# Where a kernel would have to answer, no more than the plan is asked for.
		sed -e 's/\(^\|xargs -r \|&& \)\(mdev-mk\|mdev-rm\|pci-rescan\|vfio-bind\) /\1\2 -n /g' \
			-e "s,\(^\|[ <>=]\)/\(etc\|run\|root\)/,\1$root/\2/,g" "$file" >"$tmp/command"
		(
			cd "$tmp/work"
			PATH=$tmp/bin:$PATH PVE_GPU_ROOT=$root timeout 300 sh "$tmp/command"
		) >"$tmp/out" 2>&1 </dev/null || rc=$?
		ran=$((ran + 1))
		{
			sed '1s/^/# /' "$file"
			# A systemctl that knows the unit, or none at all: both are fine.
			sed "/systemctl --root/d; s,$root,,g; s/ [0-9][0-9]*\.[0-9] ms/ N.N ms/g; s,/[a-z/]*/\(vzdump-hook-chain\|guest-gpu-hook\),/LIBEXEC/\1,g
				s/[0-9a-f]\{8\}-[0-9a-f]\{4\}-4[0-9a-f]\{3\}-[89ab][0-9a-f]\{3\}-[0-9a-f]\{12\}/RANDOM-UUID/g" "$tmp/out"
			echo "=> $rc"
		} >>"$tmp/got"
		case $rc.$(cat "$tmp/out") in
		0.* | 1.* | 65.* | 66.* | 69.* | 75.*) ;;
		123.*"of another root"*) ;;	# what xargs makes of a 69
		*)
			echo "FAIL: $page: exit code $rc: $(cat "$file" "$tmp/out")"
			failed=1
			;;
		esac
		! grep -q "^Try '" "$tmp/out" || {
			echo "FAIL: $page: wrong use: $(cat "$file" "$tmp/out")"
			failed=1
		}
	done
	if [ -n "${EXAMPLES_UPDATE:-}" ]; then
		mkdir -p "$wanted"
		cp "$tmp/got" "$wanted/$page"
	elif ! diff -u "$wanted/$page" "$tmp/got"; then
		echo "FAIL: $page: its examples print something else"
		failed=1
	fi
}

[ $# -gt 0 ] || set -- "$man"/*.[1-8]
for page; do
	page=${page##*/}
	host=$(host_of "$page")
	case $host in
	'?')
		echo "FAIL: $page: which host are its examples to be run on? (host_of in cli_examples.sh)"
		failed=1
		;;
	-*) echo "not run: $page: ${host#- }" ;;
	*) run_page "$page" "$host" ;;
	esac
done
echo "$ran examples"
exit $failed
