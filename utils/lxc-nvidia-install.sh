#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-install - lxc-nvidia-setup's part that works in the container
#
# lxc-nvidia-install [-nqv] CTID PART...: PART is "driver" or a package of the APT source.
# The container runs; what to install comes in NVIDIA's variables of lxc-nvidia-setup,
# which has looked at them. Exit code 0, or 5 with nothing temporary left behind.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

EX_SOFTWARE=5
libexec=${0%/*}
[ -r "$libexec/lxc-nvidia-exec" ] || libexec=@pkglibexecdir@
# shellcheck source=utils/lxc-nvidia-exec.sh
. "$libexec/lxc-nvidia-exec"
repo_file=/etc/apt/sources.list.d/pve-gpu-utils-nvidia.list
pin_file=/etc/apt/preferences.d/pve-gpu-utils-nvidia
key_file=/etc/apt/keyrings/pve-gpu-utils-nvidia
# s: between two looks at the network; for apt-get; for 400 MB from afar.
poll=3 apt_limit=1800 download_limit=3600

fail() { # TEXT
	say "$1"
	exit "$EX_SOFTWARE"
}

clean_up() {
	trap '' HUP INT TERM
	[ -z "$scratch" ] || in_container 60 rm -rf "$scratch" >/dev/null 2>&1 || :
	[ -z "$work" ] || rm -rf "$work"
}

# One step in the container, logged; of its output what tells why it failed.
step() { # TEXT SECONDS COMMAND...
	text=$1
	shift
	log "container $ctid: $text"
	rc=0
	capture in_container "$@" || rc=$?
	if [ "$rc" -ne 0 ]; then
		show_output "$work/out" 20
		why="exit code $rc"
		[ "$rc" -ne 124 ] || why="not done after $1 s"
		fail "container $ctid: $text: failed ($why)"
	fi
	[ -z "$verbose" ] || show_output "$work/out"
}

# A file of the container, whole or not at all.
put_file() { # PATH TEXT
	# shellcheck disable=SC2016 # for the container's shell
	step "writing $1" 60 sh -c 'umask 022 && mkdir -p "${1%/*}" && printf "%s\n" "$2" >"$1.new" && mv -f "$1.new" "$1"' \
		sh "$1" "$2"
}

wait_for_network() {
	name=${NVIDIA_REPO_URL#*://}
	name=${name%%/*}
	name=${name##*@}
	name=${name%%:*}
	waited=0
	until in_container 30 getent hosts "$name" >/dev/null 2>&1; do
		[ "$waited" -lt "$timeout" ] || fail "container $ctid: cannot resolve $name: has it a network?"
		sleep "$poll"
		waited=$((waited + poll))
	done
}

apt() { # TEXT ARGUMENTS
	text=$1
	shift
	step "$text" "$apt_limit" apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o APT::Update::Error-Mode=any "$@"
}

download() { # URL PATH SECONDS
	# shellcheck disable=SC2016 # for the container's shell
	step "downloading $1" "$3" sh -c 'umask 022 && mkdir -p "${2%/*}" && rm -f "$2.new" &&
		if command -v curl >/dev/null; then
			curl -fsSL --retry 3 --connect-timeout 30 -o "$2.new" "$1"
		else
			wget -nv --tries=3 --timeout=60 -O "$2.new" "$1"
		fi && mv -f "$2.new" "$2"' sh "$1" "$2"
}

need_downloader() {
	if ! in_container 60 sh -c 'command -v curl || command -v wget' >/dev/null 2>&1; then
		apt "reading the package lists" update
		apt "installing curl" install --no-install-recommends curl ca-certificates
	fi
}

# NVIDIA's own repositories are flat; others are taken to have suites named as
# the distribution's.
source_line() { # OPTIONS
	case $NVIDIA_REPO_URL in
	*/compute/cuda/repos/* | */) printf 'deb %s%s/ /\n' "$1" "${NVIDIA_REPO_URL%/}" ;;
	*) printf 'deb %s%s %s main\n' "$1" "$NVIDIA_REPO_URL" "$codename" ;;
	esac
}

add_source() {
	signed=''
	if [ -z "$key_url" ]; then
		case $NVIDIA_REPO_URL in
		https://*/compute/cuda/repos/*) key_url=${NVIDIA_REPO_URL%/}/3bf863cc.pub ;;
		esac
	fi
	if [ -n "$key_url" ]; then
		signed=$key_file.asc
		case $key_url in
		*.gpg) signed=$key_file.gpg ;;
		esac
		download "$key_url" "$signed" 300
	fi
	put_file "$repo_file" "# written by lxc-nvidia-setup
$(source_line "${signed:+[signed-by=$signed] }")"
}

add_repository() {
	# Where somebody has it already, a second entry with another key would stop apt.
	# shellcheck disable=SC2016 # for the container's shell
	if in_container 60 sh -c 'cd /etc/apt && grep -lrsF -- "$1" sources.list sources.list.d | grep -qvxF "${2#/etc/apt/}"' \
		sh "${NVIDIA_REPO_URL%/}" "$repo_file" >/dev/null 2>&1; then
		log "container $ctid: $NVIDIA_REPO_URL is among its APT sources"
	else
		add_source
	fi
	put_file "$pin_file" '# written by lxc-nvidia-setup: the kernel modules are the host'\''s, the libraries the .run file'\''s
Package: cuda-drivers* nvidia-driver* nvidia-kernel* nvidia-dkms* nvidia-open* nvidia-headless* nvidia-modprobe linux-modules-nvidia* libnvidia-ml1 libcuda1 nvidia-smi
Pin: release *
Pin-Priority: -1'
	apt "reading the package lists" update
}

# The installer's name of the option since 515, and before.
installer_option() {
	if [ "${NVIDIA_DRIVER_VERSION%%.*}" -ge 515 ]; then
		echo --no-kernel-modules
	else
		echo --no-kernel-module
	fi
}

# pct push ends with 0 whatever its copy came to (pve-container, CLI/pct.pm): a disk that
# is full leaves a part of the file.
copy_file() { # FILE PATH-IN-CONTAINER
	bytes=$(stat -L -c %s "$1") || return
	rc=0
	pct_within "$download_limit" push "$ctid" "$1" "$2" >"$work/push" 2>&1 || rc=$?
	: >"$work/out"
	# shellcheck disable=SC2016 # for the container's shell
	[ "$rc" -ne 0 ] || capture in_container 60 sh -c 'got=$(stat -c %s "$1") && {
		[ "$got" = "$2" ] || { echo "$got of $2 bytes came"; exit 1; }
	}' sh "$2" "$bytes" || rc=$?
	[ "$rc" -ne 0 ] || return 0
	show_output "$work/push"
	show_output "$work/out" 20
	return 1
}

run_installer() {
	# What a run that was killed has left; there is never more than one.
	in_container 60 sh -c 'rm -rf /var/tmp/lxc-nvidia-setup.*' >/dev/null 2>&1 || :
	capture in_container 60 mktemp -d /var/tmp/lxc-nvidia-setup.XXXXXXXX || :
	scratch=$(head -c 200 "$work/out" | tr -d '\000')
	matches "$scratch" '/var/tmp/lxc-nvidia-setup\.[A-Za-z0-9]+' || {
		show_output "$work/out" 20
		scratch=''
		fail "container $ctid: no temporary folder could be made in it"
	}
	runfile=$scratch/nvidia-driver-installer.run
	case $NVIDIA_RUNFILE_URL in
	/* | file://*)
		file=${NVIDIA_RUNFILE_URL#file://}
		log "container $ctid: copying $file"
		copy_file "$file" "$runfile" || fail "container $ctid: $file could not be copied"
		;;
	*) download "$NVIDIA_RUNFILE_URL" "$runfile" "$download_limit" ;;
	esac
	if [ -n "$sha256" ]; then
		# shellcheck disable=SC2016 # for the container's shell
		step "comparing the SHA-256 sum" 300 sh -c 'echo "$1  $2" | sha256sum -c -' sh "$sha256" "$runfile"
	else
		warn "no SHA-256 sum was given: $NVIDIA_RUNFILE_URL is trusted as it came"
	fi
	step "making the installer executable" 60 chmod 0700 "$runfile"
	step "installing the libraries of $NVIDIA_DRIVER_VERSION" "$apt_limit" "$runfile" \
		"$(installer_option)" --silent --tmpdir="$scratch"
	step "removing the installer" 60 rm -rf "$scratch"
	scratch=''
}

install_nvtop() {
	if in_container 60 sh -c 'command -v nvtop' >/dev/null 2>&1; then
		return
	fi
	if in_container 60 sh -c 'apt-cache policy nvtop | grep -Eq "Candidate: [0-9]"' >/dev/null 2>&1; then
		apt "installing nvtop" install --no-install-recommends nvtop
	else
		warn "container $ctid: nvtop is in none of its APT sources (on Debian 12 it is in contrib): left out"
	fi
}

# Which distribution; Debian and Ubuntu, and what names one of them as its like.
read_os() {
	# shellcheck disable=SC2016,SC1091 # for the container's shell
	os=$(in_container 60 sh -c '. /etc/os-release && echo "${ID:-} ${ID_LIKE:-} / ${VERSION_CODENAME:-}"' 2>/dev/null |
		head -c 200 | LC_ALL=C tr -cd ' -~') || os=''
	case " ${os%/*} " in
	*' debian '* | *' ubuntu '*) ;;
	*) fail "container $ctid: is neither Debian nor Ubuntu (${os:-no /etc/os-release})" ;;
	esac
	codename=${os##*/ }
	matches "$codename" '[a-z]+' || codename=stable
}

install_parts() {
	read_os
	wait_for_network
	need_downloader
	add_repository
	for part; do
		case $part in
		driver) run_installer ;;
		*) apt "installing $part" install --no-install-recommends "$part" ;;
		esac
	done
	install_nvtop
}

print_parts() {
	codename=CODENAME
	echo "container $ctid: $repo_file: $(source_line '')"
	for part; do
		case $part in
		driver) echo "container $ctid: $NVIDIA_RUNFILE_URL $(installer_option) --silent" ;;
		*) echo "container $ctid: apt-get install $part" ;;
		esac
	done
	echo "container $ctid: apt-get install nvtop"
}

dry_run='' quiet='' verbose='' work='' scratch=''
while [ $# -gt 0 ]; do
	case $1 in
	-n) dry_run=yes ;;
	-q) quiet=yes ;;
	-v) verbose=yes ;;
	*) break ;;
	esac
	shift
done
[ $# -ge 2 ] || {
	echo "usage: lxc-nvidia-install [-nqv] CTID PART... (lxc-nvidia-setup calls it)" >&2
	exit 64
}
ctid=$1
shift
timeout=${LXC_NVIDIA_TIMEOUT:-60}
sha256=${NVIDIA_RUNFILE_SHA256:-} key_url=${NVIDIA_REPO_KEY_URL:-}
if [ -n "$dry_run" ]; then
	print_parts "$@"
	exit 0
fi
trap clean_up EXIT
trap 'exit $EX_SOFTWARE' HUP INT TERM
work=$(mktemp -d) || fail "no temporary folder can be made"
install_parts "$@"
