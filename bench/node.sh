#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Start-up, memory and pod start of one node, in network namespaces of its own. Prints raw rows, one a run: `name run value unit`.
# Settings: RUNS (7).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/e2e/lib.bash
source tests/e2e/lib.bash
runs=${RUNS:-7}
world_begin bench
trap world_end EXIT
node_ns one 1

ready_ms() { sed -n 's/^fairlead: ready in \([0-9]*\) ms.*/\1/p' "$WORLD_DIR/one/up.log"; }

pss_kb() { # of every process of the node, containers' shims included
	local p sum=0 kb
	for p in $(processes_of one); do
		kb=$(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup")
		sum=$((sum + kb))
		[[ ${1:-} != each ]] || echo "pss $(cat "/proc/$p/comm") $kb KiB" >&2
	done
	echo $sum
}

for i in $(seq "$runs"); do
	node_up one
	echo "ready_empty $i $(ready_ms) ms"
	node_stop one
	node_up one
	echo "ready_existing $i $(ready_ms) ms"
	if [[ $i == "$runs" ]]; then break; fi
	node_stop one
	node_reset one >>"$WORLD_DIR/end.log" 2>&1
done

sleep 5 # idle: what starting up needed has been given back
for i in $(seq 3); do
	echo "pss_idle $i $(pss_kb) KiB"
done
pss_kb each >/dev/null

on one python3 bench/pod_start.py "$WORLD_DIR/one/admin.kubeconfig" "$runs"
