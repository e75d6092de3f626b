#!/usr/bin/env bash
# Runs the story with the dataplane of the version before and today's operator,
# the other way round, and with a dataplane that is upgraded in the middle of its
# upload, on the same volume. hack/previous.sh says what the version before is. The
# CRDs and roles are today's, as they are upgraded first (docs/upgrade.md), and the dataplane's identity of that version
# is there still.
#
# The last line is for scripts. In a clone without history this says that
# nothing was tested, and succeeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! previous=$(hack/previous.sh); then
	echo "skew: NOT TESTED: the version before is not known here, see above" >&2
	exit
fi
KUBEBUILDER_ASSETS=$(hack/controlplane.sh)
export KUBEBUILDER_ASSETS CGO_ENABLED=0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# build SOURCE BIN: the programs of a tree.
build() {
	mkdir -p "$2"
	go -C "$1" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$2/" ./cmd/manager ./cmd/dataplane
}

# The dataplanes of either version are told which tokens to take, as their defaults may differ (docs/upgrade.md).
audience=uploads.slipway.dev/default/models/skew

combinations=0

# story OPERATOR DATAPLANE SUCCESSOR: each today or previous. The successor takes
# over from the dataplane half way.
story() {
	local bin=$scratch/$1-$2-$3 words="operator $1, dataplane $2, then $3" began=$SECONDS
	mkdir "$bin"
	ln -s "$scratch/$1/manager" "$scratch/$2/dataplane" "$bin/"
	"$scratch/demo" -bin "$bin" -successor "$scratch/$3/dataplane" -audience "$audience" \
		-earlier "$scratch/source" -file "$scratch/today/dataplane" >"$bin.log" 2>&1 || {
		cat "$bin.log"
		echo "skew: don't work together: $words; previous is $previous" >&2
		exit 1
	}
	echo "skew: work together: $words ($((SECONDS - began)) s)"
	combinations=$((combinations + 1))
}

echo "skew: previous is $(git log -1 --format='%h %cs %s' "$previous")"
mkdir "$scratch/source"
git archive "$previous" | tar -x -C "$scratch/source"
build "$scratch/source" "$scratch/previous"
build . "$scratch/today"
go build -buildvcs=false -o "$scratch/demo" ./test/demo

story today previous previous
story previous today today
story today previous today
echo "skew: previous=$previous combinations=$combinations failures=0"
