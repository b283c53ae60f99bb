#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# up, down and reset killed half way, started twice, one against the other: the next one goes on, and in the end nothing is left. And a wall clock that jumps.
# ROUNDS (5) rounds; FAULT_SEED repeats the choices of an earlier run.

load lib.bash
load faults.bash

setup_file() {
	world_begin faults
	host_facts >"$BATS_FILE_TMPDIR/host-before"
	faults_begin faults
	node_ns one 1
	node_facts one >"$BATS_FILE_TMPDIR/node-before"
}

teardown_file() {
	world_resume
	rounds_report faults
	world_end
}

setup() {
	world_resume
	[[ ! -e $WORLD_DIR/one ]] || "$FAIRLEAD" reset --data-dir="$WORLD_DIR/one" # of a test that failed
	rounds=${ROUNDS:-5} # each has several starts
	faults_resume
}

teardown() { tell_why; }

# begin_and_kill MS VERB [OPTION...]: starts it for node one and kills it within MS milliseconds.
begin_and_kill() {
	local ms=$((RANDOM % $1)) p
	setsid "$FAIRLEAD" "$2" --data-dir="$WORLD_DIR/one" "${@:3}" >>"$WORLD_DIR/cut.log" 2>&1 </dev/null 3>&- 4>&- &
	p=$!
	sleep "0.$(printf %03d "$ms")"
	kill -KILL "$p" 2>/dev/null || true
	wait "$p" || true
	echo "$2" >>"$WORLD_DIR/kills"
}

half_up() { begin_and_kill 400 up --netns="/run/netns/$WORLD-one" --node-name=one "$@"; }

three_pods() {
	kc one apply -f "$ROOT/examples/webui.yaml"
	kc one rollout status deployment/webui --timeout=60s
}

pods_of() { kc one get pods -l "app=$1" -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}{"\n"}{end}' | sort; }

# New to the machine; what others had there may be gone by now.
host_news() { comm -13 <(sort "$BATS_FILE_TMPDIR/host-before") <(host_facts | sort); }

nothing_left() {
	[[ -z $(processes_of one) ]]
	diff "$BATS_FILE_TMPDIR/node-before" <(node_facts one)
	[[ -z $(host_news) ]] || { host_news && false; }
	[[ -z $("$PYTHON" "$ROOT/tests/e2e/consistent.py" cgroups "$WORLD_DIR/one") ]]
}

@test "of two that start on one data directory at once one runs and the other says so" {
	local i pids ready refused p
	for i in 1 2 3; do
		mkdir -p -m 0700 "$WORLD_DIR/one"
		pids=()
		truncate -s 0 "$WORLD_DIR/a.log" "$WORLD_DIR/b.log"
		for p in a b; do
			setsid "$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one" --node-name=one >"$WORLD_DIR/$p.log" 2>&1 </dev/null 3>&- 4>&- &
			pids+=($!)
		done
		wait_for 20 grep -q '^fairlead: ready' "$WORLD_DIR/a.log" "$WORLD_DIR/b.log"
		wait_for 20 grep -q 'is in use by' "$WORLD_DIR/a.log" "$WORLD_DIR/b.log"
		ready=$(grep -l '^fairlead: ready' "$WORLD_DIR/a.log" "$WORLD_DIR/b.log")
		refused=$(grep -l 'is in use by' "$WORLD_DIR/a.log" "$WORLD_DIR/b.log")
		[[ $(wc -l <<<"$ready") == 1 && $(wc -l <<<"$refused") == 1 && $ready != "$refused" ]]
		[[ $(processes_of one | wc -l) == 6 ]]
		"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
		wait "${pids[@]}" || true
	done
	nothing_left
}

@test "up killed half way, on an empty and on a full data directory: the next up serves" {
	local i
	for i in $(seq "$rounds"); do
		half_up
		half_up
		node_up one
		three_pods
		half_up # refused
		kill_all one
		half_up
		half_up --advertise-address="$WORLD_NET.$((20 + i))" # certificates are made anew
		node_up one
		kc one rollout status deployment/webui --timeout=60s
		agree one 20
		if ((i % 2)); then node_stop one; else "$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"; fi
		round_over "up killed half way" "$i"
	done
	"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	nothing_left
}

@test "down killed half way: the next up finds what is left, the next down ends it" {
	local i
	for i in $(seq "$rounds"); do
		node_up one
		three_pods
		if ((i % 2)); then kill_all one; fi
		begin_and_kill 600 down
		if ((i % 3)); then
			kill_all one # if it was killed before it did so
			node_up one
			kc one rollout status deployment/webui --timeout=60s
			agree one 20
			kill_all one
			begin_and_kill 300 down
		fi
		"$FAIRLEAD" down --data-dir="$WORLD_DIR/one"
		nothing_left
		round_over "down killed half way" "$i"
	done
}

@test "reset killed half way: the next up starts with nothing or with all, the next reset removes the rest" {
	local i
	for i in $(seq "$rounds"); do
		node_up one
		three_pods
		kc one create configmap all --from-literal=a=b
		if ((i % 2)); then kill_all one; else node_stop one; fi
		begin_and_kill 500 reset
		if ((i % 3)); then
			kill_all one
			node_up one
			if kc one get configmap all; then kc one get deployment webui; else ! kc one get deployment webui; fi
			begin_and_kill 500 reset
		fi
		rm -f "$WORLD_DIR/one/up.pid" # the library's, so it would stay
		"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
		[[ ! -e $WORLD_DIR/one ]]
		nothing_left
		round_over "reset killed half way" "$i"
	done
}

# decided PID: that `up` is ready or refused; or it was first, and ended by the down before it was ready.
decided() { grep -qE '^fairlead: ready|is in use by' "$WORLD_DIR/a.log" || gone "$1"; }

@test "a down and an up at once: one after the other, and the second says so if it will not wait" {
	local i down up
	for i in $(seq "$rounds"); do
		node_up one
		kill_all one
		"$FAIRLEAD" down --data-dir="$WORLD_DIR/one" 3>&- 4>&- &
		down=$!
		sleep "0.0$((RANDOM % 90 + 10))"
		: >"$WORLD_DIR/a.log" # what the last round wrote must not decide this one
		setsid "$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one" --node-name=one >"$WORLD_DIR/a.log" 2>&1 </dev/null 3>&- 4>&- &
		up=$!
		wait_for 20 decided "$up"
		wait "$down" || [[ -n $(processes_of one) ]] # `up` was first, and down ended it or was refused
		"$FAIRLEAD" down --data-dir="$WORLD_DIR/one"
		wait "$up" || true
		nothing_left
		round_over "down against up" "$i"
	done
}

shifted() { LD_PRELOAD=$WORLD_DIR/clock_shift.so CLOCK_SHIFT=$WORLD_DIR/shift "$@"; } # COMMAND goes by the clock that jumps

shifted_node_up() {
	gcc -shared -fPIC -O1 -o "$WORLD_DIR/clock_shift.so" "$ROOT/tests/e2e/clock_shift.c" -ldl
	echo 0 >"$WORLD_DIR/shift"
	shifted node_up one
}

@test "the wall clock jumps hours forward and back: pods, Services, leases and names go on, and everything may be started anew" {
	local seconds i=0 before
	shifted_node_up
	three_pods
	before=$(pods_of webui)
	for seconds in 7200 -36000 100000; do
		i=$((i + 1))
		echo "$seconds" >"$WORLD_DIR/shift"
		kc one create service clusterip "jump-$i" --tcp=80:8080
		kc one set selector service "jump-$i" app=webui
		kc one run "jump-$i" --image=fairlead/echo
		kc one wait --for=condition=Ready "pod/jump-$i" --timeout=20s
		kc one delete pod "jump-$i" --timeout=10s
		agree one 20
		[[ $(pods_of webui) == "$before" ]]
		[[ $(kc one get node one -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
		[[ $(kc one get events --field-selector "involvedObject.name=jump-$i" -o name | wc -l) -gt 0 ]]
		if ((i % 2)); then
			kill_all one
			shifted node_up one
			agree one 20
			[[ $(kc one get events --field-selector "involvedObject.name=jump-$i" -o name | wc -l) -gt 0 ]]
		fi
		round_over "clock jump" "$i" 3
	done
	"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	nothing_left
}

# by_api CURL-ARG...: asks the API server as the administrator
by_api() {
	on one curl -sf --max-time 5 --cacert "$WORLD_DIR/one/pki/ca.crt" --cert "$WORLD_DIR/one/pki/admin.crt" --key "$WORLD_DIR/one/pki/admin.key" "$@"
}

@test "the wall clock jumps beyond the end of every certificate, and back: they are signed anew, and roles, pods and the administrator go on" {
	local seconds i=0 before
	shifted_node_up
	three_pods
	before=$(pods_of webui)
	anew() { [[ $(grep -c 'role is started anew, there are new certificates' "$WORLD_DIR/one/up.log") == $((5 * i)) ]]; }
	for seconds in 34560000 0; do
		i=$((i + 1))
		echo "$seconds" >"$WORLD_DIR/shift"
		wait_for 40 anew
		wait_for 20 shifted by_api https://127.0.0.1:6443/readyz
		shifted by_api -X POST -H 'Content-Type: application/json' -d "{\"metadata\":{\"name\":\"signed-$i\"}}" \
			https://127.0.0.1:6443/api/v1/namespaces/default/configmaps >/dev/null
		shifted agree one 30
	done
	[[ $(kc one get configmap signed-1 signed-2 -o name | wc -l) == 2 ]]
	[[ $(pods_of webui) == "$before" ]]
	kc one run anew --image=fairlead/echo
	kc one wait --for=condition=Ready pod/anew --timeout=20s
	kc one logs anew # the node's own certificate
	run grep 'role ended' "$WORLD_DIR/one/up.log"
	[[ $status == 1 ]]
	"$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	nothing_left
}
