#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods as a user of kubectl sees them: one node, one set of pods, many questions.

setup_file() {
	load lib.bash
	world_begin pods
	declare -p WORLD WORLD_DIR WORLD_NET >"$BATS_FILE_TMPDIR/world"
	node_ns one 1
	node_up one
	kc one create configmap conf --from-literal=color=red
	kc one create service clusterip back-end --tcp=80:8080
	sed "s#/TRACE#$WORLD_DIR/trace#" <<'YAML' | kc one apply -f -
apiVersion: v1
kind: Pod
metadata: {name: full, labels: {app: back-end}}
spec:
  terminationGracePeriodSeconds: 5
  volumes:
  - {name: conf, configMap: {name: conf}}
  - {name: trace, hostPath: {path: /TRACE}}
  initContainers:
  - {name: first, image: fairlead/echo, args: [do, "append=/t/log:init"], volumeMounts: [{name: trace, mountPath: /t}]}
  containers:
  - name: main
    image: fairlead/echo
    ports: [{name: http, containerPort: 8080, hostPort: 8088}]
    env: [{name: WHERE, value: "$(BACK_END_SERVICE_HOST):$(BACK_END_SERVICE_PORT)"}]
    volumeMounts: [{name: conf, mountPath: /conf}, {name: trace, mountPath: /t}]
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
    lifecycle:
      postStart: {exec: {command: [/bin/fairlead-echo, do, "append=/t/log:post"]}}
      preStop: {exec: {command: [/bin/fairlead-echo, do, "append=/t/log:pre"]}}
---
apiVersion: v1
kind: Pod
metadata: {name: rival}
spec:
  containers: [{name: main, image: fairlead/echo, ports: [{containerPort: 8080, hostPort: 8088}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers: [{name: main, image: fairlead/echo, args: [do, exit=3]}]
---
apiVersion: v1
kind: Pod
metadata: {name: health}
spec:
  containers:
  - {name: main, image: fairlead/echo, livenessProbe: {grpc: {port: 9}, periodSeconds: 1, failureThreshold: 1}, args: [do, wait]}
YAML
	kc one wait --for=condition=Ready pod/full --timeout=60s
}

teardown_file() {
	load lib.bash
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/world"
	WORLD_NODES=(one)
	world_end
}

setup() {
	load lib.bash
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/world"
	export WORLD_NODES=(one)
}

says() { # says WANT COMMAND...: what it prints is, or has, WANT
	[[ $("${@:2}" 2>&1) == *"$1"* ]]
}

status() { kc one get pod "$1" -o "jsonpath={.status$2}"; }

@test "the Service's environment, the init container and postStart were there before the pod was ready" {
	local pidfile want
	want="WHERE=$(kc one get service back-end -o 'jsonpath={.spec.clusterIP}'):80"
	for pidfile in "$WORLD_DIR"/one/node/pods/*/containers/main/0/pid; do
		! tr '\0' '\n' <"/proc/$(cat "$pidfile")/environ" 2>/dev/null | grep -x "$want" || break
	done
	tr '\0' '\n' <"/proc/$(cat "$pidfile")/environ" | grep -x "$want"
	[[ $(head -n 1 "$WORLD_DIR/trace/log") == init ]]
	grep -x post "$WORLD_DIR/trace/log"
}

@test "the host port answers other hosts; a second pod that wants it stays Pending and is told why" {
	says full outside curl -s -m 5 "http://$WORLD_NET.10:8088/"
	wait_for 20 says "didn't have free ports for the requested pod ports" status rival '.conditions[0].message'
	[[ $(status rival .phase) == Pending ]]
}

@test "a pod reaches another host, which has no route to pods and sees the node's address" {
	local listener pid
	ip netns exec "$WORLD-out" timeout 30 socat TCP-LISTEN:9009,reuseaddr,fork SYSTEM:'echo $SOCAT_PEERADDR' 3>&- &
	listener=$!
	pid=$(cat "$WORLD_DIR/one/node/pods/$(kc one get pod full -o 'jsonpath={.metadata.uid}')/containers/main/0/pid")
	wait_for 10 says "$WORLD_NET.10" nsenter --net="/proc/$pid/ns/net" socat -T 2 - "TCP:$WORLD_NET.1:9009"
	kill "$listener"
}

@test "a changed ConfigMap shows in the running pod" {
	local root
	root=$(dirname "$(ls -d "$WORLD_DIR"/one/node/pods/*/volumes/conf)")
	[[ $(cat "$root/conf/color") == red ]]
	kc one patch configmap conf --type=merge -p '{"data":{"color":"blue"}}'
	wait_for 20 says blue cat "$root/conf/color"
}

@test "a pod that crashes backs off with its exit code in lastState" {
	wait_for 30 says CrashLoopBackOff status crash '.containerStatuses[0].state.waiting.reason'
	[[ $(status crash '.containerStatuses[0].lastState.terminated.exitCode') == 3 ]]
	wait_for 10 says "Back-off restarting failed container main in pod crash_default" kc one get events
}

@test "a gRPC probe that nobody answers restarts the container" {
	wait_for 30 says 'Liveness probe failed: timeout: failed to connect service' kc one get events
	wait_for 10 says 'Container main failed liveness probe, will be restarted' kc one get events
}

@test "delete runs preStop and frees the host port, which the rival gets" {
	kc one delete pod full --timeout=30s
	grep -x pre "$WORLD_DIR/trace/log"
	kc one wait --for=condition=Ready pod/rival --timeout=60s
	wait_for 10 says rival outside curl -s -m 5 "http://$WORLD_NET.10:8088/"
}

@test "delete --force takes pods at once, and nothing of them is left" {
	kc one delete pod --all --grace-period=0 --force
	wait_for 40 says 'gone' sh -c "[ -z \"\$(ls $WORLD_DIR/one/node/pods)\" ] && echo gone"
	[[ $(on one nft list tables) != *host-ports* ]]
}
