#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mdevctl.sh - the programs beside mdevctl 1.4.0 of Debian 13, in a root of its own:
# the same trees give the same types and lists, the same commands the same definition
# files and writes. The programs are those in PATH.
#
# ROOTS_CACHE keeps the root as a tar file between runs.
# Last line: "N passed, N failed, N skipped". Exit 77: cannot run here.
set -eu
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

tests=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
skip() {
	printf 'mdevctl: skipped: %s\n0 passed, 0 failed, 1 skipped\n' "$1"
	exit 77
}
[ "$(id -u)" = 0 ] || skip "only root can make a Debian root"
command -v mmdebstrap >/dev/null || skip "mmdebstrap is missing (apt-get install mmdebstrap)"
[ "$(uname -m)" = x86_64 ] || skip "the Debian root is for x86-64, this is $(uname -m)"
for program in mdev-ls mdev-mk mdev-rm; do
	command -v $program >/dev/null || skip "$program is not in PATH"
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/pve-gpu-mdevctl.XXXXXX")
trap 'rm -rf --one-file-system "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

cache=${ROOTS_CACHE:-$tmp}
tar=$cache/mdevctl-trixie.tar
mkdir -p "$cache"
if [ ! -e "$tar" ]; then
	"$tests/package/root.sh" make trixie "$tar.part.tar" mdevctl </dev/null ||
		skip "mmdebstrap could not fetch Debian's trixie with mdevctl"
	mv "$tar.part.tar" "$tar"
fi
mkdir "$tmp/root"
tar -C "$tmp/root" --exclude='./dev/*' -xf "$tar"
version=$(chroot "$tmp/root" mdevctl --version | sed 's/^mdevctl //')
case $version in
1.[3-9]* | [2-9]*) ;;
*) skip "mdevctl $version knows no MDEVCTL_ENV_ROOT, which came with 1.3" ;;
esac

base=$tmp/root/base	# the tree of a case, then a copy for each of the two
theirs=$tmp/root/theirs
ours=$tmp/root/ours
pristine=$tmp/pristine
sh "$tests/mktree.sh" "$tests/fixtures/mdevctl.tree" "$pristine"
for type in 4 8; do
	printf 'low_gm_size: %dMB\nhigh_gm_size: %dMB\nfence: 4\nresolution: 1920x1200\nweight: 2\n' \
		$((512 / type)) $((2048 / type)) \
		>"$pristine/sys/class/mdev_bus/0000:00:02.0/mdev_supported_types/i915-GVTg_V5_$type/description"
done

igpu=0000:00:02.0
p40=0000:82:00.0
u1=11111111-2222-4333-8444-555555555551
u2=11111111-2222-4333-8444-555555555552
u3=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee
passed=0
failed=0

# ---- what a case is made of --------------------------------------------------

m() { chroot "$tmp/root" env MDEVCTL_ENV_ROOT="$at" mdevctl "$@"; }
# instance UUID PARENT TYPE: in the tree of the case
instance() {
	folder=$(cd "$base/sys/class/mdev_bus/$2" && pwd -P)/$1
	mkdir -p "$folder/nvidia"
	: >"$folder/remove"
	: >"$folder/nvidia/vgpu_params"
	ln -s "../mdev_supported_types/$3" "$folder/mdev_type"
	ln -s "../../..${folder#"$base/sys"}" "$base/sys/bus/mdev/devices/$1"
}
# definition UUID PARENT TEXT
definition() {
	mkdir -p "$base/etc/mdevctl.d/$2"
	printf '%s' "$3" >"$base/etc/mdevctl.d/$2/$1"
}
defined() { definition "$1" "$2" "{\"mdev_type\": \"$3\", \"start\": \"$4\", \"attrs\": []}"; }
type_of() { printf '%s/sys/class/mdev_bus/%s/mdev_supported_types/%s' "$base" "$1" "$2"; }

# begin TEXT: a fresh tree; what follows changes it until the first command
begin() {
	text=$1
	bad=
	rm -rf "$base" "$theirs" "$ours"
	cp -a "$pristine" "$base"
	: >"$tmp/log"
}
ready() {
	[ ! -e "$theirs" ] || return 0
	cp -a "$base" "$theirs"
	cp -a "$base" "$ours"
}
complain() {
	bad=1
	printf '  %s\n' "$*" >>"$tmp/log"
}
passes() {
	if [ -z "$bad" ]; then
		passed=$((passed + 1))
		printf 'ok   %s\n' "$text"
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n' "$text"
		cat "$tmp/log"
	fi
}

# run THEIRS -- OURS: both do it, or neither does
run() {
	ready
	their_words='' rc=0
	while [ "$1" != -- ]; do
		their_words="$their_words '$1'"
		shift
	done
	shift
	at=/theirs
	eval "m $their_words" >"$tmp/their.out" 2>"$tmp/their.err" </dev/null || rc=$?
	their_rc=$rc rc=0 did=0
	PVE_GPU_ROOT=$ours timeout 60 "$@" >"$tmp/our.out" 2>"$tmp/our.err" || rc=$?
	[ $their_rc = 0 ] || did=$((did + 1))
	[ $rc = 0 ] || did=$((did + 1))
	[ $did != 1 ] ||
		complain "mdevctl $their_words: $their_rc, $*: $rc: $(head -n 1 "$tmp/their.err"); $(cat "$tmp/our.err")"
}
# Both trees are the same now; folders without a file are not looked at.
same_tree() {
	find "$theirs/etc" "$ours/etc" -mindepth 1 -type d -empty -delete
	diff -r --no-dereference -x run -x pve-gpu-utils "$theirs" "$ours" >>"$tmp/log" 2>&1 ||
		complain "the trees differ"
	passes
}
acts() { # TEXT THEIRS -- OURS: a case of one command each
	run "$@"
	same_tree
}
lines() { # THEIRS OURS
	diff "$1" "$2" >>"$tmp/log" || complain "other lines"
	passes
}
their_types() {
	awk '
		function put() { if (t) print p "\t" t "\t" name "\t" left "\t" api "\t" about }
		/^[^ ]/ { put(); t = ""; p = $0 }
		/^  [^ ]/ { put(); t = $1; name = about = "-" }
		sub(/^    Available instances: /, "") { left = $0 }
		sub(/^    Device API: /, "") { api = $0 }
		sub(/^    Name: /, "") { name = $0 }
		sub(/^    Description: /, "") { about = $0 }
		END { put() }' | sort
}
same_types() { # [-p PARENT]
	ready
	at=/theirs
	m types "$@" 2>/dev/null </dev/null | their_types >"$tmp/their"
	PVE_GPU_ROOT=$ours mdev-ls -q -t -o parent,type,name,available,api,description "$@" 2>/dev/null |
		sort >"$tmp/our" || :
	lines "$tmp/their" "$tmp/our"
}
# same_list defined|active [-p PARENT | -u UUID]
same_list() {
	ready
	at=/theirs
	kind=$1 flag='' uuid=''
	shift
	[ "$kind" = active ] || flag=-d
	# shellcheck disable=SC2086 # none or one word
	m list $flag "$@" 2>/dev/null </dev/null | sed -n 's/ *([a-z]*)$//; /./p' | sort >"$tmp/their"
	if [ "${1-}" = -u ]; then
		uuid=$2
		shift 2
	fi
	# shellcheck disable=SC2086 # none or one word
	PVE_GPU_ROOT=$ours mdev-ls -q -o id,parent,type,start,state "$@" $uuid 2>/dev/null |
		awk -F '\t' -v kind="$kind" '
			kind == "active" ? $5 == "active" : $4 != "-" {
				print $1, $2, $3, $4 == "-" ? "manual" : $4
			}' | sort >"$tmp/our" || :
	lines "$tmp/their" "$tmp/our"
}

# ---- types -------------------------------------------------------------------

begin 'types of all parents'
same_types
for parent in $igpu $p40 0.0.26ab matrix mtty; do
	begin "types of $parent"
	same_types -p "$parent"
done
begin 'types: no such parent'
same_types -p 0000:99:00.0
begin 'types: nothing on the host'
rm -r "$base/sys/class/mdev_bus"
same_types
begin 'types: a parent that offers none'
rm -r "$(type_of 0.0.26ab '')"*
same_types
begin 'types without a name'
rm "$(type_of $p40 nvidia-46)/name"
same_types
begin 'types without a description'
rm "$(type_of $p40 nvidia-46)/description"
same_types
begin 'types: none left anywhere'
for file in "$base"/sys/devices/*/*/mdev_supported_types/*/available_instances; do
	echo 0 >"$file"
done
same_types

# ---- lists -------------------------------------------------------------------

begin 'list: what is there'
instance $u1 $p40 nvidia-50
instance $u2 mtty mtty-1
instance $u3 0.0.26ab vfio_ccw-io
same_list active
begin 'list: what is there, at one parent'
instance $u1 $p40 nvidia-50
instance $u2 mtty mtty-1
same_list active -p $p40
begin 'list: one that is there'
instance $u1 $p40 nvidia-50
instance $u2 $p40 nvidia-50
same_list active -u $u2
begin 'list: nothing is there'
same_list active
begin 'list: what is defined'
defined $u1 $p40 nvidia-50 auto
defined $u2 $p40 nvidia-46 manual
defined $u3 matrix vfio_ap-passthrough manual
same_list defined
begin 'list: what is defined, at one parent'
defined $u1 $p40 nvidia-50 auto
defined $u3 matrix vfio_ap-passthrough manual
same_list defined -p matrix
begin 'list: one that is defined'
defined $u1 $p40 nvidia-50 auto
defined $u2 $p40 nvidia-50 auto
same_list defined -u $u1
begin 'list: there and defined: its start'
instance $u1 $p40 nvidia-50
defined $u1 $p40 nvidia-50 auto
instance $u2 $p40 nvidia-50
defined $u2 $p40 nvidia-50 manual
same_list active
begin 'list: there and defined, as definitions'
instance $u1 $p40 nvidia-50
defined $u1 $p40 nvidia-50 auto
same_list defined
begin 'list: defined at a parent that is gone'
defined $u1 0000:99:00.0 nvidia-50 auto
same_list defined
begin 'definitions: no attrs'
definition $u1 $p40 '{"mdev_type":"nvidia-50","start":"auto"}'
same_list defined
begin 'definitions: keys in another order, on one line'
definition $u1 $p40 '{"attrs":[{"a":"1"},{"a":"2"}],"start":"manual","mdev_type":"nvidia-46"}'
same_list defined
begin 'definitions: keys that nobody knows'
definition $u1 $p40 '{"mdev_type":"nvidia-46","start":"manual","colour":"red","attrs":[]}'
same_list defined
# mdevctl stops at what is none and lists nothing, here there is nothing else to list.
for broken in '' 'mdev_type=nvidia-50' '{"mdev_type":"nvidia-50"' '["nvidia-50"]' \
	'{"start":"auto","attrs":[]}' '{"mdev_type":"nvidia-50","attrs":[]}'; do
	begin "definitions: this is none: $broken"
	definition $u1 $p40 "$broken"
	same_list defined
	begin "start: a definition that is none: $broken"
	definition $u1 $p40 "$broken"
	acts start -u $u1 -- mdev-mk -q -u $u1
done
begin 'definitions: a folder of scripts is no parent'
defined $u1 $p40 nvidia-50 auto
mkdir -p "$base/etc/mdevctl.d/scripts.d/callouts"
same_list defined

# ---- define, start, stop, undefine ---------------------------------------------

begin 'start: by parent and type'
acts start -u $u1 -p $p40 -t nvidia-50 -- mdev-mk -q -u $u1 -p $p40 -t nvidia-50
begin 'start: at mtty'
acts start -u $u1 -p mtty -t mtty-2 -- mdev-mk -q -u $u1 -p mtty -t mtty-2
begin 'start: at a subchannel'
acts start -u $u1 -p 0.0.26ab -t vfio_ccw-io -- mdev-mk -q -u $u1 -p 0.0.26ab -t vfio_ccw-io
begin 'start: a UUID in capitals'
acts start -u "$(echo $u3 | tr a-f A-F)" -p mtty -t mtty-1 -- \
	mdev-mk -q -u "$(echo $u3 | tr a-f A-F)" -p mtty -t mtty-1
begin 'start: no such type'
acts start -u $u1 -p $p40 -t nvidia-99 -- mdev-mk -q -u $u1 -p $p40 -t nvidia-99
begin 'start: no such parent'
acts start -u $u1 -p 0000:99:00.0 -t nvidia-50 -- mdev-mk -q -u $u1 -p 0000:99:00.0 -t nvidia-50
begin 'start: none left'
acts start -u $u1 -p $p40 -t nvidia-286 -- mdev-mk -q -u $u1 -p $p40 -t nvidia-286
begin 'start: not a UUID'
acts start -u ${u1%1} -p $p40 -t nvidia-50 -- mdev-mk -q -u ${u1%1} -p $p40 -t nvidia-50
begin 'start: there under another type'
instance $u1 $p40 nvidia-46
acts start -u $u1 -p $p40 -t nvidia-50 -- mdev-mk -q -u $u1 -p $p40 -t nvidia-50
begin 'start: there at another parent'
instance $u1 mtty mtty-1
acts start -u $u1 -p $p40 -t nvidia-50 -- mdev-mk -q -u $u1 -p $p40 -t nvidia-50
begin 'start: by its definition'
defined $u1 $p40 nvidia-50 manual
acts start -u $u1 -- mdev-mk -q -u $u1
begin 'start: by its definition, whose parent is gone'
defined $u1 0000:99:00.0 nvidia-50 manual
acts start -u $u1 -- mdev-mk -q -u $u1
begin 'start: neither there nor defined'
acts start -u $u1 -- mdev-mk -q -u $u1
begin 'start: defined at two parents'
defined $u1 $p40 nvidia-50 manual
defined $u1 mtty mtty-1 manual
acts start -u $u1 -- mdev-mk -q -u $u1
begin 'start: defined at two parents, one is named'
defined $u1 $p40 nvidia-50 manual
defined $u1 mtty mtty-1 manual
acts start -u $u1 -p mtty -- mdev-mk -q -u $u1 -p mtty

begin 'define: manual'
run define -u $u1 -p $p40 -t nvidia-50 -- mdev-mk -q --define -u $u1 -p $p40 -t nvidia-50
acts start -u $u1 -- mdev-ls -q $u1
begin 'define: auto'
run define -a -u $u1 -p $p40 -t nvidia-50 -- mdev-mk -q --auto -u $u1 -p $p40 -t nvidia-50
acts start -u $u1 -- mdev-ls -q $u1
begin 'define: what is there'
instance $u1 mtty mtty-2
acts define -u $u1 -- mdev-mk -q --define -u $u1
begin 'define: what is there, auto'
instance $u1 mtty mtty-2
acts define -a -u $u1 -- mdev-mk -q --auto -u $u1
begin 'define: two at one parent'
instance $u1 mtty mtty-1
instance $u2 mtty mtty-2
run define -u $u1 -- mdev-mk -q --define -u $u1
acts define -a -u $u2 -- mdev-mk -q --auto -u $u2
begin 'define: no type'
acts define -u $u1 -p $p40 -- mdev-mk -q --define -u $u1 -p $p40
begin 'define: not a UUID'
acts define -u ${u1%1} -p $p40 -t nvidia-50 -- mdev-mk -q --define -u ${u1%1} -p $p40 -t nvidia-50
begin 'define: no such parent'
acts define -u $u1 -p 0000:99:00.0 -- mdev-mk -q --define -u $u1 -p 0000:99:00.0
for value in frame_rate_limiter=0 'a "b" c' 'back\slash' 'a/b,c' '{}[]:'; do
	begin "define: an attribute: $value"
	instance $u1 $p40 nvidia-50
	run define -u $u1 -- mdev-mk -q --define -u $u1 "--attr=nvidia/vgpu_params=$value"
	acts modify -u $u1 --addattr nvidia/vgpu_params --value "$value" -- true
done
begin 'define: attributes in order, one of them twice'
instance $u1 matrix vfio_ap-passthrough
run define -u $u1 -- mdev-mk -q --define -u $u1 --attr assign_adapter=5 --attr assign_domain=4 \
	--attr assign_adapter=6
run modify -u $u1 --addattr assign_adapter --value 5 -- true
run modify -u $u1 --addattr assign_domain --value 4 -- true
acts modify -u $u1 --addattr assign_adapter --value 6 -- true
begin 'define: manual becomes auto'
instance $u1 $p40 nvidia-50
defined $u1 $p40 nvidia-50 manual
acts modify -u $u1 -a -- mdev-mk -q --auto -u $u1
begin 'define: auto becomes manual, attributes stay'
instance $u1 $p40 nvidia-50
definition $u1 $p40 '{"mdev_type":"nvidia-50","start":"auto","attrs":[{"b":"2"},{"a":"1"}]}'
acts modify -u $u1 -m -- mdev-mk -q --define -u $u1

begin 'stop'
instance $u1 $p40 nvidia-50
instance $u2 $p40 nvidia-50
acts stop -u $u1 -- mdev-rm -q $u1
begin 'stop: the definition stays'
instance $u1 $p40 nvidia-50
defined $u1 $p40 nvidia-50 auto
acts stop -u $u1 -- mdev-rm -q $u1
begin 'stop: not there'
acts stop -u $u1 -- mdev-rm -q $u1
begin 'undefine'
defined $u1 $p40 nvidia-50 auto
defined $u2 $p40 nvidia-50 auto
acts undefine -u $u1 -- mdev-rm -q --undefine $u1
begin 'undefine: at one of two parents'
defined $u1 $p40 nvidia-50 auto
defined $u1 mtty mtty-1 manual
acts undefine -u $u1 -p mtty -- mdev-rm -q --undefine -p mtty $u1
begin 'undefine: at all parents'
defined $u1 $p40 nvidia-50 auto
defined $u1 mtty mtty-1 manual
acts undefine -u $u1 -- mdev-rm -q --undefine $u1
begin 'undefine: not defined'
acts undefine -u $u1 -- mdev-rm -q --undefine $u1

begin 'at boot: what is auto at one parent'
defined $u1 $p40 nvidia-50 auto
defined $u2 $p40 nvidia-46 manual
defined $u3 mtty mtty-1 auto
acts start-parent-mdevs $p40 -- mdev-mk -q --start-auto $p40
begin 'at boot: what is there already'
instance $u1 $p40 nvidia-50
defined $u1 $p40 nvidia-50 auto
defined $u2 $p40 nvidia-46 auto
acts start-parent-mdevs $p40 -- mdev-mk -q --start-auto $p40
begin 'at boot: nothing is auto'
defined $u1 $p40 nvidia-50 manual
acts start-parent-mdevs $p40 -- mdev-mk -q --start-auto $p40

# ---- each reads what the other wrote -------------------------------------------

begin 'what we define, mdevctl lists'
instance $u1 $p40 nvidia-50
instance $u2 matrix vfio_ap-passthrough
ready
PVE_GPU_ROOT=$ours mdev-mk -q --auto -u $u1 --attr 'nvidia/vgpu_params=a "b" \c' >"$tmp/our" 2>&1 ||
	complain "mdev-mk: $(cat "$tmp/our")"
PVE_GPU_ROOT=$ours mdev-mk -q --define -u $u2 >"$tmp/our" 2>&1 || complain "mdev-mk: $(cat "$tmp/our")"
at=/ours
m list -d -v </dev/null | sed -n '/./p' >"$tmp/their"
cat >"$tmp/our" <<END
$u1 $p40 nvidia-50 auto (active)
  Attrs:
    @{0}: {"nvidia/vgpu_params":"a "b" \\c"}
$u2 matrix vfio_ap-passthrough manual (active)
END
lines "$tmp/their" "$tmp/our"
begin 'what mdevctl defines, we make'
ready
at=/ours
m define -u $u1 -p mtty -t mtty-2 </dev/null
PVE_GPU_ROOT=$ours mdev-mk -q -o id,type,parent,start -u $u1 >"$tmp/our" || complain "mdev-mk"
echo "$u1	mtty-2	mtty	manual" >"$tmp/their"
[ "$(cat "$ours/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create")" = $u1 ] || complain "not made"
lines "$tmp/their" "$tmp/our"

# ---- speed -------------------------------------------------------------------

begin 'types of 16 parents, 30 each: no slower'
rm -r "$base/sys/class/mdev_bus"/* "$base/sys/devices"/*
p=0
while [ $p -lt 16 ]; do
	name=$(printf '0000:%02x:00.0' $((16 + p)))
	mkdir -p "$base/sys/devices/pci0000:00/$name"
	ln -s "../../devices/pci0000:00/$name" "$base/sys/class/mdev_bus/$name"
	t=0
	while [ $t -lt 30 ]; do
		mkdir -p "$(type_of "$name" nvidia-$((100 + t)))"
		cd "$(type_of "$name" nvidia-$((100 + t)))"
		echo "GRID P40-${t}Q" >name
		echo $t >available_instances
		echo vfio-pci >device_api
		echo "num_heads=4, frl_config=60, framebuffer=${t}024M, max_instance=4" >description
		t=$((t + 1))
	done
	p=$((p + 1))
done
cd /
# Both by chroot, both with a tree as many folders deep, since that is most of the time.
# Turn about, in processor time: what else this machine does counts less there.
mkdir -p "$tmp/root$tmp/root"
cp -a "$base" "$tmp/root$tmp/root/theirs"
cp -a "$base" "$ours"
# ten FILE COMMAND...: its output to FILE, ms of processor time to stdout
ten() {
	sh -c 'out=$1 i=0
		shift
		while [ $i -lt 10 ]; do
			"$@" >"$out"
			i=$((i + 1))
		done
		times' sh "$@" | awk 'NR == 2 {
			n = split($0, part, /[ms ]+/)
			for (i = 1; i + 1 <= n; i += 2) ms += 60000 * part[i] + 1000 * part[i + 1]
			print ms }'
}
their_ms=0 our_ms=0 round=0
while [ $round -lt 5 ]; do
	round=$((round + 1))
	their_ms=$((their_ms + $(ten "$tmp/their" chroot "$tmp/root" env "MDEVCTL_ENV_ROOT=$theirs" mdevctl types)))
	our_ms=$((our_ms + $(ten "$tmp/our" chroot / env "PVE_GPU_ROOT=$ours" "$(command -v mdev-ls)" -t)))
done
printf '     50 runs: mdevctl types %s ms, mdev-ls --types %s ms\n' $their_ms $our_ms
[ "$(grep -c 'Available instances' "$tmp/their")" = 480 ] || complain "mdevctl has other types"
[ "$(wc -l <"$tmp/our")" = 480 ] || complain "$(wc -l <"$tmp/our") types"
[ $their_ms -gt 0 ] || complain "no time was measured"
[ $our_ms -le $their_ms ] || complain "slower"
passes

printf '%d passed, %d failed, 0 skipped\n' $passed $failed
[ $failed = 0 ]
