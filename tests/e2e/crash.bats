#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of each role and of everything at random moments, under clients that record what was acknowledged and clients of a Service; then API, kernel, DNS,
# processes and files say the same. ROUNDS (5) rounds; FAULT_SEED repeats the choices of an earlier run.

load lib.bash
load faults.bash

setup_file() {
	world_begin crash
	faults_begin crash
	node_ns one 1
	node_up one
	webui_outside
	roller
}

teardown_file() {
	world_resume
	rounds_report crash
	world_end
}

setup() {
	world_resume
	rounds=${ROUNDS:-5}
	faults_resume
}

teardown() {
	load_stop
	tell_why
}

roller() { # pods that come and go, and the Services whose endpoints they are
	kc one apply -f - <<-YAML
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: roller}
		spec:
		  selector: {matchLabels: {app: roller}}
		  template:
		    metadata: {labels: {app: roller}}
		    spec:
		      terminationGracePeriodSeconds: 3
		      containers: [{name: echo, image: fairlead/echo}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: roller}
		spec:
		  selector: {app: roller}
		  ports: [{name: http, port: 80, targetPort: 8080}, {name: udp, port: 7, targetPort: 8081, protocol: UDP}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: roller-h}
		spec:
		  clusterIP: None
		  selector: {app: roller}
		  ports: [{name: http, port: 8080}]
	YAML
	kc one rollout status deployment/roller --timeout=60s
}

# Controllers, proxy and DNS are killed while endpoints move.
endpoints_move() { # endpoints_move REPLICAS
	kc one scale deployment roller --replicas="$1"
	kc one delete pod -l app=roller --wait=false --ignore-not-found
}

@test "kill -9 of each role, then of everything: no acknowledged write and no request is lost, and all agree" {
	local i role moves=0
	for i in $(seq "$rounds"); do
		load_start "r$i"
		for role in $(shuf -e api ctrl proxy node dns --random-source=<(yes $RANDOM)); do
			endpoints_move $((++moves % 3 + 1))
			a_moment
			kill_role one "$role"
			role_is_back one "$role"
		done
		endpoints_move $((++moves % 3 + 1))
		a_moment
		dns_down
		kill_all one
		node_up one
		dns_up one
		load_stop
		kc one rollout status deployment/roller --timeout=60s
		agree one 30
		none_started_again
		round_over "each role, then all" "$i"
	done
	load_report
}

# Of pods whose containers run until they are told to end.
none_started_again() {
	local again
	again=$(kc one get pods -l 'app in (roller, webui)' -o 'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount} {.status.containerStatuses[*].lastState}{"\n"}{end}' | grep -v ' 0 {}$' || true)
	[[ -z $again ]] || { echo "started again: $again" && false; }
}

@test "the next up mends what somebody broke meanwhile" {
	local vip
	vip=$(kc one get service webui -o 'jsonpath={.spec.clusterIP}')
	kill_all one
	on one nft delete element ip fairlead slots "{ $vip . tcp . 80 . 1 }"
	on one nft add element ip fairlead slots "{ 10.96.77.77 . tcp . 80 . 0 : 10.244.0.77 . 80 }"
	on one nft add element ip fairlead cluster-ips "{ 10.96.77.77 }"
	on one ip route del 10.96.0.0/12
	node_up one
	agree one 30
	on one ip route show 10.96.0.0/12 | grep proto
}

# What is seen of the pods' network and of the Services' from all sides, beside what `consistent` looks at.
network() {
	on one ip route show proto 117 | sed 's/ linkdown//' | sort
	on one ip -o -4 addr show lo
	on one nft list tables | sort
	on one sysctl net.ipv4.ip_forward
}

network_is() { diff <(network) "$BATS_TEST_TMPDIR/network"; }

mended() { # mended COMMAND...: after it everything comes back, without a restart
	"$@"
	wait_for 30 network_is || { network_is && false; }
	agree one 30
	echo "mended: $*"
}

@test "what somebody breaks while all runs comes back: links and routes of pods, addresses, forwarding, rules" {
	local pod ip link before
	kc one apply -f - <<-YAML
		apiVersion: v1
		kind: Pod
		metadata: {name: ported, labels: {app: ported}}
		spec:
		  terminationGracePeriodSeconds: 1
		  containers: [{name: echo, image: fairlead/echo, ports: [{containerPort: 8080, hostPort: 8088}]}]
	YAML
	kc one wait --for=condition=Ready pod/ported --timeout=30s
	agree one 30
	before=$(processes_of one | sort)
	network >"$BATS_TEST_TMPDIR/network"
	pod=$(kc one get pods -l app=webui -o 'jsonpath={.items[0].metadata.uid}')
	ip=$(kc one get pods -l app=webui -o 'jsonpath={.items[0].status.podIP}')
	link=$(on one ip route show "$ip" | grep -o 'flv[0-9a-f]*')
	mended on one ip route del "$ip"
	mended on one ip link set "$link" down
	mended on one ip link del "$link"
	mended nsenter --net="$WORLD_DIR/one/run/node/ns/$pod.net" ip link del eth0
	mended on one ip addr del 10.244.0.1/32 dev lo
	mended on one ip route del unreachable 10.244.0.0/24
	mended on one sysctl -w net.ipv4.ip_forward=0
	mended on one sh -c 'ip route del 10.96.0.0/12; nft delete table ip fairlead'
	mended on one nft flush ruleset
	mended on one nft flush table ip fairlead
	wait_for 20 dns_answers one || { dns_why one && false; }
	[[ $(outside curl -s --max-time 10 --retry 20 --retry-connrefused "http://$WORLD_NET.10:8088/") == ported* ]]
	[[ $(processes_of one | sort) == "$before" ]]
	kc one delete pod ported
}

@test "the node role killed while pods start, run, crash and stop: nothing starts twice, nothing is orphaned" {
	local i
	kc one apply -f - <<-YAML
		apiVersion: v1
		kind: Pod
		metadata: {name: crasher}
		spec:
		  terminationGracePeriodSeconds: 1
		  containers: [{name: echo, image: fairlead/echo, args: [get, "http://127.0.0.1:1/"]}]
	YAML
	for i in $(seq "$rounds"); do
		load_start "n$i" traffic
		kc one patch deployment roller -p "{\"spec\":{\"replicas\":$((i % 3 + 1)),\"template\":{\"metadata\":{\"annotations\":{\"round\":\"$i\"}}}}}"
		a_moment
		kill_role one node
		role_is_back one node
		kc one delete pod -l app=roller --wait=false
		a_moment
		if ((i % 2)); then
			dns_down
			kill_all one
			node_up one
			dns_up one
		else
			kill_role one node
			role_is_back one node
		fi
		kc one rollout status deployment/roller --timeout=60s
		load_stop
		agree one 30
		# No container but the crasher's was started a second time.
		none_started_again
		round_over "node while pods start" "$i"
	done
	kc one delete deployment roller
	kc one delete pod crasher
	agree one 30
	load_report
}
