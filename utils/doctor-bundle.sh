#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# doctor-bundle DIR FILE - a part of gpu-doctor: write what was seen, for a bug report
#
# DIR has the report and what our programs printed. Only lines that are about GPUs are
# taken of files that may hold more, and nothing leaves without doctor-redact.
set -eu
self=${0%/*}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
umask 077

[ $# -eq 2 ] || {
	echo "doctor-bundle: a part of gpu-doctor --bundle=FILE" >&2
	exit 64
}
dir=$1 file=$2
root=${PVE_GPU_ROOT:-}
redact=$self/doctor-redact
[ -x "$redact" ] || redact=@pkglibexecdir@/doctor-redact
new=''
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 130' INT TERM HUP

# --- whose names are to go -----------------------------------------------------

# Section heads of a file: heads KIND PATH
heads() {
	sed -n "s/^[a-z-]*:[[:space:]]*\([^[:space:]]\)/$1\t\1/p; s/^\([A-Za-z0-9_-]*\)\$/$1\t\1/p" "$root$2" 2>/dev/null || :
}

names() {
	sed -n 's/^\(name\|hostname\):[[:space:]]*/guest\t/p' "$root"/etc/pve/nodes/*/qemu-server/*.conf \
		"$root"/etc/pve/nodes/*/lxc/*.conf 2>/dev/null || :
	heads mapping /etc/pve/mapping/pci.cfg
	heads job /etc/pve/jobs.cfg
	heads storage /etc/pve/storage.cfg
	sed -n 's/^user:\([^:@]*\)@.*/user\t\1/p; s/^pool:\([^:]*\):.*/pool\t\1/p' "$root/etc/pve/user.cfg" 2>/dev/null || :
	for node in "$root"/etc/pve/nodes/*; do
		printf 'host\t%s\n' "${node##*/}"
	done
	{
		cat "$root/etc/hostname" 2>/dev/null || :
		[ -n "$root" ] || uname -n
		awk '!/^#/ { for (i = 2; i <= NF && $i !~ /^#/; i++) print $i }' "$root/etc/hosts" 2>/dev/null || :
	} | awk '
		/^(localhost|ip6-)/ { next }
		{
			name = $1
			dot = index(name, ".")
			if (dot) {
				print "domain\t" substr(name, dot + 1)
				name = substr(name, 1, dot - 1)
			}
			print "host\t" name
		}'
	awk '$1 == "search" || $1 == "domain" { for (i = 2; i <= NF; i++) print "domain\t" $i }' \
		"$root/etc/resolv.conf" 2>/dev/null || :
	awk -F : '$3 >= 1000 && $3 < 60000 { print "user\t" $1 }' "$root/etc/passwd" 2>/dev/null || :
}

# --- what is taken ---------------------------------------------------------------

title() {
	printf '\n==> %s\n' "$1"
}

# What the programs printed for the report, or print now.
part() { # TITLE NAME
	title "$1"
	cat "$dir/$2" "$dir/$2.err" 2>/dev/null || :
}
run() {
	title "$*"
	program=$1
	shift
	for place in "$self" @sbindir@ /usr/bin; do
		[ -x "$place/$program" ] || continue
		timeout --foreground -k 5 60 "$place/$program" "$@" 2>&1 </dev/null | head -n 2000 || :
		return
	done
	echo "not installed"
}
# Lines of a file that match, through a filter.
lines() { # PATH REGEX [FILTER...]
	[ -f "$root$1" ] || return 0
	title "$1"
	file_of_host=$root$1 regex=$2
	shift 2
	[ $# -gt 0 ] || set -- cat
	grep -aE "$regex" "$file_of_host" | "$@"
}

# A kernel's command line: of words that are not about devices the name alone.
kernel_words() {
	awk '{
		line = $0
		out = ""
		if (match(line, /^GRUB_CMDLINE[A-Z_]*=["\047]?/)) {
			out = substr(line, 1, RLENGTH)
			line = substr(line, RLENGTH + 1)
			gsub(/\\"[^"]*"/, "...", line)
		}
		while (match(line, /[A-Za-z0-9_.-]+=("[^"]*"|[^ \t"\047]+)/)) {
			word = substr(line, RSTART, RLENGTH)
			key = word
			sub(/=.*/, "", key)
			if (key !~ /iommu|vfio|pci|video|blacklist|nvidia|nouveau|amdgpu|radeon|^i915|^xe\.|^kvm|efifb|sysfb|hugepage|^console$|^BOOT_IMAGE$/)
				word = key "=..."
			out = out substr(line, 1, RSTART - 1) word
			line = substr(line, RSTART + RLENGTH)
		}
		print out line
	}'
}

collect() {
	echo "gpu-doctor @VERSION@: names are replaced by guest-1, host-1 and so on, addresses by ip-1, mac-1, uuid-1."
	echo "Read it before you send it."
	part report report
	lines /proc/version .
	lines /proc/cmdline . kernel_words
	lines /etc/debian_version .
	part "gpu-ls" gpus
	run gpu-ls --tree
	run gpu-procs -r
	part "pve-hostpci-ls" qemu
	part "lxc-gpu-ls" lxc
	part "gpu-conflicts" conflicts
	part "vfio-setup check" setup
	part "pve-gpu-hooks status" status
	part "pve-gpu-hooks plan" plan-json
	part "mdev-ls" vgpus
	part "mdev-ls --types" types
	part "mdev-ls --check" mdev-check
	for conf in "$root"/etc/pve/local/qemu-server/*.conf "$root"/etc/pve/local/lxc/*.conf; do
		# An args line or an environment may hold a password, a mount the name of a customer.
		lines "${conf#"$root"}" '^(\[|bios|dev[0-9]+:.*/dev/(dri|kfd|nvidia)|hookscript|hostname|hostpci|lock|lxc\.(cgroup2?\.devices|idmap)|lxc\.mount\.entry[ :=]+/dev/(dri|kfd|nvidia)|machine|name|onboot|ostype|startup|template|unprivileged)' \
			sed -E '/^\[(PENDING|pve:pending)\]/I!s/^\[.*/[snapshot]/'
	done
	lines /etc/pve/mapping/pci.cfg '^([^#[:space:]]|[[:space:]]+(map|mdev)[[:space:]])'
	lines /etc/pve/jobs.cfg '^([^#[:space:]]|[[:space:]]+(all|enabled|exclude|mode|node|pool|schedule|script|vmid)[[:space:]])'
	lines /etc/vzdump.conf '^(mode|script|hookscript|# pve-gpu-hooks)'
	lines /etc/pve-gpu-utils/pve-gpu-utils.conf '^[^#;]' sed 's/[[:space:]][#;].*//'
	lines /etc/kernel/cmdline . kernel_words
	lines /etc/default/grub '^GRUB_CMDLINE' kernel_words
	for conf in "$root"/etc/modprobe.d/*.conf; do
		lines "${conf#"$root"}" '^[[:space:]]*((blacklist|options|softdep)[[:space:]]|install[[:space:]]+[[:alnum:]_-]+[[:space:]]+(/usr)?/bin/(false|true)$)' \
			sed 's/#.*//'
	done
	lines /var/lib/pve-gpu-utils/journal .
	lines /var/lib/pve-gpu-utils/vfio-setup/manifest .
	if [ -n "$root" ]; then
		return
	fi
	title "journal: the hooks"
	journalctl -q --no-pager -n 300 -t vzdump-gpu-hook -t guest-gpu-hook -t pve-gpu-nodes 2>&1 || :
	title "journal: the kernel"
	{
		journalctl -q --no-pager -k -b 2>&1 |
			grep -aEi 'vfio|iommu|dmar|amd-vi|nvrm|nvidia|nouveau|amdgpu|i915|[ :]xe |mdev|pcieport|AER:' | tail -n 500
	} || :
}

# What is renamed over a device or a link, such as /dev/stdout, takes its place.
if [ "$file" != - ] && { [ -L "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; }; then
	echo "doctor-bundle: $file is no plain file (- is standard output)" >&2
	exit 73
fi
names >"$dir/names"
collect >"$dir/seen" 2>&1
tr -d '\000-\010\013-\037\177' <"$dir/seen" >"$dir/bundle"
if [ "$file" = - ]; then
	exec "$redact" "$dir/names" <"$dir/bundle"
fi
new=$(mktemp "$file.XXXXXX")
"$redact" "$dir/names" <"$dir/bundle" >"$new"
sync "$new"
mv -f "$new" "$file"
new=''
