#!/usr/bin/env bash
# Fails unless the Helm chart lints, renders to the objects of dist/install.yaml
# with the values as they are, does with others what its README says, and refuses
# bad ones. Helm is the pinned one of hack/tools/helm. What needs an API server is
# in `make test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go test -count=1 -v -run '^TestChart' -skip '^TestChartInstalls$' ./test/install
