#!/usr/bin/env bash
# Runs `go test` on the given packages against a real control plane, with the
# race detector where a C compiler is found, which it needs. Flags before the
# packages reach go test: hack/test.sh -run Demo ./test/...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# has_compiler: whether the C compiler that Go would use is there.
has_compiler() {
	local compiler
	read -r compiler _ <<<"$(go env CC)"
	command -v "$compiler" >/dev/null
}

# Assigned before it is exported, so that a failure ends the script.
KUBEBUILDER_ASSETS=$(hack/controlplane.sh)
export KUBEBUILDER_ASSETS
echo "test: control plane in $KUBEBUILDER_ASSETS"
# Compiled before the tests, whose time is theirs; they ask for it themselves.
hack/controlplane.sh controllers >/dev/null

# Nothing from the cache: what these tests run is more than Go code.
flags=(-count=1 -timeout 20m)
if has_compiler; then
	export CGO_ENABLED=1
	flags+=(-race)
	echo "test: with the race detector"
else
	export CGO_ENABLED=0
	echo "test: without the race detector, since no C compiler is here"
fi

# What can't run here is said aloud: go test shows nothing of what it skips.
for needed in /dev/fuse /dev/loop-control; do
	if [ ! -r "$needed" ] || [ ! -w "$needed" ]; then
		echo "test: NOT TESTED here is the loss of power, file faults or a full ext4: no access to $needed" >&2
	fi
done
if [ "$(id -u)" -ne 0 ]; then
	echo "test: NOT TESTED here is what has to mount a filesystem: not root" >&2
elif ! command -v mkfs.ext4 >/dev/null; then
	echo "test: NOT TESTED here is a full ext4: no mkfs.ext4" >&2
fi
if ! hack/previous.sh >/dev/null; then
	echo "test: NOT TESTED here is the upgrade from the version before: its commit is not known" >&2
fi

set -x
go test "${flags[@]}" "$@"
