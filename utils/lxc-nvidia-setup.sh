#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-setup - give a container NVIDIA GPUs and the driver's libraries
set -eu
self=${0%/*}
PATH=@sbindir@:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

EX_ERROR=1 EX_INPUT=2 EX_NO_CONTAINER=3 EX_HOST=4 EX_SOFTWARE=5 EX_RESTART=6

libexec=$self
[ -r "$libexec/lxc-nvidia-options" ] || libexec=@pkglibexecdir@
# shellcheck source=utils/lxc-nvidia-exec.sh
. "$libexec/lxc-nvidia-exec"
# shellcheck source=utils/lxc-nvidia-options.sh
. "$libexec/lxc-nvidia-options"
# shellcheck source=utils/lxc-nvidia-container.sh
. "$libexec/lxc-nvidia-container"

# ---- words, and the end ----

fail() { # CODE TEXT
	say "$2"
	exit_script "$1"
}

# The only way out once something was begun: the container runs, or not, as it did.
exit_script() {
	code=$1
	trap '' HUP INT TERM
	trap - EXIT
	if [ "$code" -ne 0 ]; then
		if [ -n "$started_here" ]; then
			stop_again
		elif [ -n "$stopped_here" ]; then
			start_again
		fi
	fi
	[ -z "$work" ] || rm -rf "$work"
	if [ "$code" -eq 0 ]; then
		log "container $ctid: done"
	else
		say "container $ctid: failed, exit code $code"
	fi
	exit "$code"
}

# shellcheck disable=SC2317 # called by trap
interrupted() {
	# It may come while a function's output goes into a file.
	exec >&8 2>&8
	say "interrupted"
	exit_script "$EX_ERROR"
}

# ---- the host ----

# What is where, by names alone: "host", or the container; sets found (versions) and
# has_smi.
versions() { # ARGUMENTS
	program=$self/lxc-nvidia-versions
	[ -x "$program" ] || program=@pkglibexecdir@/lxc-nvidia-versions
	"$program" ${root:+-R "$root"} "$@" 9>&-
}

find_libraries() { # [-m]
	found=$(versions "$@" "$ctid") || return
	has_smi=''
	case $found in
	*nvidia-smi) has_smi=yes found=${found%nvidia-smi} ;;
	esac
	found=$(printf '%s' "$found" | tr -s '\n' ' ' | sed 's/ $//')
}

config_sum() {
	cksum <"$root/etc/pve/lxc/$ctid.conf"
}

# ---- the steps, in their order ----

check_container_exists() {
	[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "$EX_HOST" "needs root"
	matches "$ctid" '[0-9]{3,9}' || fail "$EX_NO_CONTAINER" "container $ctid: does not exist: IDs have three to nine digits"
	if [ -n "$root" ]; then
		[ -f "$root/etc/pve/lxc/$ctid.conf" ] || fail "$EX_NO_CONTAINER" "container $ctid: does not exist"
		return
	fi
	command -v pct >/dev/null || fail "$EX_HOST" "there is no pct: is this a host of Proxmox VE?"
	log "container $ctid: is it there?"
	why=$(pct_within 60 status "$ctid" 2>&1) || not_there
}

not_there() {
	if [ -f "/etc/pve/qemu-server/$ctid.conf" ]; then
		why='is a virtual machine'
	elif [ ! -f "/etc/pve/lxc/$ctid.conf" ]; then
		for file in /etc/pve/nodes/*/lxc/"$ctid.conf"; do
			[ ! -f "$file" ] || why="is on another node: ${file%/lxc/*}"
		done
	fi
	fail "$EX_NO_CONTAINER" "container $ctid: ${why:-pct status failed}"
}

# Before anything is changed: can it come to a good end?
check_host() {
	host=$(versions host)
	[ -n "$host" ] || fail "$EX_HOST" "the host's NVIDIA driver is not loaded: install it, or run 'modprobe nvidia'"
	[ -z "$check" ] || return 0
	[ "$NVIDIA_DRIVER_VERSION" != host ] || NVIDIA_DRIVER_VERSION=$host
	[ "$NVIDIA_DRIVER_VERSION" = "$host" ] || fail "$EX_SOFTWARE" \
		"the host's driver is $host: libraries of $NVIDIA_DRIVER_VERSION would not work with it; ask for $host, or upgrade the host first"
	[ -z "$named" ] || [ "$named" = "$host" ] || fail "$EX_SOFTWARE" \
		"$NVIDIA_RUNFILE_URL: is version $named by its name, and the host's driver is $host"
	case $NVIDIA_RUNFILE_URL in
	/* | file://*)
		file=${NVIDIA_RUNFILE_URL#file://}
		{ [ -f "$root$file" ] && [ -r "$root$file" ]; } || fail "$EX_INPUT" "$file: is no file that can be read"
		;;
	esac
	[ -f "$root/etc/pve/lxc/$ctid.conf" ] || fail "$EX_HOST" "/etc/pve/lxc/$ctid.conf: does not exist"
	ostype=$(sed -n '/^\[/q; s/^ostype:[[:space:]]*\([a-z]*\).*/\1/p' "$root/etc/pve/lxc/$ctid.conf")
	case $ostype in
	debian | ubuntu | devuan | unmanaged | '') ;;
	*) fail "$EX_SOFTWARE" "container $ctid: is $ostype; only Debian and Ubuntu are known here (lxc-gpu-mount gives it the GPU)" ;;
	esac
}

mount_failed() {
	case $1 in
	"$EX_INPUT" | "$EX_NO_CONTAINER" | "$EX_HOST") code=$1 ;;
	*) code=$EX_HOST ;;
	esac
	fail "$code" "container $ctid: lxc-gpu-mount failed (exit code $1)"
}

configure_host_gpu_passthrough() {
	mount=$self/lxc-gpu-mount
	[ -x "$mount" ] || mount=@sbindir@/lxc-gpu-mount
	set -- --gpu "$GPU_ASSIGNMENT" ${style:+--style "$style"} ${strict:+--strict} ${quiet:+-q} ${verbose:+-v}
	if [ -n "$dry_run" ]; then
		"$mount" ${root:+-R "$root"} -n "$@" "$ctid" || mount_failed $?
		return
	fi
	[ "$GPU_ASSIGNMENT" != none ] || log "container $ctid: no GPU is assigned: the standard nodes only"
	log "container $ctid: giving it the nodes of: $GPU_ASSIGNMENT"
	nodes=$self/pve-gpu-nodes
	[ -x "$nodes" ] || nodes=@pkglibexecdir@/pve-gpu-nodes
	"$nodes" ${quiet:+-q} ${verbose:+-v} >&2 9>&- || warn "not all device nodes could be made"
	# Remembered before it is true: a run that is killed leaves the restart to the
	# next one.
	was_due=''
	[ ! -e "$due" ] || was_due=yes
	: >"$due"
	before=$(config_sum)
	rc=0
	"$mount" "$@" "$ctid" >&2 9>&- || rc=$?
	if [ "$before" != "$(config_sum)" ]; then
		changed=yes
		log "container $ctid: its configuration is changed"
	else
		[ -n "$was_due" ] || rm -f "$due"
		[ "$rc" -ne 0 ] || log "container $ctid: its configuration is right already"
	fi
	[ "$rc" -eq 0 ] || mount_failed "$rc"
}

# What is missing, by name and version; nothing is run to find out.
missing_parts() {
	find_libraries || fail "$EX_SOFTWARE" "container $ctid: its file system cannot be seen"
	if [ "$found" = "$NVIDIA_DRIVER_VERSION" ] && [ -n "$has_smi" ]; then
		log "container $ctid: has the libraries of $found already"
	else
		log "container $ctid: has libraries of ${found:-no version}: $NVIDIA_DRIVER_VERSION is to be installed"
		parts=driver
	fi
	[ "$cuda" != none ] || return 0
	# shellcheck disable=SC2016 # a format of dpkg-query
	if in_container 60 dpkg-query -W -f '${db:Status-Abbrev}' "cuda-toolkit-$cuda" 2>/dev/null |
		head -c 1000 | grep -q '^ii'; then
		log "container $ctid: has cuda-toolkit-$cuda already"
	else
		parts="$parts cuda-toolkit-$cuda"
	fi
}

install_nvidia_software_in_container() {
	parts=''
	missing_parts
	[ -n "$parts" ] || return 0
	: >"$due"
	rc=0
	# shellcheck disable=SC2086 # a list of words
	run_install "$ctid" $parts || rc=$?
	[ "$rc" -eq 0 ] || exit_script "$EX_SOFTWARE"
	find_libraries || found=''
	[ "$found" = "$NVIDIA_DRIVER_VERSION" ] || fail "$EX_SOFTWARE" \
		"container $ctid: has libraries of ${found:-no version} after the installation, not of $NVIDIA_DRIVER_VERSION"
}

# The part that works in the container.
run_install() {
	install=$self/lxc-nvidia-install
	[ -x "$install" ] || install=@pkglibexecdir@/lxc-nvidia-install
	set -- ${quiet:+-q} ${verbose:+-v} "$@"
	NVIDIA_RUNFILE_SHA256=$sha256 NVIDIA_REPO_KEY_URL=$key_url LXC_NVIDIA_TIMEOUT=$timeout "$install" "$@"
}

nvidia_smi_works() {
	capture in_container 120 nvidia-smi ||
		{ [ "$GPU_ASSIGNMENT" = none ] && grep -q 'No devices were found' "$work/out"; }
}

verify_installation() {
	log "container $ctid: verifying with nvidia-smi"
	if ! nvidia_smi_works; then
		if [ -z "$restarted" ]; then
			# Somebody may have changed the lines without a restart.
			log "container $ctid: nvidia-smi does not work in it yet"
			restart_container
		fi
		sleep "$poll"
		nvidia_smi_works || {
			show_output "$work/out"
			fail "$EX_SOFTWARE" "container $ctid: nvidia-smi does not work in it"
		}
	fi
	[ -n "$quiet" ] || show_output "$work/out"
}

# ---- --check and -n ----

check_versions() {
	find_libraries -m || fail "$EX_HOST" "container $ctid: its file system cannot be seen"
	case $found in
	"$host")
		echo "container $ctid: its libraries and the host's driver are $host"
		later=''
		[ -n "$root" ] || later=$(modinfo -F version nvidia 2>/dev/null) || later=''
		[ -z "$later" ] || [ "$later" = "$host" ] ||
			warn "from the next boot of the host its driver is $later"
		exit 0
		;;
	'') say "container $ctid: has no libraries of the NVIDIA driver; the host's is $host" ;;
	*' '*) say "container $ctid: has libraries of $found side by side; the host's driver is $host" ;;
	*) say "container $ctid: has libraries of $found, and the host's driver is $host: run lxc-nvidia-setup" ;;
	esac
	exit "$EX_SOFTWARE"
}

print_plan() {
	configure_host_gpu_passthrough
	state=unknown found='unknown version' parts=''
	if [ -z "$root" ]; then
		state=$(container_state)
		find_libraries || found='unknown version'
	fi
	echo "container $ctid: $state, has libraries of ${found:-no version}; the host's driver is $host"
	[ "$found" = "$host" ] || parts=driver
	[ "$cuda" = none ] || parts="$parts cuda-toolkit-$cuda"
	# shellcheck disable=SC2086 # a list of words
	[ -z "$parts" ] || run_install -n "$ctid" $parts
	echo "container $ctid: restart where something is new; nvidia-smi"
}

take_lock() {
	runtime=/run/pve-gpu-utils/lxc-nvidia-setup
	(umask 077 && mkdir -p "$runtime") || fail "$EX_ERROR" "$runtime cannot be made"
	exec 9>"$runtime/$ctid.lock"
	flock -n 9 || fail "$EX_ERROR" "container $ctid: another run of lxc-nvidia-setup is at work on it"
	due=$runtime/$ctid.restart
	work=$(mktemp -d) || fail "$EX_ERROR" "no temporary folder can be made"
}

main() {
	parse_arguments "$@"
	validate_inputs
	[ -n "$check" ] || log "container $ctid: GPUs: $GPU_ASSIGNMENT; driver: $NVIDIA_DRIVER_VERSION"
	check_container_exists
	check_host
	exec 8>&2
	trap interrupted HUP INT TERM
	if [ -n "$check" ]; then
		check_versions
	elif [ -n "$dry_run" ]; then
		print_plan
		exit 0
	fi
	trap 'exit_script "$EX_ERROR"' EXIT
	take_lock
	configure_host_gpu_passthrough
	if [ "$(container_state)" != running ]; then
		log "container $ctid: starting"
		started_here=yes
		start_container
		rm -f "$due"
	fi
	install_nvidia_software_in_container
	if [ -e "$due" ]; then
		restarted=yes
		restart_container
	fi
	verify_installation
	exit_script 0
}

due='' work='' mount='' has_smi=''
changed='' restarted='' started_here='' stopped_here='' underway=''
main "$@"
