#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# doctor-guests - a part of gpu-doctor: what is wrong with each guest's GPUs
#
# Read by gpu-doctor, whose functions and files it uses: found, setting, attribute, tool;
# $dir/qemu and $dir/lxc (assignment records), $dir/gpus (device records), $root, $tab.
# shellcheck disable=SC2154 # set by gpu-doctor

# What the functions of this node's mappings are now: "path id group subsystem".
read_hardware() {
	[ -f "$root/etc/pve/mapping/pci.cfg" ] || return 0
	sed -n 's/^[ \t]*map .*path=\([0-9a-f:.]*\).*/\1/p' "$root/etc/pve/mapping/pci.cfg" | sort -u |
		while read -r path; do
			addr=$path
			case $addr in *.?) ;; *) addr=$addr.0 ;; esac
			[ -d "$root/sys/bus/pci/devices/$addr" ] || continue
			group=$(readlink "$root/sys/bus/pci/devices/$addr/iommu_group") || group=-
			printf '%s %s:%s %s %s:%s\n' "$path" "$(attribute "$addr" vendor)" "$(attribute "$addr" device)" \
				"${group##*/}" "$(attribute "$addr" subsystem_vendor)" "$(attribute "$addr" subsystem_device)"
		done
}

# The command that writes a mapping anew: this node's functions as they are now, those
# that are gone left out. Nothing where an entry is more than one function.
mapping_command() { # NAME NODE
	case $1 in *[!A-Za-z0-9_-]*) return ;; esac
	awk -v name="$1" -v node="$2" '
		FILENAME ~ /hardware$/ { id[$1] = $2; group[$1] = $3; sub_id[$1] = $4; next }
		/^[^ \t#]/ { inside = $1 == name }
		!inside || $1 != "map" { next }
		{
			n = split($2, part, ",")
			path = ""
			ours = 0
			for (i = 1; i <= n; i++) {
				if (part[i] == "node=" node) ours = 1
				if (part[i] ~ /^path=/) path = substr(part[i], 6)
			}
			if (path ~ /;/ || $2 !~ /^[A-Za-z0-9:=,._-]+$/) bad = 1
			if (ours && !(path in id)) next
			entry = ""
			# Proxmox VE compares what the hardware has, whether the entry
			# says it or not.
			if (ours && $2 !~ /(^|,)iommugroup=/ && group[path] != "-") part[++n] = "iommugroup="
			if (ours && $2 !~ /(^|,)subsystem-id=/ && sub_id[path] != ":") part[++n] = "subsystem-id="
			for (i = 1; i <= n; i++) {
				if (ours && part[i] ~ /^id=/) part[i] = "id=" id[path]
				if (ours && part[i] ~ /^iommugroup=/ && group[path] != "-") part[i] = "iommugroup=" group[path]
				if (ours && part[i] ~ /^subsystem-id=/ && sub_id[path] != ":") part[i] = "subsystem-id=" sub_id[path]
				entry = entry (i > 1 ? "," : "") part[i]
			}
			list = list " --map " entry
		}
		END { if (!bad && list != "") print "pvesh set /cluster/mapping/pci/" name list }
	' "$dir/hardware" "$root/etc/pve/mapping/pci.cfg" 2>/dev/null || :
}

look_at_device() { # the fields of one assignment record
	vmid=${1#*/}
	case $1.$9 in
	*.ok | *.- | *.refused) return ;;	# pve-hostpci-ls says the reason of a refusal
	qemu/*.no-mapping) found guests fail "$1 $2: no mapping $6 for this node" "the guest does not start here; add this node to it under Datacenter, Resource Mappings, or take it out" "qm set $vmid --delete $2" ;;
	qemu/*.missing)
		if [ "$6" = - ]; then
			found guests fail "$1 $2: $4 is not there" "the guest does not start; cards move when others come or go: gpu-ls says where it is now; or take it out" "qm set $vmid --delete $2"
		else
			found guests warn "$1 $2: $4 of mapping $6 is not there" "the guest does not start when its turn comes to it" "$(mapping_command "$6" "$8")"
		fi
		;;
	qemu/*.mismatch:*) found guests fail "$1 $2: mapping $6 and the hardware differ in ${9#mismatch:} of $4" "the guest does not start; set it anew under Datacenter, Resource Mappings" "$(mapping_command "$6" "$8")" ;;
	lxc/*.missing)
		case $2.$(setting "$1" "$2") in
		dev*./dev/nvidia*) found guests fail "$1 $2: its node is not there" "the container does not start" "systemctl enable --now pve-gpu-nodes.service" ;;
		dev*) found guests fail "$1 $2: its node is not there" "the container does not start" "pct set $vmid --delete $2" ;;
		*) found guests warn "$1 $2: its node is not there" "the container does without" "lxc-gpu-mount --remove $vmid" ;;
		esac
		;;
	*) found guests warn "$1 $2: $9" ;;
	esac
}

# Cards that hang when their guest is started again: no function-level reset, no hook.
look_at_reset() { # GUEST
	awk -F '\t' -v guest="$1" '$1 == guest && $5 == "-" && $9 == "ok" { print $4 }' "$dir/qemu" | sort -u >"$dir/addrs"
	while read -r addr; do
		reset=$(awk -F '\t' -v addr="$addr" '$1 == addr { print $7 }' "$dir/gpus")
		case ,$reset, in ,, | *,flr,*) continue ;; esac
		case $(setting "$1" hookscript) in
		*:snippets/pve-gpu-hook*) ;;
		*) found guests warn "$1: $addr has no function-level reset, and no hook resets it before a start" "many such cards work once per boot of the host" "pve-gpu-hooks guest ${1#*/} enable" ;;
		esac
		return
	done <"$dir/addrs"
}

# Of guests that share a function for sure, by no choice of a mapping, only one can start
# at boot.
look_at_onboot() {
	awk -F '\t' '
		FNR == NR { if ($6 != "-") mapped[$1, $4] = 1; next }
		$2 == "function" || $2 == "iommu-group" {
			n = split($3, guest, ",")
			list = ""
			for (i = 1; i <= n; i++) if (!((guest[i], $1) in mapped)) list = list " " guest[i]
			print $1, $2, list
		}' "$dir/all" "$dir/conflicts" >"$dir/contenders"
	while read -r addr _ guests; do
		first='' second=''
		for guest in $guests; do
			[ "$(setting "$guest" onboot)" = 1 ] || continue
			if [ -z "$first" ]; then first=$guest; else second=$guest; fi
		done
		[ -n "$second" ] || continue
		command="qm set ${second#*/} --onboot 0"
		case $second in lxc/*) command=pct${command#qm} ;; esac
		found guests warn "$first and $second both start at boot and want $addr" "only the first one gets it" "$command"
	done <"$dir/contenders"
}

look_at_guests() {
	cat "$dir/qemu" "$dir/lxc" >"$dir/all"
	[ -s "$dir/all" ] || found guests note "no guest of this node is given a GPU"
	cat "$dir/qemu.err" "$dir/lxc.err" | tr '\t' ' ' | awk -v OFS='\t' '
		$2 !~ /^(qemu|lxc)\/[0-9]+:$/ { next }
		{
			vmid = substr($2, index($2, "/") + 1)
			sub(/:$/, "", vmid)
			command = "-"
			if ($3 ~ /^hostpci[0-9]+:$/) command = "qm set " vmid " --delete " substr($3, 1, length($3) - 1)
			if ($3 ~ /^dev[0-9]+:$/) command = "pct set " vmid " --delete " substr($3, 1, length($3) - 1)
			sub(/^[^ ]* /, "")
			print "guests", "fail", $0, "Proxmox VE drops or refuses it: put it right, or take it out", command
		}' >>"$dir/findings"
	read_hardware >"$dir/hardware"
	while IFS=$tab read -r guest key alt addr type mapping state node status rest; do
		look_at_device "$guest" "$key" "$alt" "$addr" "$type" "$mapping" "$state" "$node" "$status" "$rest"
	done <"$dir/all"
	cut -f 1 "$dir/all" | sort -u >"$dir/guests"
	while read -r guest; do
		case $guest in qemu/*) look_at_reset "$guest" ;; esac
		grep -q "^guests${tab}[a-z]*${tab}${guest}[ :]" "$dir/findings" ||
			found guests ok "$guest: $(awk -F '\t' -v guest="$guest" '$1 == guest && !seen[$4]++ { printf "%s ", $4 }' "$dir/all")"
	done <"$dir/guests"
	path=$(tool gpu-conflicts) || exit "$EX_OSERR"
	"$path" -r "$dir/all" >"$dir/conflicts" 2>"$dir/conflicts.err" || :
	awk -F '\t' -v OFS='\t' '!seen[$3]++ { print "guests", "note", $3 " take turns at " $1 " (" $2 ")", "-", "-" }' "$dir/conflicts" >>"$dir/findings"
	look_at_onboot
}
