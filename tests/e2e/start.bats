#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Starts that go wrong: each says why, leaves nothing behind, and does not stand in the way of the next one.

setup() {
	load lib.bash
	world_begin st
	node_ns one 1
}

teardown() { world_end; }

up() { timeout -k 5 30 "$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one" --node-name=one "$@" 3>&- 4>&-; }
no_process() { [[ -z $(processes_of one) ]]; }

@test "the API's port is taken" {
	ip netns exec "$WORLD-one" socat TCP-LISTEN:6443,fork,reuseaddr /dev/null 3>&- 4>&- &
	local socat=$!
	wait_for 5 on one sh -c 'ss -ltn | grep -q :6443'
	run up
	kill "$socat"
	[[ $status == 1 ]]
	[[ $output == *"6443"*"ddress already in use"* && $output == *"up: the apiserver cannot be started"* ]]
	no_process
	node_up one
}

@test "a network of this host lies in the range of Services" {
	ip -n "$WORLD-one" addr add 10.100.3.4/16 dev eth0
	run up
	[[ $status == 1 && $output == *"--service-cidr 10.96.0.0/12: this host has a route into it (10.100.0.0/16 dev eth0)"* ]]
	node_up one --service-cidr=10.200.0.0/16
}

@test "a data directory that cannot be written, and one without room" {
	mkdir "$WORLD_DIR/one"
	mount -t tmpfs -o size=256k tmpfs "$WORLD_DIR/one"
	head -c 250000 /dev/zero >"$WORLD_DIR/one/ballast"
	run up
	[[ $status == 1 && ($output == *"No space left on device"* || $output == *"full"*) ]]
	no_process
	rm "$WORLD_DIR/one/ballast"
	mount -o remount,ro "$WORLD_DIR/one"
	run up
	[[ $status == 1 && $output == *"Read-only file system"* ]]
	no_process
	umount "$WORLD_DIR/one"
	node_up one
}

@test "told to end at any moment of the start" {
	local ms pid
	for ms in 0 5 15 30 60 90 120 160 250; do
		"$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one" --log-level=error >/dev/null 2>"$WORLD_DIR/log" 3>&- 4>&- &
		pid=$!
		sleep "0.$(printf %03d $ms)" # not waiting for anything: the moment is what is tried
		kill -TERM "$pid"
		wait "$pid" || [[ $? == 143 ]] # by the signal itself, before it is listened to
		wait_for 10 no_process
		if grep -q . "$WORLD_DIR/log"; then cat "$WORLD_DIR/log"; return 1; fi
	done
	node_up one
}

@test "an API server on loopback alone: the administrator is led there, and told that pods cannot reach it" {
	node_up one --api-listen=127.0.0.1:6443
	kc one get node one
	grep -q 'warn up: pods cannot reach the API server' "$WORLD_DIR/one/up.log"
}

@test "other ranges than before: Services keep what they have, new ones are of the new ranges" {
	node_up one --service-cidr=10.96.0.0/16
	kc one create service nodeport old --tcp=80 --node-port=32000
	ip=$(kc one get svc old -o 'jsonpath={.spec.clusterIP}')
	node_stop one
	node_up one --service-cidr=10.97.0.0/16 --node-port-range=30000-31000
	grep -q 'Service default/kubernetes keeps the address of another --service-cidr' "$WORLD_DIR/one/up.log"
	kc one label svc old seen=yes
	kc one create service clusterip new --tcp=80
	[[ $(kc one get svc old -o 'jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}') == "$ip 32000" ]]
	[[ $(kc one get svc new -o 'jsonpath={.spec.clusterIP}') == 10.97.* ]]
	# As the warning says.
	kc one delete svc old new kubernetes
	kc one -n kube-system delete svc kube-dns
	node_stop one
	node_up one --service-cidr=10.97.0.0/16
	wait_for 10 kc one -n kube-system get svc kube-dns
	[[ $(kc one get svc -A -o 'jsonpath={.items[*].spec.clusterIP}' | xargs -n1 | sort | xargs) == "10.97.0.1 10.97.0.10" ]]
	node_stop one
}

@test "a role that cannot start is named, and what it waits for is seen to go away" {
	ip netns exec "$WORLD-one" socat UDP4-LISTEN:53,reuseaddr,fork /dev/null 3>&- 4>&- &
	local socat=$!
	wait_for 5 on one sh -c 'ss -lun | grep -q :53'
	setsid "$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one" --node-name=one >"$WORLD_DIR/log" 2>&1 </dev/null 3>&- 4>&- &
	echo $! >"$WORLD_DIR/pid"
	wait_for 20 grep -q 'not ready yet.* roles=dns ' "$WORLD_DIR/log"
	[[ $(grep -c 'role ended, starting it again role=dns' "$WORLD_DIR/log") -ge 3 ]]
	! grep -q '^fairlead: ready' "$WORLD_DIR/log"
	kill "$socat"
	wait_for 20 grep -q '^fairlead: ready' "$WORLD_DIR/log"
	kill -TERM "$(cat "$WORLD_DIR/pid")"
	wait_for 20 no_process
}

@test "down after kill -9 of the supervisor; the shims of a killed node role leave no zombies" {
	local node pid zombies
	node_facts one >"$BATS_TEST_TMPDIR/before"
	node_up one
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one rollout status deployment/webui --timeout=60s
	pid=$(cat "$WORLD_DIR/one/up.pid")
	node=$(pgrep -P "$pid" -x fairlead-node)
	kill -KILL "$node"
	kc one delete deployment webui
	no_shims() { for p in $(processes_of one); do [[ $(cat "/proc/$p/comm" 2>/dev/null) != fairlead-shim ]] || return 1; done; }
	wait_for 30 no_shims
	zombies() { ps -o stat= --ppid "$pid" | grep '^Z'; }
	wait_for 5 eval '! zombies'
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one rollout status deployment/webui --timeout=60s
	kill -KILL "$pid"
	"$FAIRLEAD" down --data-dir="$WORLD_DIR/one"
	wait_for 10 no_process
	touch "$WORLD_DIR/one/up.options.tmp.4711" # as a write that is killed leaves it
	diff "$BATS_TEST_TMPDIR/before" <(node_facts one)
	node_up one
	kc one rollout status deployment/webui --timeout=60s
	node_reset one
	[[ -z $(find "$WORLD_DIR/one" -name "*.tmp.*") ]]
}
