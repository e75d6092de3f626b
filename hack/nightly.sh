#!/usr/bin/env bash
# Runs each crash program and the model of admission for NIGHTLY_MINUTES, one
# after the other, and prints what each of them counted. A violation ends its program with the seed and the
# history of the session; SLIPWAY_SEED=... makes the same choices again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export NIGHTLY_MINUTES=${NIGHTLY_MINUTES:-30}
KUBEBUILDER_ASSETS=$(hack/controlplane.sh)
export KUBEBUILDER_ASSETS

log=$(mktemp)
trap 'rm -f "$log"' EXIT
counts=()
for package in $(go list ./test/crash/... | grep -v -e "/rig$" -e "/powerfs$"); do
	name=${package##*/}
	echo "nightly: $name, $NIGHTLY_MINUTES minutes"
	# Twice the time and some more: a program may have several tests, and ends what it began.
	if ! go test -count=1 -v -timeout "$((NIGHTLY_MINUTES * 3 + 15))m" "$package" >"$log" 2>&1; then
		cat "$log"
		echo "nightly: $name failed" >&2
		exit 1
	fi
	while read -r line; do
		counts+=("$name: $line")
	done < <(grep -o '[0-9a-z]*: .* acknowledged chunks.*' "$log")
done
echo "nightly: admission, $NIGHTLY_MINUTES minutes"
if ! go test -count=1 -v -timeout "$((NIGHTLY_MINUTES * 3 + 15))m" -run '^TestModel$' ./controllers/uploadsession >"$log" 2>&1; then
	cat "$log"
	echo "nightly: admission failed" >&2
	exit 1
fi
counts+=("admission: $(grep -o 'model: .* steps' "$log")")
printf '%s\n' "${counts[@]}"
