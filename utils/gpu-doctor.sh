#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gpu-doctor - look the whole GPU host over and say what is wrong, and what to do about it
set -eu
self=${0%/*}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL

EX_CANTCREAT=73 EX_NOPERM=77
tab=$(printf '\t')
me=gpu-doctor subcommand=''
libexec=$self
[ -r "$libexec/script-options" ] || libexec=@pkglibexecdir@
# shellcheck source=utils/script-options.sh
. "$libexec/script-options"

usage() {
	cat <<'END'
Usage: gpu-doctor [-jqv] [-R DIR] [--bundle FILE]
Look over the host, its GPUs, guests, tonight's backup, vGPUs, and what was left
behind; print what is wrong and the command that puts it right. Changes nothing.

  --bundle=FILE   write all that was seen to FILE, for a bug report, with names,
                  addresses and serial numbers replaced; "-" is standard output
  -j, --json      print one JSON object a line
  -q, --quiet     print what is wrong, nothing else
  -v, --verbose   print what is well, too
  -R, --root=DIR  use DIR as the system root
  -h, --help      print this help and exit
  -V, --version   print the version and exit

Exit code: 0 nothing was found, 1 something was.
END
}

# One of our own programs: beside this one, or where it is installed.
tool() {
	for place in "$self" @sbindir@ @pkglibexecdir@; do
		[ ! -x "$place/$1" ] || {
			printf '%s\n' "$place/$1"
			return
		}
	done
	die "$EX_OSERR" "$1 is missing: install pve-gpu-utils again"
}

# found SECTION LEVEL WHAT [WHY [COMMAND]]: level ok, note, todo, warn or fail
found() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" "${5:--}" >>"$dir/findings"
}

# Run one of ours: ask NAME SECTION PROGRAM ARG... Its output is in $dir/NAME, what it
# said in $dir/NAME.err, its exit code in rc. One that breaks is a finding itself.
ask() {
	name=$1 section=$2 program=$3
	shift 3
	rc=0
	path=$(tool "$program") || exit "$EX_OSERR"
	# Waited for, so that a signal ends us at once and not after it.
	timeout -k 5 120 "$path" "$@" >"$dir/$name" 2>"$dir/$name.err" </dev/null &
	job=$!
	wait "$job" || rc=$?
	job=''
	case $rc in
	0 | 1 | 65 | 66 | 69) ;;
	124 | 137) found "$section" fail "$program gave no answer in 120 s" - "$program $*" ;;
	*) found "$section" fail "$program failed (exit code $rc)" "$(head -n 1 "$dir/$name.err")" "$program $*" ;;
	esac
}

# "level topic what how" of the programs that check, without the topics in $3 and
# whatever $4 matches of "level topic what".
take_checks() { # SECTION NAME TOPICS REGEX
	awk -F '\t' -v OFS='\t' -v section="$1" -v without="$3" -v regex="${4:-^$}" '
		index(" " without " ", " " $2 " ") || $0 ~ regex { next }
		{ print section, $1, $2 ": " $3, $4, "-" }' "$dir/$2" >>"$dir/findings"
}

attribute() { # ADDR NAME
	sed 's/^0x//' "$root/sys/bus/pci/devices/$1/$2" 2>/dev/null || :
}

# A setting of a guest's main section: setting qemu/100 KEY
setting() {
	case $1 in
	qemu/*) conf=$root/etc/pve/local/qemu-server/${1#*/}.conf ;;
	*) conf=$root/etc/pve/local/lxc/${1#*/}.conf ;;
	esac
	[ ! -f "$conf" ] || awk -v key="$2:" '/^\[/ { exit } $1 == key { sub(/^[^:]*:[ \t]*/, ""); print; exit }' "$conf"
}

# --- the host ----------------------------------------------------------------

# Cards that guests get as a whole and containers do not use: what vfio-setup is to be
# asked about when it has not been told of any.
cards_of_guests() {
	awk -F '\t' '
		FILENAME ~ /gpus$/ { gpu[$1] = 1; next }
		FILENAME ~ /lxc$/ { shared[$4] = 1; next }
		$5 == "-" && $9 == "ok" && ($4 in gpu) && !($4 in shared) && !seen[substr($4, 1, length($4) - 2)]++ { print $4 }
	' "$dir/gpus" "$dir/lxc" "$dir/qemu"
}

look_at_host() {
	cards=
	if [ ! -e "$root/var/lib/pve-gpu-utils/vfio-setup/manifest" ]; then
		for card in $(cards_of_guests); do
			cards="$cards -g $card"
		done
	fi
	# shellcheck disable=SC2086 # words that belong apart
	ask setup host vfio-setup check -r -q $cards
	take_checks host setup guests
	# What "vfio-setup apply" is to do, it does for these cards.
	awk -F '\t' -v OFS='\t' -v apply="vfio-setup apply$cards" '
		{ ours = $1 == "host" && $2 == "todo" && $4 ~ /^(-|vfio-setup apply.*)$/ }
		FNR == NR { boots += ours && $4 ~ /reboot/; next }
		ours {
			$5 = apply
			$4 = boots ? "takes effect at the next boot" : "-"
		}
		{ print }' "$dir/findings" "$dir/findings" >"$dir/findings.new"
	mv "$dir/findings.new" "$dir/findings"
}

# --- GPUs ----------------------------------------------------------------------

# Reads all ones: off the bus. One that sleeps in D3cold is not woken for this.
is_dead() {
	power=$(attribute "$1" power_state) || die "$EX_OSERR" "$1: cannot be looked at"
	[ "$power" != D3cold ] || return 1
	id=$(od -An -tx4 -N4 "$root/sys/bus/pci/devices/$1/config" 2>/dev/null | tr -d ' ') ||
		die "$EX_OSERR" "$1: cannot be looked at"
	[ "$id" = ffffffff ]
}

# Functions of the group that are no bridge and not of a GPU's card.
group_mates() {
	for mate in "$root/sys/kernel/iommu_groups/$1/devices/"*; do
		mate=${mate##*/}
		case $mate in '*') continue ;; esac
		[ ! -d "$root/sys/bus/pci/devices/$mate/pci_bus" ] || continue
		case $(attribute "$mate" class) in 0604*) continue ;; esac
		cut -f 1 "$dir/cards" | grep -qxF "$mate" || printf '%s ' "$mate"
	done
}

look_at_gpus() {
	free=' '
	[ -s "$dir/gpus" ] || found gpus note "this host has no GPU"
	while IFS=$tab read -r addr _ id name driver group reset _; do
		[ "$name" != - ] || name=$id
		text="$addr $name: driver $driver, group $group, reset $reset"
		if is_dead "$addr"; then
			found gpus fail "$addr $name does not answer" "its config space reads all ones" "pci-rescan $addr"
			continue
		fi
		given=$(awk -F '\t' -v addr="$addr" '$4 == addr { print $1 }' "$dir/qemu" | sort -u | head -n 1)
		mates=$([ "$group" = - ] || group_mates "$group")
		if [ -n "$mates" ] && [ -n "$given" ]; then
			found gpus warn "$addr shares its IOMMU group $group with ${mates% }" "a guest that gets the one takes the other from the host; put the card into another slot" "gpu-ls --tree $addr"
		elif [ "$driver" = vfio-pci ] && ! grep -qF "$tab${addr%.*}" "$dir/qemu" &&
			! grep -qsF "${addr%.*}" "$root/var/lib/pve-gpu-utils/vfio-setup/manifest"; then
			# vfio-bind takes the whole group: say it once.
			case $free in *" $group "*) continue ;; esac
			[ "$group" = - ] || free="$free$group "
			found gpus note "$addr $name is on vfio-pci, and no guest is given it" - "vfio-bind --to host $addr"
		else
			found gpus ok "$text"
		fi
	done <"$dir/gpus"
}

# --- tonight, vGPUs, leftovers -----------------------------------------------------

look_at_backup() {
	ask status backup pve-gpu-hooks status
	take_checks backup status '' "PVE drops or refuses some devices"
	ask plan backup pve-gpu-hooks plan
	ask plan-json backup pve-gpu-hooks plan -j
}

look_at_vgpus() {
	ask types vgpu mdev-ls -r -q -t
	ask vgpus vgpu mdev-ls -r -q
	if [ ! -s "$dir/types" ] && [ ! -s "$dir/vgpus" ]; then
		found vgpu note "no card of this host offers vGPUs"
		: >"$dir/mdev-check"
		return
	fi
	ask mdev-check vgpu mdev-ls -r -q -c
	# Why a card that nobody wants to share offers none is no finding, and leftovers have their own place.
	take_checks vgpu mdev-check '' "^warn${tab}(driver|instances)${tab}"
}

look_for_leftovers() {
	ask leftovers leftovers mdev-ls -r -q -l
	while IFS=$tab read -r id type _ parent _; do
		found leftovers warn "vGPU $id ($type on $parent) is used by nobody" - "mdev-rm --leftovers"
	done <"$dir/leftovers"
	for file in "$root/run/pve-gpu-utils/rescan/"*; do
		[ -f "$file" ] || continue
		found leftovers warn "pci-rescan has not put everything back at ${file##*/}" "it was killed, or a function did not come back" "pci-rescan ${file##*/}"
	done
	if [ ! -e "$root/run/vzdump.lock" ] || flock -n "$root/run/vzdump.lock" true; then
		for conf in "$root"/etc/pve/local/qemu-server/*.conf "$root"/etc/pve/local/lxc/*.conf; do
			[ -f "$conf" ] || continue
			vmid=${conf##*/}
			vmid=${vmid%.conf}
			case $conf in */lxc/*) guest=lxc/$vmid do=pct ;; *) guest=qemu/$vmid do=qm ;; esac
			[ "$(setting "$guest" lock)" != backup ] ||
				found leftovers warn "$guest is locked for a backup, and none runs" "it can neither be started nor backed up" "$do unlock $vmid"
		done
	fi
	grep -q "^leftovers$tab" "$dir/findings" || found leftovers ok "nothing was left behind"
}

# --- the report ----------------------------------------------------------------------

# $1: -j, -q, -v or nothing. A command goes below the last line that it puts right.
report() {
	awk -F '\t' -v mode="$1" -v plan="$dir/plan" '
		function json(text) {
			gsub(/\\/, "\\\\", text)
			gsub(/"/, "\\\"", text)
			return text == "-" ? "null" : "\"" text "\""
		}
		# What the other programs name as the way out, taken out of their words.
		function command(why) {
			if (match(why, /pve-gpu-hooks (mdev |guest [0-9]+ )?enable( --chain)?/) ||
			    match(why, /vfio-setup (apply|undo)|mdev-rm --leftovers|vm-state-restore --recover|^reboot$/) ||
			    match(why, /(vfio-bind --to host|sriov-manage -e) [0-9a-f:.]+[0-9a-f]/) ||
			    match(why, /pvesh set [^ ]+ --delete script|journalctl -u [a-z-]+|qm set$/)) {
				text = substr(why, RSTART, RLENGTH)
				sub(/^sriov-manage/, "/usr/lib/nvidia/sriov-manage", text)
				return text == "qm set" ? "-" : text
			}
			return "-"
		}
		{
			if ($5 == "-" && $2 != "ok") $5 = command($4)
			if ($4 == $5) $4 = "-"
			if ($2 ~ /^(warn|todo|fail)$/) bad++
			if (mode == "-j")
				printf "{\"section\":%s,\"level\":%s,\"what\":%s,\"why\":%s,\"command\":%s}\n", json($1), json($2), json($3), json($4), json($5)
			if (!($1 in count)) order[++sections] = $1
			n = ++count[$1]
			for (i = 2; i <= 5; i++) field[$1, n, i] = $i
			last[$1, $5] = n
		}
		END {
			title["host"] = "Host"; title["gpus"] = "GPUs"; title["guests"] = "Guests"
			title["backup"] = "Backup"; title["vgpu"] = "vGPUs"; title["leftovers"] = "Leftovers"
			for (s = 1; s <= sections && mode != "-j"; s++) {
				name = order[s]
				well = shown = 0
				for (n = 1; n <= count[name]; n++) {
					level = field[name, n, 2]
					well += level == "ok"
					if ((level == "ok" && mode != "-v") || (level == "note" && mode == "-q")) continue
					if (!shown++) print title[name]
					printf "  %-5s %s\n", level, field[name, n, 3]
					why = field[name, n, 4]
					do_it = field[name, n, 5]
					# What is said of a command stands with it.
					later = do_it != "-" && n != last[name, do_it] && why == field[name, last[name, do_it], 4]
					if (why != "-" && why != field[name, n + 1, 4] && !later) printf "        %s\n", why
					if (do_it != "-" && n == last[name, do_it]) printf "        # %s\n", do_it
				}
				if (mode != "-q" && mode != "-v" && well)
					printf shown ? "  %d more: well\n" : title[name] "\n  well (%d)\n", well
				if (name == "backup" && mode != "-q")
					while ((getline line < plan) > 0) print "  | " line
			}
			if (mode == "" || mode == "-v") print bad ? bad " found" (bad > 1 ? ", " : ": ") "see the lines above" : "nothing found"
			exit bad > 0
		}' "$dir/findings"
}

mode='' bundle=''
while [ $# -gt 0 ]; do
	if common_option "$@"; then
		shift "$taken"
		continue
	fi
	case $1 in
	--bundle)
		[ $# -gt 1 ] || wrong_use "$1 needs a value"
		bundle=$2
		shift
		;;
	--bundle=*) bundle=${1#--bundle=} ;;
	-j | --json) mode=-j ;;
	-q | --quiet) mode=-q ;;
	-v | --verbose) mode=-v ;;
	-*) wrong_use "unknown option $1" ;;
	*) wrong_use "unexpected operand: $1" ;;
	esac
	shift
done
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "$EX_NOPERM" "needs root: only root sees who uses what"
[ -d "$root/sys" ] || die 66 "$root/sys is not there"
PVE_GPU_ROOT=$root
export PVE_GPU_ROOT

dir=$(mktemp -d) || die "$EX_OSERR" "no temporary directory"
job=''
finished=''
# 1 is for what was found, not for a tool that failed.
trap 'rc=$?; [ -z "$job" ] || kill "$job" || :; rm -rf "$dir"; [ -n "$finished" ] || [ "$rc" -ge 64 ] || exit "$EX_OSERR"' EXIT
trap 'exit 130' INT TERM HUP
: >"$dir/findings"
for name in qemu lxc status plan; do
	: >"$dir/$name"
	: >"$dir/$name.err"
done

ask gpus gpus gpu-ls -r
ask cards gpus gpu-ls -r -a
if [ -d "$root/etc/pve" ]; then
	ask qemu guests pve-hostpci-ls -r
	ask lxc guests lxc-gpu-ls -r
fi
look_at_host
look_at_gpus
if [ -d "$root/etc/pve" ]; then
	path=$(tool doctor-guests) || exit "$EX_OSERR"
	# shellcheck source=utils/doctor-guests.sh
	. "$path"
	look_at_guests
	look_at_backup
else
	found guests note "this is no host of Proxmox VE: no guests, no backup jobs"
fi
look_at_vgpus
look_for_leftovers

rc=0
report "$mode" >"$dir/report" || rc=$?
[ "$rc" -le 1 ] || die "$EX_OSERR" "the report could not be written"
cat "$dir/report" || exit "$EX_IOERR"
[ -z "$bundle" ] || {
	report -v >"$dir/report" || [ $? -eq 1 ] || die "$EX_OSERR" "the report could not be written"
	path=$(tool doctor-bundle) || exit "$EX_OSERR"
	"$path" "$dir" "$bundle" || die "$EX_CANTCREAT" "$bundle could not be written"
}
finished=yes
exit "$rc"
