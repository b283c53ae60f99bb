#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods as a user of kubectl sees them: one node, one set of pods, many questions.

setup_file() {
	load lib.bash
	world_begin pods
	declare -p WORLD WORLD_DIR WORLD_NET >"$BATS_FILE_TMPDIR/world"
	node_ns one 1
	node_up one
	kc one create configmap conf --from-literal=color=red
	kc one create service clusterip back-end --tcp=80:8080
	sed "s#/TRACE#$WORLD_DIR/trace#" <<'YAML' | kc one apply -f -
apiVersion: v1
kind: Pod
metadata: {name: full, labels: {app: back-end}}
spec:
  terminationGracePeriodSeconds: 5
  volumes:
  - {name: conf, configMap: {name: conf}}
  - {name: trace, hostPath: {path: /TRACE}}
  initContainers:
  - {name: first, image: fairlead/echo, args: [do, "append=/t/log:init"], volumeMounts: [{name: trace, mountPath: /t}]}
  containers:
  - name: main
    image: fairlead/echo
    ports: [{name: http, containerPort: 8080, hostPort: 8088}]
    env: [{name: WHERE, value: "$(BACK_END_SERVICE_HOST):$(BACK_END_SERVICE_PORT)"}]
    volumeMounts: [{name: conf, mountPath: /conf}, {name: trace, mountPath: /t}]
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
    lifecycle:
      postStart: {exec: {command: [/bin/fairlead-echo, do, "append=/t/log:post"]}}
      preStop: {exec: {command: [/bin/fairlead-echo, do, "append=/t/log:pre"]}}
---
apiVersion: v1
kind: Pod
metadata: {name: rival}
spec:
  containers: [{name: main, image: fairlead/echo, ports: [{containerPort: 8080, hostPort: 8088}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers: [{name: main, image: fairlead/echo, args: [do, exit=3]}]
---
apiVersion: v1
kind: Pod
metadata: {name: health}
spec:
  containers:
  - {name: main, image: fairlead/echo, livenessProbe: {grpc: {port: 9}, periodSeconds: 1, failureThreshold: 1}, args: [do, wait]}
---
apiVersion: v1
kind: Pod
metadata: {name: shared, labels: {app: shared, tier: one}}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 3
  hostname: box
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [a.test, b.test], options: [{name: ndots, value: "2"}]}
  hostAliases: [{ip: 192.0.2.7, hostnames: [seven, sieben]}]
  securityContext: {runAsUser: 1000, runAsGroup: 1001, fsGroup: 2000, supplementalGroups: [3000], sysctls: [{name: net.ipv4.tcp_fin_timeout, value: "41"}]}
  volumes:
  - {name: work, emptyDir: {}}
  - {name: fast, emptyDir: {medium: Memory, sizeLimit: 4Mi}}
  - {name: bounded, emptyDir: {medium: Memory}}
  - name: all
    projected:
      sources:
      - {configMap: {name: conf, items: [{key: color, path: conf/color}]}}
      - {configMap: {name: absent, optional: true}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: cpu, resourceFieldRef: {containerName: main, resource: limits.cpu, divisor: 1m}}]}}
  initContainers:
  - {name: helper, image: fairlead/echo, restartPolicy: Always, args: [do, wait]}
  containers:
  - name: main
    image: fairlead/echo:latest
    imagePullPolicy: Never
    args: [do, "append=/work/log:$(MY_NAME)", wait]
    resources: {limits: {cpu: 250m, memory: 32Mi}}
    env:
    - {name: MY_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: conf, key: color}}}
    - {name: NONE, valueFrom: {secretKeyRef: {name: absent, key: x, optional: true}}}
    envFrom: [{prefix: CONF_, configMapRef: {name: conf}}]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
    volumeMounts:
    - {name: work, mountPath: /work, subPathExpr: "of-$(MY_NAME)"}
    - {name: fast, mountPath: /fast}
    - {name: bounded, mountPath: /bounded}
    - {name: all, mountPath: /all}
---
apiVersion: v1
kind: Pod
metadata: {name: onhost, labels: {app: onhost}}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  containers:
  - name: main
    image: fairlead/echo
    args: [serve, --http-port=8070, --tcp-port=0, --udp-port=0]
    ports: [{name: http, containerPort: 8070}]
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: onhost-too}
spec:
  hostNetwork: true
  containers: [{name: main, image: fairlead/echo, args: [do, wait], ports: [{containerPort: 8070}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: named, labels: {app: named}}
spec:
  hostname: h
  subdomain: sub
  containers: [{name: main, image: fairlead/echo}]
---
apiVersion: v1
kind: Service
metadata: {name: sub}
spec: {clusterIP: None, selector: {app: named}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: onhost}
spec: {selector: {app: onhost}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unsafe}
spec:
  securityContext: {sysctls: [{name: kernel.msgmax, value: "1"}]}
  containers: [{name: main, image: fairlead/echo}]
---
apiVersion: v1
kind: Pod
metadata: {name: hungry}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: fairlead/echo, args: [do, eat=64, wait], resources: {limits: {memory: 16Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  volumes: [{name: d, emptyDir: {sizeLimit: 5k}}]
  containers: [{name: main, image: fairlead/echo, args: [do, "append=/d/one:1", "append=/d/two:2", wait], volumeMounts: [{name: d, mountPath: /d}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  activeDeadlineSeconds: 2
  containers: [{name: main, image: fairlead/echo, args: [do, wait]}]
---
apiVersion: v1
kind: Pod
metadata: {name: apart}
spec:
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: shared}}}]}}
  containers: [{name: main, image: fairlead/echo, args: [do, wait]}]
---
apiVersion: v1
kind: Pod
metadata: {name: together}
spec:
  affinity:
    podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: shared}}}]}
    nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: disk, operator: In, values: [ssd]}]}}]}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: shared}}}]
  containers: [{name: main, image: fairlead/echo, args: [do, wait]}]
---
apiVersion: v1
kind: Pod
metadata: {name: zoned}
spec:
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: shared}}}]
  containers: [{name: main, image: fairlead/echo, args: [do, wait]}]
---
apiVersion: v1
kind: Pod
metadata: {name: picky}
spec:
  nodeSelector: {disk: ssd}
  containers: [{name: main, image: fairlead/echo, args: [do, wait]}]
YAML
	kc one wait --for=condition=Ready pod/full pod/shared pod/onhost pod/named --timeout=60s
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
	export WORLD_NODES=(one)
}

says() { # says WANT COMMAND...: what it prints is, or has, WANT
	[[ $("${@:2}" 2>&1) == *"$1"* ]]
}

status() { kc one get pod "$1" -o "jsonpath={.status$2}"; }

pid_of() { cat "$WORLD_DIR/one/node/pods/$(kc one get pod "$1" -o 'jsonpath={.metadata.uid}')/containers/$2/0/pid"; } # pid_of POD CONTAINER

@test "containers of a pod share processes; files, environment, user and resolver are what the pod says" {
	local main root env
	main=$(pid_of shared main)
	root=/proc/$main/root
	[[ $(readlink "/proc/$main/ns/pid") == "$(readlink "/proc/$(pid_of shared helper)/ns/pid")" ]]
	[[ $(tr '\0' ' ' <"$root/proc/1/cmdline") == "/pause " ]]
	env=$(tr '\0' '\n' <"/proc/$main/environ")
	[[ $env == *MY_NAME=shared* && $env == *COLOR=* && $env == *CONF_color=* && $env != *NONE=* && $env == *HOSTNAME=box* ]]
	[[ $(cat "$root/work/log") == shared && -f $WORLD_DIR/one/node/pods/$(kc one get pod shared -o 'jsonpath={.metadata.uid}')/volumes/work/of-shared/log ]]
	[[ $(cat "$root/all/labels") == $'app="shared"\ntier="one"' && $(cat "$root/all/cpu") == 250 && -s $root/all/conf/color ]]
	grep -x $'192.0.2.7\tseven\tsieben' "$root/etc/hosts"
	[[ $(cat "$root/etc/resolv.conf") == $'search a.test b.test\nnameserver 192.0.2.53\noptions ndots:2' ]]
	grep -P '^Uid:\t1000\t' "/proc/$main/status"
	grep -P '^Groups:\t1001 2000 3000' "/proc/$main/status"
	grep -P '^NoNewPrivs:\t1' "/proc/$main/status"
	grep -P '^CapBnd:\t0000000000000400$' "/proc/$main/status"
	[[ $(stat -c %g:%a "$root/fast") == 2000:2777 ]]
	grep -E ' /fast .* tmpfs .*size=4096k' "/proc/$main/mountinfo"
	grep -E ' /bounded .* tmpfs .*size=32768k' "/proc/$main/mountinfo" # the container's limit
	grep -E '^[^ ]+ [^ ]+ [^ ]+ / / ro,' "/proc/$main/mountinfo"
	[[ $(nsenter --net="/proc/$main/ns/net" sysctl -n net.ipv4.tcp_fin_timeout net.ipv4.ip_unprivileged_port_start) == $'41\n0' ]]
	[[ $(status shared '.initContainerStatuses[0].started') == true && $(status shared '.containerStatuses[0].restartCount') == 0 ]]
}

@test "a pod with a hostname and a subdomain has that name: to itself, in DNS, and its address leads back" {
	local main ip fqdn=h.sub.default.svc.cluster.local
	names() { on one dig +short +time=1 +tries=2 @10.96.0.10 "$@"; }
	nobody() { [[ -z $(names "$fqdn") ]]; }
	main=$(pid_of named main)
	ip=$(status named .podIP)
	[[ $(nsenter --target "$main" --uts hostname) == h ]]
	grep -x "$ip"$'\t'"$fqdn"$'\t'h "/proc/$main/root/etc/hosts"
	wait_for 10 says "$ip" names "$fqdn"
	[[ $(names "$fqdn") == "$ip" && $(names sub.default.svc.cluster.local) == "$ip" ]]
	[[ $(names -x "$ip") == "$fqdn." ]]
	[[ $(names SRV _http._tcp.sub.default.svc.cluster.local) == "0 100 8080 $fqdn." ]]
	says "server $ip:8080" nsenter --target "$(pid_of onhost main)" --net --mount /bin/fairlead-echo get http://h.sub:8080/
	# Once it is gone nothing bears its name.
	kc one delete pod named --timeout=30s
	wait_for 10 nobody
}

@test "a pod on the host's network has the node's address and its ports, and finds Services by name" {
	local main
	main=$(pid_of onhost main)
	[[ $(status onhost .podIP) == "$WORLD_NET.10" && $(status onhost .hostIP) == "$WORLD_NET.10" ]]
	[[ $(kc one get pod onhost -o 'jsonpath={.spec.containers[0].ports[0].hostPort}') == 8070 ]]
	says ok outside curl -s -m 5 "http://$WORLD_NET.10:8070/healthz"
	[[ $(readlink "/proc/$main/ns/net") == "$(on one readlink /proc/self/ns/net)" && $(readlink "/proc/$main/ns/ipc") != "$(readlink /proc/self/ns/ipc)" ]]
	wait_for 10 says "server $WORLD_NET.10:8070" nsenter --target "$main" --net --mount /bin/fairlead-echo get http://onhost/
	wait_for 20 says "didn't have free ports for the requested pod ports" status onhost-too '.conditions[0].message'
}

@test "limits end a pod, and say which" {
	wait_for 20 says Failed status hungry .phase
	[[ $(status hungry '.containerStatuses[0].state.terminated.exitCode') == 137 && $(status hungry '.containerStatuses[0].state.terminated.reason') == OOMKilled ]]
	wait_for 20 says Evicted status greedy .reason
	[[ $(status greedy .phase) == Failed && $(status greedy .message) == 'Usage of EmptyDir volume "d" exceeds the limit "5k". ' ]]
	wait_for 20 says DeadlineExceeded status late .reason
	[[ $(status late .message) == 'Pod was active on the node longer than the specified deadline' ]]
	wait_for 10 says Evicted kc one get events
	wait_for 10 says SysctlForbidden status unsafe .reason
}

@test "where a pod may not go is told in the scheduler's words; it goes when it may" {
	message() { status "$1" '.conditions[?(@.type=="PodScheduled")].message'; }
	wait_for 20 says "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules." message apart
	wait_for 20 says "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)." message zoned
	wait_for 20 says "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector." message picky
	[[ $(status picky .phase) == Pending ]]
	kc one wait --for=condition=Ready pod/together --timeout=30s
	kc one label node one disk=ssd topology.kubernetes.io/zone=a
	kc one wait --for=condition=Ready pod/picky pod/zoned --timeout=30s
	kc one delete pod shared --timeout=30s
	kc one wait --for=condition=Ready pod/apart --timeout=30s
}

@test "the Service's environment, the init container and postStart were there before the pod was ready" {
	local pidfile want
	want="WHERE=$(kc one get service back-end -o 'jsonpath={.spec.clusterIP}'):80"
	for pidfile in "$WORLD_DIR"/one/node/pods/*/containers/main/0/pid; do
		! tr '\0' '\n' <"/proc/$(cat "$pidfile")/environ" 2>/dev/null | grep -x "$want" || break
	done
	tr '\0' '\n' <"/proc/$(cat "$pidfile")/environ" | grep -x "$want"
	[[ $(head -n 1 "$WORLD_DIR/trace/log") == init ]]
	grep -x post "$WORLD_DIR/trace/log"
}

@test "the host port answers other hosts; a second pod that wants it stays Pending and is told why" {
	says full outside curl -s -m 5 "http://$WORLD_NET.10:8088/"
	wait_for 20 says "didn't have free ports for the requested pod ports" status rival '.conditions[0].message'
	[[ $(status rival .phase) == Pending ]]
}

@test "a pod reaches another host, which has no route to pods and sees the node's address" {
	local listener pid
	ip netns exec "$WORLD-out" timeout 30 socat TCP-LISTEN:9009,reuseaddr,fork SYSTEM:'echo $SOCAT_PEERADDR' 3>&- &
	listener=$!
	pid=$(cat "$WORLD_DIR/one/node/pods/$(kc one get pod full -o 'jsonpath={.metadata.uid}')/containers/main/0/pid")
	wait_for 10 says "$WORLD_NET.10" nsenter --net="/proc/$pid/ns/net" socat -T 2 - "TCP:$WORLD_NET.1:9009"
	kill "$listener"
}

@test "a changed ConfigMap shows in the running pod" {
	local root
	root=$(dirname "$(ls -d "$WORLD_DIR"/one/node/pods/*/volumes/conf)")
	[[ $(cat "$root/conf/color") == red ]]
	kc one patch configmap conf --type=merge -p '{"data":{"color":"blue"}}'
	wait_for 20 says blue cat "$root/conf/color"
}

@test "a pod that crashes backs off with its exit code in lastState" {
	wait_for 30 says CrashLoopBackOff status crash '.containerStatuses[0].state.waiting.reason'
	[[ $(status crash '.containerStatuses[0].lastState.terminated.exitCode') == 3 ]]
	wait_for 10 says "Back-off restarting failed container main in pod crash_default" kc one get events
}

@test "a gRPC probe that nobody answers restarts the container" {
	wait_for 30 says 'Liveness probe failed: timeout: failed to connect service' kc one get events
	wait_for 10 says 'Container main failed liveness probe, will be restarted' kc one get events
}

@test "delete runs preStop and frees the host port, which the rival gets" {
	kc one delete pod full --timeout=30s
	grep -x pre "$WORLD_DIR/trace/log"
	kc one wait --for=condition=Ready pod/rival --timeout=60s
	wait_for 10 says rival outside curl -s -m 5 "http://$WORLD_NET.10:8088/"
}

@test "delete --force takes pods at once, and nothing of them is left" {
	kc one delete pod --all --grace-period=0 --force
	wait_for 40 says 'gone' sh -c "[ -z \"\$(ls $WORLD_DIR/one/node/pods)\" ] && echo gone"
	[[ $(on one nft list tables) != *host-ports* ]]
}
