#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fake-runc.sh - stands for runc, with one container: its state is in files below $FAKE,
# its folder is $BUNDLE; a checkpoint makes $IMAGE/dump where there is $FAKE/dumps
printf '%s' "${0##*/}" >>"$FAKE/log"
for arg; do printf ' %s' "$arg"; done >>"$FAKE/log"
echo >>"$FAKE/log"
verb=
while [ $# -gt 0 ]; do
	case $1 in
	--root | --log | --log-format) shift ;;
	-*) ;;
	*) verb=$1; shift; break ;;
	esac
	shift
done
status=$(cat "$FAKE/status")
[ ! -e "$FAKE/fail-$verb" ] || { echo "fake $verb does not work" >&2; exit "$(cat "$FAKE/fail-$verb")"; }
case $verb in
state)
	[ ! -e "$FAKE/mute" ] || ! grep -q ' checkpoint ' "$FAKE/log" || exit 0
	[ "$status" != none ] || { echo 'container does not exist' >&2; exit 1; }
	printf '{\n "id": "c1",\n "pid": 4711,\n "status": "%s",\n "bundle": "%s"\n}' "$status" "$BUNDLE"
	;;
ps) cat "$FAKE/pids" ;;
pause) [ "$status" = running ] || exit 1; echo paused >"$FAKE/status" ;;
resume) [ "$status" = paused ] || exit 1; echo running >"$FAKE/status" ;;
checkpoint)
	: >"$FAKE/criu.conf"
	[ -z "${CRIU_CONFIG_FILE-}" ] || cat "$CRIU_CONFIG_FILE" >"$FAKE/criu.conf"
	cp -r "$IMAGE" "$FAKE/image-seen" 2>/dev/null || :
	[ ! -e "$FAKE/dumps" ] || echo dumped >"$IMAGE/dump" || exit 1
	: >"$FAKE/in-$verb"
	while [ -e "$FAKE/slow" ]; do sleep 0.05; done
	case " $* " in
	*' --leave-running '*) ;;
	*) echo none >"$FAKE/status" ;;
	esac
	;;
restore)
	[ -z "${CRIU_CONFIG_FILE-}" ] || cat "$CRIU_CONFIG_FILE" >"$FAKE/criu.conf"
	stdio=$(readlink "/proc/$$/fd/0" "/proc/$$/fd/1" "/proc/$$/fd/2")
	echo "$stdio" >"$FAKE/stdio"
	trap 'echo TERM >"$FAKE/got"; exit 143' TERM
	echo running >"$FAKE/status"
	case " $* " in
	*' --detach '* | *' -d '*) ;;
	*)	while [ ! -e "$FAKE/stop" ] && [ "$(cat "$FAKE/status")" = running ]; do sleep 0.05; done
		exit 7 ;;
	esac
	;;
kill | delete) echo none >"$FAKE/status" ;;
*) echo "real: $*"; exit 42 ;;
esac
