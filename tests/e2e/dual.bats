#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Two address families, and IPv6 alone: pods, Services, node ports and names by each of them.

load lib.bash

setup_file() {
	world_begin dual
	node_ns one 1
	ip -n "$WORLD-out" addr add "fd77::1/64" dev br0 nodad
	ip -n "$WORLD-one" addr add "fd77::10/64" dev eth0 nodad
}

teardown_file() {
	world_resume
	world_end
}

setup() { world_resume; }

pod() { kc one get pods -l app=webui -o 'jsonpath={.items[0].metadata.name}'; }
in_pod() { "$FAIRLEAD" exec --data-dir="$WORLD_DIR/one" "$(pod)" -- "$@"; }
dns() { on one dig +short +time=1 +tries=2 "$@"; }
field() { kc one get "$1" "$2" -o "jsonpath={$3}"; } # field KIND NAME PATH

@test "both families: pods, a Service that requires them, host, pod and outside" {
	node_up one --service-cidr=10.96.0.0/16,fd00:96::/112 --pod-cidr=10.244.0.0/16,fd00:244::/48
	kc one apply -f "$ROOT/examples/webui.yaml" -f - <<-YAML
		apiVersion: v1
		kind: Service
		metadata: {name: dual}
		spec:
		  type: NodePort
		  ipFamilyPolicy: RequireDualStack
		  selector: {app: webui}
		  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: six}
		spec:
		  ipFamilies: [IPv6]
		  selector: {app: webui}
		  ports: [{port: 80, targetPort: 8080}]
	YAML
	kc one rollout status deployment/webui --timeout=60s
	[[ $(field pod "$(pod)" '.status.podIPs[*].ip') =~ ^10\.244\.0\.[0-9]+\ fd00:244::[0-9a-f]+$ ]]
	[[ $(field service dual '.spec.ipFamilies[*]') == "IPv4 IPv6" && $(field service webui '.spec.ipFamilies[*]') == IPv4 ]]
	local v4 v6
	read -r v4 v6 <<<"$(field service dual '.spec.clusterIPs[*]')"
	wait_for 10 on one curl -s --max-time 1 "http://$v4/"
	wait_for 10 on one curl -s --max-time 1 "http://[$v6]/"
	in_pod /bin/fairlead-echo get "http://[$v6]/" | grep -q "^server \[fd00:244::"
	in_pod /bin/fairlead-echo get "http://six/" | grep -q "^server \[fd00:244::"
	outside curl -s --max-time 2 "http://$WORLD_NET.10:30080/" | grep -q "^server 10.244.0."
	outside curl -s --max-time 2 "http://[fd77::10]:30080/" | grep -q "^server \[fd00:244::"
	[[ $(dns @10.96.0.10 A dual.default.svc.cluster.local) == "$v4" && $(dns @10.96.0.10 AAAA dual.default.svc.cluster.local) == "$v6" ]]
	[[ $(dns @fd00:96::a AAAA six.default.svc.cluster.local) == "$(field service six .spec.clusterIP)" && -z $(dns @10.96.0.10 A six.default.svc.cluster.local) ]]
	[[ $(dns @10.96.0.10 -x "$v6") == dual.default.svc.cluster.local. ]]
	agree one 20
	node_reset one
}

@test "IPv6 alone: the node becomes ready, the API and a Service answer" {
	node_up one --service-cidr=fd00:96::/112 --pod-cidr=fd00:244::/48
	[[ $(field service kubernetes .spec.clusterIP) == fd00:96::1 ]]
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one rollout status deployment/webui --timeout=60s
	wait_for 10 on one curl -s --max-time 1 "http://[$(field service webui .spec.clusterIP)]/"
	in_pod /bin/fairlead-echo get http://webui/ | grep -q "^server \[fd00:244::"
	on one curl -sk --max-time 2 "https://[fd00:96::1]/version" | grep -q gitVersion
	kc one logs "$(pod)" | grep -q serves
	node_reset one
}

@test "IPv6 first: default/kubernetes leads to the node's IPv6 address" {
	node_up one --service-cidr=fd00:96::/112,10.96.0.0/16 --pod-cidr=10.244.0.0/16,fd00:244::/48
	wait_for 10 on one curl -sk --max-time 2 "https://[fd00:96::1]/version"
	[[ $(field endpointslice kubernetes '.endpoints[0].addresses[0]') == fd77::10 ]]
	node_reset one
}
