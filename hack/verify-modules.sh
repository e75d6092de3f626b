#!/usr/bin/env bash
# Fails where go mod tidy would change a module.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=()
while read -r file; do
	dir=$(dirname "$file")
	echo "verify-modules: $dir"
	go -C "$dir" mod tidy -diff || failed+=("$dir")
done < <(find . -name go.mod -not -path '*/.*/*' | sort)

if [ ${#failed[@]} -gt 0 ]; then
	echo "verify-modules: not tidy: ${failed[*]}; run go mod tidy there" >&2
	exit 1
fi
