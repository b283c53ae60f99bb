#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of everything, and of each role, while clients write: no acknowledged write is missing, and afterwards API, kernel, DNS and processes say the
# same. ROUNDS (5) rounds.

setup_file() {
	load lib.bash
	world_begin crash
	declare -p WORLD WORLD_DIR WORLD_NET >"$BATS_FILE_TMPDIR/world"
	node_ns one 1
	node_up one
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one rollout status deployment/webui --timeout=60s
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
	WORLD_NODES=(one)
	rounds=${ROUNDS:-5}
}

pid_of() { # pid_of ROLE
	local p
	for p in $(processes_of one); do [[ $(cat "/proc/$p/comm") != "fairlead-$1" ]] || echo "$p"; done | head -n 1
}

running() { [[ -n $(pid_of "$1") ]]; }

write_until_killed() { # writes Services and updates them until told to stop; acknowledged states go to FILE
	on one python3 "$ROOT/tests/e2e/writers.py" write "$WORLD_DIR/one/admin.kubeconfig" "$1" "$2" 3>&- 4>&- &
	writer=$!
}

verify() { on one python3 "$ROOT/tests/e2e/writers.py" verify "$WORLD_DIR/one/admin.kubeconfig" "$1"; }

consistent() { on one python3 "$ROOT/tests/e2e/consistent.py" "$WORLD_DIR/one/admin.kubeconfig" 10.244.0.1; }

@test "kill -9 of everything under writes loses no acknowledged write" {
	local i acks=$BATS_TEST_TMPDIR/acks p
	for i in $(seq "$rounds"); do
		write_until_killed "$acks" "all-$i"
		wait_for 10 test -s "$acks"
		sleep "0.$((RANDOM % 9))"
		for p in $(processes_of one); do
			[[ $(cat "/proc/$p/comm" 2>/dev/null) == fairlead-shim ]] || kill -KILL "$p" 2>/dev/null || true
		done
		wait $writer || true
		node_up one
		verify "$acks"
	done
	wait_for 30 consistent
}

@test "kill -9 of each role under writes loses nothing and all agree afterwards" {
	local i role acks=$BATS_TEST_TMPDIR/acks
	for i in $(seq "$rounds"); do
		for role in api ctrl proxy node dns; do
			write_until_killed "$acks" "role-$i-$role"
			wait_for 10 test -s "$acks"
			wait_for 15 running $role # back-off after the last round's kill
			kill -KILL "$(pid_of $role)"
			wait_for 15 kc one get --raw /readyz
			touch "$acks.stop"
			wait $writer || true
			rm -f "$acks.stop"
			wait_for 15 verify "$acks"
		done
	done
	wait_for 30 consistent
}

@test "the node role killed while pods start and stop: nothing starts twice, nothing is orphaned" {
	local i
	for i in $(seq "$rounds"); do
		kc one scale deployment webui --replicas=$((i % 4 + 1))
		wait_for 15 running node
		kill -KILL "$(pid_of node)"
		kc one rollout status deployment/webui --timeout=60s
		wait_for 30 consistent
	done
}
