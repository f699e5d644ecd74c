#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# image.sh CACHE OUT [SCENARIO...] - make in OUT the parts of a Debian 13 machine with
# the package installed: disk.img (ext4), vmlinuz, initrd.img. For the scenario
# mdev-boot also mtty.ko, which is on the disk then, or mtty.why: why there is none.
# For lxc the lab's own NVIDIA driver on the disk, or nvidia.why.
#
# CACHE keeps what only Debian decides: the root and the build chroot as tar
# files, named after the packages in them, so that a change makes new ones.
# LAB_DEB    install this pve-gpu-utils .deb instead of building one; for the scenario
#            criu its folder has to have the cuda-ckpt .deb too
# LAB_MIRROR where to fetch Debian from, as mmdebstrap's last operand
# Exit 77: Debian's archive cannot be reached.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

suite=trixie
lab=$(CDPATH='' cd "$(dirname "$0")" && pwd)
top=$(CDPATH='' cd "$lab/../.." && pwd)
cache=$1 out=$2
shift 2
scenarios=" $* "

root_packages="systemd-sysv,udev,dbus,linux-image-amd64,initramfs-tools,kmod,\
pciutils,perl-base,procps,util-linux,libinih1,libjansson4,libpci3,libsmartcols1,libkmod2,grub2-common,mdevctl"

case $scenarios in
*' criu '*) root_packages="$root_packages,criu,containerd,runc" ;;
esac
case $scenarios in
*' lxc '*) root_packages="$root_packages,lxc,uidmap,busybox-static" ;;
esac

say() { printf 'image: %s\n' "$*"; }

# tarball NAME PACKAGES [OPTION...]: prints the tar's path, made when missing.
tarball() {
	name=$1 packages=$2
	shift 2
	sum=$(printf '%s\n' "$suite" "$packages" "$@" | sha256sum | cut -c1-12)
	tar=$cache/$name-$sum.tar
	if [ ! -e "$tar" ]; then
		part=$tar.part.$$
		# shellcheck disable=SC2086 # a mirror may be several words, or none
		mmdebstrap -q --variant=minbase --format=tar --aptopt='Acquire::Retries "8"' --include="$packages" "$@" \
			"$suite" "$part" ${LAB_MIRROR-} </dev/null >&2 || {
			rm -f "$part"
			say "mmdebstrap could not fetch Debian $suite" >&2
			return 77
		}
		mv "$part" "$tar"
	fi
	printf '%s\n' "$tar"
}

# Only what the emulated disk needs: a small initrd is half of the boot time.
# shellcheck disable=SC2016 # $1 is mmdebstrap's
small_initrd='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf "MODULES=list\nCOMPRESS=lz4\n" >"$1/etc/initramfs-tools/conf.d/lab"
printf "%s\n" virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/lab"'

build_packages() {
	# The names alone: no versions, alternatives or profiles.
	sed -n '/^Build-Depends/,/^[^ ]/{/^Build-Depends[^:]*:/{s/^[^:]*://p;d};/^ /p}' \
		"$top/debian/control" | sed 's/([^)]*)//g; s/<[^>]*>//g; s/|[^,]*//g' |
		tr -d ' \t' | tr ',' '\n' | sed 's/^debhelper-compat$/debhelper/; /^$/d' |
		sort -u | tr '\n' ','
}

# Copies of the tracked files alone: build products of the host are for another libc.
copy_source() {
	mkdir -p "$1"
	# shellcheck disable=SC2016 # $f is the inner shell's
	if git -c safe.directory="*" -C "$top" rev-parse -q --git-dir >/dev/null 2>&1; then
		git -c safe.directory="*" -C "$top" ls-files -co --exclude-standard -z |
			(cd "$top" && xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' -) |
			tar -C "$top" --null -T - -cf - | tar -C "$1" -xf -
	else
		tar -C "$top" --exclude=.git -cf - . | tar -C "$1" -xf -
	fi
}

build_deb() {
	tar=$(tarball build "$(build_packages)dpkg-dev,build-essential")
	root=$out/build
	mkdir "$root"
	tar -C "$root" -xf "$tar"
	copy_source "$root/src/pve-gpu-utils"
	DEB_BUILD_OPTIONS='nocheck nostrip parallel=2' chroot "$root" sh -ec '
		cd /src/pve-gpu-utils && dpkg-buildpackage -b -uc -us' >"$out/build.log" 2>&1 || {
		tail -n 30 "$out/build.log" >&2
		say "the package does not build on Debian 13 (whole log: $out/build.log)" >&2
		return 1
	}
	mv "$root"/src/pve-gpu-utils_*.deb "$root"/src/cuda-ckpt_*.deb "$out/"
	rm -rf "$root"
}

# The kernel's sample of a parent of mediated devices, where modprobe finds it.
add_mtty() {
	release=$(ls "$root/usr/lib/modules")
	mkdir "$out/kernel"
	printf '%s\n' "$release" >"$out/kernel/release"
	# For its lists of packages.
	"$lab/small/kernel.sh" "$suite" "$cache" >/dev/null || return
	mtty=$(PVE_GPU_TEST_LONG=1 "$lab/small/mtty.sh" "$suite" "$out/kernel" "$cache") || return
	mkdir -p "$root/usr/lib/modules/$release/updates" &&
		cp "$mtty/mtty.ko" "$root/usr/lib/modules/$release/updates/" &&
		chroot "$root" depmod "$release" && cp "$mtty/mtty.ko" "$out/"
}

# The modules of nvidia/ where modprobe finds them.
add_nvidia() {
	release=$(ls "$root/usr/lib/modules")
	modules=$cache/nvidia-$release-$(cat "$lab"/nvidia/* | cksum | cut -d' ' -f1)
	if [ ! -e "$modules" ]; then
		tar=$(tarball headers "linux-headers-$release,gcc,make") || return
		headers=$out/headers
		mkdir "$headers" && tar -C "$headers" -xf "$tar" && mkdir "$headers/build" &&
			cp "$lab"/nvidia/* "$headers/build/" &&
			chroot "$headers" make -s -C "/usr/src/linux-headers-$release" M=/build modules >&2 &&
			mkdir "$modules.part.$$" && cp "$headers"/build/*.ko "$modules.part.$$/" &&
			mv "$modules.part.$$" "$modules" || return
		rm -rf "$headers"
	fi
	mkdir -p "$root/usr/lib/modules/$release/updates" &&
		cp "$modules"/*.ko "$root/usr/lib/modules/$release/updates/" && chroot "$root" depmod "$release"
}

mkdir -p "$cache" "$out"
if [ -n "${LAB_DEB-}" ]; then
	cp "$LAB_DEB" "$out/"
	case $scenarios in
	*' criu '*) cp "${LAB_DEB%/*}"/cuda-ckpt_*.deb "$out/" ;;
	esac
else
	say "building the package on Debian 13"
	build_deb
fi

say "making the root"
tar=$(tarball root "$root_packages" --essential-hook="$small_initrd")
root=$out/root
mkdir "$root"
tar -C "$root" -xf "$tar"
cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
cp "$root"/boot/initrd.img-* "$out/initrd.img"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

mkdir -p "$root/usr/lib/lab"
cp "$out"/pve-gpu-utils_*.deb "$root/usr/lib/lab/pve-gpu-utils.deb"
chroot "$root" dpkg -i /usr/lib/lab/pve-gpu-utils.deb >"$out/install.log" 2>&1 || {
	tail -n 20 "$out/install.log" >&2
	say "the package does not install on Debian 13" >&2
	exit 1
}
case $scenarios in
*' criu '*)
	cp "$out"/cuda-ckpt_*.deb "$root/usr/lib/lab/cuda-ckpt.deb"
	chroot "$root" dpkg -i /usr/lib/lab/cuda-ckpt.deb >>"$out/install.log" 2>&1 || {
		tail -n 20 "$out/install.log" >&2
		say "the package cuda-ckpt does not install on Debian 13" >&2
		exit 1
	}
	"$top/tests/fakecuda/build.sh" "$root/usr/lib/lab/fakecuda"
	cp "$top/examples/criu-cuda.sh" "$root/usr/lib/lab/"
	ln -sfn /dev/null "$root/etc/systemd/system/containerd.service"
	;;
esac
case $scenarios in
*' mdev-boot '*)
	say "building mtty"
	add_mtty 2>"$out/mtty.why" || [ -s "$out/mtty.why" ] || echo "mtty cannot be built" >"$out/mtty.why"
	;;
esac
case $scenarios in
*' lxc '*)
	say "building the lab's NVIDIA driver"
	add_nvidia 2>"$out/nvidia.log" || {
		echo "the lab's NVIDIA driver cannot be built: $(tail -n 1 "$out/nvidia.log")" >"$out/nvidia.why"
	}
	;;
esac
"$lab/machine/install.sh" "$root" "$lab" "$top/tests/pve-sim"

say "packing the disk"
mke2fs -q -t ext4 -L lab -d "$root" "$out/disk.img" 2G
rm -rf "$root"
