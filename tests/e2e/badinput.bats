#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Octets that no proper client sends, at every port of a node, while a proper client goes on: each attack gets a clear answer or an end, nobody else is
# harmed, and memory stays bounded and comes back. What fits into one proper request is in tests/unit/apiserver/badinput_test.c.

setup_file() {
	load lib.bash
	world_begin badinput
	declare -p WORLD WORLD_DIR WORLD_NET >"$BATS_FILE_TMPDIR/world"
	node_ns one 1
	node_up one --proxy-metrics=127.0.0.1:10249 --proxy-healthz=127.0.0.1:10256
	kc one create configmap treasure --from-literal=gold=much
	kc one get --raw /api/v1/namespaces/default/configmaps/treasure >"$WORLD_DIR/treasure"
	awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$(role apiserver)/status" >"$WORLD_DIR/first"
	mkdir "$WORLD_DIR/beside"
	on one python3 "$ROOT/tests/e2e/badinput.py" "$WORLD_DIR/one/admin.kubeconfig" others "$WORLD_DIR/beside" \
		>"$WORLD_DIR/beside/log" 2>&1 3>&- 4>&- &
	echo $! >"$WORLD_DIR/beside/pid"
	on one python3 "$ROOT/tests/e2e/badinput.py" "$WORLD_DIR/one/admin.kubeconfig" slow >"$WORLD_DIR/beside/slow.log" 2>&1 3>&- 4>&- &
	echo $! >"$WORLD_DIR/beside/slow.pid"
	wait_for 20 test -s "$WORLD_DIR/beside/count"
}

teardown_file() {
	load lib.bash
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/world"
	WORLD_NODES=(one)
	touch "$WORLD_DIR/beside/stop"
	world_end
}

setup() {
	load lib.bash
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/world"
	WORLD_NODES=(one)
	api=https://$WORLD_NET.10:6443
	ca=$WORLD_DIR/one/pki/ca.crt
	before=$(cat "$WORLD_DIR/beside/count")
}

# After each test: the client beside has gone on, the treasure is as it was, nothing has died.
teardown() {
	[[ -d $WORLD_DIR/one ]] || return 0
	[[ -e $WORLD_DIR/beside/stop ]] || wait_for 20 further "$before" || {
		cat "$WORLD_DIR/beside/log"
		return 1
	}
	kc one get --raw /api/v1/namespaces/default/configmaps/treasure | cmp - "$WORLD_DIR/treasure"
	if grep -E 'ended|killed|signal|restart' "$WORLD_DIR/one/up.log"; then return 1; fi
}

further() { [[ $(cat "$WORLD_DIR/beside/count") -gt $1 ]]; }

role() { # pid of a role of node one
	local p
	for p in $(processes_of one); do
		[[ $(tr '\0' ' ' <"/proc/$p/cmdline") == *" $1 "* ]] && echo "$p"
	done | head -n 1
}

attack() { on one python3 "$ROOT/tests/e2e/badinput.py" "$WORLD_DIR/one/admin.kubeconfig" "$@"; }

ask() { outside curl -s --max-time 10 --cacert "$ca" -w '\n%{http_code}' "$@"; }

@test "requests with two meanings are refused, each with one Status, and nothing behind them is done" { attack smuggling; }

@test "pipelined requests and the absolute form are answered" { attack pipelining; }

@test "bodies, URLs and fields beyond their bounds are refused in Kubernetes' words, over HTTP/1.1 and HTTP/2" { attack too_much; }

@test "garbage instead of a handshake" { attack handshakes; }

@test "1,000 connections that say nothing" { attack many "$(role apiserver)" silent; }

@test "1,000 connections that say nothing after their handshake" { attack many "$(role apiserver)" tls; }

@test "1,000 connections that begin a handshake, a head, a body, and no more" {
	attack many "$(role apiserver)" hello 500
	attack many "$(role apiserver)" head 500
	attack many "$(role apiserver)" body 500
}

@test "HTTP/2 floods end their connection" { attack floods "$(role apiserver)"; }

@test "clients that ask for much and take nothing" { attack slow_reader "$(role apiserver)"; }

@test "wrong certificates get no connection, wrong tokens a 401" {
	local key=$BATS_TEST_TMPDIR/key crt=$BATS_TEST_TMPDIR/crt csr=$BATS_TEST_TMPDIR/csr sign
	openssl ecparam -name prime256v1 -genkey -noout -out "$key" 2>/dev/null
	openssl req -new -key "$key" -subj '/O=system:masters/CN=mallory' -out "$csr" 2>/dev/null
	sign=(openssl x509 -req -in "$csr" -CA "$ca" -CAkey "$WORLD_DIR/one/pki/ca.key" -set_serial 4711 -out "$crt")
	refused() { # refused ALERT: no answer; the reason is in the alert
		run outside curl -sv --tlsv1.2 --tls-max 1.2 --max-time 10 --cacert "$ca" --cert "$crt" --key "$key" "$api/api/v1/services"
		[[ $status != 0 ]] && grep -i "(IN), TLS alert, $1 (" <<<"$output" || { echo "expected $1: $output"; return 1; }
	}
	"${sign[@]}" -days 1 2>/dev/null # no usage named: good for any, so this one shows that the others are refused for their fault alone
	outside curl -sf --max-time 10 --cacert "$ca" --cert "$crt" --key "$key" "$api/api/v1/services" >/dev/null
	"${sign[@]}" -not_before 20200101000000Z -not_after 20200102000000Z 2>/dev/null || "${sign[@]}" -days -1 2>/dev/null
	refused 'certificate expired'
	"${sign[@]}" -days 1 -extfile <(echo extendedKeyUsage=serverAuth) 2>/dev/null
	refused 'unsupported certificate'
	openssl req -x509 -key "$key" -days 1 -subj '/O=system:masters/CN=mallory' -out "$crt" 2>/dev/null
	refused 'unknown ca'
	local token
	for token in x "$(head -c 60000 /dev/zero | tr '\0' a)" eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9. $'\xff\xfe'; do
		run ask -H "Authorization: Bearer $token" "$api/api/v1/services"
		[[ ${lines[-1]} == 401 && $output == *'"message": "Unauthorized"'*'"reason": "Unauthorized"'* ]]
	done
}

@test "DNS: garbage, half requests, too many connections" { attack dns 10.244.0.1; }

@test "the node's endpoint and the proxy's ports bear garbage too" {
	local port
	run outside curl -sk --max-time 10 "https://$WORLD_NET.10:10250/containerLogs/default/x/y"
	[[ $status != 0 ]]
	for port in 10250 10249 10256; do
		head -c 100000 /dev/urandom | on one timeout 10 bash -c "cat >/dev/tcp/127.0.0.1/$port" || true
		printf 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' "$(head -c 9000 /dev/zero | tr '\0' a)" | on one timeout 10 bash -c "cat >/dev/tcp/127.0.0.1/$port" || true
	done
	[[ $(on one curl -s -o /dev/null -w '%{http_code}' --max-time 10 http://127.0.0.1:10256/healthz) == 200 ]]
	on one curl -sf --max-time 10 http://127.0.0.1:10249/metrics | grep -q kubeproxy_
}

@test "connections that stop halfway are ended by the server" {
	wait_for 90 gone "$(cat "$WORLD_DIR/beside/slow.pid")"
	cat "$WORLD_DIR/beside/slow.log"
	grep -qx 'slow: all are ended' "$WORLD_DIR/beside/slow.log"
}

@test "the client beside saw all its writes, and the memory came back" {
	touch "$WORLD_DIR/beside/stop"
	wait_for 40 gone "$(cat "$WORLD_DIR/beside/pid")"
	cat "$WORLD_DIR/beside/log"
	grep -q '^others: [0-9]* writes$' "$WORLD_DIR/beside/log"
	attack settled "$(role apiserver)" "$(cat "$WORLD_DIR/first")"
}
