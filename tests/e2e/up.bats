#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One node from the first start to nothing left: what a person meets on the first day.

load lib.bash

setup_file() {
	world_begin up
	host_facts >"$BATS_FILE_TMPDIR/host-before"
	node_ns one 1
	node_facts one >"$BATS_FILE_TMPDIR/node-before"
	node_up one
}

teardown_file() {
	world_resume
	world_end
}

setup() { world_resume; }

webui_ip() { kc one get service webui -o 'jsonpath={.spec.clusterIP}'; }

three_pods_answer() { # three_pods_answer COMMAND...: until three different pods have answered
	local i pods=()
	for i in $(seq 100); do
		mapfile -t pods < <(printf '%s\n' "${pods[@]}" "$("$@" | head -n 1)" | sed '/^$/d' | sort -u)
		[[ ${#pods[@]} -lt 3 ]] || return 0
	done
	echo "only ${pods[*]} answered" >&2
	return 1
}

@test "ready is printed with the kubeconfig, which only its owner can read" {
	run head -n 1 <(grep '^fairlead: ready' "$WORLD_DIR/one/up.log")
	[[ $output =~ ^fairlead:\ ready\ in\ [0-9]+\ ms,\ kubeconfig\ $WORLD_DIR/one/admin.kubeconfig$ ]]
	[[ $(stat -c %a "$WORLD_DIR/one/admin.kubeconfig") == 600 ]]
	! grep -q '[{}]' "$WORLD_DIR/one/admin.kubeconfig"
}

@test "every process of the node is named fairlead" {
	local pid
	for pid in $(pgrep -f -- "--data-dir=$WORLD_DIR/one"); do
		[[ -e /proc/$pid/comm ]] || continue
		[[ $(cat "/proc/$pid/comm") == fairlead* ]]
	done
	[[ $(processes_of one | wc -l) -ge 6 ]]
}

@test "each role has the capabilities of its work and no others" {
	local p role
	for p in $(processes_of one); do
		role=$(cat "/proc/$p/comm")
		case $role in
		fairlead-api | fairlead-dns) [[ $(grep CapBnd "/proc/$p/status") == *0000000000000400 ]] ;; # NET_BIND_SERVICE
		fairlead-ctrl) [[ $(grep CapBnd "/proc/$p/status") == *0000000000000000 ]] ;;
		fairlead-proxy) [[ $(grep CapEff "/proc/$p/status") == *0000000000001400 ]] ;; # and NET_ADMIN
		esac
	done
}

@test "the node is Ready and the first objects are there" {
	[[ $(kc one get node one -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
	run kc one get namespaces -o name
	[[ $output == *namespace/default*namespace/kube-node-lease*namespace/kube-public*namespace/kube-system* ]]
	[[ $(kc one get service kubernetes -o 'jsonpath={.spec.clusterIP}') == 10.96.0.1 ]]
	[[ $(kc one get service -n kube-system kube-dns -o 'jsonpath={.spec.clusterIP}') == 10.96.0.10 ]]
}

@test "a second up on the same data directory is refused" {
	run "$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one"
	[[ $status == 1 && $output == *"is in use by"*"pid $(cat "$WORLD_DIR/one/lock")"* ]]
}

@test "an ordinary user is told at once that a node needs root" {
	run setpriv --reuid=65534 --regid=65534 --clear-groups "$FAIRLEAD" up --data-dir="$BATS_TEST_TMPDIR/mine"
	[[ $status == 1 && $output == *"run it as root"* && ! -e $BATS_TEST_TMPDIR/mine ]]
}

@test "a deployment of three pods and its Service answer from the host" {
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one rollout status deployment/webui --timeout=60s
	wait_for 10 on one curl -s --max-time 1 "http://$(webui_ip)/"
	three_pods_answer on one curl -s --max-time 2 "http://$(webui_ip)/"
}

@test "the Service's name resolves in a pod and leads to all three" {
	local pod
	pod=$(kc one get pods -l app=webui -o 'jsonpath={.items[0].metadata.name}')
	three_pods_answer "$FAIRLEAD" exec --data-dir="$WORLD_DIR/one" "$pod" -- /bin/fairlead-echo get http://webui/
	three_pods_answer "$FAIRLEAD" exec --data-dir="$WORLD_DIR/one" "$pod" -- /bin/fairlead-echo get http://webui.default.svc.cluster.local/
}

@test "exec takes what kubectl's users type, and gives the status of the command" {
	local pod
	pod=$(kc one get pods -l app=webui -o 'jsonpath={.items[0].metadata.name}')
	run "$FAIRLEAD" exec -i --data-dir "$WORLD_DIR/one" "$pod" -- /bin/fairlead-echo get http://webui/
	[[ $status == 0 && $output == *webui-* ]]
	run "$FAIRLEAD" exec --data-dir="$WORLD_DIR/one" "$pod" -- /bin/fairlead-echo do exit=7
	[[ $status == 7 ]]
	run "$FAIRLEAD" exec -x "$pod" -- true
	[[ $status == 2 && $output == "usage: fairlead exec "* ]]
}

@test "a NodePort answers from another host, TCP and UDP" {
	kc one apply -f - <<-YAML
		apiVersion: v1
		kind: Service
		metadata: {name: outside}
		spec:
		  type: NodePort
		  selector: {app: webui}
		  ports:
		  - {name: http, port: 80, targetPort: 8080, nodePort: 30036}
		  - {name: echo, port: 7, targetPort: 8081, protocol: UDP, nodePort: 30037}
	YAML
	wait_for 10 outside curl -s --max-time 1 "http://$WORLD_NET.10:30036/"
	three_pods_answer outside curl -s --max-time 2 "http://$WORLD_NET.10:30036/"
	wait_for 10 bash -c "[[ \$(echo hello | ip netns exec $WORLD-out timeout 2 socat -t 1 - UDP:$WORLD_NET.10:30037) == hello ]]"
}

@test "a pod reaches the API by https://10.96.0.1" {
	wait_for 10 on one curl -sk --max-time 2 https://10.96.0.1/version
}

@test "kubectl logs shows what the container wrote" {
	local pod
	pod=$(kc one get pods -l app=webui -o 'jsonpath={.items[0].metadata.name}')
	run kc one logs "$pod"
	[[ $status == 0 && -n $output ]]
}

@test "a kind that is not served is refused by name, the rest of the file is applied" {
	run kc one apply -f - <<-YAML
		apiVersion: apps/v1
		kind: StatefulSet
		metadata: {name: odd}
		---
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: even}
	YAML
	[[ $status == 1 && $output == *'configmap/even created'* && $output == *'no matches for kind "StatefulSet" in version "apps/v1"'* ]]
	kc one delete configmap even
}

@test "drain evicts the pods and waits for them, as a dry run it changes nothing" {
	run kc one drain one --dry-run=server --timeout=30s
	[[ $status == 0 && $(grep -c 'evicting pod default/webui-.* (server dry run)' <<<"$output") == 3 ]]
	kc one drain one --timeout=60s
	[[ -z $(kc one get pods --field-selector spec.nodeName=one -o name) ]]
	kc one uncordon one
	kc one rollout status deployment/webui --timeout=60s
}

@test "scaling follows, and the Service with it" {
	kc one scale deployment webui --replicas=1
	wait_for 30 bash -c "[[ \$(ip netns exec $WORLD-one $KUBECTL --kubeconfig $WORLD_DIR/one/admin.kubeconfig get pods -l app=webui -o name | wc -l) == 1 ]]"
	wait_for 10 on one curl -s --max-time 1 "http://$(webui_ip)/"
	kc one scale deployment webui --replicas=3
	kc one rollout status deployment/webui --timeout=60s
}

@test "a Service without endpoints refuses at once" {
	kc one create service clusterip empty --tcp=80:80
	run on one curl -s --max-time 5 "http://$(kc one get service empty -o 'jsonpath={.spec.clusterIP}')/"
	[[ $status == 7 ]] # connection refused
}

@test "a role that is killed comes back" {
	local role pid
	for role in api ctrl proxy node dns; do
		pid=$(for p in $(processes_of one); do [[ $(cat "/proc/$p/comm") == "fairlead-$role" ]] && echo "$p"; done | head -n 1)
		[[ -n $pid ]]
		kill -KILL "$pid"
	done
	wait_for 20 bash -c "source $ROOT/tests/e2e/lib.bash; WORLD_DIR=$WORLD_DIR; [[ \$(processes_of one | wc -l) -ge 6 ]]"
	wait_for 20 kc one get --raw /readyz
	kc one rollout status deployment/webui --timeout=60s
	three_pods_answer on one curl -s --max-time 2 "http://$(webui_ip)/"
}

@test "a killed supervisor takes its roles along, not the pods" {
	local p left
	kill -KILL "$(cat "$WORLD_DIR/one/up.pid")"
	only_shims() {
		for p in $(processes_of one); do [[ $(cat "/proc/$p/comm" 2>/dev/null) =~ ^(fairlead-shim)?$ ]] || return 1; done
	}
	wait_for 10 only_shims
	left=$(processes_of one | wc -l)
	[[ $left == 3 ]]
	node_up one
	three_pods_answer on one curl -s --max-time 2 "http://$(webui_ip)/"
}

@test "SIGTERM leaves pods and rules, the next up finds them" {
	local before after ip
	ip=$(webui_ip)
	before=$(kc one get pods -l app=webui -o 'jsonpath={range .items[*]}{.metadata.uid}{.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort)
	node_stop one
	run grep -E '^(warn|error)' "$WORLD_DIR/one/up.log" # nobody complains of an end that was asked for
	[[ -z $output ]]
	on one curl -s --max-time 2 "http://$ip/"
	node_up one
	after=$(kc one get pods -l app=webui -o 'jsonpath={range .items[*]}{.metadata.uid}{.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort)
	[[ $before == "$after" ]]
	three_pods_answer on one curl -s --max-time 2 "http://$ip/"
}

@test "down removes pods and data plane; up brings the objects back" {
	node_stop one
	"$FAIRLEAD" down --data-dir="$WORLD_DIR/one"
	[[ -z $(processes_of one) ]]
	diff "$BATS_FILE_TMPDIR/node-before" <(node_facts one)
	node_up one
	kc one rollout status deployment/webui --timeout=60s
	wait_for 20 on one curl -s --max-time 1 "http://$(webui_ip)/"
}

@test "reset leaves nothing: no process, link, route, rule, mount, cgroup or sysctl" {
	local cgroup
	cgroup=$(node_cgroup one)
	touch "$WORLD_DIR/one/of-somebody-else"
	"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	[[ -e $WORLD_DIR/one/of-somebody-else && ! -e $WORLD_DIR/one/pki && ! -e $WORLD_DIR/one/lock ]]
	[[ ! -e $WORLD_DIR/one/store && -z $(processes_of one) ]]
	diff "$BATS_FILE_TMPDIR/node-before" <(node_facts one)
	diff "$BATS_FILE_TMPDIR/host-before" <(host_facts)
	[[ -n $cgroup && -z $(find /sys/fs/cgroup -maxdepth 3 -name "$cgroup") ]]
}
