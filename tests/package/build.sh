#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh DIR - build the packages from the *.orig.tar.xz and debian/ in DIR, both beside their results
#
# DEB_BUILD_OPTIONS counts (nocheck). The compiler's and debhelper's words go to DIR/build.log, for blhc.
set -eu

cd "$1"
orig=$(ls ./*.orig.tar.xz)
tar -xf "$orig"
tree=$(basename "$orig" .orig.tar.xz | tr _ -)
cp -a debian "$tree/"
apt="apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=8 -o DPkg::Lock::Timeout=600"
$apt update
$apt --no-install-recommends install build-essential
$apt --no-install-recommends build-dep "./$tree"
cd "$tree"
rc=0
DEB_BUILD_OPTIONS="parallel=$(nproc) ${DEB_BUILD_OPTIONS-}" dpkg-buildpackage -us -uc >../build.log 2>&1 || rc=$?
cat ../build.log
exit "$rc"
