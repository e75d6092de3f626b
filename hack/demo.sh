#!/usr/bin/env bash
# Tells the main job with real processes on loopback: demo.sh [--keep] [--file FILE].
# `make demo` and `make run` call it, after they have built bin/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

KUBEBUILDER_ASSETS=$(hack/controlplane.sh)
export KUBEBUILDER_ASSETS

go build -o bin/demo ./test/demo
exec bin/demo "$@"
