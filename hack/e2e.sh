#!/usr/bin/env bash
# Runs the end-to-end suite on a cluster that is made for it and taken down again:
#
#   hack/e2e.sh FOLDER
#
# FOLDER has the scripts of a cluster: `up` brings it up and says KUBECONFIG=... in its last
# line, `load-image TARBALL` brings an image in, `down` takes all down. The suite itself
# knows none of this: `make test-e2e` runs it on the cluster of KUBECONFIG. With
# E2E_KEEP=true the cluster stays up.
set -euo pipefail
cluster=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(git describe --tags --always --dirty)
export MANAGER_IMAGE=slipway-manager:$version
export DATAPLANE_IMAGE=slipway-dataplane:$version
export DATAPLANE_NEXT_IMAGE=slipway-dataplane:$version-next
export E2E_IMAGE=slipway-e2e:$version

timings=()

# step NAME CMD...: runs it, and notes how long it took.
step() {
	local name=$1 began=$SECONDS status=0
	shift
	"$@" || status=$?
	timings+=("$(printf '%-8s %4d s' "$name" $((SECONDS - began)))")
	return "$status"
}

finish() {
	local status=$?
	trap - EXIT
	if [ "${E2E_KEEP:-}" = true ]; then
		echo "e2e: the cluster stays up: export KUBECONFIG=${KUBECONFIG:-}"
	else
		step down "$cluster/down" || status=1
	fi
	printf 'e2e: %s\n' "${timings[@]}"
	exit "$status"
}

bring_up() {
	local said
	"$cluster/up" | tee bin/e2e/up.log
	said=$(sed -n 's/.*KUBECONFIG=//p' bin/e2e/up.log | tail -n 1)
	[ -r "$said" ] || {
		echo "e2e: $cluster/up named no KUBECONFIG" >&2
		return 1
	}
	export KUBECONFIG=$said
}

load_images() {
	local tarball
	for tarball in dist/images/*.tar dist/images/next/*.tar; do "$cluster/load-image" "$tarball"; done
}

# Assigned before it is exported, so that a failure ends the script.
assets=$(hack/controlplane.sh)
export KUBECTL=$assets/kubectl
mkdir -p bin/e2e

step images make images-e2e ENGINE=none
trap finish EXIT
step up bring_up
step load load_images
step suite make test-e2e
