#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-storage - storages with snippets, and the cluster's other nodes
# shellcheck disable=SC2034,SC2154 # sourced by guest-hooks, which sets root and node

# id, type, path, shared (0, 1), nodes, folder of snippets, content. As PVE fills in
# what the file leaves out (pve-storage, Storage/Plugin.pm parse_config; pve-common,
# SectionConfig.pm).
storages() {
	config=$root/etc/pve/storage.cfg
	[ -r "$config" ] || config=/dev/null
	awk '
		function flush() {
			if (id == "")
				return
			if (id == "local" && (type != "dir" || ("path" in v) && v["path"] != "/var/lib/vz"))
				return
			# PVE puts its own in the place of a "local" that is none, not of
			# one that is off.
			if (("disable" in v) && v["disable"] != "0") {
				seen = seen " " id " "
				return
			}
			if (type !~ /^(dir|btrfs|nfs|cifs|cephfs|glusterfs)$/)
				return
			shared = type ~ /^(nfs|cifs|cephfs|glusterfs)$/ || ("shared" in v) && v["shared"] != "0"
			path = ("path" in v) ? v["path"] : id == "local" ? "/var/lib/vz" : "/mnt/pve/" id
			dir = "snippets"
			n = split(v["content-dirs"], dirs, /[,; ]+/)
			for (i = 1; i <= n; i++)
				if (dirs[i] ~ /^snippets=/)
					dir = substr(dirs[i], 10)
			nodes = id != "local" && ("nodes" in v) ? v["nodes"] : "-"
			printf "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", id, type, path, shared, nodes, dir, \
				("content" in v) ? v["content"] : "-"
			seen = seen " " id " "
		}
		# A section goes from "TYPE: ID", whatever the type, to an empty line.
		/^[ \t]*#/ { next }
		$0 == "" { flush(); open = 0; id = ""; next }
		!open && /^[^ \t]+:[ \t]*[^ \t]+[ \t]*$/ {
			open = 1
			split("", v)
			match($0, /^[^ \t]+:/)
			type = tolower(substr($0, 1, RLENGTH - 1))
			id = substr($0, RLENGTH + 1)
			gsub(/[ \t]/, "", id)
			next
		}
		open && /^[ \t]+[^ \t]/ && !($1 in v) {
			val = $0
			sub(/^[ \t]+[^ \t]+[ \t]*/, "", val)
			sub(/[ \t]+$/, "", val)
			v[$1] = val
		}
		END {
			flush()
			if (seen !~ / local /)
				print "local\tdir\t/var/lib/vz\t0\t-\tsnippets\tiso,vztmpl,backup,images,rootdir,snippets"
		}' "$config"
}

in_list() {
	list=$(printf '%s' "$2" | tr ' ;' ',,') || die "$EX_OSERR" "a list cannot be read"
	case ,$list, in
	*",$1,"*) return 0 ;;
	esac
	return 1
}

# Find storage $1 and set id, path, shared, nodes, folder, content.
find_storage() {
	all=$(storages) || die "$EX_OSERR" "the storages cannot be told"
	line=$(printf '%s\n' "$all" | awk -F '\t' -v id="$1" '$1 == id') ||
		die "$EX_OSERR" "the storages cannot be told"
	[ -n "$line" ] || return 1
	take_storage "$line"
}

take_storage() {
	IFS=$tab read -r id type path shared nodes subdir content <<-END
		$1
	END
	folder=$path/$subdir
}

# Can the stub be put there, and be found from here?
is_usable() {
	in_list snippets "$content" || return 1
	[ "$nodes" = - ] || in_list "$node" "$nodes" || return 1
	[ -d "$root$path" ] || return 1
	case $type in
	nfs | cifs | cephfs | glusterfs) [ -n "$root" ] || mountpoint -q "$path" ;;
	esac
}

# Nodes of the cluster but this one: "name online ip" each.
other_nodes() {
	tr -d ' \t\n' 2>/dev/null <"$root/etc/pve/.members" | sed -n 's/.*"nodelist":{//p' | tr '}' '\n' |
		sed -n 's/^,\{0,1\}"\([^"]*\)":{\(.*\)/\1,\2,/p' |
		awk -F , -v self="$node" '$1 != self {
			online = ip = "-"
			for (i = 2; i <= NF; i++) {
				if ($i ~ /^"online":/) online = substr($i, 10)
				if ($i ~ /^"ip":/) { ip = substr($i, 6); gsub(/"/, "", ip) }
			}
			print $1, online, ip
		}'
}

# A shell command on another node, the way PVE itself goes there.
on_node() {
	known=/etc/pve/nodes/$1/ssh_known_hosts
	set -- "$2" "$3" -o BatchMode=yes -o ConnectTimeout=5 -o "HostKeyAlias=$1"
	[ ! -e "$root$known" ] || set -- "$@" -o "UserKnownHostsFile=$known" -o GlobalKnownHostsFile=none
	ip=$1 command=$2
	shift 2
	"$root/usr/bin/ssh" -e none "$@" "root@$ip" "$command"
}

# The best storage for the stub. In a cluster one that all nodes share, so that the
# guest finds it wherever it goes; on a node alone none that could be offline.
choose_storage() {
	others=$(other_nodes) || die "$EX_OSERR" "the other nodes cannot be told"
	all=$(storages) || die "$EX_OSERR" "the storages cannot be told"
	best=$(printf '%s\n' "$all" | while IFS= read -r line; do
		take_storage "$line"
		is_usable || continue
		rank=1
		[ "$id" != local ] || rank=0
		if [ "$shared" = 1 ]; then
			rank=2
			[ -z "$others" ] || [ "$nodes" != - ] || rank=-1
		fi
		printf '%s\t%s\n' "$rank" "$id"
	done | sort -n -s -k 1,1 | head -n 1 | cut -f 2)
	[ -n "$best" ] && find_storage "$best"
}
