#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Roles that are not killed but cannot do their work: halted, without file descriptors, the port taken. The others go on meanwhile, and all
# agree afterwards without anybody's help. HALTS (1) rounds of halting; FAULT_SEED repeats the choices of an earlier run.

load lib.bash
load faults.bash

setup_file() {
	world_begin pressure
	faults_begin pressure
	node_ns one 1
	node_up one
	webui_outside
}

teardown_file() {
	world_resume
	world_end
}

setup() {
	world_resume
	rounds=${HALTS:-1}
	faults_resume
}

teardown() {
	load_stop
	tell_why
}

@test "each role halted for a while and woken again, under load: nothing is lost but what it owed meanwhile" {
	local i role pid
	for i in $(seq "$rounds"); do
		load_start "h$i"
		for role in $(shuf -e api ctrl proxy node dns --random-source=<(yes $RANDOM)); do
			pid=$(pid_of one "$role")
			[[ $role != dns ]] || dns_down
			kill -STOP "$pid"
			a_moment
			sleep "0.$((RANDOM % 10))" # halted for a time of its own, nothing is awaited
			kill -CONT "$pid"
			[[ $role != dns ]] || dns_up one
		done
		load_stop
		agree one 30
		round_over "each role halted" "$i"
	done
	load_report
}

@test "a stranger takes the API server's port while it is away: the rest serves, and it is back when the port is free" {
	local stranger before
	before=$(for role in ctrl proxy node dns; do pid_of one "$role"; done)
	on one "$PYTHON" - "$WORLD_DIR/taken" 3>&- 4>&- <<-'END' &
		import os, socket, sys, time
		while True:
		    s = socket.socket(socket.AF_INET6)
		    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		    try:
		        s.bind(("::", 6443))
		        s.listen(1)
		        break
		    except OSError:
		        s.close()
		        time.sleep(0.001)
		open(sys.argv[1], "w").close()
		while os.path.exists(sys.argv[1]):
		    time.sleep(0.05)
	END
	stranger=$!
	until [[ -e $WORLD_DIR/taken ]]; do # it may lose a race
		kill_role one api
		wait_for 2 test -e "$WORLD_DIR/taken" || wait_for 15 running one api
	done
	wait_for 15 grep -q 'listen.*6443.*in use' "$WORLD_DIR/one/up.log"
	dns_answers one || { dns_why one && false; }
	[[ $(outside curl -s --max-time 10 "http://$WORLD_NET.10:30080/") == webui-* ]]
	rm "$WORLD_DIR/taken"
	wait "$stranger"
	wait_for 30 on one curl -skf https://127.0.0.1:6443/readyz # the longest back-off is 10 s
	agree one 30
	[[ $(for role in ctrl proxy node dns; do pid_of one "$role"; done) == "$before" ]]
}

@test "a role without a free file descriptor goes on when there are some again" {
	local role pid hard
	local roles=(api node)
	((rounds == 1)) || roles=(api ctrl proxy node dns)
	for role in "${roles[@]}"; do
		pid=$(pid_of one "$role")
		hard=$(prlimit --pid "$pid" --nofile --noheadings --output HARD)
		prlimit --pid "$pid" --nofile="$(($(find "/proc/$pid/fd" -type l | wc -l) - 2)):$hard"
		kc one create configmap "during-$role" --from-literal=a=b --request-timeout=2s || [[ $role == api ]]
		on one dig +tries=1 +time=1 +tcp @10.96.0.10 kubernetes.default.svc.cluster.local >"$BATS_TEST_TMPDIR/dig" || [[ $role == dns ]]
		[[ $role == api ]] || kc one delete pod -l app=webui --wait=false
		prlimit --pid "$pid" --nofile="$hard:$hard"
		wait_for 30 kc one get --raw /readyz
		kc one rollout status deployment/webui --timeout=60s
		agree one 30
		echo "had none: $role"
	done
}
