#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a newcomer types: make up, make up again, make down. In a network namespace, so that the host is not touched.

setup() {
	load lib.bash
	world_begin mk
	node_ns one 1
	node_facts one >"$BATS_TEST_TMPDIR/before"
}

teardown() { world_end; }

@test "make up shows a Service answering, again changes nothing, make down leaves nothing behind" {
	# nsenter, not `ip netns exec`: that hides the cgroups from the container runtime.
	cd "$ROOT" && nsenter --net="/run/netns/$WORLD-one" env DATA_DIR="$WORLD_DIR/one" SUDO_USER= OUT="$BATS_TEST_TMPDIR" bash -ec '
		scripts/up.sh >"$OUT/first" 2>&1
		scripts/up.sh >"$OUT/second" 2>&1
		kubectl --kubeconfig "$DATA_DIR/admin.kubeconfig" get pods -l app=webui -o name >"$OUT/pods"
		scripts/down.sh >"$OUT/down" 2>&1
		scripts/down.sh >>"$OUT/down" 2>&1' 3>&- 4>&-
	grep -q '^fairlead: ready in [0-9]* ms' "$BATS_TEST_TMPDIR/first"
	[[ $(grep -c '  answered by webui-' "$BATS_TEST_TMPDIR/first") == 6 ]]
	grep -q 'fairlead is up already' "$BATS_TEST_TMPDIR/second"
	[[ $(grep -c '  answered by webui-' "$BATS_TEST_TMPDIR/second") == 6 ]]
	[[ $(wc -l <"$BATS_TEST_TMPDIR/pods") == 3 ]]
	grep -q "export KUBECONFIG=$WORLD_DIR/one/admin.kubeconfig" "$BATS_TEST_TMPDIR/first"
	[[ -z $(processes_of one) ]]
	diff "$BATS_TEST_TMPDIR/before" <(node_facts one)
}

@test "make install puts the program and its manual page where they are asked for" {
	make -s -C "$ROOT" O="$(dirname "$FAIRLEAD")" install DESTDIR="$BATS_TEST_TMPDIR/root" PREFIX=/opt/fl
	[[ $("$BATS_TEST_TMPDIR/root/opt/fl/bin/fairlead" version) == "$("$FAIRLEAD" version)" ]]
	cmp "$ROOT/docs/man/fairlead.8" "$BATS_TEST_TMPDIR/root/opt/fl/share/man/man8/fairlead.8"
	[[ $(find "$BATS_TEST_TMPDIR/root" -type f | wc -l) == 2 ]]
}
