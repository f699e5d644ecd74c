#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pve-gpu-hooks - switch the GPU hooks on and off, and tell what they protect
set -eu
self=${0%/*}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

EX_NOINPUT=66 EX_UNAVAILABLE=69 EX_NOPERM=77
me=pve-gpu-hooks subcommand=''
[ -r "$self/script-options" ] || self=@pkglibexecdir@
# shellcheck source=utils/script-options.sh
. "$self/script-options"
stub=/etc/pve-gpu-utils/vzdump-hook
unit=pve-gpu-recover.service
# How our lines in /etc/vzdump.conf look: a line of before is kept behind the
# first, the second stands over our own script line.
kept='# pve-gpu-hooks, before: '
mark='# pve-gpu-hooks: set by "pve-gpu-hooks enable", taken back by "pve-gpu-hooks disable"'
no_newline=' (no newline at the end before)'
no_file=' (no file before)'
script_line='^[[:space:]]*script:[[:space:]]*[^[:space:]]'
our_line="^[[:space:]]*script:[[:space:]]*${stub}[[:space:]]*\$"

usage() {
	cat <<'END'
Usage: pve-gpu-hooks [-R DIR] enable [--chain | --replace] [-n]
       pve-gpu-hooks [-R DIR] disable [-n]
       pve-gpu-hooks [-R DIR] status | plan | example  [-j]
       pve-gpu-hooks [-R DIR] guest VMID | mdev  enable | disable | status

  enable             make vzdump call the hook: sets "script:" in /etc/vzdump.conf
    --chain          call the script that is set there now after the hook
    --replace        put the hook in place of the script that is set there now
  disable            put /etc/vzdump.conf back as it was
  status             is every backup job protected? exit 0 yes, 1 no
  plan               what the backup jobs would stop and start, changing nothing
  example            print a pve-gpu-utils.conf for the guests of this host
  guest, mdev        reset a VM's GPUs at its start; make vGPUs at boot (mdev --help)

  -j, --json         print JSON Lines (status, plan)
  -n, --dry-run      show the change of /etc/vzdump.conf, make none
  -R, --root=DIR     use DIR as the system root
  -h, --help         print this help and exit
  -V, --version      print the version and exit
END
}

# The script that vzdump would call: the last line counts.
script_in_force() {
	[ -f "$conf" ] || return 0
	sed -n "s/^[[:space:]]*script:[[:space:]]*\([^[:space:]].*\)\$/\1/p" "$conf" |
		tail -n 1 | sed 's/[[:space:]]*$//'
}

# The one that was in force before enable.
former_script() {
	{ sed -n "s/^${kept}[[:space:]]*script:[[:space:]]*//p" "$conf" 2>/dev/null || :; } |
		tail -n 1 | sed 's/[[:space:]]*$//'
}

ends_with_newline() {
	lines=$(tail -c 1 "$1" | wc -l) || die "$EX_OSERR" "$1 could not be read"
	[ ! -s "$1" ] || [ "$lines" -eq 1 ]
}

# Put the file $1 (a temporary one beside it) in place of $2.
put() {
	if [ -e "$2" ]; then
		chmod --reference="$2" "$1" && chown --reference="$2" "$1"
	else
		chmod "$3" "$1"
	fi && sync "$1" && mv -f "$1" "$2" && sync "${2%/*}"
}

clean_up() {
	[ -z "$new" ] || rm -f "$new" "$new.sed"
}

beside() {
	mktemp "$1.XXXXXX" || die "$EX_OSERR" "cannot write beside $1"
}

# Show (-n) or take over what is in $new.
change_conf() {
	if [ -e "$conf" ] && cmp -s "$new" "$conf"; then
		rm -f "$new"
		return 0
	fi
	if [ "$dry_run" = yes ]; then
		diff -uN "$conf" "$new" || [ $? -eq 1 ] || die "$EX_IOERR" "the change could not be shown"
		rm -f "$new"
		return 0
	fi
	put "$new" "$conf" 0644 || die "$EX_OSERR" "$conf could not be changed"
}

# $1: the former script's path. A file with its name in quotes that no shell takes apart.
chain_script() {
	quoted=$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")
	cat <<-END
		#!/bin/sh
		# Written by "pve-gpu-hooks enable --chain": what /etc/vzdump.conf named before.
		script='$quoted'
		[ -f "\$script" ] && [ -x "\$script" ] && exec "\$script" "\$@"
		printf 'the former hook script %s is gone: nothing to run\n' "\$script"
		exit 0
	END
}

starts_guests() {
	[ -r "$1" ] && grep -Eaq "(^|[^[:alnum:]_-])(qm|pct)['\",[:space:]]+start([^[:alnum:]_-]|\$)" "$1"
}

check_former() {
	case $how in
	'')
		say "/etc/vzdump.conf names another script: $1"
		die "$EX_UNAVAILABLE" "--chain calls it after the hook, --replace does without it; disable puts it back"
		;;
	chain)
		case $1 in
		/*) ;;
		*) die "$EX_UNAVAILABLE" "$1 is no absolute path: use --replace" ;;
		esac
		if starts_guests "$root$1"; then
			die "$EX_UNAVAILABLE" "$1 starts guests itself, which would undo what the hook does: use --replace"
		fi
		if ! { [ -f "$root$1" ] && [ -x "$root$1" ]; }; then
			say "warning: $1 is not there or not executable; it is chained all the same"
		fi
		;;
	esac
}

report_others() {
	if [ -f "$conf" ] && grep -Eq '^[[:space:]]*hookscript:' "$conf"; then
		say "warning: hookscript: in /etc/vzdump.conf has no effect; vzdump knows script: only"
	fi
	if [ -f "$root/etc/pve/jobs.cfg" ]; then
		awk -v ours="$stub" '
			/^[^ \t#]/ { job = $1 == "vzdump:" ? $2 : "" }
			/^[ \t]+script[ \t]/ && job != "" && $2 != ours {
				printf "pve-gpu-hooks: warning: backup job %s has a script of its own (%s): not protected\n", job, $2
			}' "$root/etc/pve/jobs.cfg" | LC_ALL=C tr '\001-\011\013-\037\177' '?' >&2
	fi
	if [ -f "$root/etc/pve/vzdump.cron" ] &&
		grep -Eq '^[^#]*vzdump.*[[:space:]]--?script' "$root/etc/pve/vzdump.cron"; then
		say "warning: a job in /etc/pve/vzdump.cron has a script of its own: not protected"
	fi
}

unit_do() {
	command -v systemctl >/dev/null 2>&1 || return 0
	[ -z "$root" ] || set -- --root="$root" "$@"
	systemctl --quiet "$@" "$unit" 2>/dev/null ||
		say "warning: systemctl $* $unit failed: after a power loss during a backup, guests have to be started by hand"
}

enable_hook() {
	[ -f "$conf" ] || [ -d "$root/etc/pve" ] ||
		die "$EX_NOINPUT" "neither /etc/vzdump.conf nor /etc/pve is there: is this a host of Proxmox VE?"
	current=$(script_in_force)
	source=@pkgdatadir@/vzdump-hook
	[ ! -f "$root$source" ] || source=$root$source
	[ -f "$source" ] || die "$EX_NOINPUT" "$source is missing: install pve-gpu-utils again"

	former=$current
	if [ "$current" = "$stub" ]; then
		former=$(former_script)
		[ -z "$former" ] || [ -z "$how" ] || check_former "$former"
	elif [ -n "$current" ]; then
		check_former "$current"
	fi

	if [ "$dry_run" = no ]; then
		mkdir -p "$root/etc/pve-gpu-utils/vzdump.d" "${state%/*}"
		[ -d "$state" ] || mkdir -m 0700 "$state"
		# What is to be called has to be there before vzdump is told of it.
		if ! cmp -s "$source" "$root$stub" || [ ! -x "$root$stub" ]; then
			new=$(beside "$root$stub")
			cat "$source" >"$new"
			chmod 0755 "$new"
			sync "$new"
			mv -f "$new" "$root$stub"
		fi
		case $how.$former in
		chain.?*)
			new=$(beside "$chained")
			chain_script "$former" >"$new"
			chmod 0755 "$new"
			sync "$new"
			mv -f "$new" "$chained"
			;;
		replace.*) rm -f "$chained" ;;
		esac
		sync "$root/etc/pve-gpu-utils" "$root/etc/pve-gpu-utils/vzdump.d"
	fi

	if [ "$current" = "$stub" ]; then
		note "already enabled in /etc/vzdump.conf"
	else
		new=$(beside "$conf")
		write_enabled >"$new" || die "$EX_OSERR" "$new could not be written"
		if [ "$dry_run" = no ]; then
			[ ! -f "$conf" ] || sed -n "/$script_line/p" "$conf" >"$state/vzdump.conf.script"
			sync "$state"
		fi
		change_conf
	fi
	report_others
	[ "$dry_run" = no ] || return 0
	unit_do enable
	if [ -n "$former" ] && [ -e "$chained" ]; then
		note "enabled; $former is called after the hook"
	elif [ "$current" != "$stub" ]; then
		note "enabled${former:+ in place of $former}; pve-gpu-hooks status tells what is protected"
	fi
}

# Our line goes where the former one was, else to the end.
write_enabled() {
	line=$mark
	if [ ! -s "$conf" ]; then
		[ -e "$conf" ] || line=$line$no_file
		printf '%s\nscript: %s\n' "$line" "$stub"
		return
	fi
	at=$(grep -an "$script_line" "$conf" | tail -n 1 | cut -d : -f 1) &&
		count=$(grep -ac '' "$conf") || return 1
	if ! ends_with_newline "$conf" && [ "${at:-$count}" -eq "$count" ]; then
		line=$line$no_newline
	fi
	# An own line further up, under a later one of somebody else's, is not kept.
	sed -e "${at:-\$}a\\
$line\\
script: $stub" -e "\\|$our_line|d" -e "/^# pve-gpu-hooks: /d" -e "s/$script_line/$kept&/" "$conf"
}

# Exit code 1: there was no file before, and nothing of it is left.
write_disabled() {
	sed -e "\\|$our_line|d" -e "/^# pve-gpu-hooks: /d" -e "s/^$kept//" "$conf" >"$new.sed" ||
		return 2
	if [ ! -s "$new.sed" ] && grep -q "^# pve-gpu-hooks: .*$no_file" "$conf"; then
		return 1
	fi
	last=$(tail -n 2 "$conf" | head -n 1) || return 2
	if [ "$last" = "$mark$no_newline" ] &&
		ends_with_newline "$new.sed"; then
		head -c -1 "$new.sed" || return 2
	else
		cat "$new.sed" || return 2
	fi
	# The comments were taken out by hand: what the state directory remembers is put
	# back.
	if ! grep -q "$script_line" "$new.sed" && ! grep -q "^$kept" "$conf" &&
		[ -s "$state/vzdump.conf.script" ]; then
		cat "$state/vzdump.conf.script" || return 2
	fi
}

named_by_a_job() {
	grep -Eqs "^[[:space:]]+script[[:space:]]+${stub}[[:space:]]*\$" "$root/etc/pve/jobs.cfg" ||
		grep -Eqs "^[^#]*vzdump.*$stub" "$root/etc/pve/vzdump.cron"
}

job_runs() {
	[ -e "$root/run/vzdump.lock" ] && ! flock -n 9 9<"$root/run/vzdump.lock"
}

disable_hook() {
	if [ -f "$conf" ] && grep -Eq -e "$our_line" -e "^# pve-gpu-hooks[,:] " "$conf"; then
		new=$(beside "$conf")
		rc=0
		write_disabled >"$new" || rc=$?
		rm -f "$new.sed"
		case $rc.$dry_run in
		0.*) change_conf ;;
		1.no) rm -f "$conf" "$new" ;;
		1.yes) echo "rm $conf" && rm -f "$new" ;;
		*) die "$EX_OSERR" "$new could not be written" ;;
		esac
		[ "$dry_run" = no ] || return 0
		current=$(script_in_force)
		note "disabled${current:+; vzdump calls $current again}"
	else
		note "not enabled in /etc/vzdump.conf"
		[ "$dry_run" = no ] || return 0
	fi
	rm -f "$state/vzdump.conf.script"
	if [ -e "$state/journal" ]; then
		say "guests are still down for a backup (vm-state-restore starts them): $unit stays enabled"
	elif [ -e "$root/etc/systemd/system/multi-user.target.wants/$unit" ] ||
		[ -L "$root/etc/systemd/system/multi-user.target.wants/$unit" ]; then
		unit_do disable
	fi
	if job_runs; then
		say "a backup job is running: $stub stays, so that no backup fails; disable again later removes it"
	elif named_by_a_job; then
		say "a backup job names $stub as its own script: it stays"
	else
		rm -f "$root$stub" "$chained"
	fi
}

new=''
trap clean_up EXIT
how='' dry_run=no json='' command=''
while [ $# -gt 0 ]; do
	if common_option "$@"; then
		shift "$taken"
		continue
	fi
	case $1 in
	-n | --dry-run) dry_run=yes ;;
	-j | --json) json=-j ;;
	--chain | --replace)
		[ -z "$how" ] || [ "$how" = "${1#--}" ] || wrong_use "--chain and --replace exclude each other"
		how=${1#--}
		;;
	-*) wrong_use "unknown option $1" ;;
	guest | mdev)
		[ -z "$command$how$json" ] || wrong_use "unexpected operand: $1"
		command=$1-hooks
		shift
		[ "$dry_run" = no ] || set -- "$@" -n
		[ -x "$self/$command" ] || self=@pkglibexecdir@
		exec "$self/$command" ${root:+-R "$root"} "$@"
		;;
	*)
		[ -z "$command" ] || wrong_use "unexpected operand: $1"
		command=$1
		;;
	esac
	shift
done
case $command in
enable) [ -z "$json" ] || wrong_use "-j is for status and plan" ;;
'') wrong_use "which command? enable, disable, status, plan, example, guest or mdev" ;;
*)
	[ -z "$how" ] || wrong_use "--$how is for enable"
	case $json.$command in
	-j.disable | -j.example) wrong_use "-j is for status and plan" ;;
	esac
	[ "$dry_run" = no ] || [ "$command" = disable ] || wrong_use "-n is for enable and disable"
	;;
esac

case $command in
disable | enable)
	[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "$EX_NOPERM" "$command needs root"
	# A link is kept: the file behind it is changed.
	conf=$root/etc/vzdump.conf
	if [ -L "$conf" ]; then
		conf=$(readlink -f "$conf")
		[ "${conf#"${root:+$(readlink -f "$root")}/"}" != "$conf" ] ||
			die "$EX_OSERR" "$root/etc/vzdump.conf is a link that leads out of $root"
	fi
	[ ! -e "$conf" ] || [ -f "$conf" ] || die "$EX_OSERR" "$conf is no file"
	state=$root/var/lib/pve-gpu-utils
	chained=$root/etc/pve-gpu-utils/vzdump.d/90-chained
	"${command}_hook"
	;;
status | plan | example)
	report=$self/hooks-report
	[ -x "$report" ] || report=@pkglibexecdir@/hooks-report
	[ -x "$report" ] || die "$EX_NOINPUT" "$report is missing: install pve-gpu-utils again"
	[ -z "$root" ] || set -- -R "$root"
	# shellcheck disable=SC2086 # nothing or -j
	exec "$report" "$@" $json "$command"
	;;
*) wrong_use "unknown command $command" ;;
esac
