#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A node with all roles under 10,000 Services, in a network namespace of its own, once each run: what bench/node_bench.c measures.
# Settings: RUNS (3), SERVICES (10000), CHANGES (300), STEPS (all).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/e2e/lib.bash
source tests/e2e/lib.bash
services=${SERVICES:-10000}
changes=${CHANGES:-300}
read -ra steps <<<"${STEPS:-create $services pods memory list 31 change $changes affinity $changes pod $changes memory}"
world_begin bench
trap world_end EXIT
node_ns one 1
for i in $(seq "${RUNS:-3}"); do
	echo "# run $i: $(cut -d' ' -f1-3 /proc/loadavg) is the load of the machine"
	node_up one
	on one build/bench/node_bench "$WORLD_DIR/one/admin.kubeconfig" "${steps[@]}" | sed -E "s/^([a-z][a-z0-9_]*) 1 /\1 $i /"
	node_stop one
	node_reset one >>"$WORLD_DIR/end.log" 2>&1
done
