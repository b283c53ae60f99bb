#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# helm 3 and helm 4 with a chart of a ServiceAccount, ConfigMap, Secret, Service, Deployment and a test hook: install, upgrade, roll back, uninstall.

load lib.bash

setup_file() {
	world_begin helm
	node_ns one 1
	node_up one --kubelet-port=0
}

teardown_file() {
	world_resume
	world_end
}

setup() { world_resume; }

greeting() { kc one get configmap "$1-conf" -o 'jsonpath={.data.greeting}'; }

# A chart's life with the helm that came with kubectl VERSION, as release NAME.
life() { # life VERSION NAME
	local bin
	bin=$("$ROOT/tests/e2e/get-kubectl.sh" "$1" helm 2>"$BATS_TEST_TMPDIR/why") || skip "$(cat "$BATS_TEST_TMPDIR/why")"
	helm() { on one env HOME="$BATS_TEST_TMPDIR" "$bin" --kubeconfig "$WORLD_DIR/one/admin.kubeconfig" "$@"; }
	helm install "$2" "$ROOT/tests/e2e/chart" --wait --timeout 60s
	[[ $(greeting "$2") == hello && $(kc one get deployment "$2" -o 'jsonpath={.status.availableReplicas}') == 2 ]]
	run helm install "$2" "$ROOT/tests/e2e/chart"
	[[ $status != 0 && $output == *"cannot re"*use* ]]
	helm upgrade "$2" "$ROOT/tests/e2e/chart" --set replicas=3 --set greeting=bye --wait --timeout 60s
	[[ $(greeting "$2") == bye && $(kc one get deployment "$2" -o 'jsonpath={.status.availableReplicas}') == 3 ]]
	helm test "$2" --timeout 60s | grep -q 'Phase: *Succeeded'
	helm rollback "$2" 1 --wait --timeout 60s
	[[ $(greeting "$2") == hello && $(kc one get deployment "$2" -o 'jsonpath={.spec.replicas}') == 2 ]]
	[[ $(helm history "$2" -o json | jq -r '.[].status' | xargs) == "superseded superseded deployed" ]]
	[[ $(helm list -A -o json | jq -r '.[].name') == "$2" ]]
	helm status "$2" | grep -q '^STATUS: deployed'
	helm uninstall "$2" --wait --timeout 60s
	[[ $(helm list -A -o json) == "[]" && -z $(kc one get deployments,services,secrets -o name | grep "/$2") ]]
	helm install --dry-run=server "$2" "$ROOT/tests/e2e/chart" | grep -q "name: $2-conf"
}

@test "helm 4, which applies on the server" { life 1.35 four; }

@test "helm 3, which patches" { life 1.32 three; }
