# SPDX-License-Identifier: Apache-2.0
# What the fault rounds share: load that knows what it was told, and faults. Used with lib.bash.
#
# shellcheck shell=bash

LOAD_PIDS=()

# faults_begin NAME: in setup_file, after world_begin. The seed is told, so that a round can be had again.
faults_begin() {
	export FAULT_SEED=${FAULT_SEED:-$((RANDOM * 32768 + RANDOM))}
	echo "# $1: FAULT_SEED=$FAULT_SEED" >&3
	: | tee "$WORLD_DIR/rounds" >"$WORLD_DIR/kills"
}

faults_resume() { # in setup
	RANDOM=$((FAULT_SEED + BATS_TEST_NUMBER))
}

webui_outside() { # three pods on node one, and the Services that the load speaks to
	kc one apply -f "$ROOT/examples/webui.yaml" -f - <<-YAML
		apiVersion: v1
		kind: Service
		metadata: {name: outside}
		spec:
		  type: NodePort
		  selector: {app: webui}
		  ports:
		  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
		  - {name: tcp, port: 7, targetPort: 8081, nodePort: 30007}
		  - {name: udp, port: 7, targetPort: 8081, nodePort: 30007, protocol: UDP}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: headless}
		spec:
		  clusterIP: None
		  selector: {app: webui}
		  ports: [{name: http, port: 8080}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: sticky}
		spec:
		  type: NodePort
		  sessionAffinity: ClientIP
		  selector: {app: webui}
		  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30081}]
	YAML
	kc one rollout status deployment/webui --timeout=60s
}

# load_start TAG [api|traffic]: clients of the API, and of Service `outside` from node one, a pod and another host. They report to $BATS_FILE_TMPDIR/report.
load_start() {
	local dir=$BATS_TEST_TMPDIR/load vip name=outside.default.svc.cluster.local pod ip=$WORLD_NET.10
	mkdir -p "$dir"
	rm -f "$dir/stop" "$dir/stop.begun" "$dir/outages"
	LOAD_TAG=$1
	: >"$dir/report-$1"
	if [[ ${2:-api} == api ]]; then
		load_run "$PYTHON" "$ROOT/tests/e2e/apiload.py" "$WORLD_DIR/one/admin.kubeconfig" "$1" "$FAULT_SEED" "$dir/stop"
		wait_for 30 test -e "$dir/stop.begun"
	fi
	if [[ ${2:-traffic} == traffic ]]; then
		vip=$(kc one get service outside -o 'jsonpath={.spec.clusterIP}')
		pod=$(kc one get pods -l app=webui -o 'jsonpath={.items[0].metadata.uid}')
		local targets=("http:$vip:80" "http:$ip:30080" "tcp:$vip:7" "udp:$vip:7" "udp:$ip:30007" "dns:10.96.0.10:$name:$vip" "name:10.96.0.10:$name:80")
		load_run nsenter --net="/run/netns/$WORLD-one" "$PYTHON" "$ROOT/tests/e2e/traffic.py" host "$dir/stop" "$dir/outages" webui- "${targets[@]}"
		load_run nsenter --net="$WORLD_DIR/one/run/node/ns/$pod.net" "$PYTHON" "$ROOT/tests/e2e/traffic.py" pod "$dir/stop" "$dir/outages" webui- "${targets[@]}"
		load_run nsenter --net="/run/netns/$WORLD-out" "$PYTHON" "$ROOT/tests/e2e/traffic.py" outside "$dir/stop" "$dir/outages" webui- \
			"http:$ip:30080" "tcp:$ip:30007" "udp:$ip:30007"
	fi
}

load_run() {
	local dir=$BATS_TEST_TMPDIR/load
	if [[ $1 == "$PYTHON" ]]; then set -- nsenter --net="/run/netns/$WORLD-one" "$@"; fi
	"$@" >>"$dir/report-$LOAD_TAG" 2>&1 3>&- 4>&- &
	LOAD_PIDS+=($!)
}

# load_stop: the load ends and checks what it was told; fails, with the report, when something was lost or wrong.
load_stop() {
	local dir=$BATS_TEST_TMPDIR/load pid bad=0
	[[ ${#LOAD_PIDS[@]} -gt 0 ]] || return 0
	touch "$dir/stop"
	for pid in "${LOAD_PIDS[@]}"; do wait "$pid" || bad=1; done
	LOAD_PIDS=()
	[[ $bad == 0 ]] || { cat "$dir/report-$LOAD_TAG"; cat "$dir/outages" "$WORLD_DIR/one/up.log"; }
	return $bad
}

# tell_why: for a test that failed, what the node said in its last lives.
tell_why() { [[ -n ${BATS_TEST_COMPLETED:-} ]] || cat "$WORLD_DIR/one.log.before" "$WORLD_DIR/one/up.log" 2>/dev/null | tail -n 80; }

# load_report: what all rounds of a test sent and got, a line for each kind of request.
load_report() {
	cat "$BATS_TEST_TMPDIR"/load/report-* | awk '
		/ sent, / {
			name = $0; sub(/: [0-9]+ sent.*/, "", name)
			sub(/:[0-9.]+:/, " ", name); sub(/(:[0-9.]+)+$/, "", name)
			for (i = 1; i < NF; i++) if ($i ~ /^[0-9]+$/) { what = $(i + 1); for (j = i + 2; j <= NF && $j !~ /^[0-9]+$/; j++) what = what " " $j
				gsub(/[,;]/, "", what); if (!((name, what) in n)) order[name] = order[name] "|" what; n[name, what] += $i }
			if (!(name in seen)) { seen[name] = 1; names[++k] = name }
		}
		/ writes acknowledged, / { acked += $1; doubt += $4; wrong += $8 }
		/ events told, / { events += $2; breaks += $5 }
		END {
			for (i = 1; i <= k; i++) {
				m = split(order[names[i]], w, "|"); line = ""
				for (j = 2; j <= m; j++) line = line (j > 2 ? ", " : "") n[names[i], w[j]] " " w[j]
				print "# load: " names[i] ": " line
			}
			if (acked) print "# load: " acked " writes acknowledged, " wrong + 0 " wrong, " doubt " without an answer; " events " events told, watches interrupted " breaks " times"
		}' >&3
}

# round_over WHAT I [OF]: for a person who waits. Where OF is missing, of $rounds.
round_over() {
	echo "$1" >>"$WORLD_DIR/rounds"
	[[ -z ${PROGRESS-} ]] || (($2 % 5 && $2 != ${3:-$rounds})) || echo "# round: $1 $2 of ${3:-$rounds}, $(wc -l <"$WORLD_DIR/kills") kills so far" >&3
}

# rounds_report NAME: how much was done.
rounds_report() { echo "# $1: $(wc -l <"$WORLD_DIR/rounds") rounds, $(wc -l <"$WORLD_DIR/kills") kills" >&3; }

a_moment() { sleep "0.$(printf %03d $((RANDOM % 500)))"; }

now() { cut -d' ' -f1 /proc/uptime; }

pid_of() { # pid_of NODE ROLE; prints nothing when it does not run
	local p comm parent
	for p in $(processes_of "$1"); do
		if ! { read -r comm <"/proc/$p/comm" && read -r _ _ _ parent _ <"/proc/$p/stat"; } 2>/dev/null || [[ $comm != "fairlead-$2" ]]; then continue; fi
		# Not what the role just forked and is about to become another program.
		[[ $(cat "/proc/$parent/comm" 2>/dev/null) == "$comm" ]] || { echo "$p" && return 0; }
	done
	return 0
}

running() { [[ -n $(pid_of "$1" "$2") ]]; }

dns_ask() { on "$1" dig +tries=1 +time=1 "@$2" kubernetes.default.svc.cluster.local; } # dns_ask NODE SERVER
dns_answers() { dns_ask "$1" 10.96.0.10 | grep -q '^kubernetes.*10\.96\.0\.1$'; }

# dns_why NODE: for a test that waited in vain, what its DNS says by the Service and without, and what the role is doing.
dns_why() {
	local pid server
	for server in 10.96.0.10 10.244.0.1; do
		echo "dig @$server: $(dns_ask "$1" "$server" | grep -oE 'status: [A-Z]+|timed out|refused|no servers.*' | head -n 1)"
	done
	on "$1" ss -Hlnu 'sport = :53' || true
	pid=$(pid_of "$1" dns)
	[[ -n $pid ]] || { echo "no DNS role runs" && return 0; }
	grep -E '^(State|[a-z]*voluntary_ctxt_switches):' "/proc/$pid/status" || true
	echo "wchan: $(cat "/proc/$pid/wchan" 2>/dev/null)"
	cat "/proc/$pid/stack" 2>/dev/null || true
}

dns_down() { printf '%s' "$(now)" >>"$BATS_TEST_TMPDIR/load/outages"; } # from here on queries may be lost,
dns_up() {                                                            # until NODE's DNS answers again
	wait_for 20 dns_answers "$1" || { dns_why "$1" && return 1; }
	echo " $(now)" >>"$BATS_TEST_TMPDIR/load/outages"
}

kill_role() { # kill_role NODE ROLE
	local pid
	wait_for 15 running "$1" "$2" # back-off after an earlier kill
	pid=$(pid_of "$1" "$2")
	[[ $2 != dns ]] || dns_down
	kill -KILL "$pid"
	killed=$pid
	echo "$2" >>"$WORLD_DIR/kills"
}

back() { # another process than the one that was killed
	local pid
	pid=$(pid_of "$1" "$2")
	[[ -n $pid && $pid != "$killed" ]]
}

role_is_back() {
	wait_for 15 back "$1" "$2"
	case $2 in
	api) wait_for 15 on "$1" curl -skf https://127.0.0.1:6443/readyz ;;
	dns) dns_up "$1" ;;
	esac
}

# kill_all NODE: supervisor and roles at once, not the shims, which are the containers'. A busy machine lets a killed process live for a moment more, in
# which the next `up` is rightly refused: so the supervisor's end is awaited, not that of its roles.
kill_all() {
	local p comm supervisor=
	echo all >>"$WORLD_DIR/kills"
	for p in $(processes_of "$1"); do
		comm=$(cat "/proc/$p/comm" 2>/dev/null) || continue # it ended meanwhile
		[[ $comm != fairlead-shim ]] || continue
		[[ $comm != fairlead-up ]] || supervisor=$p
		kill -KILL "$p" || true
	done
	[[ -z $supervisor ]] || wait_for 20 gone "$supervisor"
}
