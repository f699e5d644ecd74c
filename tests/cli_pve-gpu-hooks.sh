#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pve-gpu-hooks enable and disable: what becomes of /etc/vzdump.conf
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
stub=/etc/pve-gpu-utils/vzdump-hook

# As it was configured: make distcheck has a prefix of its own.
pkgdatadir=$(sed -n 's|^[[:space:]]*source=\(/.*\)/vzdump-hook$|\1|p' "$(command -v pve-gpu-hooks)")

fresh() {
	rm -rf "$dir/r"
	r=$dir/r
	conf=$r/etc/vzdump.conf
	mkdir -p "$r/etc/pve" "$r$pkgdatadir" "$r/usr/local/bin" "$r/run" "$r/var/lib"
	cp "$src/../utils/vzdump-hook" "$r$pkgdatadir/vzdump-hook"
	printf '#!/bin/sh\necho former "$@"\n' >"$r/usr/local/bin/former"
	chmod 755 "$r/usr/local/bin/former"
}

# hooks EXPECTED-CODE ARGUMENTS
hooks() {
	want=$1
	shift
	expect "$want" pve-gpu-hooks -R "$r" "$@"
}

# The script that PVE would take: the last "script:" line.
in_force() {
	sed -n 's/^[[:space:]]*script:[[:space:]]*\(.*[^[:space:]]\)[[:space:]]*$/\1/p' "$conf" | tail -n 1
}

# round NAME CONTENT [ENABLE-OPTION]: enabled it names us, disabled it is the same byte
# for byte
round() {
	fresh
	# shellcheck disable=SC2059 # the escapes are meant
	printf "$2" >"$conf"
	chmod 640 "$conf"
	cp -p "$conf" "$dir/before"
	hooks 0 enable ${3:+"$3"}
	[ "$(in_force)" = "$stub" ] || fail "$1: $(in_force) is in force"
	[ "$(stat -c %a "$conf")" = 640 ] || fail "$1: mode changed"
	[ -x "$r$stub" ] || fail "$1: no stub"
	cp "$conf" "$dir/once"
	hooks 0 enable ${3:+"$3"}
	cmp -s "$conf" "$dir/once" || fail "$1: a second enable changes the file"
	# Every line of before is still to be read, whole, in its place.
	sed -e 's/^# pve-gpu-hooks, before: //' -e '/^# pve-gpu-hooks: /d' \
		-e "\\|^script: $stub\$|d" "$conf" | cmp -s - "$dir/before" ||
		[ -n "$(tail -c 1 "$dir/before" | tr -d '\n')" ] || fail "$1: other lines changed"
	rm -rf "$r/var/lib/pve-gpu-utils"
	hooks 0 disable
	cmp -s "$conf" "$dir/before" || fail "$1: not put back: $(cat -A "$conf")"
	[ ! -e "$r$stub" ] || fail "$1: stub left"
	[ -z "$(find "$r/etc" -name '*.[A-Za-z0-9]*.sed' -o -name 'vzdump.conf.*' | head -n 1)" ] ||
		fail "$1: temporary files left"
	hooks 0 disable
	cmp -s "$conf" "$dir/before" || fail "$1: a second disable changes the file"
}

round empty ''
round plain '# vzdump default settings\n#script: FILE\nmode: snapshot\n'
round no-newline 'mode: snapshot\ntmpdir: /x'
round blank-end 'mode: snapshot\n\n\n'
round replace 'mode: snapshot\nscript: /usr/local/bin/former\n# end\n' --replace
round chain 'script:   /usr/local/bin/former  \nmode: stop\n' --chain
round leading-blanks ' \tscript:\t/usr/local/bin/former\n' --replace
round twice 'script: /usr/local/bin/other\nmode: stop\nscript: /usr/local/bin/former\nx: y\n' --chain
round script-last-no-newline 'mode: stop\nscript: /usr/local/bin/former' --chain
round script-first-no-newline 'script: /usr/local/bin/former\nmode: stop' --chain
round crlf 'mode: stop\r\nscript: /usr/local/bin/former\r\n' --replace
round hookscript 'hookscript: /usr/local/bin/former\n'
round no-value 'script:\nmode: stop\n'
round odd 'script: /usr/local/bin/a|b&c\\\\1\n' --replace

# No file before, none after
fresh
hooks 0 enable
[ "$(in_force)" = "$stub" ] || fail "no file: not enabled"
[ "$(stat -c %a "$conf")" = 644 ] || fail "no file: mode"
hooks 0 disable
[ ! -e "$conf" ] || fail "no file: one is left"

# A link stays a link
fresh
mkdir "$r/etc/real"
printf 'mode: stop\n' >"$r/etc/real/vzdump.conf"
ln -s real/vzdump.conf "$conf"
hooks 0 enable
[ -L "$conf" ] || fail "link replaced"
[ "$(in_force)" = "$stub" ] || fail "link: not enabled"

# but not one that leads out of the root
fresh
printf 'mode: stop\n' >"$dir/outside"
ln -s "$dir/outside" "$conf"
hooks 71 enable
said 'leads out of'
[ "$(cat "$dir/outside")" = 'mode: stop' ] || fail "a file outside of the root changed"

# Another script: refused by default, with nothing written
fresh
printf 'script: /usr/local/bin/former\n' >"$conf"
hooks 69 enable
said 'names another script: /usr/local/bin/former'
said '--chain'
[ "$(in_force)" = /usr/local/bin/former ] || fail "refused, but changed"
[ ! -e "$r$stub" ] || fail "refused, but stub copied"

# --chain calls it with arguments and environment; gone, it says so and is well
fresh
cat >"$r/usr/local/bin/it's" <<'END'
#!/bin/sh
echo "former $* $STOREID"
exit 7
END
chmod 755 "$r/usr/local/bin/it's"
printf "script: /usr/local/bin/it's\n" >"$conf"
hooks 0 enable --chain
chained=$r/etc/pve-gpu-utils/vzdump.d/90-chained
[ -x "$chained" ] || fail "nothing chained"
sed "s|script='|script='$r|" "$chained" >"$dir/chained"
rc=0
out=$(env -i STOREID=local sh "$dir/chained" backup-end stop 101) || rc=$?
[ "$rc.$out" = "7.former backup-end stop 101 local" ] || fail "chained: $rc $out"
rm "$r/usr/local/bin/it's"
out=$(env -i sh "$dir/chained" job-end) || fail "the former script is gone: $?"
case $out in *"it's is gone"*) ;; *) fail "gone: $out" ;; esac
hooks 0 enable --replace
[ ! -e "$chained" ] || fail "--replace leaves the chained script"
hooks 0 enable --chain
said 'not there'
[ -x "$chained" ] || fail "--chain after --replace: nothing chained"
hooks 0 disable
[ ! -e "$chained" ] || fail "disable leaves the chained script"
[ "$(in_force)" = "/usr/local/bin/it's" ] || fail "not put back: $(in_force)"

# One that starts guests itself
for body in 'qm start 100' '/usr/sbin/pct start 200' "system('qm', 'start', 100)"; do
	fresh
	printf '#!/bin/sh\n%s\n' "$body" >"$r/usr/local/bin/former"
	printf 'script: /usr/local/bin/former\n' >"$conf"
	hooks 69 enable --chain
	said 'starts guests itself'
	hooks 0 enable --replace
done
fresh
printf '#!/bin/sh\necho qm started; pvesm start\n' >"$r/usr/local/bin/former"
printf 'script: /usr/local/bin/former\n' >"$conf"
hooks 0 enable --chain

# Somebody sets another one later on: again a refusal, and nothing is lost
fresh
printf 'script: /usr/local/bin/former\n' >"$conf"
hooks 0 enable --replace
printf 'script: /usr/local/bin/later\n' >>"$conf"
hooks 69 enable
hooks 0 enable --replace
[ "$(in_force)" = "$stub" ] || fail "later: $(in_force)"
[ "$(grep -c "^script: $stub" "$conf")" -eq 1 ] || fail "two lines of ours"
hooks 0 disable
[ "$(in_force)" = /usr/local/bin/later ] || fail "later one not put back"
grep -q '^script: /usr/local/bin/former$' "$conf" || fail "former one lost"

# The comments gone: the state directory knows
fresh
printf 'mode: stop\nscript: /usr/local/bin/former\n' >"$conf"
hooks 0 enable --replace
sed -i '/^# pve-gpu-hooks/d' "$conf"
hooks 0 disable
[ "$(in_force)" = /usr/local/bin/former ] || fail "not put back out of the state directory"

# A changed or missing stub is put right by enable
fresh
hooks 0 enable
rm "$r$stub"
hooks 0 enable
[ -x "$r$stub" ] || fail "stub not put right"

# disable while a job runs, while one names the stub, while guests are down
fresh
hooks 0 enable
exec 9>"$r/run/vzdump.lock"
flock 9
hooks 0 disable
said 'backup job is running'
[ -x "$r$stub" ] || fail "stub removed under a running job"
exec 9>&-
printf 'vzdump: nightly\n\tschedule 02:00\n\tscript %s\n' "$stub" >"$r/etc/pve/jobs.cfg"
hooks 0 disable
said 'names .*vzdump-hook as its own script'
[ -x "$r$stub" ] || fail "stub removed though a job names it"
printf 'vzdump: nightly\n\tschedule 02:00\n' >"$r/etc/pve/jobs.cfg"
mkdir -p "$r/var/lib/pve-gpu-utils"
: >"$r/var/lib/pve-gpu-utils/journal"
hooks 0 disable
said 'still down for a backup'
[ ! -e "$r$stub" ] || fail "stub left"

# What enable warns of
fresh
printf 'hookscript: /x\n' >"$conf"
printf 'vzdump: own\n\tschedule 02:00\n\tscript /usr/local/bin/own\n\nvzdump: ours\n\tscript %s\n' \
	"$stub" >"$r/etc/pve/jobs.cfg"
printf '0 2 * * * root vzdump 100 --script /x\n' >"$r/etc/pve/vzdump.cron"
hooks 0 enable
said 'hookscript: .*has no effect'
said 'job own has a script of its own (/usr/local/bin/own)'
said 'vzdump.cron has a script of its own'
not_said 'job ours'
printf 'vzdump: own\n\tscript /x/\033[31m\n' >"$r/etc/pve/jobs.cfg"
hooks 0 enable
said 'job own has a script of its own (/x/?\[31m)'

# -n changes nothing
fresh
printf 'script: /usr/local/bin/former\n' >"$conf"
cp "$conf" "$dir/before"
hooks 0 enable --replace -n
said "^+script: $stub"
cmp -s "$conf" "$dir/before" || fail "enable -n changes the file"
[ ! -e "$r/etc/pve-gpu-utils" ] || fail "enable -n makes files"
hooks 0 enable --replace
cp "$conf" "$dir/before"
hooks 0 disable -n
said '^+script: /usr/local/bin/former'
cmp -s "$conf" "$dir/before" || fail "disable -n changes the file"
[ -x "$r$stub" ] || fail "disable -n removes the stub"

# A file that cannot be replaced: said, and the old one is whole
fresh
mkdir "$conf"
hooks 71 enable
[ -z "$(ls -A "$conf")" ] || fail "something written into a directory"

# No Proxmox host: nothing is made up
fresh
rmdir "$r/etc/pve"
hooks 66 enable
said 'is this a host of Proxmox VE'
[ -z "$(ls "$r/etc")" ] || fail "enable makes files where there is no Proxmox VE"
hooks 66 status
said 'is this a host of Proxmox VE'

# Wrong use
fresh
for args in '' frobnicate 'enable --chain --replace' 'disable --chain' 'status -n' 'enable -j' 'enable now' --frob; do
	# shellcheck disable=SC2086 # arguments
	hooks 64 $args
	said "Try 'pve-gpu-hooks --help'"
done
hooks 0 --help
[ "$(wc -l <"$dir/out")" -le 24 ] || fail "help is longer than 24 lines"
hooks 0 --version
said '^pve-gpu-hooks (pve-gpu-utils) '

if [ "$(id -u)" -ne 0 ]; then
	rc=0
	pve-gpu-hooks enable >/dev/null 2>&1 || rc=$?
	[ "$rc" -eq 77 ] || fail "without root: exit code $rc, not 77"
fi
exit "$failed"
