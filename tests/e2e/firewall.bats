#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A node behind the firewalls that hosts have: every kind of traffic of pods and Services passes, the firewall's own rules stay as they are.

load lib.bash

setup_file() {
	world_begin fw
	node_ns one 1
	on one sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1 # strict
	on one iptables-nft -P FORWARD DROP
	node_up one --api-listen=:0 # the port that is picked is the one to let pods through to
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one create service nodeport outside --tcp=80:8080 --node-port=30036
	kc one patch service outside --type=merge -p '{"spec":{"selector":{"app":"webui"}}}'
	kc one rollout status deployment/webui --timeout=60s
}

teardown_file() {
	world_resume
	world_end
}

setup() { world_resume; }

teardown() { drop_firewalls; }

# The rules of a golden case: what the firewall's own programs wrote.
load_case() {
	awk -v dir="$BATS_TEST_TMPDIR" '/^== / { out = dir "/" $2; next } out { print > out }' "$ROOT/tests/golden/firewall/$1.txt"
	local kind
	for kind in nft iptables ip6tables iptables-legacy shell; do
		[[ -s $BATS_TEST_TMPDIR/$kind ]] || continue
		case $kind in
		nft) on one nft -f "$BATS_TEST_TMPDIR/nft" ;;
		iptables) on one iptables-nft-restore "$BATS_TEST_TMPDIR/iptables" ;;
		ip6tables) on one ip6tables-nft-restore "$BATS_TEST_TMPDIR/ip6tables" ;;
		iptables-legacy) on one iptables-legacy-restore "$BATS_TEST_TMPDIR/iptables-legacy" ;;
		shell) on one sh -e "$BATS_TEST_TMPDIR/shell" ;;
		esac
	done
}

drop_firewalls() {
	local family table
	while read -r _ family table; do
		[[ $table == fairlead ]] || on one nft delete table "$family" "$table"
	done < <(on one nft list tables)
	if on one grep -qs filter /proc/net/ip_tables_names; then
		printf '*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n' | on one iptables-legacy-restore
	fi
}

pod_uid() { kc one get pods -l app=webui -o "jsonpath={.items[$1].metadata.uid}"; }
pod_ip() { kc one get pods -l app=webui -o "jsonpath={.items[$1].status.podIP}"; }
in_pod() { nsenter --net="$WORLD_DIR/one/run/node/ns/$(pod_uid 0).net" "$@"; }

to_pod() { in_pod curl -s --max-time 1 "http://$(pod_ip 1):8080/" | grep -q .; }
to_service() { "$@" curl -s --max-time 1 "http://$(kc one get service webui -o 'jsonpath={.spec.clusterIP}')/" | grep -q .; }
to_node_port() { outside curl -s --max-time 1 "http://$WORLD_NET.10:30036/" | grep -q .; }
to_dns() { [[ $(in_pod dig +short +time=1 +tries=1 "$@" @10.96.0.10 webui.default.svc.cluster.local) == 10.* ]]; }
to_api() { in_pod curl -sk --max-time 1 https://10.96.0.1/version | grep -q gitVersion; }

everything_passes() {
	wait_for 10 to_pod
	wait_for 10 to_service in_pod
	wait_for 10 to_service on one
	wait_for 10 to_node_port
	wait_for 10 to_dns
	wait_for 10 to_dns +tcp
	wait_for 10 to_api
}

# behind CASE: all passes; then what is ours goes by itself when the firewall opens.
behind() {
	load_case "$1"
	everything_passes
	on one sh -c 'nft list ruleset; iptables-legacy-save 2>/dev/null' | grep -q 'FAIRLEAD-FORWARD'
}

@test "a node started behind iptables -P FORWARD DROP; a reload of the firewall is noticed" {
	on one iptables-nft -P FORWARD DROP
	everything_passes
	on one iptables-nft -S FORWARD | grep -q -- '-j FAIRLEAD-FORWARD'
	on one iptables-nft -F
	everything_passes
	grep -q 'host firewall: pods are let through hook=forward table=ip filter chain=FAIRLEAD-FORWARD' "$WORLD_DIR/one/up.log"
}

@test "Docker's rules" { behind docker; }

@test "ufw's rules, which deny what comes in" { behind ufw; }

@test "firewalld's rules" { behind firewalld; }

@test "iptables with three policies that drop" { behind policies-everywhere; }

@test "a REJECT at the end of INPUT and FORWARD" { behind reject-at-end; }

@test "iptables-legacy" {
	load_case legacy
	wait_for 15 sh -c "ip netns exec $WORLD-one iptables-legacy -S FORWARD | grep -q FAIRLEAD" # its look is every 3 s
	everything_passes
}

@test "tables written by hand are left alone: log line, Event and condition name the rule, and the remedy works" {
	local remedy
	load_case hand-written
	wait_for 10 grep -q 'warn .*host firewall: .*blocked by .* of chain forward in nftables table inet filter' "$WORLD_DIR/one/up.log"
	run to_pod
	[[ $status != 0 ]]
	condition() { kc one get node one -o 'jsonpath={.status.conditions[?(@.type=="HostFirewallBlocksPods")].message}'; }
	wait_for 10 eval '[[ $(condition) == *"chain forward in nftables table inet filter"* ]]'
	wait_for 10 eval 'kc one get events --field-selector reason=HostFirewallBlocksPods -o name | grep -q .'
	[[ $(grep -c 'chain forward in nftables table inet filter' "$WORLD_DIR/one/up.log") == 1 ]]
	condition | grep -o '`[^`]*`' | tr -d '`' >"$BATS_TEST_TMPDIR/remedy"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/remedy") == 2 ]]
	while IFS= read -r remedy; do on one sh -c "$remedy"; done <"$BATS_TEST_TMPDIR/remedy"
	everything_passes
	wait_for 10 eval '[[ -z $(condition) ]]'
	grep -q 'host firewall: nothing blocks pods any more' "$WORLD_DIR/one/up.log"
}

@test "a rule against the port of the API, which was picked at the start, is named" {
	on one nft -f - <<-EOF
		table inet mine {
			chain input {
				type filter hook input priority 0; policy accept;
				iifname != "lo" tcp dport $(cat "$WORLD_DIR/one/apiserver.port") drop
			}
		}
	EOF
	wait_for 10 grep -q 'warn .*host firewall: .*chain input in nftables table inet mine' "$WORLD_DIR/one/up.log"
	run to_api
	[[ $status != 0 ]]
	on one nft delete table inet mine
	wait_for 10 to_api
}

@test "down takes out what is ours, and leaves the firewall as it was" {
	rules() { on one sh -c 'nft -s list table ip filter; iptables-nft-save -t filter' | sed -E 's/ *\[[0-9]+:[0-9]+\]$//; /^# /d'; }
	node_stop one
	load_case docker
	rules >"$BATS_TEST_TMPDIR/before"
	node_up one
	wait_for 10 eval 'rules | grep -q FAIRLEAD-FORWARD'
	node_stop one
	"$FAIRLEAD" down --data-dir="$WORLD_DIR/one"
	diff "$BATS_TEST_TMPDIR/before" <(rules)
}
