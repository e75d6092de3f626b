#!/usr/bin/env bash
# Runs each fuzz target of the repository for a while, one after the other, and
# says of a failure how to see it again. hack/nightly.sh runs it as the program
# fuzz; with arguments it runs the targets of that name only:
#
#   NIGHTLY_MINUTES=5 hack/fuzz.sh FuzzContent
#
# All targets together have NIGHTLY_MINUTES, each at least a minute of it, or
# all of it where that is less than a minute. The last line is for scripts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

minutes=${NIGHTLY_MINUTES:-30}

# What there is is asked of the packages, so that no list has to be kept.
listed=$(go test -vet=off -list '^Fuzz' ./...)
targets=$(awk '/^Fuzz/ { names[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' <<<"$listed")
if [ $# -gt 0 ]; then
	targets=$(awk -v wanted=" $* " 'index(wanted, " " $2 " ")' <<<"$targets")
fi
if [ -z "$targets" ]; then
	echo "fuzz: no such target: ${*:-none at all}" >&2
	exit 2
fi
count=$(wc -l <<<"$targets")
each=$(awk -v minutes="$minutes" -v count="$count" 'BEGIN {
	all = minutes * 60; each = int(all / count)
	if (each < 60) each = all < 60 ? int(all) : 60
	print (each < 1 ? 1 : each)
}')

log=$(mktemp)
trap 'rm -f "$log"' EXIT
began=$SECONDS executions=0 failed=()
while read -r package target; do
	echo "fuzz: $target of $package, $each s"
	# The workers end within the grace; one that hangs is ended, and that is a failure too.
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "${each}s" -timeout "$((each + 300))s" "$package" >"$log" 2>&1 </dev/null; then
		tail -n 3 "$log" | grep -o 'execs: .*' || true
	else
		cat "$log"
		file=$(grep -o 'testdata/fuzz/[^ ]*' "$log" | head -n 1 || true)
		echo "fuzz: $target failed; to see it again: go test -run '$target${file:+/$(basename "$file")}\$' $package" >&2
		[ -z "$file" ] || echo "fuzz: keep the input $file beside the package, in the commit that mends it" >&2
		failed+=("$target")
	fi
	last=$(grep -o 'execs: [0-9]*' "$log" | tail -n 1 | grep -o '[0-9]*' || true)
	executions=$((executions + ${last:-0}))
done <<<"$targets"
echo "fuzz: targets=$count seconds=$((SECONDS - began)) executions=$executions violations=${#failed[@]}"
if [ "${#failed[@]}" -gt 0 ]; then
	echo "fuzz: failed: ${failed[*]}" >&2
	exit 1
fi
