#!/usr/bin/env bash
# Fails unless config/prometheus is valid: its objects, its alert rules and
# their tests by promtool, and the dashboard. The first run compiles promtool.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/tools/prometheus"

CGO_ENABLED=0 go test ./...
