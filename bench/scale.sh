#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A node with many Services of three pods: bench/scale.py against it, in network namespaces of its own. Settings: SERVICES (10000).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/e2e/lib.bash
source tests/e2e/lib.bash
world_begin scale
trap world_end EXIT
node_ns one 1
node_up one
on one python3 bench/scale.py "$WORLD_DIR/one/admin.kubeconfig" "$WORLD_DIR/one" "${SERVICES:-10000}"
