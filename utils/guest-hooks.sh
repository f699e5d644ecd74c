#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-hooks - pve-gpu-hooks guest: a VM's GPU hook on and off, and how it stands
set -eu
self=${0%/*}
PATH=@sbindir@:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

EX_NOINPUT=66 EX_UNAVAILABLE=69 EX_TEMPFAIL=75 EX_NOPERM=77
me=pve-gpu-hooks subcommand=guest
ours=pve-gpu-hook
tab=$(printf '\t')
# shellcheck source=utils/script-options.sh
. "$self/script-options"

usage() {
	cat <<'END'
Usage: pve-gpu-hooks [-R DIR] guest VMID enable [-n] [--storage=ID]
       pve-gpu-hooks [-R DIR] guest VMID disable [-n]
       pve-gpu-hooks [-R DIR] guest VMID status

  enable             reset the VM's GPUs before each of its starts: copy a stub
                     into a snippets folder and set it as the VM's hookscript;
                     a script that is set there now is called, too
  disable            set the former hookscript again, or none
  status             is the hook in force, on other nodes too? exit 0 yes, 1 no

  -n, --dry-run      print the commands, run none
  -R, --root=DIR     use DIR as the system root
      --storage=ID   put the stub there; it needs the content type "snippets"
  -h, --help         print this help and exit
  -V, --version      print the version and exit

A reboot from inside the guest runs no hook; "qm reboot" and the GUI's Reboot do.
END
}

quoted() {
	printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# ---- names ----

# Take VOLID $1 apart: storage, name. 1: no snippet.
split_volid() {
	case $1 in
	*:snippets/?*) ;;
	*) return 1 ;;
	esac
	storage=${1%%:*}
	name=${1#*:snippets/}
}

is_ours() {
	case $1 in
	*:snippets/"$ours" | *:snippets/"$ours"+*+?*) return 0 ;;
	esac
	return 1
}

# The script that our volume id $1 chains; empty for none.
former_of() {
	split_volid "$1"
	case $name in
	"$ours"++*) printf '%s:snippets/%s' "$storage" "${name#"$ours"++}" ;;
	"$ours"+*)
		name=${name#"$ours"+}
		printf '%s:snippets/%s' "${name%%+*}" "${name#*+}"
		;;
	esac
}

# Our volume id on storage $1 that chains the script $2.
stub_volid() {
	if [ -z "$2" ]; then
		printf '%s:snippets/%s' "$1" "$ours"
		return
	fi
	split_volid "$2"
	[ "$storage" != "$1" ] || storage=
	printf '%s:snippets/%s+%s+%s' "$1" "$ours" "$storage" "$name"
}

# ---- enable, disable ----

no_storage() {
	say "no storage that this node can use has the content type \"snippets\""
	find_storage local || exit "$EX_UNAVAILABLE"
	[ "$content" != - ] || content=
	die "$EX_UNAVAILABLE" "give it to one: pvesm set local --content ${content:+$content,}snippets"
}

run() {
	if [ "$dry_run" = yes ]; then
		printf '%s' "${1#"$root"}"
		shift
		for word; do
			case $word in
			*[!A-Za-z0-9_./:+=,-]*) printf ' %s' "$(quoted "$word")" ;;
			*) printf ' %s' "$word" ;;
			esac
		done
		echo
		return 0
	fi
	"$@" >&2
}

# The hookscript has to be there before PVE is told of it, and to be whole.
put_stub() {
	stub=$folder/$name
	if [ -x "$root$stub" ] && cmp -s "$source" "$root$stub"; then
		return 0
	fi
	if [ "$dry_run" = yes ]; then
		printf 'install -D -m 755 %s %s\n' "$source" "$(quoted "$stub")"
		return 0
	fi
	mkdir -p "$root$folder" || die "$EX_OSERR" "$folder cannot be made"
	new=$(mktemp "$root$folder/.$ours.XXXXXX") || die "$EX_OSERR" "$folder cannot be written"
	trap 'rm -f "$new"' EXIT
	if ! { cat "$source" >"$new" && chmod 755 "$new" && sync "$new" && mv -f "$new" "$root$stub" &&
		sync "$root$folder"; }; then
		die "$EX_OSERR" "$stub could not be written"
	fi
}

# A guest does not start on a node where its hookscript is not there.
put_stub_elsewhere() {
	[ "$shared" = 0 ] || return 0
	others=$(other_nodes) || die "$EX_OSERR" "the other nodes cannot be told"
	while read -r other online ip; do
		[ -n "$other" ] || continue
		[ "$nodes" = - ] || in_list "$other" "$nodes" || continue
		copy="d=$(quoted "$folder") n=$(quoted "$name"); mkdir -p \"\$d\" && t=\$(mktemp \"\$d/.$ours.XXXXXX\") && cat >\"\$t\" && chmod 755 \"\$t\" && mv -f \"\$t\" \"\$d/\$n\""
		if [ "$dry_run" = yes ]; then
			echo "# and a copy of it to node $other"
		elif [ "$online" = 1 ] && on_node "$other" "$ip" "$copy" <"$source" 2>/dev/null; then
			note "copied to node $other, too"
		else
			say "warning: node $other could not be reached: on it $guest will not start before this is run again, or $stub copied there"
		fi
	done <<-END
		$others
	END
}

enable_guest() {
	[ "$kind" = qemu ] || die "$EX_UNAVAILABLE" "$guest is a container: its GPU stays with the host's driver and needs no reset"
	[ -f "$source" ] || die "$EX_NOINPUT" "$source is missing: install pve-gpu-utils again"
	former=$hookscript
	if is_ours "$hookscript"; then
		former=$(former_of "$hookscript")
		split_volid "$hookscript"
		: "${wanted:=$storage}"
	elif [ -n "$hookscript" ]; then
		split_volid "$hookscript" || die "$EX_UNAVAILABLE" "$guest has a hookscript that is no snippet: $hookscript"
	fi
	if [ -n "$wanted" ]; then
		find_storage "$wanted" || die "$EX_NOINPUT" "no storage $wanted with files"
		is_usable || die "$EX_UNAVAILABLE" "storage $wanted cannot be used here, or lacks the content type \"snippets\""
	else
		choose_storage || no_storage
	fi
	volid=$(stub_volid "$id" "$former")
	split_volid "$volid"
	put_stub
	put_stub_elsewhere
	if [ "$volid" != "$hookscript" ]; then
		run "$root/usr/sbin/qm" set "$vmid" --hookscript "$volid" ||
			die "$EX_OSERR" "qm set failed: $guest keeps the hookscript that it had"
	fi
	[ "$dry_run" = no ] || return 0
	# What it holds now is known from its machine only, while that runs.
	[ "$state" != running ] || PVE_GPU_ROOT=$root "$self/guest-gpu-hook" "$vmid" post-start || :
	note "$guest: its GPUs are reset before each start${former:+, after $former has run}"
	about_reboot
}

about_reboot() {
	note "a reboot from inside the guest runs no hook: use \"qm reboot $vmid\" or Reboot in the GUI, or shut it down and start it"
}

# Somewhere in the cluster, in a snapshot perhaps, a guest may still name it.
is_named() {
	cat "$root"/etc/pve/nodes/*/qemu-server/*.conf "$root"/etc/pve/nodes/*/lxc/*.conf 2>/dev/null |
		VOLID=$1 awk '
			{ sub(/[ \t\r]+$/, "") }
			/^hookscript:/ { sub(/^hookscript:[ \t]*/, ""); if ($0 == ENVIRON["VOLID"]) found = 1 }
			END { exit !found }'
}

disable_guest() {
	if ! is_ours "$hookscript"; then
		note "not enabled for $guest"
		return 0
	fi
	former=$(former_of "$hookscript")
	if [ -n "$former" ]; then
		run "$root/usr/sbin/qm" set "$vmid" --hookscript "$former" ||
			die "$EX_OSERR" "PVE does not take $former, the former hookscript: put it back, or do without: qm set $vmid --delete hookscript"
	else
		run "$root/usr/sbin/qm" set "$vmid" --delete hookscript ||
			die "$EX_OSERR" "qm set failed: $guest keeps the hook"
	fi
	[ "$dry_run" = no ] || return 0
	rm -f "$root/run/pve-gpu-utils/guests/$vmid."*
	# On a storage that is shared another cluster may use it as well.
	split_volid "$hookscript"
	if find_storage "$storage" && [ "$shared" = 0 ] && ! is_named "$hookscript"; then
		rm -f "$root$folder/$name"
	fi
	note "disabled for $guest${former:+; its hookscript is $former again}"
}

# ---- status ----

found() {
	printf '%-5s %s%s\n' "$1" "$2" "${3:+ ($3)}"
	[ "$1" != fail ] || failed=1
}

status_of_node() {
	if [ "$nodes" != - ] && ! in_list "$1" "$nodes"; then
		found warn "node $1 has no storage $storage: $guest does not start there" "a storage that all share: --storage"
		return
	fi
	probe="test -x $(quoted "$folder/$name") && echo stub; test -x @pkglibexecdir@/guest-gpu-hook && echo package; echo end"
	if [ "$2" != 1 ] || ! answer=$(on_node "$1" "$3" "$probe" </dev/null 2>/dev/null); then
		found warn "node $1 cannot be asked" "it needs the package, and $folder/$name"
		return
	fi
	case $answer in
	*stub*package*) found ok "node $1 has the hook, too" ;;
	*stub*) found warn "node $1 has no pve-gpu-utils: $guest starts there without a reset" "install it there" ;;
	*) found fail "node $1 has no $folder/$name: $guest does not start there" "pve-gpu-hooks guest $vmid enable" ;;
	esac
}

status_of_script() {
	if ! find_storage "$storage"; then
		found fail "there is no storage $storage: $guest does not start" "pve-gpu-hooks guest $vmid enable --storage=ID"
	elif [ ! -x "$root$folder/$name" ]; then
		found fail "$folder/$name is not there: $guest does not start" "pve-gpu-hooks guest $vmid enable"
	elif [ "$1" = ours ] && ! cmp -s "$source" "$root$folder/$name"; then
		found warn "$folder/$name is of another version" "pve-gpu-hooks guest $vmid enable"
	elif [ "$1" = ours ]; then
		found ok "$guest calls the GPU hook" "$hookscript"
	else
		found ok "and its own script" "$former"
	fi
}

guest_status() {
	if [ "$kind" != qemu ]; then
		found ok "$guest is a container: its GPU needs no reset"
		return
	fi
	if ! is_ours "$hookscript"; then
		found fail "$guest does not call the GPU hook" "pve-gpu-hooks guest $vmid enable"
		return
	fi
	former=$(former_of "$hookscript")
	if [ -n "$former" ]; then
		split_volid "$former"
		status_of_script former
	fi
	split_volid "$hookscript"
	status_of_script ours
	gpus=held
	[ "$state" = running ] || gpus=start
	slots=$("$report" -r -o functions "$gpus" "$vmid") || slots=
	[ -n "$slots" ] || found warn "no GPU of $guest can be reset now" "virtual functions and mdevs are not; pve-hostpci-ls $vmid"
	for functions in $slots; do
		found ok "before a start it resets $functions"
	done
	if find_storage "$storage"; then
		others=$(other_nodes)
		while read -r other online ip; do
			[ -z "$other" ] || status_of_node "$other" "$online" "$ip"
		done <<-END
			$others
		END
	fi
	found note "a reboot from inside the guest runs no hook" "qm reboot $vmid or Reboot in the GUI, or shut it down and start it"
}

# ---- command line ----

vmid='' command='' dry_run=no wanted=''
while [ $# -gt 0 ]; do
	if common_option "$@"; then
		shift "$taken"
		continue
	fi
	case $1 in
	--storage)
		[ $# -gt 1 ] || wrong_use "$1 needs a value"
		wanted=$2
		shift
		;;
	--storage=*) wanted=${1#--storage=} ;;
	-n | --dry-run) dry_run=yes ;;
	-*) wrong_use "unknown option $1" ;;
	*)
		if [ -z "$vmid" ]; then
			vmid=${1#qemu/}
		elif [ -z "$command" ]; then
			command=$1
		else
			wrong_use "unexpected operand: $1"
		fi
		;;
	esac
	shift
done
case $vmid in
'' | 0* | *[!0-9]*) wrong_use "which VM? guest VMID enable, disable or status" ;;
esac
case $command in
enable) ;;
disable | status)
	[ -z "$wanted" ] || wrong_use "--storage is for enable"
	[ "$command.$dry_run" != status.yes ] || wrong_use "-n is for enable and disable"
	;;
*) wrong_use "guest $vmid what? enable, disable or status" ;;
esac
[ "$command" = status ] || [ "$dry_run" = yes ] || [ -n "$root" ] || [ "$(id -u)" -eq 0 ] ||
	die "$EX_NOPERM" "$command needs root"
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT
report=$self/guest-report
# shellcheck source=utils/guest-storage.sh
. "$self/guest-storage"
source=@pkgdatadir@/guest-hook
[ ! -f "$root$source" ] || source=$root$source
node=$(readlink "$root/etc/pve/local") || die "$EX_NOINPUT" "/etc/pve is not there: is this a host of Proxmox VE?"
node=${node##*/}
for conf in "$root"/etc/pve/nodes/*/qemu-server/"$vmid".conf; do
	[ ! -e "$conf" ] || [ -e "$root/etc/pve/local/qemu-server/$vmid.conf" ] ||
		die "$EX_NOINPUT" "qemu/$vmid is on node $(basename "${conf%/*/*}"): run this there"
done
facts=$("$report" -r -o kind,state,lock,hookscript facts "$vmid") || exit
IFS=$tab read -r kind state lock hookscript <<END
$facts
END
[ "$hookscript" != - ] || hookscript=
guest=$kind/$vmid

case $command in
disable | enable)
	if [ "$lock" != - ] && [ "$dry_run" = no ]; then
		die "$EX_TEMPFAIL" "$guest is locked ($lock): try again when it is not"
	fi
	"${command}_guest"
	;;
status)
	failed=0
	guest_status
	exit "$failed"
	;;
esac
