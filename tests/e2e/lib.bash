# SPDX-License-Identifier: Apache-2.0
# Topology of the end-to-end tests. Everything is named after the test file and the pid of bats, and removed by `world_end`.
#
#   netns $WORLD-out  10.77.N.1 ---veth--- 10.77.N.10  netns $WORLD-<node>: fairlead up
#
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FAIRLEAD=${FAIRLEAD:-$ROOT/build/fairlead}
KUBECTL=${KUBECTL:-kubectl}
export PYTHON=${PYTHON:-$(python3 -c 'import sys; print(sys.executable)')} # what a wrapper of that name finds takes longer each time

world_begin() { # world_begin NAME
	WORLD=fl-$1-$$
	WORLD_DIR=$(mktemp -d "/tmp/$WORLD.XXXXXX")
	chmod 0711 "$WORLD_DIR"
	WORLD_NET=10.77.$(($$ % 250 + 1))
	WORLD_NODES=()
	export WORLD WORLD_DIR WORLD_NET
	[[ -z ${WORLDS_FILE-} ]] || echo "$WORLD $WORLD_DIR" >>"$WORLDS_FILE"
	ip netns add "$WORLD-out"
	ip -n "$WORLD-out" link set lo up
	ip -n "$WORLD-out" link add br0 type bridge
	ip -n "$WORLD-out" addr add "$WORLD_NET.1/24" dev br0
	ip -n "$WORLD-out" link set br0 up
}

# node_ns NODE INDEX: a network namespace with one address on the common bridge and no default route.
node_ns() {
	local ns=$WORLD-$1
	ip netns add "$ns"
	ip -n "$ns" link set lo up
	ip link add "v$2-$$" netns "$WORLD-out" type veth peer name eth0 netns "$ns"
	ip -n "$WORLD-out" link set "v$2-$$" master br0 up
	ip -n "$ns" addr add "$WORLD_NET.$((9 + $2))/24" dev eth0
	ip -n "$ns" link set eth0 up
	WORLD_NODES+=("$1")
	[[ -z ${BATS_FILE_TMPDIR-} ]] || printf 'WORLD_NODES=(%s)\n' "${WORLD_NODES[*]}" >"$BATS_FILE_TMPDIR/nodes"
}

# For `setup` and `teardown_file` of a world that `setup_file` began: exported variables are there, the nodes are not.
world_resume() {
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/nodes"
}

on() { ip netns exec "$WORLD-$1" "${@:2}"; }      # on NODE COMMAND...
# consistent NODE: API, kernel, DNS, processes and files say the same; prints the differences.
consistent() { nsenter --net="/run/netns/$WORLD-$1" "$PYTHON" "$ROOT/tests/e2e/consistent.py" "$WORLD_DIR/$1/admin.kubeconfig" 10.244.0.1 "$1"; }
agree() { wait_for "$2" consistent "$1" || { consistent "$1" && false; }; } # agree NODE SECONDS: until they do, else the differences
outside() { ip netns exec "$WORLD-out" "$@"; } # from a host beside the nodes

# node_up NODE [OPTION...]: starts `fairlead up` in the node's namespace and waits for its ready line.
node_up() {
	local node=$1 dir=$WORLD_DIR/$1
	shift
	mkdir -p -m 0700 "$dir"
	# The ready line of an earlier start must not be taken for this one's.
	[[ ! -e $dir/up.log ]] || { tail -n 2000 "$dir/up.log" >>"$WORLD_DIR/$node.log.before" && rm "$dir/up.log"; }
	setsid "$FAIRLEAD" up --netns="/run/netns/$WORLD-$node" --data-dir="$dir" --node-name="$node" "$@" >"$dir/up.log" 2>&1 </dev/null 3>&- 4>&- &
	echo $! >"$dir/up.pid"
	if ! wait_for 20 grep -q '^fairlead: ready' "$dir/up.log"; then
		echo "fairlead up on $node did not become ready:" >&2
		cat "$dir/up.log" >&2
		return 1
	fi
}

node_stop() { # SIGTERM to `up`: pods and rules stay
	local pid
	pid=$(cat "$WORLD_DIR/$1/up.pid")
	[[ $(cat "/proc/$pid/comm" 2>/dev/null) == fairlead* ]] || return 0
	kill -TERM "$pid"
	wait_for 15 gone "$pid"
}

node_reset() { "$FAIRLEAD" reset --data-dir="$WORLD_DIR/$1"; }

gone() { [[ ! -e /proc/$1 ]] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }

kc() { on "$1" "$KUBECTL" --kubeconfig "$WORLD_DIR/$1/admin.kubeconfig" "${@:2}"; } # kc NODE ARG...

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[[ $SECONDS -lt $end ]] || { echo "gave up waiting for: $*" >&2; return 1; }
		sleep 0.05
	done
}

world_end() {
	local node
	for node in "${WORLD_NODES[@]}"; do
		[[ -d $WORLD_DIR/$node ]] && node_reset "$node" >>"$WORLD_DIR/end.log" 2>&1
		ip netns del "$WORLD-$node" 2>/dev/null
	done
	ip netns del "$WORLD-out" 2>/dev/null
	rm -rf "$WORLD_DIR"
	return 0
}

# worlds_end FILE: ends the worlds that WORLDS_FILE names and that were not ended, of a run that was cut short.
worlds_end() {
	local dir name
	while read -r WORLD WORLD_DIR; do
		[[ -d $WORLD_DIR ]] || continue
		WORLD_NODES=()
		for dir in "$WORLD_DIR"/*/; do
			name=$(basename "$dir")
			[[ ! -e /run/netns/$WORLD-$name ]] || WORLD_NODES+=("$name")
		done
		world_end
	done <"$1"
}

# What the machine has that this world's nodes could have left behind outside their namespaces, one fact a line. Other suites may be at work on the same
# machine: what bears their names is not looked at.
host_facts() {
	ip netns list | grep -F "$WORLD" | grep -v -- "-out\|-one\|-two" | sed 's/^/netns /'
	ip route show table all proto 117 | sed 's/^/route /'
	nft list tables 2>/dev/null | sed 's/^/nft /'
	awk -v dir="$WORLD_DIR" 'index($2, dir) { print "mount", $2, $3 }' /proc/mounts
	sysctl -a 2>/dev/null | grep -E '^net\.(ipv4|ipv6)\.(ip_forward|conf\.(all|default|lo|eth0)\.(forwarding|rp_filter|route_localnet|proxy_arp|accept_local))'
}

# The cgroup of NODE's pods, as one of its containers sees it: fairlead-<hash>.
node_cgroup() {
	local p
	for p in $(processes_of "$1"); do
		[[ $(cat "/proc/$p/comm") == fairlead-shim ]] || continue
		grep -o "fairlead-[0-9a-f]*" "/proc/$(pgrep -P "$p" | head -n 1)/cgroup" | head -n 1
		return
	done
}

# The same facts of a node's network namespace.
node_facts() {
	ip -n "$WORLD-$1" -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/link \1/' | sort
	ip -n "$WORLD-$1" -o addr show | awk '{ print "addr", $2, $4 }' | sort
	ip -n "$WORLD-$1" route show table all | grep -v 'table local' | sed 's/^/route /' | sort
	on "$1" nft list ruleset | sed 's/^/nft /'
	on "$1" sysctl -a 2>/dev/null | grep -E '^net\.(ipv4|ipv6)\.(ip_forward|conf\.(all|default|lo|eth0)\.(forwarding|rp_filter|route_localnet|proxy_arp|accept_local|arp_ignore|arp_announce))' | sort
}

processes_of() { # pids of ours that work on NODE's data directory
	local p comm
	while IFS=/ read -r _ _ p _; do
		{ read -r comm <"/proc/$p/comm"; } 2>/dev/null && [[ $comm == fairlead* ]] && echo "$p"
	done < <(grep -laF "$WORLD_DIR/$1" /proc/[0-9]*/cmdline 2>/dev/null)
	return 0
}
