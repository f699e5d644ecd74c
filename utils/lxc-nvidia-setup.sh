#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lxc-nvidia-setup - give a container NVIDIA GPUs and the driver's libraries
set -eu
self=${0%/*}
PATH=@sbindir@:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

EX_ERROR=1 EX_INPUT=2 EX_NO_CONTAINER=3 EX_HOST=4 EX_SOFTWARE=5 EX_RESTART=6
# Seconds between two looks at the container's state.
poll=3

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

# ---- words, and the end ----

log() {
	[ -n "$quiet" ] || printf 'lxc-nvidia-setup: %s\n' "$1" >&2
}

warn() {
	log "warning: $1"
}

say() {
	printf 'lxc-nvidia-setup: %s\n' "$1" >&2
}

fail() { # CODE TEXT
	say "$2"
	exit_script "$1"
}

wrong_use() {
	say "$1"
	echo "Try 'lxc-nvidia-setup --help' for more information." >&2
	exit "$EX_INPUT"
}

# The only way out once something was begun: the container runs, or not, as it did.
exit_script() {
	code=$1
	trap '' HUP INT TERM
	trap - EXIT
	if [ "$code" -ne 0 ] && [ -n "$stopped_here" ] && [ "$(container_state)" = stopped ]; then
		say "container $ctid: is started again as it is"
		pct_within $((timeout + 60)) start "$ctid" >/dev/null 2>&1 || say "container $ctid: did not start"
	elif [ "$code" -ne 0 ] && [ -n "$started_here" ] && [ "$(container_state)" = running ]; then
		log "container $ctid: is shut down again; it was stopped before"
		pct_within $((timeout * 2 + 60)) shutdown "$ctid" --timeout "$timeout" --forceStop 1 >/dev/null 2>&1 || :
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
	say "interrupted"
	exit_script "$EX_ERROR"
}

# ---- the container ----

# What pct starts must not keep our lock.
pct_within() { # SECONDS ARGUMENTS
	limit=$1
	shift
	timeout --foreground -k 10 "$limit" pct "$@" </dev/null 9>&-
}

container_state() {
	pct_within 60 status "$ctid" 2>/dev/null | sed -n 's/^status: //p'
}

# Both limits: the end of pct exec is not the end of what it has started.
in_container() { # SECONDS COMMAND...
	inner=$1
	shift
	pct_within $((inner + 30)) exec "$ctid" -- timeout -k 10 "$inner" env \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C \
		DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a "$@"
}

# What a container prints is its root's to choose: so much of it is kept.
capture() { # COMMAND...; $work/out gets the output
	{
		status=0
		"$@" 2>&1 || status=$?
		echo "$status" >"$work/rc"
	} | {
		head -c 1000000 >"$work/out"
		cat >/dev/null
	}
	return "$(cat "$work/rc")"
}

# What a container says must not command a terminal: control characters, U+0080 to U+009F.
show_output() {
	LC_ALL=C tr -c '\n\t -~\200-\377' '?' <"$1" |
		LC_ALL=C sed "s/$(printf '\302[\200-\237]')/??/g; s/^/lxc-nvidia-setup: | /" | tail -n "${2:-200}" >&2
}

wait_for_state() { # STATE
	waited=0
	while :; do
		now=$(container_state)
		[ "$now" != "$1" ] || return 0
		[ "$waited" -lt "$timeout" ] ||
			fail "$EX_RESTART" "container $ctid: still ${now:-in no known state} after $timeout s, not $1"
		sleep "$poll"
		waited=$((waited + poll))
	done
}

# PVE refuses to start a container whose devN has no node on the host.
node_is_missing() {
	grep -Eq 'Device /dev/[^ ]+ does not exist' "$work/out"
}

start_container() {
	rc=0
	pct_within $((timeout + 60)) start "$ctid" >"$work/out" 2>&1 || rc=$?
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != running ]; then
		show_output "$work/out"
		stopped_here=''
		if [ -n "$changed" ] && node_is_missing; then
			say "container $ctid: a node of its new lines is gone: they are taken away again"
			"$mount" -q --remove "$ctid" >&2 9>&- || :
			[ -n "$started_here" ] ||
				pct_within $((timeout + 60)) start "$ctid" >/dev/null 2>&1 || :
		fi
		fail "$EX_RESTART" "container $ctid: did not start (pct start: exit code $rc)"
	fi
	wait_for_state running
}

stop_container() {
	rc=0
	stopped_here=yes
	pct_within $((timeout * 2 + 60)) shutdown "$ctid" --timeout "$timeout" --forceStop 1 >"$work/out" 2>&1 || rc=$?
	if [ "$rc" -ne 0 ] && [ "$(container_state)" != stopped ]; then
		show_output "$work/out"
		fail "$EX_RESTART" "container $ctid: did not stop (pct shutdown: exit code $rc)"
	fi
	wait_for_state stopped
}

restart_container() {
	log "container $ctid: restarting"
	stop_container
	start_container
	stopped_here=''
	rm -f "$due"
	log "container $ctid: runs again"
}

# ---- the host ----

# What is where, by names alone: "host", or the container; sets found (versions) and has_smi.
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

matches() { # TEXT EXTENDED-REGEX; -z: lines of a longer text are not looked at one by one
	printf '%s\000' "$1" | grep -Ezqx -e "$2"
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
	# Remembered before it is true: a run that is killed leaves the restart to the next one.
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
	state=unknown found='' parts=''
	if [ -z "$root" ]; then
		state=$(container_state)
		find_libraries || found=''
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

url='https?://[^][:space:]"<>|\\]+'
ctid='' cuda=none style='' strict='' check='' dry_run='' quiet='' verbose=''
timeout=60 root=${PVE_GPU_ROOT:-}
sha256=${NVIDIA_RUNFILE_SHA256:-} key_url=${NVIDIA_REPO_KEY_URL:-}
due='' work='' mount='' named='' has_smi=''
changed='' restarted='' started_here='' stopped_here=''
main "$@"
