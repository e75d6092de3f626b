#!/usr/bin/env bash
# Fails unless every kustomization under config/ renders to something.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=()
while read -r file; do
	dir=$(dirname "$file")
	if rendered=$(go tool -modfile=hack/tools/go.mod kustomize build "$dir") && [ -n "$rendered" ]; then
		echo "verify-config: $dir: $(grep -c '^kind:' <<<"$rendered") objects"
	else
		failed+=("$dir")
	fi
done < <(find config -name kustomization.yaml | sort)

if [ ${#failed[@]} -gt 0 ]; then
	echo "verify-config: does not render: ${failed[*]}" >&2
	exit 1
fi
