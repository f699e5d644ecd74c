#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# small.sh [SCENARIO...] - the small lab: Debian's kernels with emulated GPUs and
# an emulated IOMMU, and the built programs in an initramfs. Every scenario of
# small/scenarios/, in one boot of each kernel; all but "bench" without operands.
# Last line: "N passed, N failed, N skipped", counted in checks. Exit 77: cannot
# run here. PVE_GPU_TEST_LONG set: the full counts.
#
# LAB_TREE    installed tree to take the programs from (make install DESTDIR=...);
#             they are built when it is not set
# LAB_KERNELS releases of Debian whose kernels are used (bookworm trixie)
# LAB_CACHE   folder that keeps the kernels between runs
# LAB_KEEP    folder for the console logs, kept after the run
# LAB_MIRROR  where to fetch Debian from
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

lab=$(CDPATH='' cd "$(dirname "$0")" && pwd)
top=$(CDPATH='' cd "$lab/../.." && pwd)
small=$lab/small

skip() {
	printf 'lab: skipped: %s\n0 passed, 0 failed, 1 skipped\n' "$1"
	exit 77
}
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio \
	modprobe:kmod xz:xz-utils cc:gcc; do
	command -v "${tool%%:*}" >/dev/null || skip "${tool%%:*} is missing (apt-get install ${tool#*:})"
done
[ "$(uname -m)" = x86_64 ] || skip "the machine is an x86-64 PC, this one is $(uname -m)"
for scenario; do
	[ -e "$small/scenarios/$scenario.sh" ] || {
		printf 'small.sh: no scenario %s in %s\n' "$scenario" "$small/scenarios" >&2
		exit 64
	}
done
[ $# -gt 0 ] || for file in "$small"/scenarios/*.sh; do
	case $file in
	*/bench.sh) ;;
	*) set -- "$@" "$(basename "$file" .sh)" ;;
	esac
done
run=$(printf '%s,' "$@")

tmp=$(mktemp -d "${TMPDIR:-/tmp}/pve-gpu-small.XXXXXX")
boots=
# shellcheck disable=SC2086 # several processes
trap 'kill $boots 2>/dev/null || :; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
work=${LAB_KEEP:-$tmp}
cache=${LAB_CACHE:-$tmp/cache}
mkdir -p "$work" "$cache"

build() {
	[ -x "$top/configure" ] || skip "$top has no configure: run autoreconf -i"
	mkdir "$tmp/build"
	(cd "$tmp/build" && "$top/configure" -q --prefix=/usr --sysconfdir=/etc --libexecdir=/usr/libexec \
		--localstatedir=/var CFLAGS='-O2 -g' && make -s -j2 && make -s install DESTDIR="$tmp/tree") \
		>"$tmp/build.log" 2>&1 || {
		tail -n 30 "$tmp/build.log"
		printf 'lab: FAIL the programs do not build\n0 passed, 1 failed, 0 skipped\n'
		exit 1
	}
}
tree=${LAB_TREE-}
[ -n "$tree" ] || {
	build
	tree=$tmp/tree
}

# --- the machine's root -------------------------------------------------------

root=$tmp/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/lab/scenarios" \
	"$root/usr/sbin" "$root/usr/bin" "$root/usr/libexec" "$root/etc" "$root/var/lib" "$root/modules"
cp "$tree"/usr/sbin/* "$root/usr/sbin/"
# Not in the package pve-gpu-utils alone.
[ ! -d "$tree/usr/bin" ] || cp "$tree"/usr/bin/* "$root/usr/bin/"
cp -r "$tree/usr/libexec/pve-gpu-utils" "$root/usr/libexec/"
cp "$(command -v busybox)" "$root/bin/busybox"
for tool in state hold bare; do
	cc -O2 -D_GNU_SOURCE -o "$root/lab/$tool" "$small/tools/$tool.c"
done
cc -O2 -D_GNU_SOURCE -shared -fPIC -o "$root/lab/meddle.so" "$small/tools/meddle.c" -ldl
cp "$small/init" "$root/init"
chmod +x "$root/init"
cp "$small/lib.sh" "$lab/machine/root/usr/lib/lab/check.sh" "$root/lab/"
cp "$small"/scenarios/*.sh "$root/lab/scenarios/"
# The libraries of this machine, which built the programs; a script has none.
for file in "$root"/usr/sbin/* "$root"/usr/bin/* "$root"/usr/libexec/*/* "$root/bin/busybox" "$root"/lab/*; do
	[ -f "$file" ] || continue
	ldd "$file" 2>/dev/null | sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p'
done | sort -u | while read -r library; do
	mkdir -p "$root$(dirname "$library")"
	cp -L "$library" "$root$library"
done
[ ! -e /usr/share/misc/pci.ids ] || {
	mkdir -p "$root/usr/share/misc"
	cp /usr/share/misc/pci.ids "$root/usr/share/misc/"
}

pack() { (cd "$1" && find . | cpio -o -H newc --quiet | gzip -1); }
pack "$root" >"$tmp/base.gz"

# --- a boot of each kernel, side by side -------------------------------------

words="lab.run=${run%,} lab.long=${PVE_GPU_TEST_LONG:-0}"
limit=3600
counting=
[ "$run" != bench, ] || counting=-c
[ -z "${PVE_GPU_TEST_LONG-}" ] || limit=5000
kernels=
for suite in ${LAB_KERNELS:-bookworm trixie}; do
	rc=0
	kernel=$("$small/kernel.sh" "$suite" "$cache") || rc=$?
	[ $rc = 0 ] || skip "the kernel of Debian's $suite cannot be fetched"
	version=$(cut -d. -f1-2 "$kernel/release")
	cp "$kernel/release" "$tmp/release-$version"
	mkdir -p "$tmp/$suite/modules"
	cp "$kernel"/*.ko "$tmp/$suite/modules/"
	# The machine loads what is in /modules; the scenario, what is in the folder.
	mkdir "$tmp/$suite/modules/mtty"
	! mtty=$("$small/mtty.sh" "$suite" "$kernel" "$cache" 2>"$tmp/$suite/modules/mtty/why") ||
		cp "$mtty"/*.ko "$tmp/$suite/modules/mtty/"
	{ cat "$tmp/base.gz" && pack "$tmp/$suite"; } >"$tmp/initrd-$suite"
	# shellcheck disable=SC2086 # several words, none
	"$small/boot.sh" $counting -t $limit -l "$version" "$kernel" "$tmp/initrd-$suite" "$work/small-$version.log" $words &
	boots="$boots $!"
	kernels="$kernels $version:$!"
done
passed=0
failed=0
skipped=0
for pair in $kernels; do
	version=${pair%%:*} rc=0
	wait "${pair#*:}" || rc=$?
	log=$work/small-$version.log
	ok=$(grep -ac '^lab: ok' "$log") || :
	bad=$(grep -ac '^lab: FAIL' "$log") || :
	[ $rc = 0 ] && grep -aq '^lab-end' "$log" || {
		printf 'FAIL %s the machine broke off (boot.sh: %d); its console ends in:\n' "$version" $rc
		tail -n 5 "$log"
		bad=$((bad + 1))
	}
	printf '    %s: %d passed, %d failed\n' "$(cat "$tmp/release-$version")" "$ok" "$bad"
	passed=$((passed + ok))
	failed=$((failed + bad))
	skipped=$((skipped + $(grep -ac '^lab: skip' "$log" || :)))
done
boots=
printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed = 0 ]
