#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Two nodes and a bystander on one machine: none notices what another does.

load lib.bash

setup_file() {
	world_begin nb
	node_ns one 1
	node_ns two 2
	ip netns add "$WORLD-by"
	ip -n "$WORLD-by" link set lo up
	ip netns exec "$WORLD-by" nft -f - <<-NFT
		table inet stranger {
			chain in { type filter hook input priority 0; counter accept; }
			map m { type ipv4_addr : verdict; elements = { 10.96.0.1 : drop } }
		}
	NFT
	ip netns exec "$WORLD-by" sysctl -a 2>/dev/null | grep '^net\.ipv[46]\.' | grep -v nf_conntrack_count | sort >"$BATS_FILE_TMPDIR/by-sysctl"
	ip netns exec "$WORLD-by" nft list ruleset >"$BATS_FILE_TMPDIR/by-nft"
	# A table of somebody else in a node's own namespace, and a route that uses our protocol's neighbour number.
	on one nft add table inet mine
	on one nft add chain inet mine c
	on one ip route add 198.51.100.0/24 dev eth0 proto 118
	node_up one
	node_up two
}

teardown_file() {
	world_resume
	ip netns del "$WORLD-by"
	world_end
}

setup() { world_resume; }

answers() { # answers NODE: the Service of that node, by a pod of that node
	local ip pod
	ip=$(kc "$1" get service webui -o 'jsonpath={.spec.clusterIP}')
	pod=$(on "$1" curl -s --max-time 2 "http://$ip/" | head -n 1)
	kc "$1" get pod "$pod" >/dev/null
}

@test "both serve the same example at the same time" {
	local n
	for n in one two; do kc $n apply -f "$ROOT/examples/webui.yaml"; done
	for n in one two; do kc $n rollout status deployment/webui --timeout=60s; done
	for n in one two; do wait_for 10 answers $n; done
}

@test "what is removed on one stays on the other" {
	kc one delete deployment webui
	wait_for 30 bash -c "[[ -z \$(ip netns exec $WORLD-one $KUBECTL --kubeconfig $WORLD_DIR/one/admin.kubeconfig get pods -o name) ]]"
	answers two
	"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	answers two
	[[ $(kc two get pods -l app=webui -o name | wc -l) == 3 ]]
}

@test "what others made in a node's own namespace is still there" {
	on one nft list table inet mine | grep -q 'chain c'
	on one ip route show 198.51.100.0/24 | grep -q eth0
}

@test "the bystander's rules and sysctls are as they were" {
	diff "$BATS_FILE_TMPDIR/by-nft" <(ip netns exec "$WORLD-by" nft list ruleset)
	diff "$BATS_FILE_TMPDIR/by-sysctl" <(ip netns exec "$WORLD-by" sysctl -a 2>/dev/null | grep '^net\.ipv[46]\.' | grep -v nf_conntrack_count | sort)
}

# Called in the namespace of another node, which must not be taken for the lost one.
@test "a node whose namespace is gone is reset from beside a living one" {
	on two nft list table ip fairlead | grep -v counter >"$BATS_TEST_TMPDIR/two"
	node_up one
	ip netns del "$WORLD-one"
	run nsenter --net="/run/netns/$WORLD-two" "$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	[[ $status == 0 && $output == *"network namespace is gone"* ]]
	[[ -z $(processes_of one) ]]
	diff "$BATS_TEST_TMPDIR/two" <(on two nft list table ip fairlead | grep -v counter)
	answers two
}
