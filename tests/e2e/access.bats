#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Who gets in: without a certificate health and version alone; with one of another CA nothing; a token is unknown. Texts as Kubernetes has them.

load lib.bash

setup_file() {
	world_begin access
	node_ns one 1
	node_up one
}

teardown_file() {
	world_resume
	world_end
}

setup() {
	world_resume
	api=https://$WORLD_NET.10:6443
	ca=$WORLD_DIR/one/pki/ca.crt
}

ask() { outside curl -s --max-time 5 --cacert "$ca" -w '\n%{http_code}' "$@"; }

@test "without a certificate: version and health answer" {
	local path
	for path in /version /livez /readyz /healthz; do
		run ask "$api$path"
		[[ ${lines[-1]} == 200 ]]
	done
}

@test "without a certificate: everything else is forbidden" {
	run ask "$api/api/v1/namespaces/default/services"
	[[ ${lines[-1]} == 403 && $output == *'services is forbidden: User \"system:anonymous\" cannot list resource \"services\" in API group \"\" in the namespace \"default\"'* ]]
	run ask "$api/api"
	[[ ${lines[-1]} == 403 && $output == *'forbidden: User \"system:anonymous\" cannot get path \"/api\"'* ]]
	run ask -X POST -d '{}' "$api/api/v1/namespaces"
	[[ ${lines[-1]} == 403 ]]
}

@test "an unknown token is refused with 401" {
	run ask -H 'Authorization: Bearer nonsense' "$api/api/v1/services"
	[[ ${lines[-1]} == 401 && $output == *'"reason": "Unauthorized"'* ]]
}

@test "a certificate of another CA gets no connection" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj '/O=system:masters/CN=mallory' \
		-keyout "$BATS_TEST_TMPDIR/key" -out "$BATS_TEST_TMPDIR/crt" 2>/dev/null
	run ask --cert "$BATS_TEST_TMPDIR/crt" --key "$BATS_TEST_TMPDIR/key" "$api/api/v1/services"
	[[ $status != 0 && ${lines[-1]} == 000 ]]
}

@test "the node's endpoint wants the API server's certificate" {
	run outside curl -sk --max-time 5 "https://$WORLD_NET.10:10250/containerLogs/default/x/y"
	[[ $status != 0 ]]
}

@test "HTTP/1.1 and HTTP/2 are spoken" {
	[[ $(outside curl -s --http1.1 --cacert "$ca" -o /dev/null -w '%{http_version}' "$api/version") == 1.1 ]]
	[[ $(outside curl -s --http2 --cacert "$ca" -o /dev/null -w '%{http_version}' "$api/version") == 2 ]]
}

@test "keys and kubeconfigs are readable by their owner alone" {
	[[ -z $(find "$WORLD_DIR/one" -name '*.key' -perm /077) ]]
	[[ -z $(find "$WORLD_DIR/one" -name '*.kubeconfig' -perm /077) ]]
}

@test "kubectl asks who it is and what it may, also as somebody else" {
	run kc one auth can-i delete services -n kube-system
	[[ $status == 0 && $output == yes ]]
	run kc one auth can-i --list
	[[ $status == 0 && $output == *'*.*'* ]]
	run kc one get services --as=system:anonymous
	[[ $status != 0 && $output == *'services is forbidden: User "system:anonymous" cannot list resource "services"'* ]]
	run kc one get services --as=bob --as-group=team
	[[ $status == 0 ]]
	run ask -X POST -H 'Impersonate-User: kubernetes-admin' -H 'Impersonate-Group: system:masters' -d '{}' "$api/api/v1/namespaces"
	[[ ${lines[-1]} == 403 && $output == *'cannot impersonate resource \"users\"'* ]]
	# What auth whoami sends, which kubectl has since 1.28.
	run kc one create -o yaml -f - <<<'{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'
	[[ $status == 0 && $output == *'username: kubernetes-admin'* && $output == *'- system:masters'* && $output == *'- X509SHA256='* ]]
}
