#!/usr/bin/env bash
# Builds the Dockerfile's targets: images.sh TARGET=IMAGE ... [-- BUILD-FLAGS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# usable_builder: the first of docker and podman whose engine answers.
usable_builder() {
	local name
	for name in docker podman; do
		if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
			echo "$name"
			return
		fi
	done
	echo "images: needs docker or podman, with its engine running" >&2
	return 1
}

targets=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	targets+=("$1")
	shift
done
[ $# = 0 ] || shift

builder=$(usable_builder)
for pair in "${targets[@]}"; do
	"$builder" build "$@" --target "${pair%%=*}" --tag "${pair#*=}" .
done
