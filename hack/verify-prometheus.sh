#!/usr/bin/env bash
# Fails unless config/prometheus is valid: its objects, its alert rules and
# their tests by promtool, and the dashboard. The first run compiles promtool,
# without the ways to discover targets in clouds, which are most of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/tools/prometheus"

GOFLAGS=-tags=remove_all_sd go test ./...
