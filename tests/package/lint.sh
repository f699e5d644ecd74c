#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lint.sh DIR - lintian over the build in DIR; every tag of error, warning or pedantic fails
set -eu

cd "$1"
suppress=
# Debian 12's lintian does not know the current Standards-Version yet.
case $(lintian --print-version) in
2.116*) suppress='--suppress-tags newer-standards-version' ;;
esac
rc=0
# shellcheck disable=SC2086 # none or two words
lintian --allow-root -EviIL +pedantic $suppress --fail-on error,warning,pedantic ./*.changes >lintian.log 2>&1 || rc=$?
cat lintian.log
echo "lintian $(lintian --print-version), all tags:"
grep '^[EWIPX]: ' lintian.log | sort -u || echo none
exit $rc
