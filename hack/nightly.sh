#!/usr/bin/env bash
# Runs the crash programs, the model of admission and the fuzz targets, for
# NIGHTLY_MINUTES each (all fuzz targets together: see hack/fuzz.sh), one after
# the other, and prints a line of what each of them counted. Without arguments it
# runs all of them; with names, these:
#
#   NIGHTLY_MINUTES=5 hack/nightly.sh kill powercut
#
# Two runs may go on side by side: each program has its own control plane,
# ports and mounts. A violation ends its program with the seed and the history
# of the session; SLIPWAY_SEED=... makes the same choices again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

programs=()
for doc in test/crash/*/doc.go; do
	name=$(basename "$(dirname "$doc")")
	case $name in
	rig | powerfs | shelter) ;; # what the programs are made of
	*) programs+=("$name") ;;
	esac
done
programs+=(admission fuzz)

selected=("$@")
[ $# -gt 0 ] || selected=("${programs[@]}")
for name in "${selected[@]}"; do
	if [[ " ${programs[*]} " != *" $name "* ]]; then
		echo "nightly: no program is called $name; there are ${programs[*]}" >&2
		exit 2
	fi
done

export NIGHTLY_MINUTES=${NIGHTLY_MINUTES:-30}
KUBEBUILDER_ASSETS=$(hack/controlplane.sh)
export KUBEBUILDER_ASSETS

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A program may have several tests of that length, and ends what it began.
limit=$(awk -v minutes="$NIGHTLY_MINUTES" 'BEGIN { printf "%dm", minutes * 4 + 30 }')
counts=() failed=()
for name in "${selected[@]}"; do
	echo "nightly: $name, $NIGHTLY_MINUTES minutes a test"
	began=$SECONDS
	program=(go test -count=1 -v -timeout "$limit" "./test/crash/$name")
	case $name in
	admission) program=(go test -count=1 -v -timeout "$limit" -run '^TestModel$' ./controllers/uploadsession) ;;
	fuzz) program=(hack/fuzz.sh) ;;
	esac
	if "${program[@]}" 2>&1 |
		tee "$log" | grep --line-buffered -e '^so far: ' -e '^--- ' -e '^ *--- SKIP' -e '^fuzz: '; then
		echo "nightly: $name passed after $((SECONDS - began)) s"
	else
		cat "$log"
		echo "nightly: $name failed after $((SECONDS - began)) s" >&2
		failed+=("$name")
	fi
	# A skipped program proves nothing; its reason is in the line after.
	grep -A1 -e '--- SKIP' "$log" >&2 || true
	counts+=("$(grep -o -e '^crash: .*' -e 'model: [0-9]* steps' -e '^fuzz: targets=.*' "$log" || echo "crash: program=$name died")")
done
printf '%s\n' "${counts[@]}"
if [ "${#failed[@]}" -gt 0 ]; then
	echo "nightly: failed: ${failed[*]}" >&2
	exit 1
fi
