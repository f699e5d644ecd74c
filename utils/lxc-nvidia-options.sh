#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-options - a part of lxc-nvidia-setup: what is asked for, and whether it can
# be meant
#
# Read by lxc-nvidia-setup, whose say and EX_INPUT it uses. Wrong use ends the program.
# shellcheck disable=SC2034,SC2154 # what was asked for is for lxc-nvidia-setup

url='https?://[^][:space:]"<>|\\]+'
ctid='' named='' cuda=none style='' strict='' check='' dry_run='' quiet='' verbose=''
timeout=60 root=${PVE_GPU_ROOT:-}
sha256=${NVIDIA_RUNFILE_SHA256:-} key_url=${NVIDIA_REPO_KEY_URL:-}

usage() {
	cat <<'END'
Usage: lxc-nvidia-setup [OPTION]... CTID
       lxc-nvidia-setup [-q] [-R DIR] --check CTID
Give a container NVIDIA GPUs, and the driver's libraries of the host's version.

      --gpu=LIST        all, none, 0,1 or addresses      GPU_ASSIGNMENT
      --driver=VERSION  as 550.54.14, or "host"          NVIDIA_DRIVER_VERSION
      --repo=URL        APT source for CUDA              NVIDIA_REPO_URL
      --runfile=URL     installer; a file of the host    NVIDIA_RUNFILE_URL
      --sha256=SUM      of the installer                 NVIDIA_RUNFILE_SHA256
      --repo-key=URL    the APT source's key             NVIDIA_REPO_KEY_URL
      --cuda=VERSION    CUDA toolkit by apt, as 12-4, or "none" (default)
      --style=STYLE     dev, mount or auto: as for lxc-gpu-mount
      --strict          a missing GPU or node is an error
      --timeout=S       for the container to stop, to start (60)
      --check           compare versions, change and run nothing
  -n, --dry-run         print what would be done, do nothing
  -q, --quiet           errors only
  -v, --verbose         all output of the commands in the container
  -R, --root=DIR        use DIR as the system root (--check and -n)
  -h, --help            print this help and exit
  -V, --version         print the version and exit
END
}

wrong_use() {
	say "$1"
	echo "Try 'lxc-nvidia-setup --help'." >&2
	exit "$EX_INPUT"
}

parse_arguments() {
	while [ $# -gt 0 ]; do
		case $1 in
		--gpu | --driver | --repo | --runfile | --sha256 | --repo-key | --cuda | --style | --timeout | --root | -R)
			[ $# -gt 1 ] || wrong_use "$1 needs a value"
			option=$1
			value=$2
			shift
			;;
		--gpu=* | --driver=* | --repo=* | --runfile=* | --sha256=* | --repo-key=* | --cuda=* | --style=* | --timeout=* | --root=*)
			option=${1%%=*}
			value=${1#*=}
			;;
		-R*)
			option=-R
			value=${1#-R}
			;;
		*)
			option=$1
			value=''
			;;
		esac
		case $option in
		--gpu) GPU_ASSIGNMENT=$value ;;
		--driver) NVIDIA_DRIVER_VERSION=$value ;;
		--repo) NVIDIA_REPO_URL=$value ;;
		--runfile) NVIDIA_RUNFILE_URL=$value ;;
		--sha256) sha256=$value ;;
		--repo-key) key_url=$value ;;
		--cuda) cuda=$value ;;
		--style) style=$value ;;
		--timeout) timeout=$value ;;
		-R | --root) root=$value ;;
		--strict) strict=yes ;;
		--check) check=yes ;;
		-n | --dry-run) dry_run=yes ;;
		-q | --quiet) quiet=yes ;;
		-v | --verbose) verbose=yes ;;
		-h | --help)
			usage
			exit 0
			;;
		-V | --version)
			echo "lxc-nvidia-setup (pve-gpu-utils) @VERSION@"
			exit 0
			;;
		--)
			shift
			break
			;;
		-*) wrong_use "unknown option $1" ;;
		*) take_operand "$1" ;;
		esac
		shift
	done
	for word; do
		take_operand "$word"
	done
	[ -n "$ctid" ] || wrong_use "which container?"
	[ "$root" != / ] || root=''
}

take_operand() {
	[ -z "$ctid" ] || wrong_use "unexpected operand: $1"
	ctid=${1#lxc/}
	[ -n "$ctid" ] || wrong_use "an empty operand is no container"
}

validate_inputs() {
	matches "$ctid" '[1-9][0-9]*' || wrong_use "$ctid: is no ID of a container"
	matches "$timeout" '[1-9][0-9]{0,4}' || wrong_use "--timeout=$timeout: is no number of seconds"
	if [ -n "$root" ] && [ -z "$check$dry_run" ]; then
		wrong_use "-R is for --check and -n: nothing is done to containers of another root"
	fi
	[ -z "$check" ] || return 0
	for name in GPU_ASSIGNMENT NVIDIA_DRIVER_VERSION NVIDIA_REPO_URL NVIDIA_RUNFILE_URL; do
		eval "value=\${$name:-}"
		[ -n "$value" ] || wrong_use "$name is not set"
	done
	matches "$GPU_ASSIGNMENT" '[0-9A-Za-z:.,/]+' || wrong_use "GPU_ASSIGNMENT=$GPU_ASSIGNMENT: is no list of GPUs"
	matches "$NVIDIA_DRIVER_VERSION" 'host|[0-9]+(\.[0-9]+)+' ||
		wrong_use "NVIDIA_DRIVER_VERSION=$NVIDIA_DRIVER_VERSION: is no version (550.54.14, or host)"
	matches "$NVIDIA_REPO_URL" "$url" || wrong_use "NVIDIA_REPO_URL=$NVIDIA_REPO_URL: is no URL"
	matches "$NVIDIA_RUNFILE_URL" "$url|(file://)?/[^[:cntrl:]]+" ||
		wrong_use "NVIDIA_RUNFILE_URL=$NVIDIA_RUNFILE_URL: is no URL and no absolute path"
	matches "$key_url" "($url)?" || wrong_use "NVIDIA_REPO_KEY_URL=$key_url: is no URL"
	sha256=$(printf %s "$sha256" | tr A-F a-f)
	matches "$sha256" '([0-9a-f]{64})?' || wrong_use "NVIDIA_RUNFILE_SHA256=$sha256: is no SHA-256 sum"
	# A program that root runs, a key that apt trusts.
	case $NVIDIA_RUNFILE_URL in
	http://*)
		[ -n "$sha256" ] ||
			wrong_use "$NVIDIA_RUNFILE_URL: over http anybody could change it: use https, or give its --sha256"
		;;
	esac
	case $key_url in
	http://*) wrong_use "$key_url: over http anybody could change it: use https" ;;
	esac
	matches "$cuda" 'none|[0-9]+([.-][0-9]+)?' || wrong_use "--cuda=$cuda: is no version (12-4, or none)"
	cuda=$(printf %s "$cuda" | tr . -)
	export GPU_ASSIGNMENT NVIDIA_DRIVER_VERSION NVIDIA_REPO_URL NVIDIA_RUNFILE_URL
	matches "$style" '(dev|mount|auto)?' || wrong_use "--style=$style: is none of dev, mount, auto"
	named=$(printf '%s\n' "${NVIDIA_RUNFILE_URL##*/}" |
		sed -n 's/^NVIDIA-Linux-[^-]*-\([0-9][0-9.]*[0-9]\).*\.run$/\1/p')
	if [ -n "$named" ] && [ "$NVIDIA_DRIVER_VERSION" != host ] && [ "$named" != "$NVIDIA_DRIVER_VERSION" ]; then
		wrong_use "$NVIDIA_RUNFILE_URL: is version $named by its name, not $NVIDIA_DRIVER_VERSION"
	fi
}
