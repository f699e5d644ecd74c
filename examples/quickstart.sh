#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# quickstart.sh - build and install the package, then watch a night's backup with and without its hook
#
# For a fresh Debian 12 or 13, as root. On a Proxmox VE host it installs nothing.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL

top=$(cd "$(dirname "$0")/.." && pwd)

on_proxmox() {
	cat <<-'END'
	This is a Proxmox VE host: nothing is built or installed here. On any Debian 12
	(for PVE 8) or Debian 13 (for PVE 9) machine:

	    apt-get install build-essential && apt-get build-dep ./ && dpkg-buildpackage -b -us -uc

	then copy ../pve-gpu-utils_*.deb to this host, and here:

	    apt install ./pve-gpu-utils_*.deb    # enables nothing
	    gpu-doctor                           # what is wrong here, and the command for it
	    pve-gpu-hooks plan                   # what tonight's jobs would stop and start
	    pve-gpu-hooks enable                 # when you like what you see

	END
	if command -v pve-gpu-hooks >/dev/null; then
		echo "The package is installed already, and pve-gpu-hooks plan says:"
		pve-gpu-hooks plan || echo "(exit code $?)"
	fi
}

[ "$(id -u)" -eq 0 ] || {
	echo "quickstart.sh: must be root (it installs packages): sudo $0" >&2
	exit 77
}
if command -v pveversion >/dev/null || mountpoint -q /etc/pve; then
	on_proxmox
	exit 0
fi
# shellcheck source=/dev/null
case $(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}") in
'debian 12' | 'debian 13') ;;
*)
	echo "quickstart.sh: made for Debian 12 and 13; this is another system" >&2
	exit 69
	;;
esac

[ -e "$top/debian/control" ] || {
	echo "quickstart.sh: $top/debian is not there: take the git repository, or Debian's source package" >&2
	exit 66
}
work=$(mktemp -d /tmp/pve-gpu-quickstart.XXXXXX)
log=$work/log
cleanup() {
	rc=$?
	trap - EXIT
	[ -z "${step:-}" ] || {
		echo "FAILED"
		tail -n 25 "$log"
		echo "quickstart.sh: $step: failed; whole log: $log" >&2
		rm -rf "$work/build"
		exit "$rc"
	}
	rm -rf "$work"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# Run a step with its output in the log; its name on the screen.
do_step() {
	step=$1
	shift
	printf '%s ... ' "$step"
	begin=$(date +%s)
	"$@" >>"$log" 2>&1 </dev/null
	printf 'done (%d s)\n' "$(($(date +%s) - begin))"
	step=
}
apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=8 -o DPkg::Lock::Timeout=600 "$@"
}
build_needs() {
	apt_get update
	# The simulated host needs the last three.
	apt_get install --no-install-recommends build-essential perl iproute2 hostname
	apt_get build-dep --no-install-recommends "$work/build/tree"
}
build() {
	(cd "$work/build/tree" && DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" dpkg-buildpackage -b -us -uc)
}
install_it() {
	# apt reads local files as the user _apt.
	chmod 755 "$work" "$work/build"
	apt_get install --reinstall --allow-downgrades "$work"/build/pve-gpu-utils_*.deb
}

do_step "copying the sources" "$top/tests/copy-tree.sh" "$work/build/tree"
do_step "installing what build and play need" build_needs
do_step "building the packages" build
do_step "installing pve-gpu-utils" install_it
echo
"$top/tests/pve-sim/play" sample --no-hook
echo
"$top/tests/pve-sim/play" sample --hook
