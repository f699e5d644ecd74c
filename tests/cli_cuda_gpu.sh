#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The test for real GPUs (gpu/cuda.sh) on a libcuda without one: that it works where
# nobody has a GPU, and that it sees memory that comes back wrong.
set -eu
# shellcheck source-path=SCRIPTDIR source=expect.sh
. "${TEST_SRC:-$(dirname "$0")}/expect.sh"
fail() {
	echo "FAIL: $*" >&2
	cat "$dir/out" >&2
	failed=1
}
rc=0
sh "$src/fakecuda/build.sh" "$dir/lib" || rc=$?
[ $rc -eq 0 ] || exit $rc
CUDA_TEST_LIB=$dir/lib
CUDA_TEST_SIZES=2
CUDA_TEST_ROUNDS=1
FAKE_CUDA_DIR=$dir/k
export CUDA_TEST_LIB CUDA_TEST_SIZES CUDA_TEST_ROUNDS FAKE_CUDA_DIR
mkdir "$dir/k"
run() {
	rc=0
	timeout 200 sh "$src/gpu/cuda.sh" >"$dir/out" 2>&1 || rc=$?
}

run
if [ $rc -eq 77 ]; then
	cat "$dir/out"
	exit 77
fi
[ $rc -eq 0 ] || fail "exit code $rc"
for n in 1 2 4; do
	grep -Eq "^ +$n +0\.00( +[0-9.]+){5} +-$" "$dir/out" || fail "no figures for $n"
done
# A copy that brings back another byte.
echo 1 >"$dir/k/spoil"
run
[ $rc -eq 1 ] || fail "memory that comes back wrong: exit code $rc"
grep -q 'FAIL: .* MiB: memory of [0-9]*: BAD' "$dir/out" || fail 'memory that comes back wrong is not seen'
exit $failed
