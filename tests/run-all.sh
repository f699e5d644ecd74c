#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# run-all.sh - run every rung of the test ladder, or those that are named
#
# A line per test: ok, FAIL or skip with its reason. The last line is
# "N passed, N failed, N skipped" over all rungs; exit 0 when nothing failed.
# shellcheck disable=SC2016 # in single quotes: what an inner sh -c expands
set -u
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL DEBIAN_FRONTEND
unset PVE_GPU_ROOT MAKEFLAGS MFLAGS

usage() {
	cat <<'END'
Usage: run-all.sh [--long] [--keep] [RUNG...]
Install what the tests need (apt), run the rungs, count. Needs root, Debian 12 or 13.

  unit     libcheck programs: gcc, ASan + UBSan, clang; warnings are errors
  cli      the programs on text fixtures, plain and with ASan + UBSan, with --long in valgrind too
  static   shellcheck, checkbashisms, mandoc, cppcheck, clang-tidy, gcc -fanalyzer
  package  distcheck, both packages on Debian 12 and 13, lintian, install to purge
  roots    vfio-setup in Debian 12 and 13 roots with real GRUB, initramfs-tools and kmod;
           the same cases by mdevctl and by ours
  sim      the installed hook on a simulated Proxmox VE, with faults
  lab      in QEMU: Debian's kernels with emulated GPUs; a machine that loses its power
  fuzz     random input for all that reads files and arguments
  bench    speed and downtime, against the limits that were set
  gpu      on a real GPU

  --long   the full counts; of the packages the gates too that "package" has alone:
           tests in both builds, built twice, piuparts, autopkgtest
  --keep   keep builds and Debian roots beside the logs
END
}

top=$(cd "$(dirname "$0")/.." && pwd) || exit 71
all_rungs="unit cli static package roots sim lab fuzz bench gpu"
long=
keep=
rungs=
for arg; do
	case $arg in
	--long) long=1 ;;
	--keep) keep=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		case " $all_rungs " in
		*" $arg "*) rungs="$rungs $arg" ;;
		*)
			echo "run-all.sh: no rung '$arg'" >&2
			echo "Try 'run-all.sh --help'." >&2
			exit 64
			;;
		esac
		;;
	esac
done
[ -n "$rungs" ] || rungs=$all_rungs
gates=$long
[ "$rungs" != ' package' ] || gates=1

if command -v pveversion >/dev/null || mountpoint -q /etc/pve 2>/dev/null || [ -e /etc/pve/.version ]; then
	echo "run-all.sh: this is a Proxmox VE host; the tests stop and start guests: run them elsewhere" >&2
	exit 69
fi
[ "$(id -u)" -eq 0 ] || {
	echo "run-all.sh: must be root (it installs packages and makes mount namespaces)" >&2
	exit 77
}
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
case $release in
'debian 12')
	here=bookworm
	other=trixie
	;;
'debian 13')
	here=trixie
	other=bookworm
	;;
*)
	echo "run-all.sh: made for Debian 12 and 13; this is another system" >&2
	exit 69
	;;
esac

work=$(mktemp -d /tmp/pve-gpu-tests.XXXXXX) || exit 71
logs=$work/logs
results=$work/results
mkdir "$logs"
: >"$results"
jobs=$(nproc)
# Long runs of the bench and the fuzzers look at this.
PVE_GPU_TEST_LONG=$long
export PVE_GPU_TEST_LONG

cleanup() {
	[ -n "$keep" ] || find "$work" -mindepth 1 -maxdepth 1 ! -name logs -exec rm -rf --one-file-system {} +
}
trap cleanup EXIT
trap '[ -z "$beside" ] || kill "$beside" 2>/dev/null; exit 130' INT TERM HUP
beside=
running=
preparing=

# --- one result each ------------------------------------------------------

# count N ok|FAIL|skip TEXT: for a line that stands for N tests
count() {
	printf '%s %s\n' "$1" "$2" >>"$results"
	shift
	printf '%-4s %s\n' "$1" "$2"
}
passed() {
	count 1 ok "$1"
}
failed() { # TEXT LOG
	count 1 FAIL "$1"
	show_tail "$2"
}
skipped() {
	count 1 skip "$1"
}
show_tail() {
	[ ! -s "$1" ] || {
		{
			# What make and a compiler say first is what counts.
			grep -aE '(^|: )(fatal )?(error|warning): |undefined reference|^(FAIL|E: |W: )' "$1" | sort -u | head -n 12
			echo ...
			tail -n 16 "$1"
		} | grep -Ev '^  [A-Z]+ +[a-z]' | cut -c1-300 | sed 's/^/     | /'
		echo "     whole log: $1"
	}
}
log_name() {
	printf '%s/%s.log' "$logs" "$(printf %s "$1" | tr -c 'A-Za-z0-9_.\n-' _)"
}

# Run a command as one test: check LABEL SECONDS COMMAND...
# Exit 77 is a skip, and the last line that it printed says why. When it ends
# with "N passed, N failed, N skipped" or "N checks, N failed" those count instead.
check() {
	label=$1
	limit=$2
	shift 2
	log=$(log_name "$label")
	begin=$(date +%s)
	timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null &
	running=$!
	wait "$running"
	rc=$?
	spent=$(($(date +%s) - begin))
	totals=$(tail -n 1 "$log" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p
		s/^.*: \([0-9]*\) checks, \([0-9]*\) failed$/\1 \2/p' | awk 'NF == 2 { $1 -= $2; $3 = 0 } { print }')
	if [ "$rc" -eq 77 ] && [ "${totals#0 }" != "$totals" ]; then
		skipped "$label: $(grep -Ev '^[0-9]+ passed' "$log" | tail -n 1)"
	elif [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
		failed "$label: still running after $limit s" "$log"
	elif [ -n "$totals" ]; then
		count_totals "$totals"
	elif [ "$rc" -eq 77 ]; then
		skipped "$label: $(tail -n 1 "$log")"
	elif [ "$rc" -ne 0 ]; then
		failed "$label: exit code $rc" "$log"
	elif [ -z "$preparing" ]; then
		passed "$label ($spent s)"
	fi
	return "$rc"
}
is_asked() { # RUNG
	case " $rungs " in
	*" $1 "*) ;;
	*) return 1 ;;
	esac
}
# A step that is no test: it counts when it fails.
prepare() {
	preparing=1
	check "$@"
	set -- $?
	preparing=
	return "$1"
}
# Of the script whose label, exit code and log check() has just set.
count_totals() {
	# shellcheck disable=SC2086 # three numbers
	set -- $1
	[ "$1" -eq 0 ] || count "$1" ok "$label: $1 passed ($spent s)"
	[ "$3" -eq 0 ] || {
		count "$3" skip "$label: $3 skipped"
		grep -i skip "$log" | head -n 12 | sed 's/^/     | /'
	}
	if [ "$2" -ne 0 ]; then
		count "$2" FAIL "$label: $2 failed"
		grep -aE -A 3 '^ *([0-9.]+ )?(FAIL|not ok)' "$log" | head -n 40 | sed 's/^/     | /'
		show_tail "$log"
	elif [ "$rc" -ne 0 ] && [ "$rc" -ne 77 ]; then
		failed "$label: exit code $rc, though it counts no failure" "$log"
	fi
}

# side_by_side FUNCTION WORD WORD: the function with each word, at the same time
side_by_side() {
	pair=
	for word in "$2" "$3"; do
		(
			trap '[ -z "$running" ] || kill "$running" 2>/dev/null; exit 130' INT TERM HUP
			"$1" "$word"
		) &
		pair="$pair $!"
	done
	# shellcheck disable=SC2086 # two processes
	trap 'kill $pair 2>/dev/null; exit 130' INT TERM HUP
	# shellcheck disable=SC2086 # two processes
	wait $pair
}

# --- what is needed -------------------------------------------------------

need() {
	missing=
	for needed; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$needed" 2>/dev/null)" = installed ] ||
			missing="$missing $needed"
	done
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086 # a list of packages
	prepare "install$(printf %s "$missing" | cut -c1-60)" 1800 sh -c '
		apt="apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=8 -o DPkg::Lock::Timeout=600"
		[ -e '"$work"'/updated ] || $apt update && : >'"$work"'/updated
		exec $apt --no-install-recommends install "$@"' sh $missing
}
build_needs="build-essential debhelper autoconf automake pkgconf check kmod libinih-dev libjansson-dev
	libkmod-dev libpci-dev libsmartcols-dev procps"

package_needs="devscripts lintian blhc mmdebstrap xz-utils"
sim_needs="build-essential perl iproute2 hostname util-linux procps"
roots_needs="mmdebstrap e2fsprogs util-linux kmod"

# build_tree NAME CONFIGURE-ARGS...: a configured build directory $work/NAME
build_tree() {
	name=$1
	shift
	mkdir -p "$work/$name"
	check "build $name" 1800 sh -ec '
		cd "$1"
		shift
		"$@"
		make -s -j'"$jobs"'
		# Warnings of the check programs count too.
		make -s -j'"$jobs"' check TESTS=
		: >built' sh "$work/$name" "$work/source/configure" -q "$@"
}
# Did an earlier rung build it? Says what is missing when that failed.
is_built() {
	[ ! -e "$work/$1/built" ] || return 0
	count 1 FAIL "$rung: nothing to test, the build $1 failed"
	return 1
}
make_source() {
	[ ! -e "$work/source/configure" ] || return 0
	# shellcheck disable=SC2086 # a list of packages
	need $build_needs || return 1
	prepare "autoreconf" 900 sh -ec '"$1/tests/copy-tree.sh" "$2" && cd "$2" && autoreconf -fi' sh "$top" "$work/source"
}
build_plain() {
	[ ! -e "$work/plain" ] || {
		is_built plain
		return
	}
	make_source && build_tree plain CFLAGS='-O2 -g -Werror'
}
build_asan() {
	[ ! -e "$work/asan" ] || {
		is_built asan
		return
	}
	make_source && build_tree asan CFLAGS='-O1 -g -Werror -fsanitize=address,undefined -fno-sanitize-recover=all'
}

# tests_of FOLDER PATTERN: those of automake's TESTS
tests_of() {
	(cd "$1" && printf 'include Makefile\nprint-tests:\n\t@echo $(TESTS)\n' |
		make -s -f - print-tests | tr ' ' '\n' | grep "^$2" | tr '\n' ' ')
}
# make_check BUILD PATTERN: run them, count what they say.
make_check() {
	tests=$(tests_of "$work/$1" "$2")
	[ -n "$tests" ] || {
		skipped "$1: no $2* in this tree"
		return
	}
	each=900 limit=2700
	[ -z "$long" ] || each=3600 limit=14400
	(cd "$work/$1" && timeout -k 10 "$limit" make -k -j"$jobs" check TESTS="$tests" LOG_COMPILER=timeout \
		LOG_FLAGS="-k 5 $each") >"$logs/make-check-$1.log" 2>&1 </dev/null
	for t in $tests; do
		read_result "$1" "$t"
	done
}
read_result() {
	log=$work/$1/$2.log
	kept=$(log_name "$1 ${2#tests/}")
	[ ! -e "$log" ] || cp "$log" "$kept"
	result=$(sed -n 's/^:test-result: //p' "$work/$1/$2.trs" 2>/dev/null)
	text="$1 ${2#tests/}"
	# shellcheck disable=SC2046 # four numbers
	set -- $(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' \
		"$kept" 2>/dev/null | awk '{ n += $1; bad += $2 + $3 } END { if (NR) print n, bad }')
	case $result in
	PASS*)
		if [ $# -eq 2 ]; then
			count "$1" ok "$text ($1 cases)"
		else
			passed "$text"
		fi
		;;
	SKIP*) skipped "$text: $(grep -v '^SKIP tests/' "$kept" | tail -n 1)" ;;
	'') failed "$text: no result" "$logs/make-check-${text%% *}.log" ;;
	*)
		if [ $# -eq 2 ] && [ "$2" -gt 0 ]; then
			[ "$1" -eq "$2" ] || count $(($1 - $2)) ok "$text ($(($1 - $2)) of $1 cases)"
			count "$2" FAIL "$text ($2 of $1 cases)"
			show_tail "$kept"
		else
			failed "$text: $result" "$kept"
		fi
		;;
	esac
}

# --- the rungs --------------------------------------------------------------

rung_unit() {
	build_plain && make_check plain tests/check_
	build_asan && make_check asan tests/check_
	need clang && make_source && build_tree clang CC=clang CFLAGS='-O2 -g -Werror'
}

rung_cli() {
	need strace libfuse3-dev runc
	# In a whole run the build of the package for the other release has them as they are shipped.
	if [ -n "$long" ] || ! is_asked package; then
		build_plain && make_check plain tests/cli_
	fi
	build_asan && make_check asan tests/cli_
	[ -n "$long" ] || return 0
	need valgrind && build_plain && check "cli in valgrind" 9000 "$work/source/tests/valgrind.sh" "$work/plain"
}

# Every script of the tree, by its first line.
scripts() { # PATTERN-OF-SHELL
	(cd "$work/source" && find . -path ./build-aux -prune -o -path ./autom4te.cache -prune -o -type f ! -name configure \
		! -name 'configure~' -print | while read -r f; do
		if head -n 1 "$f" | tr -d '\0' | grep -Eq "^#! ?/(usr/)?bin/(env )?($1)( |\$)"; then
			printf '%s\n' "$f"
		fi
	done | sort)
}

rung_static() {
	need shellcheck devscripts mandoc cppcheck clang-tidy && make_source || return
	scripts 'sh|bash|dash' >"$work/scripts"
	scripts 'sh|dash' >"$work/sh-scripts"
	cd "$work/source" || return
	# What runs on a host has to be clean as it is; tests share functions and
	# variables with files that they read, which shellcheck does not see.
	grep -v '^./tests/' "$work/scripts" >"$work/shipped"
	grep '^./tests/' "$work/scripts" >"$work/tests"
	check "shellcheck: $(wc -l <"$work/shipped") scripts" 900 xargs -a "$work/shipped" shellcheck
	check "shellcheck: $(wc -l <"$work/tests") scripts of the tests" 900 \
		xargs -a "$work/tests" shellcheck -S warning -e SC1090,SC1091,SC2034,SC2154
	check "checkbashisms: $(wc -l <"$work/sh-scripts") scripts" 900 xargs -a "$work/sh-scripts" checkbashisms -f
	# A page that only leads to another one (.so) has nothing to lint.
	check "mandoc -Tlint: all pages" 900 sh -ec 'grep -L "^\.so " man/*.[1-8] | xargs mandoc -Tlint -Wwarning
		for page in $(sed -n "s/^\.so //p" man/*.[1-8]); do
			[ -e "man/${page#*/}" ]
		done'
	check "cppcheck" 900 cppcheck -q -j "$jobs" --std=c11 --enable=warning,portability,performance \
		--inline-suppr --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
		--error-exitcode=1 -Ilib -D_GNU_SOURCE lib utils
	# gcc 14 does not see that cleanup attributes close descriptors, nor that strsep() may clear one.
	check "gcc -fanalyzer" 1800 sh -ec 'mkdir ../analyzer && cd ../analyzer &&
		../source/configure -q \
			CFLAGS="-O1 -fanalyzer -Werror -Wno-analyzer-fd-leak -Wno-analyzer-deref-before-check" && make -s -k -j'"$jobs"
	check "clang-tidy" 900 sh -ec 'find lib utils -name "*.c" | xargs -P "$1" -n 8 sh -c '\''
		exec clang-tidy --quiet "$@" -- -std=gnu11 -D_GNU_SOURCE -Ilib -include ../analyzer/config.h \
			-DLIBEXECDIR=\"\" $(pkg-config --cflags smartcols libpci libkmod jansson inih)'\'' sh' sh "$jobs"
}

# Programs and data where the package puts them, for tests that want them so.
installed_tree() {
	[ ! -e "$work/installed" ] || return 0
	set -- "$work/package/$here"/pve-gpu-utils_*.deb
	if [ -e "$1" ]; then
		prepare "unpack the package" 600 dpkg-deb -x "$1" "$work/installed"
		return
	fi
	make_source || return 1
	mkdir -p "$work/paths"
	prepare "build and install" 1800 sh -ec '
		cd "$1/paths"
		../source/configure -q --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
			--libexecdir=/usr/libexec CFLAGS="-O2 -g"
		make -s -j"$2"
		make -s install DESTDIR="$1/installed.tmp"
		mv "$1/installed.tmp" "$1/installed"' sh "$work" "$jobs"
}

# each_script LIMIT NAME FILE...: scripts that are one test each, or that count themselves
each_script() {
	limit=$1
	rung=$2
	shift 2
	found=
	for script; do
		[ -f "$script" ] || continue
		found=1
		check "$rung $(basename "$script" .sh)" "$limit" "$script"
	done
	[ -n "$found" ] || skipped "$rung: none in this tree"
}

rung_sim() {
	# shellcheck disable=SC2086 # a list of packages
	need $sim_needs || return
	installed_tree || return
	PVE_SIM_DESTDIR=$work/installed
	PVE_SIM_BUILD=$work/sim-build
	export PVE_SIM_DESTDIR PVE_SIM_BUILD
	prepare "build of the simulated programs" 900 "$work/source/tests/pve-sim/sim" build "$PVE_SIM_BUILD" || return
	# With --long every step of the nights is one at which something is killed.
	limit=2700
	[ -z "$long" ] || limit=7200
	mkdir "$work/sim-taken"
	side_by_side sim_scripts 1 2
}
sim_scripts() {
	for script in "$work/source"/tests/sim_*.sh; do
		! mkdir "$work/sim-taken/$(basename "$script")" 2>/dev/null ||
			each_script "$limit" sim "$script"
	done
}

# What the small lab needs, and the programs that are to run in it.
lab_needs() {
	need qemu-system-x86 cpio kmod xz-utils build-essential || return
	command -v busybox >/dev/null || need busybox-static || return
	installed_tree || return
	LAB_TREE=$work/installed
	LAB_CACHE=$work/lab-cache
	LAB_MIRROR=$(apt-get indextargets --format '$(REPO_URI)' 'ORIGIN: Debian' 'LABEL: Debian' | head -n 1)
	export LAB_TREE LAB_CACHE LAB_MIRROR
}

roots() { # SUITE
	suite=$1
	set -- "$work/package/$suite"/pve-gpu-utils_*.deb
	if [ ! -e "$1" ]; then
		[ "$suite" = "$here" ] || {
			skipped "roots $suite: there is no package (run the rung package before)"
			return
		}
		installed_tree || return
		set -- "$work/installed"
	fi
	check "roots $suite" 3600 "$work/source/tests/roots/run.sh" "$suite" "$1"
}
rung_roots() {
	# shellcheck disable=SC2086 # a list of packages
	need $roots_needs || return
	# What the one falls back on is not to be made twice.
	[ -e "$work/package/$here" ] || installed_tree || return
	side_by_side roots "$here" "$other"
	build_plain || return
	check "mdevctl beside mdev-ls, mdev-mk, mdev-rm" 1800 env "PATH=$work/plain/utils:$PATH" \
		"$work/source/tests/roots/mdevctl.sh"
}

rung_lab() {
	[ -x "$top/tests/lab/run.sh" ] || {
		skipped "lab: none in this tree"
		return
	}
	need qemu-utils mmdebstrap e2fsprogs && lab_needs || return
	set -- "$work/package/trixie"/pve-gpu-utils_*.deb
	[ ! -e "$1" ] || {
		LAB_DEB=$1
		export LAB_DEB
	}
	limit=3600
	[ -z "$long" ] || limit=14400
	check lab $limit "$work/source/tests/lab/run.sh"
}

rung_fuzz() {
	need clang || return
	need "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" && make_source || return
	limit=2700
	[ -z "$long" ] || limit=9000
	each_script "$limit" fuzz "$work/source"/tests/fuzz/*.sh
}

rung_bench() {
	need strace procps || return
	build_plain || return
	PVE_GPU_BUILD=$work/plain
	PATH=$work/plain/utils:$PATH
	export PVE_GPU_BUILD PATH
	for bench in list downtime; do
		[ -x "$work/source/tests/bench/$bench" ] || {
			skipped "bench $bench: not in this tree"
			continue
		}
		check "bench $bench" 2700 "$work/source/tests/bench/$bench"
		sed 's/^/     | /' "$(log_name "bench $bench")"
	done
	lab_needs || return
	check "bench rescan" 2700 "$work/source/tests/bench/rescan"
	grep -E 'write|own work' "$(log_name "bench rescan")" | sed 's/^/     | /'
}

rung_gpu() {
	if [ -e /dev/nvidiactl ] || [ -e /dev/kfd ]; then
		build_plain || return
		PATH=$work/plain/utils:$PATH each_script 1800 gpu "$work/source"/tests/gpu/*.sh
		sed 's/^/     | /' "$(log_name "gpu cuda")"
	else
		skipped "gpu: this machine has no GPU"
	fi
}

build_here() {
	# Of this release the rungs unit and cli tell; a build with tests is the other one's.
	options=
	[ -n "$gates" ] || options=nocheck
	check "build on $here" 3600 env DEB_BUILD_OPTIONS=$options "$work/source/tests/package/build.sh" "$pkg/$here" || return
	: >"$work/built-here"
	check "lintian on $here" 900 "$work/source/tests/package/lint.sh" "$pkg/$here"
	check "hardening and links on $here" 900 "$work/source/tests/package/binaries.sh" "$pkg/$here"
	[ -z "$gates" ] ||
		check "built twice on $here" 1800 "$work/source/tests/package/reproducible.sh" "$pkg/$here"
}
build_other() {
	built=$pkg/root-$other/build
	prepare "root of $other" 1800 "$root" make "$other" "$pkg/root-$other" lintian devscripts blhc || return
	mkdir -p "$built" && cp -a "$pkg/$other" "$work/source/tests/package" "$built/"
	check "build on $other" 3600 "$root" run "$pkg/root-$other" "/build/package/build.sh" "/build/$other" && {
		check "lintian on $other" 900 "$root" run "$pkg/root-$other" /build/package/lint.sh "/build/$other"
		check "hardening and links on $other" 900 "$root" run "$pkg/root-$other" /build/package/binaries.sh "/build/$other"
		[ -z "$gates" ] ||
			check "built twice on $other" 1800 "$root" run "$pkg/root-$other" /build/package/reproducible.sh "/build/$other"
		find "$built/$other" -maxdepth 1 -type f -exec cp -a {} "$pkg/$other/" \;
	}
	rm -rf --one-file-system "$pkg/root-$other"
}
build_package() { # here|other
	"build_$1"
}

lifecycle() { # SUITE
	set -- "$1" "$pkg/$1"/*.deb
	[ -e "$2" ] || {
		skipped "install, remove and purge on $1: there is no package"
		return
	}
	prepare "second root of $1" 1800 "$root" make "$1" "$pkg/plain-$1" || return
	mkdir -p "$pkg/plain-$1/build"
	suite=$1
	shift
	cp -a "$@" "$work/source/tests" "$work/source/debian" "$pkg/plain-$suite/build/"
	check "install, remove and purge on $suite" 2700 "$root" run "$pkg/plain-$suite" /build/tests/package/lifecycle.sh /build
	rm -rf --one-file-system "$pkg/plain-$suite"
}

rung_package() {
	# The full counts are those of the other rungs.
	PVE_GPU_TEST_LONG=
	# shellcheck disable=SC2086 # a list of packages
	need $package_needs || return
	make_source || return
	pkg=$work/package
	root=$work/source/tests/package/root.sh
	mkdir "$pkg"
	prepare "make dist" 900 sh -ec 'cp -a "$1" "$2/dist" && cd "$2/dist" && ./configure -q && make -s dist &&
		mkdir "$2/$3" && mv pve-gpu-utils-*.tar.xz "$2/$3/"' sh "$work/source" "$pkg" "$here" || return
	# The whole of make check runs in three other places.
	set --
	[ -n "$long" ] || set -- TESTS="$(tests_of "$pkg/dist" tests/check_)"
	check "distcheck" 2700 make -s -j"$jobs" -C "$pkg/dist" "$@" distcheck
	(cd "$pkg/$here" && for f in pve-gpu-utils-*.tar.xz; do
		mv "$f" "$(printf %s "$f" | sed 's/^pve-gpu-utils-/pve-gpu-utils_/; s/\.tar/.orig.tar/')"
	done && cp -a "$work/source/debian" . && cp -a . "$pkg/$other")

	side_by_side build_package here other
	side_by_side lifecycle "$here" "$other"

	[ -n "$gates" ] || return 0
	need piuparts || return
	set -- "$pkg/trixie"/pve-gpu-utils_*.deb
	if [ -e "$1" ]; then
		check "the Ansible role on trixie" 2700 "$work/source/tests/package/ansible.sh" trixie "$1"
	else
		skipped "the Ansible role on trixie: there is no package"
	fi
	for suite in "$here" "$other"; do
		set -- "$pkg/$suite"/*.changes
		[ -e "$1" ] || {
			skipped "piuparts and autopkgtest on $suite: there is no package"
			continue
		}
		# piuparts of Debian 12 takes a lock file of Debian 13's debconf for a left-over.
		check "piuparts on $suite" 2700 sh -ec 'suite=$1 && shift && exec piuparts -d "$suite" -I "^/var/cache/debconf/tmp.ci" "$@"' \
			sh "$suite" "$pkg/$suite"/pve-gpu-utils_*.deb "$pkg/$suite"/cuda-ckpt_*.deb
		prepare "root of $suite for autopkgtest" 1800 "$root" make "$suite" "$pkg/test-$suite" \
			apt-utils autopkgtest dpkg-dev || continue
		mkdir "$pkg/test-$suite/build"
		find "$pkg/$suite" -maxdepth 1 -type f -exec cp -a {} "$pkg/test-$suite/build/" \;
		check "autopkgtest on $suite" 5400 "$root" run "$pkg/test-$suite" sh -c '
			exec autopkgtest -U /build/*.changes -- null'
		awk '/^autopkgtest \[/ { on = /@@@@.* summary/; next } on { print "     | " $0 }' \
			"$(log_name "autopkgtest on $suite")"
		rm -rf --one-file-system "$pkg/test-$suite"
	done
}

# --- all of them ------------------------------------------------------------

run_rung() {
	echo "== $rung"
	# What breaks a rung off must not break off the others.
	(
		trap '[ -z "$running" ] || kill "$running" 2>/dev/null; exit 130' INT TERM HUP
		"rung_$rung"
		: >"$work/ended-$rung"
	) || :
	[ -e "$work/ended-$rung" ] || count 1 FAIL "$rung: broke off"
	: >"$work/over-$rung"
}
# The simulation waits more than it works: it runs beside the rungs from "package" on, when
# they are asked for, as soon as there is a package; and two of its scripts at a time.
start_sim_beside() {
	case " $rungs " in
	*' sim '*) ;;
	*) return ;;
	esac
	# Not two at apt.
	# shellcheck disable=SC2086 # lists of packages
	need $package_needs $sim_needs $roots_needs || return
	(
		trap '[ -z "$running" ] || kill "$running" 2>/dev/null; exit 130' INT TERM HUP
		until [ -e "$work/built-here" ] || [ -e "$work/over-package" ]; do
			sleep 1
		done
		rung=sim
		run_rung
	) >"$work/sim.out" 2>&1 &
	beside=$!
}

echo "logs: $logs"
for rung in $rungs; do
	[ "$rung" != package ] || start_sim_beside
	if [ "$rung" = sim ] && [ -n "$beside" ]; then
		wait "$beside"
		cat "$work/sim.out"
		continue
	fi
	run_rung
done
awk '{ n[$2] += $1 }
	END { printf "%d passed, %d failed, %d skipped\n", n["ok"], n["FAIL"], n["skip"]; exit n["FAIL"] > 0 }' "$results"
