#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The recorded HTTP exchanges and kubectl commands, replayed against one node. TAP: one line an exchange, one a command and kubectl version; each
# replay says its own plan.
# The recorded cluster had a node that ran nothing: here the node is cordoned, so that pods stay Pending.
set -uo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/e2e/lib.bash
source tests/e2e/lib.bash

world_begin replay
trap world_end EXIT
node_ns one 1

fresh() { # a node with no objects but its own, that runs no pods
	[[ ! -e $WORLD_DIR/one/lock ]] || { node_stop one; node_reset one; }
	node_up one --service-cidr=10.96.0.0/16 --kubelet-port=0 || { echo "not ok node for the replay"; exit 1; }
	on one "$KUBECTL" --kubeconfig "$WORLD_DIR/one/admin.kubeconfig" cordon one >/dev/null
}

fresh
for p in $(processes_of one); do
	[[ $(cat "/proc/$p/comm") != fairlead-ctrl ]] || controllers=$p
done
on one python3 tests/e2e/replay.py "$WORLD_DIR/one/admin.kubeconfig" tests/golden/oracle/http tests/e2e/replay-exceptions "$controllers" |
	sed -E 's/^((not )?ok) [0-9]+ - /\1 exchange /' || echo "not ok exchanges: failed, or ended early"

for version in 1.35 1.32 1.26 1.20; do
	if ! kubectl=$(tests/e2e/get-kubectl.sh $version 2>"$WORLD_DIR/why"); then
		printf '1..1\nok kubectl %s # SKIP %s\n' "$version" "$(cat "$WORLD_DIR/why")"
		continue
	fi
	loose=()
	[[ $version == 1.35 ]] || loose=(--loose)
	fresh
	on one python3 tests/e2e/cli_replay.py "$kubectl" "$WORLD_DIR/one/admin.kubeconfig" tests/golden/oracle/cli.txt tests/e2e/cli-exceptions $version "${loose[@]}" |
		sed -E "s/^((not )?ok) [0-9]+ - kubectl /\1 kubectl $version: /" || echo "not ok kubectl $version: failed, or ended early"
done
