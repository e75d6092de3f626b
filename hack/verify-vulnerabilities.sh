#!/usr/bin/env bash
# Fails if the module reaches code with a known vulnerability. The list of them
# is a database on the network; where that does not answer, this says so and
# proves nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unreachable='(fetching vulnerabilities|loading vulnerability database).*(dial|lookup|time|refused|reset|EOF|40[37]|50[0-9])'

status=0
report=$(go tool -modfile=hack/tools/go.mod govulncheck ./... 2>&1) || status=$?
if [ "$status" != 0 ] && grep -qE "$unreachable" <<<"$report"; then
	echo "verify-vulnerabilities: skipped: vulnerability database not reachable"
	exit
fi
echo "$report"
exit "$status"
